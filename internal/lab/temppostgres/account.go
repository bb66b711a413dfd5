package temppostgres

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is whom the server runs as: ourselves, or, as PostgreSQL refuses root, another user when we are root.
type account struct {
	name     string
	other    bool // not ourselves
	uid, gid int
}

// chooseAccount picks postgres when the machine has that user, else nobody.
func chooseAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return &account{name: "the current user", uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(found.Uid, 10, 31)
		gid, errGID := strconv.ParseUint(found.Gid, 10, 31)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("read the ids of user %s: %w", name, err)
		}
		return &account{name: name, other: true, uid: int(uid), gid: int(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

// credential is what a child process needs to run as the account; nil when that is us.
func (a *account) credential() *syscall.Credential {
	if !a.other {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// makeFolder makes the server's folder and gives it to the account.
func (a *account) makeFolder(parent string) (string, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", fmt.Errorf("find the folder for PostgreSQL: %w", err)
	}
	if closed := a.closedParent(parent); closed != "" {
		return "", fmt.Errorf("user %s, as whom PostgreSQL must run, cannot enter %s: permit it (chmod o+x) or choose another folder by TMPDIR", a.name, closed)
	}
	folder, err := os.MkdirTemp(parent, "arauto-postgres-")
	if err != nil {
		return "", fmt.Errorf("make a folder for PostgreSQL: %w", err)
	}
	if err := a.give(folder); err != nil {
		return "", errors.Join(err, os.Remove(folder))
	}
	return folder, nil
}

// closedParent returns the first folder on the way down to path that another account may not enter, or nothing. Groups
// are not considered: a folder open to the account's group only counts as closed.
func (a *account) closedParent(path string) string {
	if !a.other {
		return ""
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path // cannot be entered by us either; what follows says why
	}
	if up := filepath.Dir(path); up != path {
		if closed := a.closedParent(up); closed != "" {
			return closed
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	const enter = 0o001
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == a.uid {
		return ""
	}
	if info.IsDir() && info.Mode().Perm()&enter == 0 {
		return path
	}
	return ""
}

// writeFile writes a file that only the account can read.
func (a *account) writeFile(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("write for PostgreSQL: %w", err)
	}
	return a.give(path)
}

// give makes the account the owner of a file or folder.
func (a *account) give(path string) error {
	if !a.other {
		return nil
	}
	if err := os.Chown(path, a.uid, a.gid); err != nil {
		return fmt.Errorf("give to user %s: %w", a.name, err)
	}
	return nil
}
