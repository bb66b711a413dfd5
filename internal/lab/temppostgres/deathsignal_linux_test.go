package temppostgres

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// alive tells whether a process runs. An orphan that has ended but that nobody reaped does not count as alive.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestTheKernelEndsTheServerEvenWhenTheGuardIsKilledToo(t *testing.T) {
	o := startOwner(t)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(filepath.Dir(o.dataDir))) })
	require.NoError(t, syscall.Kill(o.guardian, syscall.SIGKILL))
	require.True(t, alive(o.postmaster))
	o.kill(t)
	require.Eventually(t, func() bool { return !alive(o.postmaster) }, time.Minute, 20*time.Millisecond)
	require.DirExists(t, o.dataDir, "with the guard dead nobody could have removed the folder: the test shows nothing")
}
