package main

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

func at(s float64) time.Time {
	return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

func TestEveryFaultStrikesBeforeAnyStrikesAgainAndASeedAlwaysDrawsTheSame(t *testing.T) {
	open := func() *schedule {
		return &schedule{random: rand.New(rand.NewPCG(7, 1)), all: faults, struck: map[string]int{}}
	}
	s, again := open(), open()
	periods := 0
	for ; len(s.struck) < len(faults); periods++ {
		drawn := s.draw()
		require.Equal(t, names(drawn), names(again.draw()))
		groups := map[string]bool{}
		for _, f := range drawn {
			require.False(t, groups[f.group], "two faults at once on %s: %s", f.group, names(drawn))
			groups[f.group] = true
		}
		require.Less(t, periods, 18, "ten minutes are about 18 periods")
	}
	for name, times := range s.struck {
		require.LessOrEqual(t, times, 2, name)
	}
}

func TestFaultsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults {
		require.False(t, seen[f.name], f.name)
		require.NotEmpty(t, f.group)
		require.NotNil(t, f.strike)
		seen[f.name] = true
	}
	for _, name := range append([]string{"stop-replica"}, certificateFaults...) {
		require.True(t, seen[name], name)
	}
}

func TestTheClockTellsHowMuchItGained(t *testing.T) {
	c := &clock{moves: []move{{at(100), 4 * time.Second}, {at(120), 0}, {at(200), -3 * time.Second}, {at(220), 0}}}
	for _, one := range []struct {
		from, to float64
		gained   time.Duration
	}{
		{10, 90, 0},
		{90, 110, 4 * time.Second},
		{105, 115, 0},
		{110, 130, 0},
		{90, 130, 4 * time.Second},
		{190, 210, 0},
		{210, 230, 3 * time.Second},
		{190, 230, 3 * time.Second},
		{90, 230, 4 * time.Second},
		{230, 240, 0},
	} {
		require.Equal(t, one.gained, c.ahead(at(one.from), at(one.to)), "%v to %v", one.from, one.to)
	}
	require.Zero(t, (*clock)(nil).ahead(at(0), at(1)))
}

func TestAFaultExplainsWhatHappensInItsTimeAndShortlyAfter(t *testing.T) {
	kill, move := faults[0], faults[slices.IndexFunc(faults, func(f *fault) bool { return f.name == "move-registrations" })]
	a := &account{windows: []*window{{fault: kill, from: at(100), to: at(110)}, {fault: move, from: at(200), to: at(210)}, {fault: kill, from: at(300)}}}
	require.False(t, a.disturbed(at(90), at(99)))
	require.True(t, a.disturbed(at(90), at(101)))
	require.True(t, a.disturbed(at(124), at(125)))
	require.False(t, a.disturbed(at(126), at(130)))
	require.False(t, a.disturbed(at(199), at(205)), "a gentle fault explains nothing of others")
	require.True(t, a.touched(at(199), at(205), "move-registrations"))
	require.False(t, a.touched(at(199), at(205), "kill-replica"))
	require.True(t, a.disturbed(at(400), at(401)), "it lasts")
	a.neighbours.busy = []span{{at(48), at(50)}}
	require.True(t, a.disturbed(at(51), at(52)))
	require.False(t, a.disturbed(at(40), at(47)))
	require.False(t, a.disturbed(at(56), at(57)))
}

func TestOurOwnProcessorTimeIsNotTheNeighbours(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip(err)
	}
	total, ours := spent(), spentByUs()
	require.Positive(t, total)
	for began := time.Now(); spentByUs() < ours+200*time.Millisecond; {
		require.Less(t, time.Since(began), time.Minute, "working does not count")
	}
	require.GreaterOrEqual(t, spent()-total, 190*time.Millisecond)
}

func TestReceiversDoWhatTheCodesOfResourcesSay(t *testing.T) {
	for _, letter := range failures {
		require.Contains(t, codes, byte(letter))
		require.False(t, codes[byte(letter)].Accepts(), string(letter))
	}
	for _, letter := range successes + "a" {
		require.Contains(t, codes, byte(letter))
		require.True(t, codes[byte(letter)].Accepts(), string(letter))
	}
	s := &served{count: map[string]int{}}
	var got []int
	for range 4 {
		got = append(got, s.answer(&standin.Request{Target: "/x/g1/open-banking/pix/payments/nemesis-000001-bma"}).Status)
	}
	require.Equal(t, []int{503, 404, 0, 0}, got)
	r := rand.New(rand.NewPCG(1, 1))
	failing := 0
	for range 1000 {
		if strings.ContainsAny(drawCode(r), failures) {
			failing++
		}
	}
	require.InDelta(t, 200, failing, 50)
}

// TestTheStoriesTellWhatTheRulesSay compares our own copy of the rule with the product's.
func TestTheStoriesTellWhatTheRulesSay(t *testing.T) {
	shares := 0
	for _, s := range stories {
		shares += s.share
		var before *ofb.ResourceState
		for _, state := range s.states {
			if before != nil {
				require.True(t, s.kind.Reaches(before.Status, state), "%s: %s to %s", s.kind, before.Status, state)
			}
			now := ofb.ResourceState{Status: state}
			must := ofb.Judge(s.kind, before, now, ofb.Holder).Duty == ofb.Must
			require.Equal(t, must, slices.Contains(told[s.kind], state), "%s into %s", s.kind, state)
			before = &now
		}
	}
	require.Equal(t, 100, shares)
}
