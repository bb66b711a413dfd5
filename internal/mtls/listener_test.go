package mtls_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

func TestRefusedHandshakesAreReportedWithWhoAndWhy(t *testing.T) {
	pki := mtlstest.PKI(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refusals := make(chan mtls.HandshakeRefusal, 1)
	listener := mtls.Listen(inner, mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t)),
		func(r mtls.HandshakeRefusal) { refusals <- r })
	served := make(chan error, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := mtls.CallerOf(r.TLS.PeerCertificates[0]); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { served <- server.Serve(listener) }()
	g := &gate{addr: inner.Addr().String()}

	next := func() mtls.HandshakeRefusal {
		t.Helper()
		select {
		case r := <-refusals:
			return r
		case <-time.After(10 * time.Second):
			t.Fatal("no refusal was reported")
			return mtls.HandshakeRefusal{}
		}
	}
	for defect, want := range map[certs.Defect]string{
		certs.Expired: "expired", certs.OtherCA: "unknown authority", certs.WeakKey: "1024 bits",
		certs.WrongPurpose: "incompatible key usage", certs.SelfSigned: "unknown authority",
	} {
		leaf := mtlstest.Leaf(t, pki.Spoil(alfa(t), defect))
		_, err := g.get(mtlstest.InitiatorConfig(t, leaf))
		require.Error(t, err)
		r := next()
		require.Contains(t, r.Reason, want, defect)
		require.Equal(t, leaf.Certificate.SerialNumber.Text(16), r.Serial)
		require.Contains(t, r.Subject, "UID="+certs.DefaultAlfa.SoftwareID)
		require.Equal(t, mtls.Fingerprint(leaf.Certificate), r.Fingerprint)
		require.Contains(t, r.Peer.String(), "127.0.0.1:")
	}
	none := alfaConfig(t)
	none.GetClientCertificate = nil
	_, err = g.get(none)
	require.Error(t, err)
	r := next()
	require.Contains(t, r.Reason, "didn't provide a certificate")
	require.Empty(t, r.Serial)

	odd := alfaConfig(t)
	odd.NextProtos = []string{"\r\n\x1b[31m<script>"}
	_, err = tls.Dial("tcp", g.addr, odd)
	require.Error(t, err)
	r = next()
	require.False(t, strings.ContainsAny(r.Reason, "\r\n\x1b"), r.Reason)

	probe, err := net.Dial("tcp", g.addr)
	require.NoError(t, err)
	require.NoError(t, probe.Close())
	r = next()
	require.ErrorIs(t, r.Err, io.EOF)
	require.False(t, r.Hello, "no handshake began")
	leaves, err := net.Dial("tcp", g.addr)
	require.NoError(t, err)
	hello, err := captureHello(alfaConfig(t))
	require.NoError(t, err)
	_, err = leaves.Write(hello)
	require.NoError(t, err)
	_, err = io.ReadFull(leaves, make([]byte, 5)) // our answer to the hello has begun
	require.NoError(t, err)
	require.NoError(t, leaves.(*net.TCPConn).CloseWrite())
	r = next()
	require.ErrorIs(t, r.Err, io.EOF)
	require.True(t, r.Hello, "it went away without an alert")
	require.NoError(t, leaves.Close())

	half, err := net.Dial("tcp", g.addr) // says nothing, and keeps nobody waiting
	require.NoError(t, err)
	defer half.Close()
	_, err = g.get(alfaConfig(t))
	require.NoError(t, err)
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	_ = half.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err = half.Read(make([]byte, 1))
	require.Error(t, err, "closing ends handshakes under way")
	require.NotErrorIs(t, err, net.ErrClosed)
	require.Empty(t, refusals, "and does not count them as refusals")
}

// captureHello is what a client says first.
func captureHello(c *tls.Config) ([]byte, error) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go func() { _ = tls.Client(theirs, c).Handshake() }() // ends with the pipe
	buffer := make([]byte, 4096)
	n, err := ours.Read(buffer)
	return buffer[:n], err
}

// pipeListener accepts the connections it is given.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestAHandshakeThatDragsOnIsEndedAfterTenSeconds(t *testing.T) {
	config := mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t))
	synctest.Test(t, func(t *testing.T) { dragOn(t, config) })
}

func dragOn(t *testing.T, config *tls.Config) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	inner := &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	inner.conns <- ours
	began := time.Now()
	refusals := make(chan mtls.HandshakeRefusal, 1)
	listener := mtls.Listen(inner, config, func(r mtls.HandshakeRefusal) { refusals <- r })
	r := <-refusals
	require.Equal(t, mtls.HandshakeLimit, time.Since(began))
	require.Contains(t, r.Reason, "deadline")
	require.NoError(t, listener.Close())
	_, err := listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestReasonsAreOneLineOfBoundedASCII(t *testing.T) {
	require.Equal(t, `a\r\nb\x1b[31m\u202e<`, mtls.OneLine("a\r\nb\x1b[31m\u202e<"))
	require.Len(t, mtls.OneLine(strings.Repeat("\n", 1000)), 256)
	require.Len(t, mtls.OneLine(strings.Repeat("x", 1000)), 256)
}
