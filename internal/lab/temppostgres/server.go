// Package temppostgres finds or starts a PostgreSQL that lives no longer than the process that asked for it.
//
// The demonstration and the tests run on the same engine as production; a second dialect would prove nothing. What
// differs is only where the server comes from. When ARAUTO_TEST_DATABASE_URL is set, that server is used and nothing
// but databases is created on it. Otherwise the binaries are looked for (see Find), and a cluster is made in a
// temporary folder, on a free port of 127.0.0.1, with a password nobody else knows; it is ready in about a second.
//
// What must stay true:
//   - A server never outlives its owner, not even one killed with SIGKILL. On Linux the postmaster asks the kernel for
//     a signal at the death of its parent, which is why `postgres` is executed here directly and not through pg_ctl.
//     Everywhere a guard, a small shell process, waits for the end of a pipe that only the owner holds; it stops the
//     postmaster and removes the folder.
//   - Nothing of it survives on disk, unless Options.Keep asks for it.
//   - It never runs as root, which initdb and postgres refuse: see account.
//   - It is not for data anybody wants to keep: without Options.Durable nothing is synced to disk.
package temppostgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/lab/port"
)

// EnvURL names the environment variable that holds the URL of a server to use instead of starting one. Its user must
// be allowed to create databases and roles.
const EnvURL = "ARAUTO_TEST_DATABASE_URL"

// EnvDir names the environment variable that holds the folder for servers that sync nothing to disk. make test puts them
// into memory there: a database is a thousand files, and a test's is made and removed within seconds.
const EnvDir = "ARAUTO_TEST_POSTGRES_DIR"

// readyWithin bounds one start, crash recovery included; on an idle machine a start takes less than a second.
const readyWithin = 60 * time.Second

// stopWithin bounds the polite part of a stop. After it the postmaster is killed.
const stopWithin = 10 * time.Second

// owner is the superuser of the clusters started here.
const owner = "arauto"

// ErrNotOurs says that a server found by EnvURL was asked for something that only one started here can do.
var ErrNotOurs = errors.New("the PostgreSQL server of " + EnvURL + " was not started here and is not stopped or restarted here")

// Options says what is wanted of a server. The zero value suits tests.
type Options struct {
	// Dir is the folder in which the server's own folder is made; empty means that of EnvDir, unless the server is durable,
	// and else the system's temporary folder. When the caller is root, the account of the server must be able to enter it
	// and its parents.
	Dir string
	// Durable keeps fsync and full_page_writes on, for benchmarks and where the product refuses a server without. What is committed
	// survives a killed server without it too: the kernel keeps what a process has written.
	Durable bool
	// Private starts a server even when EnvURL names one, for tests that kill it.
	Private bool
	// Major is the major version that a server started here must have; 0: any. A server that EnvURL names has the version it has.
	Major int
	// Keep leaves the folder where it is when the server ends.
	Keep bool
	// DataDir and WALDir are empty folders for the cluster and for its log, each on a volume of its own perhaps; they are
	// given to the server's account and stay when the server ends. Empty: below the server's folder.
	DataDir, WALDir string
	// CopyOf is a halted server whose cluster is copied, with its databases, roles and password, instead of a new one being
	// made. An external server ignores it.
	CopyOf *Server
	// Settings are added to the server's own, "name=value"; the last of a name counts.
	Settings []string
}

// parent is the folder in which the server's own is made; empty means the system's temporary folder.
func (o Options) parent() string {
	if o.Dir != "" || o.Durable {
		return o.Dir
	}
	return os.Getenv(EnvDir)
}

// Server is a PostgreSQL to be used and thrown away. Its methods may be called from any goroutine.
type Server struct {
	base     *url.URL // of the database "postgres", or of the one EnvURL names
	folder   string   // empty when the server is not ours
	binaries Binaries
	account  *account
	options  Options
	guard    *guard
	port     *port.Kept // nil when the server is not ours

	admin struct {
		mu   sync.Mutex
		conn *pgx.Conn // to the maintenance database; nil: none was needed
	}

	mu      sync.Mutex // held while the postmaster is started or stopped
	child   *child     // the current or last postmaster, nil when the server is not ours
	environ []string   // added to its environment
}

// Start finds a server or starts one, and returns when it answers queries. The error says in one sentence what to
// install when there is none. The caller calls Stop; should it die before that, the server goes with it.
func Start(ctx context.Context, options Options) (*Server, error) {
	if text := os.Getenv(EnvURL); text != "" && !options.Private {
		return attach(ctx, text)
	}
	binaries, err := FindMajor(ctx, options.Major)
	if err != nil {
		return nil, err
	}
	s := &Server{binaries: binaries, options: options}
	if err := s.create(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start a temporary PostgreSQL from %s: %w", binaries.Dir, err), s.Stop())
	}
	return s, nil
}

// attach uses the server that the environment names.
func attach(ctx context.Context, text string) (*Server, error) {
	base, err := url.Parse(text)
	if err != nil || (base.Scheme != "postgres" && base.Scheme != "postgresql") {
		return nil, fmt.Errorf("%s is not of the form postgres://user:password@host:port/database", EnvURL)
	}
	s := &Server{base: base}
	if err := s.ping(ctx); err != nil {
		return nil, fmt.Errorf("use the PostgreSQL server of %s: %w", EnvURL, err)
	}
	return s, nil
}

// create makes the folder, the cluster and its first postmaster. Whatever it leaves half done, Stop removes.
func (s *Server) create(ctx context.Context) error {
	var err error
	if s.account, err = chooseAccount(); err != nil {
		return err
	}
	if s.folder, err = s.account.makeFolder(s.options.parent()); err != nil {
		return err
	}
	if s.guard, err = startGuard(s.folder, s.options.Keep); err != nil {
		return err
	}
	if err := s.makeCluster(ctx); err != nil {
		return err
	}
	// Where a port cannot be kept, another process may take it before the postmaster does: then the next one is tried.
	for try := 0; ; try++ {
		if err := s.keepPort(); err != nil {
			return err
		}
		if err = s.run(ctx); err == nil || try == 4 || ctx.Err() != nil {
			return err
		}
	}
}

// makeCluster makes the files of the server, and its URL without the port.
func (s *Server) makeCluster(ctx context.Context) error {
	if model := s.options.CopyOf; model != nil {
		base := *model.base
		s.base = &base
		return s.copyCluster(ctx, model)
	}
	password := rand.Text()
	s.base = &url.URL{
		Scheme: "postgres", User: url.UserPassword(owner, password),
		Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return s.initdb(ctx, password)
}

// keepPort chooses the port of the server. It stays the server's while the postmaster is dead.
func (s *Server) keepPort() error {
	if err := s.releasePort(); err != nil {
		return err
	}
	kept, err := port.Keep()
	if err != nil {
		return err
	}
	s.port, s.base.Host = kept, kept.Address()
	return nil
}

func (s *Server) releasePort() error {
	if s.port == nil {
		return nil
	}
	return s.port.Release()
}

// URL is the connection URL of a database of this server. Whether the database exists is not checked.
func (s *Server) URL(database string) string {
	u := *s.base
	u.Path = "/" + database
	return u.String()
}

// External tells a server found by EnvURL, which others may be using too, from one started here.
func (s *Server) External() bool { return s.folder == "" }

// DataDir is the folder of the cluster; empty when the server is external.
func (s *Server) DataDir() string {
	if s.External() {
		return ""
	}
	return filepath.Join(s.folder, "data")
}

// LogFile is where the server's log is; empty when the server is external.
func (s *Server) LogFile() string {
	if s.External() {
		return ""
	}
	return filepath.Join(s.folder, "postgres.log")
}

// Pid is the process id of the running postmaster; 0 when the server is external or stopped.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil || s.child.gone() {
		return 0
	}
	return s.child.pid()
}

// Ended is closed when the running postmaster is gone, for any reason. It is nil, and so never closed, when the server is external or was
// not started. After Restart there is another one.
func (s *Server) Ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return nil
	}
	return s.child.exited
}

// CreateDatabase creates a database and returns its URL. An empty template means PostgreSQL's own; another one must
// have no open connection.
func (s *Server) CreateDatabase(ctx context.Context, name, template string) (string, error) {
	statement := "CREATE DATABASE " + pgx.Identifier{name}.Sanitize()
	if template != "" {
		statement += " TEMPLATE " + pgx.Identifier{template}.Sanitize()
	}
	if s.binaries.Major >= 15 {
		statement += " STRATEGY FILE_COPY" // half the processor time of logging each page; older versions know nothing else
	}
	if err := s.exec(ctx, statement); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return s.URL(name), nil
}

// DropDatabase drops a database, ending the connections it still has. One that is not there is no error.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	statement := "DROP DATABASE IF EXISTS " + pgx.Identifier{name}.Sanitize() + " WITH (FORCE)"
	if err := s.exec(ctx, statement); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// exec runs one statement on the connection to the maintenance database, which is kept: each new one costs the server seven
// milliseconds of processor time. A connection that was lost since it was last used is replaced.
func (s *Server) exec(ctx context.Context, statement string) error {
	s.admin.mu.Lock()
	defer s.admin.mu.Unlock()
	for {
		conn, kept := s.admin.conn, true
		if conn == nil || conn.IsClosed() {
			var err error
			if conn, err = pgx.Connect(ctx, s.base.String()); err != nil {
				return err
			}
			s.admin.conn, kept = conn, false
		}
		_, err := conn.Exec(ctx, statement)
		answer, answered := errors.AsType[*pgconn.PgError](err)
		lost := conn.IsClosed() && (!answered || strings.HasPrefix(answer.Code, "57")) // with its server, as when that was killed; one that did the statement first refuses it now
		if err == nil || !kept || !lost {
			return err
		}
	}
}

// leave ends the kept connection.
func (s *Server) leave() {
	s.admin.mu.Lock()
	defer s.admin.mu.Unlock()
	if s.admin.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.admin.conn.Close(ctx) // the server may be gone
	s.admin.conn = nil
}

// ping makes one connection and one query.
func (s *Server) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.base.String())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT 1")
	return errors.Join(err, conn.Close(ctx))
}

// Stop ends the server and removes its folder, unless Options.Keep asked for it to stay. It does nothing on an external
// server and on one already stopped.
func (s *Server) Stop() error {
	if s.External() {
		return nil
	}
	s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	how := syscall.SIGQUIT // what is thrown away needs no last checkpoint
	if s.options.Keep {
		how = syscall.SIGINT
	}
	errs := []error{s.end(how)}
	if !s.options.Keep {
		errs = append(errs, os.RemoveAll(s.folder))
	}
	if s.guard != nil {
		errs = append(errs, s.guard.release())
	}
	errs = append(errs, s.releasePort())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the temporary PostgreSQL in %s: %w", s.folder, err)
	}
	return nil
}

// Halt ends the server in an orderly manner and leaves its folder, for copies (Options.CopyOf). The folder is removed by
// Stop, or when the process ends.
func (s *Server) Halt() error {
	if s.External() {
		return ErrNotOurs
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end(syscall.SIGINT)
}

// Kill ends the postmaster with SIGKILL and waits until it and its backends are gone: a crash of the database, for tests of
// faults. The backends notice and end by themselves; until then one may still answer, and what it answers is true. When Kill
// returns, nobody answers. Restart brings the server back.
func (s *Server) Kill() error {
	if s.External() {
		return ErrNotOurs
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil || s.child.gone() {
		return nil
	}
	backends := s.child.children()
	return errors.Join(s.end(syscall.SIGKILL), awaitEnd(backends, stopWithin))
}

// Restart brings a killed server back, or stops a running one in an orderly manner and starts it again, on the same
// port and folder, so that every URL stays valid. environ ("NAME=value") is added to the environment of this postmaster
// and so of all its processes, and not to the next one's. It returns when the server answers, after crash recovery if
// need be.
func (s *Server) Restart(ctx context.Context, environ ...string) error {
	if s.External() {
		return ErrNotOurs
	}
	s.mu.Lock()
	err := s.end(syscall.SIGINT)
	s.environ = environ
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	return nil
}

// end signals the postmaster, waits, and falls back on SIGKILL. The caller holds mu.
func (s *Server) end(how syscall.Signal) error {
	if s.child == nil || s.child.gone() {
		return nil
	}
	err := s.child.end(how, stopWithin)
	return errors.Join(err, s.guard.watch(0))
}

// run starts a postmaster on the chosen port and waits until it answers. After a crash the first postmaster may find
// backends of the former one still leaving and end at once; it is started anew until the time is up.
func (s *Server) run(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	recovering := s.child != nil
	for {
		err := s.launch(ctx)
		if err == nil || !recovering || !s.child.gone() {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// launch starts one postmaster and follows it until it answers, ends or the time is up.
func (s *Server) launch(ctx context.Context) error {
	var err error
	if s.child, err = s.startPostmaster(s.base.Port()); err != nil {
		return err
	}
	if err := s.guard.watch(s.child.pid()); err != nil {
		return errors.Join(err, s.end(syscall.SIGQUIT))
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		last := errStarting
		if s.answers() {
			last = s.ping(ctx)
		}
		if last == nil {
			return nil
		}
		select {
		case <-s.child.exited:
			return fmt.Errorf("postgres ended at once (%s): %w; its log ends: %s", s.child.cmd.ProcessState, io.EOF, tail(s.LogFile()))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for port %s to answer: %w", s.base.Port(), last), s.end(syscall.SIGQUIT))
		case <-tick.C:
		}
	}
}

var errStarting = errors.New("it is starting")

// answers reports whether the postmaster says that it takes connections. It says so in its pid file; to ask by connections would cost it
// one process each.
func (s *Server) answers() bool {
	const pid, status = 0, 7 // lines of the file
	text, err := os.ReadFile(filepath.Join(s.DataDir(), "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	return err == nil && len(lines) > status && lines[pid] == strconv.Itoa(s.child.pid()) && slices.Contains([]string{"ready", "standby"}, strings.TrimSpace(lines[status]))
}

// tail returns the last part of a log for an error message, on one line.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 600
	return strconv.Quote(string(text[max(0, len(text)-most):]))
}
