package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// newPartition adds a partition to the table that is followed, while rows are written: a new branch, or a new month. Its
// rows must be told like all others, without anything being done at the gateway (F40).
func newPartition(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	way := r.IntN(len(partitionWays))
	w := n.begin(f, "the bank's followed table gets a partition, made %s", partitionWays[way].what)
	branch, err := n.bank.newBranch(context.WithoutCancel(ctx), way)
	if err != nil {
		return err
	}
	const wanted = 5
	for began := time.Now(); ctx.Err() == nil && n.bank.begun(branch) < wanted && time.Since(began) < time.Minute; {
		rest(ctx, commitsEach)
	}
	n.end(w, "(%d payments of branch %s have begun)", n.bank.begun(branch), branch)
	return nil
}
