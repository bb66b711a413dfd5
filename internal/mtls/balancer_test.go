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
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refusals = make(chan mtls.HandshakeRefusal, 1)
	l := mtls.Listen(mtls.BehindBalancers(inner, []netip.Prefix{netip.MustParsePrefix(network)}),
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
	raw, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer raw.Close()
	require.NoError(t, raw.SetDeadline(time.Now().Add(time.Minute)))
	_, err = raw.Write(before)
	require.NoError(t, err)
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
	answer, err := client.Get("https://" + address)
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
