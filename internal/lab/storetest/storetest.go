// Package storetest gives tests databases with the product's schema, on a real PostgreSQL.
//
// Each test process, which means each package under test, has one server, found or started by package temppostgres when
// the first test asks for a database. The schema is migrated once, into a template; a database is a copy of it and is
// gone when its test ends. A server of our own begins as a copy of one that has the template (temppostgres.Kept). Nobody has
// to stop anything: the server ends with the process, whichever way that ends.
//
// On a server that ARAUTO_TEST_DATABASE_URL names, and which outlives us, the databases of one process share a prefix,
// and the process holds an advisory lock in its name. What a killed process left behind is found by its free lock and
// dropped by the next process that comes along.
package storetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/migrations"
)

// Database returns the URL of a database of the test's own, migrated and otherwise empty. Its user is the owner of the
// schema and a superuser. The database is dropped when the test and its subtests have ended.
func Database(t testing.TB) string {
	t.Helper()
	return database(t, true)
}

// Seal seals all that is committed by now, and answers the last that was sealed with the number of all, and with the most strays that one
// sealing told of. owner is a connection to the database of l. A transaction that has just ended in another database may hold the horizon
// back for one look.
func Seal(t testing.TB, l *auditlog.Log, owner *pgx.Conn, key *audit.Signer) auditlog.SealStep {
	t.Helper()
	_, next := snapshot(t, owner)
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	entries, strays := 0, int64(0)
	for end := time.Now().Add(time.Minute); ; <-pause.C {
		out, err := l.Seal(t.Context(), key)
		if err != nil {
			t.Fatal("seal: ", err)
		}
		entries, strays = entries+out.Entries, max(strays, out.Strays)
		if !out.More && !out.Busy && out.Horizon >= next {
			out.Entries, out.Strays = entries, strays
			return out
		}
		if time.Now().After(end) {
			t.Fatalf("not everything is sealed: %+v", out)
		}
	}
}

// Over waits until every transaction of the server that has begun by now is over: none of them, and no other database's, then
// holds back what is sealed, folded or listed in the order of transactions.
func Over(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	_, next := snapshot(t, conn)
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(time.Minute); ; <-pause.C {
		oldest, _ := snapshot(t, conn)
		if oldest >= next {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("transaction %d is not over", oldest)
		}
	}
}

// snapshot reads the oldest transaction of the server that is not over, and the next to be.
func snapshot(t testing.TB, conn *pgx.Conn) (oldest, next int64) {
	t.Helper()
	const bounds = "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint FROM pg_current_snapshot() AS s"
	if err := conn.QueryRow(t.Context(), bounds).Scan(&oldest, &next); err != nil {
		t.Fatal("read the horizon: ", err)
	}
	return oldest, next
}

// Empty returns the URL of a database of the test's own in which nothing has been migrated.
func Empty(t testing.TB) string {
	t.Helper()
	return database(t, false)
}

// Own starts a server for this test alone and returns it with the URL of a migrated database on it: for tests that kill
// or restart the database. Unlike the shared one it syncs to disk, so what was committed must survive. It costs about
// two seconds.
func Own(t testing.TB) (*temppostgres.Server, string) {
	t.Helper()
	server, err := temppostgres.Start(t.Context(), temppostgres.Options{Durable: true, Private: true})
	if errors.Is(err, temppostgres.ErrNone) && os.Getenv(temppostgres.EnvURL) != "" {
		t.Skip("only a server elsewhere is at hand, and tests do not kill that one: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := server.CreateDatabase(t.Context(), "arauto", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	return server, url
}

func database(t testing.TB, migrated bool) string {
	t.Helper()
	source, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	template := ""
	if migrated {
		if template, err = source.template(); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("%s%d", source.prefix, source.count.Add(1))
	url, err := source.server.CreateDatabase(t.Context(), name, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := source.server.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return url
}

// source is where the databases of this process come from.
type source struct {
	server   *temppostgres.Server
	prefix   string    // of the names of all our databases
	claim    *pgx.Conn // holds the lock of the prefix, for as long as the process lives; nil when the server is ours
	count    atomic.Int64
	copied   bool                   // the server began with the template
	template func() (string, error) // the name of the migrated database that is copied; made at the first call
}

// The names of databases on a server of our own are this prefix and a number, or templateName.
const (
	ownPrefix    = "arauto_test_"
	templateName = "template"
)

// shared starts the one source of this process, once.
var shared = sync.OnceValues(func() (*source, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	model := readyCluster(ctx)
	server, err := temppostgres.Start(ctx, temppostgres.Options{Settings: settings(), CopyOf: model})
	if err != nil && model != nil { // what is kept may be torn, or of another build of PostgreSQL
		err, model = model.Discard(), nil
		if err == nil {
			server, err = temppostgres.Start(ctx, temppostgres.Options{Settings: settings()})
		}
	}
	if err != nil {
		return nil, err
	}
	s := &source{server: server, prefix: ownPrefix, copied: model != nil}
	if server.External() {
		if s.claim, s.prefix, err = claimPrefix(ctx, server.URL("postgres")); err != nil {
			return nil, fmt.Errorf("share the server of %s: %w", temppostgres.EnvURL, err)
		}
	}
	s.template = sync.OnceValues(s.migrate)
	return s, nil
})

// settings keep the server from vacuuming and analysing by itself: what a test counts, the plans it looks at and the transactions that
// are not over are its own, whenever it runs. A benchmark has the server of production.
func settings() []string {
	if bench := flag.Lookup("test.bench"); bench != nil && bench.Value.String() != "" {
		return nil
	}
	return []string{"autovacuum=off"}
}

// readyCluster is a cluster that has the template already, or nil: on a server that was started elsewhere, and where none can be kept.
func readyCluster(ctx context.Context) *temppostgres.Server {
	if os.Getenv(temppostgres.EnvURL) != "" {
		return nil
	}
	key, err := clusterKey()
	if err != nil {
		return nil
	}
	model, err := temppostgres.Kept(ctx, key, func(ctx context.Context, server *temppostgres.Server) error {
		url, err := server.CreateDatabase(ctx, ownPrefix+templateName, "")
		if err == nil {
			err = store.Migrate(ctx, url)
		}
		return err
	})
	if err != nil {
		return nil
	}
	return model
}

// clusterKey names what a migrated cluster is made of: the migrations, the code that runs them, and the month, for which they make partitions.
func clusterKey() (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, time.Now().UTC().Format("2006-01"))
	err := fs.WalkDir(migrations.Files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations.Files, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		return err
	})
	_, file, _, _ := runtime.Caller(0)
	for _, path := range []string{"internal/store/migrate.go", "go.sum"} {
		text, errRead := os.ReadFile(filepath.Join(filepath.Dir(file), "../../..", path))
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		err = errors.Join(err, errRead)
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// migrate makes the template, unless the cluster has it.
func (s *source) migrate() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	name := s.prefix + templateName
	if s.copied {
		return name, asJustMade(ctx, s.server.URL(name))
	}
	url, err := s.server.CreateDatabase(ctx, name, "")
	if err != nil {
		return "", err
	}
	unlock, err := lockRoles(ctx, s.server.URL("postgres"))
	if err != nil {
		return "", err
	}
	return name, errors.Join(store.Migrate(ctx, url), unlock(ctx))
}

// asJustMade gives a template that was kept the time of now: what is due an hour after the making is not due in a test.
func asJustMade(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the template: %w", err)
	}
	_, err = conn.Exec(ctx, "UPDATE arauto.log_verification SET ended_at = now()")
	return errors.Join(err, conn.Close(ctx))
}

// rolesLock is the key under which one process at a time migrates on a shared server: roles belong to the server and
// not to the database, and two processes would create the product's role at once.
const rolesLock = 0x6172_6175_0000_0000

// lockRoles waits for the lock and returns how to give it back.
func lockRoles(ctx context.Context, url string) (func(context.Context) error, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect for the lock on roles: %w", err)
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(rolesLock)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock roles: %w", err), conn.Close(ctx))
	}
	return conn.Close, nil // the lock ends with its connection
}

// prefixed is what a process's databases on a shared server are called: the key of its lock in eight hexadecimal digits,
// and a number or "template".
const prefixed = "arauto_test_%08x_"

// claimPrefix takes a prefix for this process's databases and drops those whose process is gone. The connection it
// returns holds the lock and is never closed by us: it ends with the process, which is the sign.
func claimPrefix(ctx context.Context, url string) (*pgx.Conn, string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, "", err
	}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	key := binary.BigEndian.Uint32(random[:])
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockOf(key)); err != nil {
		return nil, "", errors.Join(err, conn.Close(ctx))
	}
	if err := sweep(ctx, conn); err != nil {
		return nil, "", errors.Join(err, conn.Close(ctx))
	}
	return conn, fmt.Sprintf(prefixed, key), nil
}

// lockOf keeps the keys of prefixes apart from the lock on roles and from other users' advisory locks.
func lockOf(key uint32) int64 { return 0x6172_6176<<32 | int64(key) }

// sweep drops the databases whose process no longer holds its lock.
func sweep(ctx context.Context, conn *pgx.Conn) error {
	rows, _ := conn.Query(ctx, `SELECT datname FROM pg_database WHERE datname ~ '^arauto_test_[0-9a-f]{8}_'`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		var key uint32
		if _, err := fmt.Sscanf(name[:strings.LastIndexByte(name, '_')+1], prefixed, &key); err != nil {
			continue
		}
		var free bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockOf(key)).Scan(&free); err != nil {
			return err
		}
		if !free {
			continue
		}
		_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
		_, errUnlock := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", lockOf(key))
		if err := errors.Join(err, errUnlock); err != nil {
			return err
		}
	}
	return nil
}
