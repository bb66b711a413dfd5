package intake

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// trail notes what Traces is told: resource, revision and why.
type trail struct {
	mu    sync.Mutex
	noted []string
	at    []time.Time
}

func (r *trail) Refused(c *notice.Change, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noted, r.at = append(r.noted, fmt.Sprintf("%s %d %s", c.ResourceID, c.Revision, why)), append(r.at, c.ReceivedAt)
}

// TestWhateverIsReadAndNotStoredLeavesATraceOfItsReceipt walks through every way in which a change can be refused.
func TestWhateverIsReadAndNotStoredLeavesATraceOfItsReceipt(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		spoil  func(*desk)
		do     func(*desk) error
		want   []string
	}{
		"the database is away": {
			Config{},
			func(d *desk) { d.before = func([]*notice.Change) error { return away{} } },
			func(d *desk) error {
				_, err := d.in.Accept(d.t.Context(), d.change(1, 4, ofb.ACSC), Origin{})
				return err
			},
			[]string{"p-001 4 unavailable"},
		},
		"it fails by itself": {
			Config{},
			func(d *desk) { d.before = func([]*notice.Change) error { return errRow } },
			func(d *desk) error {
				_, err := d.in.Accept(d.t.Context(), d.change(1, 4, ofb.ACSC), Origin{})
				return err
			},
			[]string{"p-001 4 unavailable"},
		},
		"the dispatcher is behind": {
			Config{Behind: func() time.Duration { return time.Minute }},
			func(*desk) {},
			func(d *desk) error {
				_, err := d.in.Accept(d.t.Context(), d.change(1, 4, ofb.ACSC), Origin{})
				return err
			},
			[]string{"p-001 4 behind"},
		},
		"too many are waiting": {
			Config{MaxInFlight: 1},
			func(d *desk) {
				d.before = func([]*notice.Change) error { <-time.After(time.Second); return nil }
				d.submit(d.change(0, 1, ofb.ACSC))
			},
			func(d *desk) error {
				_, err := d.in.Accept(d.t.Context(), d.change(1, 4, ofb.ACSC), Origin{})
				return err
			},
			[]string{"p-001 4 busy"},
		},
		"a stream's caller left while it waited for room": {
			Config{MaxInFlight: 1},
			func(d *desk) {
				d.before = func([]*notice.Change) error { <-time.After(time.Second); return nil }
				d.submit(d.change(0, 1, ofb.ACSC))
			},
			func(d *desk) error {
				ctx, cancel := context.WithTimeout(d.t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err := d.in.Enqueue(ctx, d.change(1, 4, ofb.ACSC), Origin{})
				return err
			},
			[]string{"p-001 4 busy"},
		},
		"a stream's caller left while the dispatcher was behind": {
			Config{Behind: func() time.Duration { return time.Minute }},
			func(*desk) {},
			func(d *desk) error {
				ctx, cancel := context.WithTimeout(d.t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err := d.in.Enqueue(ctx, d.change(1, 4, ofb.ACSC), Origin{})
				return err
			},
			[]string{"p-001 4 behind"},
		},
		"a line that was not submitted": {
			Config{},
			func(*desk) {},
			func(d *desk) error { d.in.Unstored(d.change(1, 4, ofb.ACSC), Origin{}); return ErrUnavailable },
			[]string{"p-001 4 unavailable"},
		},
		"a line that is no change": {
			Config{}, func(*desk) {}, func(d *desk) error { d.in.Unstored([]byte("{broken"), Origin{}); return ErrUnavailable }, nil,
		},
		"a first load is never announced": {
			Config{Behind: func() time.Duration { return time.Minute }},
			func(*desk) {},
			func(d *desk) error {
				_, err := d.in.Accept(d.t.Context(), line(d.t, map[string]any{"cause": "snapshot"}), Origin{})
				return err
			}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &trail{}
			c.config.Traces = seen
			bubble(t, c.config, func(t *testing.T, d *desk) {
				c.spoil(d)
				synctest.Wait()
				began := time.Now()
				require.Error(t, c.do(d))
				require.Equal(t, c.want, seen.noted)
				for _, at := range seen.at {
					require.Equal(t, began, at, "when it came, not when it was given up")
				}
			})
		})
	}
}

func TestWhatIsStoredLeavesNoTrace(t *testing.T) {
	seen := &trail{}
	bubble(t, Config{Traces: seen}, func(t *testing.T, d *desk) {
		for n := range 3 {
			_, err := d.in.Accept(t.Context(), d.change(n, 1, ofb.ACSC), Origin{})
			require.NoError(t, err)
		}
	})
	require.Empty(t, seen.noted)
}

func TestAnIntakeThatHasEndedLeavesATrace(t *testing.T) {
	seen := &trail{}
	bubble(t, Config{Traces: seen}, func(t *testing.T, d *desk) {
		d.stop()
		<-d.ended
		_, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, ErrUnavailable)
		_, err = d.in.Enqueue(t.Context(), d.change(2, 1, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, ErrUnavailable)
	})
	require.Equal(t, []string{"p-001 1 unavailable", "p-002 1 unavailable"}, seen.noted)
}
