package gateway

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAProblemOfTheStateFolderSaysWhatToDo(t *testing.T) {
	for err, cure := range map[error]string{
		syscall.ENOSPC: "free space", syscall.EDQUOT: "free space", syscall.EACCES: "user of serve", syscall.EROFS: "ReadWritePaths", syscall.ENOTDIR: "name a folder",
	} {
		require.Contains(t, stateProblem(&fs.PathError{Op: "open", Path: "/state/spool", Err: err}), cure)
	}
}

// TestAnExaminationByRootSaysThatItMayReadEverything: serve has another user, whose rights root does not see.
func TestAnExaminationByRootSaysThatItMayReadEverything(t *testing.T) {
	cfg, dir := settled(t)
	cfg.Log.Key = logKey(t, filepath.Join(dir, "log.key"), 0o600)
	for _, scope := range []Scope{Offline, Whole} {
		report, err := Examine(t.Context(), cfg, time.Now(), scope)
		require.NoError(t, err)
		require.Equal(t, os.Geteuid() == 0, strings.Contains(strings.Join(report.Unchecked, "\n"), "run check as that user"))
	}
}
