package seal

import (
	"context"
	"errors"
	"time"
)

// foldEvery is the longest time between two looks whether entries are left to be folded: those that a replica sealed before
// it ended.
const foldEvery = 30 * time.Second

// errFold means that figures were not folded; sealing goes on.
var errFold = errors.New("figures are not folded")

// stirFold wakes fold. It returns at once.
func (w *Sealer) stirFold() {
	select {
	case w.sealed <- struct{}{}:
	default:
	}
}

// fold adds what is sealed to the figures until ctx ends. Sealing does not wait for it. After each stretch of a backlog it
// rests for as long as the stretch took.
func (w *Sealer) fold(ctx context.Context) {
	tick := time.NewTicker(foldEvery)
	defer tick.Stop()
	for {
		began := time.Now()
		out, err := w.store.Fold(ctx)
		if err != nil && ctx.Err() == nil {
			w.complain(errors.Join(errFold, err))
		}
		if err == nil && out.Entries > 0 {
			w.observer.Folded(out.Polls)
		}
		again, woken := tick.C, w.sealed
		if err == nil && out.More {
			again, woken = time.After(time.Since(began)), nil
		}
		select {
		case <-ctx.Done():
			return
		case <-woken:
		case <-again:
		}
	}
}
