package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestABackgroundTaskThatFailsIsToldOnceAMinute, and at once when it fails anew.
func TestABackgroundTaskThatFailsIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		text := newJournal()
		g := &Gateway{log: slog.New(slog.NewTextHandler(text, nil)), background: ctx}
		var works atomic.Bool
		task := g.every("chore", 200*time.Millisecond, func(context.Context) error {
			if works.Load() {
				return nil
			}
			return errors.New("the database is away")
		})
		require.NoError(t, task.Start(t.Context()))
		told := func(after time.Duration) int {
			<-time.After(after)
			synctest.Wait()
			return len(text.lines(`msg="background task failed, will be retried" chore=chore`))
		}
		require.Equal(t, 1, told(59*time.Second))
		require.Equal(t, 3, told(90*time.Second))
		works.Store(true)
		require.Equal(t, 3, told(time.Second))
		works.Store(false)
		require.Equal(t, 4, told(time.Second))
		stop()
		require.NoError(t, task.Stop(context.WithoutCancel(ctx)))
	})
}
