package ofb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// onward is, written out by hand, where each state may lead over any number of steps.
var onward = map[Kind]map[Status]string{
	PaymentConsent: {
		AwaitingAuthorisation: "PARTIALLY_ACCEPTED AUTHORISED REJECTED CONSUMED",
		PartiallyAccepted:     "AUTHORISED REJECTED CONSUMED",
		Authorised:            "REJECTED CONSUMED",
		Rejected:              "",
		Consumed:              "",
	},
	PixPayment: paymentOnward,
	RecurringConsent: {
		AwaitingAuthorisation: "PARTIALLY_ACCEPTED AUTHORISED REJECTED REVOKED CONSUMED",
		PartiallyAccepted:     "AUTHORISED REJECTED REVOKED CONSUMED",
		Authorised:            "REVOKED CONSUMED", // never REJECTED any more
		Rejected:              "",
		Revoked:               "",
		Consumed:              "",
	},
	RecurringPayment: paymentOnward,
	Enrollment: {
		AwaitingRiskSignals:             "AWAITING_ACCOUNT_HOLDER_VALIDATION AWAITING_ENROLLMENT AUTHORISED REJECTED REVOKED",
		AwaitingAccountHolderValidation: "AWAITING_ENROLLMENT AUTHORISED REJECTED REVOKED",
		AwaitingEnrollment:              "AUTHORISED REJECTED REVOKED",
		Authorised:                      "REVOKED",
		Rejected:                        "",
		Revoked:                         "",
	},
}

var paymentOnward = map[Status]string{
	RCVD: "PDNG ACCP SCHD ACPD ACSC RJCT CANC",
	PDNG: "ACCP SCHD ACPD ACSC RJCT CANC",
	ACCP: "SCHD ACPD ACSC RJCT CANC",
	SCHD: "ACCP ACPD ACSC RJCT CANC", // the loop of the union
	ACPD: "ACSC RJCT",                // no cancelling once it was sent to settlement
	ACSC: "",
	RJCT: "",
	CANC: "",
}

func TestReachesOverAllPairs(t *testing.T) {
	for _, k := range Kinds() {
		require.Len(t, onward[k], len(k.Statuses()))
		for _, from := range k.Statuses() {
			for _, to := range k.Statuses() {
				want := from == to || slices.Contains(strings.Fields(onward[k][from]), string(to))
				require.Equal(t, want, k.Reaches(from, to), "%s: %s to %s", k, from, to)
			}
		}
	}
}

func TestReachesRefusesStatesTheKindDoesNotHave(t *testing.T) {
	for _, k := range Kinds() {
		require.False(t, k.Reaches(k.Initial(), "PATC"))
		require.False(t, k.Reaches("PATC", "PATC"))
		require.False(t, k.Reaches("", k.Initial()))
	}
	require.False(t, PaymentConsent.Reaches(Authorised, Revoked))
	require.False(t, Enrollment.Reaches(AwaitingAuthorisation, Authorised))
}

func TestFinalStatesAreTheOnesTheRulesName(t *testing.T) {
	want := map[Kind][]Status{
		PaymentConsent:   {Rejected, Consumed},
		PixPayment:       {ACSC, RJCT, CANC},
		RecurringConsent: {Rejected, Revoked, Consumed},
		RecurringPayment: {ACSC, RJCT, CANC},
		Enrollment:       {Rejected, Revoked},
	}
	for _, k := range Kinds() {
		var final []Status
		for _, s := range k.Statuses() {
			if k.Final(s) {
				final = append(final, s)
			}
		}
		require.Equal(t, want[k], final, k.String())
		require.False(t, k.Final("PATC"))
	}
}

func TestEveryStateIsReachedFromTheInitialOneAndNothingLeadsBackToIt(t *testing.T) {
	initial := map[Kind]Status{
		PaymentConsent: AwaitingAuthorisation, PixPayment: RCVD, RecurringConsent: AwaitingAuthorisation,
		RecurringPayment: RCVD, Enrollment: AwaitingRiskSignals,
	}
	for _, k := range Kinds() {
		require.Equal(t, initial[k], k.Initial())
		for _, s := range k.Statuses() {
			require.True(t, k.Reaches(k.Initial(), s))
			require.Equal(t, s == k.Initial(), k.Reaches(s, k.Initial()))
		}
	}
}

func TestEveryStepIsBetweenStatesOfItsKindAndCitesItsClause(t *testing.T) {
	seen := map[move]bool{}
	for _, s := range steps {
		row := fmt.Sprintf("%s: %s to %s", s.kind, s.from, s.to)
		require.Contains(t, s.kind.Statuses(), s.from, row)
		require.Contains(t, s.kind.Statuses(), s.to, row)
		require.NotEqual(t, s.from, s.to, row)
		require.Regexp(t, `^(webhook|status-apis) §\d`, s.clause, row)
		require.False(t, seen[move{s.kind, s.from, s.to}], "twice: "+row)
		seen[move{s.kind, s.from, s.to}] = true
	}
}

func TestParseStatusKnowsTheStatesOfItsKindOnly(t *testing.T) {
	for _, k := range Kinds() {
		for _, s := range k.Statuses() {
			parsed, err := k.ParseStatus(string(s))
			require.NoError(t, err)
			require.Equal(t, s, parsed)
		}
		for _, s := range []string{"", "authorised", "PATC", "AUTHORISED "} {
			_, err := k.ParseStatus(s)
			require.ErrorContains(t, err, string(k.Initial()))
		}
	}
}
