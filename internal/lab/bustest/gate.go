package bustest

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Listener is a listener whose connections a test can break, and which it can shut for a while.
type Listener struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
	shut  bool
}

// Wrap makes a listener breakable.
func Wrap(l net.Listener) *Listener { return &Listener{Listener: l, conns: map[net.Conn]bool{}} }

// Accept takes the next connection, or refuses it while shut.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		if l.shut {
			l.mu.Unlock()
			conn.Close()
			continue
		}
		l.conns[conn] = true
		l.mu.Unlock()
		return &tracked{Conn: conn, from: l}, nil
	}
}

type tracked struct {
	net.Conn
	from *Listener
}

// Close closes, and is forgotten.
func (c *tracked) Close() error {
	c.from.mu.Lock()
	delete(c.from.conns, c.Conn)
	c.from.mu.Unlock()
	return c.Conn.Close()
}

// Cut breaks every connection, without a word.
func (l *Listener) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		if tcp, is := conn.(*net.TCPConn); is {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
	clear(l.conns)
}

// Shut breaks every connection and refuses new ones until Open.
func (l *Listener) Shut() {
	l.mu.Lock()
	l.shut = true
	l.mu.Unlock()
	l.Cut()
}

// Open ends Shut.
func (l *Listener) Open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = false
}

// Gate stands between a reader and a server, and passes bytes both ways.
type Gate struct {
	*Listener
	Addr string
}

// NewGate leads to an address.
func NewGate(t *testing.T, to string) *Gate {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &Gate{Listener: Wrap(l), Addr: l.Addr().String()}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := g.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				conn.Close()
				continue
			}
			open.Go(func() { pass(conn, server) })
			open.Go(func() { pass(server, conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.Cut()
		open.Wait()
	})
	return g
}

// pass copies until either end closes, and closes both.
func pass(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	to.Close()
	from.Close()
}
