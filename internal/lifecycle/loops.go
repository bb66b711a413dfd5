package lifecycle

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Loops are goroutines with names. The zero value is ready to use.
type Loops struct {
	all     sync.WaitGroup
	mu      sync.Mutex
	running map[string]int // loops of a name that have not ended
}

// Start runs a loop under a name until it returns. Several loops may have one name.
func (p *Loops) Start(name string, loop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = map[string]int{}
	}
	p.running[name]++
	p.all.Go(func() {
		defer p.end(name)
		loop()
	})
}

func (p *Loops) end(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[name]--; p.running[name] == 0 {
		delete(p.running, name)
	}
}

// Wait returns nil once every loop has ended, or when ctx ends a *LateError with the sorted names of those that have not.
// Nothing may be started meanwhile.
func (p *Loops) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { p.all.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.running) == 0 {
		return nil
	}
	return &LateError{slices.Sorted(maps.Keys(p.running))}
}
