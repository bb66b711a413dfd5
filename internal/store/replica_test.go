package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestADevelopmentReplicaYieldsToProduction is case P3 for the database: what a replica is told of those of another profile, and when it is
// noted itself.
func TestADevelopmentReplicaYieldsToProduction(t *testing.T) {
	b := newBench(t)
	began := time.Now().UTC().Truncate(time.Microsecond)
	production := auditlog.RunningReplica{Name: "a", Version: "1", Profile: "production", Started: began}
	development := auditlog.RunningReplica{Name: "b", Version: "1", Profile: "development", Started: began, Yields: true}
	report := func(r auditlog.RunningReplica) []string {
		t.Helper()
		foreign, err := b.log.ReportReplica(t.Context(), r)
		require.NoError(t, err)
		return foreign
	}
	noted := func(name string) bool {
		return one[bool](b, "SELECT EXISTS (SELECT FROM replica WHERE name = $1)", name)
	}
	require.Empty(t, report(production))
	require.Empty(t, report(production), "it does not meet itself")
	require.Equal(t, []string{"a"}, report(development))
	require.False(t, noted("b"), "one that must not work here does not stand in anybody's way")
	seen, err := b.log.ForeignReplicas(t.Context(), auditlog.RunningReplica{Profile: "development"})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, seen)
	namesake := development
	namesake.Name, namesake.Started = "a", began.Add(time.Second)
	require.Equal(t, []string{"a"}, report(namesake), "another process may have the same name")

	require.NoError(t, b.log.ReplicaLeaves(t.Context(), production))
	require.Empty(t, report(development))
	require.True(t, noted("b"))
	require.Equal(t, []string{"b"}, report(production), "production is told, and works")
	require.Equal(t, []string{"a"}, report(development))

	b.do("UPDATE replica SET seen_at = now() - interval '31 s' WHERE name = 'a'")
	require.Empty(t, report(development), "it has ended without a word")
	require.Equal(t, []string{"b"}, report(production))
	// A version that knows no profile renews its row like this, also under a name that another version had.
	b.do(`INSERT INTO replica (name, version, started_at) VALUES ('a', '0', now())
ON CONFLICT (name) DO UPDATE SET version = excluded.version, started_at = excluded.started_at, seen_at = now()`)
	require.Empty(t, report(development), "what it told before is not of this process")
}
