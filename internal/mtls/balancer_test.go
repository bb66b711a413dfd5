package mtls_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// proxyHeader writes a header of the PROXY protocol, version 2, by its specification: signature, version and command, family,
// length, addresses, ports.
func proxyHeader(command byte, from, to string) []byte {
	head := []byte("\r\n\r\n\x00\r\nQUIT\n")
	head = append(head, 0x20|command)
	if command == 0 { // LOCAL
		return append(head, 0, 0, 0)
	}
	source, target := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	family, addresses := byte(0x11), append(source.Addr().AsSlice(), target.Addr().AsSlice()...)
	if source.Addr().Is6() {
		family = 0x21
	}
	head = append(head, family)
	head = binary.BigEndian.AppendUint16(head, uint16(len(addresses)+4))
	head = append(head, addresses...)
	head = binary.BigEndian.AppendUint16(head, source.Port())
	return binary.BigEndian.AppendUint16(head, target.Port())
}

// balanced is a listener behind balancers of a network: it answers with the source address that it sees.
func balanced(t *testing.T, network string) (address string, refusals chan mtls.HandshakeRefusal) {
	t.Helper()
	return balancedWithin(t, &mtls.Handshakes{}, network)
}

func balancedWithin(t *testing.T, h *mtls.Handshakes, network string) (address string, refusals chan mtls.HandshakeRefusal) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refusals = make(chan mtls.HandshakeRefusal, 1)
	l := h.Listen(mtls.BehindBalancers(inner, []netip.Prefix{netip.MustParsePrefix(network)}),
		mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t)), func(r mtls.HandshakeRefusal) { refusals <- r })
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-ended })
	return inner.Addr().String(), refusals
}

// seen connects, writes what a balancer writes, shakes hands as an initiator, and returns the source address that the server saw.
func seen(t *testing.T, address string, before []byte) (string, error) {
	t.Helper()
	return seenBy(t, begun(t, address, "127.0.0.1", before))
}

// begun connects from an address of this host, and writes what a balancer writes.
func begun(t *testing.T, address, from string, before []byte) net.Conn {
	t.Helper()
	raw := silent(t, &gate{addr: address}, from)
	require.NoError(t, raw.SetDeadline(time.Now().Add(time.Minute)))
	_, err := raw.Write(before)
	require.NoError(t, err)
	return raw
}

// seenBy shakes hands as an initiator on a connection, and returns the source address that the server saw.
func seenBy(t *testing.T, raw net.Conn) (string, error) {
	t.Helper()
	defer raw.Close()
	config := mtlstest.InitiatorConfig(t, mtlstest.Leaf(t, alfa(t)))
	if config.ServerName == "" {
		config.ServerName = "127.0.0.1"
	}
	client := &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c := tls.Client(raw, config)
			return c, c.HandshakeContext(ctx)
		},
	}}
	answer, err := client.Get("https://" + raw.RemoteAddr().String())
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestABalancerNamesTheSourceOfAConnection(t *testing.T) {
	address, refusals := balanced(t, "127.0.0.0/8")
	for _, from := range []string{"203.0.113.7:4711", "[2001:db8::7]:4711"} {
		to := "198.51.100.1:443"
		if from[0] == '[' {
			to = "[2001:db8::1]:443"
		}
		got, err := seen(t, address, proxyHeader(1, from, to))
		require.NoError(t, err)
		require.Equal(t, from, got)
	}
	got, err := seen(t, address, proxyHeader(0, "", ""))
	require.NoError(t, err, "the balancer's own look")
	require.Contains(t, got, "127.0.0.1:")

	for name, before := range map[string][]byte{"none": nil, "version 1": []byte("PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n")} {
		_, err := seen(t, address, before)
		require.Error(t, err, name)
		select {
		case r := <-refusals:
			require.Contains(t, r.Reason, "the balancer sent no PROXY protocol header of version 2", name)
			require.Contains(t, r.Peer.String(), "127.0.0.1:")
		case <-time.After(time.Minute):
			t.Fatal("no refusal was reported")
		}
	}
}

func TestNobodyButABalancerNamesASource(t *testing.T) {
	address, refusals := balanced(t, "10.0.0.0/8")
	got, err := seen(t, address, nil)
	require.NoError(t, err)
	require.Contains(t, got, "127.0.0.1:")
	_, err = seen(t, address, proxyHeader(1, "203.0.113.7:4711", "198.51.100.1:443"))
	require.Error(t, err)
	r := <-refusals
	require.Contains(t, r.Peer.String(), "127.0.0.1:")
}

// TestABalancersConnectionWithoutAHeaderDelaysNobody: it counts among the unfinished handshakes, which tells that the others did
// not wait for its end.
func TestABalancersConnectionWithoutAHeaderDelaysNobody(t *testing.T) {
	h := &mtls.Handshakes{Most: 2}
	address, _ := balancedWithin(t, h, "127.0.0.2/32")
	waits := begun(t, address, "127.0.0.2", nil)
	got, err := seen(t, address, nil)
	require.NoError(t, err, "a connection past the balancer")
	require.Contains(t, got, "127.0.0.1:")
	got, err = seenBy(t, begun(t, address, "127.0.0.2", proxyHeader(1, "203.0.113.7:4711", "198.51.100.1:443")))
	require.NoError(t, err, "another one of the balancer")
	require.Equal(t, "203.0.113.7:4711", got)
	require.True(t, h.MakeRoom(), "it waits still, and can make room")
	requireEnded(t, waits)
	require.False(t, h.MakeRoom())
}

func TestHandshakesBehindABalancerAreCountedForTheirNamedSource(t *testing.T) {
	rooms := make(chan struct{}, 8)
	h := &mtls.Handshakes{PerAddress: 1, MadeRoom: func() { rooms <- struct{}{} }}
	address, _ := balancedWithin(t, h, "127.0.0.1/32")
	other := begun(t, address, "127.0.0.1", proxyHeader(1, "203.0.113.8:4711", "198.51.100.1:443"))
	for _, from := range []string{"203.0.113.7:4711", "203.0.113.7:4712"} {
		begun(t, address, "127.0.0.1", proxyHeader(1, from, "198.51.100.1:443"))
	}
	select {
	case <-rooms:
	case <-time.After(time.Minute):
		t.Fatal("the second connection of a source took a second place")
	}
	got, err := seenBy(t, other)
	require.NoError(t, err, "another source behind the same balancer has a share of its own")
	require.Equal(t, "203.0.113.8:4711", got)
	require.True(t, h.MakeRoom(), "one of the source's two is left")
	require.False(t, h.MakeRoom())
}

// balancerConn is a connection from a balancer.
type balancerConn struct{ net.Conn }

func (balancerConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4711} }

func TestWaitingForABalancersHeaderEndsInTimeAndWithTheListener(t *testing.T) {
	config := mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t))
	synctest.Test(t, func(t *testing.T) {
		inner := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		refusals := make(chan mtls.HandshakeRefusal, 1)
		l := mtls.Listen(mtls.BehindBalancers(inner, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}), config,
			func(r mtls.HandshakeRefusal) { refusals <- r })
		connect := func() net.Conn {
			ours, theirs := net.Pipe()
			inner.conns <- balancerConn{ours}
			return theirs
		}
		began := time.Now()
		late := connect()
		defer late.Close()
		r := <-refusals
		require.Equal(t, mtls.HandshakeLimit/2, time.Since(began))
		require.Contains(t, r.Reason, "the balancer sent no PROXY protocol header of version 2")

		waits := connect()
		defer waits.Close()
		synctest.Wait()
		began = time.Now()
		require.NoError(t, l.Close())
		require.Zero(t, time.Since(began), "closing waits for no header")
		_, err := waits.Read(make([]byte, 1))
		require.Error(t, err)
		require.Empty(t, refusals)
	})
}
