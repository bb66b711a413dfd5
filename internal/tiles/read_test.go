package tiles

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// TestEachFileIsMadeAsItIsPublished: what is read by name is, byte for byte, what Publish writes, and no other name is one.
func TestEachFileIsMadeAsItIsPublished(t *testing.T) {
	dir := t.TempDir()
	l := newSealedLog(t).grow(66_000, "us")
	l.publish(dir, true)
	names := []string{Checkpoint, "tile/0/000", "tile/0/257.p/208", "tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1", "tile/entries/007", "tile/entries/257.p/208"}
	for _, name := range names {
		n, err := ParseName(name)
		require.NoError(t, err, name)
		text, err := Read(t.Context(), l, n)
		require.NoError(t, err, name)
		want, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, text, name)
	}
	for _, name := range []string{"tile/0/258", "tile/0/257", "tile/0/257.p/209", "tile/2/000", "tile/3/000.p/1", "tile/0/x999/x999/x999/x999/999", "tile/entries/258"} {
		n, err := ParseName(name)
		require.NoError(t, err, name)
		_, err = Read(t.Context(), l, n)
		require.ErrorIs(t, err, ErrAbsent, name)
	}
	for _, name := range []string{"", "/", "tile", "tile/0", "tile/0/", "tile/0/1", "tile/0/0000", "tile/00/000", "tile/-1/000", "tile/8/000", "tile/x/000", "tile/0/x000/000", "tile/0/001/234", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/-01", "tile/entries", "tile/data/000", "../checkpoint", "checkpoint/"} {
		_, err := ParseName(name)
		require.Error(t, err, name)
	}
	l.removed[300] = true
	_, err := Read(t.Context(), l, Name{PublishedTile: audit.PublishedTile{Level: entriesLevel, N: 1, Width: 256}})
	require.ErrorIs(t, err, ErrAbsent, "an entry of it was removed")
}
