package browser

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/gateway"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// pageLimit is what a page may take, 95 of 100 (console, "Speed").
const pageLimit = 300 * time.Millisecond

// pageInitiators is how many are registered.
const pageInitiators = 10_000

// BenchmarkPages reports the 95th percentile of each page over a month of 100,000 entries of 10,000 initiators, or of so many as
// ARAUTO_BENCH_ENTRIES says. Entries are sealed and folded as in production. With ARAUTO_LONG=1 there are 10,000,000, and it fails
// when a page takes more than 300 ms. ARAUTO_BENCH_DATABASE names an empty database that is filled and stays, or one that an earlier
// run filled: then pages alone are measured, and what was not sealed and folded is.
func BenchmarkPages(b *testing.B) {
	entries := 100_000
	if os.Getenv("ARAUTO_LONG") == "1" {
		entries = 10_000_000
	}
	if n, err := strconv.Atoi(os.Getenv("ARAUTO_BENCH_ENTRIES")); err == nil {
		entries = n
	}
	database := benchDatabase(b)
	fillPages(b, database, entries)
	some := somePayment(b, database)
	browser, address := openConsole(b, database)
	for b.Loop() {
		for _, path := range []string{
			"/", "/?period=30d", "/find?q=" + some.interaction, "/resources/pix-payment/" + some.payment, "/notifications", "/notifications?count=client",
			"/notifications?clientId=client-1&state=exhausted", "/notifications?outcome=timeout", "/notifications?late=true", "/initiators", "/initiators?text=iniciadora+99", "/initiators?down=true", "/initiators/client-1", "/initiators/client-9000", "/late",
			"/late?clientId=client-1", "/sources", "/certificates", "/log", "/quarantine", "/requests", "/exports", "/holds",
			"/reconciliation", "/access", "/settings", "/manual",
		} {
			measurePage(b, browser, address, path)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// benchDatabase is the database that the environment names, or one of the benchmark's own.
func benchDatabase(b *testing.B) string {
	b.Helper()
	database := os.Getenv("ARAUTO_BENCH_DATABASE")
	if database == "" {
		return storetest.Database(b)
	}
	require.NoError(b, store.Migrate(b.Context(), database))
	return database
}

// measurePage asks for a page often enough for a 95th percentile.
func measurePage(b *testing.B, browser *http.Client, address, path string) {
	const times = 40
	var took []time.Duration
	for range times {
		began := time.Now()
		status, at, _ := fetchPage(b, browser, http.MethodGet, address+path, nil)
		require.Equal(b, http.StatusOK, status, path)
		if !strings.HasPrefix(path, "/find") { // one hit opens, and the page that it opens is a part of the answer
			require.Equal(b, path, at, "another page was answered")
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	p95 := took[times*95/100]
	b.Logf("%-34s p50 %8s  p95 %8s  max %8s", path, took[times/2].Round(100*time.Microsecond), p95.Round(100*time.Microsecond), took[times-1].Round(100*time.Microsecond))
	b.ReportMetric(float64(p95.Microseconds())/1000, strings.NewReplacer("/", "_", "?", "_", "=", "_", "+", "_").Replace(path)+"-p95-ms")
	if os.Getenv("ARAUTO_LONG") == "1" && p95 > pageLimit {
		b.Errorf("%s takes %s, and may take %s", path, p95, pageLimit)
	}
}

// fetchPage returns the status, the path and query that answered after redirects, and the page.
func fetchPage(b *testing.B, browser *http.Client, method, address string, form url.Values) (status int, at, page string) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, address, strings.NewReader(form.Encode()))
	require.NoError(b, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	got, err := browser.Do(r)
	require.NoError(b, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(b, err)
	return got.StatusCode, got.Request.URL.RequestURI(), string(text)
}

// benchPayment is a payment of the month, and the interaction id of its first attempt.
type benchPayment struct{ payment, interaction string }

func somePayment(b *testing.B, database string) (some benchPayment) {
	b.Helper()
	owner, err := pgx.Connect(b.Context(), database)
	require.NoError(b, err)
	defer func() { _ = owner.Close(context.WithoutCancel(b.Context())) }()
	err = owner.QueryRow(b.Context(), "SELECT resource_id, interaction_id::text FROM arauto.entry WHERE kind = 'change' AND interaction_id IS NOT NULL AND resource_kind = $1 LIMIT 1",
		int16(ofb.PixPayment)).Scan(&some.payment, &some.interaction)
	require.NoError(b, err)
	return some
}

// fillPages makes a month of entries of many initiators, and seals and folds them.
func fillPages(b *testing.B, database string, entries int) {
	b.Helper()
	began := time.Now()
	owner, err := pgx.Connect(b.Context(), database)
	require.NoError(b, err)
	defer func() { _ = owner.Close(context.WithoutCancel(b.Context())) }()
	do := func(sql string, args ...any) {
		b.Helper()
		_, err := owner.Exec(b.Context(), sql, args...)
		require.NoError(b, err)
	}
	do("SET synchronous_commit = off; SET search_path = arauto")
	var filled bool
	require.NoError(b, owner.QueryRow(b.Context(), "SELECT EXISTS (SELECT FROM entry)").Scan(&filled))
	if !filled {
		do(`INSERT INTO initiator (client_id, organisation_id, software_id, name, webhook_uris, push)
SELECT 'client-' || n, gen_random_uuid(), gen_random_uuid(), 'Iniciadora ' || n, json_build_array('https://client-' || n || '.example.com/hook'), true FROM generate_series(0, $1 - 1) n`, pageInitiators)
		makeMonth(b, database, entries)
	}
	do("ANALYZE entry")
	do(`SELECT brin_summarize_new_values(inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'entry_walk'::regclass`) // as autovacuum does while entries come one by one
	sealPages(b, database)
	do("VACUUM (ANALYZE) entry")
	do("VACUUM (ANALYZE) log_position")
	do("VACUUM (ANALYZE) figures_hour")
	var there int64
	require.NoError(b, owner.QueryRow(b.Context(), "SELECT count(*) FROM entry").Scan(&there))
	b.Logf("%d entries, filled in %s", there, time.Since(began).Round(time.Second))
}

// tellProgress logs each million of entries that something has passed, from one number to the next.
func tellProgress(b *testing.B, what string, from, to int64, began time.Time) {
	b.Helper()
	const million = 1_000_000
	if to/million > from/million {
		b.Logf("%s %d entries after %s", what, to, time.Since(began).Round(time.Second))
	}
}

// pageKey is the key of the log, the same in each run.
func pageKey() *audit.Signer {
	seed := sha256.Sum256([]byte("the benchmark of pages"))
	return audit.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
}

// sealPages seals and folds what is not, with the same key in each run.
func sealPages(b *testing.B, database string) {
	b.Helper()
	began := time.Now()
	s, err := store.Open(b.Context(), store.Options{URL: database, Replica: "bench", Version: "0"})
	require.NoError(b, err)
	defer s.Close()
	l, key := auditlog.New(s.Access()), pageKey()
	_, err = l.RegisterLogKey(b.Context(), key.Public())
	require.NoError(b, err)
	sealed := 0
	for more := true; more; {
		out, err := l.Seal(b.Context(), key)
		require.NoError(b, err)
		tellProgress(b, "sealed", int64(sealed), int64(sealed+out.Entries), began)
		sealed += out.Entries
		more = out.More || out.Busy
	}
	b.Logf("%d sealed in %s", sealed, time.Since(began).Round(time.Second))
	began = time.Now()
	folded := int64(0)
	for more := true; more; {
		out, err := l.Fold(b.Context())
		require.NoError(b, err)
		tellProgress(b, "folded", folded, folded+out.Entries, began)
		folded += out.Entries
		more = out.More
	}
	took := time.Since(began)
	b.Logf("%d folded in %s, %s an entry", folded, took.Round(time.Second), (took / time.Duration(max(1, folded))).Round(100*time.Nanosecond))
}

// openConsole serves the console and signs in.
func openConsole(b *testing.B, database string) (*http.Client, string) {
	b.Helper()
	dir, pki := b.TempDir(), mtlstest.PKI(b)
	require.NoError(b, pki.Write(filepath.Join(dir, "pki"), certs.Content{}))
	set := &stage.Stage{Dir: dir, PKI: pki, Database: database}
	cfg, err := config.Read("", append(set.Environment(), "ARAUTO_REPLICA=bench", "ARAUTO_CONSOLE_ADDR=127.0.0.1:0"))
	require.NoError(b, err)
	g, err := gateway.New(b.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	b.Cleanup(func() { _ = g.Stop() })
	require.NoError(b, g.Start(b.Context()))
	link, err := set.SignInLink(b.Context(), &stage.Replica{Console: g.Addr("console")})
	require.NoError(b, err)
	jar, err := cookiejar.New(nil)
	require.NoError(b, err)
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	b.Cleanup(browser.CloseIdleConnections)
	status, _, _ := fetchPage(b, browser, http.MethodGet, link, nil)
	require.Equal(b, http.StatusOK, status)
	status, _, text := fetchPage(b, browser, http.MethodPost, link, url.Values{"name": {"bench"}, "role": {"operator", "auditor", "registrar"}})
	require.Equal(b, http.StatusOK, status, text)
	return browser, "http://" + g.Addr("console")
}
