package ofb

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// in is a ResourceState with a document of its own.
func in(s Status, document byte) ResourceState {
	return ResourceState{Status: s, Data: [32]byte{document}}
}

// mandatory lists, by hand, the states whose reaching is always announced.
var mandatory = map[Kind][]Status{
	PaymentConsent:   {Rejected, Consumed},
	PixPayment:       {PDNG, SCHD, ACSC, RJCT, CANC},
	RecurringConsent: {Rejected, Revoked, Consumed},
	RecurringPayment: {PDNG, SCHD, ACSC, RJCT, CANC},
	Enrollment:       {Rejected, Revoked},
}

func TestJudgeOverAllPairsOfStates(t *testing.T) {
	consents := []Kind{PaymentConsent, RecurringConsent}
	for _, k := range Kinds() {
		event := NoEventType
		if k == Enrollment || k == RecurringConsent {
			event = StateChanged
		}
		for _, from := range k.Statuses() {
			for _, to := range k.Statuses() {
				if from == to {
					continue
				}
				want := MustNot
				switch {
				case slices.Contains(mandatory[k], to):
					want = Must
				case slices.Contains(consents, k) && from == PartiallyAccepted && to == Authorised:
					want = Must
				case slices.Contains(consents, k) && from == AwaitingAuthorisation && to == Authorised:
					want = May
				}
				was := in(from, 1)
				for _, cause := range []Cause{Holder, Initiator, Clock} { // who caused it is irrelevant: webhook §5.6
					v := Judge(k, &was, in(to, 2), cause)
					row := fmt.Sprintf("%s: %s to %s by %s", k, from, to, cause)
					require.Equal(t, want, v.Duty, row)
					require.NotEmpty(t, v.Clause, row)
					if want == MustNot {
						require.Equal(t, NotATrigger, v.Silence, row)
						require.Empty(t, v.Event, row)
					} else {
						require.Equal(t, event, v.Event, row)
						require.Empty(t, v.Silence, row)
					}
				}
				require.Equal(t, Snapshot, Judge(k, &was, in(to, 2), FirstLoad).Silence)
			}
		}
	}
}

func TestAFirstChangeIsJudgedAsComingFromTheInitialState(t *testing.T) {
	for _, k := range Kinds() {
		initial := in(k.Initial(), 1)
		for _, s := range k.Statuses() {
			v := Judge(k, nil, in(s, 2), Holder)
			if s == k.Initial() {
				require.Equal(t, NotATrigger, v.Silence, "%s %s", k, s)
				continue
			}
			require.Equal(t, Judge(k, &initial, in(s, 2), Holder), v, "%s %s", k, s)
		}
		require.Equal(t, Snapshot, Judge(k, nil, in(k.Initial(), 1), FirstLoad).Silence)
	}
}

func TestAFirstChangeIsNeverAChangeOfData(t *testing.T) {
	to := ResourceState{Status: Authorised, Watched: map[string]string{"/transactionLimit": `"1.00"`}}
	require.Equal(t, NotATrigger, Judge(Enrollment, nil, to, Holder).Silence)
}

func TestTheSameStateWithTheSameDocumentIsNoChange(t *testing.T) {
	for _, k := range Kinds() {
		for _, s := range k.Statuses() {
			for _, cause := range []Cause{Holder, Initiator, Clock} {
				was := in(s, 1)
				require.Equal(t, NoChange, Judge(k, &was, was, cause).Silence)
				require.Equal(t, NotATrigger, Judge(k, &was, in(s, 2), cause).Silence)
			}
			was := in(s, 1)
			require.Equal(t, Snapshot, Judge(k, &was, was, FirstLoad).Silence)
		}
	}
}

// pointers are the watched members, by hand.
var pointers = map[Kind][]string{
	RecurringConsent: {
		"/recurringConfiguration/automatic/maximumVariableAmount", "/recurringConfiguration/automatic/useOverdraftLimit",
		"/recurringConfiguration/sweeping/maximumVariableAmount", "/recurringConfiguration/sweeping/useOverdraftLimit",
	},
	Enrollment: {"/transactionLimit", "/dailyLimit", "/expirationDateTime"},
}

// edits are the three ways a watched member changes.
func edits(pointer string) map[string][2]map[string]string {
	one, two := map[string]string{pointer: "1"}, map[string]string{pointer: "2"}
	return map[string][2]map[string]string{"added": {nil, one}, "removed": {one, nil}, "other value": {one, two}}
}

func TestAnEditOfAWatchedMemberIsAnnouncedOnlyWhileAuthorisedAndOnlyWhenNotTheInitiators(t *testing.T) {
	for _, k := range Kinds() {
		for _, pointer := range slices.Concat(pointers[RecurringConsent], pointers[Enrollment]) {
			for name, edit := range edits(pointer) {
				for _, s := range k.Statuses() {
					was := ResourceState{Status: s, Watched: edit[0], Data: [32]byte{1}}
					is := ResourceState{Status: s, Watched: edit[1], Data: [32]byte{2}}
					row := fmt.Sprintf("%s in %s: %s %s", k, s, pointer, name)
					if s != Authorised || !slices.Contains(pointers[k], pointer) {
						require.Equal(t, NotATrigger, Judge(k, &was, is, Holder).Silence, row)
						require.Equal(t, NotATrigger, Judge(k, &was, is, Initiator).Silence, row)
						continue
					}
					v := Judge(k, &was, is, Holder)
					require.Equal(t, Ruling{Duty: Must, Event: DataChanged, Clause: v.Clause}, v, row)
					require.Equal(t, v, Judge(k, &was, is, Clock), row)
					require.Equal(t, InitiatorEdit, Judge(k, &was, is, Initiator).Silence, row)
					require.Equal(t, Snapshot, Judge(k, &was, is, FirstLoad).Silence, row)
				}
			}
		}
	}
}

func TestStateAndDataTogetherAreOneStateChanged(t *testing.T) {
	was := ResourceState{Status: Authorised, Watched: map[string]string{"/dailyLimit": `"1.00"`}, Data: [32]byte{1}}
	is := ResourceState{Status: Revoked, Data: [32]byte{2}}
	require.Equal(t, StateChanged, Judge(Enrollment, &was, is, Holder).Event)
	require.Equal(t, StateChanged, Judge(Enrollment, &was, is, Initiator).Event)

	// Limits set on the way to AUTHORISED are part of the journey, and the state itself is no trigger.
	was.Status, is.Status = AwaitingEnrollment, Authorised
	require.Equal(t, NotATrigger, Judge(Enrollment, &was, is, Holder).Silence)
}

func TestWatchPicksCanonicalValuesAndLeavesOutWhatIsNotThere(t *testing.T) {
	data := decode(t, `{"transactionLimit":"10.00","dailyLimit":null,"enrollmentName":"x","status":"AUTHORISED"}`)
	require.Equal(t, map[string]string{"/transactionLimit": `"10.00"`, "/dailyLimit": "null"}, Enrollment.Watch(data))
	require.Nil(t, PaymentConsent.Watch(data))

	data = decode(t, `{"recurringConfiguration":{"automatic":{"maximumVariableAmount":"1.00","useOverdraftLimit":true}}}`)
	require.Equal(t, map[string]string{
		"/recurringConfiguration/automatic/maximumVariableAmount": `"1.00"`,
		"/recurringConfiguration/automatic/useOverdraftLimit":     "true",
	}, RecurringConsent.Watch(data))
	data = decode(t, `{"recurringConfiguration":{"sweeping":{"useOverdraftLimit":false}}}`)
	require.Equal(t, map[string]string{"/recurringConfiguration/sweeping/useOverdraftLimit": "false"}, RecurringConsent.Watch(data))
	require.Nil(t, RecurringConsent.Watch(decode(t, `{"recurringConfiguration":[{"sweeping":1}]}`)))
	require.Nil(t, RecurringConsent.Watch(nil))
}

func TestDifferingListsTheWatchedMembersOfTheKind(t *testing.T) {
	from := ResourceState{Watched: map[string]string{"/transactionLimit": "1", "/dailyLimit": "1", "/enrollmentName": "1"}}
	to := ResourceState{Watched: map[string]string{"/transactionLimit": "2", "/expirationDateTime": "1", "/enrollmentName": "2"}}
	require.Equal(t, []string{"/transactionLimit", "/dailyLimit", "/expirationDateTime"}, Enrollment.Differing(from, to))
	require.Empty(t, Enrollment.Differing(from, from))
	require.Empty(t, PaymentConsent.Differing(from, to))
}

func TestStateOfReducesADocument(t *testing.T) {
	data := decode(t, `{"status":"AUTHORISED","dailyLimit":"5.00","loggedUser":{"document":{"identification":"11111111111"}}}`)
	s := StateOf(Enrollment, data)
	require.Equal(t, Authorised, s.Status)
	require.Equal(t, map[string]string{"/dailyLimit": `"5.00"`}, s.Watched)
	require.Equal(t, Hash(data), s.Data)
	require.Empty(t, StateOf(Enrollment, decode(t, `{"status":5}`)).Status)
}

func TestEveryAnnouncementAndWatchCitesItsClauseAndNamesStatesOfItsKind(t *testing.T) {
	for _, a := range announcements {
		require.Contains(t, a.kind.Statuses(), a.to)
		require.True(t, a.from == anyState || slices.Contains(a.kind.Statuses(), a.from))
		require.NotEqual(t, MustNot, a.duty)
		require.Regexp(t, `^webhook §5\.\d`, a.clause)
	}
	for _, w := range watches {
		require.Contains(t, pointers[w.kind], w.pointer)
		require.Regexp(t, `^webhook §5\.\d`, w.clause)
	}
}

// TestTheVerdictsAreTheReviewedOnes compares every verdict with testdata/verdicts.golden. After a change of the rules,
// run it with -update and review the difference.
func TestTheVerdictsAreTheReviewedOnes(t *testing.T) {
	golden := filepath.Join("testdata", "verdicts.golden")
	got := verdicts()
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// verdicts prints what Reaches and Judge say about everything that can happen.
func verdicts() []byte {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t")) }
	cells := func(v Ruling) (verdict, event, clause string) {
		if v.Duty == MustNot {
			return string(v.Silence), "-", v.Clause
		}
		if v.Event == NoEventType {
			return v.Duty.String(), "none", v.Clause
		}
		return v.Duty.String(), string(v.Event), v.Clause
	}

	line("# Changes of state by the holder, the initiator or the clock; from - is a resource's first change.")
	line("kind", "from", "to", "legal", "verdict", "eventType", "clause")
	for _, k := range Kinds() {
		for _, to := range k.Statuses() {
			verdict, event, clause := cells(Judge(k, nil, in(to, 2), Holder))
			line(k.String(), "-", string(to), "legal", verdict, event, clause)
		}
		for _, from := range k.Statuses() {
			for _, to := range k.Statuses() {
				if from == to {
					continue
				}
				legal := "ILLEGAL"
				if k.Reaches(from, to) {
					legal = "legal"
				}
				was := in(from, 1)
				verdict, event, clause := cells(Judge(k, &was, in(to, 2), Holder))
				line(k.String(), string(from), string(to), legal, verdict, event, clause)
			}
		}
	}

	line("")
	line("# Changes that leave the state as it is.")
	line("kind", "state", "cause", "edit", "verdict", "eventType", "clause")
	for _, k := range Kinds() {
		for _, s := range k.Statuses() {
			judge := func(cause Cause, edit string, was, is map[string]string, document byte) {
				from := ResourceState{Status: s, Watched: was, Data: [32]byte{1}}
				v := Judge(k, &from, ResourceState{Status: s, Watched: is, Data: [32]byte{document}}, cause)
				verdict, event, clause := cells(v)
				line(k.String(), string(s), string(cause), edit, verdict, event, clause)
			}
			judge(FirstLoad, "anything", nil, nil, 2)
			judge(Holder, "nothing", nil, nil, 1)
			judge(Holder, "a member nobody watches", nil, nil, 2)
			for _, pointer := range pointers[k] {
				for _, how := range []string{"added", "removed", "other value"} {
					if edit := edits(pointer)[how]; s == Authorised || how == "other value" {
						judge(Holder, pointer+" "+how, edit[0], edit[1], 2)
						judge(Initiator, pointer+" "+how, edit[0], edit[1], 2)
					}
				}
			}
		}
	}
	w.Flush()
	return out.Bytes()
}
