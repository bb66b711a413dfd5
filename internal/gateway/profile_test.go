package gateway

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestADevelopmentReplicaDoesNotStartBesideProduction is case P3. One that was there first works on, and each side logs the other.
func TestADevelopmentReplicaDoesNotStartBesideProduction(t *testing.T) {
	t.Parallel()
	h := open(t)
	s, err := store.Open(t.Context(), store.Options{URL: h.url, Replica: "production-1"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	log := auditlog.New(s.Access())
	production := auditlog.RunningReplica{Name: "production-1", Version: "1", Profile: config.Production, Started: time.Now().UTC().Truncate(time.Microsecond)}
	foreign, err := log.ReportReplica(t.Context(), production)
	require.NoError(t, err)
	require.Equal(t, []string{"test"}, foreign, "production is told of the replica that works here")
	require.NoError(t, h.g.report(t.Context()))
	foreign, err = log.ForeignReplicas(t.Context(), production)
	require.NoError(t, err)
	require.Equal(t, []string{"test"}, foreign, "it works on, and both log it")

	second, err := New(t.Context(), h.g.cfg, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	second.cfg.StateDir = t.TempDir()
	err = second.Start(t.Context())
	require.ErrorContains(t, err, "profile (ARAUTO_PROFILE): is development, and replicas of profile production work on this database (production-1)")
	var wrong *config.Error
	require.ErrorAs(t, err, &wrong, "a person must change a setting")
	require.NoError(t, second.Stop())
	_, err = Examine(t.Context(), h.g.cfg, time.Now(), Running)
	require.ErrorContains(t, err, "replicas of profile production work on this database (production-1)")

	require.NoError(t, log.ReplicaLeaves(t.Context(), production))
	foreign, err = log.ReportReplica(t.Context(), auditlog.RunningReplica{Name: "test-2", Version: "1", Profile: config.Development, Started: time.Now().UTC()})
	require.NoError(t, err)
	require.Empty(t, foreign)
}

// TestAReplicaThatStopsIsNobodysHindrance: who starts with another profile afterwards need not wait.
func TestAReplicaThatStopsIsNobodysHindrance(t *testing.T) {
	t.Parallel()
	h := open(t)
	conn, err := pgx.Connect(t.Context(), h.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	profile := func() (name *string) {
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT profile FROM arauto.replica WHERE name = 'test'").Scan(&name))
		return name
	}
	require.Equal(t, config.Development, *profile(), "it is noted before it is ready")
	require.NoError(t, h.g.Stop())
	require.Nil(t, profile())
}

// TestADevelopmentReplicaThatStartedWithoutADatabaseIsRefusedWhenItAnswers, where production works on it by then.
func TestADevelopmentReplicaThatStartedWithoutADatabaseIsRefusedWhenItAnswers(t *testing.T) {
	t.Parallel()
	server, url := storetest.Own(t)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `INSERT INTO arauto.replica (name, version, started_at, seen_at, profile, profile_of)
VALUES ('production-1', '1', now(), now() + interval '1 hour', 'production', now())`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	require.NoError(t, server.Kill())

	h := &house{t: t, dir: t.TempDir(), url: url, pki: mtlstest.PKI(t), log: newJournal()}
	writePKI(t, filepath.Join(h.dir, "pki"))
	h.set = &stage.Stage{Dir: h.dir, PKI: h.pki, Database: url}
	cfg, err := config.Read("", append(h.set.Environment(), "ARAUTO_REPLICA=test"))
	require.NoError(t, err)
	g, err := New(t.Context(), cfg, "test", slog.New(slog.NewJSONHandler(h.log, nil)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	h.until("the start", func() bool { return len(h.log.lines("database does not answer, starting without it")) == 1 })
	require.NoError(t, server.Restart(t.Context()))
	select {
	case err = <-ended:
	case <-time.After(time.Minute):
		stop()
		<-ended
		t.Fatal("it works beside production")
	}
	stop()
	require.ErrorContains(t, err, "profile (ARAUTO_PROFILE): is development, and replicas of profile production work on this database (production-1)")
	var wrong *config.Error
	require.ErrorAs(t, err, &wrong, "a person must change a setting")
	require.False(t, g.joined.Load())
}
