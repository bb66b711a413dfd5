package dispatch

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/notice"
)

// lanesWith makes ready lanes that hold so many slots each; the first has waited longest.
func lanesWith(loads ...int) *lanes {
	now := time.Now()
	s := newLanes(now)
	for i, load := range loads {
		client := notice.ClientID(fmt.Sprintf("itp-%04d", i))
		l := s.of(client)
		l.room = 1 << 20
		l.inFlight = load / 2
		l.asked = load - load/2
		s.due(client, now.Add(time.Duration(i-len(loads))*time.Millisecond), now)
	}
	return s
}

func byClient(grants []grant) map[notice.ClientID]int {
	m := make(map[notice.ClientID]int)
	for _, g := range grants {
		m[g.lane.client] += g.free
	}
	return m
}

func TestTheNextSlotGoesToTheLaneThatHoldsTheFewest(t *testing.T) {
	for name, test := range map[string]struct {
		loads []int
		allow allowance
		want  map[notice.ClientID]int
	}{
		"the fewest first, up to the same level": {
			[]int{5, 0, 2},
			allowance{free: 7, perLane: 512, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0001": 5, "itp-0002": 2},
		},
		"of equals, who has waited longest": {
			[]int{3, 3, 3},
			allowance{free: 2, perLane: 512, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0000": 1, "itp-0001": 1},
		},
		"the last slots only to lanes with at most one": {
			[]int{2, 1, 0},
			allowance{free: 4, reserve: 4, perLane: 512, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0001": 1, "itp-0002": 2},
		},
		"nobody beyond its limit": {
			[]int{510, 512, 600},
			allowance{free: 100, perLane: 512, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0000": 2},
		},
		"not more lanes than may share the call": {
			[]int{4, 3, 2, 1},
			allowance{free: 100, perLane: 10, rows: 500, lanes: 2},
			map[notice.ClientID]int{"itp-0003": 9, "itp-0002": 8},
		},
		"not more rows than a claim may ask for": {
			[]int{0},
			allowance{free: 4096, perLane: 4096, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0000": 500},
		},
		"nothing without a free slot": {
			[]int{0}, allowance{free: 0, perLane: 512, rows: 500, lanes: 500}, map[notice.ClientID]int{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, byClient(lanesWith(test.loads...).share(test.allow)))
		})
	}
}

func TestSharingIsFairWhateverTheLoads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loads := rapid.SliceOfN(rapid.IntRange(0, 40), 0, 60).Draw(t, "loads")
		a := allowance{
			free: rapid.IntRange(0, 300).Draw(t, "free"), reserve: rapid.IntRange(0, 30).Draw(t, "reserve"),
			perLane: rapid.IntRange(1, 50).Draw(t, "perLane"), rows: rapid.IntRange(1, 300).Draw(t, "rows"), lanes: 500,
		}
		s := lanesWith(loads...)
		given := byClient(s.share(a))
		total, smallest, largest := 0, 1<<30, -1
		for l := range s.ready {
			n := given[l.client]
			total += n
			level := l.load() + n
			if n > 0 {
				require.LessOrEqual(t, level, a.perLane)
				largest = max(largest, level)
			}
			smallest = min(smallest, level)
		}
		require.LessOrEqual(t, total, min(a.free, a.rows))
		require.LessOrEqual(t, largest, smallest+1, "nobody gets one while another holds two fewer")
		if total < min(a.free, a.rows) && len(s.ready) > 0 { // then no lane could take one more
			require.True(t, smallest >= a.perLane || (a.free-total <= a.reserve && smallest > 1))
		}
	})
}

func TestALaneHasWhatItsReceiversPaceNeedsAndGrowsByTheClockWithoutAnswers(t *testing.T) {
	now := time.Now()
	s := newLanes(now)
	s.due("itp", now, now)
	l := s.of("itp")
	a := allowance{free: 4096, perLane: 512, rows: 500, lanes: 500, now: now}
	take := func() int { n := byClient(s.share(a))["itp"]; l.inFlight += n; return n }
	require.Equal(t, firstRoom, take())
	require.Zero(t, take(), "a receiver that has not answered yet gets no more")

	l.inFlight -= 3
	for range 3 {
		l.ended(a.perLane, time.Millisecond)
	}
	require.Equal(t, 3, take(), "a quick one needs no more")

	for range 1000 {
		l.ended(a.perLane, 100*time.Millisecond)
	}
	require.InDelta(t, 200-firstRoom, take(), 2, "2,000 a second at 100 ms each")

	a.now = now.Add(time.Minute)
	require.Zero(t, take(), "the clock counts from when it was held back")
	var held []int
	for range 4 {
		a.now = a.now.Add(growEvery)
		take()
		held = append(held, l.load())
	}
	require.InDelta(t, 400, held[0], 4)
	require.Equal(t, []int{512, 512, 512}, held[1:])
}

func TestTheLatePartOfSmallClaimsIsSavedUp(t *testing.T) {
	l := &lane{client: "itp"}
	var late []int
	for _, free := range []int{1, 1, 1, 1, 1, 1, 1, 1, 3, 2, 4, 500, 7} {
		late = append(late, l.want(free).Late)
	}
	require.Equal(t, []int{0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 125, 2}, late)
}

func TestALanePutAsideIsAskedAloneEvenWithASingleSlot(t *testing.T) {
	s := lanesWith(0, 0, 0)
	bad := s.of("itp-0001")
	bad.suspect.aside = true
	a := allowance{free: 1, reserve: 1, perLane: 1, rows: 500, lanes: 500}
	require.Equal(t, map[notice.ClientID]int{"itp-0001": 1}, byClient(s.share(a)))
	bad.inFlight = 1
	require.Equal(t, map[notice.ClientID]int{"itp-0000": 1}, byClient(s.share(a)))
}

func TestALaneIsForgottenWhenItHoldsNothingAndHasNoWork(t *testing.T) {
	now := time.Now()
	s := newLanes(now)
	s.due("itp", now.Add(10*time.Second), now)
	l := s.of("itp")
	s.release(l)
	require.Len(t, s.all, 1, "it has work later")
	now = now.Add(11 * time.Second)
	s.promote(now)
	require.Len(t, s.ready, 1)
	s.release(l)
	require.Len(t, s.all, 1, "it has work now")
	s.asking(l, now)
	l.want(3)
	s.release(l)
	require.Len(t, s.all, 1, "it has asked")
	l.asked = 0
	s.release(l)
	require.Empty(t, s.all)
	require.Empty(t, s.later)
}

func BenchmarkShareOfAThousandLanes(b *testing.B) {
	for _, ready := range []int{1, 40, 1000} {
		b.Run(fmt.Sprint(ready, " ready"), func(b *testing.B) {
			loads := make([]int, ready)
			for i := range loads {
				loads[i] = i * 7 % 90
			}
			s := lanesWith(loads...)
			for i := range 1000 - ready {
				s.of(notice.ClientID(fmt.Sprint("idle-", i))).inFlight = 3
			}
			a := allowance{free: 3000, reserve: 256, perLane: 512, rows: claimRows, lanes: claimRows}
			b.ReportAllocs()
			for b.Loop() {
				s.share(a)
			}
		})
	}
}

func BenchmarkSettlingAndWakingOneLane(b *testing.B) {
	now := time.Now()
	s := newLanes(now)
	for i := range 1000 {
		s.due(notice.ClientID(fmt.Sprint("itp-", i)), now.Add(time.Duration(i)*60*time.Millisecond), now)
	}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		s.due("itp-7", now.Add(10*time.Second), now)
		s.due("itp-7", now, now)
		s.promote(now)
		for l := range s.ready {
			s.asking(l, now)
		}
	}
}
