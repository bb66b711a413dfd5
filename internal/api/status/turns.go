package status

import (
	"context"
	"sync"
)

// readsAtOnce is how many calls of the extension read the history at once at a replica: their connections are those of everybody who
// reads the history, and of registrations.
const readsAtOnce = 2

// turns lets an organisation read the history once at a time, and all of them together readsAtOnce times. So an organisation
// waits for at most one read of each other one, however many calls the others put.
type turns struct {
	room chan struct{}

	mu sync.Mutex
	of map[string]*turn
}

// turn is that of one organisation with calls under way.
type turn struct {
	line chan struct{}
	here int // that wait or read
}

func newTurns() *turns {
	return &turns{room: make(chan struct{}, readsAtOnce), of: map[string]*turn{}}
}

// begin waits for the turn of an organisation, at most as long as the context lasts. Its caller must call end if there is no error.
func (t *turns) begin(ctx context.Context, organisation string) (end func(), err error) {
	own := t.join(organisation)
	if err := enter(ctx, own.line); err != nil {
		t.leave(organisation, own)
		return nil, err
	}
	if err := enter(ctx, t.room); err != nil {
		<-own.line
		t.leave(organisation, own)
		return nil, err
	}
	return func() {
		<-t.room
		<-own.line
		t.leave(organisation, own)
	}, nil
}

func enter(ctx context.Context, room chan struct{}) error {
	select {
	case room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turns) join(organisation string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.of[organisation]
	if own == nil {
		own = &turn{line: make(chan struct{}, 1)}
		t.of[organisation] = own
	}
	own.here++
	return own
}

func (t *turns) leave(organisation string, own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.here--; own.here == 0 {
		delete(t.of, organisation)
	}
}
