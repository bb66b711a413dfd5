package metrics

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/lab/alarms"
)

// TestFiguresOfTheLogSayWhatIsTold: an alarm needs a series before its first event, so each exists from the start.
func TestFiguresOfTheLogSayWhatIsTold(t *testing.T) {
	m := New("test")
	began, at := time.Unix(1_700_000_000, 0), time.Unix(1_700_000_500, 0)
	log := NewSealObserver(m.Registry, began)
	log.Bear([]string{"file", "url"})
	shown := func() map[string]string {
		got := map[string]string{}
		for line := range strings.Lines(alarms.Gather(t, m.Registry).Text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "arauto_log_") {
				got[strings.TrimPrefix(name, "arauto_log_")] = value
			}
		}
		return got
	}
	require.Equal(t, map[string]string{
		"entries_sealed_total": "0", "strays_total": "0", "size": "0", "sealing_stopped": "0", "horizon_age_seconds": "0", "checkpoint_time_seconds": "0",
		`anchor_failures_total{anchor="file"}`: "0", `anchor_failures_total{anchor="url"}`: "0",
		`anchored_time_seconds{anchor="file"}`: "0", `anchored_time_seconds{anchor="url"}`: "0",
		`verification_ok_time_seconds{scope="since"}`: "1.7e+09", `verification_ok_time_seconds{scope="whole"}`: "1.7e+09",
		`verification_failures_total{scope="since"}`: "0", `verification_failures_total{scope="whole"}`: "0",
		"verified_size": "0", "verification_bad": "0", "sealer_time_seconds": "1.7e+09", "witness_refusals_total": "0",
	}, shown())
	log.Stopped()
	require.Equal(t, "1", shown()["sealing_stopped"])
	log.Sealed(3)
	log.Extends(7)
	log.Delayed(1500 * time.Millisecond)
	log.Checkpointed(at)
	log.Strays(2)
	log.Anchored("file", at)
	log.AnchorFailed("url")
	log.VerifiedOK("since", at)
	log.VerifiedBad("whole")
	log.Verified(5, true)
	ran, err := strconv.ParseFloat(shown()["sealer_time_seconds"], 64)
	require.NoError(t, err)
	require.InDelta(t, time.Now().Unix(), ran, 60, "it could seal just now, whether or not there was anything to seal")
	log.ran.Set(7)
	require.Equal(t, map[string]string{
		"entries_sealed_total": "3", "strays_total": "2", "size": "7", "sealing_stopped": "0", "horizon_age_seconds": "1.5", "checkpoint_time_seconds": "1.7000005e+09",
		`anchor_failures_total{anchor="file"}`: "0", `anchor_failures_total{anchor="url"}`: "1",
		`anchored_time_seconds{anchor="file"}`: "1.7000005e+09", `anchored_time_seconds{anchor="url"}`: "0",
		`verification_ok_time_seconds{scope="since"}`: "1.7000005e+09", `verification_ok_time_seconds{scope="whole"}`: "1.7e+09",
		`verification_failures_total{scope="since"}`: "0", `verification_failures_total{scope="whole"}`: "1",
		"verified_size": "5", "verification_bad": "1", "sealer_time_seconds": "7", "witness_refusals_total": "0",
	}, shown())
}

func TestStatusQueriesAreCountedByHowTheyStoodToPushes(t *testing.T) {
	m := New("test")
	log := NewSealObserver(m.Registry, time.Unix(1_700_000_000, 0))
	shown := func() string { return alarms.Gather(t, m.Registry).Text }
	for _, name := range []string{`arauto_polls_by_push_total{push="without"} 0`, `arauto_polls_by_push_total{push="before"} 0`, `arauto_polls_by_push_total{push="after"} 0`, "arauto_polls_final_total 0"} {
		require.Contains(t, shown(), name)
	}
	log.Folded(figures.PollSums{Without: 1, Before: 2, After: 3, Final: 4})
	log.Folded(figures.PollSums{After: 1})
	for _, name := range []string{`arauto_polls_by_push_total{push="without"} 1`, `arauto_polls_by_push_total{push="before"} 2`, `arauto_polls_by_push_total{push="after"} 4`, "arauto_polls_final_total 4"} {
		require.Contains(t, shown(), name)
	}
}
