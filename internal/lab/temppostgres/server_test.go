package temppostgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// start starts a server of the test's own, whatever the environment names.
func start(t *testing.T, options Options) *Server {
	t.Helper()
	t.Setenv(EnvURL, "")
	s, err := Start(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// awaitLoss returns when the server has dropped the connection.
func awaitLoss(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := conn.WaitForNotification(ctx)
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "the server is still there")
}

func show(t *testing.T, conn *pgx.Conn, setting string) string {
	t.Helper()
	var value string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&value))
	return value
}

func TestAServerAnswersWithTheSettingsTheProductNeedsAndLeavesNothing(t *testing.T) {
	s := start(t, Options{})
	require.False(t, s.External())
	require.NotZero(t, s.Pid())
	conn := connect(t, s.URL("postgres"))
	for setting, want := range map[string]string{
		"wal_level": "logical", "TimeZone": "UTC", "max_connections": "200", "fsync": "off",
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "server_encoding": "UTF8",
		"password_encryption": "scram-sha-256",
	} {
		require.Equal(t, want, show(t, conn, setting), setting)
	}
	folder := filepath.Dir(s.DataDir())
	require.DirExists(t, folder)
	require.NoError(t, s.Stop())
	require.NoDirExists(t, folder)
	require.Zero(t, s.Pid())
	require.NoError(t, s.Stop(), "a second stop does nothing")
}

func TestOnlyServersThatSyncNothingLieInTheFolderOfTheEnvironment(t *testing.T) {
	folder, err := os.MkdirTemp("", "arauto-memory-") //nolint:usetesting // the account of PostgreSQL must reach it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o711))
	t.Setenv(EnvDir, folder)
	require.Equal(t, folder, filepath.Dir(filepath.Dir(start(t, Options{}).DataDir())))
	require.NotEqual(t, folder, filepath.Dir(filepath.Dir(start(t, Options{Durable: true}).DataDir())))
}

func TestACopyHasWhatTheHaltedServerHadAndIsApartFromIt(t *testing.T) {
	model := start(t, Options{})
	conn := connect(t, model.URL("postgres"))
	_, err := conn.Exec(t.Context(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
	require.NoError(t, err)
	_, err = Start(t.Context(), Options{Private: true, CopyOf: model})
	require.ErrorContains(t, err, "halt it first")
	require.NoError(t, model.Halt())
	for range 2 {
		copied := connect(t, start(t, Options{CopyOf: model}).URL("postgres"))
		var n, rows int
		require.NoError(t, copied.QueryRow(t.Context(), "SELECT max(n), count(*) FROM kept").Scan(&n, &rows))
		require.Equal(t, []int{7, 1}, []int{n, rows}, "what one copy was told stands in the other")
		_, err = copied.Exec(t.Context(), "INSERT INTO kept VALUES (8)")
		require.NoError(t, err)
	}
}

func TestADurableServerSyncsToDisk(t *testing.T) {
	conn := connect(t, start(t, Options{Durable: true}).URL("postgres"))
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		require.Equal(t, "on", show(t, conn, setting), setting)
	}
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	s := start(t, Options{})
	_, err := pgx.Connect(t.Context(), strings.Replace(s.URL("postgres"), s.base.User.String(), owner+":guess", 1))
	require.ErrorContains(t, err, "28P01")
}

func TestThePasswordIsScramsAndCostsOneIteration(t *testing.T) {
	conn := connect(t, start(t, Options{}).URL("postgres"))
	var stored string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = current_user").Scan(&stored))
	require.True(t, strings.HasPrefix(stored, "SCRAM-SHA-256$1:"), "every connection of every test pays for the iterations")
}

func TestDatabasesAreMadeFromATemplateAndDroppedWithTheirConnections(t *testing.T) {
	s := start(t, Options{})
	template, err := s.CreateDatabase(t.Context(), "model", "")
	require.NoError(t, err)
	conn := connect(t, template)
	_, err = conn.Exec(t.Context(), "CREATE TABLE planted (n int)")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	url, err := s.CreateDatabase(t.Context(), `a "strange" name`, "model")
	require.NoError(t, err)
	conn = connect(t, url)
	_, err = conn.Exec(t.Context(), "INSERT INTO planted VALUES (1)")
	require.NoError(t, err)

	require.NoError(t, s.DropDatabase(t.Context(), `a "strange" name`))
	require.Error(t, conn.Ping(t.Context()))
	_, err = pgx.Connect(t.Context(), url)
	require.ErrorContains(t, err, "3D000")
	require.NoError(t, s.DropDatabase(t.Context(), "was never there"))
}

func TestAKilledServerComesBackOnTheSameAddressWithWhatWasCommitted(t *testing.T) {
	s := start(t, Options{Durable: true})
	url := s.URL("postgres")
	conn := connect(t, url)
	_, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 42 AS answer")
	require.NoError(t, err)
	former := s.Pid()

	require.NoError(t, s.Kill())
	require.Zero(t, s.Pid())
	awaitLoss(t, conn)

	require.NoError(t, s.Restart(t.Context()))
	require.NotEqual(t, former, s.Pid())
	var answer int
	require.NoError(t, connect(t, url).QueryRow(t.Context(), "SELECT answer FROM kept").Scan(&answer))
	require.Equal(t, 42, answer)
}

// TestWhenAServerIsKilledNobodyAnswers has a backend in the middle of a query at that moment: it goes on without its postmaster, and
// takes what has been sent to it by then.
func TestWhenAServerIsKilledNobodyAnswers(t *testing.T) {
	s := start(t, Options{})
	conn, other := connect(t, s.URL("postgres")), connect(t, s.URL("postgres"))
	backend := int(conn.PgConn().PID())
	ended := make(chan error, 1)
	go func() { // no wait in it in which the end of the postmaster would be noticed
		_, err := conn.Exec(context.WithoutCancel(t.Context()), "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '3 s' LOOP PERFORM 1; END LOOP; END $$")
		ended <- err
	}()
	require.Eventually(t, func() bool {
		var active bool
		require.NoError(t, other.QueryRow(t.Context(), "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1", backend).Scan(&active))
		return active
	}, time.Minute, time.Millisecond)
	require.NoError(t, s.Kill())
	require.False(t, alive(backend))
	<-ended
}

func TestARunningServerIsRestartedInOrder(t *testing.T) {
	s := start(t, Options{})
	former := s.Pid()
	require.NoError(t, s.Restart(t.Context()))
	require.NotEqual(t, former, s.Pid())
	log, err := os.ReadFile(s.LogFile())
	require.NoError(t, err)
	require.NotContains(t, string(log), "not properly shut down")
}

func TestDatabasesAreMadeAfterACrashAndARestartToo(t *testing.T) {
	s := start(t, Options{})
	for n, again := range []func() error{
		func() error { return nil },
		func() error { return errors.Join(s.Kill(), s.Restart(t.Context())) },
		func() error { return s.Restart(t.Context()) },
	} {
		require.NoError(t, again())
		_, err := s.CreateDatabase(t.Context(), fmt.Sprint("made-", n), "")
		require.NoError(t, err)
	}
}

func TestAKeptFolderStaysAfterTheStop(t *testing.T) {
	parent := enterable(t)
	s := start(t, Options{Dir: parent, Keep: true})
	require.Equal(t, parent, filepath.Dir(filepath.Dir(s.DataDir())))
	require.NoError(t, s.Stop())
	require.FileExists(t, filepath.Join(s.DataDir(), "PG_VERSION"))
	require.NoFileExists(t, filepath.Join(s.DataDir(), "postmaster.pid"))
	require.NoFileExists(t, filepath.Join(filepath.Dir(s.DataDir()), "password"))
}

// enterable makes a folder that the server's account can enter; the one of t.TempDir need not be.
func enterable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "temporary-test-") //nolint:usetesting // see above
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o711))
	return dir
}

func TestAFolderTheServersAccountCannotEnterIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as somebody else")
	}
	t.Setenv(EnvURL, "")
	closed := enterable(t)
	require.NoError(t, os.Chmod(closed, 0o700))
	_, err := Start(t.Context(), Options{Dir: closed})
	require.ErrorContains(t, err, "cannot enter "+closed)
}

func TestAServerNamedByTheEnvironmentIsUsedAndNeverTouched(t *testing.T) {
	own := start(t, Options{})
	t.Setenv(EnvURL, own.URL("postgres"))
	s, err := Start(t.Context(), Options{})
	require.NoError(t, err)
	require.True(t, s.External())
	require.Zero(t, s.Pid())
	require.Empty(t, s.DataDir())
	require.ErrorIs(t, s.Kill(), ErrNotOurs)
	require.ErrorIs(t, s.Restart(t.Context()), ErrNotOurs)

	private, err := Start(t.Context(), Options{Private: true})
	require.NoError(t, err)
	require.False(t, private.External())
	require.NoError(t, private.Stop())

	url, err := s.CreateDatabase(t.Context(), "guest", "")
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	require.NoError(t, connect(t, url).Ping(t.Context()), "its stop ended somebody else's server")
}

func TestABadURLInTheEnvironmentIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Setenv(EnvURL, "mysql://user:secret@host/db")
	_, err := Start(t.Context(), Options{})
	require.ErrorContains(t, err, EnvURL)
	require.NotContains(t, err.Error(), "secret")
}

// envOwner makes this test binary a process that starts a server, reports it and waits to be killed.
const envOwner = "ARAUTO_THROWAWAY_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(envOwner) == "" {
		os.Exit(m.Run())
	}
	s, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, s.URL("postgres"), s.Pid(), s.guard.cmd.Process.Pid, s.DataDir())
	select {} // until we are killed
}

// lone is a process that owns a server.
type lone struct {
	process              *exec.Cmd
	url, dataDir         string
	postmaster, guardian int
}

func startOwner(t *testing.T) lone {
	t.Helper()
	o := lone{process: exec.CommandContext(t.Context(), os.Args[0])}
	o.process.Env = append(os.Environ(), envOwner+"=1", EnvURL+"=")
	o.process.Stderr = os.Stderr
	output, err := o.process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, o.process.Start())
	_, err = fmt.Fscan(output, &o.url, &o.postmaster, &o.guardian, &o.dataDir)
	require.NoError(t, err)
	return o
}

// kill ends the owner with SIGKILL, which it cannot notice, and returns when the server has dropped its connections.
func (o lone) kill(t *testing.T) {
	t.Helper()
	conn := connect(t, o.url)
	require.NoError(t, o.process.Process.Kill())
	_ = o.process.Wait() // "signal: killed"
	awaitLoss(t, conn)
}

func TestAKilledOwnerLeavesNeitherServerNorFolder(t *testing.T) {
	o := startOwner(t)
	o.kill(t)
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Dir(o.dataDir))
		return os.IsNotExist(err) && !alive(o.postmaster) && !alive(o.guardian)
	}, time.Minute, 20*time.Millisecond)
	_, err := pgx.Connect(t.Context(), o.url)
	require.Error(t, err)
}
