package intake

import (
	"bytes"
	"crypto/rand"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// While the processor is busy with attempts that are committed, a change waits up to slotWithin for its slot, which is looked
// for every slotEvery. After that it is stored without its first attempt.
const (
	slotWithin = time.Second
	slotEvery  = 5 * time.Millisecond
)

// pick takes up to n changes, oldest first, each with a slot for its first attempt where there is one. Changes that are to
// have a slot soon become slotless; changes of other clients do not wait for them. in.mu is held.
func (in *Intake) pick(n int) (batch []*Pending) {
	now := time.Now()
	in.asked = now
	in.picks++
	most := min(n, len(in.slotless)+len(in.ready))
	waiting := in.slotless
	in.slotless = waiting[:0]
	for _, p := range waiting {
		if len(batch) == n || in.hopes(p, now) {
			in.slotless = append(in.slotless, p)
		} else {
			batch = append(slices.Grow(batch, most-len(batch)), p)
		}
	}
	clear(waiting[len(in.slotless):])
	for len(in.ready) > 0 && len(batch) < n {
		p := in.ready[0]
		in.ready[0] = nil // the list holds no change that was taken
		if in.ready = in.ready[1:]; in.mayHaveSlot(p, now) && in.hopes(p, now) {
			in.slotless = append(in.slotless, p)
		} else {
			batch = append(slices.Grow(batch, most-len(batch)), p)
		}
	}
	return batch
}

// mayHaveSlot tells whether a change may leave in its own commit.
func (in *Intake) mayHaveSlot(p *Pending, now time.Time) bool {
	c := p.change
	return in.cfg.Slots != nil && p.first == nil && len(c.Problems) == 0 && c.Cause != ofb.FirstLoad && !c.NotBefore.After(now)
}

// hopes gives a change its slot, or tells that it is to wait for one. Of a client that has none only the share is looked at.
func (in *Intake) hopes(p *Pending, now time.Time) bool {
	if p.of.without != in.picks {
		lease, soon := in.cfg.Slots.Reserve(p.change.Client)
		if lease > 0 {
			p.first, p.lease = &notice.Attempt{Interaction: randomID(), ClaimedAt: now}, lease
			p.token = tokenAfter(p.change.ID)
			return false
		}
		p.of.without, p.of.soon = in.picks, soon
	}
	return p.of.soon && now.Sub(p.since) < slotWithin
}

// announce gives what a decision announces its first attempt, when the change has a slot. Token and slot are kept for all
// tries to store the change; notification, flight and start are those of a try. When the answer to a commit is lost, a later
// try finds the change, and sends the attempt that was stored with it. flight names this try. The token is the change's id
// where the entry of the change records the attempt as well: not in the longer form, and not of a late attempt, which is
// searched for by its own kind.
func (in *Intake) announce(p *Pending, past *notice.Past, d *notice.Decision, flight notice.ID) {
	if p.first == nil {
		return
	}
	if ownCommit(p.change, d) {
		for _, a := range p.doubts {
			if a.Notification == d.Earlier.Notification {
				*p.first = a
				return
			}
		}
		in.giveBack(p)
		return
	}
	a := d.Announce
	if a == nil || a.NotBefore.After(past.Now) {
		in.giveBack(p)
		return
	}
	*p.first = notice.Attempt{
		Notification: a.ID, Token: p.token, Interaction: p.first.Interaction, Flight: flight, Client: a.Client, Kind: a.Kind, ResourceID: a.ResourceID,
		APIVersion: a.APIVersion, Event: a.Event, EventAt: a.EventAt, Number: 1, BaseURI: past.BaseURI, ScheduledAt: past.Now, StartedAt: past.Now,
		Late: past.Now.Sub(a.OccurredAt.Truncate(time.Microsecond)) > notice.FirstWithin, ClaimedAt: p.first.ClaimedAt,
		BeganAt: past.Asked,
	}
	if past.Dense && !p.first.Late {
		p.first.Token = p.change.ID
	}
	a.First, a.Lease = p.first, p.lease
}

// doubt keeps the first attempts of a try whose end is unknown. It may be committed after the next try was judged: of a
// resource that is new the next try finds no row whose lock it could wait for, and fails with ErrRace when it writes one.
func doubt(batch []*Pending) {
	for _, p := range batch {
		if p.first != nil {
			p.doubts = append(p.doubts, *p.first)
		}
	}
}

// tokenAfter makes a random UUID v4 that sorts after the id of the change. Entries of one transaction stand in the log in
// the order of their ids, and an attempt comes after what it tells.
func tokenAfter(change notice.ID) notice.ID {
	for {
		if token := randomID(); bytes.Compare(token[:], change[:]) > 0 {
			return token
		}
	}
}

// randomID makes a UUID v4 (RFC 9562 §5.4): an interaction id must not tell the time (webhook §2).
func randomID() (id notice.ID) {
	_, _ = rand.Read(id[:]) // it never fails: the process ends instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// giveBack releases the slot of a change that is not announced now.
func (in *Intake) giveBack(p *Pending) {
	if p.first != nil {
		p.first = nil
		in.cfg.Slots.Release(p.change.Client)
	}
}

// ownCommit tells whether a decision found the change itself: it was committed, and the answer was lost.
func ownCommit(c *notice.Change, d *notice.Decision) bool {
	return d.Verdict == notice.Duplicate && d.Earlier.ChangeID == c.ID
}
