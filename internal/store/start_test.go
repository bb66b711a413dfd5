package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
)

// TestAStartIsComparedWithTheStartBeforeOfTheSameReplica.
func TestAStartIsComparedWithTheStartBeforeOfTheSameReplica(t *testing.T) {
	b := newBench(t)
	start := func(replica, slots, root string) history.StartEntry {
		return history.StartEntry{ID: store.NewID(), Made: time.Now(), Kind: history.FactStart, Outcome: "production", Facts: history.StartFacts{
			System: replica + " 1.0", Replica: replica, Version: "1.0", Profile: "production", StartedAt: time.Now().UTC(), Loosened: []string{},
			Settings: []history.StartSetting{{Key: "dispatch.slots", Value: slots, Origin: "file"}, {Key: "public.addr", Value: ":1", Origin: "file"}},
			InForce:  map[string]map[string]string{"webhook.root_ca": {"/roots.pem": root}},
		}}
	}
	for _, e := range []history.StartEntry{start("a", "1", "aa"), start("b", "7", "bb"), start("a", "2", "cc"), start("a", "2", "cc")} {
		require.NoError(t, b.log.RecordStartEntry(t.Context(), e))
		require.NoError(t, b.log.RecordStartEntry(t.Context(), e), "the answer was lost: asked once more")
	}
	all, err := b.log.Starts(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, all, 4, "each once")
	require.Equal(t, []history.StartDifference{}, all[0].Differs)
	require.Equal(t, []history.StartDifference{{Key: "dispatch.slots", Before: "1", After: "2"}, {Key: "webhook.root_ca: /roots.pem", Before: "aa", After: "cc"}}, all[1].Differs)
	require.Nil(t, all[2].Differs, "the first of its name")
	require.Equal(t, "b", all[2].Replica)
	require.Nil(t, all[3].Differs)

	reload := history.StartEntry{ID: store.NewID(), Made: time.Now(), Kind: history.FactReload, Outcome: history.ReloadRefused, Facts: history.ReloadFacts{Setting: "webhook.root_ca", Reason: "empty"}}
	require.NoError(t, b.log.RecordStartEntry(t.Context(), reload))
	read, err := b.log.Reloads(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, read, 1)
	require.Equal(t, history.ReloadRefused, read[0].Outcome)
	require.Equal(t, "empty", read[0].Reason)

	reload.Made = reload.Made.Add(50 * time.Minute)
	require.NoError(t, b.log.RecordStartEntry(t.Context(), reload))
	read, err = b.log.Reloads(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, read, 1, "the replica's clock is ahead")
	reload.Made = reload.Made.Add(time.Hour)
	require.NoError(t, b.log.RecordStartEntry(t.Context(), reload))
	read, err = b.log.Reloads(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, read, 2, "it is not looked for in what is older than it")

	for _, kind := range []string{history.FactStart, history.FactReload} {
		for _, facts := range []string{`7`, `{"replica":5}`, `{"setting":[]}`, `{"replica":"a\u0000"}`} {
			b.do("INSERT INTO entry (id, kind, outcome, facts) VALUES (gen_random_uuid(), $1, 'production', $2::json)", kind, facts)
		}
	}
	all, err = b.log.Starts(t.Context(), 10)
	require.NoError(t, err, "an entry that nobody can read keeps none from being read")
	require.Equal(t, "a", all[len(all)-1].Replica)
	read, err = b.log.Reloads(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, "empty", read[len(read)-1].Reason)
}
