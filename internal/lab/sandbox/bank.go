package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// Event is what happens in the sandbox, as it is told to the developer.
type Event struct {
	At           time.Time `json:"at"`
	What         What      `json:"event"`
	Client       string    `json:"client,omitempty"`
	Kind         string    `json:"kind,omitempty"`
	ID           string    `json:"resourceId,omitempty"`
	Status       string    `json:"status,omitempty"`       // or DATA_CHANGED
	Cents        *int      `json:"cents,omitempty"`        // of a creation whose story an amount chose
	Notification string    `json:"notification,omitempty"` // id
	State        string    `json:"state,omitempty"`        // of a notification that has ended
	Attempts     int       `json:"attempts,omitempty"`
	Interaction  string    `json:"interactionId,omitempty"` // of an attempt that was lost
	Reason       string    `json:"reason,omitempty"`        // why nothing is notified, or why something failed
}

// What names an event.
type What string

// The events.
const (
	Created      What = "created"       // a resource, by a POST or a trigger
	Changed      What = "changed"       // a resource, and whether that is notified
	Ended        What = "ended"         // a notification
	RequestLost  What = "request-lost"  // an attempt that the sandbox did not pass on
	AnswerLost   What = "answer-lost"   // an attempt whose answer the sandbox did not pass back
	NotDelivered What = "not-delivered" // an attempt that the sandbox passes on did not reach the receiver
	Refused      What = "refused"       // a TLS handshake that its caller ended without an alert
	Failed       What = "failed"        // a story could not go on
)

// bank is the stand-in core.
type bank struct {
	ctx   context.Context // of its stories
	core  *stage.Core
	way   *way
	say   func(Event)
	tasks sync.WaitGroup

	mu        sync.Mutex
	resources map[string]*resource
}

// answerHold is how long after a creation its story begins: the POST has been answered by then (webhook §8.1).
const answerHold = 300 * time.Millisecond

func (b *bank) find(id string) *resource {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resources[id]
}

func (b *bank) tell(e Event) {
	e.At = time.Now().UTC()
	b.say(e)
}

// event begins an event about a resource.
func (r *resource) event(what What) Event {
	return Event{What: what, Client: r.client, Kind: r.kind.String(), ID: r.id}
}

// create makes a resource known to the gateway in its initial state. A refusal is the gateway's judgement of its document.
func (b *bank) create(ctx context.Context, r *resource, cents *int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := b.core.ChangePatiently(ctx, r.next(r.status, r.created)); err != nil {
		return err
	}
	b.mu.Lock()
	b.resources[r.id] = r
	b.mu.Unlock()
	e := r.event(Created)
	e.Status, e.Cents = string(r.status), cents
	b.tell(e)
	return nil
}

// change brings a resource to a state, or edits it, and tells the gateway.
func (b *bank) change(r *resource, s Step, late time.Duration) (Told, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, to := string(s.To), s.To
	if s.Edit {
		r.edits++
		name, to = DataChanged, r.status
	}
	status, updated := r.status, r.updated
	accepted, err := b.core.ChangePatiently(b.ctx, r.next(to, time.Now().Add(-late)))
	if err != nil {
		if r.status, r.updated = status, updated; s.Edit {
			r.edits--
		}
		return Told{}, fmt.Errorf("the change of %s %s to %s was not accepted: %w", r.kind, r.id, name, err)
	}
	told := Told{Resource: r.id, Status: name, Notifications: []Notified{}}
	e := r.event(Changed)
	e.Status = name
	if accepted.Reason != nil {
		told.Reason, e.Reason = *accepted.Reason, *accepted.Reason
	}
	for _, n := range accepted.Notifications {
		told.Notifications = append(told.Notifications, Notified{ID: n.ID, Interactions: []string{}})
		e.Notification = n.ID
	}
	b.tell(e)
	return told, nil
}

// story is what is told of a resource, and of its consent.
type story struct {
	mu   sync.Mutex
	told []Told
	err  error
	done chan struct{} // closed when every step is told
}

// Told is one change, and its notifications.
type Told struct {
	Resource      string     `json:"resourceId"`
	Status        string     `json:"status"` // or DATA_CHANGED
	Notifications []Notified `json:"notifications"`
	Reason        string     `json:"reason,omitempty"` // why nothing is notified
}

// Notified is a notification, and the interaction ids of its attempts so far.
type Notified struct {
	ID           string   `json:"id"`
	State        string   `json:"state"`
	Interactions []string `json:"interactionIds"`
}

func (s *story) add(t Told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, t)
}

// sofar is what was told up to now.
func (s *story) sofar() ([]Told, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := append([]Told{}, s.told...)
	for i := range told {
		told[i].Notifications = slices.Clone(told[i].Notifications) // whose attempts the caller may add
	}
	return told, s.err
}

// begin plays a story in the background, after a pause.
func (b *bank) begin(r, consent *resource, o Outcome, pause time.Duration) *story {
	s := &story{done: make(chan struct{})}
	b.tasks.Go(func() {
		defer close(s.done)
		err := wait(b.ctx, pause)
		if err == nil {
			err = b.play(r, consent, &o, s)
		}
		if err == nil || errors.Is(err, context.Canceled) {
			return
		}
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		e := r.event(Failed)
		e.Reason = err.Error()
		b.tell(e)
	})
	return s
}

// play tells the steps of a story.
func (b *bank) play(r, consent *resource, o *Outcome, s *story) error {
	if o.LoseRequests+o.LoseAnswers > 0 {
		release, err := b.way.lose(b.ctx, r, o.LoseRequests, o.LoseAnswers)
		if err != nil {
			return err
		}
		defer release()
	}
	consume := func() error {
		if consent == nil {
			return nil
		}
		return b.step(consent, Step{To: ofb.Consumed}, 0, s)
	}
	if o.Consent != ConsentSecond {
		if err := consume(); err != nil {
			return err
		}
	}
	if o.Consent == ConsentFirst {
		if _, err := b.reached(b.ctx, s, came); err != nil {
			return err
		}
	}
	for _, step := range o.Steps {
		if err := wait(b.ctx, step.After); err != nil {
			return err
		}
		if err := b.step(r, step, o.Late, s); err != nil {
			return err
		}
	}
	if o.Consent == ConsentSecond {
		if _, err := b.reached(b.ctx, s, came); err != nil {
			return err
		}
		if err := consume(); err != nil {
			return err
		}
	}
	if o.LoseRequests+o.LoseAnswers > 0 {
		return b.ends(s)
	}
	return nil
}

// step tells one step and follows its notifications.
func (b *bank) step(r *resource, step Step, late time.Duration, s *story) error {
	told, err := b.change(r, step, late)
	if err != nil {
		return err
	}
	s.add(told)
	for _, n := range told.Notifications {
		b.tasks.Go(func() { b.watch(r, n.ID) })
	}
	return nil
}

// watch tells how a notification ended.
func (b *bank) watch(r *resource, id string) {
	n, err := b.core.WaitState(b.ctx, id)
	if err != nil {
		return // the sandbox ends
	}
	e := r.event(Ended)
	e.Status, e.Notification, e.State, e.Attempts = n.Status, id, n.State, len(n.Attempts)
	b.tell(e)
}

// ends waits until every notification of a story has ended.
func (b *bank) ends(s *story) error {
	told, _ := s.sofar()
	for _, t := range told {
		for _, n := range t.Notifications {
			if _, err := b.core.WaitState(b.ctx, n.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// begun tells whether an attempt began; came, whether one reached its receiver or failed. The entry of an attempt is written before it is sent.
func begun(attempts []stage.Attempt) bool { return len(attempts) > 0 }
func came(attempts []stage.Attempt) bool  { return len(attempts) > 0 && attempts[0].EndedAt != nil }

// reached waits until the first attempt of every notification told so far is so far, as long as ctx allows, and adds what is known.
func (b *bank) reached(ctx context.Context, s *story, far func([]stage.Attempt) bool) ([]Told, error) {
	told, err := s.sofar()
	for i := range told {
		for j := range told[i].Notifications {
			if err := b.attempts(ctx, &told[i].Notifications[j], far); err != nil {
				return told, err
			}
		}
	}
	return told, err
}

// attempts reads the attempts of a notification, when they are so far or when the time is over.
func (b *bank) attempts(ctx context.Context, n *Notified, far func([]stage.Attempt) bool) error {
	for {
		read, err := b.core.Notification(context.WithoutCancel(ctx), n.ID)
		var refusal *stage.Refusal
		if errors.As(err, &refusal) && refusal.Status >= http.StatusInternalServerError && wait(ctx, 50*time.Millisecond) == nil {
			continue // its database is slow for the moment
		}
		if err != nil {
			return err
		}
		n.State, n.Interactions = read.State, n.Interactions[:0]
		for _, a := range read.Attempts {
			n.Interactions = append(n.Interactions, a.InteractionID)
		}
		if far(read.Attempts) || read.State != "pending" || wait(ctx, 50*time.Millisecond) != nil {
			return nil //nolint:nilerr // the time to wait for one is over
		}
	}
}

// wait pauses for so long, or until the context ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
