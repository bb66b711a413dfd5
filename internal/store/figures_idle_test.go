package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// TestAStandstillIsTheSameCauseInFiguresAndInTheReport: two attempts were claimed two seconds late, one beside commits each tenth of a second
// and one while nobody committed anything. Sums have the causes of the report, whether the fold has the instants or reads them.
func TestAStandstillIsTheSameCauseInFiguresAndInTheReport(t *testing.T) {
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	for _, id := range []string{"stuck", "still"} {
		f.accept(payment("itp", id, 1, "ACSC"))
		f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claim("itp", 10, 10)...)
	}
	f.do("SET session_replication_role = replica")
	f.do("UPDATE entry SET at = at + interval '5 minutes' WHERE resource_id = 'stuck'")
	f.do("UPDATE entry SET at = at + interval '8 minutes' WHERE resource_id = 'still'")
	f.do("UPDATE entry SET at = at + interval '2 seconds' WHERE resource_id IN ('stuck', 'still') AND kind IN ('attempt', 'result')")
	f.do(`INSERT INTO entry (id, at, kind, outcome, facts) SELECT gen_random_uuid(), e.at + n * interval '100 milliseconds', 'poll', '404', '{}'
FROM entry e, generate_series(-20, 40) n WHERE e.resource_id = 'stuck' AND e.kind = 'change'`)
	want := figures.Tally{string(notice.DelayQueue): 1, string(notice.DelayStandstill): 1}
	_, breaches := f.punctuality(timing.Period{To: time.Now().Add(time.Hour)})
	require.Equal(t, []notice.Delay{notice.DelayQueue, notice.DelayStandstill}, []notice.Delay{breaches["stuck"].First.Cause, breaches["still"].First.Cause})
	f.seal()
	for _, step := range []string{"not folded", "folded as it was sealed"} {
		s, _ := f.read("itp")
		require.Equal(t, want, s.First.Causes, step)
		f.fold()
	}
	require.Zero(t, f.rebuild().Differ)
}

// TestStandstillsAreFoundHoweverMuchIsSealed: instants are read from positions, from entries that have none, or from both.
func TestStandstillsAreFoundHoweverMuchIsSealed(t *testing.T) {
	for name, seals := range map[string]struct{ stuck, still, later bool }{
		"nothing": {}, "the first half": {stuck: true}, "all": {still: true}, "all, and something two hours later": {later: true},
	} {
		f := newFigured(t)
		f.register("itp", "https://itp.example/hook")
		late := func(id string, minutes int) {
			f.accept(payment("itp", id, 1, "ACSC"))
			f.sent(notice.OutcomeDelivered, time.Millisecond, 0, f.claim("itp", 10, 10)...)
			f.do("UPDATE entry SET at = at + $2 * interval '1 minute' + CASE WHEN kind IN ('attempt', 'result') THEN interval '2 seconds' ELSE '0' END WHERE resource_id = $1", id, minutes)
		}
		f.do("SET session_replication_role = replica")
		late("stuck", 5)
		f.do(`INSERT INTO entry (id, at, kind, outcome, facts) SELECT gen_random_uuid(), e.at + n * interval '100 milliseconds', 'poll', '404', '{}'
FROM entry e, generate_series(-20, 40) n WHERE e.resource_id = 'stuck' AND e.kind = 'change'`)
		if seals.stuck {
			f.seal()
		}
		late("still", 8)
		if seals.later {
			f.do("INSERT INTO entry (id, at, kind, outcome, facts) VALUES (gen_random_uuid(), now() + interval '2 hours', 'poll', '404', '{}')")
		}
		if seals.still || seals.later {
			f.seal()
		}
		_, breaches := f.punctuality(timing.Period{To: time.Now().Add(time.Hour)})
		require.Equal(t, []notice.Delay{notice.DelayQueue, notice.DelayStandstill}, []notice.Delay{breaches["stuck"].First.Cause, breaches["still"].First.Cause}, "sealed: %s", name)
	}
}
