package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
)

// clientCount clients are spread over receiverCount endpoints. The last endpoint misbehaves on every connection level all
// the time; the others do what the code in a resource's id says.
const (
	clientCount   = 40
	receiverCount = 8
)

// receiver is one endpoint with its certificate.
type receiver struct {
	*standin.Initiator
	name string
	leaf certs.Leaf
}

// client is one registered initiator.
type client struct {
	id       string
	brand    string
	facts    certs.Participant
	receiver *receiver

	mu         sync.Mutex
	generation int // of its address
	ended      []ended
	removals   []span
}

// ended is an address that was replaced or taken away.
type ended struct {
	path string
	at   time.Time // when the gateway had answered that it is no more
}

// span is a time in which a client was not registered, from the moment its removal was asked for.
type span struct{ from, to time.Time }

// codes are what a receiver does to the requests about a resource, one letter each; the last for ever. Ids end with them.
var codes = map[byte]standin.Answer{
	'a': standin.Accept,
	'b': standin.Refuse(http.StatusServiceUnavailable),
	'c': {Status: http.StatusTooManyRequests, Header: []string{"Retry-After: 3600"}},
	'd': {Status: http.StatusTemporaryRedirect, Header: []string{"Location: https://127.0.0.1:1/"}},
	'e': {Stall: standin.AtStatusLine},
	'f': {End: standin.ResetUp},
	'g': {Raw: []byte("SSH-2.0-OpenSSH_9.2\r\n\x00\xff\r\n\r\n")},
	'h': {Flood: standin.Repeat("HTTP/1.1 202 Accepted\r\n", "X-A: b\r\n", 100_000)},
	'i': standin.Refuse(http.StatusOK),
	'j': {Echo: standin.NotEchoed},
	'k': {Delay: 700 * time.Millisecond},
	'l': {Trickle: 3 * time.Millisecond},
	'm': standin.Refuse(http.StatusNotFound),
	'n': {Stall: standin.InHeaders},
	'o': {Stall: standin.AtBody, Body: "never sent"},
	'p': {End: standin.HangUp},
	'q': {Status: http.StatusInternalServerError, Delay: 300 * time.Millisecond, End: standin.Close},
	'r': {Stall: standin.InStatusLine},
	's': {Delay: 4 * time.Second},
	't': {Body: "accepted, slowly", TrickleBody: 200 * time.Millisecond},
}

const (
	failures  = "bcdefghmnpqr"
	successes = "ijklost"
)

// drawCode draws what a resource's receiver does: one in five fails once or more.
func drawCode(r *rand.Rand) string {
	switch n := r.IntN(100); {
	case n < 20:
		code := []byte{failures[r.IntN(len(failures))], failures[r.IntN(len(failures))], failures[r.IntN(len(failures))]}
		for k := 1 + r.IntN(3); k < 3; k++ {
			code[k] = 'a'
		}
		return string(code)
	case n < 27:
		return string(successes[r.IntN(len(successes))])
	}
	return "a"
}

// openReceivers starts the endpoints.
func (w *world) openReceivers() ([]*receiver, error) {
	profiles := make([]certs.Profile, receiverCount)
	for n := range profiles {
		profiles[n] = w.stage.PKI.InitiatorServer(initiators[n%2])
	}
	leaves, err := w.stage.PKI.IssueAll(profiles...)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(w.stage.PKI.ClientCA.Certificate)
	var out []*receiver
	for n, leaf := range leaves {
		i, err := standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: authorities})
		if err != nil {
			return out, err
		}
		served := &served{count: map[string]int{}}
		i.AnswerBy(served.answer)
		out = append(out, &receiver{i, fmt.Sprintf("receiver %d", n+1), leaf})
	}
	return out, nil
}

// served counts the requests about each resource.
type served struct {
	mu    sync.Mutex
	count map[string]int
}

// answer does what the resource's code says for the n-th request about it.
func (s *served) answer(r *standin.Request) standin.Answer {
	id := r.Target[strings.LastIndexByte(r.Target, '/')+1:]
	code := id[strings.LastIndexByte(id, '-')+1:]
	s.mu.Lock()
	n := s.count[id]
	s.count[id]++
	s.mu.Unlock()
	if code == "" {
		return standin.Accept
	}
	return codes[code[min(n, len(code)-1)]]
}

// misbehave spoils connection after connection of a receiver.
func (w *world) misbehave(ctx context.Context, v *receiver, r *rand.Rand) error {
	expired, err := w.stage.PKI.Issue(w.stage.PKI.Spoil(w.stage.PKI.InitiatorServer(initiators[0]), certs.Expired))
	if err != nil {
		return err
	}
	old := expired.TLS()
	ways := []standin.Connection{
		{},
		{},
		{StallHello: true},
		{StallFinish: true},
		{Reset: true},
		{Garbage: []byte("220 smtp.example ESMTP\r\n")},
		{Certificate: &old},
		{CloseAfterHandshake: true},
		{NextProtos: []string{"h2"}},
		{MaxVersion: tls.VersionTLS11},
	}
	for ctx.Err() == nil {
		v.Connect(ways[r.IntN(len(ways))], ways[r.IntN(len(ways))])
		if r.IntN(2) == 0 {
			v.Disconnect()
		}
		rest(ctx, time.Duration(300+r.IntN(1200))*time.Millisecond)
	}
	v.Connect()
	return nil
}

// openClients registers everybody.
func (n *nemesis) openClients(ctx context.Context) error {
	for i := range clientCount {
		c := &client{id: fmt.Sprintf("itp-%02d", i), brand: n.ouro.Name, facts: initiators[i%2], receiver: n.receivers[i%receiverCount], generation: 1}
		n.clients = append(n.clients, c)
		if err := n.replicas[0].core.Load().Register(ctx, c.id, c.registration()); err != nil {
			return fmt.Errorf("register %s: %w", c.id, err)
		}
	}
	return nil
}

// path is what its address ends with now.
func (c *client) path() string { return fmt.Sprintf("/%s/g%d", c.id, c.generation) }

func (c *client) registration() stage.Registration {
	return stage.Registration{
		Brand: c.brand, OrganisationID: c.facts.Organisation.ID, SoftwareID: c.facts.SoftwareID, Name: c.id, WebhookURIs: []string{c.receiver.BaseURI(c.path())},
	}
}

// posts is all that reached any receiver of the first load.
func (n *nemesis) posts() []stage.Post {
	var out []stage.Post
	for _, v := range n.receivers {
		out = append(out, postsAt(v.Initiator)...)
	}
	return out
}

// postsAt is all that reached one receiver.
func postsAt(i *standin.Initiator) (out []stage.Post) {
	for _, r := range i.Requests() {
		out = append(out, stage.Post{Target: r.Target, Interaction: r.Interaction, At: r.At, Held: r.Given.Delay, Accepted: r.Given.Accepts()})
	}
	return out
}
