package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
)

// TestADatabaseThatCouldLoseWhatItAcknowledgedMakesNobodyReady is case P4: each setting of the server that a commit needs to survive a
// power cut, and one that refuses every commit, also while no change has failed yet.
func TestADatabaseThatCouldLoseWhatItAcknowledgedMakesNobodyReady(t *testing.T) {
	server, url := storetest.Own(t)
	run := func(statements ...string) {
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
		for _, statement := range statements {
			_, err := conn.Exec(t.Context(), statement)
			require.NoError(t, err)
		}
	}
	judge := func(profile string) error {
		s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test"})
		require.NoError(t, err)
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = judgeDatabase(ctx, s, profile)
		return err
	}
	const writable = "SET default_transaction_read_only = off"
	require.NoError(t, judge(config.Production))
	for setting, value := range map[string]string{"fsync": "off", "full_page_writes": "off", "data_sync_retry": "on", "synchronous_commit": "off"} {
		run("ALTER SYSTEM SET " + setting + " = " + value)
		require.NoError(t, server.Kill())
		require.NoError(t, server.Restart(t.Context()))
		err := judge(config.Production)
		require.ErrorContains(t, err, setting+" is "+value)
		require.NotErrorIs(t, err, store.ErrUnavailable, "it does not pass by itself")
		require.NoError(t, judge(config.Development))
		run("ALTER SYSTEM RESET " + setting)
	}
	require.NoError(t, server.Kill())
	require.NoError(t, server.Restart(t.Context()))
	run("ALTER DATABASE arauto SET synchronous_commit = local")
	require.ErrorContains(t, judge(config.Production), "synchronous_commit is local")
	run("ALTER DATABASE arauto RESET synchronous_commit")

	run("ALTER DATABASE arauto SET default_transaction_read_only = on")
	for _, profile := range []string{config.Production, config.Development} {
		err := judge(profile)
		require.ErrorContains(t, err, "default_transaction_read_only")
		require.ErrorIs(t, err, store.ErrUnavailable, "a start waits until it passes")
	}
	run(writable, "ALTER DATABASE arauto RESET default_transaction_read_only")
	require.NoError(t, judge(config.Production))
}
