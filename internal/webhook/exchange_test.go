package webhook

import (
	"bytes"
	"io"
	"runtime/pprof"
	"sync"
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
	refused := "HTTP/1.1 500 Not yours\r\n" + echo + empty + "\r\n"
	i.Answer("", standin.Answer{Flood: func(w io.Writer) error {
		_, _ = io.WriteString(w, ok202+echo+empty+"\r\n")
		_, err := io.WriteString(w, refused)
		return err
	}}, standin.Accept)
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
