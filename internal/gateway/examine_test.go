package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/storetest"
)

// settled are good settings, with every file and a database, of a gateway that does not run.
func settled(t *testing.T) (cfg *config.Config, dir string) {
	t.Helper()
	dir = t.TempDir()
	pki := mtlstest.PKI(t)
	writePKI(t, filepath.Join(dir, "pki"))
	set := &stage.Stage{Dir: dir, PKI: pki, Database: storetest.Database(t)}
	cfg, err := config.Read("", append(set.Environment(), "ARAUTO_REPLICA=test"))
	require.NoError(t, err)
	return cfg, dir
}

// serveRefuses starts a gateway and returns what it refuses to start for.
func serveRefuses(t *testing.T, cfg *config.Config) []string {
	t.Helper()
	g, err := New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err == nil {
		err = g.Start(t.Context())
		require.NoError(t, g.Stop())
	}
	if err == nil {
		return nil
	}
	var wrong *config.Error
	require.ErrorAs(t, err, &wrong)
	return wrong.Problems
}

func logKey(t *testing.T, file string, mode os.FileMode) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), mode))
	return file
}

// TestCheckRefusesWhatServeRefuses: each of these is a start with exit code 2, and check says the same before it.
func TestCheckRefusesWhatServeRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, c := range map[string]struct {
		spoil func(cfg *config.Config, dir string)
		want  string
	}{
		"a log key that others can read": {
			func(cfg *config.Config, dir string) { cfg.Log.Key = logKey(t, filepath.Join(dir, "log.key"), 0o644) },
			"log.key (ARAUTO_LOG_KEY): ",
		},
		"a secret for the OpenID provider that others can read": {
			func(cfg *config.Config, dir string) {
				secret := filepath.Join(dir, "client-secret")
				require.NoError(t, os.WriteFile(secret, []byte("a secret"), 0o644))
				cfg.Console.Addr, cfg.Console.BaseURL, cfg.Console.OIDC.Issuer = "127.0.0.1:0", "https://console.bank.example", "https://id.bank.example"
				cfg.Console.OIDC.ClientID, cfg.Console.OIDC.ClientSecretFile = "arauto", secret
			},
			"console.oidc.client_secret_file (ARAUTO_CONSOLE_OIDC_CLIENT_SECRET_FILE): ",
		},
		"an address in use": {
			func(cfg *config.Config, _ string) { cfg.Ops.Addr = taken.Addr().String() },
			"ops.addr (ARAUTO_OPS_ADDR): listen tcp " + taken.Addr().String() + ": bind: address already in use; stop what listens there, or name another port",
		},
		"an address of another machine": {
			func(cfg *config.Config, _ string) { cfg.Public.Addr = "192.0.2.1:8443" },
			"public.addr (ARAUTO_PUBLIC_ADDR): ",
		},
		"a state folder below a file": {
			func(cfg *config.Config, dir string) {
				cfg.StateDir = filepath.Join(dir, "pki", "trust", "roots.pem", "state")
			},
			"state_dir (ARAUTO_STATE_DIR): ",
		},
		"more slots than files may be open": {
			func(cfg *config.Config, _ string) { cfg.Dispatch.Slots = int(openFiles()) },
			"dispatch.slots (ARAUTO_DISPATCH_SLOTS): ",
		},
		"a database without our schema": {
			func(cfg *config.Config, _ string) { cfg.Database.URL = storetest.Empty(t) },
			"run arauto migrate",
		},
		"a database URL whose authorities are not there": {
			func(cfg *config.Config, _ string) {
				u, err := url.Parse(cfg.Database.URL)
				require.NoError(t, err)
				u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {"/absent.pem"}}.Encode()
				cfg.Database.URL = u.String()
			},
			"database.url (ARAUTO_DATABASE_URL): a file that it names cannot be read: open /absent.pem",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, dir := settled(t)
			c.spoil(cfg, dir)
			require.Contains(t, strings.Join(serveRefuses(t, cfg), "\n"), c.want)
			report, err := Examine(t.Context(), cfg, time.Now(), Whole)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, report.NotReady)
		})
	}
}

// TestCheckComparesTheKeyOfTheLogInProduction: serve refuses to run in production without the registered key.
func TestCheckComparesTheKeyOfTheLogInProduction(t *testing.T) {
	cfg, dir := settled(t)
	cfg.Profile, cfg.Webhook.AllowNetworks = config.Production, nil
	cfg.Log.Key = logKey(t, filepath.Join(dir, "log.key"), 0o600)
	_, err := Examine(t.Context(), cfg, time.Now(), Whole)
	require.ErrorContains(t, err, "no key is registered for the log of this database; run arauto audit register")

	h := open(t) // in development a replica registers a key of its own
	h.until("a key is registered", func() bool {
		key, err := h.g.auditlog.LogKey(context.WithoutCancel(t.Context()))
		return err == nil && key != nil
	})
	cfg.Database.URL = h.url
	_, err = Examine(t.Context(), cfg, time.Now(), Whole)
	require.ErrorContains(t, err, "is not the registered key of this database's log")
}

func TestCheckSaysWhatWouldKeepServeFromBeingReady(t *testing.T) {
	cfg, dir := settled(t)
	report, err := Examine(t.Context(), cfg, time.Now(), Whole)
	require.NoError(t, err)
	require.Empty(t, report.NotReady)
	require.Contains(t, strings.Join(report.Findings, "\n"), "is a superuser; give serve one that is a member of arauto_app and nothing more", "tests log in so")
	require.Contains(t, report.Unchecked, "endpoints of initiators: arauto preflight URL tries one")
	require.NoDirExists(t, cfg.StateDir)

	cfg.Signing.Published = filepath.Join(dir, "pki", "internal", "jwks.json")
	report, err = Examine(t.Context(), cfg, time.Now(), Whole)
	require.NoError(t, err, "serve starts, and answers no query")
	require.Len(t, report.NotReady, 1)
	require.Contains(t, report.NotReady[0], "keys: none of our 1 signing keys is in the published set")

	cfg.Signing.Published = ""
	cfg.Database.URL = "postgres://arauto@127.0.0.1:1/arauto"
	report, err = Examine(t.Context(), cfg, time.Now(), Whole)
	require.NoError(t, err, "serve waits for its database")
	require.Len(t, report.NotReady, 1)
	require.Contains(t, report.NotReady[0], "serve would wait for it")
}

// TestCheckOfflineAsksNobody gives it a database, addresses and a state folder that would each be noticed.
func TestCheckOfflineAsksNobody(t *testing.T) {
	cfg, dir := settled(t)
	door, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if c, err := door.Accept(); err == nil {
			_ = c.Close()
			t.Error("somebody was asked")
		}
	}()
	cfg.Database.URL = "postgres://arauto@" + door.Addr().String() + "/arauto"
	cfg.Internal.JWKS = "https://" + door.Addr().String() + "/jwks"
	cfg.Ops.Addr = door.Addr().String()
	cfg.StateDir = filepath.Join(dir, "pki", "trust", "roots.pem", "state")
	report, err := Examine(t.Context(), cfg, time.Now(), Offline)
	require.NoError(t, err)
	require.Empty(t, report.NotReady)
	require.Contains(t, strings.Join(report.Unchecked, "\n"), "the database, the addresses of the listeners, the state folder")
	require.NoError(t, door.Close())
	<-asked

	cfg.Log.Key = logKey(t, filepath.Join(dir, "log.key"), 0o644)
	cfg.Public.TLSKey = filepath.Join(dir, "absent.key")
	_, err = Examine(t.Context(), cfg, time.Now(), Offline)
	var wrong *config.Error
	require.ErrorAs(t, err, &wrong)
	require.Len(t, wrong.Problems, 2, "files are read: %v", err)
}

// TestCheckOfARunningReplicaLeavesItsAddressesOut: before an upgrade the new binary is tried beside the old one.
func TestCheckOfARunningReplicaLeavesItsAddressesOut(t *testing.T) {
	h := open(t)
	cfg := *h.g.cfg
	cfg.Ops.Addr, cfg.Public.Addr = h.g.Addr("ops"), h.g.Addr("public")
	_, err := Examine(t.Context(), &cfg, time.Now(), Whole)
	var wrong *config.Error
	require.ErrorAs(t, err, &wrong)
	require.Len(t, wrong.Problems, 2)
	report, err := Examine(t.Context(), &cfg, time.Now(), Running)
	require.NoError(t, err)
	require.Empty(t, report.NotReady)
	require.Contains(t, report.Unchecked, "the addresses of the listeners (--running)")
}
