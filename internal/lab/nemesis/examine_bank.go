package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// followedWithin is how long the source may take, after the faults, to have read all that the bank committed.
const followedWithin = time.Minute

// stored is what the gateway's database has of a resource of the bank.
type stored struct {
	status    string
	revisions int
}

// bankStored reads it of all of them.
func (n *nemesis) bankStored(ctx context.Context) (map[string]stored, error) {
	conn, err := n.owner(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(ctx, conn)
	rows, _ := conn.Query(ctx, `SELECT c.id, c.status, count(v.revision) FROM arauto.resource c
		LEFT JOIN arauto.stored_revision v ON v.kind = c.kind AND v.resource_id = c.id WHERE c.client_id = $1 GROUP BY c.id, c.status`, n.bank.client.id)
	out := map[string]stored{}
	var id string
	var one stored
	_, err = pgx.ForEachRow(rows, []any{&id, &one.status, &one.revisions}, func() error {
		out[id] = one
		return nil
	})
	return out, err
}

// awaitBank waits until all that the bank committed is stored, or its time is over: what is missing is found by the comparison.
func (n *nemesis) awaitBank(ctx context.Context) error {
	if n.bank == nil {
		return nil
	}
	for began := time.Now(); ctx.Err() == nil; rest(ctx, 500*time.Millisecond) {
		found, err := n.bankStored(ctx)
		if err != nil {
			return err
		}
		sum := 0
		for _, one := range found {
			sum += one.revisions
		}
		if sum >= n.bank.committed() {
			return nil
		}
		if time.Since(began) > followedWithin {
			var source json.RawMessage
			err := n.replicas[0].core.Load().Call(ctx, http.MethodGet, "/internal/v1/sources/"+bankSource, nil, &source)
			n.fail("%d of %d states that the bank committed are stored %s after the load ended; the source says: %.1500s %v", sum, n.bank.committed(), followedWithin, source, err)
			return nil
		}
	}
	return ctx.Err()
}

// examineBank holds the bank's book against what is stored, what was told, and the quarantine.
func (n *nemesis) examineBank(ctx context.Context, all []stage.Notification) error {
	if n.bank == nil {
		return nil
	}
	found, err := n.bankStored(ctx)
	if err != nil {
		return err
	}
	for _, text := range bankDiffers(n.bank.states, found, announced(all, n.bank.client.id)) {
		n.fail("%s", text)
	}
	var page struct {
		Quarantine []struct {
			ResourceID *string         `json:"resourceId"`
			Source     string          `json:"source"`
			Errors     json.RawMessage `json:"errors"`
		} `json:"quarantine"`
	}
	if err := n.replicas[0].core.Load().Call(ctx, http.MethodGet, "/internal/v1/quarantine?limit=1000", nil, &page); err != nil {
		return fmt.Errorf("read the quarantine: %w", err)
	}
	for _, one := range page.Quarantine {
		if one.Source == bankSource {
			id := "?"
			if one.ResourceID != nil {
				id = *one.ResourceID
			}
			n.fail("a row of the bank, resource %s, is in quarantine: %.500s", id, one.Errors)
		}
	}
	n.say("check", "the bank committed %d states of %d payments in %d branches; all were compared with what is stored and told", n.bank.committed(), len(n.bank.states), len(n.bank.branches))
	return nil
}

// announced are the states that a client was told of, by resource, in the order of their revisions.
func announced(all []stage.Notification, client string) map[string][]ofb.Status {
	var own []*stage.Notification
	for i := range all {
		if v := &all[i]; v.ClientID == client && v.Revision != nil {
			own = append(own, v)
		}
	}
	slices.SortFunc(own, func(a, b *stage.Notification) int { return cmp.Compare(*a.Revision, *b.Revision) })
	out := map[string][]ofb.Status{}
	for _, v := range own {
		out[v.ResourceID] = append(out[v.ResourceID], ofb.Status(v.Status))
	}
	return out
}

// bankDiffers lists what is not as the bank's book says: each state it committed is stored once, the last is the resource's,
// and those that must be told were told once each, in their order, and no others.
func bankDiffers(committed map[string][]ofb.Status, found map[string]stored, toldOf map[string][]ofb.Status) (wrong []string) {
	for id, states := range committed {
		one, last := found[id], states[len(states)-1]
		if one.revisions != len(states) || one.status != string(last) {
			wrong = append(wrong, fmt.Sprintf("the bank committed %v of %s, and %d revisions are stored, the last of them %q", states, id, one.revisions, one.status))
		}
		var must []ofb.Status
		for _, state := range states {
			if slices.Contains(told[ofb.PixPayment], state) {
				must = append(must, state)
			}
		}
		if !slices.Equal(must, toldOf[id]) {
			wrong = append(wrong, fmt.Sprintf("the bank committed %v of %s; %v must be told, and %v was", states, id, must, toldOf[id]))
		}
	}
	for id := range found {
		if committed[id] == nil {
			wrong = append(wrong, fmt.Sprintf("resource %s is stored, and the bank never committed it", id))
		}
	}
	slices.Sort(wrong)
	return wrong
}
