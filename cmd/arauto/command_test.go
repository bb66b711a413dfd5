package main

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
)

func TestHelpListsEveryCommandAndVersionNamesTheProduct(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {}} {
		got := call(t, time.Minute, nil, args...)
		require.Equal(t, done, got.code, args)
		for _, name := range []string{"serve", "migrate", "demo", "check", "explain", "certs", "version", "help"} {
			require.Contains(t, got.out, "\n  "+name+" ", args)
		}
	}
	got := call(t, time.Minute, nil, "version")
	require.Equal(t, done, got.code)
	require.Equal(t, "arauto "+version+"\n", got.out)
}

func TestAWrongCommandLineIsCode2AndSaysWhereToLook(t *testing.T) {
	for _, args := range [][]string{{"serv"}, {"serve", "--port", "1"}, {"serve", "now"}, {"version", "2"}, {"certs"}, {"serve", "--config"}} {
		got := call(t, time.Minute, nil, args...)
		require.Equal(t, usage, got.code, args)
		require.Contains(t, got.errors, "arauto help", args)
		require.Empty(t, got.out, args)
	}
	got := call(t, time.Minute, nil, "serve", "--config", filepath.Join(t.TempDir(), "absent.yaml"))
	require.Equal(t, usage, got.code)
	require.Contains(t, got.errors, "--config")
}

func TestADatabaseThatCannotBeReachedIsCode1ForMigrate(t *testing.T) {
	got := call(t, time.Minute, []string{"ARAUTO_DATABASE_URL=postgres://arauto:" + secret + "@127.0.0.1:1/arauto"}, "migrate")
	require.Equal(t, failed, got.code)
	require.NotContains(t, got.errors, secret)
	got = call(t, time.Minute, nil, "migrate")
	require.Equal(t, usage, got.code)
	require.Contains(t, got.errors, "database.url (ARAUTO_DATABASE_URL)")
}

// TestTheTableOfSettingsSuffices starts the product as its page says: migrate with the database alone, serve with the
// settings of the table and nothing else, in development.
func TestTheTableOfSettingsSuffices(t *testing.T) {
	t.Parallel()
	database := storetest.Empty(t)
	set := settings(t, folder(t), database)
	refused := call(t, 20*time.Second, environ(set), "check")
	require.Equal(t, usage, refused.code)
	require.Contains(t, refused.errors, "run arauto migrate")
	require.Zero(t, tables(t, database), "check touched the database")

	got := call(t, time.Minute, []string{"ARAUTO_DATABASE_URL=" + database}, "migrate")
	require.Equal(t, done, got.code, got.errors)
	checked := call(t, time.Minute, environ(set), "check")
	require.Equal(t, done, checked.code, checked.errors)
	require.Contains(t, checked.out, "check: ok")
	require.Contains(t, checked.out, "database.url")
	require.NotContains(t, checked.out, password(t, database), "check shows the database's password")

	cmd := product("serve")
	cmd.Env = append(environ(set), envMain+"=1")
	cmd.Dir = t.TempDir()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	lines, ops := json.NewDecoder(out), ""
	for ops == "" {
		var line struct{ Msg, Listener, Address string }
		require.NoError(t, lines.Decode(&line), "serve ended before it listened")
		if line.Msg == "listening" && line.Listener == "ops" {
			ops = line.Address
		}
	}
	go func() {
		var line any
		for lines.Decode(&line) == nil {
			line = nil
		}
	}()
	require.Eventually(t, func() bool { return status(t, "http://"+ops+"/readyz") == http.StatusOK }, time.Minute, 20*time.Millisecond)
	require.Equal(t, http.StatusOK, status(t, "http://"+ops+"/healthz"))
	require.DirExists(t, filepath.Join(cmd.Dir, "state"), "the default state folder is ./state")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

func status(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// tables counts what the product made in a database.
func tables(t *testing.T, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'arauto'").Scan(&n))
	return n
}

func password(t *testing.T, url string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	if cfg.Password == "" {
		return strings.Repeat("no password", 2)
	}
	return cfg.Password
}

// TestTheExitCodeOfCheckTellsWhetherServeWouldStart: 1 means that it would, and not be ready.
func TestTheExitCodeOfCheckTellsWhetherServeWouldStart(t *testing.T) {
	set := settings(t, folder(t), "postgres://arauto@127.0.0.1:1/arauto")
	set["ARAUTO_STATE_DIR"] = filepath.Join(t.TempDir(), "state")
	away := call(t, time.Minute, environ(set), "check")
	require.Equal(t, failed, away.code, away.errors)
	require.Contains(t, away.errors, "arauto: not ready: database: ")
	require.Contains(t, away.errors, "serve would wait for it")
	require.NotContains(t, away.out, "check: ok")
	require.Contains(t, away.out, "not checked: endpoints of initiators")

	offline := call(t, time.Minute, environ(set), "check", "--offline")
	require.Equal(t, done, offline.code, offline.errors)
	require.Contains(t, offline.out, "check: ok")
	require.Contains(t, offline.out, "not checked: the database")
	require.NotContains(t, offline.out, "WARNING public.client_ca")

	issuing := set["ARAUTO_PUBLIC_CLIENT_CA"]
	set["ARAUTO_PUBLIC_CLIENT_CA"] = set["ARAUTO_WEBHOOK_ROOT_CA"]
	above := call(t, time.Minute, environ(set), "check", "--offline")
	require.Equal(t, done, above.code, above.errors)
	require.Contains(t, above.out, "WARNING public.client_ca: ")
	set["ARAUTO_PUBLIC_CLIENT_CA"] = issuing

	wrong := "ARAUTO_PUBLIC_" + "TLSCERT"
	set[wrong] = secret
	for _, command := range []string{"check", "serve", "migrate"} {
		refused := call(t, time.Minute, environ(set), command)
		require.Equal(t, usage, refused.code, command)
		require.Contains(t, refused.errors, wrong+": no setting has this variable; did you mean ARAUTO_PUBLIC_TLS_CERT?")
		require.NotContains(t, refused.errors+refused.out, secret)
	}
	delete(set, "ARAUTO_SIGNING_KID")
	refused := call(t, time.Minute, environ(set), "serve")
	require.Contains(t, refused.errors, wrong+": no setting has this variable")
	require.Contains(t, refused.errors, "signing.kid (ARAUTO_SIGNING_KID): is not set", "everything that is wrong is said at once")
	both := call(t, time.Minute, nil, "check", "--offline", "--running")
	require.Equal(t, usage, both.code)
}
