package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// barred is a house whose gateway follows a bus, as a database role of its own whose password stands in a file.
type barred struct {
	*foreign
	bus      *bus
	password string // the file
}

const serveRole = "arauto_serve"

func openBarred(t *testing.T) *barred {
	t.Helper()
	b, address := openBus(t)
	x := &barred{foreign: &foreign{house: open(t, stage.Options{Durable: true, Settings: unhurried})}, bus: b, password: filepath.Join(t.TempDir(), "password")}
	x.sql("CREATE ROLE " + serveRole + " LOGIN PASSWORD 'one' IN ROLE arauto_app")
	require.NoError(t, os.WriteFile(x.password, []byte("one\n"), 0o600))
	x.kill()
	u, err := url.Parse(x.Database)
	require.NoError(t, err)
	u.User = url.User(serveRole)
	x.start("ARAUTO_DATABASE_URL="+u.String(), "ARAUTO_DATABASE_PASSWORD_FILE="+x.password, "ARAUTO_WATCH_SOURCES="+b.mapping(address))
	return x
}

// sql acts as the owner of our database.
func (x *barred) sql(statement string) {
	x.t.Helper()
	conn, err := pgx.Connect(x.t.Context(), x.Database)
	require.NoError(x.t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(x.t.Context(), statement)
	require.NoError(x.t, err, statement)
}

// tells has the core publish payments that an initiator must hear of.
func (x *barred) tells(name string, n int) []string {
	x.t.Helper()
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%d", name, i))
		x.bus.tell("core.payments", ofb.PixPayment, "v4", ids[i], ofb.RJCT)
	}
	return ids
}

func (x *barred) arrive(ids []string) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	for _, id := range ids {
		_, err := x.good.Wait(ctx, 1, standin.For(id))
		require.NoError(x.t, err, id)
	}
}

// readyz asks the replica whether it is ready; 0: it does not answer.
func (x *barred) readyz() (code int, body string) {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), http.MethodGet, "http://"+x.replica.Ops+"/readyz", nil)
	require.NoError(x.t, err)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(x.t, err)
	return answer.StatusCode, string(text)
}

// barredUntil waits until readiness and the figures name the cause.
func (x *barred) barredUntil(cause string) {
	x.t.Helper()
	var body string
	x.until("readiness and the figures name "+cause, time.Minute, func() bool {
		var code int
		code, body = x.readyz()
		figures, err := x.replica.Metrics(x.t.Context())
		return err == nil && code == http.StatusServiceUnavailable &&
			strings.Contains(body, "cause "+cause) && strings.Contains(body, "source bus: waits, and nothing is acknowledged") &&
			strings.Contains(figures, `arauto_database_fault{cause="`+cause+`"} 1`) && strings.Contains(figures, `arauto_source_state{source="bus",state="waiting"} 1`)
	}, func() string { return body })
}

// redelivered counts the messages that the bus delivered more than once.
func (x *barred) redelivered() int {
	x.t.Helper()
	consumer, err := x.bus.js.Consumer(x.t.Context(), "CORE", "arauto")
	require.NoError(x.t, err)
	info, err := consumer.Info(x.t.Context())
	require.NoError(x.t, err)
	return info.NumRedelivered
}

// TestWhatKeepsUsFromWritingLosesNothingOfABus takes from the gateway its password, a right and a table, one after another,
// while the core goes on publishing. Nothing is acknowledged, put aside or delivered twice meanwhile, readiness and a figure
// name the cause, and everything is told once it is mended. Nobody restarts anything.
func TestWhatKeepsUsFromWritingLosesNothingOfABus(t *testing.T) {
	t.Parallel()
	x := openBarred(t)
	x.sql("UPDATE arauto.form SET dense = false") // so that every change needs the table that is renamed
	x.arrive(x.tells("before", 2))
	x.until("it is acknowledged", time.Minute, func() bool { return x.bus.waiting() == 0 })
	const ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + serveRole + "'"
	all := []string{"before-0", "before-1"}
	for _, c := range []struct {
		name, cause string
		breaks      func()
		mends       func()
	}{
		{"password", "credentials", func() {
			x.sql("ALTER ROLE " + serveRole + " PASSWORD 'two'")
			x.sql(ended)
		}, func() { require.NoError(t, os.WriteFile(x.password, []byte("two\n"), 0o600)) }},
		{
			"right", "rights",
			func() { x.sql("REVOKE INSERT ON arauto.entry FROM arauto_app") },
			func() { x.sql("GRANT INSERT ON arauto.entry TO arauto_app") },
		},
		{
			"table", "schema",
			func() { x.sql("ALTER TABLE arauto.revision RENAME TO revision_away") },
			func() { x.sql("ALTER TABLE arauto.revision_away RENAME TO revision") },
		},
		{
			"column", "schema",
			func() { x.sql("ALTER TABLE arauto.resource RENAME announced TO announced_away") },
			func() { x.sql("ALTER TABLE arauto.resource RENAME announced_away TO announced") },
		},
		{
			"read-only", "read-only",
			func() {
				x.sql("ALTER ROLE " + serveRole + " SET default_transaction_read_only = on")
				x.sql(ended)
			},
			func() {
				x.sql("ALTER ROLE " + serveRole + " RESET default_transaction_read_only")
				x.sql(ended)
			},
		},
	} {
		began := time.Now()
		c.breaks()
		ids := x.tells(c.name, 10)
		status, _, err := x.probe("http-" + c.name)
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, status, c.name)
		x.barredUntil(c.cause)
		require.Equal(t, 10, x.bus.waiting(), "%s: nothing is acknowledged", c.name)
		require.Zero(t, x.count("SELECT count(*) FROM arauto.quarantine"), c.name)
		c.mends()
		x.arrive(ids)
		x.until("all is acknowledged", time.Minute, func() bool { return x.bus.waiting() == 0 })
		x.until("the gateway is ready", time.Minute, func() bool {
			code, _ := x.readyz()
			return code == http.StatusOK
		})
		require.Zero(t, x.redelivered(), "%s: no delivery was spent", c.name)
		t.Logf("%s: %s", c.name, time.Since(began).Round(time.Millisecond))
		all = append(all, ids...)
	}
	got := told(x.good)
	for _, id := range all {
		require.Len(t, got[id], 1, id)
	}
	require.Len(t, got, len(all))
	require.Empty(t, x.openCases())
	require.Equal(t, len(all), x.count("SELECT count(*) FROM arauto.stored_revision WHERE resource_id = ANY ('{"+strings.Join(all, ",")+"}')"))
	x.oneRowAFact()
}
