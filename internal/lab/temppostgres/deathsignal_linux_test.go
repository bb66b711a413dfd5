package temppostgres

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheKernelEndsTheServerEvenWhenTheGuardIsKilledToo(t *testing.T) {
	o := startOwner(t)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(filepath.Dir(o.dataDir))) })
	require.NoError(t, syscall.Kill(o.guardian, syscall.SIGKILL))
	require.True(t, alive(o.postmaster))
	o.kill(t)
	require.Eventually(t, func() bool { return !alive(o.postmaster) }, time.Minute, 20*time.Millisecond)
	require.DirExists(t, o.dataDir, "with the guard dead nobody could have removed the folder: the test shows nothing")
}
