package mtls_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// hall is a listener with bounded handshakes, behind which a server answers.
func hall(t *testing.T, h *mtls.Handshakes) *gate {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener := h.Listen(inner, mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t)), func(r mtls.HandshakeRefusal) {
		t.Errorf("one that made room is told as refused: %s", r.Reason)
	})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return &gate{addr: inner.Addr().String()}
}

// silent connects from an address of this host and says nothing.
func silent(t *testing.T, g *gate, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
	conn, err := dialer.DialContext(t.Context(), "tcp", g.addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(mtls.HandshakeLimit/2)))
	return conn
}

// requireEnded waits until the other side has closed the connection, long before its handshake is out of time.
func requireEnded(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Read(make([]byte, 1))
	require.Error(t, err)
	var late net.Error
	require.False(t, errors.As(err, &late) && late.Timeout(), "the connection stays open: %v", err)
}

func TestTheOldestUnfinishedHandshakeMakesRoom(t *testing.T) {
	rooms := make(chan struct{}, 8)
	h := &mtls.Handshakes{Most: 3, MadeRoom: func() { rooms <- struct{}{} }}
	g := hall(t, h)
	var unfinished []net.Conn
	for range 3 {
		unfinished = append(unfinished, silent(t, g, "127.0.0.1"))
	}
	_, err := g.get(alfaConfig(t))
	require.NoError(t, err)
	requireEnded(t, unfinished[0])
	require.Len(t, rooms, 1, "one is enough")
	require.True(t, h.MakeRoom())
	requireEnded(t, unfinished[1])
	require.True(t, h.MakeRoom())
	requireEnded(t, unfinished[2])
	require.False(t, h.MakeRoom(), "a handshake that has ended has left")
	require.Len(t, rooms, 3)
}

func TestAnAddressBeyondItsShareTakesRoomFromItselfAlone(t *testing.T) {
	h := &mtls.Handshakes{Most: 100, PerAddress: 2}
	g := hall(t, h)
	elsewhere := silent(t, g, "127.0.0.3") // the oldest of all
	var unfinished []net.Conn
	for range 5 {
		unfinished = append(unfinished, silent(t, g, "127.0.0.2"))
	}
	for _, conn := range unfinished[:3] {
		requireEnded(t, conn)
	}
	require.True(t, h.MakeRoom())
	requireEnded(t, elsewhere)
	require.True(t, h.MakeRoom())
	requireEnded(t, unfinished[3])
	require.True(t, h.MakeRoom())
	requireEnded(t, unfinished[4])
	require.False(t, h.MakeRoom())
}

func TestANetworkOfIPv6IsOneAddress(t *testing.T) {
	address := func(s string) netip.Addr { return mtls.AddressOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s))) }
	require.Equal(t, address("[2001:db8:1:2::7]:1"), address("[2001:db8:1:2:ffff::9]:2"))
	require.NotEqual(t, address("[2001:db8:1:2::7]:1"), address("[2001:db8:1:3::7]:1"))
	require.Equal(t, address("192.0.2.1:1"), address("[::ffff:192.0.2.1]:2"))
	require.NotEqual(t, address("192.0.2.1:1"), address("192.0.2.2:1"))
}

// TestWhatAHandshakeIsMadeUnder is told once, as it was when the handshake began. Nothing is kept of a connection that nobody accepted, nor without a State.
func TestWhatAHandshakeIsMadeUnder(t *testing.T) {
	var state atomic.Uint64
	read := make(chan struct{}, 2) // one for each connection
	told := func() uint64 {
		defer func() { read <- struct{}{} }()
		return state.Load()
	}
	for _, c := range []struct {
		h    *mtls.Handshakes
		want uint64
	}{{&mtls.Handshakes{State: told}, 7}, {&mtls.Handshakes{}, 0}} {
		state.Store(7)
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l := c.h.Listen(inner, mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t)), nil)
		raw, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		client := tls.Client(raw, alfaConfig(t))
		if c.h.State != nil {
			<-read // the connection is there, and nothing of its handshake
			state.Store(8)
		}
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := l.Accept() // an error is that of the handshake
			accepted <- conn
		}()
		require.NoError(t, client.HandshakeContext(t.Context()))
		conn := <-accepted
		require.Equal(t, c.want, c.h.Under(conn))
		require.Zero(t, c.h.Under(conn))
		require.NoError(t, conn.Close())
		other, err := tls.Dial("tcp", inner.Addr().String(), alfaConfig(t)) // which nobody accepts
		require.NoError(t, err)
		require.NoError(t, l.Close())
		require.Zero(t, c.h.Kept())
		_ = errors.Join(client.Close(), other.Close())
	}
}
