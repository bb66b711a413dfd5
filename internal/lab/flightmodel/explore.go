package flightmodel

import (
	"fmt"
	"strings"
)

// broken is a law that does not hold, and the shortest way there.
type broken struct {
	law   law
	steps []action
}

func (b *broken) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "broken: %s, after", b.law)
	for _, a := range b.steps {
		fmt.Fprintf(&text, "\n  %s", a)
	}
	return text.String()
}

// rank orders the steps of a run in which nothing fails: everything that is under way ends, by its longest way, before time
// passes.
var rank = map[verb]int{
	begin: 1, commit: 2, receive: 3, post: 4, end: 5, store: 6, retry: 7, giveUp: 8, exit: 9, hold: 10, take: 11, lose: 12, cancel: 13, tick: 14,
}

// next is the step that a run without faults takes in s, among the possible ones.
func next(s *state, possible []action) (best action) {
	least := len(rank) + 1
	for _, a := range possible {
		if a.isFault(s) || a.do == end && a.x != failed {
			continue
		}
		if r := rank[a.do]; r < least {
			best, least = a, r
		}
	}
	return best
}

// explore visits every state that the world can reach, breadth first, and returns how many there are, up to the names of
// replicas and notifications. It stops at the first law that is broken. Whether everything ends when faults stop is judged
// from each state.
func (w *world) explore() (states int, _ *broken) {
	type node struct {
		parent int32
		by     action
		next   int32 // where a run without faults goes on; -1: nothing is left to do
	}
	first := w.start()
	seen := map[uint64]int32{w.key(&first): 0}
	nodes := []node{{parent: -1}}
	way := func(i int32, last ...action) []action {
		steps := last
		for ; nodes[i].parent >= 0; i = nodes[i].parent {
			steps = append([]action{nodes[i].by}, steps...)
		}
		return steps
	}
	var possible []action
	level := []state{first}
	for at := int32(0); len(level) > 0; {
		var following []state
		for i := range level {
			s := &level[i]
			possible = w.actions(s, possible[:0])
			fair := next(s, possible)
			nodes[at].next = -1
			for _, a := range possible {
				after := *s
				if law := w.apply(&after, a); law != "" {
					return len(nodes), &broken{law, way(at, a)}
				}
				key := w.key(&after)
				known, is := seen[key]
				if !is {
					known = int32(len(nodes))
					seen[key] = known
					nodes = append(nodes, node{parent: at, by: a})
					following = append(following, after)
				}
				if a == fair && !s.ends() {
					nodes[at].next = known
				}
			}
			at++
		}
		level = following
	}
	// A run without faults goes from state to state; one that returns to a state it has passed never ends.
	const unknown, passing, good = 0, 1, 2
	verdict := make([]uint8, len(nodes))
	for i := range nodes {
		var passed []int32
		at := int32(i)
		for at >= 0 && verdict[at] == unknown {
			verdict[at] = passing
			passed = append(passed, at)
			at = nodes[at].next
		}
		if at >= 0 && verdict[at] == passing {
			return len(nodes), &broken{lawEnds, way(int32(i))}
		}
		for _, p := range passed {
			verdict[p] = good
		}
	}
	return len(nodes), nil
}
