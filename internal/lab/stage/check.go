package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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
	At          time.Time     // on the receiver's clock
	Held        time.Duration // how long the receiver then kept its answer back
	Accepted    bool          // the answer given was an acceptance; whether it was read, the receiver does not know
}

// RunRecord are the three accounts of one run that nobody forged together: what the core handed in, what the receivers got,
// and what the gateway says it did.
type RunRecord struct {
	Submissions   []Line
	Posts         []Post
	Notifications []Notification
	// Stored lists the revisions that are stored of each resource in the submission log, with the id of its change.
	Stored map[Revision]string

	// Disturbed tells whether something was broken on purpose between two instants, or shortly before. What is late, or of
	// unknown end, while nothing was, is wrong. Nil: nothing is said about such things.
	Disturbed func(from, to time.Time) bool
	// Hostile names clients whose receivers misbehave before a request can be made: when a POST arrives there says nothing
	// of us.
	Hostile map[string]bool
	// Ahead is by how much the database's clock was moved ahead of ours between two instants, at most; nil: not at all. A
	// schedule kept by that clock is early by as much.
	Ahead func(from, to time.Time) time.Duration
}

// Report is what comparing them showed. Wrong is empty when all is well.
type Report struct {
	Acknowledged, Refused, Unknown  int // changes
	Notifications, Pending, Late    int
	Attempts, UnknownOutcomes       int
	Posts                           int
	UnknownSent, UnknownUnsent      int // attempts whose end nobody saw, by whether the receiver got them
	Delivered, Exhausted, Cancelled int
	AcceptedAgain                   int            // attempts after one the receiver had accepted, whose answer was lost
	First, Second, Third            Waits          // from the try that was answered, and from the failure, to the POST; beyond what the rule says
	Reasons                         map[string]int // what unknown attempts give as detail, and how often
	Wrong                           []string
}

// String is one line for a log.
func (r Report) String() string {
	return fmt.Sprintf("changes: %d acknowledged, %d refused, %d unknown; notifications: %d (%d delivered, %d exhausted, %d cancelled, %d pending, %d late); "+
		"attempts: %d (%d unknown: %d sent, %d not); posts: %d; wrong: %d; reasons for unknown: %v", r.Acknowledged, r.Refused, r.Unknown, r.Notifications, r.Delivered, r.Exhausted,
		r.Cancelled, r.Pending, r.Late, r.Attempts, r.UnknownOutcomes, r.UnknownSent, r.UnknownUnsent, r.Posts, len(r.Wrong), r.Reasons)
}

// Waits are measured times.
type Waits []time.Duration

// String gives their number, median, 99th percentile and maximum.
func (w Waits) String() string {
	if len(w) == 0 {
		return "none"
	}
	slices.Sort(w)
	at := func(q float64) time.Duration { return w[int(q*float64(len(w)-1))].Round(time.Millisecond) }
	return fmt.Sprintf("%d, median %s, p99 %s, most %s", len(w), at(.5), at(.99), at(1))
}

// Over counts the times longer than d.
func (w Waits) Over(d time.Duration) int {
	n := 0
	for _, one := range w {
		if one > d {
			n++
		}
	}
	return n
}

// timelinesRead is how many timelines Collect reads at most: each costs a gateway under the race detector ten milliseconds.
const timelinesRead = 50

// Collect reads the gateway's notifications for a submission log. stored is what the database holds (Stage.StoredRevisions); timelines of some
// resources, others at each call, must say the same.
func (c *Core) Collect(ctx context.Context, submissions []Line, posts []Post, stored map[Revision]string) (RunRecord, error) {
	b := RunRecord{Submissions: submissions, Posts: posts, Stored: stored}
	var err error
	if b.Notifications, err = c.Notifications(ctx, url.Values{}); err != nil {
		return b, fmt.Errorf("read the notifications: %w", err)
	}
	var resources []Revision
	seen := map[Revision]bool{}
	for _, line := range submissions {
		key, err := line.Change.Key()
		if err != nil {
			return b, err
		}
		if key.Number = 0; !seen[key] {
			seen[key] = true
			resources = append(resources, key)
		}
	}
	inDatabase := map[Revision]map[int64]string{}
	for key, change := range stored {
		number := key.Number
		if key.Number = 0; inDatabase[key] == nil {
			inDatabase[key] = map[int64]string{}
		}
		inDatabase[key][number] = change
	}
	step := 1 + len(resources)/timelinesRead
	for i := rand.IntN(step); i < len(resources); i += step {
		told, err := c.timeline(ctx, resources[i])
		if err != nil {
			return b, err
		}
		if has := inDatabase[resources[i]]; !maps.Equal(told, has) {
			return b, fmt.Errorf("%s %s: its timeline has the changes %v, and the database %v", resources[i].Kind, resources[i].ResourceID, told, has)
		}
	}
	return b, nil
}

// timeline reads which revisions of a resource are in its timeline as changes, with the ids of these.
func (c *Core) timeline(ctx context.Context, key Revision) (map[int64]string, error) {
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
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the story of %s %s: %w", key.Kind, key.ResourceID, err)
	}
	told := map[int64]string{}
	for _, m := range story.Timeline {
		if m.Kind == "change" {
			if other, twice := told[m.Revision]; twice {
				return nil, fmt.Errorf("%s %s: revision %d was stored twice, as %s and %s", key.Kind, key.ResourceID, m.Revision, other, m.ID)
			}
			told[m.Revision] = m.ID
		}
	}
	return told, nil
}

// audit is one comparison under way.
type audit struct {
	Report
	disturbed func(from, to time.Time) bool
	ahead     func(from, to time.Time) time.Duration
	hostile   map[string]bool

	posts map[string][]Post   // by interaction id
	byKey map[Revision]string // notification of a revision
	byID  map[string]*Notification
	known map[string]bool // interaction ids of attempts
}

func (a *audit) wrong(format string, args ...any) {
	a.Wrong = append(a.Wrong, fmt.Sprintf(format, args...))
}

// Check compares the three accounts. What it holds true of every run, whatever was killed in it:
//   - an acknowledged change is stored under the id it was given, and each notification it was told of exists;
//   - a change that was refused is not stored;
//   - a revision has one notification at most, a notification three attempts at most, numbered without a gap, none before
//     its time, none after a success;
//   - every POST that arrived is one recorded attempt, and no attempt arrived twice;
//   - what is recorded as answered was received, once;
//   - by the receivers' clock, a second and a third POST come 10 s and 60 s after the failure, or later;
//   - while nothing was broken, no first POST is late, no retry is late, and the end of every attempt is known.
func (b RunRecord) Check() Report {
	a := &audit{posts: map[string][]Post{}, byKey: map[Revision]string{}, byID: map[string]*Notification{}, known: map[string]bool{}}
	a.Reasons, a.hostile = map[string]int{}, b.Hostile
	if a.disturbed = b.Disturbed; a.disturbed == nil {
		a.disturbed = func(_, _ time.Time) bool { return true }
	}
	if a.ahead = b.Ahead; a.ahead == nil {
		a.ahead = func(_, _ time.Time) time.Duration { return 0 }
	}
	a.Posts, a.Notifications = len(b.Posts), len(b.Notifications)
	for _, p := range b.Posts {
		a.posts[p.Interaction] = append(a.posts[p.Interaction], p)
	}
	for i := range b.Notifications {
		a.notification(&b.Notifications[i])
	}
	for _, line := range b.Submissions {
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
		a.wrong("the submission log has a change without a name: %v", err)
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
		} else {
			a.first(line, found)
		}
	}
	if id, told := a.byKey[key]; told && len(line.Answer.Notifications) == 0 {
		a.wrong("%v was acknowledged as silent and has notification %s", key, id)
	}
}

// firstWithin and retryWithin are how late a first attempt and a retry may be (contract "On time, late"; cases C2).
const (
	firstWithin = 1500 * time.Millisecond
	retryWithin = time.Second
)

// first checks that the first POST about an acknowledged change was in time.
func (a *audit) first(line Line, n *Notification) {
	if line.Sent.IsZero() || len(n.Attempts) == 0 || line.Answer.Outcome == "duplicate" {
		return
	}
	if began := n.Attempts[0].StartedAt; began.Sub(n.CreatedAt) > firstWithin && !a.disturbed(n.CreatedAt, began) {
		a.wrong("notification %s: its first attempt began %s after it was made, and nothing was broken then", n.ID, began.Sub(n.CreatedAt).Round(time.Millisecond))
	}
	if a.hostile[n.ClientID] {
		return
	}
	for _, p := range a.posts[n.Attempts[0].InteractionID] {
		waited := p.At.Sub(line.Sent)
		a.First = append(a.First, waited)
		if waited > firstWithin && !a.disturbed(line.Sent, p.At) {
			a.wrong("notification %s: its first POST came %s after the change was handed in at %s, and nothing was broken then",
				n.ID, waited.Round(time.Millisecond), line.Sent.Format(time.TimeOnly))
		}
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
		a.retry(n, i)
	}
	switch {
	case t.Outcome == nil:
	case *t.Outcome == "unknown":
		a.UnknownOutcomes++
		if t.EndedAt != nil && !a.disturbed(t.StartedAt, *t.EndedAt) {
			a.wrong("notification %s: the end of attempt %d at %s is unknown, and nothing was broken then", n.ID, i+1, t.StartedAt.Format(time.TimeOnly))
		}
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

// retry checks when the POST of a second or third attempt came: by the receivers' clock, which knows nothing of ours.
func (a *audit) retry(n *Notification, i int) {
	before, t := &n.Attempts[i-1], &n.Attempts[i]
	if before.EndedAt == nil {
		return // wrong already
	}
	if waited := t.StartedAt.Sub(*before.EndedAt) - gaps[i]; waited > retryWithin && !a.disturbed(*before.EndedAt, t.StartedAt) {
		a.wrong("notification %s: attempt %d began %s late at %s, and nothing was broken then", n.ID, i+1, waited.Round(time.Millisecond), t.StartedAt.Format(time.TimeOnly))
	}
	earlier, later := a.posts[before.InteractionID], a.posts[t.InteractionID]
	if len(earlier) == 0 || len(later) == 0 {
		return
	}
	if earlier[0].Accepted {
		a.AcceptedAgain++
	}
	failed := earlier[0].At
	switch {
	case before.HTTPStatus != nil:
		failed = failed.Add(earlier[0].Held) // the answer was read, so it had been given
	case before.EndedAt.Before(failed):
		failed = *before.EndedAt // given up before the receiver, short of processor time, had come to read it
	}
	waited := later[0].At.Sub(failed)
	if i == 1 {
		a.Second = append(a.Second, waited-gaps[i])
	} else {
		a.Third = append(a.Third, waited-gaps[i])
	}
	if ahead := a.ahead(failed, later[0].At); waited+ahead < gaps[i] {
		a.wrong("notification %s: POST %d arrived %s after POST %d had failed at %s; the rule says %s, and the database's clock was moved ahead by %s",
			n.ID, i+1, waited.Round(time.Millisecond), i, failed.Format(time.TimeOnly), gaps[i], ahead)
	}
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
	for {
		// A gateway that works off a backlog may well refuse a search: it is asked again.
		pending, err := c.Notifications(ctx, url.Values{"state": {"pending"}})
		soon, look := 0, lookAgain
		for _, n := range pending {
			if n.NextAttemptAt == nil {
				soon++
			} else if left := time.Until(*n.NextAttemptAt); left < within {
				soon++
				look = max(look, min(left, lookAtMost)) // until then it is pending
			}
		}
		if err == nil && soon == 0 {
			return len(pending), nil
		}
		again := time.NewTimer(look)
		select {
		case <-ctx.Done():
			again.Stop()
			if err != nil {
				return 0, fmt.Errorf("read what is pending: %w", err)
			}
			return len(pending), fmt.Errorf("%d notifications of %d pending ones do not settle: %w", soon, len(pending), ctx.Err())
		case <-again.C:
		}
	}
}

// How long Settle waits before it reads again what is pending: when that may be nothing, and when it cannot be nothing yet.
const (
	lookAgain  = 250 * time.Millisecond
	lookAtMost = 2 * time.Second
)
