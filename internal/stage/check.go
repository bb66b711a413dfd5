package stage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Post is a request as a receiver saw it arrive.
type Post struct {
	Target      string // path as it stood in the request line
	Interaction string
	At          time.Time
}

// Books are the three accounts of one run that nobody forged together: what the core handed in, what the receivers got,
// and what the gateway says it did.
type Books struct {
	Ledger        []Line
	Posts         []Post
	Notifications []Notification
	// Stored lists the revisions the gateway knows of each resource in the ledger, with the id of its change.
	Stored map[Revision]string
}

// Report is what comparing them showed. Wrong is empty when all is well.
type Report struct {
	Acknowledged, Refused, Unknown  int // changes
	Notifications, Pending, Late    int
	Attempts, UnknownOutcomes       int
	Posts                           int
	UnknownSent, UnknownUnsent      int // attempts whose end nobody saw, by whether the receiver got them
	Delivered, Exhausted, Cancelled int
	Reasons                         map[string]int // what unknown attempts give as detail, and how often
	Wrong                           []string
}

// String is one line for a log.
func (r Report) String() string {
	return fmt.Sprintf("changes: %d acknowledged, %d refused, %d unknown; notifications: %d (%d delivered, %d exhausted, %d cancelled, %d pending, %d late); "+
		"attempts: %d (%d unknown: %d sent, %d not); posts: %d; wrong: %d; reasons for unknown: %v", r.Acknowledged, r.Refused, r.Unknown, r.Notifications, r.Delivered, r.Exhausted,
		r.Cancelled, r.Pending, r.Late, r.Attempts, r.UnknownOutcomes, r.UnknownSent, r.UnknownUnsent, r.Posts, len(r.Wrong), r.Reasons)
}

// Collect reads the gateway's account for a ledger.
func (c *Core) Collect(ctx context.Context, ledger []Line, posts []Post) (Books, error) {
	b := Books{Ledger: ledger, Posts: posts, Stored: map[Revision]string{}}
	var err error
	if b.Notifications, err = c.Notifications(ctx, url.Values{}); err != nil {
		return b, fmt.Errorf("read the notifications: %w", err)
	}
	seen := map[Revision]bool{}
	for _, line := range ledger {
		key, err := line.Change.Key()
		if err != nil {
			return b, err
		}
		if key.Number = 0; seen[key] {
			continue
		}
		seen[key] = true
		if err := c.stored(ctx, key, b.Stored); err != nil {
			return b, err
		}
	}
	return b, nil
}

// stored reads which revisions of a resource are in its timeline as changes.
func (c *Core) stored(ctx context.Context, key Revision, into map[Revision]string) error {
	var story struct {
		Timeline []struct {
			Kind     string `json:"kind"`
			ID       string `json:"id"`
			Revision int64  `json:"revision"`
		} `json:"timeline"`
	}
	err := c.Call(ctx, http.MethodGet, "/internal/v1/resources/"+key.Kind+"/"+url.PathEscape(key.ResourceID), nil, &story)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the story of %s %s: %w", key.Kind, key.ResourceID, err)
	}
	for _, m := range story.Timeline {
		if m.Kind == "change" {
			key.Number = m.Revision
			if other, twice := into[key]; twice {
				return fmt.Errorf("%s %s: revision %d was stored twice, as %s and %s", key.Kind, key.ResourceID, key.Number, other, m.ID)
			}
			into[key] = m.ID
		}
	}
	return nil
}

// audit is one comparison under way.
type audit struct {
	Report
	posts map[string][]Post   // by interaction id
	byKey map[Revision]string // notification of a revision
	byID  map[string]*Notification
	known map[string]bool // interaction ids of attempts
}

func (a *audit) wrong(format string, args ...any) {
	a.Wrong = append(a.Wrong, fmt.Sprintf(format, args...))
}

// Check compares the books. What it holds true of every run, whatever was killed in it:
//   - an acknowledged change is stored under the id it was given, and each notification it was told of exists;
//   - a change that was refused is not stored;
//   - a revision has one notification at most, a notification three attempts at most, numbered without a gap, none before
//     its time, none after a success;
//   - every POST that arrived is one recorded attempt, and no attempt arrived twice;
//   - what is recorded as answered was received, once.
func (b Books) Check() Report {
	a := &audit{posts: map[string][]Post{}, byKey: map[Revision]string{}, byID: map[string]*Notification{}, known: map[string]bool{}}
	a.Reasons = map[string]int{}
	a.Posts, a.Notifications = len(b.Posts), len(b.Notifications)
	for _, p := range b.Posts {
		a.posts[p.Interaction] = append(a.posts[p.Interaction], p)
	}
	for i := range b.Notifications {
		a.notification(&b.Notifications[i])
	}
	for _, line := range b.Ledger {
		a.line(line, b.Stored)
	}
	for id, posts := range a.posts {
		switch {
		case !a.known[id]:
			a.wrong("a POST to %s with interaction id %s was never recorded as an attempt", posts[0].Target, id)
		case len(posts) > 1:
			a.wrong("interaction id %s arrived %d times", id, len(posts))
		}
	}
	slices.Sort(a.Wrong)
	return a.Report
}

func (a *audit) line(line Line, stored map[Revision]string) {
	key, err := line.Change.Key()
	if err != nil {
		a.wrong("the ledger has a change without a name: %v", err)
		return
	}
	change, there := stored[key]
	switch line.Fate {
	case Refused:
		a.Refused++
		if there {
			a.wrong("%v was refused and is stored all the same", key)
		}
		return
	case Unknown:
		a.Unknown++
		return
	}
	a.Acknowledged++
	if !there || change != line.Answer.ChangeID {
		a.wrong("%v was acknowledged as change %s and is stored as %q", key, line.Answer.ChangeID, change)
	}
	for _, n := range line.Answer.Notifications {
		if found := a.byID[n.ID]; found == nil {
			a.wrong("%v was acknowledged with notification %s, which does not exist", key, n.ID)
		} else if found.ResourceID != key.ResourceID || found.Kind != key.Kind {
			a.wrong("notification %s of %v is about %s %s", n.ID, key, found.Kind, found.ResourceID)
		}
	}
	if id, told := a.byKey[key]; told && len(line.Answer.Notifications) == 0 {
		a.wrong("%v was acknowledged as silent and has notification %s", key, id)
	}
}

func (a *audit) notification(n *Notification) {
	a.byID[n.ID] = n
	if n.Revision != nil {
		key := Revision{n.Kind, n.ResourceID, *n.Revision}
		if other, twice := a.byKey[key]; twice {
			a.wrong("%v has two notifications, %s and %s", key, other, n.ID)
		}
		a.byKey[key] = n.ID
	}
	if n.Late {
		a.Late++
	}
	if len(n.Attempts) > maxAttempts {
		a.wrong("notification %s has %d attempts", n.ID, len(n.Attempts))
	}
	received := 0
	for i := range n.Attempts {
		received += a.attempt(n, i)
	}
	if received > maxAttempts {
		a.wrong("notification %s was POSTed %d times", n.ID, received)
	}
	a.state(n)
}

// maxAttempts and gaps are the rule's (webhook §4.1), written down here once more on purpose: the auditor does not ask
// the audited.
const maxAttempts = 3

var gaps = [maxAttempts]time.Duration{0, 10 * time.Second, 60 * time.Second}

// attempt checks one attempt and tells how often it arrived.
func (a *audit) attempt(n *Notification, i int) int {
	t := &n.Attempts[i]
	a.Attempts++
	if t.Number != i+1 {
		a.wrong("notification %s: attempt %d stands in place %d", n.ID, t.Number, i+1)
	}
	if a.known[t.InteractionID] {
		a.wrong("interaction id %s was used for two attempts", t.InteractionID)
	}
	a.known[t.InteractionID] = true
	posts := a.posts[t.InteractionID]
	for _, p := range posts {
		if !strings.HasSuffix(p.Target, "/"+n.ResourceID) {
			a.wrong("attempt %s of %s arrived at %s", t.InteractionID, n.ResourceID, p.Target)
		}
	}
	if i > 0 && i < maxAttempts {
		before := n.Attempts[i-1]
		switch {
		case before.EndedAt == nil:
			a.wrong("notification %s: attempt %d began and %d had not ended", n.ID, i+1, i)
		case t.StartedAt.Before(before.EndedAt.Add(gaps[i])):
			a.wrong("notification %s: attempt %d began %s after the failure", n.ID, i+1, t.StartedAt.Sub(*before.EndedAt))
		}
		if success(before) {
			a.wrong("notification %s: attempt %d followed a success", n.ID, i+1)
		}
	}
	switch {
	case t.Outcome == nil:
	case *t.Outcome == "unknown":
		a.UnknownOutcomes++
		if t.Detail != nil {
			a.Reasons[*t.Detail]++
		}
		if len(posts) > 0 {
			a.UnknownSent++
		} else {
			a.UnknownUnsent++
		}
	case t.HTTPStatus != nil && len(posts) == 0:
		a.wrong("attempt %s is recorded as answered %d and never arrived", t.InteractionID, *t.HTTPStatus)
	}
	return len(posts)
}

func success(t Attempt) bool {
	return t.Outcome != nil && strings.HasPrefix(*t.Outcome, "delivered")
}

// state checks that a notification's state follows from its attempts.
func (a *audit) state(n *Notification) {
	last := len(n.Attempts) - 1
	ended := last >= 0 && n.Attempts[last].Outcome != nil
	ok := false
	switch n.State {
	case "pending":
		a.Pending++
		ok = !ended || last+1 < maxAttempts && !success(n.Attempts[last]) && n.NextAttemptAt != nil
	case "delivered":
		a.Delivered++
		ok = ended && success(n.Attempts[last])
	case "exhausted":
		a.Exhausted++
		ok = ended && last+1 == maxAttempts && !success(n.Attempts[last])
	case "cancelled":
		a.Cancelled++
		ok = !ended || !success(n.Attempts[last])
	}
	if !ok {
		a.wrong("notification %s is %s after %d attempts", n.ID, n.State, last+1)
	}
}

// Settle waits until no notification is in flight or falls due within the time given, and tells how many are pending
// after that. With a long time it waits for every chain's end.
func (c *Core) Settle(ctx context.Context, within time.Duration) (int, error) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		pending, err := c.Notifications(ctx, url.Values{"state": {"pending"}})
		if err != nil {
			return 0, fmt.Errorf("read what is pending: %w", err)
		}
		soon := 0
		for _, n := range pending {
			if n.NextAttemptAt == nil || time.Until(*n.NextAttemptAt) < within {
				soon++
			}
		}
		if soon == 0 {
			return len(pending), nil
		}
		select {
		case <-ctx.Done():
			return len(pending), fmt.Errorf("%d notifications of %d pending ones do not settle: %w", soon, len(pending), ctx.Err())
		case <-tick.C:
		}
	}
}
