package keystock

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoProcessGetsAKeyTwiceAndTheNextProcessGetsTheSame(t *testing.T) {
	t.Setenv(EnvFolder, "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	first, err := New(1024)
	require.NoError(t, err)
	second, err := New(1024)
	require.NoError(t, err)
	require.False(t, first.Equal(second), "two keys of a process are the same")
	require.NoError(t, first.Validate())

	mu.Lock()
	taken[1024] -= 2 // as in a new process
	mu.Unlock()
	again, err := New(1024)
	require.NoError(t, err)
	require.True(t, again.Equal(first), "the key was made again")
}

func TestAKeptKeyIsForItsUserAloneAndADamagedOneIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "key.der")
	kept, err := keyOf(file, 1024)
	require.NoError(t, err)
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700 | os.ModeDir} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), path)
	}

	require.NoError(t, os.WriteFile(file, []byte("no key"), 0o600))
	replaced, err := keyOf(file, 1024)
	require.NoError(t, err)
	require.False(t, replaced.Equal(kept))
	again, err := keyOf(file, 1024)
	require.NoError(t, err)
	require.True(t, again.Equal(replaced))

	larger, err := keyOf(file, 2048)
	require.NoError(t, err)
	require.Equal(t, 2048, larger.N.BitLen(), "a key of another size was taken")
}

func TestAnotherCacheFolderHasTheKeysThatWereShared(t *testing.T) {
	shared := t.TempDir()
	t.Setenv(EnvFolder, "")
	t.Setenv("XDG_CACHE_HOME", shared)
	Share()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := New(1024)
	require.NoError(t, err)
	kept, err := filepath.Glob(filepath.Join(shared, "arauto", "test-keys", "rsa-1024-*.der"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
}

func TestWithoutACacheFolderKeysAreMade(t *testing.T) {
	t.Setenv(EnvFolder, "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	key, err := New(1024)
	require.NoError(t, err)
	require.Equal(t, 1024, key.N.BitLen())
}
