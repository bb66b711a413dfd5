package dispatch

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/notice"
)

// lanesWith makes ready lanes of quick receivers that hold so many slots each; the first has waited longest.
func lanesWith(loads ...int) *lanes {
	now := time.Now()
	s := newLanes(now)
	for i, load := range loads {
		client := notice.ClientID(fmt.Sprintf("itp-%04d", i))
		l := s.of(client)
		l.habit, l.proven = habit{takes: 20 * time.Millisecond, pace: time.Hour}, 1<<20
		s.classify(l, now)
		s.book(l, load/2, load-load/2)
		s.due(client, now.Add(time.Duration(i-len(loads))*time.Millisecond), now)
	}
	return s
}

// become makes lanes of a class.
func (s *lanes) become(c class, clients ...notice.ClientID) {
	for _, client := range clients {
		l := s.of(client)
		l.habit = []habit{{takes: 20 * time.Millisecond}, {takes: 5 * time.Second}, {takes: 15 * time.Second, mute: true}}[c]
		l.pace, l.proven = time.Hour, 1<<20
		s.classify(l, s.begin)
	}
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
			allowance{slots: 1000, perLane: 512, rows: 7, lanes: 500},
			map[notice.ClientID]int{"itp-0001": 5, "itp-0002": 2},
		},
		"of equals, who has waited longest": {
			[]int{3, 3, 3},
			allowance{slots: 1000, perLane: 512, rows: 2, lanes: 500},
			map[notice.ClientID]int{"itp-0000": 1, "itp-0001": 1},
		},
		"at most sixteen times what is left": {
			[]int{150, 0},
			allowance{slots: 160, perLane: 512, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0001": 5},
		},
		"the last few only to lanes that hold none": {
			[]int{2, 1, 0, 0},
			allowance{slots: 8, perLane: 512, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0001": 1, "itp-0002": 2, "itp-0003": 1},
		},
		"nobody beyond its limit": {
			[]int{510, 512, 600},
			allowance{slots: 4096, perLane: 512, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0000": 2},
		},
		"not more lanes than may share the call": {
			[]int{4, 3, 2, 1},
			allowance{slots: 1000, perLane: 10, rows: 500, lanes: 2},
			map[notice.ClientID]int{"itp-0003": 9, "itp-0002": 8},
		},
		"not more rows than a claim may ask for": {
			[]int{0},
			allowance{slots: 4096, perLane: 4096, rows: 500, lanes: 500},
			map[notice.ClientID]int{"itp-0000": 500},
		},
		"nothing without a free slot": {
			[]int{0, 5}, allowance{slots: 5, perLane: 512, rows: 500, lanes: 500}, map[notice.ClientID]int{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, byClient(lanesWith(test.loads...).share(test.allow)))
		})
	}
}

func TestClassesLeaveRoomForBetterOnes(t *testing.T) {
	all := allowance{slots: 26, perLane: 512, rows: 500, lanes: 500}
	hang := []notice.ClientID{"itp-0000", "itp-0001", "itp-0002", "itp-0003", "itp-0004", "itp-0005", "itp-0006", "itp-0007", "itp-0008", "itp-0009"}
	s := lanesWith(make([]int, 10)...)
	s.become(silent, hang...)
	for client, n := range byClient(s.share(all)) {
		require.Equal(t, 1, n, "%s: 10 lanes hang and 26 slots are there: 16 are left to others", client)
		s.book(s.of(client), n, 0)
	}
	require.Empty(t, s.share(all))
	require.Equal(t, notice.DelayReceiver, s.of(hang[0]).why)

	slows := []notice.ClientID{"slow-1", "slow-2"}
	s.become(slow, slows...)
	for _, c := range slows {
		s.due(c, s.begin, s.begin)
	}
	held := 0
	for client, n := range byClient(s.share(all)) {
		held += n
		s.book(s.of(client), n, 0)
	}
	require.Equal(t, 10, held, "6 are left to the quick")
	s.become(quick, "quick")
	s.due("quick", s.begin, s.begin)
	require.Equal(t, map[notice.ClientID]int{"quick": 3}, byClient(s.share(all)), "and the last 3 to lanes that hold none")
}

// Silent lanes give way to what the others need, and only as far.
func TestWhatIsLeftToOthersGrowsWithTheirNeed(t *testing.T) {
	now := time.Now()
	s := newLanes(now)
	s.measure(now)
	require.Equal(t, 48, s.usage.keep(slow, 256))
	s.become(slow, "slow")
	s.book(s.of("slow"), 60, 0)
	for range 100 {
		now = now.Add(50 * time.Millisecond)
		s.measure(now)
	}
	require.InDelta(t, 152, s.usage.keep(slow, 256), 1, "twice what they hold, beside the quick")
	require.Equal(t, 16, s.usage.keep(quick, 256), "the quick need nothing")
	s.book(s.of("slow"), -60, 0)
	now = now.Add(needFades)
	s.measure(now)
	require.InDelta(t, 32+120/math.E, s.usage.keep(slow, 256), 1)
	now = now.Add(4 * needFades)
	s.measure(now)
	require.Equal(t, 48, s.usage.keep(slow, 256))
}

func TestSharingIsFairWhateverTheLoads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loads := rapid.SliceOfN(rapid.IntRange(0, 40), 0, 60).Draw(t, "loads")
		s := lanesWith(loads...)
		for _, l := range s.all {
			s.become(class(rapid.IntRange(0, 2).Draw(t, "class")), l.client)
		}
		held := s.usage.held[quick] + s.usage.held[slow] + s.usage.held[silent]
		a := allowance{
			slots: held + rapid.IntRange(0, 300).Draw(t, "free"), perLane: rapid.IntRange(1, 50).Draw(t, "perLane"), rows: rapid.IntRange(1, 300).Draw(t, "rows"), lanes: 500,
		}
		if a.slots == 0 {
			return
		}
		given := byClient(s.share(a))
		total := 0
		var largest, smallest [classes]int
		for c := range smallest {
			largest[c], smallest[c] = -1, 1<<30
		}
		for l := range s.ready {
			n := given[l.client]
			total += n
			s.book(l, n, 0)
			level := l.load()
			if n > 0 {
				require.LessOrEqual(t, level, a.perLane)
				largest[l.class] = max(largest[l.class], level)
			}
			smallest[l.class] = min(smallest[l.class], level)
		}
		require.LessOrEqual(t, total, min(a.slots-held, a.rows))
		for c := range smallest {
			require.LessOrEqual(t, largest[c], smallest[c]+1, "nobody gets one while another of its class holds two fewer")
		}
		p := s.left(a.slots)
		for l := range s.ready {
			if total < a.rows && l.load() < l.room(a) {
				require.False(t, p.allows(l, l.load()), "no lane could take one more")
			}
			if given[l.client] > 0 && l.load() > 1 {
				require.GreaterOrEqual(t, p.free, p.firsts-len(s.ready))
			}
		}
	})
}

func TestALaneHasWhatItsReceiversPaceNeedsAndGrowsByTheClockWithoutAnswers(t *testing.T) {
	now := time.Now()
	l := &lane{client: "itp"}
	room := func() int { return l.room(allowance{slots: 4096, perLane: 512, now: now}) }
	end := func(took time.Duration) {
		l.started(1, now)
		l.ended(&notice.Result{Outcome: notice.OutcomeDelivered, HTTPStatus: 202, Answered: took, Elapsed: took}, now)
	}
	require.Equal(t, firstRoom, room())
	for range 3 {
		end(time.Millisecond)
	}
	require.Equal(t, firstRoom, room(), "a quick one needs no more")
	for range 1000 {
		end(100 * time.Millisecond)
	}
	require.InDelta(t, 200, room(), 2, "2,000 a second at 100 ms each")
	now = now.Add(time.Minute)
	require.InDelta(t, 200, room(), 2, "nothing is under way")
	l.started(64, now)
	require.Equal(t, 16, l.room(allowance{slots: 256, perLane: 512, now: now}), "where slots are few it must answer first")
	l.inFlight, l.proven = 16, 16
	end(100 * time.Millisecond)
	end(100 * time.Millisecond)
	require.Equal(t, 18, l.room(allowance{slots: 256, perLane: 512, now: now}))
	for range 100 {
		end(100 * time.Millisecond)
	}
	require.Equal(t, 33, l.room(allowance{slots: 256, perLane: 512, now: now}), "twice what it held")
	l.proven = firstRoom << 4
	var rooms []int
	for range 4 {
		now = now.Add(growEvery)
		rooms = append(rooms, room())
	}
	require.InDelta(t, 400, rooms[0], 4)
	require.Equal(t, []int{512, 512, 512}, rooms[1:])
	end(100 * time.Millisecond)
	require.InDelta(t, 200, room(), 2, "it answers again")
	require.Equal(t, 512, (&lane{sending: 1}).room(allowance{slots: 4096, perLane: 512, now: now.Add(100 * 365 * 24 * time.Hour)}))
}

func TestALaneIsQuickSlowOrSilentByWhatItsReceiverDoes(t *testing.T) {
	now := time.Now()
	l := &lane{}
	is := func(want class, why string) {
		t.Helper()
		require.Equal(t, want, l.classAt(now), why)
	}
	end := func(status int, took time.Duration) {
		l.ended(&notice.Result{Outcome: notice.OutcomeRefused, HTTPStatus: status, Elapsed: took}, now)
	}
	is(silent, "not known")
	l.started(100, now)
	end(503, 20*time.Millisecond)
	is(quick, "it answers, whatever it says")
	now = now.Add(80 * time.Millisecond)
	is(quick, "one and a half times its usual time and 50 ms")
	now = now.Add(time.Millisecond)
	is(silent, "no answer for longer")
	end(202, 5*time.Second)
	is(slow, "it answers")
	end(0, 15*time.Second)
	is(silent, "it did not answer")
	end(202, 20*time.Millisecond)
	is(slow, "what was is not forgotten at once")
	for range 40 {
		end(202, 20*time.Millisecond)
	}
	is(quick, "it is quick again")
	end(0, time.Millisecond)
	is(quick, "a connection refused at once keeps no slot")
	for range 20 {
		end(0, 15*time.Second)
		end(202, 20*time.Millisecond)
	}
	is(slow, "half of its attempts hang")
	l.ended(&notice.Result{Outcome: notice.OutcomeUnknown}, now)
	is(slow, "an attempt that was not sent tells nothing")
}

func TestTheLatePartOfSmallClaimsIsSavedUp(t *testing.T) {
	l := &lane{client: "itp"}
	var late []int
	for _, free := range []int{1, 1, 1, 1, 1, 1, 1, 1, 3, 2, 4, 500, 7} {
		late = append(late, l.request(free, time.Time{}).Late)
	}
	require.Equal(t, []int{0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 125, 2}, late)
}

func TestALanePutAsideIsAskedAloneEvenWithASingleSlot(t *testing.T) {
	s := lanesWith(0, 0, 0)
	bad := s.of("itp-0001")
	bad.poison.isolated = true
	a := allowance{slots: 2, perLane: 1, rows: 1, lanes: 500}
	require.Equal(t, map[notice.ClientID]int{"itp-0001": 1}, byClient(s.share(a)))
	s.book(bad, 1, 0)
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
	s.book(l, 0, 3)
	s.release(l)
	require.Len(t, s.all, 1, "it has asked")
	s.book(l, 0, -3)
	l.takes = time.Second
	s.release(l)
	require.Empty(t, s.all)
	require.Empty(t, s.later)
	require.Equal(t, time.Second, s.of("itp").takes, "how its receiver answers is remembered")
	require.Empty(t, s.habits)
	require.Equal(t, slow, s.of("itp").class)
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
				s.book(s.of(notice.ClientID(fmt.Sprint("idle-", i))), 3, 0)
			}
			a := allowance{slots: 1 << 16, perLane: 512, rows: claimRows, lanes: claimRows}
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
