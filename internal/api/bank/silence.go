package bank

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/api"
)

// A database that answers nothing fails a call within 3 s (cases F5), however long the call may take while it answers: a call that takes
// longer than silenceAfter asks it something small, again and again, and is broken off when that has no answer within answerWithin.
const (
	silenceAfter = 1200 * time.Millisecond
	answerWithin = 1300 * time.Millisecond
)

// watched is a context that ends when the database answers nothing. What a call wrote until then may be stored: its error is the 503 that
// says so. The function ends it, and must be called.
func (in *Internal) watched(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	watch := time.AfterFunc(silenceAfter, func() {
		pause := time.NewTicker(silenceAfter)
		defer pause.Stop()
		for !in.silent(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
		}
		cancel()
	})
	return ctx, func() { watch.Stop(); cancel() }
}

// silent tells that the database does not answer in time. One that refuses has answered.
func (in *Internal) silent(ctx context.Context) bool {
	look, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	answers := in.cfg.Answers
	if answers == nil {
		answers = in.cfg.History.Ping
	}
	return answers(look) != nil && errors.Is(look.Err(), context.DeadlineExceeded)
}

// watching watches the database during each call of a route. Changes are left out: intake bounds their wait itself.
func (in *Internal) watching(r api.Route) api.Route {
	if r.Path == changesPath && r.Method == http.MethodPost {
		return r
	}
	handle := r.Handle
	r.Handle = func(x *api.Exchange) error {
		ctx, cancel := in.watched(x.R.Context())
		defer cancel()
		x.R = x.R.WithContext(ctx)
		return handle(x)
	}
	return r
}

// actWithin bounds an operator's or a registrar's act while the database answers; an act about several has twice that.
const actWithin = 10 * time.Second

// acting is the context of something that is done, and not only read: a caller who hangs up does not stop it half-way, and a database that
// answers nothing does.
func (in *Internal) acting(x *api.Exchange) (context.Context, context.CancelFunc) {
	return in.lasting(x.R.Context(), actWithin)
}

// lasting is acting for as long as within.
func (in *Internal) lasting(ctx context.Context, within time.Duration) (context.Context, context.CancelFunc) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	watched, end := in.watched(bounded)
	return watched, func() { end(); cancel() }
}
