package standin

import (
	"crypto/tls"
	"net"
	"sync"
)

// Connection says how a connection is treated before any request: the zero value is a normal one. Each value given to
// Connect serves one connection, in the order they are accepted.
type Connection struct {
	Always bool // serve all further connections like this one, not only the next

	StallHello  bool   // accept, and never say a word
	StallFinish bool   // begin the TLS handshake and never finish it
	Reset       bool   // reset at once
	Garbage     []byte // send this instead of a handshake, then close

	Certificate         *tls.Certificate // another one than usual
	MaxVersion          uint16           // of TLS, such as tls.VersionTLS11
	NextProtos          []string         // of ALPN, such as "h2" alone
	CloseAfterHandshake bool
}

// Connect sets how the next connections are treated, one value each; afterwards they are normal again, unless the last
// one says Always.
func (i *Initiator) Connect(behaviours ...Connection) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.behaviours = behaviours
}

// before does what happens ahead of TLS and says whether that was all.
func (b Connection) before(raw net.Conn) bool {
	switch {
	case b.Reset:
		reset(raw)
	case b.Garbage != nil:
		_, _ = raw.Write(b.Garbage)
	case b.StallHello:
		hold(raw)
	default:
		return false
	}
	return true
}

func (b Connection) config(usual *tls.Config) *tls.Config {
	if b.Certificate == nil && b.MaxVersion == 0 && b.NextProtos == nil {
		return usual
	}
	config := usual.Clone()
	config.GetConfigForClient = nil
	if b.Certificate != nil {
		config.Certificates = []tls.Certificate{*b.Certificate}
	}
	if b.MaxVersion != 0 {
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, b.MaxVersion
	}
	if b.NextProtos != nil {
		config.NextProtos = b.NextProtos
	}
	return config
}

func (b Connection) wrap(raw net.Conn) net.Conn {
	if b.StallFinish {
		return &muted{Conn: raw, left: 64}
	}
	return raw
}

// gathering can hold back what is written, so that several TLS records leave in one piece.
type gathering struct {
	net.Conn
	on   bool
	held []byte
}

func (g *gathering) Write(p []byte) (int, error) {
	if !g.on {
		return g.Conn.Write(p)
	}
	g.held = append(g.held, p...)
	return len(p), nil
}

// inOnePiece sends all that f writes in one write.
func (g *gathering) inOnePiece(f func() error) error {
	g.on, g.held = true, nil
	err := f()
	g.on = false
	if err == nil {
		_, err = g.Conn.Write(g.held)
	}
	return err
}

// muted lets the first bytes out and swallows the rest: the peer sees a handshake begin and never end.
type muted struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (m *muted) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := min(m.left, len(p)); n > 0 {
		m.left -= n
		if _, err := m.Conn.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// reset ends a connection with RST instead of FIN.
func reset(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}
