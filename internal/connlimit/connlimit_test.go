package connlimit

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// limitedListener is a limited listener and what it tells.
type limitedListener struct {
	*Listener
	open, turned atomic.Int64
}

// untilOpen waits until so many connections are counted.
func (l *limitedListener) untilOpen(t *testing.T, n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return l.open.Load() == n }, patience, time.Millisecond)
}

// limited serves "hello" behind a limited listener.
func limited(t *testing.T, l *Listener) *limitedListener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Listener = inner
	c := &limitedListener{Listener: l}
	l.Open, l.Turned = func(n int) { c.open.Store(int64(n)) }, func() { c.turned.Add(1) }
	server := api.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }), nil, slog.New(slog.DiscardHandler))
	TurnAway(server, func(*http.Request) {})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-ended })
	return c
}

// visitor is one connection that asks and stays.
type visitor struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func (l *limitedListener) visit(t *testing.T) *visitor {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	return l.welcome(t, conn)
}

// refused comes and is closed at once, which the kernel may tell as early as in the dial.
func (l *limitedListener) refused(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNRESET)
		return
	}
	l.welcome(t, conn).ended()
}

func (l *limitedListener) welcome(t *testing.T, conn net.Conn) *visitor {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return &visitor{t, conn, bufio.NewReader(conn)}
}

// ask makes one request; an error is a connection that was ended.
func (v *visitor) ask() (*http.Response, error) {
	v.t.Helper()
	if _, err := io.WriteString(v.Conn, "GET / HTTP/1.1\r\nHost: here\r\n\r\n"); err != nil {
		return nil, err
	}
	r, err := http.ReadResponse(v.answers, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return r, err
}

// served asks and expects to be served.
func (v *visitor) served() {
	v.t.Helper()
	r, err := v.ask()
	require.NoError(v.t, err)
	require.Equal(v.t, http.StatusOK, r.StatusCode)
}

// ended waits until the other side has closed the connection.
func (v *visitor) ended() {
	v.t.Helper()
	_, err := v.answers.ReadByte()
	require.Error(v.t, err)
	var late net.Error
	require.False(v.t, errors.As(err, &late) && late.Timeout(), "the connection stays open: %v", err)
}

func TestBeyondItsLimitAListenerAnswers503AndServesAgainWhenThereIsRoom(t *testing.T) {
	l := limited(t, &Listener{Most: 3, Overflow: 2})
	var inside []*visitor
	for range 3 {
		v := l.visit(t)
		v.served()
		inside = append(inside, v)
	}
	var porch []*visitor
	for range 2 {
		porch = append(porch, l.visit(t))
	}
	l.untilOpen(t, 5)
	l.refused(t)
	for _, v := range porch {
		r, err := v.ask()
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
		require.Equal(t, "1", r.Header.Get("Retry-After"))
		v.ended()
	}
	require.EqualValues(t, 3, l.turned.Load())
	inside[1].served()
	require.NoError(t, inside[0].Close())
	l.untilOpen(t, 2)
	l.visit(t).served()
}

// TestUnfinishedHandshakesMakeRoomOnAFullListener: connections without a certificate take no room from who has one.
func TestUnfinishedHandshakesMakeRoomOnAFullListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	shakes := &mtls.Handshakes{Most: 100}
	l := &Listener{Listener: inner, Most: 4, Room: shakes.MakeRoom, Open: func(int) {}, Turned: func() { t.Error("one was turned away") }}
	config := mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t))
	server := api.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }), config, slog.New(slog.DiscardHandler))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(shakes.Listen(l, config, nil)) }()
	t.Cleanup(func() { _ = server.Close(); <-ended })
	for range 30 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
	}
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: mtlstest.InitiatorConfig(t, leaf), DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get("https://" + inner.Addr().String() + "/")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func TestTheOpsListenerMakesRoomForWhoeverComes(t *testing.T) {
	l := limited(t, &Listener{Most: 4, Evict: true})
	var holders []*visitor
	for range 4 {
		holders = append(holders, l.visit(t)) // silent
	}
	l.untilOpen(t, 4)
	for _, h := range holders {
		l.visit(t).served()
		h.ended() // the oldest each time
	}
	require.EqualValues(t, 4, l.turned.Load())
	require.EqualValues(t, 4, l.open.Load())
}
