package stage

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// needsMB is about how much a stage needs on disk, in MB: 50 when it begins, and room for what is done on it.
const needsMB = 100

// SpaceError says that a stage could not be set up, and that its temporary folder has too little space.
type SpaceError struct {
	Folder          string
	FreeMB, NeedsMB int64
	Err             error // in the words of what failed, often many
}

// Error says first what is missing and where to go, and then what failed.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s has %d MB free, and about %d MB are needed there; free some, or name another folder: TMPDIR=FOLDER\n%v", e.Folder, e.FreeMB, e.NeedsMB, e.Err)
}

// Unwrap is Err.
func (e *SpaceError) Unwrap() error { return e.Err }

// spaced makes a *SpaceError of an error where the temporary folder has too little space. What failed does not always say so: initdb tells of a
// short write.
func spaced(err error) error {
	var disk syscall.Statfs_t
	folder := os.TempDir()
	if _, interrupted := errors.AsType[*InterruptedError](err); interrupted || syscall.Statfs(folder, &disk) != nil {
		return err
	}
	free := int64(disk.Bavail) * int64(disk.Bsize) >> 20 //nolint:unconvert // types differ between systems
	if free >= needsMB && !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return &SpaceError{Folder: folder, FreeMB: free, NeedsMB: needsMB, Err: err}
}
