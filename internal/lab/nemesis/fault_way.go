package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// victims draws the ways that a fault is about: one, or all.
func (n *nemesis) victims(r *rand.Rand) (ways []*way, who string) {
	if r.IntN(3) == 0 {
		for _, v := range n.replicas {
			ways = append(ways, v.way)
		}
		return ways, "every replica"
	}
	v := n.someReplica(r)
	return []*way{v.way}, v.way.Name
}

// cutWay closes the connections of replicas to the database, and lets none be made.
func cutWay(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	ways, who := n.victims(r)
	pause := between(r, 2*time.Second, 15*time.Second)
	w := n.begin(f, "the connections of %s to the database are cut for %.1f s", who, pause.Seconds())
	for _, v := range ways {
		v.Stop()
	}
	rest(ctx, pause)
	for _, v := range ways {
		if err := v.Start(); err != nil {
			return err
		}
	}
	n.end(w, "")
	return nil
}

// spoilWays puts troubles on ways for a while.
func (n *nemesis) spoilWays(ctx context.Context, w *window, ways []*way, pause time.Duration, troubles ...trouble) error {
	var restores []func() error
	for _, v := range ways {
		restore, err := v.spoil(troubles...)
		if err != nil {
			return err
		}
		restores = append(restores, restore)
	}
	rest(ctx, pause)
	for _, restore := range restores {
		if err := restore(); err != nil {
			return err
		}
	}
	n.end(w, "")
	return nil
}

// silentWay swallows what is sent: connections stay open, and nothing arrives.
func silentWay(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	ways, who := n.victims(r)
	pause := between(r, 3*time.Second, 15*time.Second)
	w := n.begin(f, "nothing that %s and the database say to each other arrives for %.1f s", who, pause.Seconds())
	return n.spoilWays(ctx, w, ways, pause, trouble{"timeout", map[string]any{"timeout": 0}})
}

// slowWay delays what is sent by half a second and lets 64 KB/s through (cases F6).
func slowWay(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	ways, who := n.victims(r)
	pause := between(r, 5*time.Second, 15*time.Second)
	w := n.begin(f, "%s and the database are 500 ms and 64 KB/s apart for %.1f s", who, pause.Seconds())
	return n.spoilWays(ctx, w, ways, pause, trouble{"latency", map[string]any{"latency": 250, "jitter": 50}}, trouble{"bandwidth", map[string]any{"rate": 64}})
}

// resettingWay resets each connection shortly after it was made.
func resettingWay(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	ways, who := n.victims(r)
	pause := between(r, 2*time.Second, 8*time.Second)
	w := n.begin(f, "connections of %s to the database are reset after 300 ms, for %.1f s", who, pause.Seconds())
	return n.spoilWays(ctx, w, ways, pause, trouble{"reset_peer", map[string]any{"timeout": 300}})
}
