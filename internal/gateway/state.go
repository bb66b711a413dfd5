package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// stateProblem names the setting of the state folder, and says what would be right.
func stateProblem(err error) string {
	cure := "name a folder we may write to"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		cure = "free space there, or name a folder on a disk that has some"
	case errors.Is(err, fs.ErrPermission):
		cure = "give the folder and what is in it to the user of serve, or name another folder"
	case errors.Is(err, syscall.EROFS):
		cure = "mount it for writing (a systemd unit: ReadWritePaths), or name a folder we may write to"
	}
	return fmt.Sprintf("state_dir (ARAUTO_STATE_DIR): %v; %s", err, cure)
}

// stateWritable tells whether a replica could use a folder as its state folder, and leaves nothing behind. Where the folder is not
// there, the nearest one above it that is must let us make folders.
func stateWritable(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(at) != at:
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is no folder", at)
		case at != filepath.Clean(dir):
			return writable(at)
		}
		return allWritable(at)
	}
}

// allWritable tells whether everything in a state folder is ours to write: a run as another user may have left files in it.
func allWritable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // a replica that runs has removed it
		case err != nil:
			return err
		case d.IsDir():
			return writable(path)
		case d.Type().IsRegular():
			if err := appendable(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// writable tells whether files can be made in a folder.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".arauto-check-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// appendable tells whether a file can be added to, or made where it is not there.
func appendable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writable(filepath.Dir(path))
	case err != nil:
		return err
	}
	return f.Close()
}
