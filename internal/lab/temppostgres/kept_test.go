package temppostgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAClusterIsFilledOnceAndCopiedByLaterProcesses(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	all := filepath.Join(cache, "arauto", "test-clusters")
	old := filepath.Join(all, "old")
	require.NoError(t, os.MkdirAll(old, 0o700))
	weeks := time.Now().AddDate(0, 0, -15)
	require.NoError(t, os.Chtimes(old, weeks, weeks))

	filled := 0
	fill := func(ctx context.Context, s *Server) error {
		filled++
		_, err := s.CreateDatabase(ctx, "filled", "")
		return err
	}
	for range 2 {
		model, err := Kept(t.Context(), "key", fill)
		require.NoError(t, err)
		require.Zero(t, model.Pid())
		require.Equal(t, 1, filled)
		require.NoError(t, model.Stop(), "it is nobody's to remove")
		connect(t, start(t, Options{CopyOf: model}).URL("filled"))
	}
	require.NoDirExists(t, old, "nobody has asked for it")

	_, err := Kept(t.Context(), "another key", func(context.Context, *Server) error { return errors.New("no") })
	require.ErrorContains(t, err, "no")
	left, err := os.ReadDir(all)
	require.NoError(t, err)
	require.Len(t, left, 1, "what could not be filled is not kept")
}
