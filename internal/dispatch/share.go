package dispatch

import (
	"cmp"
	"container/heap"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// greed is how many times what is left of its class's slots one lane may hold: a lane alone has sixteen of seventeen, two
// have 32 of 33. So there is a free slot for a lane that comes to need one, however much the others have to do.
const greed = 16

// allowance bounds one claim.
type allowance struct {
	slots   int // in all
	perLane int // what one lane may hold
	rows    int // what one claim may ask for
	lanes   int // lanes that may share the claim
	now     time.Time
}

// left is what there is to share: it shrinks as it is given away.
type left struct {
	slots  int
	free   int          // slots nobody holds or has asked for
	firsts int          // the last so many are for lanes that hold none
	keep   [silent]int  // see usage.keep
	held   [classes]int // see usage
}

func (s *lanes) left(slots int) left {
	u := &s.usage
	return left{
		slots: slots, free: slots - u.held[quick] - u.held[slow] - u.held[silent], firsts: max(min(slots/32, 128), min(4, slots/8)),
		keep: [silent]int{u.keep(quick, slots), u.keep(slow, slots)}, held: u.held,
	}
}

// of is what is left for a class beyond what is kept for better ones.
func (p *left) of(c class) int {
	switch c {
	case slow:
		return min(p.free, p.slots-p.keep[quick]-p.held[slow]-p.held[silent])
	case silent:
		return min(p.free, p.slots-p.keep[slow]-p.held[silent])
	default:
		return p.free
	}
}

// allows reports whether a lane that holds so many may have one more. The last few slots are for lanes that hold none. A slow
// lane leaves half of these to the quick, and a silent lane leaves 16 to those that answer.
func (p *left) allows(l *lane, load int) bool {
	switch {
	case p.free <= 0:
		return false
	case load > 0:
		return p.free > p.firsts && load < greed*p.of(l.class)
	case l.takes == 0 || l.class == quick:
		return true
	case l.class == slow:
		return p.free > p.firsts/2
	default:
		return p.held[silent] < p.slots-min(16, p.slots/2)
	}
}

// grant is the number of slots one lane may ask for.
type grant struct {
	lane *lane
	free int
}

// share gives free slots to the ready lanes, one by one: first one to each lane that holds none, then to lanes that
// answer, then to silent ones; among these to the lane that holds the fewest, and of two that hold the same to the one
// that has waited longest. A lane put aside is asked alone, and before the others so that it cannot starve; it comes back
// only every few seconds.
func (s *lanes) share(a allowance) []grant {
	p := s.left(a.slots)
	if p.free <= 0 {
		s.dry = a.now
		return nil
	}
	s.pool = s.pool[:0]
	for l := range s.ready {
		switch room := l.room(a); {
		case l.inFlight >= room:
			l.stop(notice.DelayReceiver, a.now)
		case l.burden(a) >= room || l.load() >= a.perLane || !p.allows(l, l.load()): // by commits of ours, claims that are under way, or others
			l.stop(l.heldBy(), a.now)
		case l.poison.isolated:
			return []grant{{lane: l, free: 1}}
		default:
			room = min(room+l.load()-l.burden(a), a.perLane)
			s.pool = append(s.pool, candidate{lane: l, load: l.load(), room: room})
		}
	}
	heap.Init(&s.pool)
	var granted []grant
	for a.rows > 0 && len(s.pool) > 0 {
		c := &s.pool[0]
		if c.load >= c.room || !p.allows(c.lane, c.load) || c.grant == 0 && len(granted) == a.lanes {
			heap.Pop(&s.pool)
			continue
		}
		if c.grant == 0 {
			granted = append(granted, grant{lane: c.lane})
			c.grant = len(granted)
		}
		granted[c.grant-1].free++
		c.load++
		p.free--
		p.held[c.lane.class]++
		a.rows--
		heap.Fix(&s.pool, 0)
	}
	return granted
}

// stop notes that the lane's due work waits for a slot, and what it waits for now.
func (l *lane) stop(why notice.Delay, now time.Time) {
	l.why = why
	if l.stopped.IsZero() {
		l.stopped = now
	}
}

// heldBy says why a lane gets no slot: a silent lane that holds some waits for its receiver, any other for slots.
func (l *lane) heldBy() notice.Delay {
	if l.class == silent && l.load() > 0 {
		return notice.DelayReceiver
	}
	return notice.DelaySlots
}

// candidate is a lane among those that share.
type candidate struct {
	lane  *lane
	load  int // including what it was just given
	room  int // what it may hold, with what needs no room
	grant int // its position in the grants, from 1; 0: none yet
}

// turn is the first thing that is compared: who holds none, who answers, who does not.
func (c *candidate) turn() int {
	switch {
	case c.load == 0:
		return 0
	case c.lane.class != silent:
		return 1
	default:
		return 2
	}
}

// candidates is a heap with the lane that goes first at its top.
type candidates []candidate

func (p candidates) Len() int { return len(p) }

func (p candidates) Less(i, j int) bool {
	a, b := &p[i], &p[j]
	return cmp.Or(
		cmp.Compare(a.turn(), b.turn()), cmp.Compare(a.load, b.load), a.lane.dueAt.Compare(b.lane.dueAt),
		strings.Compare(string(a.lane.client), string(b.lane.client)),
	) < 0
}

func (p candidates) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *candidates) Push(x any)   { *p = append(*p, x.(candidate)) }
func (p *candidates) Pop() any {
	last := len(*p) - 1
	c := (*p)[last]
	*p = (*p)[:last]
	return c
}
