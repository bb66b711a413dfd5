// Package connlimit limits how many connections a listener has at a time, and tells what becomes of those beyond.
package connlimit

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// Listener is a listener that lets in so many connections at a time (cases E7). What becomes of those beyond is the
// listener's own manner: the internal one serves a few more, to say 503; the public one ends its oldest unfinished handshake
// for each, and without one closes them before a handshake, so that there is no query and nothing to record; the ops one
// closes its oldest, and so can always be reached.
// Connections beyond are accepted all the same, never left in the kernel's queue: nobody waits for an answer that will
// not come, and Accept does not spin.
type Listener struct {
	net.Listener
	Most     int         // connections served
	Overflow int         // connections more that are answered 503
	Evict    bool        // the oldest makes room for the newest
	Room     func() bool // closes one connection if it can, when there is no room for the next; nil: nothing can
	Open     func(n int) // told how many there are
	Turned   func()      // told of each that is over the limit
	Cut      func()      // told of each that is closed before anything was read of it; nil: nobody

	Last chan struct{} // capacity 1: told when the last guest has left; nil: nobody asks

	mu     sync.Mutex
	inside map[*guest]struct{}
	count  uint64 // guests so far
}

// guest is one connection of a limited Listener.
type guest struct {
	net.Conn
	of     *Listener
	number uint64 // in order of arrival
	beyond bool   // it is over the limit
	leave  sync.Once
}

// Accept returns the next connection that is let in, or the listener's own error.
func (c *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.Room != nil && c.full() {
			c.Room()
		}
		g, gone := c.admit(conn)
		if gone != nil {
			c.Turned()
			if c.Cut != nil {
				c.Cut()
			}
			cut(gone)
		}
		if g != nil {
			return g, nil
		}
	}
}

// full tells that the next connection would be over the limit.
func (c *Listener) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inside) >= c.Most
}

// admit makes a connection a guest, unless there is no room, and tells which connection is to be closed, if one is.
func (c *Listener) admit(conn net.Conn) (in *guest, gone net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.inside)
	c.count++
	g := &guest{Conn: conn, of: c, number: c.count, beyond: n >= c.Most}
	switch {
	case c.Evict && g.beyond:
		gone, g.beyond = c.first(), false
	case n >= c.Most+c.Overflow:
		return nil, conn
	case g.beyond:
		c.Turned()
	}
	if c.inside == nil {
		c.inside = map[*guest]struct{}{}
	}
	c.inside[g] = struct{}{}
	c.Open(len(c.inside))
	return g, gone
}

// first takes the oldest connection out; c.mu is held, and somebody is inside.
func (c *Listener) first() net.Conn {
	var oldest *guest
	for g := range c.inside {
		if oldest == nil || g.number < oldest.number {
			oldest = g
		}
	}
	delete(c.inside, oldest)
	return oldest
}

// cut ends a connection at once and leaves nothing of it in the kernel.
func cut(conn net.Conn) {
	inner := conn
	if g, ok := conn.(*guest); ok {
		inner = g.Conn
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close() // it is turned away; nobody is told how that went
}

// Close leaves the count.
func (g *guest) Close() error {
	err := g.Conn.Close()
	g.leave.Do(func() {
		c := g.of
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.inside, g)
		c.Open(len(c.inside))
		if len(c.inside) == 0 {
			select {
			case c.Last <- struct{}{}:
			default:
			}
		}
	})
	return err
}

// Wait returns when nobody is inside, or when ctx ends.
func (c *Listener) Wait(ctx context.Context) {
	for {
		c.mu.Lock()
		n := len(c.inside)
		c.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-c.Last:
		case <-ctx.Done():
			return
		}
	}
}

type beyondKey struct{}

// TurnAway makes a server answer 503 on connections beyond its limit, before anything is asked of them. each is told of
// every such request.
func TurnAway(server *http.Server, each func(*http.Request)) {
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if secured, ok := conn.(*tls.Conn); ok {
			conn = secured.NetConn()
		}
		if g, ok := conn.(*guest); ok && g.beyond {
			return context.WithValue(ctx, beyondKey{}, true)
		}
		return ctx
	}
	next := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(beyondKey{}) == nil {
			next.ServeHTTP(w, r)
			return
		}
		each(r)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Retry-After", "1")
		h.Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"error":"unavailable","error_description":"too many connections are open; ask again shortly"}`)) // a caller who is gone is no concern of ours
	})
}
