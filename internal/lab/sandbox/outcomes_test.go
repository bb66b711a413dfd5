package sandbox

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

func TestReasonsAreThoseOfTheDocumentsThatAreServed(t *testing.T) {
	schemas, err := openapi.Load()
	require.NoError(t, err)
	at := map[ofb.Kind]string{
		ofb.PixPayment: "rejectionReason code", ofb.RecurringPayment: "rejectionReason code", ofb.PaymentConsent: "rejectionReason code",
		ofb.RecurringConsent: "rejection reason code", ofb.Enrollment: "cancellation reason rejectionReason",
	}
	for _, kind := range ofb.Kinds() {
		versions := kind.Versions()
		for _, m := range schemas.Members(kind, versions[len(versions)-1]) {
			if strings.Join(m.Path, " ") == at[kind] {
				require.Equal(t, m.Enum, reasons[kind], "%s", kind)
				delete(at, kind)
			}
		}
	}
	require.Empty(t, at, "each kind has a reason")
}

func TestEveryAmountHasOneOutcomeOfEachKind(t *testing.T) {
	type key struct {
		kind  ofb.Kind
		cents int
	}
	seen := map[key]bool{}
	for _, o := range Outcomes() {
		require.NotEmpty(t, o.Kinds)
		for _, kind := range o.Kinds {
			k := key{kind, o.Cents}
			require.False(t, seen[k], "%v has two rows", k)
			seen[k] = true
			state := kind.Initial()
			for _, s := range o.Steps {
				if s.Edit {
					require.Equal(t, ofb.Authorised, state, "%v", k)
					continue
				}
				require.True(t, kind.Reaches(state, s.To), "%v: %s to %s", k, state, s.To)
				state = s.To
			}
			found := ByCents(kind, o.Cents)
			require.Equal(t, o.EN, found.EN)
			require.Equal(t, o.Reason, found.Reason)
		}
	}
	for _, kind := range ofb.Kinds() {
		require.True(t, seen[key{kind, 0}], "%s", kind)
		unknown := ByCents(kind, 99)
		require.Zero(t, unknown.Cents, "cents without a row are as .00")
		require.True(t, slices.Contains(unknown.Kinds, kind))
	}
}

func TestAConsentWhoseAmountIsAPaymentsStoryIsAuthorised(t *testing.T) {
	for _, o := range Outcomes() {
		if !slices.Contains(o.Kinds, ofb.PixPayment) {
			continue
		}
		steps := ByCents(ofb.PaymentConsent, o.Cents).Steps
		require.NotEmpty(t, steps)
		require.Equal(t, ofb.Authorised, steps[len(steps)-1].To, "the consent of a payment of .%02d", o.Cents)
	}
}

func TestTheAmountOfARequestIsFound(t *testing.T) {
	object := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	for _, c := range []struct {
		kind  ofb.Kind
		asked map[string]any
		want  string
	}{
		{ofb.PixPayment, object("payment", object("amount", "10.07")), "10.07"},
		{ofb.PixPayment, object("payment", "10.07"), ""},
		{ofb.RecurringConsent, object("recurringConfiguration", object("automatic", object("fixedAmount", "1.71", "minimumVariableAmount", "2.00"))), "1.71"},
		{ofb.RecurringConsent, object("recurringConfiguration", object("sweeping", object("totalAllowedAmount", "9.72"))), "9.72"},
		{ofb.Enrollment, object("enrollmentName", "Celular 0.71"), "0.71"},
		{ofb.Enrollment, object("enrollmentName", "Celular"), ""},
	} {
		require.Equal(t, c.want, amountOf(c.kind, c.asked))
	}
	for _, bad := range []string{"", "10", "10.1", "10.123", "-1.00", "1,00", "1.0x"} {
		_, err := centsOf(bad)
		require.ErrorContains(t, err, "10.00", "%q", bad)
	}
	cents, err := centsOf("10.07")
	require.NoError(t, err)
	require.Equal(t, 7, cents)
}
