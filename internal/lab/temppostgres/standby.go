package temppostgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Standby makes a streaming standby of a server started here: a copy by pg_basebackup that follows the primary's log,
// answers readings, and refuses to write until Promote. Where that program is not beside the others, the primary is restarted
// to be copied. The standby's name to the primary (synchronous_standby_names) is that given.
// Settings are added to the primary's own. It is a server like others: the caller calls Stop.
func (s *Server) Standby(ctx context.Context, name string, settings ...string) (*Server, error) {
	if s.External() {
		return nil, ErrNotOurs
	}
	o := s.options
	o.DataDir, o.WALDir = "", ""
	o.Settings = append(append([]string(nil), o.Settings...), settings...)
	standby := &Server{binaries: s.binaries, options: o, account: s.account}
	if err := standby.follow(ctx, s, name); err != nil {
		return nil, errors.Join(fmt.Errorf("make a standby: %w", err), standby.Stop())
	}
	return standby, nil
}

func (s *Server) follow(ctx context.Context, primary *Server, name string) error {
	var err error
	if s.folder, err = s.account.makeFolder(s.options.Dir); err != nil {
		return err
	}
	if s.guard, err = startGuard(s.folder, s.options.Keep); err != nil {
		return err
	}
	from := *primary.base
	from.RawQuery = url.Values{"sslmode": {"disable"}, "application_name": {name}}.Encode()
	copies := s.copyRunning
	if _, err := os.Stat(filepath.Join(s.binaries.Dir, "pg_basebackup")); errors.Is(err, fs.ErrNotExist) {
		copies = s.copyHalted
	}
	if err := copies(ctx, primary, from.String()); err != nil {
		return err
	}
	base := *primary.base
	s.base = &base
	if err := s.keepPort(); err != nil {
		return err
	}
	return s.run(ctx)
}

// copyRunning copies the primary while it works.
func (s *Server) copyRunning(ctx context.Context, _ *Server, from string) error {
	// A list of processes shows the password in the URL: it opens a temporary server of this machine only.
	cmd := s.command(ctx, "pg_basebackup", "--pgdata="+s.DataDir(), "--dbname="+from, "--wal-method=stream", "--checkpoint=fast",
		"--write-recovery-conf", "--no-sync")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	c, err := startChild(cmd)
	if err != nil {
		return fmt.Errorf("execute pg_basebackup: %w", err)
	}
	if <-c.exited; c.err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", c.err, output.String())
	}
	return nil
}

// copyHalted halts the primary, copies its files, and starts it again.
func (s *Server) copyHalted(ctx context.Context, primary *Server, from string) error {
	if err := primary.Halt(); err != nil {
		return err
	}
	if err := errors.Join(s.copyCluster(ctx, primary), primary.run(ctx)); err != nil {
		return err
	}
	if err := s.account.writeFile(filepath.Join(s.DataDir(), "standby.signal"), nil); err != nil {
		return err
	}
	return s.account.writeFile(filepath.Join(s.DataDir(), "postgresql.auto.conf"), []byte("primary_conninfo = '"+from+"'\n"))
}

// Promote makes a standby the primary, and returns when it takes writes.
func (s *Server) Promote(ctx context.Context) error {
	if err := s.exec(ctx, "DO $$ BEGIN IF NOT pg_promote(true, 60) THEN RAISE 'it was not promoted in a minute'; END IF; END $$"); err != nil {
		return fmt.Errorf("promote a standby: %w", err)
	}
	return nil
}

// Require makes a primary answer no commit before the standby of that name has it on disk; "" asks for none.
func (s *Server) Require(ctx context.Context, standby string) error {
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + standby + "'", "SELECT pg_reload_conf()"} {
		if err := s.exec(ctx, statement); err != nil {
			return fmt.Errorf("require a synchronous standby: %w", err)
		}
	}
	return nil
}
