package mtls

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
)

// Handshakes bounds the connections whose handshake has not ended, apart from those that have made theirs: who has no
// certificate takes no room from who has one. Beyond a bound the oldest unfinished handshake is closed and makes room. The
// zero value has no bounds.
type Handshakes struct {
	Most       int    // at a time; 0: no bound
	PerAddress int    // of one source address, an IPv6 network of 64 bits counting as one; 0: no bound
	MadeRoom   func() // told of each that was closed to make room; nil: nobody

	State func() uint64 // what handshakes are made under; nil: nobody asks. Else Under must be asked of each connection that is accepted

	mu  sync.Mutex
	all *list.List // of *handshake, the oldest first
	of  map[netip.Addr]*list.List

	made sync.Map // of *tls.Conn: the State under which its handshake began
}

// handshake is one under way.
type handshake struct {
	conn     net.Conn
	under    uint64 // the State when it began
	address  netip.Addr
	all, own *list.Element // its places; own is nil until its source is known
	over     bool          // it ended, or made room
}

// Listen is the function Listen within these bounds.
func (h *Handshakes) Listen(inner net.Listener, config *tls.Config, refused func(HandshakeRefusal)) net.Listener {
	return listen(h, inner, config, refused)
}

// MakeRoom closes the oldest unfinished handshake. It returns false when there is none.
func (h *Handshakes) MakeRoom() bool {
	h.mu.Lock()
	oldest := front(h.all)
	h.remove(oldest)
	h.mu.Unlock()
	h.end(oldest)
	return oldest != nil
}

// Under is the State when the handshake of an accepted connection began: what changed since may not be in it. It is told once, and is 0 of
// other connections.
func (h *Handshakes) Under(conn net.Conn) uint64 {
	state, _ := h.made.LoadAndDelete(conn)
	under, _ := state.(uint64)
	return under
}

// begin counts a connection, and closes another one that makes room for it. A connection whose source a balancer has still to
// name has no share of a source before name.
func (h *Handshakes) begin(conn net.Conn, named bool) *handshake {
	s := &handshake{conn: conn}
	if h.State != nil {
		s.under = h.State()
	}
	h.mu.Lock()
	if h.all == nil {
		h.all, h.of = list.New(), map[netip.Addr]*list.List{}
	}
	var gone *handshake
	if named {
		gone = h.share(s, conn.RemoteAddr())
	}
	if gone == nil && h.Most > 0 && h.all.Len() >= h.Most {
		gone = front(h.all)
		h.remove(gone)
	}
	s.all = h.all.PushBack(s)
	h.mu.Unlock()
	h.end(gone)
	return s
}

// name counts a handshake for the source that a balancer has named.
func (h *Handshakes) name(s *handshake, source net.Addr) {
	h.mu.Lock()
	var gone *handshake
	if !s.over {
		gone = h.share(s, source)
	}
	h.mu.Unlock()
	h.end(gone)
}

// share puts s into the share of its source. Beyond the bound it takes out the oldest one of that source, and returns it. h.mu is
// held.
func (h *Handshakes) share(s *handshake, source net.Addr) (gone *handshake) {
	s.address = addressOf(source)
	if own := h.of[s.address]; own != nil && h.PerAddress > 0 && own.Len() >= h.PerAddress {
		gone = front(own)
		h.remove(gone)
	}
	if h.of[s.address] == nil {
		h.of[s.address] = list.New()
	}
	s.own = h.of[s.address].PushBack(s)
	return gone
}

// done takes a handshake that has ended out of the count; false when it had made room before.
func (h *Handshakes) done(s *handshake) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.over {
		return false
	}
	h.remove(s)
	return true
}

// remove takes one out; nil is none. h.mu is held.
func (h *Handshakes) remove(s *handshake) {
	if s == nil {
		return
	}
	s.over = true
	h.all.Remove(s.all)
	if s.own == nil {
		return
	}
	own := h.of[s.address]
	if own.Remove(s.own); own.Len() == 0 {
		delete(h.of, s.address)
	}
}

// end closes one that made room; nil is none.
func (h *Handshakes) end(s *handshake) {
	if s == nil {
		return
	}
	_ = s.conn.Close() // it makes room; nobody is told how that went
	if h.MadeRoom != nil {
		h.MadeRoom()
	}
}

// front is the oldest of a list; nil when there is none.
func front(l *list.List) *handshake {
	if l == nil || l.Len() == 0 {
		return nil
	}
	s, _ := l.Front().Value.(*handshake)
	return s
}

// addressOf is what a share belongs to: the address, of IPv6 its network of 64 bits, which one host may have to itself.
func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() {
		network, _ := addr.Prefix(64) // never fails for IPv6
		return network.Addr()
	}
	return addr
}
