package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// parts are the named loops of a running gateway. The zero value is ready to use.
type parts struct {
	loops   sync.WaitGroup
	mu      sync.Mutex
	running map[string]int // loops of a name that have not ended
}

// start runs a loop under a name until it returns. Several loops may have one name.
func (p *parts) start(name string, loop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = map[string]int{}
	}
	p.running[name]++
	p.loops.Go(func() {
		defer p.end(name)
		loop()
	})
}

func (p *parts) end(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[name]--; p.running[name] == 0 {
		delete(p.running, name)
	}
}

// wait returns nil once every loop has ended, or when ctx ends the sorted names of those that have not. Nothing may be
// started meanwhile.
func (p *parts) wait(ctx context.Context) []string {
	done := make(chan struct{})
	go func() { p.loops.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.running))
}
