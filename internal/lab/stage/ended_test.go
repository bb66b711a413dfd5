package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAProcessThatEndedByTheSameSignalIsAnInterruption: it was noticed before the signal had cancelled the context, the folder stayed since it was to
// be kept, and it was said that nothing was left.
func TestAProcessThatEndedByTheSameSignalIsAnInterruption(t *testing.T) {
	ended, other := fmt.Errorf("the replica ended: %w", io.EOF), errors.New("another failure")
	for name, c := range map[string]struct {
		err    error
		signal time.Duration // 0: none
		is     bool
		waits  time.Duration
	}{
		"the signal comes a moment later": {ended, 100 * time.Millisecond, true, 100 * time.Millisecond},
		"there is no signal":              {ended, 0, false, signalLate},
		"no process ended":                {other, 100 * time.Millisecond, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.signal > 0 {
					time.AfterFunc(c.signal, cancel)
				}
				began, told := time.Now(), false
				err := Interrupted(ctx, c.err, func(interrupted bool) error { told = interrupted; return nil })
				require.Equal(t, c.is, told)
				require.Equal(t, c.waits, time.Since(began))
				_, is := errors.AsType[*InterruptedError](err)
				require.Equal(t, c.is, is)
			})
		})
	}
}
