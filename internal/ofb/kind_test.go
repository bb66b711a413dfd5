package ofb

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKindsKeepTheirStoredNumbersAndTheirNames(t *testing.T) {
	require.Equal(t, []Kind{1, 2, 3, 4, 5}, Kinds())
	names := []string{"payment-consent", "pix-payment", "recurring-consent", "recurring-payment", "enrollment"}
	for i, k := range Kinds() {
		require.Equal(t, names[i], k.String())
		parsed, err := ParseKind(names[i])
		require.NoError(t, err)
		require.Equal(t, k, parsed)

		text, err := json.Marshal(map[Kind]Kind{k: k})
		require.NoError(t, err)
		require.JSONEq(t, `{"`+names[i]+`":"`+names[i]+`"}`, string(text))
		var back map[Kind]Kind
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, map[Kind]Kind{k: k}, back)
	}
}

func TestWhatIsNoKindHasNothing(t *testing.T) {
	for _, k := range []Kind{0, 6, 255} {
		require.Empty(t, k.String())
		require.Empty(t, k.Statuses())
		require.Empty(t, k.Versions())
		require.Empty(t, k.Initial())
		require.Empty(t, Path(k, "v4", "urn:x:1"))
		require.False(t, k.Reaches("", ""))
		require.False(t, k.Final(""))
		require.Error(t, k.CheckID("urn:x:1"))
		_, err := k.MarshalText()
		require.Error(t, err)
	}
	var k Kind
	err := k.UnmarshalText([]byte("consent"))
	require.ErrorContains(t, err, "payment-consent, pix-payment")
	require.Zero(t, k)
}

func TestEachKindNamesItsIDMemberVersionsAndBody(t *testing.T) {
	for _, want := range []struct {
		kind      Kind
		idMember  string
		versions  []string
		eventType bool
	}{
		{PaymentConsent, "consentId", []string{"v4", "v5"}, false},
		{PixPayment, "paymentId", []string{"v4", "v5"}, false},
		{RecurringConsent, "recurringConsentId", []string{"v2"}, true},
		{RecurringPayment, "recurringPaymentId", []string{"v2"}, false},
		{Enrollment, "enrollmentId", []string{"v2"}, true},
	} {
		require.Equal(t, want.idMember, want.kind.IDMember())
		require.Equal(t, want.versions, want.kind.Versions())
		require.Equal(t, want.eventType, want.kind.HasEventType())
	}
}

func TestVersionsAndStatusesAreCopies(t *testing.T) {
	PaymentConsent.Versions()[0] = "v1"
	PaymentConsent.Statuses()[0] = "GONE"
	require.Equal(t, "v4", PaymentConsent.Versions()[0])
	require.Equal(t, AwaitingAuthorisation, PaymentConsent.Initial())
}

func TestCheckIDKnowsTheFormOfEachKind(t *testing.T) {
	urns := []Kind{PaymentConsent, RecurringConsent, Enrollment}
	plains := []Kind{PixPayment, RecurringPayment}
	goodURN := []string{
		"urn:x:1", "urn:bancoex:0b8f6c2e-1d3a-4c55-9f0e-6a1f7b1d2c3e", "urn:a:()+,-.:=@;$_!*'%/?#",
		"urn:" + strings.Repeat("n", 32) + ":x", "urn:x:" + strings.Repeat("y", 250),
	}
	goodPlain := []string{"1", "a-", "0b8f6c2e-1d3a-4c55-9f0e-6a1f7b1d2c3e", strings.Repeat("a", 100)}
	bad := []string{
		"", ".", "..", "-a", "a b", "a\n", "a/b", "á", "urn:", "urn:x", "urn:x:", "urn::x", "urn:-x:1", "URN:x:1", "urn:x:1\n", "urn:x:á",
		"urn:x:\x00", "urn:x:a b", "urn:x:\"", "urn:x:&", "urn:x:~", "urn:" + strings.Repeat("n", 33) + ":x",
		"urn:x:" + strings.Repeat("y", 251),
	}
	for _, k := range urns {
		for _, id := range goodURN {
			require.NoError(t, k.CheckID(id), "%s %s", k, id)
		}
		for _, id := range append(bad, goodPlain...) {
			require.Error(t, k.CheckID(id), "%s %q", k, id)
		}
	}
	for _, k := range plains {
		for _, id := range goodPlain {
			require.NoError(t, k.CheckID(id), "%s %s", k, id)
		}
		for _, id := range append(append(bad, goodURN...), strings.Repeat("a", 101)) {
			require.Error(t, k.CheckID(id), "%s %q", k, id)
		}
	}
}

func TestCheckIDTellsWhatWouldBeRightAndDoesNotRepeatTheID(t *testing.T) {
	err := Enrollment.CheckID("secret 12345678901")
	require.ErrorContains(t, err, "enrollmentId")
	require.ErrorContains(t, err, "URN")
	require.NotContains(t, err.Error(), "12345678901")
	require.ErrorContains(t, PixPayment.CheckID(strings.Repeat("a", 101)), "101 characters")
}

func FuzzCheckID(f *testing.F) {
	f.Add("urn:x:1")
	f.Add("urn:a:()+,-.:=@;$_!*'%/?#")
	f.Add("0b8f6c2e")
	f.Add("..")
	f.Fuzz(func(t *testing.T, id string) {
		for _, k := range Kinds() {
			if k.CheckID(id) != nil {
				continue
			}
			require.NotEmpty(t, id)
			require.LessOrEqual(t, len(id), 256)
			require.NotContains(t, []string{".", ".."}, id)
			for i := range len(id) {
				require.True(t, id[i] > ' ' && id[i] < 0x7f, "byte %x passed", id[i])
			}
			// What is accepted stays one segment of its path.
			empty := Path(k, k.Versions()[0], "")
			require.Equal(t, strings.Count(empty, "/"), strings.Count(Path(k, k.Versions()[0], id), "/"))
		}
	})
}
