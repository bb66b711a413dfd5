package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestABackgroundTaskThatFailsIsToldOnceAMinute, and at once when it fails anew.
func TestABackgroundTaskThatFailsIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var text bytes.Buffer
		g := &Gateway{log: slog.New(slog.NewTextHandler(&text, nil)), background: ctx}
		fault := errors.New("the database is away")
		task := g.every("chore", 200*time.Millisecond, func(context.Context) error { return fault })
		require.NoError(t, task.Start(t.Context()))
		told := func(after time.Duration) int {
			<-time.After(after)
			synctest.Wait()
			return strings.Count(text.String(), `msg="background task failed, will be retried" chore=chore`)
		}
		require.Equal(t, 1, told(59*time.Second))
		require.Equal(t, 3, told(90*time.Second))
		fault = nil
		require.Equal(t, 3, told(time.Second))
		fault = errors.New("it is away again")
		require.Equal(t, 4, told(time.Second))
		stop()
		require.NoError(t, task.Stop(context.WithoutCancel(ctx)))
	})
}
