package dispatch

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// Whoever lets work in waits while we are behind. If nothing comes in, no claim shows that we are not any more; a retry that
// waits for its time must not keep everybody out until then.
func TestARetryThatWaitsForItsTimeIsNoOverload(t *testing.T) {
	w := newWorld(t, always(accepted))
	d, err := New(w.queue, w.farm, Config{}, slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	l := newLoop(t.Context(), d)
	l.answered(time.Now(), time.Now())
	late := int64(time.Second)
	for _, c := range []struct {
		lanes []notice.Lane
		want  int64
	}{
		{[]notice.Lane{{Client: "itp", DueIn: -time.Millisecond}}, late},
		{[]notice.Lane{{Client: "other", DueIn: time.Minute}, {Client: "itp", DueIn: 0}}, late},
		{[]notice.Lane{{Client: "itp", DueIn: time.Minute}}, 0},
		{nil, 0},
	} {
		l.behind.Store(late)
		l.noteSweep(sweepAnswer{time.Now(), c.lanes, nil})
		require.Equal(t, c.want, l.behind.Load(), "%v", c.lanes)
	}
}
