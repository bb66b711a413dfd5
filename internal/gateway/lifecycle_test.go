package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPartsStopInTheReverseOrderOfTheirStart: also those that did not start, and whatever one of them returns.
func TestPartsStopInTheReverseOrderOfTheirStart(t *testing.T) {
	var log []string
	broken := errors.New("it is broken")
	named := func(name string, fails error) component {
		return component{
			name: name, start: func(context.Context) error { log = append(log, "start "+name); return fails },
			stop:    func(context.Context) error { log = append(log, "stop "+name); return nil },
			release: func() error { log = append(log, "release "+name); return fails },
		}
	}
	parts := lifecycle{named("database", nil), {name: "only a name"}, named("listeners", broken), named("dispatch", nil)}
	require.ErrorIs(t, parts.start(t.Context()), broken)
	require.Equal(t, []string{"start database", "start listeners"}, log)
	log = nil
	err := parts.stop(DrainTimeout)
	require.EqualError(t, err, "listeners: it is broken")
	require.Equal(t, []string{"stop dispatch", "release dispatch", "stop listeners", "release listeners", "stop database", "release database"}, log)
}

// TestADrainThatTakesTooLongSaysWhichPartHung, whether it was waited for or released, and everything else is released.
func TestADrainThatTakesTooLongSaysWhichPartHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, closed := make(chan struct{}), false
		parts := lifecycle{
			{name: "database", release: func() error { <-hang; return nil }},
			{name: "spool", release: func() error { closed = true; return errors.New("disk full") }},
			loop("dispatch", func() { <-hang }),
			loop("intake", func() { time.Sleep(time.Second) }),
			loop("seal", func() { <-hang }),
			{name: "sources", stop: func(context.Context) error { return &LateError{[]string{"source core"}} }},
		}
		require.NoError(t, parts.start(t.Context()))
		began := time.Now()
		err := parts.stop(DrainTimeout)
		require.Equal(t, DrainTimeout, time.Since(began))
		var late *LateError
		require.ErrorAs(t, err, &late)
		require.Equal(t, []string{"source core", "seal", "dispatch", "database"}, late.Parts)
		require.EqualError(t, err, "spool: disk full\ndid not end in time: source core, seal, dispatch, database")
		require.True(t, closed)
		close(hang)
	})
}

// TestAReplicaNamesThePartThatHoldsItsDrain on a whole gateway, and says the same when it is asked again.
func TestAReplicaNamesThePartThatHoldsItsDrain(t *testing.T) {
	h := open(t)
	release := make(chan struct{})
	stuck := loop("stuck", func() { <-release })
	require.NoError(t, stuck.start(t.Context()))
	h.g.parts = append(h.g.parts, stuck)
	h.g.drainWithin = closeWithin + 100*time.Millisecond
	err := h.g.Stop()
	close(release)
	var late *LateError
	require.ErrorAs(t, err, &late)
	require.Contains(t, late.Parts, "stuck")
	require.NotContains(t, late.Parts, "listeners", "what comes after it is released")
	require.Equal(t, err, h.g.Stop())
	require.NotEmpty(t, h.log.lines(`"level":"ERROR"`, "drain incomplete", "stuck"))
}

// TestADrainWithNothingToWaitForLeavesNothingUndone.
func TestADrainWithNothingToWaitForLeavesNothingUndone(t *testing.T) {
	h := open(t)
	require.NoError(t, h.g.Stop())
	require.Empty(t, h.log.lines("drain incomplete"))
}
