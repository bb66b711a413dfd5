package dispatch

import (
	"container/heap"
	"strings"
	"time"
)

// allowance bounds one claim.
type allowance struct {
	free    int // slots nobody holds or has asked for
	reserve int // the last so many are for lanes that hold at most one
	perLane int // what one lane may hold
	rows    int // what one claim may ask for
	lanes   int // lanes that may share the claim
	now     time.Time
}

// allows tells whether a lane that holds so many may have one more.
func (a allowance) allows(load int) bool {
	return a.free > 0 && load < a.perLane && (a.free > a.reserve || load <= 1)
}

// grant is the number of slots one lane may ask for.
type grant struct {
	lane *lane
	free int
}

// share gives free slots to the ready lanes, one by one, each to the lane that holds the fewest: water filling. Of two
// that hold the same the one that has waited longest comes first, so lanes take turns when slots are short. A lane put
// aside is asked alone, and before the others so that it cannot starve; it comes back only every few seconds.
func (s *lanes) share(a allowance) []grant {
	s.pool = s.pool[:0]
	for l := range s.ready {
		if l.suspect.aside {
			if a.allows(l.load()) {
				return []grant{{lane: l, free: 1}}
			}
			continue
		}
		if !l.full(a.now) {
			s.pool = append(s.pool, candidate{lane: l, load: l.load()})
		}
	}
	heap.Init(&s.pool)
	var granted []grant
	for a.rows > 0 && len(s.pool) > 0 {
		c := &s.pool[0] // holds the fewest: what stops it stops them all
		if !a.allows(c.load) {
			break
		}
		if c.grant == 0 {
			if len(granted) == a.lanes {
				heap.Pop(&s.pool)
				continue
			}
			granted = append(granted, grant{lane: c.lane})
			c.grant = len(granted)
		}
		granted[c.grant-1].free++
		c.load++
		a.free--
		a.rows--
		if c.load < c.lane.room {
			heap.Fix(&s.pool, 0)
		} else {
			heap.Pop(&s.pool)
		}
	}
	return granted
}

// candidate is a lane among those that share.
type candidate struct {
	lane  *lane
	load  int // including what it was just given
	grant int // its position in the grants, from 1; 0: none yet
}

// candidates is a heap with the lane that goes first at its top.
type candidates []candidate

func (p candidates) Len() int { return len(p) }

func (p candidates) Less(i, j int) bool {
	if p[i].load != p[j].load {
		return p[i].load < p[j].load
	}
	if c := p[i].lane.dueAt.Compare(p[j].lane.dueAt); c != 0 {
		return c < 0
	}
	return strings.Compare(string(p[i].lane.client), string(p[j].lane.client)) < 0
}

func (p candidates) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *candidates) Push(x any)   { *p = append(*p, x.(candidate)) }
func (p *candidates) Pop() any {
	last := len(*p) - 1
	c := (*p)[last]
	*p = (*p)[:last]
	return c
}
