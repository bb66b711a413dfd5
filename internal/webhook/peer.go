package webhook

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// peerHabits is what one endpoint has learned about its receiver: the addresses of its name, which of them made trouble
// of late, and after how long it ends idle connections. It does no I/O and knows no clock. It is safe for concurrent
// use.
type peerHabits struct {
	mu       sync.Mutex
	addrs    map[netip.Addr]time.Time // of the name: when each was last in an answer; nil while there was none
	resolved time.Time                // when the last answer came
	asked    time.Time                // when the name was last resolved, or is being resolved
	troubled map[netip.Addr]time.Time
	idle     time.Duration // the receiver's idle limit, as seen; 0: not seen
	seen     time.Time
	hasty    int       // connections in a row that ended right after their first answer
	noReuse  time.Time // when the receiver was found to end every connection so
}

const (
	// maxAddresses is how many addresses of one name are tried in one attempt.
	maxAddresses = 32
	// avoidFor is how long an address that failed is tried after the others.
	avoidFor = time.Minute
	// forgetHabit is how long an idle limit that was seen counts. A receiver that is restarted ends connections early
	// too; the price of that mistake is some handshakes in this time.
	forgetHabit = 5 * time.Minute
	// shortestHabit is the shortest idle time that counts as a receiver's limit; below it, it ended the connection for
	// another reason.
	shortestHabit = 500 * time.Millisecond
	// hastyAfter is how many connections in a row must end right after their first answer, and none after a later one,
	// before none is kept open for hastyFor. Such a receiver does not announce the end, as it should (RFC 9112 §9.6).
	hastyAfter = 2
	hastyFor   = time.Minute
)

// askAgain reports whether the name should be resolved now, and notes that it is.
func (h *peerHabits) askAgain(now time.Time, every time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.addrs == nil || now.Sub(h.asked) < every {
		return false
	}
	h.asked = now
	return true
}

// answered notes an answer to the question for the name's addresses.
func (h *peerHabits) answered(now time.Time, addrs []netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.addrs == nil {
		h.addrs = map[netip.Addr]time.Time{}
	}
	maps.DeleteFunc(h.addrs, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) >= forgetHabit })
	h.resolved, h.asked = now, now
	for _, addr := range addrs {
		h.addrs[addr.Unmap()] = now
	}
}

// lacks reports whether addr is no address of the name any more: it was in no answer for that long, and the last answer
// lacked it. One answer is not enough: many names answer with some of their addresses in turn.
func (h *peerHabits) lacks(addr netip.Addr, now time.Time, forLong time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.addrs[addr.Unmap()] // never: the zero time, which is long ago
	return h.addrs != nil && h.resolved.After(at) && now.Sub(at) >= forLong
}

// failed notes that an address made trouble: no connection, no handshake, or a connection that broke.
func (h *peerHabits) failed(now time.Time, addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.troubled == nil {
		h.troubled = map[netip.Addr]time.Time{}
	}
	maps.DeleteFunc(h.troubled, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) >= avoidFor })
	h.troubled[addr.Unmap()] = now
}

// order puts the addresses in the order in which they are tried and cuts the list to maxAddresses: those that failed of
// late after the others, and the families in turn (RFC 8305 §4), beginning with the one the resolver put first.
func (h *peerHabits) order(now time.Time, addrs []netip.AddrPort) []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	var good, bad []netip.AddrPort
	for _, at := range addrs {
		if since, ok := h.troubled[at.Addr().Unmap()]; ok && now.Sub(since) < avoidFor {
			bad = append(bad, at)
		} else {
			good = append(good, at)
		}
	}
	list := append(interleave(good), interleave(bad)...)
	return list[:min(len(list), maxAddresses)]
}

// interleave takes an address of each family in turn, in the order given within a family.
func interleave(addrs []netip.AddrPort) []netip.AddrPort {
	if len(addrs) == 0 {
		return nil
	}
	first := addrs[0].Addr().Unmap().Is4()
	var own, other []netip.AddrPort
	for _, at := range addrs {
		if at.Addr().Unmap().Is4() == first {
			own = append(own, at)
		} else {
			other = append(other, at)
		}
	}
	list := make([]netip.AddrPort, 0, len(addrs))
	for len(own) > 0 && len(other) > 0 {
		list = append(list, own[0], other[0])
		own, other = own[1:], other[1:]
	}
	return slices.Concat(list, own, other)
}

// endedAfter notes that the receiver ended a connection that had been idle for so long.
func (h *peerHabits) endedAfter(now time.Time, idle time.Duration) {
	if idle < shortestHabit {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.idle == 0 || idle < h.idle || now.Sub(h.seen) >= forgetHabit {
		h.idle, h.seen = idle, now
	}
}

// endedAtOnce notes that the receiver ended a connection right after its first answer.
func (h *peerHabits) endedAtOnce(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hasty++; h.hasty >= hastyAfter {
		h.noReuse = now
	}
}

// reused notes that a connection brought a second answer.
func (h *peerHabits) reused() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hasty = 0
}

// idleLimit is the receiver's idle limit as it was seen of late; 0: none was. A nanosecond stands for a receiver that
// ends every connection after one answer.
func (h *peerHabits) idleLimit(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hasty >= hastyAfter && now.Sub(h.noReuse) < hastyFor {
		return time.Nanosecond
	}
	if h.idle == 0 || now.Sub(h.seen) >= forgetHabit {
		return 0
	}
	return h.idle
}
