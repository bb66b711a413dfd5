package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/temppostgres"
)

// TestASandboxOnAFullDiskSaysFirstWhatIsFullAndWhereToGo: all that initdb says stood before, which names a short write.
func TestASandboxOnAFullDiskSaysFirstWhatIsFullAndWhereToGo(t *testing.T) {
	if os.Getenv(temppostgres.EnvURL) != "" {
		t.Skip("the server is another's")
	}
	folder, err := os.MkdirTemp("", "arauto-small-") //nolint:usetesting // the server's account must get through to it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(folder)) })
	err = syscall.Mount("arauto", folder, "tmpfs", 0, "size=20m,mode=755")
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this user may not make a small volume")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(folder, 0)) })
	t.Setenv("TMPDIR", folder)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv(temppostgres.EnvDir, "")
	for language, words := range map[string][]string{
		"en": {folder + " has ", " MB free, and the sandbox needs about 100 MB there", "TMPDIR=FOLDER arauto sandbox"},
		"pt": {folder + " tem ", " MB livres, e o sandbox precisa de cerca de 100 MB ali", "TMPDIR=PASTA arauto sandbox"},
	} {
		got := call(t, time.Minute, nil, "sandbox", "--port", "0", "--webhook", "", "--lang", language)
		require.Equal(t, failed, got.code)
		first, details, _ := strings.Cut(got.errors, "\n")
		for _, part := range words {
			require.Contains(t, first, part)
		}
		require.NotContains(t, first, "initdb")
		require.Contains(t, details, "initdb", "the details follow")
	}
}
