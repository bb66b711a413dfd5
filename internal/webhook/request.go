package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// attempt is one attempt under way.
type attempt struct {
	notice   notice.Attempt
	start    time.Time // when it was handed to us
	deadline time.Time
	leaseEnd time.Time
	stage    atomic.Int32
	exchange atomic.Pointer[exchange]      // the latest; nil while there is no connection
	waiting  *atomic.Int32                 // the endpoint's count of requests without a connection
	seeking  atomic.Bool                   // this is one of them
	served   atomic.Pointer[chan struct{}] // closed when the HTTP client has found a connection
	replaced atomic.Bool                   // a kept connection had ended, and another took its place before the first byte
}

type attemptKey struct{}

// enter notes how far the attempt's own connection has come.
func (a *attempt) enter(s stage) { a.stage.Store(int32(s)) }

// reached is the stage to blame when time runs out now.
func (a *attempt) reached() stage {
	x := a.exchange.Load()
	switch {
	case x == nil || x.firstOut.Load() == 0 && x.conn.spent.Load(): // the HTTP client looks for another connection
		return stage(a.stage.Load())
	case x.firstOut.Load() == 0:
		return stageRequest
	default:
		return stageAnswer
	}
}

// sent reports whether any byte of the request left.
func (a *attempt) sent() bool {
	x := a.exchange.Load()
	return x != nil && x.firstOut.Load() != 0
}

// mayWrite is asked before every write. An attempt whose lease is over belongs to another replica, which settles it
// as unknown and schedules the next: sending now could double it (design, "Lease, rescue, doubles").
//
// Known issue: the monotonic clock of Linux stands still while a whole machine is suspended. A stopped process is
// recognised here, a virtual machine that was frozen between claim and write for longer than its lease is not.
func (a *attempt) mayWrite(now time.Time) error {
	if !now.Before(a.leaseEnd) {
		return ErrLease
	}
	if !now.Before(a.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// bind learns which connection the HTTP client took.
func (a *attempt) bind(info httptrace.GotConnInfo) {
	if c, ok := info.Conn.(*conn); ok {
		a.exchange.Store(c.begin(a, info.Reused))
	}
	a.found()
}

// rest learns that the HTTP client keeps the connection of the exchange.
func (a *attempt) rest(err error) {
	if x := a.exchange.Load(); x != nil && err == nil {
		x.conn.rest(x)
	}
}

// again tells, after the HTTP client failed, whether the attempt may take another connection: not one byte of the request
// was written, and it was the connection that failed. net/http does this by itself in most cases, and not when the
// receiver ends a kept connection in the moment in which it is chosen.
func (a *attempt) again(ctx context.Context, err error) bool {
	x := a.exchange.Load()
	_, dialled := errors.AsType[*dialError](err)
	if dialled || x == nil || x.fault.Load() != nil || ctx.Err() != nil || a.mayWrite(time.Now()) != nil {
		return false
	}
	unwritten, why := x.conn.abandon(x)
	byReceiver := why == "" || why == ClosedReceiver
	if !unwritten || byReceiver && !x.kept { // a receiver that refuses a new connection would refuse the next
		return false
	}
	a.exchange.Store(nil)
	if byReceiver {
		a.replaced.Store(true)
	}
	return true
}

// found notes that the HTTP client has a connection for the request.
func (a *attempt) found() {
	if a.seeking.CompareAndSwap(true, false) {
		close(*a.served.Load())
		a.waiting.Add(-1)
	}
}

// seek is told that the HTTP client looks for a connection, for the first time or because one turned out dead.
func (a *attempt) seek(string) {
	a.found()
	served := make(chan struct{})
	a.served.Store(&served)
	if a.seeking.CompareAndSwap(false, true) {
		a.waiting.Add(1)
	}
}

// context is what the HTTP client runs under. It carries the attempt to the dialer.
func (a *attempt) context(parent context.Context, e *endpoint) (context.Context, context.CancelFunc) {
	a.waiting = &e.gate.waiting
	ctx, cancel := context.WithDeadline(context.WithValue(parent, attemptKey{}, a), a.deadline)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: a.seek, GotConn: a.bind, PutIdleConn: a.rest}), cancel
}

// request makes exactly what contract.md, "The outgoing request and its answer", allows. Header names are written as
// the contract spells them: net/http sends map keys as they are, so they are set without its canonical form. The path
// goes out as it stands (Opaque), never decoded and encoded again. A body that can be read again lets the HTTP client
// take another connection when a kept-alive one turns out dead before anything was written to it; once something was
// written it does not try again, because the method is POST and there is no idempotency key.
func (s *Sender) request(ctx context.Context, a *attempt, t target, path string) *http.Request {
	n := &a.notice
	body := appendBody(make([]byte, 0, 96), n.EventAt, n.Event)
	header := make(http.Header, 6)
	header["Content-Type"] = s.contentType
	header["User-Agent"] = s.userAgent
	header[ofb.HeaderInteractionID] = []string{n.Interaction.String()}
	if n.Kind == ofb.Enrollment {
		for _, name := range s.asHeaders {
			header[name] = s.asID
		}
	}
	r := &http.Request{
		Method:        http.MethodPost,
		URL:           &url.URL{Scheme: "https", Host: t.authority, Opaque: path},
		Host:          t.authority,
		Header:        header,
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
	}
	return r.WithContext(ctx)
}

// appendBody writes the body: compact JSON without a trailing newline. The timestamp is the event's instant, in UTC,
// truncated to the second, never rounded up (webhook §2.1).
func appendBody(b []byte, at time.Time, event ofb.EventType) []byte {
	b = append(b, `{"data":{"timestamp":"`...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	if event != "" {
		b = append(b, `","eventType":"`...)
		b = append(b, event...)
	}
	return append(b, `"}}`...)
}

// finish reads what little of a body is worth reading to keep the connection, long after the result is known. A body
// that is long or slow costs the receiver its connection.
func (s *Sender) finish(resp *http.Response, cancel context.CancelFunc, done func()) {
	if resp.Body == http.NoBody || !s.background.begin() {
		_ = resp.Body.Close()
		cancel()
		done()
		return
	}
	go func() {
		defer s.background.end()
		defer done()
		timer := time.AfterFunc(drainWithin, cancel)
		stop := context.AfterFunc(s.background.ctx, cancel)
		_, _ = io.Copy(io.Discard, resp.Body) // the connection ends it after maxBody
		_ = resp.Body.Close()
		timer.Stop()
		stop()
		cancel()
	}()
}

// drainWithin is how long a body may take to arrive after its headers.
const drainWithin = 250 * time.Millisecond
