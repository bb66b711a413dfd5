package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/lab/stage"
)

// pollsEach is the distance between two status queries.
const pollsEach = 50 * time.Millisecond

// poll is one status query as its asker knows it.
type poll struct {
	interaction, client string
	at, until           time.Time
	status              int // 0: no answer came
}

// polls are all of them.
type polls struct {
	mu     sync.Mutex
	all    []poll
	askers [2]*stage.BrandAsker // of the initiators
	tokens map[string]token
}

type token struct {
	text string
	made time.Time
}

// openAsker has an initiator ask with a new certificate.
func (n *nemesis) openAsker(which int) error {
	leaf, err := n.stage.PKI.Issue(n.stage.PKI.InitiatorBRCAC(initiators[which]))
	if err != nil {
		return err
	}
	asker, err := n.stage.AskBrand(n.ouro, []*stage.Brand{n.ouro}, initiators[which], leaf.TLS())
	if err != nil {
		return err
	}
	asker.Holder = n.ouro.Is.ID
	n.polls.mu.Lock()
	defer n.polls.mu.Unlock()
	if old := n.polls.askers[which]; old != nil {
		old.Close()
	}
	n.polls.askers[which] = asker
	n.certificates[which] = leaf
	clear(n.polls.tokens) // bound to the certificate
	return nil
}

// as is the asker for a client, with a token.
func (p *polls) as(c *client) (*stage.BrandAsker, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asker := p.askers[0]
	if c.facts.Name == initiators[1].Name {
		asker = p.askers[1]
	}
	t := p.tokens[c.id]
	if time.Since(t.made) < stage.TokenLife/2 {
		return asker, t.text, nil
	}
	text, err := asker.Token(c.id)
	if err != nil {
		return nil, "", err
	}
	p.tokens[c.id] = token{text, time.Now()}
	return asker, text, nil
}

// ask polls until ctx ends and then waits for what is under way.
func (n *nemesis) ask(ctx context.Context, r *rand.Rand) {
	var under sync.WaitGroup
	defer under.Wait()
	tick := time.NewTicker(pollsEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		one := n.load.drawn(r)
		if one == nil {
			continue
		}
		where := n.replicas[r.IntN(replicaCount)].process.Load().Public
		under.Go(func() { n.pollOnce(one, where) })
	}
}

// pollOnce asks once and judges the answer: it must show at least what was acknowledged before the question.
func (n *nemesis) pollOnce(v *shelved, where string) {
	asker, token, err := n.polls.as(v.client)
	if err != nil {
		n.fail("make an initiator's token: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	one := poll{interaction: stage.NewInteraction(), client: v.client.id, at: time.Now()}
	state, err := asker.Asker.Ask(ctx, where, token, one.interaction, v.path())
	one.until = time.Now()
	n.asked.Add(1)
	var refusal *stage.Refusal
	switch {
	case err == nil:
		one.status = http.StatusOK
		if v.rank >= 0 && v.resource.rank(state) < v.rank {
			n.fail("a poll (interaction %s) of %s shows %s, though revision %d had been acknowledged before it was asked", one.interaction, v.id, state, 3*v.rank+1)
		}
	case errors.As(err, &refusal):
		one.status = refusal.Status
		n.unasked.Add(1)
		n.judgeRefusal(one, v, refusal)
	default:
		n.unasked.Add(1)
		if errors.Is(err, stage.ErrAnswer) {
			n.fail("a poll (interaction %s) of %s: %v", one.interaction, v.id, err)
		} else if !n.disturbed(one.at, one.until) && !n.touched(one.at, one.until, certificateFaults...) {
			n.fail("a poll (interaction %s) of %s was not answered, and nothing was broken then: %v", one.interaction, v.id, err)
		}
	}
	n.polls.mu.Lock()
	n.polls.all = append(n.polls.all, one)
	n.polls.mu.Unlock()
}

// judgeRefusal tells which refusals a fault explains.
func (n *nemesis) judgeRefusal(one poll, v *shelved, refusal *stage.Refusal) {
	explained := false
	switch refusal.Status {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		explained = n.disturbed(one.at, one.until)
	case http.StatusUnauthorized:
		explained = n.touched(one.at, one.until, certificateFaults...) || v.client.away(one.at, one.until)
	}
	if !explained {
		n.fail("a poll (interaction %s) of %s for %s was answered %d, which no fault explains: %s", one.interaction, v.id, v.client.id, refusal.Status, refusal.Body)
	}
}

// away tells whether the client was not registered at some time between two instants, or shortly before.
func (c *client) away(from, to time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.removals {
		if s.from.Before(to) && (s.to.IsZero() || s.to.Add(6*time.Second).After(from)) {
			return true
		}
	}
	return false
}
