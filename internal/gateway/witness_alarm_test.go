package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/metrics"
)

// TestTheAlarmsOfWitnessesRing: when the quorum has not vouched for half an hour, and when a witness vouched for another history. Without
// a policy that demands witnesses the first one never rings.
func TestTheAlarmsOfWitnessesRing(t *testing.T) {
	bench := alarms.New(t, rulesFile)
	m, none := metrics.New("test"), metrics.New("test")
	log := metrics.NewSealObserver(m.Registry, time.Now())
	log.BearWitnesses([]string{"audit"}, true, time.Now())
	metrics.NewSealObserver(none.Registry, time.Now()).BearWitnesses([]string{"audit"}, false, time.Now())
	require.NotContains(t, alarms.Gather(t, none.Registry).Text, "arauto_log_witnessed_time_seconds ")
	before := alarms.Gather(t, m.Registry)
	log.Witnessed(7, time.Now().Add(-31*time.Minute))
	log.Vouched("audit", time.Now().Add(-31*time.Minute))
	log.WitnessFailed("audit", false)
	old := alarms.Gather(t, m.Registry)
	require.Contains(t, old.Text, `arauto_log_witness_failures_total{witness="audit"} 1`)
	require.Contains(t, old.Text, "\narauto_log_witness_refusals_total 0")
	require.Contains(t, old.Text, "arauto_log_witnessed_size 7")
	bench.Rings(t, "ArautoLogNotWitnessed", nil, before, old)
	log.WitnessFailed("audit", true)
	bench.Rings(t, "ArautoLogRefusedByWitness", nil, old, alarms.Gather(t, m.Registry))
}

// TestTheAlarmsOfTilesAndMirrorsRing: when what is published is old, when a mirror sees a fork, and when it does not follow.
func TestTheAlarmsOfTilesAndMirrorsRing(t *testing.T) {
	bench := alarms.New(t, rulesFile)
	m := metrics.New("test")
	log := metrics.NewSealObserver(m.Registry, time.Now())
	log.BearPlaces([]string{"folder"}, time.Now())
	before := alarms.Gather(t, m.Registry)
	require.Contains(t, before.Text, `arauto_log_publish_failures_total{place="folder"} 0`)
	log.Published("folder", 7, time.Now().Add(-31*time.Minute))
	log.PublishFailed("folder")
	old := alarms.Gather(t, m.Registry)
	require.Contains(t, old.Text, `arauto_log_published_size{place="folder"} 7`)
	bench.Rings(t, "ArautoLogNotPublished", map[string]string{"place": "folder", "instance": "a", "job": "arauto"}, before, old)

	mirror, late := metrics.NewMirrorObserver(time.Now()), metrics.NewMirrorObserver(time.Now().Add(-time.Hour))
	mirror.Verified(5, true)
	well := alarms.Gather(t, mirror.Registry)
	require.Contains(t, well.Text, "arauto_mirror_size 5")
	mirror.Failed()
	mirror.Forked()
	bench.Rings(t, "ArautoMirrorFork", map[string]string{"instance": "a"}, well, alarms.Gather(t, mirror.Registry))
	bench.Rings(t, "ArautoMirrorStale", map[string]string{"instance": "a"}, well, alarms.Gather(t, late.Registry))
}
