package temppostgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// keptFor is how long a cluster is kept that no process asks for.
const keptFor = 7 * 24 * time.Hour

// Kept returns a halted server to be copied (Options.CopyOf), which fill has filled, in this process or in an earlier one: its cluster is kept
// in the user's cache folder. To make a cluster and to migrate a database takes two seconds of processor time, and a copy a tenth of that. The
// key must change with whatever fill does. Nobody stops the server.
func Kept(ctx context.Context, key string, fill func(context.Context, *Server) error) (*Server, error) {
	binaries, err := Find(ctx)
	if err != nil {
		return nil, err
	}
	account, err := chooseAccount()
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	all := filepath.Join(cache, "arauto", "test-clusters")
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s %d\n%d\n", key, binaries.Dir, binaries.Major, account.uid))
	s := &Server{folder: filepath.Join(all, fmt.Sprintf("%x", sum[:10])), binaries: binaries, account: account, options: Options{Keep: true}}
	if s.recall() == nil {
		return s, nil
	}
	if err := os.MkdirAll(all, 0o700); err != nil {
		return nil, err
	}
	forget(all, time.Now().Add(-keptFor))
	made, err := Start(ctx, Options{Private: true})
	if err != nil {
		return nil, err
	}
	err = fill(ctx, made)
	if err = errors.Join(err, made.Halt()); err == nil {
		err = made.keep(ctx, all, s.folder)
	}
	if err = errors.Join(err, made.Stop()); err != nil {
		return nil, fmt.Errorf("keep a cluster in %s: %w", all, err)
	}
	return s, s.recall()
}

// recall reads the password of a cluster that was kept, and notes that it is used.
func (s *Server) recall() error {
	password, err := os.ReadFile(s.passwordFile())
	if err != nil {
		return err
	}
	s.base = &url.URL{Scheme: "postgres", User: url.UserPassword(owner, string(password)), Path: "/postgres", RawQuery: "sslmode=disable"}
	now := time.Now()
	return os.Chtimes(s.folder, now, now)
}

// Discard removes a kept cluster, of which no copy starts.
func (s *Server) Discard() error { return os.RemoveAll(s.folder) }

func (s *Server) passwordFile() string { return filepath.Join(s.folder, "password.txt") }

// keep copies the cluster of a halted server. Of two processes that keep the same, one does.
func (s *Server) keep(ctx context.Context, all, folder string) error {
	temporary, err := os.MkdirTemp(all, "new-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	output, err := exec.CommandContext(ctx, "cp", "-Rp", s.DataDir(), filepath.Join(temporary, "data")).CombinedOutput() //nolint:gosec // both folders are ours
	if err != nil {
		return fmt.Errorf("copy: %w: %s", err, output)
	}
	password, _ := s.base.User.Password()
	if err := os.WriteFile(filepath.Join(temporary, "password.txt"), []byte(password), 0o600); err != nil {
		return err
	}
	if err = os.Rename(temporary, folder); err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// forget removes clusters that nobody has asked for since.
func forget(all string, since time.Time) {
	kept, err := os.ReadDir(all)
	if err != nil {
		return
	}
	for _, one := range kept {
		if info, err := one.Info(); err == nil && info.ModTime().Before(since) {
			_ = os.RemoveAll(filepath.Join(all, one.Name())) // what stays is tried again
		}
	}
}
