package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// of is a change of a client's payment.
func (d *desk) of(client, id string, revision int, pad int) []byte {
	data := document(id, ofb.ACSC)
	if pad > 0 {
		data["pad"] = string(make([]byte, pad))
	}
	return line(d.t, map[string]any{"clientId": client, "revision": revision, "occurredAt": time.Now().UTC().Format(time.RFC3339Nano), "data": data})
}

// TestAHotResourceHoldsUpOnlyItsOwnStreams is found.md F3: one resource is changed in a tight loop over several streams.
// The streams wait; nobody else is refused or waits longer than for two commits.
func TestAHotResourceHoldsUpOnlyItsOwnStreams(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		d.before = took(5 * time.Millisecond)
		stop := make(chan struct{})
		var revision atomic.Int64
		var streams sync.WaitGroup
		var hot atomic.Int64
		for range 8 {
			streams.Go(func() {
				var last *Pending
				for {
					select {
					case <-stop:
						_, err := last.Wait(context.Background())
						require.NoError(t, err)
						return
					default:
					}
					p, err := d.in.Enqueue(context.Background(), d.of("itp", "hot", int(revision.Add(1)), 0), Origin{})
					require.NoError(t, err)
					hot.Add(1)
					last = p
				}
			})
		}
		<-time.After(time.Second)
		var worst time.Duration
		for n := range 500 {
			began := time.Now()
			_, err := d.in.Accept(t.Context(), d.of("itp", fmt.Sprint("other-", n), 1, 0), Origin{})
			require.NoError(t, err, "the same client's other resources find room")
			worst = max(worst, time.Since(began))
			<-time.After(time.Millisecond)
		}
		require.LessOrEqual(t, worst, 15*time.Millisecond)
		require.LessOrEqual(t, d.in.waiting(), 64+1)
		_, err := d.in.Accept(t.Context(), d.of("itp", "hot", int(revision.Add(1)), 0), Origin{})
		require.ErrorIs(t, err, ErrBusy, "a single change of the hot resource is told to come again")
		close(stop)
		streams.Wait()
		require.GreaterOrEqual(t, hot.Load(), int64(500), "the hot resource is stored as fast as its commits go")
	})
}

// One client that sends as much as it can leaves room for the others, in number and in bytes.
func TestAFloodOfOneClientLeavesRoomForTheOthers(t *testing.T) {
	for name, c := range map[string]Config{"in number": {MaxInFlight: 100}, "in bytes": {MaxBytes: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			c.Workers, c.MaxBatch = 1, 1
			bubble(t, c, func(t *testing.T, d *desk) {
				d.before = took(time.Second)
				flood := func(client string, into map[string]int) {
					for n := 0; ; n++ {
						p, err := d.in.submit(d.read(d.of(client, fmt.Sprint(client, "-", n), 1, 4000)), nil)
						if errors.Is(err, ErrBusy) {
							return
						}
						require.NoError(t, err)
						require.NotNil(t, p)
						into[client]++
					}
				}
				in := map[string]int{}
				flood("first", in)
				flood("second", in)
				flood("third", in)
				require.InDelta(t, in["first"], 2*in["second"], 3, "the second finds half of what is left")
				require.Positive(t, in["third"])
				for n := range 5 {
					p, err := d.in.submit(d.read(d.of(fmt.Sprint("quiet-", n), fmt.Sprint("q-", n), 1, 0)), nil)
					require.NoError(t, err, "who comes new finds room")
					require.NotNil(t, p)
				}
			})
		})
	}
}

func (d *desk) read(line []byte) *notice.Change {
	c, err := d.in.Read(line, Origin{})
	require.NoError(d.t, err)
	return c
}

// A change larger than all the room there is comes in when nothing else is under way.
func TestNoChangeIsTooLargeForEver(t *testing.T) {
	bubble(t, Config{MaxBytes: 100}, func(t *testing.T, d *desk) {
		d.before = took(time.Millisecond)
		all := d.submit(d.of("itp", "a", 1, 0), d.of("itp", "b", 1, 0), d.of("itp", "c", 1, 0))
		_, errs := d.wait(all)
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, []int{1, 1, 1}, d.batches)
	})
}

// What waits for one resource costs a batch nothing: changes are looked at once, however many wait.
func TestChangesThatWaitForTheirResourceAreNotLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(Config{Store: newMemory(), Schema: anySchema{}, NewID: counter(), MaxWaiting: 1000})
		d := &desk{t: t, in: in}
		for n := range 1000 {
			_, err := in.submit(d.read(d.of("itp", "hot", n+1, 0)), nil)
			require.NoError(t, err)
		}
		_, err := in.submit(d.read(d.of("itp", "hot", 2000, 0)), nil)
		require.ErrorIs(t, err, ErrBusy)
		require.Len(t, in.ready, 1, "only the first is ready")
		batch, _ := in.take(false)
		require.Len(t, batch, 1)
		require.Empty(t, in.ready)
		in.release(batch)
		require.Len(t, in.ready, 1)
		require.Equal(t, int64(2), in.ready[0].change.Revision, "in their order")
	})
}
