package intake

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/groupcommit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Run stores what is submitted until ctx ends, then stores what is left and returns.
func (in *Intake) Run(ctx context.Context) {
	slots := make(chan struct{}, in.cfg.Workers)
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			slots <- struct{}{}
		}
		batch := in.gather(ctx)
		if batch == nil {
			return
		}
		workers.Go(func() {
			defer func() { <-slots }()
			in.storeBatch(batch)
			in.release(batch)
		})
	}
}

// gather waits for a batch worth storing: at once when nothing is being stored, else when it is full or its oldest has
// lingered. It holds at most one change of a resource; nil means that ctx ended and nothing is left.
func (in *Intake) gather(ctx context.Context) []*Pending {
	return groupcommit.Next(ctx, in.woken, func(ending bool) (batch []*Pending, wait time.Duration, last bool) {
		in.mu.Lock()
		defer in.mu.Unlock()
		batch, wait = in.take(ending)
		in.closed = batch == nil && ending && in.held.changes == 0 // else what is left waits only for its resources to be free
		return batch, wait, in.closed
	})
}

// take picks a batch, or says how long to wait for company; in.mu is held.
func (in *Intake) take(now bool) (batch []*Pending, wait time.Duration) {
	switch {
	case len(in.ready) > 0:
		wait = in.rule.Wait(len(in.ready), in.flying, in.ready[0].since, now)
	case len(in.slotless) > 0:
		wait = slotEvery - time.Since(in.asked)
	default:
		return nil, 0 // or all wait for a resource that is being stored
	}
	if wait > 0 && !now {
		return nil, wait
	}
	if batch = in.pick(in.cfg.MaxBatch); batch == nil {
		return nil, slotEvery
	}
	in.flying++
	slices.SortFunc(batch, func(a, b *Pending) int {
		return cmp.Or(cmp.Compare(a.change.Kind, b.change.Kind), cmp.Compare(a.change.ResourceID, b.change.ResourceID))
	})
	return batch, 0
}

// release answers the callers of a batch and frees its resources.
func (in *Intake) release(batch []*Pending) {
	in.mu.Lock()
	for _, p := range batch {
		key := p.change.Key()
		if after := in.busy[key]; len(after) == 0 {
			delete(in.busy, key)
		} else {
			in.makeReady(after[0])
			in.busy[key] = slices.Delete(after, 0, 1)
		}
		in.held.add(p.size, -1)
		if p.of.add(p.size, -1); p.of.changes == 0 {
			delete(in.clients, p.change.Client)
		}
	}
	in.flying--
	close(in.room)
	in.room = make(chan struct{})
	in.mu.Unlock()
	in.woken.Signal()
	for _, p := range batch {
		if p.err != nil {
			in.cfg.Observer.Refused("unavailable")
		} else {
			in.cfg.Observer.Accepted(p.change.Kind, p.answer.Verdict, p.answer.Silence, time.Since(p.change.ReceivedAt))
			if len(p.answer.Nonconforming) > 0 && p.answer.Verdict != notice.Duplicate {
				in.cfg.Observer.Nonconforming(p.change.Kind)
			}
		}
		close(p.done)
	}
}

// storeBatch stores a batch. When the shared commit fails for a reason that belongs to a row, each is tried alone once,
// in order, and only the row that fails alone is refused.
func (in *Intake) storeBatch(batch []*Pending) {
	err := in.storeTogether(batch)
	if err == nil {
		return
	}
	if len(batch) > 1 && !failure.Transient(err) {
		in.cfg.Log.Warn("shared commit failed, storing each change alone", "changes", len(batch), "error", err)
		for len(batch) > 0 {
			if err = in.storeTogether(batch[:1]); failure.Transient(err) && !failure.Contended(err) {
				break // the database went away: the others would only wait for it in turn
			}
			if err != nil {
				in.refuse(batch[0], err)
			}
			batch = batch[1:]
		}
	}
	for _, p := range batch {
		in.refuse(p, err)
	}
}

func (in *Intake) refuse(p *Pending, err error) {
	in.giveBack(p)
	in.cfg.Log.Error("change not stored", "kind", p.change.Kind, "resource", p.change.ResourceID, "revision", p.change.Revision, "error", err)
	in.refused(p.change, history.RefusedUnavailable)
	p.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	if !failure.Transient(err) {
		p.err = fmt.Errorf("%w: %w", ErrAlone, p.err)
	}
}

// storeTogether runs the one transaction of a batch, again while the database is away, until GiveUp. A commit whose
// answer was lost is recognised by the change's own id when it is tried again.
func (in *Intake) storeTogether(batch []*Pending) error {
	began := time.Now()
	until, away := in.deadline(batch, began)
	if away != nil && !until.After(began) {
		return fmt.Errorf("not tried again after waiting %s: %w", in.cfg.GiveUp, away)
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	changes := make([]*notice.Change, len(batch))
	for i, p := range batch {
		changes[i] = p.change
	}
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		decisions, err := in.record(ctx, batch, changes)
		in.cfg.Observer.Committed(len(batch), time.Since(began), err)
		if err == nil {
			in.away.Store(nil)
			in.conclude(batch, decisions)
			return nil
		}
		if !failure.Transient(err) || failure.Contended(err) {
			return err
		}
		in.away.Store(&err)
		if time.Now().Add(pause).After(until) {
			return err
		}
		doubt(batch)
		in.cfg.Log.Warn("shared commit will be tried again", "changes", len(batch), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// deadline returns when a batch that is taken now is given up, and the newest failure of a database that is away. While it
// is away the time that the oldest change has waited for earlier batches counts, so that every caller is told within GiveUp.
func (in *Intake) deadline(batch []*Pending, now time.Time) (time.Time, error) {
	away := in.away.Load()
	if away == nil {
		return now.Add(in.cfg.GiveUp), nil
	}
	oldest := slices.MinFunc(batch, func(a, b *Pending) int { return a.submitted.Compare(b.submitted) })
	return oldest.submitted.Add(in.cfg.GiveUp), *away
}

func (in *Intake) record(ctx context.Context, batch []*Pending, changes []*notice.Change) (decisions []notice.Decision, err error) {
	defer func() {
		if r := recover(); r != nil {
			in.cfg.Log.Error("panic while judging", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic while judging: %v", r)
		}
	}()
	err = in.cfg.Store.Record(ctx, changes, func(pasts []notice.Past) []notice.Decision {
		decisions = make([]notice.Decision, len(pasts))
		flight := randomID()
		for i := range pasts {
			decisions[i] = in.judge(changes[i], &pasts[i])
			if keep := batch[i].keep; keep != nil && decisions[i].Verdict == notice.Quarantined && changes[i].Line == nil {
				changes[i].Line = keep()
			}
			in.announce(batch[i], &pasts[i], &decisions[i], flight)
		}
		return decisions
	})
	return decisions, err
}

// conclude sends the first attempts of stored decisions, turns the decisions into answers, and wakes the lanes that have
// something to send.
func (in *Intake) conclude(batch []*Pending, decisions []notice.Decision) {
	var first []notice.Attempt
	for i, p := range batch {
		if p.first != nil {
			first = append(slices.Grow(first, len(batch)-i), *p.first)
		}
	}
	if first != nil {
		in.cfg.Slots.Start(first)
	}
	now := time.Now()
	for i, p := range batch {
		p.answer = answerOf(p.change, &decisions[i])
		again := decisions[i].Rejudged != nil
		if p.answer.Verdict == notice.Duplicate || (len(p.answer.Notifications) == 0 || p.first != nil) && !again {
			continue
		}
		due := now
		if !again && p.change.NotBefore.After(now) { // what is told again waits for nothing
			due = p.change.NotBefore
		}
		in.cfg.Wake(p.change.Client, due)
	}
}

// answerOf tells what became of a change. The notification of the next revision that a late change made a duty (Rejudged) is
// not part of it: it is about another revision, and a duplicate of the late change repeats this answer (contract "One
// object").
func answerOf(c *notice.Change, d *notice.Decision) Answer {
	a := Answer{Change: c, Verdict: d.Verdict, ChangeID: c.ID, Silence: d.Judged.Silence, Why: d.Why, Problems: d.Problems}
	switch d.Verdict {
	case notice.Duplicate:
		a.ChangeID, a.Silence = d.Earlier.ChangeID, d.Earlier.Silence
		if !d.Earlier.Notification.IsZero() {
			a.Notifications = []notice.ID{d.Earlier.Notification}
		}
		if ownCommit(c, d) {
			a.Verdict = notice.Applied
			if !d.Current {
				a.Verdict = notice.Superseded
			}
		}
	case notice.Quarantined:
		a.QuarantineID = c.CaseID()
	}
	if d.Announce != nil {
		a.Notifications = append(a.Notifications, d.Announce.ID)
	}
	if d.Verdict != notice.Quarantined && d.Verdict != notice.Conflicting {
		a.Nonconforming = c.Nonconforming
	}
	return a
}
