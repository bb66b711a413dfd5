package dispatch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestWakeUpsThatComeTogetherAreOneClaim(t *testing.T) {
	onTwoProcessors(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.start(Config{})
		pass(5 * time.Second)
		begin := time.Now()
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				for range 200 {
					w.event("itp")
				}
			})
		}
		callers.Wait()
		pass(5 * time.Second)
		w.end()
		require.True(t, w.queue.settled())
		require.Len(t, w.farm.posts, 10000)
		require.LessOrEqual(t, w.queue.count("claim", begin), 10000/claimRows+350,
			"about one per slot that came free together, and none per wake-up")
	})
}

func TestWakeUpsWithoutWorkCostHardlyAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.start(Config{})
		pass(5 * time.Second)
		begin := time.Now()
		for range 1000 {
			w.replicas[0].Wake("itp")
		}
		pass(5 * time.Second)
		require.Contains(t, []int{1, 2, 3}, w.queue.count("claim", begin), "those under way when it came, and one after")
		w.end()
	})
}

func TestAnIdleDispatcherOnlySweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.start(Config{})
		pass(10 * time.Minute)
		w.end()
		require.Zero(t, w.queue.count("claim", time.Time{}))
		require.Zero(t, w.queue.count("settle", time.Time{}))
		require.InDelta(t, 600/0.303, w.queue.count("waiting", time.Time{}), 3)
		require.InDelta(t, 597, w.queue.count("rescue", time.Time{}), 5)
	})
}

func TestAChainThatWaitsCostsNoClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(refused))
		w.start(Config{})
		pass(5 * time.Second)
		w.event("itp")
		pass(5 * time.Minute)
		w.end()
		require.LessOrEqual(t, w.queue.count("claim", time.Time{}), 8)
	})
}

// flawed is a sender that goes wrong on our side.
type flawed struct{ farm *farm }

func (s flawed) Send(ctx context.Context, a notice.Attempt) (notice.Result, error) {
	switch a.Client {
	case "panic":
		panic("token=s3cr3t")
	case "nil":
		var m map[string]int
		m["x"] = 1 //nolint:govet,staticcheck // that it panics is what the sender is for
	case "unable":
		return notice.Result{}, errors.New("own certificate expired\n\x1b[31m")
	case "silent":
		return notice.Result{}, nil
	}
	return s.farm.Send(ctx, a)
}

// counter is an observer that counts.
type counter struct {
	noObserver
	mu     sync.Mutex
	panics int
	loads  []Load
}

func (c *counter) Panicked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.panics++
}

func (c *counter) Swept(l Load) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loads = append(c.loads, l)
}

// load is the nth picture seen, or the last for -1.
func (c *counter) load(n int) Load {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loads[(n+len(c.loads))%len(c.loads)]
}

func TestWhatGoesWrongInOneAttemptIsThatAttemptsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(accepted))
		w.level = slog.LevelInfo
		seen := &counter{}
		w.startWith(w.queue, flawed{w.farm}, Config{}, seen)
		pass(5 * time.Second)
		chains := make(map[notice.ClientID]*chain)
		for _, client := range []notice.ClientID{"panic", "nil", "unable", "silent", "good"} {
			chains[client] = w.event(client)
		}
		pass(5 * time.Minute)
		w.end()
		require.Equal(t, notice.Delivered, chains["good"].state)
		for client, detail := range map[notice.ClientID]string{
			"panic": "panic in the sender", "nil": "panic in the sender",
			"unable": `not sent: own certificate expired\n\x1b[31m`, "silent": "the sender gave no outcome",
		} {
			c := chains[client]
			require.Equal(t, notice.Exhausted, c.state)
			require.Len(t, c.entries, 3)
			for _, e := range c.entries {
				require.Equal(t, notice.OutcomeUnknown, e.outcome)
				require.Equal(t, detail, e.detail)
			}
			require.InDelta(t, 10, c.entries[1].started.Sub(c.entries[0].ended).Seconds(), 0.1)
		}
		require.Equal(t, 6, seen.panics)
		log := w.log.String()
		require.Contains(t, log, "flawed.Send")
		require.Contains(t, log, "assignment to entry in nil map")
		require.NotContains(t, log, "s3cr3t")
	})
}

// jumpy is a queue that panics now and then.
type jumpy struct {
	*memory
	mu sync.Mutex
	n  int
}

func (q *jumpy) jump() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n++; q.n%7 == 0 {
		panic("in the store")
	}
}

func (q *jumpy) Waiting(ctx context.Context) ([]notice.Lane, error) {
	q.jump()
	return q.memory.Waiting(ctx)
}

func (q *jumpy) Settle(ctx context.Context, done []notice.Settlement) ([]notice.Lane, error) {
	q.jump()
	return q.memory.Settle(ctx, done)
}

func TestAPanicInTheQueueIsAnErrorOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(refused))
		w.startWith(&jumpy{memory: w.queue}, w.farm, Config{}, nil)
		pass(5 * time.Second)
		every(100*time.Millisecond, 10*time.Second, func() { w.event("itp") })
		pass(5 * time.Minute)
		w.end()
		w.checkSchedule(time.Second)
		require.True(t, w.queue.settled())
		require.Len(t, w.farm.posts, 300)
	})
}

func TestEveryStoredAttemptIsOneLogLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(refused))
		w.level = slog.LevelInfo
		w.start(Config{})
		pass(5 * time.Second)
		c := w.event("itp")
		pass(2 * time.Minute)
		w.end()
		var lines []map[string]any
		for scan := bufio.NewScanner(strings.NewReader(w.log.String())); scan.Scan(); {
			var line map[string]any
			require.NoError(t, json.Unmarshal(scan.Bytes(), &line))
			if line["msg"] == "attempt" {
				lines = append(lines, line)
			}
		}
		require.Len(t, lines, 3)
		require.Equal(t, 2, strings.Count(w.log.String(), `"msg":"attempt failed"`), "each failure is a warning, too")
		require.Equal(t, 1, strings.Count(w.log.String(), `"msg":"notification given up"`), "the last one says that it is given up")
		for i, line := range lines {
			delete(line, "time")
			delay := line["delay_ms"].(float64)
			require.LessOrEqual(t, delay, 50.0)
			delete(line, "delay_ms")
			require.Equal(t, map[string]any{
				"level": "INFO", "msg": "attempt", "notification": c.id.String(), "number": float64(i + 1),
				"interaction": c.entries[i].interaction.String(), "client": "itp", "kind": "pix-payment", "resource": "pay-1",
				"outcome": "refused", "status": 503.0, "stage": "answered", "elapsed_ms": 37.0, "late": false,
			}, line)
		}
	})
}

func TestTheObserverSeesTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(hanging))
		away := &outage{}
		w.queue.before = away.fail
		for range 30 {
			w.queue.add("itp", 20*time.Second, 0)
		}
		seen := &counter{}
		w.startWith(w.queue, w.farm, Config{PerLane: 10}, seen)
		pass(10 * time.Second)
		require.Equal(t, Load{WaitingLanes: 1, Oldest: 20*time.Second + time.Millisecond*3/2}, seen.load(0))
		last := seen.load(-1)
		require.Equal(t, 10, last.InFlight)
		require.InDelta(t, 30, last.Oldest.Seconds(), 0.5)
		away.set(true)
		pass(time.Second)
		require.True(t, seen.load(-1).Interrupted)
		away.set(false)
		w.replicas[0].stop()
		require.NoError(t, <-w.replicas[0].done)
	})
}

func TestAConfigurationThatCannotWorkIsRefusedWithAllReasons(t *testing.T) {
	_, err := New(nil, nil, Config{Slots: -1, Lease: 15 * time.Second, DrainTimeout: 16 * time.Second}, nil, nil)
	for _, reason := range []string{
		"slots (-1)", "lease (15s) must exceed timeout (15s)", "drain timeout (16s) must exceed timeout (15s) by 2s",
	} {
		require.ErrorContains(t, err, reason)
	}
	_, err = New(nil, nil, Config{Timeout: -time.Second}, nil, nil)
	require.ErrorContains(t, err, "timeout is -1s, must be positive")
	_, err = New(nil, nil, Config{}, nil, nil)
	require.NoError(t, err)
	_, err = New(nil, nil, Config{Timeout: time.Second, Lease: 1100 * time.Millisecond}, nil, nil)
	require.NoError(t, err)
}

func TestSlotsAreWhatAProcessCanAfford(t *testing.T) {
	for _, test := range []struct {
		nofile uint64
		memory int64
		want   int
	}{
		{1 << 20, 0, 4096},
		{1 << 20, 1 << 40, 4096},
		{1024, 0, 448},
		{256, 1 << 30, 64},
		{1 << 20, 128 << 20, 2048},
		{128, 0, 1},
		{127, 0, 1},
		{0, 0, 1},
		{1 << 20, 1, 1},
		{^uint64(0), -1, 4096},
	} {
		require.Equal(t, test.want, Slots(test.nofile, test.memory), "%+v", test)
	}
}
