package main

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/lab/stage"
)

// killReplica ends one or two replicas as a power cut does; they come back after a while.
func killReplica(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	victims := []*replica{n.someReplica(r)}
	if r.IntN(3) == 0 {
		victims = append(victims, n.replicas[(victims[0].index+1)%replicaCount])
	}
	pause := between(r, 0, 4*time.Second)
	for _, v := range victims {
		w := n.begin(f, "%s is killed (SIGKILL) and comes back %.1f s later", v.process.Load().Name, pause.Seconds())
		ready, err := v.replace(ctx, func(p *stage.Replica) error { p.Kill(); return nil }, pause)
		if err != nil {
			return err
		}
		n.end(w, "(%s is ready %.1f s after it was started)", v.process.Load().Name, ready.Seconds())
	}
	return nil
}

// stopReplica keeps a replica from running, as a stalled machine does, also past its leases (10 s).
func stopReplica(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	v, pause := n.someReplica(r).process.Load(), between(r, 3*time.Second, 18*time.Second)
	w := n.begin(f, "%s is stopped (SIGSTOP) for %.1f s", v.Name, pause.Seconds())
	if err := v.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	rest(ctx, pause)
	if err := v.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	n.end(w, "")
	return nil
}

// restartReplica replaces the replicas one after another, as an upgrade does.
func restartReplica(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	for i := range 1 + r.IntN(replicaCount) {
		v := n.replicas[i]
		w := n.begin(f, "%s is drained (SIGTERM) and replaced", v.process.Load().Name)
		began := time.Now()
		ready, err := v.replace(ctx, (*stage.Replica).Stop, 0)
		if err != nil {
			return err
		}
		n.end(w, "(drained within %.1f s, ready %.1f s after the new start)", (time.Since(began) - ready).Seconds(), ready.Seconds())
	}
	return nil
}
