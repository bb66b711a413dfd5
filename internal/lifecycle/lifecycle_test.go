package lifecycle

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// within is the time of a drain.
const within = 20 * time.Second

// TestPartsStopInTheReverseOrderOfTheirStart: also those that did not start, and whatever one of them returns.
func TestPartsStopInTheReverseOrderOfTheirStart(t *testing.T) {
	var log []string
	broken := errors.New("it is broken")
	named := func(name string, fails error) Part {
		return Part{
			Name: name, Start: func(context.Context) error { log = append(log, "start "+name); return fails },
			Stop:    func(context.Context) error { log = append(log, "stop "+name); return nil },
			Release: func() error { log = append(log, "release "+name); return fails },
		}
	}
	parts := Parts{named("database", nil), {Name: "only a name"}, named("listeners", broken), named("dispatch", nil)}
	require.ErrorIs(t, parts.Start(t.Context()), broken)
	require.Equal(t, []string{"start database", "start listeners"}, log)
	log = nil
	err := parts.Stop(within)
	require.EqualError(t, err, "listeners: it is broken")
	require.Equal(t, []string{"stop dispatch", "release dispatch", "stop listeners", "release listeners", "stop database", "release database"}, log)
}

// TestADrainThatTakesTooLongSaysWhichPartHung, whether it was waited for or released, and everything else is released.
func TestADrainThatTakesTooLongSaysWhichPartHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, closed := make(chan struct{}), false
		parts := Parts{
			{Name: "database", Release: func() error { <-hang; return nil }},
			{Name: "spool", Release: func() error { closed = true; return errors.New("disk full") }},
			Loop("dispatch", func() { <-hang }),
			Loop("intake", func() { time.Sleep(time.Second) }),
			Loop("seal", func() { <-hang }),
			{Name: "sources", Stop: func(context.Context) error { return &LateError{[]string{"source core"}} }},
		}
		require.NoError(t, parts.Start(t.Context()))
		began := time.Now()
		err := parts.Stop(within)
		require.Equal(t, within, time.Since(began))
		var late *LateError
		require.ErrorAs(t, err, &late)
		require.Equal(t, []string{"source core", "seal", "dispatch", "database"}, late.Parts)
		require.EqualError(t, err, "spool: disk full\ndid not end in time: source core, seal, dispatch, database")
		require.True(t, closed)
		close(hang)
	})
}
