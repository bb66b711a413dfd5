package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// What the gateway can take is made small, so that three times as much is little for any machine: so many attempts at a
// time, each of which the receivers answer after a while. That is 20 a second.
const (
	overloadSlots = 4
	overloadDelay = 200 * time.Millisecond
	overloadRate  = 3 * overloadSlots * int(time.Second/overloadDelay)
)

// TestWhatSlotsCannotCarryIsAcceptedToldLaterAndSaysWhy is case A8 as decision 0017 has it: three times what the slots can
// carry is offered. Want of slots is no reason to refuse: all is accepted and told, and what is late says why.
func TestWhatSlotsCannotCarryIsAcceptedToldLaterAndSaysWhy(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Settings: append([]string{fmt.Sprintf("ARAUTO_DISPATCH_SLOTS=%d", overloadSlots)}, unhurried...)})
	for _, i := range []*standin.Initiator{h.good, h.flaky, h.slow} {
		i.Answer("/webhook/v1/", standin.Answer{Delay: overloadDelay})
	}
	during := 6 * time.Second
	if long() {
		during = time.Minute
	}
	before := h.memory()
	o := &overload{house: h, sent: map[string]time.Time{}, told: map[string]string{}}
	o.offer(during)
	after := h.memory()

	o.awaitTold()
	waits := o.waits()
	t.Logf("%d accepted, %d refused (slowest answer %s); memory %d MiB before, %d MiB after; from sent to received: %s, %d over 1.5 s",
		len(o.sent), o.refused, o.slowest, before>>20, after>>20, waits, waits.Over(1500*time.Millisecond))
	require.Empty(t, o.wrong)
	require.Less(t, o.refused, (len(o.sent)+o.refused)/10, "only a database or a processor that is busy refuses")
	require.Greater(t, waits.Over(1500*time.Millisecond), len(o.sent)/10, "it was no overload")
	require.Less(t, after, int64(64<<20))

	late, got := "", o.received()
	for id, sent := range o.sent {
		if late == "" || got[id].Sub(sent) > got[late].Sub(o.sent[late]) {
			late = id
		}
	}
	var timing struct{ First struct{ Cause string } }
	require.NoError(t, h.core.Load().Call(t.Context(), http.MethodGet, "/internal/v1/notifications/"+o.told[late]+"/timing", nil, &timing))
	require.Contains(t, []string{"slots", "receiver"}, timing.First.Cause, "the slowest of all says why")
}

// overload is a core that hands in changes at its own pace.
type overload struct {
	*house
	mu      sync.Mutex
	sent    map[string]time.Time // resource of an accepted change, and when it was sent
	told    map[string]string    // and its notification
	refused int
	slowest time.Duration
	wrong   []string
}

// offer hands in changes at the rate, each beside all others, and waits for the answers.
func (o *overload) offer(during time.Duration) {
	tick := time.NewTicker(time.Second / time.Duration(overloadRate))
	defer tick.Stop()
	end := time.After(during)
	var all sync.WaitGroup
	defer all.Wait()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
			all.Go(func() { o.try(fmt.Sprintf("over-%06d", n)) })
		case <-end:
			return
		}
	}
}

// try hands in one change and notes its outcome.
func (o *overload) try(id string) (status int) {
	client := []string{"good", "flaky", "slow"}[int(id[len(id)-1])%3]
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	sent := time.Now()
	accepted, err := o.core.Load().Change(ctx, payment(client, id, 1, ofb.ACSC))
	took := time.Since(sent)
	o.mu.Lock()
	defer o.mu.Unlock()
	var refusal *stage.Refusal
	switch {
	case err == nil:
		o.sent[id], o.told[id] = sent, accepted.Notifications[0].ID
		return http.StatusOK
	case !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter == "":
		o.wrong = append(o.wrong, err.Error())
		return 0
	}
	o.refused++
	o.slowest = max(o.slowest, took)
	return refusal.Status
}

// awaitTold waits until every accepted change was received.
func (o *overload) awaitTold() {
	o.t.Helper()
	require.Eventually(o.t, func() bool {
		got := o.received()
		for id := range o.sent {
			if got[id].IsZero() {
				return false
			}
		}
		return true
	}, patience, 100*time.Millisecond, "what was accepted is told")
}

// received tells when each resource's POST came.
func (o *overload) received() map[string]time.Time {
	out := map[string]time.Time{}
	for _, p := range o.posts() {
		id := p.Target[strings.LastIndexByte(p.Target, '/')+1:]
		out[id] = p.At
	}
	return out
}

// waits are the times from sending a change to receiving its notification.
func (o *overload) waits() stage.Waits {
	var out stage.Waits
	got := o.received()
	for id, sent := range o.sent {
		out = append(out, got[id].Sub(sent))
	}
	slices.Sort(out)
	return out
}

// memory is what lives in the replica's heap, as of its last garbage collection, and its stacks, in bytes. What the process has of the machine's memory is
// mostly the race detector's, which grows with whatever is done.
func (h *house) memory() int64 {
	h.t.Helper()
	text, err := h.replica.Metrics(h.t.Context())
	require.NoError(h.t, err)
	var v [2]float64
	for i, name := range []string{"go_memstats_next_gc_bytes", "go_memstats_stack_inuse_bytes"} {
		var there bool
		v[i], there = alarms.Scrape{Text: text}.Value(name)
		require.True(h.t, there, name)
	}
	return int64(v[0]+v[1]) / 2 // the next collection comes at twice the heap and once the stacks (GOGC=100)
}
