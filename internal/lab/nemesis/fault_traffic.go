package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// hangInitiator gives one client half of the new traffic, and its receiver never answers. Nobody else may feel it: neither
// intake nor first attempts of others.
func hangInitiator(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	c := n.clients[r.IntN(len(n.clients))]
	for c.receiver == n.receivers[receiverCount-1] { // that one has troubles of its own
		c = n.clients[r.IntN(len(n.clients))]
	}
	pause := between(r, 10*time.Second, 20*time.Second)
	w := n.begin(f, "%s gets half of the new resources and answers none of them for %.1f s", c.id, pause.Seconds())
	n.load.favour(c)
	rest(ctx, pause)
	n.load.favour(nil)
	n.end(w, "")
	return nil
}

// hot is a resource that is changed in a tight loop. It is no part of the stories: its changes are acknowledged, and none
// of them is announced.
type hot struct {
	id           string
	given        atomic.Int64 // revisions handed in
	acknowledged atomic.Int64 // how many were acknowledged: the highest of them is no lower
}

// heatResource changes one resource as fast as four streams can. The streams wait for each other; nobody else does.
func heatResource(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	c, pause := n.clients[r.IntN(len(n.clients))], between(r, 4*time.Second, 8*time.Second)
	h := &hot{id: fmt.Sprintf("nemesis-hot-%d", r.Uint64())}
	n.load.heat(h)
	w := n.begin(f, "resource %s of %s is changed as fast as four streams can for %.1f s", h.id, c.id, pause.Seconds())
	hurried, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	var streams sync.WaitGroup
	for range 4 {
		streams.Go(func() {
			for hurried.Err() == nil {
				h.stream(hurried, n.core(), stage.Change{Brand: n.ouro.Name, ClientID: c.id})
				rest(hurried, 100*time.Millisecond) // that replica is away, or the stream was ended
			}
		})
	}
	streams.Wait()
	n.end(w, "(%d changes handed in)", h.given.Load())
	return nil
}

// stream hands in revisions of a brand's client over one request until ctx ends or the gateway ends it. What is not answered is not known.
func (h *hot) stream(ctx context.Context, core *stage.Core, of stage.Change) {
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		created := time.Now().UTC()
		for ctx.Err() == nil {
			line, err := json.Marshal(stage.Change{
				Brand: of.Brand, Kind: ofb.PixPayment.String(), ClientID: of.ClientID, APIVersion: "v5", Revision: h.given.Add(1), OccurredAt: time.Now().UTC(),
				Data: openapitest.Document(ofb.PixPayment, "v5", ofb.RCVD, h.id, openapitest.Created(created)),
			})
			if err != nil {
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
			}
		}
	}()
	answered := func(a stage.Accepted) {
		if a.ChangeID != "" {
			h.acknowledged.Add(1)
		}
	}
	_ = core.Stream(ctx, lines, answered)
	for range lines { // the maker ends
	}
}

// bombMembers sends changes with thousands of members that no schema knows. Each is refused quickly and permanently.
func bombMembers(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	const bombs = 40
	w := n.begin(f, "%d changes with 4,000 unknown members each", bombs)
	var members strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&members, `"member%d":"1",`, i)
	}
	refused := 0
	for i := range bombs {
		id := fmt.Sprintf("nemesis-bomb-%d-%d", r.Uint64(), i)
		_, err := n.core().Change(ctx, stage.Change{
			Brand: n.ouro.Name, Kind: ofb.PixPayment.String(), ClientID: n.clients[r.IntN(len(n.clients))].id, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
			Data: json.RawMessage(`{` + members.String() + `"paymentId":"` + id + `"}`),
		})
		switch stage.FateOf(err) {
		case stage.Refused:
			refused++
		case stage.Acknowledged:
			n.fail("a change with 4,000 unknown members was acknowledged: %s", id)
		}
		rest(ctx, 100*time.Millisecond)
	}
	n.end(w, "(%d of %d refused, the others without an answer)", refused, bombs)
	return nil
}
