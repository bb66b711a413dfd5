package dispatch

import (
	"container/heap"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// lane is one clientId as the loop sees it. It exists while it holds slots or is known to have work.
type lane struct {
	client   notice.ClientID
	inFlight int // slots held: claimed, and the outcome not stored yet
	asked    int // slots reserved by claims under way
	waiting  int // first attempts we were told of and did not get yet; others may have
	woken    int // of these, those that came since the last claim was asked for
	taken    int // first attempts claimed since the last look at pressure
	pressure pressure
	room     int           // slots it may hold for now
	pace     time.Duration // in which its receiver answers, of late; 0: not known
	grown    time.Time     // when it was first held back since the last answer, or last doubled for that
	credit   int           // saved up for the late, in parts of lateShare
	ready    bool          // it has due work, as far as we know
	dueAt    time.Time     // since when, if ready; else when it will have, if place says so
	place    int           // in lanes.later, or absent
	ahead    *wheel        // when it has work later; nil: never yet
	suspect  suspect
}

const absent = -1

// What a lane may hold. It begins with enough for the burst of one consent's sixty payments (webhook §5.7), and then has
// what it needs to carry enough a second at the pace its receiver answers: more would only wait for each other's
// connections, in memory instead of in the database. A receiver that does not answer gets twice as many each time it has
// held the lane up for growEvery, which comes to 512 in 1.5 s.
const (
	firstRoom = 64
	enough    = 2000 // a second
	growEvery = time.Second / 2
)

// full tells whether the lane may hold no more for now. One that was full growEvery ago, without an answer since, grows.
func (l *lane) full(now time.Time) bool {
	if l.load() < l.room {
		return false
	}
	if l.grown.IsZero() {
		l.grown = now
	}
	if now.Sub(l.grown) < growEvery {
		return true
	}
	l.room, l.grown = 2*l.room, now
	return false
}

// held tells whether the lane waits for a receiver that does not answer.
func (l *lane) held() bool { return !l.grown.IsZero() && l.load() >= l.room }

// ended notes that an attempt of the lane came to an end, and how long the receiver took to answer; 0: it did not.
func (l *lane) ended(perLane int, answer time.Duration) {
	if answer <= 0 {
		return
	}
	switch { // a busy moment of ours, which makes all answers look slow, counts little
	case l.pace == 0:
		l.pace = answer
	case answer < l.pace:
		l.pace = (3*l.pace + answer) / 4
	default:
		l.pace = (31*l.pace + answer) / 32
	}
	l.grown = time.Time{}
	l.room = min(perLane, max(firstRoom, int(l.pace*enough/time.Second)))
}

// add notes so many first attempts that are due.
func (l *lane) add(n int) {
	l.waiting += n
	l.woken += n
}

// load is what the lane holds, or would hold if all it asked for came.
func (l *lane) load() int { return l.inFlight + l.asked }

// want makes the lane ask for n slots and gives the late their share. It counts what is asked, not what comes: when less
// comes, nothing due was left behind.
func (l *lane) want(n int) notice.Want {
	l.asked += n
	l.credit += n
	late := l.credit / lateShare
	l.credit %= lateShare
	return notice.Want{Client: l.client, Free: n, Late: late}
}

// lanes are all lanes the loop knows, by the state of their work: ready, later, or none.
type lanes struct {
	begin time.Time // tick 0 of the wheels
	all   map[notice.ClientID]*lane
	ready map[*lane]struct{}
	later laterHeap
	pool  candidates // reused by share
}

func newLanes(begin time.Time) *lanes {
	return &lanes{begin: begin, all: make(map[notice.ClientID]*lane), ready: make(map[*lane]struct{})}
}

// of finds or makes a client's lane.
func (s *lanes) of(client notice.ClientID) *lane {
	l := s.all[client]
	if l == nil {
		l = &lane{client: client, place: absent, room: firstRoom}
		s.all[client] = l
	}
	return l
}

// due notes that a lane has work due at the instant given. A lane put aside is not asked before its time.
func (s *lanes) due(client notice.ClientID, at, now time.Time) {
	l := s.of(client)
	if l.suspect.aside && at.Before(l.suspect.until) {
		at = l.suspect.until
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
	delete(s.ready, l)
	l.ready, l.woken = false, 0
	if l.ahead != nil {
		l.ahead.clear(ticksDown(now.Sub(s.begin)))
		s.schedule(l)
	}
}

// release forgets a lane that holds nothing and is not known to have work.
func (s *lanes) release(l *lane) {
	if l.load() == 0 && !l.ready && l.place == absent {
		delete(s.all, l.client)
	}
}

// growth asks for another look when a lane that is held back may grow.
func (s *lanes) growth(next *alarm) {
	for l := range s.ready {
		if l.held() {
			next.at(l.grown.Add(growEvery))
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
