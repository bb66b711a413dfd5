package webhook

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptrace"
	"runtime/pprof"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
)

// Several records may arrive in one piece: what follows the answer is then in the TLS layer already, where no look at the
// socket finds it.
func TestWhatComesInARecordAfterTheAnswerIsNeverTheNextAnswer(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	i.Answer("", standin.Answer{Records: []string{ok202 + echo + empty + "\r\n", "HTTP/1.1 500 Not yours\r\n" + echo + empty + "\r\n"}}, standin.Accept)
	for range 2 {
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
		require.False(t, r.Reused)
	}
	require.Equal(t, 2, i.Connections())
}

func TestAnHTTP10AnswerMayKeepTheConnection(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	i.Answer("", standin.Answer{Raw: []byte("HTTP/1.0 202 Accepted\r\nConnection: Keep-Alive\r\n" + echo + empty + "\r\n")})
	require.False(t, send(t, s, i.BaseURI("")).Reused)
	require.True(t, send(t, s, i.BaseURI("")).Reused)
}

// The receiver answers the first request after a while and never ends the handshake of a second connection.
func TestARequestThatIsDialledForTakesTheConnectionThatComesFree(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	send(t, s, i.BaseURI(""))
	i.Answer("", standin.Answer{Delay: 300 * time.Millisecond}, standin.Accept)
	i.Connect(standin.Connection{StallFinish: true, Always: true})
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			r, err := s.Send(t.Context(), newAttempt(i.BaseURI("")))
			if err != nil || r.Outcome != notice.OutcomeDelivered || !r.Reused || r.Elapsed > 5*time.Second {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	both.Wait()
	require.Len(t, i.Requests(), 3)
}

// A connection that is made for a request which another one served meanwhile is kept for those to come.
func TestAConnectionThatNobodyWaitsForAnyMoreIsKept(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	send(t, s, i.BaseURI(""))
	var e *endpoint
	for _, e = range s.endpoints {
	}
	a, err := s.newAttempt(newAttempt(i.BaseURI("")))
	require.NoError(t, err)
	first, err := e.take(t.Context(), a)
	require.NoError(t, err)
	w := &connRequest{attempt: a, dials: true, done: make(chan struct{})}
	e.mu.Lock()
	e.waiting, e.dialling = append(e.waiting, w), 1
	e.mu.Unlock()
	c, err := e.connect(t.Context(), w)
	require.NoError(t, err)
	e.mu.Lock()
	e.offer(first.conn) // comes free
	require.Equal(t, first.conn, w.taken.conn)
	e.mu.Unlock()
	e.dialled(w, c, nil)
	require.Equal(t, []*conn{c}, e.idle)
	e.mu.Lock()
	e.offer(first.conn)
	e.mu.Unlock()
	require.True(t, send(t, s, i.BaseURI("")).Reused)
	require.Equal(t, 2, i.Open())
}

func TestALaneHoldsNoMoreConnectionsThanItMay(t *testing.T) {
	i, s := newInitiator(t), newSender(t, within(300*time.Millisecond))
	a, err := s.newAttempt(newAttempt(i.BaseURI("")))
	require.NoError(t, err)
	e, err := s.endpoint("client-alfa", a.target, time.Now())
	require.NoError(t, err)
	e.mu.Lock()
	e.dialling = perLane
	e.mu.Unlock()
	r := send(t, s, i.BaseURI(""))
	require.Equal(t, notice.OutcomeTimeout, r.Outcome)
	require.Contains(t, r.Detail, "stage: connection")
	require.Zero(t, i.Connections())
	e.mu.Lock()
	e.dialling--
	e.mu.Unlock()
	s.cfg.Timeout = 10 * time.Second // the short one was for the attempt that waits in vain
	require.Equal(t, notice.OutcomeDelivered, send(t, s, i.BaseURI("")).Outcome)
}

func TestAConnectionHasNoGoroutineOfItsOwn(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	burst(t, s, i, i.BaseURI(""), 12)
	idle(t, s)
	count := func() int {
		var all bytes.Buffer
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&all, 2))
		n := 0
		for trace := range bytes.SplitSeq(all.Bytes(), []byte("\n\n")) {
			if bytes.Contains(trace, []byte("internal/webhook.(*")) {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return count() == 1 }, time.Minute, 10*time.Millisecond, "the Sender's housekeeping alone")
	require.Greater(t, i.Open(), 1)
}

// A registration may change while a connection is being made whose request has ended.
func TestAConnectionThatIsMadeTooLateForItsEndpointIsClosed(t *testing.T) {
	i, o := newInitiator(t), new(counter)
	s := newSender(t, func(c *Config) { c.Observer = o })
	a, err := s.newAttempt(newAttempt(i.BaseURI("")))
	require.NoError(t, err)
	e, err := s.endpoint("client-alfa", a.target, time.Now())
	require.NoError(t, err)
	w := &connRequest{attempt: a, dials: true, done: make(chan struct{})}
	c, err := e.connect(t.Context(), w)
	require.NoError(t, err)
	e.mu.Lock()
	e.serve(w, nil, ErrClosed)
	e.mu.Unlock()
	s.Forget("client-alfa")
	e.dialled(w, c, nil)
	require.Empty(t, e.open)
	require.Equal(t, 1, o.count(ClosedRetired))
	require.NoError(t, i.WaitOpen(soon(t), 0))
}

// breaking lets so many bytes of each write pass.
type breaking struct {
	net.Conn
	pass int
}

func (b breaking) Write(p []byte) (int, error) {
	n, err := b.Conn.Write(p[:min(len(p), b.pass)])
	if err == nil && n < len(p) {
		err = syscall.EPIPE
	}
	return n, err
}

// A receiver may answer before it has read the whole request, and end the connection for writing (RFC 9112 §9.5). Its answer
// counts, and the connection is not kept. It is no answer when nothing of the request left.
func TestAnAnswerBeforeTheEndOfTheRequestCounts(t *testing.T) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{serverCertificate(t).TLS()}, ClientAuth: tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // what comes first is the answer
	})
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\n"+echo+empty+"\r\n")
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-served })
	s := newSender(t)
	for pass, want := range map[int]notice.Outcome{20: notice.OutcomeRefused, 0: notice.OutcomeConnect} {
		a, err := s.newAttempt(newAttempt("https://" + listener.Addr().String()))
		require.NoError(t, err)
		e, err := s.endpoint("client-alfa", a.target, time.Now())
		require.NoError(t, err)
		c, err := e.connect(t.Context(), &connRequest{attempt: a})
		require.NoError(t, err)
		s.connections(+1)
		e.open[c] = true
		require.Eventually(t, func() bool { return c.socket.peek() == peekedBytes }, time.Minute, time.Millisecond, "the answer is here before the request leaves")
		c.socket.Conn = breaking{c.socket.Conn, pass}
		a.exchange = bind(c, a, false)
		err = a.exchange.run(t.Context())
		if want == notice.OutcomeRefused {
			require.NoError(t, err)
			r := a.answered()
			require.Equal(t, want, r.Outcome)
			require.Equal(t, "413 Too Large", r.Detail)
			a.exchange.finish()
		} else {
			require.ErrorIs(t, err, syscall.EPIPE)
			a.exchange.release()
			e.fail(a.exchange)
			r, err := a.failed(t.Context(), err)
			require.NoError(t, err)
			require.Equal(t, want, r.Outcome, r.Detail)
			require.Zero(t, r.FirstByteOut)
		}
		require.Empty(t, e.open)
	}
}

// An attempt that chose a kept connection, and has not begun, learns that another attempt of its endpoint failed.
func TestAChosenConnectionThatIsInDoubtIsReplacedWithinTheAttempt(t *testing.T) {
	i, o := newInitiator(t), new(counter)
	s := newSender(t, func(c *Config) { c.Observer = o })
	send(t, s, i.BaseURI(""))
	var once sync.Once
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		once.Do(func() { info.Conn.(*conn).endpoint.doubt(new(conn)) })
	}})
	r, err := s.Send(ctx, newAttempt(i.BaseURI("")))
	require.NoError(t, err)
	require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
	require.Empty(t, r.Detail, "its receiver had not ended it")
	require.False(t, r.Reused)
	require.Equal(t, 1, o.count(ClosedFault))
	require.Len(t, i.Requests(), 2)
}
