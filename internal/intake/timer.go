package intake

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TimerStore keeps the deadlines of the rules.
type TimerStore interface {
	// FireTimers locks up to limit resources whose deadline has passed, hands them to judge and stores what it answers.
	FireTimers(ctx context.Context, limit int, judge func([]notice.DueTimer) []notice.Fired) (int, error)
}

// timerEvery is how often due timers are looked for. A timer's change must be announced within 1.5 s of its deadline.
const timerEvery = 200 * time.Millisecond

// timerBatch is how many fire in one transaction.
const timerBatch = 100

// RunTimers fires the deadlines of the rules (webhook §5.7) as changes with cause timer, until ctx ends. Any number of
// replicas may run it. fired is told how many fired.
func (in *Intake) RunTimers(ctx context.Context, store TimerStore, fired func(int)) {
	tick := time.NewTicker(timerEvery)
	defer tick.Stop()
	var told time.Time // when the log named a failure that goes on
	for {
		n, err := in.fireDue(ctx, store)
		switch {
		case err == nil:
			told = time.Time{}
		case ctx.Err() == nil && time.Since(told) >= time.Minute:
			told = time.Now()
			in.cfg.Log.Warn("timers not fired", "error", err)
		}
		if n > 0 {
			fired(n)
		}
		if n == timerBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (in *Intake) fireDue(ctx context.Context, store TimerStore) (int, error) {
	var all []notice.Fired
	n, err := store.FireTimers(ctx, timerBatch, func(ready []notice.DueTimer) []notice.Fired {
		all = make([]notice.Fired, len(ready))
		for i := range ready {
			all[i] = in.fire(&ready[i])
		}
		return all
	})
	if err != nil {
		return 0, err
	}
	for _, f := range all {
		if a := f.Decision.Announce; a != nil {
			in.cfg.Wake(a.Client, time.Now())
		}
	}
	return n, nil
}

// fire makes the change of one timer: the document as the rule leaves it, judged like any other change.
func (in *Intake) fire(r *notice.DueTimer) (fired notice.Fired) {
	defer func() {
		if p := recover(); p != nil { // one poison document must not stop all timers, nor the process again and again
			in.cfg.Log.Error("panic while firing a timer", "kind", r.Kind, "resource", r.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			fired = notice.Fired{}
		}
	}()
	value, err := (&memberValues{}).read(jsontext.NewDecoder(bytes.NewReader(r.Document)), "data")
	data, ok := value.(map[string]any)
	if err != nil || !ok || !slices.Contains(in.cfg.Timers, r.Kind) {
		return notice.Fired{}
	}
	timer, ok := ofb.NextTimer(r.Kind, data)
	if !ok { // of a document that does not conform
		timer, ok = ofb.ArmedTimer(r.Kind, data, r.Rule, r.Deadline)
	}
	if !ok || r.Now.Before(timer.Deadline) {
		return notice.Fired{}
	}
	document, err := timer.Fire(r.Document)
	if err != nil {
		in.cfg.Log.Error("timer not applied to its document", "kind", r.Kind, "resource", r.ID, "rule", timer.Rule, "error", err)
		return notice.Fired{}
	}
	c := &notice.Change{
		ID: in.cfg.NewID(), Kind: r.Kind, ResourceID: r.ID, Client: r.Client, APIVersion: r.APIVersion, OccurredAt: timer.Deadline, Cause: ofb.Clock,
		State: ofb.StateOf(r.Kind, timer.Apply(data)), Document: document, ConsentID: r.ConsentID, Source: "timer", Actor: timer.Rule, ReceivedAt: time.Now(),
		FirstAt: timer.Deadline,
	}
	if r.Since.After(c.FirstAt) { // the deadline was over before we knew it
		c.FirstAt = r.Since
	}
	c.State.Watched = digests(c, c.State.Watched)
	past := notice.Past{Resource: &r.Resource, Push: r.Push, Unregistered: r.Unregistered, Epoch: r.Epoch}
	d := notice.Decision{Verdict: notice.Applied, Current: true, From: r.Resource.State.Status, Announced: r.Resource.Announced}
	d.Fields = c.Kind.Differing(r.Resource.State, c.State)
	d.Judged = ofb.Judge(c.Kind, &r.Resource.State, c.State, c.Cause)
	in.settle(c, &past, &d)
	return notice.Fired{Change: c, Decision: d}
}
