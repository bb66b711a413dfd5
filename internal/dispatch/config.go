package dispatch

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Config sets the dispatcher's limits, times and distances. A zero field means its default.
type Config struct {
	// Slots is how many attempts may be under way at once, 1 or more; see Slots. Default 4,096.
	Slots int
	// PerLane is how many of them one lane may hold, 1 or more. Default 512.
	PerLane int
	// Timeout is what one attempt may take (webhook §4.2). Default 15 s.
	Timeout time.Duration
	// Lease is how long a claim is ours; it must exceed Timeout (contract, After a kill). Default 20 s.
	Lease time.Duration
	// DrainTimeout bounds the end of Run. It must exceed Timeout by 2 s or more, so that attempts under way end by
	// themselves and their outcomes are stored. Default 18 s (the process has 20 s, contract, Listeners).
	DrainTimeout time.Duration
}

const (
	maxSlots     = 4096
	claimCalls   = 2                      // claims under way at once
	claimRows    = 500                    // attempts asked for by one claim
	settleCalls  = 2                      // settlements under way at once
	settleRows   = 500                    // outcomes in one settlement (design, Transactions: T3)
	settleWithin = 5 * time.Millisecond   // how long an outcome waits for others to share its commit
	sweepEvery   = 300 * time.Millisecond // the distance between two sweeps of all lanes
	rescueEvery  = time.Second            // the distance between two rescues
	rescueRows   = 500                    // attempts in one rescue
	callTimeout  = 5 * time.Second        // bounds one call of the queue; a claim also by Lease − Timeout, since a later answer is of no use
	quiet        = 3 * time.Second        // no rescue so soon after the database answers again (design, Lease)
	lateShare    = 4                      // one slot in so many is for late notifications (design, Lanes)
	leaveGrace   = time.Second / 2        // before the end of the drain: calls of the queue are cancelled
	cutGrace     = 3 * leaveGrace         // before the end of the drain: attempts are cut off
)

func (c Config) withDefaults() Config {
	c.Slots, c.PerLane = cmp.Or(c.Slots, maxSlots), cmp.Or(c.PerLane, 512)
	c.Timeout = cmp.Or(c.Timeout, notice.Timeout)
	c.Lease = cmp.Or(c.Lease, 20*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 18*time.Second)
	return c
}

// check reports every invalid member of the configuration in one error.
func (c Config) check() error {
	var wrong []error
	refuse := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("dispatch: "+format, args...)) }
	if c.Slots < 1 || c.PerLane < 1 {
		refuse("slots (%d) and slots per lane (%d) must be at least 1", c.Slots, c.PerLane)
	}
	if c.Timeout <= 0 {
		refuse("timeout is %s, must be positive", c.Timeout)
	}
	if c.Lease <= c.Timeout {
		refuse("lease (%s) must exceed timeout (%s), or an attempt could outlive its lease", c.Lease, c.Timeout)
	}
	if c.DrainTimeout < c.Timeout+2*time.Second {
		refuse("drain timeout (%s) must exceed timeout (%s) by 2s or more, so that attempts end by themselves", c.DrainTimeout, c.Timeout)
	}
	return errors.Join(wrong...)
}

// Slots returns how many attempts a process can have in flight: two descriptors each beyond a base of 128, 64 KiB of memory
// each, and never more than 4,096 (design, Lanes) nor fewer than 1. memory is in bytes; ≤ 0: no budget is known.
func Slots(nofile uint64, memory int64) int {
	slots := uint64(maxSlots)
	if nofile < 128 {
		return 1
	}
	slots = min(slots, (nofile-128)/2)
	if memory > 0 {
		slots = min(slots, uint64(memory)/(64<<10))
	}
	return int(max(1, slots))
}
