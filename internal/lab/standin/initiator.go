// Package standin is a stand-in for a payment initiator's webhook endpoint: a real TLS server that demands a client
// certificate, answers as a script says, and remembers what reached it. Tests, the demo and load runs use it; the
// product itself never does.
//
// There are two of them. Initiator speaks HTTP/1.1 by its own hand, so that it can misbehave at every stage of a
// connection (see Connection) and of an answer (see Answer) and record each request byte for byte. Without a script it
// is what a good initiator is: 202, the interaction id echoed, no body, the connection kept. Load is the quick one: it
// always accepts and only counts.
//
// Nothing here sleeps for a test to catch up: Wait returns when what is waited for has arrived.
package standin

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Options describe an Initiator.
type Options struct {
	Addr        string          // to listen on; default 127.0.0.1 with a free port
	Certificate tls.Certificate // shown to those who connect, with its chain
	ClientCAs   *x509.CertPool  // whose certificates are accepted; one is always required
	// TLS replaces the settings made of the two fields above, for peers that do TLS wrongly.
	TLS *tls.Config
	// Plain makes it speak HTTP without TLS where TLS is expected.
	Plain bool
}

// Initiator is a scripted webhook endpoint. It is safe for concurrent use.
type Initiator struct {
	listener net.Listener
	config   *tls.Config
	plain    bool

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu          sync.Mutex
	open        map[net.Conn]struct{}
	behaviours  []Connection // of the next connections
	scripts     []*script
	decide      func(*Request) Answer
	requests    []Request
	handshakes  []Handshake
	connections int
	changed     chan struct{} // closed and replaced whenever something was recorded
}

// Start listens and serves until Close.
func Start(o Options) (*Initiator, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("start a stand-in initiator: %w", err)
	}
	i := &Initiator{
		listener: listener,
		config:   o.config(),
		plain:    o.Plain,
		open:     map[net.Conn]struct{}{},
		changed:  make(chan struct{}),
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	i.wait.Go(i.accept)
	return i, nil
}

func (o Options) config() *tls.Config {
	if o.TLS != nil {
		return o.TLS
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{o.Certificate},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              o.ClientCAs,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
	}
}

// Addr is host:port of the listener.
func (i *Initiator) Addr() string { return i.listener.Addr().String() }

// Port of the listener.
func (i *Initiator) Port() int { return i.listener.Addr().(*net.TCPAddr).Port }

// BaseURI is what an initiator would register: https, localhost, and the path given ("" or "/brand").
func (i *Initiator) BaseURI(path string) string {
	return fmt.Sprintf("https://localhost:%d%s", i.Port(), path)
}

// Close ends everything and waits for it.
func (i *Initiator) Close() {
	i.cancel()
	_ = i.listener.Close()
	i.Disconnect()
	i.wait.Wait()
}

// Disconnect closes every open connection, as a restarting endpoint does.
func (i *Initiator) Disconnect() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for c := range i.open {
		_ = c.Close()
	}
}

// Open is how many connections are open now.
func (i *Initiator) Open() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.open)
}

// WaitOpen waits until the number of open connections is n.
func (i *Initiator) WaitOpen(ctx context.Context, n int) error {
	return i.until(ctx, fmt.Sprintf("%d open connections", n), func() bool { return len(i.open) == n })
}

// accept takes connections until the listener is closed. Other errors (too many open files) pass.
func (i *Initiator) accept() {
	for {
		raw, err := i.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			i.pause(10 * time.Millisecond)
			continue
		}
		number, behaviour := i.admit(raw)
		i.wait.Go(func() {
			defer i.dismiss(raw)
			i.serve(raw, number, behaviour)
		})
	}
}

// admit registers a connection and says how to treat it.
func (i *Initiator) admit(raw net.Conn) (number int, behaviour Connection) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open[raw] = struct{}{}
	i.connections++
	if i.ctx.Err() != nil {
		_ = raw.Close()
	}
	if len(i.behaviours) > 0 {
		behaviour = i.behaviours[0]
		if !behaviour.Always {
			i.behaviours = i.behaviours[1:]
		}
	}
	i.announce()
	return i.connections, behaviour
}

func (i *Initiator) dismiss(raw net.Conn) {
	_ = raw.Close()
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.open, raw)
	i.announce()
}

// announce wakes those who wait. The caller holds mu.
func (i *Initiator) announce() {
	close(i.changed)
	i.changed = make(chan struct{})
}

// until waits until the condition, which is asked under the lock, holds.
func (i *Initiator) until(ctx context.Context, what string, condition func() bool) error {
	for {
		i.mu.Lock()
		ok, changed := condition(), i.changed
		i.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-i.ctx.Done():
			return fmt.Errorf("wait for %s: the initiator was closed", what)
		}
	}
}

// serve handles one connection from its first byte to its last.
func (i *Initiator) serve(raw net.Conn, number int, behaviour Connection) {
	if behaviour.before(raw) {
		return
	}
	conn, facts := raw, (*tls.ConnectionState)(nil)
	if !i.plain {
		secured := tls.Server(&gathering{Conn: behaviour.wrap(raw)}, behaviour.config(i.config))
		err := secured.HandshakeContext(i.ctx)
		state := secured.ConnectionState()
		i.recordHandshake(Handshake{Connection: number, Err: err, Subject: subject(&state), At: time.Now()})
		if err != nil {
			return
		}
		if behaviour.CloseAfterHandshake {
			_ = secured.Close()
			return
		}
		conn, facts = secured, &state
	}
	buffered := bufio.NewReader(conn)
	for {
		request, err := readRequest(buffered)
		if err != nil {
			return
		}
		request.Connection, request.Remote = number, raw.RemoteAddr().String()
		request.TLS, request.PeerSubject = facts, subject(facts)
		answer := i.next(&request)
		request.Given = answer
		i.record(request)
		if !answer.write(i, conn, raw, &request) {
			return
		}
	}
}

// pause waits, unless the initiator ends first.
func (i *Initiator) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-i.ctx.Done():
		return false
	}
}

// hold keeps a connection without a word until the other side ends it, or the initiator does.
func hold(conn net.Conn) {
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}
