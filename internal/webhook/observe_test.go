package webhook

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// counter is an Observer that can be waited for.
type counter struct {
	mu       sync.Mutex
	open     int
	dialled  []error
	outcomes []notice.Outcome
	closed   []CloseReason
	changed  chan struct{}
}

func (c *counter) Attempted(_ notice.ClientID, r *notice.Result) {
	c.change(func() { c.outcomes = append(c.outcomes, r.Outcome) })
}

func (c *counter) Dialled(err error) {
	c.change(func() { c.dialled = append(c.dialled, err) })
}

func (c *counter) Connections(n int) { c.change(func() { c.open += n }) }

func (c *counter) Closed(why CloseReason) {
	c.change(func() { c.closed = append(c.closed, why) })
}

func (c *counter) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// waitOpen waits until that many connections are open.
func (c *counter) waitOpen(t *testing.T, n int) {
	t.Helper()
	c.wait(t, fmt.Sprintf("%d open connections", n), func() bool { return c.open == n })
}

// wait waits until the condition, which is asked under the lock, holds.
func (c *counter) wait(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for {
		c.mu.Lock()
		holds := condition()
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-changed:
		case <-soon(t).Done():
			require.Fail(t, "no "+what)
		}
	}
}

// idle waits until no attempt and no rest of an answer is under way.
func idle(t *testing.T, s *Sender) {
	t.Helper()
	busy := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, e := range s.endpoints {
			n += e.inFlight
		}
		return n
	}
	require.Eventually(t, func() bool { return busy() == 0 }, time.Minute, time.Millisecond)
}

// count says how many connections were closed for a reason.
func (c *counter) count(why CloseReason) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, w := range c.closed {
		if w == why {
			n++
		}
	}
	return n
}
