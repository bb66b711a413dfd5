package intake

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// drawHistory draws the revisions of one resource in the order they happened: legal steps, no state entered twice, edits
// in between, gaps in the numbers.
func drawHistory(t *rapid.T, kind ofb.Kind, causes ...ofb.Cause) []*notice.Change {
	var out []*notice.Change
	seen := map[ofb.Status]bool{}
	revision := int64(0)
	for range rapid.IntRange(1, 8).Draw(t, "revisions") {
		next := kind.Statuses()
		if len(out) > 0 {
			last := out[len(out)-1].State.Status
			next = slices.DeleteFunc(next, func(s ofb.Status) bool { return s != last && (seen[s] || !kind.Reaches(last, s)) })
		}
		s := rapid.SampledFrom(next).Draw(t, "status")
		seen[s] = true
		revision += int64(rapid.IntRange(1, 3).Draw(t, "gap"))
		limit := rapid.SampledFrom([]string{"", "10", "20"}).Draw(t, "limit")
		document := byte(len(limit)) + 4*byte(rapid.IntRange(0, 1).Draw(t, "document"))
		if limit == "20" {
			document++
		}
		c := revised(kind, revision, state(s, document, limit))
		c.Cause = rapid.SampledFrom(causes).Draw(t, "cause")
		c.OccurredAt = noon.Add(time.Duration(revision) * time.Second)
		out = append(out, c)
	}
	return out
}

// shuffled is a history in any order, with some of it delivered more than once.
func shuffled(t *rapid.T, changes []*notice.Change) []*notice.Change {
	all := slices.Clone(changes)
	for range rapid.IntRange(0, 3).Draw(t, "repeats") {
		again := *rapid.SampledFrom(changes).Draw(t, "again")
		again.ID[15]++ // another delivery is another change
		all = append(all, &again)
	}
	return rapid.Permutation(all).Draw(t, "order")
}

func deliver(t *rapid.T, in *Intake, changes ...*notice.Change) []notice.Decision {
	var all []notice.Decision
	for _, c := range changes {
		d, err := in.record(t.Context(), []*Pending{{change: c}}, []*notice.Change{c})
		require.NoError(t, err)
		all = append(all, d...)
	}
	return all
}

// owed is what the rules want told of a history, revision by revision, each judged from the one before.
func owed(kind ofb.Kind, changes []*notice.Change, optional bool) (states map[ofb.Status]bool, edits map[int64]bool) {
	states, edits = map[ofb.Status]bool{}, map[int64]bool{}
	var from *ofb.ResourceState
	for _, c := range changes {
		v := ofb.Judge(kind, from, c.State, c.Cause)
		switch {
		case v.Duty == ofb.MustNot || v.Duty == ofb.May && !optional:
		case v.Event == ofb.DataChanged:
			edits[c.Revision] = true
		default:
			states[c.State.Status] = true
		}
		from = &c.State
	}
	return states, edits
}

func TestInWhateverOrderAHistoryArrivesEachStateIsToldOnceAndTheNewestIsCurrent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(ofb.Kinds()).Draw(t, "kind")
		optional := rapid.Bool().Draw(t, "optional")
		changes := drawHistory(t, kind, ofb.Holder, ofb.Holder, ofb.Initiator)
		m := newMemory()
		var announced []ofb.Kind
		if optional {
			announced = append(announced, kind)
		}
		in := New(Config{Store: m, NewID: counter(), OptionalAuthorised: announced})
		for _, d := range deliver(t, in, shuffled(t, changes)...) {
			require.Contains(t, []notice.Verdict{notice.Applied, notice.Superseded, notice.Duplicate}, d.Verdict)
		}

		newest := changes[len(changes)-1]
		r := m.resources[newest.Key()].resource
		require.Equal(t, newest.State, r.State)
		require.Equal(t, newest.Revision, r.Revision)
		require.Len(t, m.resources[newest.Key()].revisions, len(changes), "each revision is kept once")

		states, edits := owed(kind, changes, optional)
		byRevision, byStatus := m.told()
		for revision, n := range byRevision {
			require.Equal(t, 1, n, "revision %d", revision)
		}
		for _, s := range kind.Statuses() {
			want := 0
			if states[s] {
				want = 1
			}
			require.Equal(t, want, byStatus[s], "%s %s", kind, s)
		}
		for revision := range edits { // an edit may be told with the state it came with
			require.Equal(t, 1, byRevision[revision], "the edit of revision %d", revision)
		}
		for _, n := range m.notifications {
			if n.Event == ofb.DataChanged {
				require.Equal(t, ofb.Authorised, n.Status)
			}
			require.Equal(t, noon.Add(time.Duration(n.Revision)*time.Second), n.EventAt, "it tells of its own revision's instant")
		}
	})
}

func TestInOrderEverythingIsToldExactlyAsTheRulesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(ofb.Kinds()).Draw(t, "kind")
		changes := drawHistory(t, kind, ofb.Holder, ofb.Initiator, ofb.FirstLoad)
		m := newMemory()
		deliver(t, New(Config{Store: m, NewID: counter()}), changes...)
		states, edits := owed(kind, changes, false)
		require.Len(t, m.notifications, len(states)+len(edits))
		for _, n := range m.notifications {
			require.True(t, states[n.Status] || edits[n.Revision])
		}
	})
}

func TestNothingIsToldTwiceWhateverHappensToTheRegistration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(ofb.Kinds()).Draw(t, "kind")
		changes := drawHistory(t, kind, ofb.Holder, ofb.Initiator, ofb.FirstLoad)
		m := newMemory()
		in := New(Config{Store: m, NewID: counter(), OptionalAuthorised: ofb.Kinds()})
		for _, c := range shuffled(t, changes) {
			m.push = rapid.Bool().Draw(t, "push")
			before := len(m.notifications)
			deliver(t, in, c)
			if !m.push {
				require.Len(t, m.notifications, before)
			}
		}
		byRevision, byStatus := m.told()
		for revision, n := range byRevision {
			require.Equal(t, 1, n, "revision %d", revision)
		}
		for s, n := range byStatus {
			require.Equal(t, 1, n, "%s", s)
		}
	})
}
