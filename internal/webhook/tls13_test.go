package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptrace"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// manual is an `openssl s_server` that is told by its input what to send: lines of an answer, or K for a new key.
type manual struct {
	t    *testing.T
	base string
	in   io.Writer

	mu   sync.Mutex
	said []byte
	more chan struct{} // has an element when said has grown
}

func newManual(t *testing.T) *manual {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	files := mtlstest.Write(t, serverCertificate(t))
	listen := port.For(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "s_server", "-tls1_3", "-crlf", "-accept", listen.Address(),
		"-cert", files.Cert, "-key", files.Key, "-cert_chain", files.Cert, "-Verify", "3",
		"-CAfile", mtlstest.AnchorsFile(t, mtlstest.PKI(t).ClientCA, mtlstest.PKI(t).Root))
	m := &manual{t: t, base: "https://" + net.JoinHostPort("localhost", strconv.Itoa(listen.Number())), more: make(chan struct{}, 1)}
	m.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = m, m
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	m.await("ACCEPT")
	return m
}

// Write takes the server's output.
func (m *manual) Write(p []byte) (int, error) {
	m.mu.Lock()
	m.said = append(m.said, p...)
	m.mu.Unlock()
	select {
	case m.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// await waits for a text in the output and forgets everything up to its end.
func (m *manual) await(text string) {
	m.t.Helper()
	late := time.After(time.Minute)
	for {
		m.mu.Lock()
		_, rest, found := bytes.Cut(m.said, []byte(text))
		if found {
			m.said = rest
		}
		said := string(m.said)
		m.mu.Unlock()
		if found {
			return
		}
		select {
		case <-m.more:
		case <-late:
			require.Fail(m.t, "s_server never said "+text, said)
		}
	}
}

func (m *manual) tell(text string) {
	m.t.Helper()
	_, err := io.WriteString(m.in, text)
	require.NoError(m.t, err)
}

// deliver sends an attempt and answers it.
func (m *manual) deliver(ctx context.Context, s *Sender) notice.Result {
	m.t.Helper()
	done := make(chan notice.Result)
	go func() {
		r, err := s.Send(ctx, newAttempt(m.base))
		if err != nil {
			m.t.Error(err)
		}
		done <- r
	}()
	m.await(`"}}`) // the end of the body
	m.tell("HTTP/1.1 202 Accepted\nx-webhook-interaction-id: 3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11\nContent-Length: 0\n\n")
	return <-done
}

// A message of TLS 1.3, here a new key, may arrive on an idle connection at any time, also just before our first byte. It
// does not end the connection.
func TestANewKeyOnAnIdleConnectionIsNoReasonToReplaceIt(t *testing.T) {
	t.Parallel()
	m, s := newManual(t), newSender(t)
	require.Equal(t, notice.OutcomeDelivered, m.deliver(t.Context(), s).Outcome)
	for range 3 {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { m.tell("K\n") }})
		r := m.deliver(ctx, s)
		require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
		require.True(t, r.Reused)
		require.Empty(t, r.Detail)
	}
}

// Bytes that are for nobody are taken for the end: a handshake costs less than a lost attempt. Half a message of TLS says
// nothing yet.
func TestBytesThatTheReaderDoesNotTakeEndAnIdleConnection(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	raw, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer raw.Close()
	peer, err := listener.Accept()
	require.NoError(t, err)
	defer peer.Close()
	halves := &halved{Conn: peer}
	receiver := tls.Server(halves, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{serverCertificate(t).TLS()}, SessionTicketsDisabled: true})
	shaken := make(chan error, 1)
	go func() { shaken <- receiver.Handshake() }()
	c := &conn{socket: &socket{Conn: raw}}
	c.Conn = tls.Client(c.socket, mtls.ClientConfig(mtlstest.HolderClient(t), mtlstest.Roots(t), "localhost"))
	require.NoError(t, c.Handshake())
	require.NoError(t, <-shaken)
	arrived := func() bool { return c.socket.peek() == peekedBytes }
	require.NoError(t, c.glance())

	halves.cut = true
	_, err = receiver.Write([]byte("x"))
	require.NoError(t, err)
	require.Eventually(t, arrived, time.Minute, time.Millisecond)
	require.NoError(t, c.glance())
	require.False(t, arrived(), "the half was taken")

	_, err = peer.Write(halves.rest)
	require.NoError(t, err)
	require.Eventually(t, arrived, time.Minute, time.Millisecond)
	require.ErrorIs(t, c.glance(), errUnasked)
	require.ErrorIs(t, c.glance(), errUnasked, "and so it stays")
}

// halved keeps the second half of what is written when cut is set.
type halved struct {
	net.Conn
	cut  bool
	rest []byte
}

func (h *halved) Write(p []byte) (int, error) {
	if !h.cut {
		return h.Conn.Write(p)
	}
	h.rest = append(h.rest, p[len(p)/2:]...)
	_, err := h.Conn.Write(p[:len(p)/2])
	return len(p), err
}
