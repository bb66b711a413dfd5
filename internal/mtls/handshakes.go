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

	mu  sync.Mutex
	all *list.List // of *handshake, the oldest first
	of  map[netip.Addr]*list.List
}

// handshake is one under way.
type handshake struct {
	conn     net.Conn
	address  netip.Addr
	all, own *list.Element // its places
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

// begin counts a connection, and closes another one that makes room for it.
func (h *Handshakes) begin(conn net.Conn) *handshake {
	s := &handshake{conn: conn, address: addressOf(conn.RemoteAddr())}
	h.mu.Lock()
	if h.all == nil {
		h.all, h.of = list.New(), map[netip.Addr]*list.List{}
	}
	var gone *handshake
	switch own := h.of[s.address]; {
	case h.PerAddress > 0 && own != nil && own.Len() >= h.PerAddress:
		gone = front(own)
	case h.Most > 0 && h.all.Len() >= h.Most:
		gone = front(h.all)
	}
	h.remove(gone)
	if h.of[s.address] == nil {
		h.of[s.address] = list.New()
	}
	s.all, s.own = h.all.PushBack(s), h.of[s.address].PushBack(s)
	h.mu.Unlock()
	h.end(gone)
	return s
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
