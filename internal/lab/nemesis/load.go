package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// story is the states a resource goes through, each handed in as one change.
type story struct {
	share   int // in a hundred
	kind    ofb.Kind
	version string
	states  []ofb.Status
	expires bool // the rules' own deadline ends it some seconds after its only change
}

var stories = []story{
	{30, ofb.PixPayment, "v5", []ofb.Status{ofb.RCVD, ofb.PDNG, ofb.ACSC}, false},
	{10, ofb.PixPayment, "v4", []ofb.Status{ofb.RCVD, ofb.ACCP, ofb.RJCT}, false},
	{10, ofb.PixPayment, "v5", []ofb.Status{ofb.RCVD, ofb.SCHD, ofb.CANC}, false},
	{15, ofb.PaymentConsent, "v5", []ofb.Status{ofb.AwaitingAuthorisation, ofb.PartiallyAccepted, ofb.Authorised, ofb.Consumed}, false},
	{5, ofb.PaymentConsent, "v4", []ofb.Status{ofb.AwaitingAuthorisation}, true},
	{15, ofb.RecurringPayment, "v2", []ofb.Status{ofb.RCVD, ofb.SCHD, ofb.ACSC}, false},
	{5, ofb.RecurringConsent, "v2", []ofb.Status{ofb.AwaitingAuthorisation, ofb.Authorised, ofb.Revoked}, false},
	{10, ofb.Enrollment, "v2", []ofb.Status{ofb.AwaitingRiskSignals, ofb.AwaitingEnrollment, ofb.Authorised, ofb.Revoked}, false},
}

// changesEach is how many changes a resource has on average.
func changesEach() float64 {
	sum := 0
	for _, s := range stories {
		sum += s.share * len(s.states)
	}
	return float64(sum) / 100
}

func drawStory(r *rand.Rand) story {
	n := r.IntN(100)
	for _, s := range stories {
		if n -= s.share; n < 0 {
			return s
		}
	}
	return stories[0]
}

// told lists the states a change into which must be announced (webhook §5), for the steps that the stories make; written
// down once more on purpose: the auditor does not ask the audited.
var told = map[ofb.Kind][]ofb.Status{
	ofb.PixPayment:       {ofb.PDNG, ofb.SCHD, ofb.ACSC, ofb.RJCT, ofb.CANC},
	ofb.PaymentConsent:   {ofb.Authorised, ofb.Rejected, ofb.Consumed},
	ofb.RecurringPayment: {ofb.PDNG, ofb.SCHD, ofb.ACSC, ofb.RJCT, ofb.CANC},
	ofb.RecurringConsent: {ofb.Revoked},
	ofb.Enrollment:       {ofb.Revoked},
}

// resource is what we know of one.
type resource struct {
	story  story
	id     string
	client *client
}

// path is where its status is asked for.
func (v *resource) path() string { return stage.StatusPath(v.story.kind, v.story.version, v.id) }

// rank is how far in its story a state is; -1 for one that is not in it. A deadline's state comes last.
func (v *resource) rank(state string) int {
	for n, s := range v.story.states {
		if string(s) == state {
			return n
		}
	}
	if v.story.expires && state == string(ofb.Rejected) {
		return len(v.story.states)
	}
	return -1
}

// load makes the changes and knows the resources they are about.
type load struct {
	seed    uint64
	brand   string // of the clients
	clients []*client

	mu    sync.Mutex
	known map[string]*resource // by id
	shelf []shelved            // acknowledged lately: what initiators ask for
	next  int
	hangs *client         // gets half of the new resources and answers none of them; nil: nobody
	hot   map[string]*hot // resources outside of the stories, by id
}

// favour gives half of the new resources to a client whose receiver does not answer about them; nil ends it.
func (l *load) favour(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hangs = c
}

// heat makes known a resource that is outside of the stories.
func (l *load) heat(h *hot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hot[h.id] = h
}

// shelved is a resource with the least rank a status query must show.
type shelved struct {
	*resource
	rank int
}

const shelfSize = 2000

// changes makes those of the n-th resource, always the same for a seed but for the time and for what the fault
// hanging-initiator makes of half of them.
func (l *load) changes(n int) []stage.Change {
	r := rand.New(rand.NewPCG(l.seed, uint64(n)))
	v := &resource{story: drawStory(r), client: l.clients[r.IntN(len(l.clients))]}
	code, half := drawCode(r), r.IntN(2) == 0
	l.mu.Lock()
	if l.hangs != nil && half {
		v.client, code = l.hangs, "e"
	}
	l.mu.Unlock()
	v.id = fmt.Sprintf("nemesis-%06d-%s", n, code)
	if v.story.kind == ofb.PaymentConsent || v.story.kind == ofb.RecurringConsent || v.story.kind == ofb.Enrollment {
		v.id = "urn:bancoarauto:" + v.id
	}
	l.mu.Lock()
	l.known[v.id] = v
	l.mu.Unlock()
	now := time.Now().UTC()
	created := now
	if v.story.expires { // 5 min after its creation (webhook §5.7)
		created = now.Add(-5*time.Minute + time.Duration(2+r.IntN(20))*time.Second)
	}
	var out []stage.Change
	for i, state := range v.story.states {
		out = append(out, stage.Change{
			Brand: l.brand, Kind: v.story.kind.String(), ClientID: v.client.id, APIVersion: v.story.version, Revision: int64(3*i + 1), OccurredAt: now,
			Data: openapitest.Document(v.story.kind, v.story.version, state, v.id, openapitest.Created(created)),
		})
	}
	return out
}

// consent is the first change of a consent outside of the stories, which nobody must be told of.
func (l *load) consent(c *client, id string) stage.Change {
	now := time.Now().UTC()
	return stage.Change{
		Brand: l.brand, Kind: ofb.PaymentConsent.String(), ClientID: c.id, APIVersion: "v5", Revision: 1, OccurredAt: now,
		Data: openapitest.Document(ofb.PaymentConsent, "v5", ofb.AwaitingAuthorisation, id, openapitest.Created(now)),
	}
}

// random draws what is drawn after the load.
func (l *load) random() *rand.Rand { return rand.New(rand.NewPCG(l.seed, 1<<40)) }

// acknowledged puts a resource on the shelf.
func (l *load) acknowledged(c stage.Change) {
	key, err := c.Key()
	if err != nil {
		return // the ledger says so too
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.known[key.ResourceID]
	one := shelved{v, int(c.Revision-1) / 3}
	if len(l.shelf) < shelfSize {
		l.shelf = append(l.shelf, one)
		return
	}
	l.shelf[l.next%shelfSize] = one
	l.next++
}

// drawn takes one from the shelf; nil when it is empty.
func (l *load) drawn(r *rand.Rand) *shelved {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.shelf) == 0 {
		return nil
	}
	one := l.shelf[r.IntN(len(l.shelf))]
	return &one
}

// core names the replica for the next try, one after the other, also those that are down.
func (n *nemesis) core() *stage.Core {
	r := n.replicas[n.turn.Add(1)%replicaCount]
	if time.Since(time.Unix(r.coreMade.Load(), 0)) > 30*time.Minute { // tokens are good for an hour
		if err := r.talk(); err != nil {
			n.fail("make a token: %v", err)
		}
	}
	return r.core.Load()
}

// tried counts one try of the feed.
func (n *nemesis) tried(c stage.Change, _ stage.Accepted, err error) {
	n.tries.Add(1)
	switch stage.FateOf(err) {
	case stage.Acknowledged:
		n.account.acknowledged.Add(1)
		n.load.acknowledged(c)
	case stage.Unknown:
		n.unanswered.Add(1)
	case stage.Refused:
		n.fail("a change was refused: %v: %s", err, c.Data)
	}
}

// feed hands in changes until ctx ends, and then until each has an answer.
func (n *nemesis) feed(ctx context.Context) error {
	f := stage.Feed{
		Log: n.ledger, Core: n.core, Make: n.load.changes, Every: time.Duration(changesEach() / n.rate * float64(time.Second)),
		Workers: 1000, Again: 300 * time.Millisecond, Tried: n.tried,
	}
	return f.Run(ctx)
}
