package temppostgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a started process that is reaped as soon as it ends.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process was reaped
	err    error         // why it ended, nil for exit status 0; to be read after exited is closed
}

// startChild starts a process that the kernel signals when we die (where it can). That signal is bound to the thread
// that started the process, not to the program: were the Go runtime to retire the thread, the child would be signalled
// with us alive. So one goroutine keeps its thread for as long as the child lives.
func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// gone tells whether the process has ended.
func (c *child) gone() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// children stops the process, so that it makes no more, and lists those it has. Where the system does not tell them there are none.
func (c *child) children() (pids []int) {
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", c.pid()))
	if err != nil {
		return nil
	}
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// awaitEnd waits until none of some processes runs.
func awaitEnd(pids []int, within time.Duration) error {
	limit := time.Now().Add(within)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, pid := range pids {
		for ; alive(pid); <-tick.C {
			if time.Now().After(limit) {
				return fmt.Errorf("process %d of PostgreSQL still runs %s after its postmaster was killed", pid, within)
			}
		}
	}
	return nil
}

// end signals the process and waits for its end; one that does not heed the signal within the given time is killed.
func (c *child) end(how syscall.Signal, within time.Duration) error {
	if err := c.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal postgres: %w", err)
	}
	select {
	case <-c.exited:
		return nil
	case <-time.After(within):
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill postgres: %w", err)
	}
	<-c.exited
	return nil
}

// command prepares a program of the server: as its account, away from our terminal's signals, with a plain environment.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries.Dir, name), args...) //nolint:gosec // found by Find
	cmd.Dir = s.folder                                                            // ours may be closed to the account
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.folder}
	cmd.SysProcAttr = processAttributes()
	cmd.SysProcAttr.Credential = s.account.credential()
	return cmd
}

// initdb makes the cluster. The password is scram's: another server that happens to get our port cannot be mistaken for
// ours, nor ours be used by another account of the machine.
func (s *Server) initdb(ctx context.Context, password string) error {
	elsewhere, err := s.placeCluster()
	if err != nil {
		return err
	}
	secret, err := scramSecret(password, rand.Text())
	if err != nil {
		return err
	}
	passwordFile := filepath.Join(s.folder, "password")
	if err := s.account.writeFile(passwordFile, []byte(secret)); err != nil {
		return err
	}
	cmd := s.command(ctx, "initdb", "--pgdata="+s.DataDir(), "--username="+owner, "--pwfile="+passwordFile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Args = append(cmd.Args, elsewhere...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with the servers that it runs, which write into the folder
	c, err := startChild(cmd)
	if err != nil {
		return fmt.Errorf("execute initdb: %w", err)
	}
	if <-c.exited; c.err != nil {
		return fmt.Errorf("initdb: %w: %s", c.err, output.String())
	}
	if err := os.Remove(passwordFile); err != nil {
		return fmt.Errorf("remove the password file: %w", err)
	}
	return nil
}

// copyCluster copies the cluster of a halted server.
func (s *Server) copyCluster(ctx context.Context, model *Server) error {
	if model.Pid() != 0 {
		return errors.New("the server to be copied still runs: halt it first")
	}
	output, err := exec.CommandContext(ctx, "cp", "-Rp", model.DataDir(), s.DataDir()).CombinedOutput() //nolint:gosec // both folders are ours
	if err != nil {
		return fmt.Errorf("copy the cluster %s: %w: %s", model.DataDir(), err, output)
	}
	return nil
}

// placeCluster prepares the folders that the options name, and returns what initdb must be told of them. The cluster's
// is linked to from our folder, so that a reader of the folder finds it.
func (s *Server) placeCluster() (arguments []string, err error) {
	for _, dir := range []string{s.options.DataDir, s.options.WALDir} {
		if dir == "" {
			continue
		}
		if closed := s.account.closedParent(filepath.Dir(dir)); closed != "" {
			return nil, fmt.Errorf("user %s, as whom PostgreSQL must run, cannot enter %s", s.account.name, closed)
		}
		if err := s.account.give(dir); err != nil {
			return nil, err
		}
	}
	if dir := s.options.DataDir; dir != "" {
		if err := os.Symlink(dir, s.DataDir()); err != nil {
			return nil, fmt.Errorf("link to the folder of the cluster: %w", err)
		}
	}
	if dir := s.options.WALDir; dir != "" {
		arguments = append(arguments, "--waldir="+dir)
	}
	return arguments, nil
}

// startPostmaster executes postgres itself. There is no Unix socket: Debian's build would put it where only root may
// write, and nobody here needs one.
func (s *Server) startPostmaster(port string) (*child, error) {
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + port, "unix_socket_directories=",
		"max_connections=200", "shared_buffers=128MB", "max_wal_size=1GB",
		"wal_level=logical", "max_wal_senders=10", "max_replication_slots=10", "max_prepared_transactions=10",
		"timezone=UTC", "log_timezone=UTC", "logging_collector=off", "log_line_prefix=%m [%p] %d ",
	}
	if !s.options.Durable {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	settings = append(settings, s.options.Settings...)
	args := []string{"-D", s.DataDir()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close() // the child has its own descriptor
	// The server outlives the call that starts it: no context ends it, Stop does.
	cmd := s.command(context.Background(), "postgres", args...)
	// The postmaster binds the functions of its libraries once; else each backend does, which is a fifth of what its start costs.
	cmd.Env = append(append(cmd.Env, "LD_BIND_NOW=1"), s.environ...)
	cmd.Stdout, cmd.Stderr = log, log
	c, err := startChild(cmd)
	if err != nil {
		return nil, fmt.Errorf("execute postgres: %w", err)
	}
	return c, nil
}
