package dispatch

import (
	"container/heap"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// lane is one clientId as the loop sees it. It exists while it holds slots or is known to have work.
type lane struct {
	habit
	client   notice.ClientID
	class    class
	inFlight int          // slots held: claimed, and the outcome not stored yet
	asked    int          // slots of claims under way, and of commits under way that record a first attempt
	reserved int          // of these, slots of commits
	sending  int          // attempts whose end has not been seen
	heard    time.Time    // when its receiver last answered, or when sending last began to be more than 0
	proven   int          // how many slots its answers have shown to be safe; forgotten when nothing is under way for growEvery
	stopped  time.Time    // since when its work waits for a slot; zero: it does not
	why      notice.Delay // what it waits for, if stopped
	credit   int          // saved up for the late, in parts of lateShare
	ready    bool         // it has due work, as far as we know
	dueAt    time.Time    // since when, if ready; else when it will have, if place says so
	place    int          // in lanes.later, or absent
	ahead    *wheel       // when it has work later; nil: never yet
	poison   poison
}

const absent = -1

// heldFrom is from when on it is recorded that a lane was held.
const heldFrom = 100 * time.Millisecond

// load is what the lane holds, or would hold if all it asked for came.
func (l *lane) load() int { return l.inFlight + l.asked }

// burden is the part of its load for which the lane needs room. What waits for commits of ours burdens its receiver only once it leaves.
// Where slots are many, some of it needs none: a few commits at full speed fill the room of a lane, and what finds it full takes the
// way through the queue, which costs twice as much.
func (l *lane) burden(a allowance) int { return l.load() - min(l.reserved, a.slots/64) }

// request is the lane's part of a claim for n slots. The late get their share of what is asked, not of what comes: when less
// comes, nothing due was left behind.
func (l *lane) request(n int, now time.Time) notice.ClaimRequest {
	l.credit += n
	late := l.credit / lateShare
	l.credit %= lateShare
	w := notice.ClaimRequest{Client: l.client, Free: n, Late: late}
	if held := now.Sub(l.stopped); !l.stopped.IsZero() && held >= heldFrom {
		w.Held, w.HeldFor = l.why, held
	}
	return w
}

// lanes are all lanes the loop knows, by the state of their work: ready, later, or none.
type lanes struct {
	begin    time.Time // tick 0 of the wheels
	all      map[notice.ClientID]*lane
	habits   map[notice.ClientID]habit // of lanes that are not in all; at most one for each registration
	ready    map[*lane]struct{}
	later    laterHeap
	pool     candidates // reused by share
	usage    usage
	reserved int       // slots that Reserve took and that are neither started nor released
	dry      time.Time // when ready lanes last found no slot free
}

func newLanes(begin time.Time) *lanes {
	return &lanes{
		begin: begin, all: make(map[notice.ClientID]*lane), habits: make(map[notice.ClientID]habit), ready: make(map[*lane]struct{}),
	}
}

// of finds or makes a client's lane.
func (s *lanes) of(client notice.ClientID) *lane {
	l := s.all[client]
	if l == nil {
		l = &lane{client: client, place: absent, habit: s.habits[client]}
		l.class = l.classAt(time.Time{})
		delete(s.habits, client)
		s.all[client] = l
	}
	return l
}

// due notes that a lane has work due at the instant given. A lane put aside is not asked before its time.
func (s *lanes) due(client notice.ClientID, at, now time.Time) {
	l := s.of(client)
	if l.poison.isolated && at.Before(l.poison.until) {
		at = l.poison.until
	}
	if !at.After(now) {
		s.makeReady(l, at)
		return
	}
	if l.place != absent && !l.dueAt.After(now) {
		s.makeReady(l, l.dueAt) // before its tick is cleared
	}
	if l.ahead == nil {
		l.ahead = &wheel{}
	}
	l.ahead.clear(ticksDown(now.Sub(s.begin)))
	l.ahead.add(ticksUp(at.Sub(s.begin)))
	s.schedule(l)
}

func (s *lanes) makeReady(l *lane, since time.Time) {
	if l.ready {
		return
	}
	if l.place != absent {
		heap.Remove(&s.later, l.place)
	}
	l.ready, l.dueAt = true, since
	s.ready[l] = struct{}{}
}

// schedule puts a lane that is not ready where its wheel says.
func (s *lanes) schedule(l *lane) {
	if l.ready || l.ahead == nil {
		return
	}
	n, ok := l.ahead.next()
	if !ok {
		return
	}
	l.dueAt = s.begin.Add(time.Duration(n) * tick)
	if l.place == absent {
		heap.Push(&s.later, l)
	} else {
		heap.Fix(&s.later, l.place)
	}
}

// promote makes ready what has fallen due.
func (s *lanes) promote(now time.Time) {
	for len(s.later) > 0 && !s.later[0].dueAt.After(now) {
		s.makeReady(s.later[0], s.later[0].dueAt)
	}
}

// asking takes a ready lane's due mark away: the claim that is now made will find all work due by now. Whatever is
// committed after the claim's snapshot comes with a wake-up of its own.
func (s *lanes) asking(l *lane, now time.Time) {
	if s.dry.After(l.dueAt) {
		l.stop(notice.DelaySlots, l.dueAt)
	}
	delete(s.ready, l)
	l.ready = false
	if l.ahead != nil {
		l.ahead.clear(ticksDown(now.Sub(s.begin)))
		s.schedule(l)
	}
}

// release forgets a lane that holds nothing and is not known to have work, except how its receiver answers.
func (s *lanes) release(l *lane) {
	if l.load() == 0 && !l.ready && l.place == absent {
		delete(s.all, l.client)
		if l.habit != (habit{}) {
			s.habits[l.client] = l.habit
		}
	}
}

// laterHeap orders lanes by the instant their work falls due.
type laterHeap []*lane

func (h laterHeap) Len() int           { return len(h) }
func (h laterHeap) Less(i, j int) bool { return h[i].dueAt.Before(h[j].dueAt) }
func (h laterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *laterHeap) Push(x any) {
	l := x.(*lane)
	l.place = len(*h)
	*h = append(*h, l)
}

func (h *laterHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.place = absent
	return l
}
