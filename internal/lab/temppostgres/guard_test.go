package temppostgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sleeper is a process that ends only when it is told to.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	require.NoError(t, cmd.Start())
	return cmd
}

// guarded makes a folder as the guard expects it.
func guarded(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "with 'quotes' and spaces")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "data"), 0o700))
	return folder
}

func TestTheGuardStopsTheLastProcessItWasToldOfAndRemovesTheFolder(t *testing.T) {
	folder := guarded(t)
	g, err := startGuard(folder, false)
	require.NoError(t, err)
	former, last := sleeper(t), sleeper(t)
	require.NoError(t, g.watch(former.Process.Pid))
	require.NoError(t, g.watch(0))
	require.NoError(t, g.watch(last.Process.Pid))
	require.NoError(t, g.release())
	require.ErrorContains(t, last.Wait(), "quit")
	require.NoDirExists(t, folder)
	require.NoError(t, former.Process.Signal(os.Interrupt), "the guard stopped a process it was told to forget")
	require.ErrorContains(t, former.Wait(), "interrupt")
}

func TestTheGuardStopsNothingWhenToldToForgetAndKeepsTheFolderWhenAsked(t *testing.T) {
	folder := guarded(t)
	g, err := startGuard(folder, true)
	require.NoError(t, err)
	running := sleeper(t)
	require.NoError(t, g.watch(running.Process.Pid))
	require.NoError(t, g.watch(0))
	require.NoError(t, g.release())
	require.DirExists(t, folder)
	require.NoError(t, running.Process.Signal(os.Interrupt))
	require.ErrorContains(t, running.Wait(), "interrupt")
}
