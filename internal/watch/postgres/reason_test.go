package postgres

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told is what Check says where no connection was made: one line, that repeats neither itself nor the password.
func told(t *testing.T, r *Reader, within time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	found := r.Check(ctx)
	require.Len(t, found, 1)
	text := found[0].Error()
	for _, not := range []string{"\n", "failed to connect", "user=", "geheim"} {
		require.NotContains(t, text, not)
	}
	return text
}

func TestAConnectionThatIsNotMadeIsToldInOneLineWithItsCure(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	for end, want := range map[string]string{
		"127.0.0.1:1/core?sslmode=disable":     "127.0.0.1:1 (127.0.0.1): dial error: dial tcp 127.0.0.1:1: connect: connection refused; nothing listens there: ",
		"127.0.0.1:1/core?sslmode=require":     "connection refused; nothing listens there: ",
		"127.0.0.1:1/core?sslmode=verify-full": "connection refused; nothing listens there: ",
		"127.0.0.1:1/core":                     "connection refused; nothing listens there: ",
		"a..b:1/core?sslmode=disable":          "; correct the host in it",
	} {
		require.NoError(t, os.WriteFile(file, []byte("postgres://u:geheim@"+end), 0o600))
		r, err := New(Config{URLFile: file}, Options{Tables: []string{"payments"}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		text := told(t, r, time.Minute)
		require.True(t, strings.HasPrefix(text, "url_file "+file+": user u, database core: "), "%s: %s", end, text)
		require.Contains(t, text, want, end)
		r.Close()
	}
}

// TestAHostThatDoesNotAnswerIsNamed: a firewall drops what we send, or something else listens there and stays silent.
func TestAHostThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r, err := New(Config{URL: "postgres://u:geheim@" + silent.Addr().String() + ",127.0.0.1:1/core"}, Options{Tables: []string{"payments"}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer r.Close()
	defer silent.Close() // before the reader, whose attempt ends with it
	require.Equal(t, "url: user u, database core: no answer in time from "+silent.Addr().String()+", 127.0.0.1:1; correct the host or the port in it, or let the firewall on the way pass the connection",
		told(t, r, 200*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = r.Facts(ctx, "payments")
	require.ErrorContains(t, err, "look up the tables: url: user u, database core: no answer in time from ", "suggest asks so")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = r.replication(ctx)
	require.ErrorContains(t, err, "or let the firewall on the way pass the connection", "the stream has its own connection")
}

func TestAServerThatRefusesSaysWhatItsAdministratorDoes(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	role, as := c.role()
	c.exec("ALTER ROLE " + role + " NOLOGIN")
	text := told(t, c.reader(as), time.Minute)
	require.Contains(t, text, "; correct the user in it, or let a superuser give an existing role the right: ALTER ROLE \""+role+"\" LOGIN")
	require.NotContains(t, text, "pg_hba.conf")
	c.exec("ALTER ROLE " + role + " LOGIN")
	c.exec("REVOKE CONNECT ON DATABASE " + c.slot + " FROM PUBLIC")
	require.Contains(t, told(t, c.reader(as), time.Minute), "GRANT CONNECT ON DATABASE")
}

// TestASlowQueryIsNoConnectionThatWasNotMade: its host answered.
func TestASlowQueryIsNoConnectionThatWasNotMade(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil)
	r := c.reader(nil)
	require.NoError(t, r.queryRow(t.Context(), "SELECT 1").Scan(new(int)))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := r.queryRow(ctx, "SELECT pg_sleep(60)").Scan(nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, err, r.unreached(err))
}

// TestASchemaThatTheRoleMayNotUseIsNamedAndHidesNoOtherTable: the server refuses to look up a name in it.
func TestASchemaThatTheRoleMayNotUseIsNamedAndHidesNoOtherTable(t *testing.T) {
	t.Parallel()
	c := newCore(t, nil, "CREATE SCHEMA app", "CREATE TABLE app.orders (id int PRIMARY KEY)", `CREATE TABLE app."Closed ""one""" (id int PRIMARY KEY)`)
	role, as := c.role()
	c.exec("ALTER ROLE " + role + " REPLICATION; GRANT SELECT ON payments, app.orders TO " + role)
	c.exec("CREATE PUBLICATION " + c.slot + " FOR TABLE payments, app.orders")
	never := func(o *Config, p *Options) { as(o, p); o.Snapshot = Never }
	r := c.reader(func(o *Config, p *Options) { never(o, p); p.Joined = []string{`app.Closed "one"`} }, "payments", "app.orders", "Orders")
	check := func() (all []string) {
		for _, err := range r.Check(t.Context()) {
			all = append(all, strings.ReplaceAll(err.Error(), role, "R"))
		}
		return all
	}
	all := check()
	require.Len(t, all, 3, "%v", all)
	const usage, grant = `let the owner of its schema run: GRANT USAGE ON SCHEMA "app" TO "R"`, `let its owner run: GRANT SELECT ON "app"."Closed ""one""" TO "R"`
	require.Equal(t, "the role may not read app.orders: "+usage, all[0])
	require.True(t, strings.HasSuffix(all[1], "; the role may read: payments"), all[1])
	require.Equal(t, `the role may not read app.Closed "one": `+usage+"; "+grant, all[2])
	columns, err := r.Describe(t.Context(), []string{"payments", "app.orders", "app.none"})
	require.NoError(t, err)
	require.Len(t, columns, 2)
	_, err = r.Facts(t.Context(), "app.orders")
	require.ErrorContains(t, err, "GRANT USAGE ON SCHEMA")

	h := newHand()
	run := read(t, c.reader(never, "payments", "app.orders"), h) // the stream needs neither right
	c.reading()
	c.exec("INSERT INTO app.orders VALUES (1)")
	require.Equal(t, []string{"insert app.orders id=1"}, briefs(h.take(t, 1)))
	require.NoError(t, run.end())

	for _, statement := range []string{usage, grant} {
		_, statement, _ = strings.Cut(statement, "run: ")
		c.exec(strings.ReplaceAll(statement, `"R"`, role))
	}
	all = check()
	require.Len(t, all, 1, "%v", all)
	require.True(t, strings.HasSuffix(all[0], `; the role may read: app.orders, app.Closed "one", payments`), all[0])
}
