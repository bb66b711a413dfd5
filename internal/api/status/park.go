package status

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
)

// wait is one wait of a long poll, and what comes after it.
type wait struct {
	news <-chan struct{} // closed when its feed has grown
	over <-chan struct{} // closed when its time is over
	gone <-chan struct{} // closed when its caller has gone
	then func(waitEnd)
}

// waitEnd is how a wait ended.
type waitEnd int

const (
	waitTold waitEnd = iota // the feed has grown
	waitOver                // its time is over
	waitLeft                // its caller has gone, or this replica stops
)

// end returns when the wait is over.
func (w *wait) end(leaving <-chan struct{}) waitEnd {
	select {
	case <-w.news:
		return waitTold
	case <-w.over:
		return waitOver
	case <-w.gone:
	case <-leaving:
	}
	return waitLeft
}

// parking is where a call waits: outside of all that was called to answer it.
type parking struct{ next *wait }

type parkingKey struct{}

func parkingOf(ctx context.Context) *parking {
	at, _ := ctx.Value(parkingKey{}).(*parking)
	return at
}

// mayWait tells a call that may wait by its address.
func (p *Public) mayWait(r *http.Request) bool {
	return p.watch != nil && strings.HasPrefix(r.URL.Path, extensionBase+callEvents.path) && hasParameter(r.URL.RawQuery, "wait")
}

// WaitOutside serves each part of a call that may wait, before a wait and after it, in a goroutine of its own, whose stack is freed when the
// part ends. The connection's own goroutine waits, and keeps a small stack for as long as the connection lasts. So this handler must
// come before every other one of the listener. Calls that do not wait are handed on as they are.
func (p *Public) WaitOutside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.mayWait(r) {
			next.ServeHTTP(w, r)
			return
		}
		at := &parking{}
		p.runPart(func() { next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), parkingKey{}, at))) })
		for at.next != nil {
			one := at.next
			at.next = nil
			end := one.end(p.leaving)
			p.runPart(func() { one.then(end) })
		}
	})
}

// runPart runs a part of a call and waits for it. A panic in it ends the connection, as one in the connection's own goroutine does.
func (p *Public) runPart(part func()) {
	aborted := make(chan bool, 1)
	go func() {
		defer func() {
			v := recover()
			if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // the value that net/http compares
				p.face.Panicked(p.face.Log, extensionBase+callEvents.path, v)
			}
			aborted <- v != nil
		}()
		part()
	}()
	if <-aborted {
		panic(http.ErrAbortHandler)
	}
}

// park leaves an exchange until there is news of its feed, or its time is over. Meanwhile it counts among the calls that wait, and not
// among those under way, and nothing is kept of its request but what the answer needs.
func (p *Public) park(x *api.Exchange, c *feedCall, news <-chan struct{}) error {
	q := queryOf(x)
	at := parkingOf(q.whole)
	if at == nil { // the call did not come through WaitOutside
		p.watch.leave()
		return api.ErrInternal
	}
	if !p.limits.pause(q.usage) {
		p.watch.leave()
		p.observer.Shed(limitWaiting)
		return because(refOverload, limitWaiting)
	}
	p.cfg.Extension.observed().Waiting(1)
	rc := http.NewResponseController(x.W)
	latest := c.until.Add(answerWithin + headerWithin)
	_, _ = rc.SetReadDeadline(latest), rc.SetWriteDeadline(latest) // a failure leaves the server's own, which end the call early
	q.answered()                                                   // the time that an answer may take does not run while the call waits
	q.waits = true
	clear(x.R.Header)
	x.R = x.R.WithContext(q.whole) // without what was added to it meanwhile
	x.Leave()
	at.next = &wait{news, p.watch.over(c.until), q.whole.Done(), func(end waitEnd) { p.resume(x, q, c, end) }}
	return nil
}

// resume goes on with a call after its wait.
func (p *Public) resume(x *api.Exchange, q *query, c *feedCall, end waitEnd) {
	p.cfg.Extension.observed().Waiting(-1)
	p.limits.resume(q.usage)
	p.watch.leave()
	q.waits = false
	defer p.leave(q)
	var ctx context.Context
	ctx, q.answered = context.WithTimeout(q.whole, answerWithin) // what is left to do has its own time
	x.R = x.R.WithContext(context.WithValue(ctx, queryKey{}, q))
	p.face.Resume(x, func(x *api.Exchange) error { return p.afterWait(x, c, end) })
}

// afterWait answers, or waits again.
func (p *Public) afterWait(x *api.Exchange, c *feedCall, end waitEnd) error {
	if end == waitOver {
		if err := p.watch.failure(); err != nil {
			return err
		}
	}
	if end != waitTold {
		return p.nothing(x)
	}
	c.by.fresh = false
	if end := queryOf(x).token.ExpiresAt; !end.IsZero() && !time.Now().Before(end) {
		return because(refToken, "token expired while the call waited")
	}
	return p.answerOrWait(x, c)
}
