package stage

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAFullDiskIsSaidFirst: also where blocks are left, and no more files are.
func TestAFullDiskIsSaidFirst(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	err := spaced(fmt.Errorf("write a key: %w", syscall.ENOSPC))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Regexp(t, `^/\S+ has \d+ MB free, and about 100 MB are needed there; .*TMPDIR=FOLDER\nwrite a key: no space left on device$`, err.Error())
	interrupted := &InterruptedError{Err: syscall.ENOSPC}
	require.Same(t, interrupted, spaced(interrupted))
	other := errors.New("no PostgreSQL")
	require.Equal(t, other, spaced(other), "the disk has room")
}
