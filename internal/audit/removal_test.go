package audit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// walked is a log that a test writes by hand and walks.
type walked struct {
	t     *testing.T
	v     audit.Verifier
	tree  audit.Range
	heads []audit.Checkpoint
}

func (w *walked) sign(at time.Time) {
	w.t.Helper()
	c := audit.Checkpoint{Size: w.tree.Size(), Root: w.tree.Root(), At: audit.At(at)}
	w.heads = append(w.heads, c)
}

// missing is a log with three entries of January 2020 that are missing, and the announcement of their removal.
func missing(t *testing.T, resumed bool, claimed, covered, announced time.Time) (audit.VerifiedLog, error) {
	t.Helper()
	w := &walked{t: t}
	var gone audit.Range
	leaves := []audit.Hash{audit.Leaf([]byte("a")), audit.Leaf([]byte("b")), audit.Leaf([]byte("c"))}
	for _, leaf := range leaves {
		w.tree.Append(leaf, nil)
		gone.Append(leaf, nil)
	}
	w.sign(covered)
	e := audit.Entry{
		ID: numbered(9), At: audit.At(announced), XID: 9, Kind: audit.KindRetention, Outcome: ptr(audit.RemovalAnnounced),
		Facts: fmt.Sprintf(`{"partition":"entry_202001","first":0,"last":2,"entries":3,"digest":"%s"}`, gone.Root()),
	}
	w.tree.Append(audit.Leaf(e.AppendRecord(nil, 3)), nil)
	w.sign(announced)
	require.NoError(t, w.v.Expect(w.heads...))
	for _, leaf := range leaves {
		require.NoError(t, w.v.AddRemoved(audit.At(claimed), leaf))
	}
	v := &w.v
	if resumed {
		_, err := v.FinishPart()
		require.ErrorContains(t, err, "the end is cut off", "a part has no checkpoints beyond it")
		text, err := json.Marshal(v.Progress())
		require.NoError(t, err)
		var p audit.Progress
		require.NoError(t, json.Unmarshal(text, &p))
		v = audit.Resume(p, &gone)
		require.NoError(t, v.Expect(w.heads[1]))
	}
	if _, err := v.AddEntry(&e); err != nil {
		return audit.VerifiedLog{}, err
	}
	return v.Finish()
}

// TestARemovalIsBoundByWhatIsSigned: by the time the entries were covered, not by the time their positions claim.
func TestARemovalIsBoundByWhatIsSigned(t *testing.T) {
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	for name, c := range map[string]struct {
		claimed, covered, announced time.Time
		want                        string
	}{
		"in time":                        {day(2020, 1, 20), day(2020, 2, 1), day(2025, 2, 1), ""},
		"a second early":                 {day(2020, 1, 20), day(2020, 2, 1), day(2025, 2, 1).Add(-time.Second), "before 5 years were over"},
		"sealed late":                    {day(2020, 1, 20), day(2020, 3, 1), day(2025, 2, 1), "before 5 years were over"},
		"sealed late, announced later":   {day(2020, 1, 20), day(2020, 3, 1), day(2025, 3, 1), ""},
		"claims to be after its sealing": {day(2020, 1, 20), day(2020, 1, 10), day(2025, 3, 1), "cannot be"},
	} {
		t.Run(name, func(t *testing.T) {
			verdict, err := missing(t, false, c.claimed, c.covered, c.announced)
			if c.want == "" {
				require.NoError(t, err)
				require.Equal(t, int64(3), verdict.Removed)
				require.NoError(t, verdict.AsOf(c.announced))
				require.ErrorContains(t, verdict.AsOf(c.announced.Add(-2*time.Hour)), "BAD seq=0 missing: its removal was announced by a checkpoint that is dated")
				return
			}
			require.ErrorContains(t, err, "BAD seq=0 missing")
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestTheFactsOfARemovalAreReadByTheirExactNames: another spelling, a missing member or a number that cannot be is refused.
func TestTheFactsOfARemovalAreReadByTheirExactNames(t *testing.T) {
	good := `{"partition":"entry_202001","first":2,"last":5,"entries":3,"digest":"` + audit.EmptyRoot().String() + `"}`
	r, err := audit.ParseRemoval(good)
	require.NoError(t, err)
	require.Equal(t, audit.Removal{Partition: "entry_202001", First: 2, Last: 5, Entries: 3, Digest: audit.EmptyRoot()}, r)
	for _, change := range [][2]string{
		{`"first"`, `"First"`},
		{`"partition":"entry_202001",`, ""},
		{`202001`, `202013`},
		{`202001`, `2020`},
		{`"first":2`, `"first":6`},
		{`"first":2`, `"first":-1`},
		{`"entries":3`, `"entries":5`},
		{`"entries":3`, `"entries":0`},
		{`"entries":3`, `"entries":"3"`},
		{`"digest":"`, `"digest":"x`},
		{`{`, `[`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, bad)
		_, err := audit.ParseRemoval(bad)
		require.Error(t, err, bad)
	}
}

// TestAWalkThatIsResumedAtEachCheckpointKnowsWhatAWholeOneKnows: its progress goes through JSON each time.
func TestAWalkThatIsResumedAtEachCheckpointKnowsWhatAWholeOneKnows(t *testing.T) {
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	whole, err := missing(t, false, day(2020, 1, 20), day(2020, 2, 1), day(2025, 2, 1))
	require.NoError(t, err)
	parts, err := missing(t, true, day(2020, 1, 20), day(2020, 2, 1), day(2025, 2, 1))
	require.NoError(t, err)
	require.Equal(t, whole, parts)
	_, err = missing(t, true, day(2020, 1, 20), day(2020, 3, 1), day(2025, 2, 1))
	require.ErrorContains(t, err, "before 5 years were over")
}

// TestAWalkThatBeginsInTheMiddleDoesNotMissTheAnnouncementBeforeIt: the whole walk compares them.
func TestAWalkThatBeginsInTheMiddleDoesNotMissTheAnnouncementBeforeIt(t *testing.T) {
	e := audit.Entry{
		ID: numbered(9), At: samples()[0].At, XID: 9, Kind: audit.KindRetention, Outcome: ptr(audit.RemovalDropped),
		Facts: `{"partition":"entry_202001","first":0,"last":2,"entries":3,"digest":"` + audit.EmptyRoot().String() + `"}`,
	}
	var tree audit.Range
	tree.Append(audit.Leaf([]byte("a")), nil)
	_, err := audit.Resume(audit.Progress{Size: 1}, &tree).AddEntry(&e)
	require.NoError(t, err)
	_, err = (&audit.Verifier{}).AddEntry(&e)
	require.ErrorContains(t, err, "no entry announced it")
}
