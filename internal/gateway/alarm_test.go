package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api/bank"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/dispatch"
	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/reconcile"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// rulesFile are the alarms that operators load.
const rulesFile = "../../docs/operations/deploy/arauto.rules.yaml"

// scrape is what Prometheus would read now.
func (h *house) scrape() alarms.Scrape { return alarms.Scrape{Text: h.ops("/metrics"), At: time.Now()} }

// owner runs statements as the owner of the database, with triggers off: what somebody with all rights can do.
func (h *house) owner() *pgx.Conn {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), h.url)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(h.t.Context())) })
	_, err = conn.Exec(h.t.Context(), "SET session_replication_role = replica; SET search_path = arauto")
	require.NoError(h.t, err)
	return conn
}

func (h *house) run(conn *pgx.Conn, sql string, args ...any) {
	h.t.Helper()
	_, err := conn.Exec(h.t.Context(), sql, args...)
	require.NoError(h.t, err)
}

// above waits until a line of the metrics shows more than a value.
func (h *house) above(line string, value float64) {
	h.t.Helper()
	h.until(line+" to rise", func() bool { return h.metric(line) > value })
}

// later hands in a change of a clock that is ahead, whose first attempt falls due so much later, and returns its notification.
func (h *house) later(is certs.Participant, in time.Duration) string {
	h.t.Helper()
	id := uuid.NewString()
	a, err := h.core.Change(h.t.Context(), stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: is.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC().Add(in), NotBefore: new(time.Now().UTC().Add(in)),
		Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, id),
	})
	require.NoError(h.t, err)
	require.Len(h.t, a.Notifications, 1)
	return a.Notifications[0].ID
}

// putAside puts n cases into quarantine as the call of an earlier minute did.
func (h *house) putAside(n int) {
	h.t.Helper()
	h.run(h.owner(), `INSERT INTO quarantine (id, kind, resource_id, revision, content_hash, client_id, source, line, problems)
SELECT gen_random_uuid(), 'pix-payment', 'p' || n, n, 'x', 'itp', 'api', '{}', '[]' FROM generate_series(1, $1::int) n`, n)
}

// shows requires that an alarm is among those that the internal API tells of, which the console's first page shows.
func (h *house) shows(name string) {
	h.t.Helper()
	raised, err := operating{h.g}.Alarms(h.t.Context(), false)
	require.NoError(h.t, err)
	told, err := operating{h.g}.Alarms(h.t.Context(), true)
	require.NoError(h.t, err)
	for i := range told {
		require.NotEmpty(h.t, told[i].Detail)
		require.NotEqual(h.t, raised[i].Detail, told[i].Detail, "the detail of %s is in the reader's language", told[i].Name)
	}
	require.Condition(h.t, func() bool { return slices.ContainsFunc(raised, func(a bank.Alarm) bool { return a.Name == name }) }, "%v", raised)
}

// alarm is one rule, the labels beside its own, and what causes its condition for real in a gateway that was scraped before.
type alarm struct {
	name     string
	labels   map[string]string
	sealed   bool // a first checkpoint is there before
	settings func(h *house) []string
	cause    func(h *house)
}

func ringing() []alarm {
	return []alarm{
		{name: "ArautoLateFirstAttempts", cause: func(h *house) {
			h.initiator(certs.DefaultAlfa)
			id := uuid.NewString()
			_, err := h.core.Change(h.t.Context(), stage.Change{
				Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC().Add(-3 * time.Second),
				Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, id),
			})
			require.NoError(h.t, err)
			h.above("arauto_first_attempts_late_total", 0)
		}},
		{name: "ArautoNotificationsExhausted", cause: func(h *house) { // the third attempt is made of a notification that seems to have had two
			h.initiator(certs.DefaultAlfa).Answer("", standin.Refuse(http.StatusServiceUnavailable))
			id := h.later(certs.DefaultAlfa, 50*time.Second)
			h.run(h.owner(), "UPDATE queue SET attempts = 2, due_at = now() WHERE id = $1", id)
			h.above(`arauto_notifications_exhausted_total{kind="pix-payment"}`, 0)
		}},
		{name: "ArautoQueueAge", cause: func(h *house) { // a transaction that holds the row keeps every replica from claiming it
			h.initiator(certs.DefaultAlfa)
			id, owner := h.later(certs.DefaultAlfa, 50*time.Second), h.owner()
			h.run(owner, "BEGIN")
			h.run(owner, "SELECT FROM queue WHERE id = $1 FOR KEY SHARE", id)
			h.run(h.owner(), "UPDATE queue SET due_at = now() WHERE id = $1", id)
			h.above("arauto_queue_age_seconds", 5)
		}},
		{name: "ArautoDatabaseInterrupted", cause: func(h *house) {
			config, err := pgx.ParseConfig(h.url)
			require.NoError(h.t, err)
			name := config.Database
			config.Database = "postgres"
			conn, err := pgx.ConnectConfig(h.t.Context(), config)
			require.NoError(h.t, err)
			h.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(h.t.Context())) })
			allow := func(yes string) {
				_, err := conn.Exec(context.WithoutCancel(h.t.Context()), "ALTER DATABASE "+pgx.Identifier{name}.Sanitize()+" ALLOW_CONNECTIONS "+yes)
				require.NoError(h.t, err)
			}
			allow("false")
			h.t.Cleanup(func() { allow("true") })
			h.run(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
			h.above("arauto_dispatch_interrupted", 0)
		}},
		{name: "ArautoDatabaseRefuses", cause: func(h *house) {
			h.run(h.owner(), "REVOKE INSERT ON entry FROM arauto_app")
			_, err := h.core.Change(h.t.Context(), stage.Change{
				Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
				Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, uuid.NewString()),
			})
			require.ErrorContains(h.t, err, "503")
			h.above(`arauto_database_fault{cause="rights"}`, 0)
		}},
		{name: "ArautoFileRefused", cause: func(h *house) {
			h.replace("holder/server.pem", []byte("-----BEGIN CERTIFICATE-----\nnot yet\n"))
			h.above(`arauto_file_reloads_total{result="refused"}`, 0)
		}},
		{name: "ArautoTrustLeftOut", labels: map[string]string{"kind": "authorities"}, cause: func(h *house) { // an authority with a key on a curve that Go does not know, beside the root
			odd, err := os.ReadFile("../mtls/testdata/brainpool.crt")
			require.NoError(h.t, err)
			h.replace("trust/roots.pem", append(certs.CertPEM(h.pki.Root.Certificate), odd...))
			h.above(`arauto_trust_left_out{kind="authorities"}`, 0)
			require.Contains(h.t, h.ops("/readyz"), "Raiz Brainpool")
		}},
		{name: "ArautoCertificateExpiring", cause: func(h *house) { h.renewBRCAC(20 * 24 * time.Hour) }},
		{name: "ArautoCertificateEnding", cause: func(h *house) { h.renewBRCAC(5 * time.Hour) }},
		{name: "ArautoReceiverCertificateEnding", cause: func(h *house) {
			is := certs.DefaultAlfa
			h.initiatorWith(is, h.leaf(h.pki.ExpiringIn(h.pki.InitiatorServer(is), time.Since(h.pki.Now())+3*24*time.Hour)))
			_, a := h.change(is)
			h.settled(a, 1)
			h.above(`arauto_receiver_certificates{within="7"}`, 0)
		}},
		{name: "ArautoAttemptsRescued", cause: func(h *house) { // a claim of a replica that died a minute ago
			h.initiator(certs.DefaultAlfa)
			id, owner := h.later(certs.DefaultAlfa, 50*time.Second), h.owner()
			h.run(owner, `UPDATE queue SET token = gen_random_uuid(), interaction_id = gen_random_uuid(), attempts = 1, started_at = now() - interval '60 s',
				lease_until = now() - interval '40 s' WHERE id = $1`, id)
			h.above("arauto_attempts_rescued_total", 0)
		}},
		{name: "ArautoQuarantineGrowing", cause: func(h *house) {
			_, err := h.core.Change(h.t.Context(), stage.Change{
				Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(), Data: []byte(`{"paymentId":"a"}`),
			})
			require.ErrorContains(h.t, err, "422")
			h.above(`arauto_changes_total{kind="pix-payment",reason="",verdict="quarantined"}`, 0)
		}},
		{name: "ArautoQuarantineWaiting", cause: func(h *house) {
			h.putAside(1)
			h.run(h.owner(), "UPDATE quarantine SET first_at = now() - interval '25 hours'")
			require.NoError(h.t, h.g.measureQuarantine(h.t.Context()))
			h.above("arauto_quarantine_oldest_seconds", 86400)
			h.shows("ArautoQuarantineWaiting")
		}},
		{name: "ArautoQuarantineLarge", cause: func(h *house) { // many cases, of two sources together
			h.putAside(10_000)
			h.run(h.owner(), "UPDATE quarantine SET source = 'core' WHERE revision % 2 = 0")
			require.NoError(h.t, h.g.measureQuarantine(h.t.Context()))
			h.above(`arauto_quarantine_cases{source="core",state="open"}`, 4999)
			h.shows("ArautoQuarantineLarge")
		}},
		{name: "ArautoQuarantineLarge", cause: func(h *house) { // few cases, of large lines
			h.putAside(4096)
			h.run(h.owner(), "UPDATE quarantine SET line = convert_to(repeat('x', 65536), 'UTF8')")
			require.NoError(h.t, h.g.measureQuarantine(h.t.Context()))
			h.above(`arauto_quarantine_bytes{source="api"}`, 1<<28-1)
			h.shows("ArautoQuarantineLarge")
		}},
		{name: "ArautoDocumentsNonconforming", settings: func(*house) []string { return []string{"ARAUTO_SCHEMA_NONCONFORMING=tell"} }, cause: func(h *house) {
			h.initiator(certs.DefaultAlfa)
			a, err := h.core.Change(h.t.Context(), stage.Change{
				Kind: ofb.PixPayment.String(), ClientID: certs.DefaultAlfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
				Data: []byte(`{"paymentId":"a","status":"ACSC"}`),
			})
			require.NoError(h.t, err)
			h.settled(a, 1)
			h.above(`arauto_changes_nonconforming_total{kind="pix-payment"}`, 0)
		}},
		{name: "ArautoSpoolInUse", cause: func(h *house) {
			h.initiator(certs.DefaultAlfa)
			id, a := h.change(certs.DefaultAlfa)
			h.settled(a, 1)
			owner := h.owner()
			h.run(owner, "BEGIN")
			h.run(owner, "LOCK TABLE entry IN SHARE ROW EXCLUSIVE MODE")
			defer h.run(owner, "ROLLBACK")
			status, _, body, err := h.poller(certs.DefaultAlfa).get(id)
			require.NoError(h.t, err)
			require.Equal(h.t, http.StatusOK, status, body)
			h.above(`arauto_polls_kept_total{way="spooled"}`, 0)
		}},
		{name: "ArautoPanics", cause: func(h *house) { // a second dispatcher of this process, whose sender has a defect: it claims what falls due later
			d, err := dispatch.New(h.g.store, defect{}, dispatch.Config{}, slog.New(slog.DiscardHandler), h.g.metrics)
			require.NoError(h.t, err)
			ctx, stop := context.WithCancel(h.t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); _ = d.Run(ctx) }()
			defer func() { stop(); <-ended }()
			h.initiator(certs.DefaultAlfa)
			h.until("a panic", func() bool { h.later(certs.DefaultAlfa, time.Second); return h.metric("arauto_panics_total") > 0 })
		}},
		{name: "ArautoLogSealingStopped", sealed: true, cause: func(h *house) {
			h.run(h.owner(), "UPDATE log_position SET leaf = decode(repeat('00', 32), 'hex')")
			h.above("arauto_log_sealing_stopped", 0)
		}},
		{name: "ArautoTampering", sealed: true, cause: func(h *house) { // the owner of the tables puts a row behind the end of the log
			h.run(h.owner(), "INSERT INTO entry (id, xid, kind, facts) SELECT id, xid, 'change', '{}' FROM log_position ORDER BY seq LIMIT 1")
			h.initiator(certs.DefaultAlfa)
			h.above("arauto_log_strays_total", 0)
		}},
		{name: "ArautoTamperedRead", sealed: true, cause: func(h *house) { // a sealed entry is altered, and somebody reads it
			h.run(h.owner(), "UPDATE entry SET outcome = 'altered' WHERE id = (SELECT id FROM log_position ORDER BY seq LIMIT 1)")
			require.NoError(h.t, h.core.Call(h.t.Context(), http.MethodGet, "/internal/v1/audit/entries", nil, nil))
			h.above("arauto_tampered_reads_total", 0)
		}},
		{name: "ArautoLogHorizonStuck", cause: func(h *house) {
			owner := h.owner()
			h.run(owner, "BEGIN")
			h.run(owner, "SELECT pg_current_xact_id()")
			h.initiator(certs.DefaultAlfa)
			h.above("arauto_log_horizon_age_seconds", 10)
		}},
		{name: "ArautoLogCheckpointOld", sealed: true, cause: func(h *house) { // somebody holds the sealer's lock
			h.run(h.owner(), "SELECT pg_advisory_lock(hashtext('arauto.seal'))")
			h.initiator(certs.DefaultAlfa)
			_, a := h.change(certs.DefaultAlfa)
			h.settled(a, 1)
		}},
		{
			name: "ArautoLogNotAnchored",
			settings: func(h *house) []string {
				siem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
				h.t.Cleanup(siem.Close)
				return []string{"ARAUTO_LOG_ANCHOR_URL=" + siem.URL}
			},
			cause: func(h *house) {
				h.initiator(certs.DefaultAlfa)
				h.above(`arauto_log_anchor_failures_total{anchor="url"}`, 0)
			},
		},
		{
			name:     "ArautoRevocationEvidence",
			settings: listOfServers(time.Hour),
			cause: func(h *house) {
				h.replace("crl/servers.crl", h.listUntil(-30*time.Minute))
				h.until("the list that ended", func() bool { return strings.Contains(h.ops("/readyz"), "serves by soft-fail until") })
				h.until("its end among the figures", func() bool {
					return h.endsBefore("arauto_revocation_list_valid_until_seconds", time.Now())
				})
			},
		},
		{
			name:     "ArautoRevocationFallback",
			settings: listOfServers(-30 * time.Minute),
			cause: func(h *house) {
				h.initiator(certs.DefaultAlfa)
				_, a := h.change(certs.DefaultAlfa)
				h.settled(a, 1)
				h.above(`arauto_revocation_decisions_total{direction="receivers",evidence="soft-fail-crl",fallback="true",verdict="good"}`, 0)
			},
		},
	}
}

// defect is a sender that panics.
type defect struct{}

func (defect) Send(context.Context, notice.Attempt) (notice.Result, error) { panic("a defect") }

func listOfServers(left time.Duration) func(h *house) []string {
	return func(h *house) []string {
		h.replace("crl/servers.crl", h.listUntil(left))
		return []string{"ARAUTO_WEBHOOK_CRL=" + h.file("crl/servers.crl")}
	}
}

// listUntil is a revocation list that ends after a while, or ended before.
func (h *house) listUntil(left time.Duration) []byte {
	h.t.Helper()
	der, err := h.pki.CRL(h.pki.ServerCA, time.Now().Add(-2*time.Hour), time.Now().Add(left))
	require.NoError(h.t, err)
	return der
}

// endsBefore tells whether a metric that is an instant lies before another one.
func (h *house) endsBefore(name string, at time.Time) bool {
	for _, line := range strings.Split(h.ops("/metrics"), "\n") {
		if strings.HasPrefix(line, name+"{") {
			return h.metric(line[:strings.LastIndexByte(line, ' ')]) < float64(at.Unix())
		}
	}
	return false
}

// renewBRCAC replaces our client certificate by one that ends soon.
func (h *house) renewBRCAC(left time.Duration) {
	h.t.Helper()
	days := h.metric(`arauto_certificate_days_left{role="webhook-client"}`)
	leaf := h.leaf(h.pki.ExpiringIn(h.pki.HolderBRCAC(), time.Since(h.pki.Now())+left))
	h.replace("holder/brcac.pem", leaf.CertPEM())
	h.replace("holder/brcac.key", leaf.KeyPEM())
	h.until("the certificate that ends soon", func() bool {
		left := h.metric(`arauto_certificate_days_left{role="webhook-client"}`)
		return left >= 0 && left < days
	})
}

// TestEveryAlarmRingsTheFirstTimeItsConditionArises causes each condition in a whole gateway and has Prometheus' own evaluator
// judge what was scraped before and after.
func TestEveryAlarmRingsTheFirstTimeItsConditionArises(t *testing.T) {
	t.Parallel()
	bench := alarms.New(t, rulesFile)
	for _, a := range ringing() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			settings := a.settings
			if settings == nil {
				settings = func(*house) []string { return nil }
			}
			h := openAs(t, settings)
			h.until("the figures that are measured", func() bool { return h.metric(`arauto_certificate_days_left{role="webhook-client"}`) >= 0 })
			if a.sealed {
				h.initiator(certs.DefaultBeta)
				h.until("a first checkpoint", func() bool { return h.metric("arauto_log_checkpoint_time_seconds") > 0 })
			}
			before := h.scrape()
			a.cause(h)
			after := h.scrape()
			bench.Rings(t, a.name, a.labels, before, after)
			if strings.Contains(bench.Rule(a.name).Expr, "increase") && a.name != "ArautoLogCheckpointOld" {
				bench.Rings(t, a.name, a.labels, alarms.Scrape{}, after) // the replica counted before it was first scraped
			}
		})
	}
	t.Run("reconciliation", func(t *testing.T) {
		t.Parallel()
		reconciliationAlarms(t, bench)
	})
}

// requireFaketime makes the test of a moved clock fail rather than be skipped where libfaketime is not installed.
const requireFaketime = "ARAUTO_REQUIRE_FAKETIME"

func TestTheAlarmOfTheClocksRingsTheFirstTime(t *testing.T) {
	t.Parallel()
	bench := alarms.New(t, rulesFile)
	library, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	require.NoError(t, err)
	if len(library) == 0 {
		require.Empty(t, os.Getenv(requireFaketime), "libfaketime is not installed")
		t.Skip("libfaketime is not installed (Debian: apt-get install faketime)")
	}
	server, url := storetest.Own(t)
	g := &Gateway{cfg: config.Standard(), metrics: metrics.New("test")}
	g.store, err = store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	defer g.store.Close()
	require.NoError(t, g.checkDatabase(t.Context()))
	before := alarms.Gather(t, g.metrics.Registry)
	require.NoError(t, server.Restart(t.Context(), "LD_PRELOAD="+library[0], "FAKETIME=+4.5", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"))
	require.Eventually(t, func() bool { return g.checkDatabase(t.Context()) == nil }, time.Minute, 50*time.Millisecond, "the database answers again")
	bench.Rings(t, "ArautoClockSkew", nil, before, alarms.Gather(t, g.metrics.Registry))
}

// reconciliationAlarms runs the daily look of a replica on a database with a row that nothing explains, and that of a
// replica whose last one is 27 hours old.
func reconciliationAlarms(t *testing.T, bench *alarms.Bench) {
	url := storetest.Database(t)
	owner, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer owner.Close(t.Context())
	registry := prometheus.NewRegistry()
	daily := dailyOf(t, url, metrics.NewReconcileObserver(registry, time.Now()))
	require.NoError(t, reconcile.New(daily).Tick(t.Context()))
	before := alarms.Gather(t, registry)
	_, err = owner.Exec(t.Context(), `INSERT INTO arauto.queue (id, client_id, push_epoch, kind, resource_id, api_version, event, event_at, occurred_at, due_at)
VALUES (gen_random_uuid(), 'itp', 1, 2, 'stray', 'v5', '', now(), now(), now())`)
	require.NoError(t, err)
	daily.Began = time.Now().AddDate(0, 0, -2)
	require.NoError(t, reconcile.New(daily).Tick(t.Context()))
	bench.Rings(t, "ArautoReconciliationDifferences", nil, before, alarms.Gather(t, registry))

	_, err = owner.Exec(t.Context(), "SET session_replication_role = replica; UPDATE arauto.entry SET at = at - interval '27 hours' WHERE kind = 'reconciliation'")
	require.NoError(t, err)
	registry = prometheus.NewRegistry()
	off := dailyOf(t, url, metrics.NewReconcileObserver(registry, time.Now()))
	off.Settings.Reconcile.Enabled = false
	require.NoError(t, reconcile.New(off).Tick(t.Context()))
	bench.Rings(t, "ArautoReconciliationMissing", nil, alarms.Scrape{}, alarms.Gather(t, registry))
}

// dailyOf is the daily look of a replica that starts now.
func dailyOf(t *testing.T, url string, m *metrics.ReconcileObserver) reconcile.Options {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	cfg := config.Standard()
	cfg.StateDir = t.TempDir()
	return reconcile.Options{Settings: cfg, AuditLog: auditlog.New(s.Access()), Log: slog.New(slog.DiscardHandler), Observer: m, Endpoint: status.Endpoint, Began: time.Now()}
}

// TestEveryAlarmHasAPageATestAndARow holds the rules file, the pages and the tests against each other.
func TestEveryAlarmHasAPageATestAndARow(t *testing.T) {
	monitoring, err := os.ReadFile("../../docs/operations/monitoring.md")
	require.NoError(t, err)
	var tests strings.Builder
	for _, pattern := range []string{"*_test.go", "../../cmd/arauto/*_test.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			tests.Write(text)
		}
	}
	pages := map[string]bool{}
	for _, r := range alarms.Read(t, rulesFile) {
		require.Contains(t, string(monitoring), "`"+r.Alert+"`", "monitoring.md lists every alarm")
		require.Contains(t, tests.String(), `"`+r.Alert+`"`, "a test causes the condition of every alarm")
		require.NotEmpty(t, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary_pt"], r.Alert)
		page := r.Annotations["page"]
		require.FileExists(t, "../../"+page, r.Alert)
		pages[filepath.Base(page)] = true
	}
	all, err := filepath.Glob("../../docs/operations/alarm-*.md")
	require.NoError(t, err)
	for _, page := range all {
		require.True(t, pages[filepath.Base(page)], "%s explains an alarm that no rule raises", page)
	}
}

// TestEverySeriesThatAnAlarmCountsExistsFromTheStart reads a gateway to which nothing has happened.
func TestEverySeriesThatAnAlarmCountsExistsFromTheStart(t *testing.T) {
	h := open(t)
	text := h.ops("/metrics")
	counted := regexp.MustCompile(`increase\((arauto_[a-z_]+)(?:\{([a-z]+)(!?=)"([^"]+)"\})?`)
	for _, r := range alarms.Read(t, rulesFile) {
		for _, m := range counted.FindAllStringSubmatch(r.Expr, -1) {
			if strings.HasPrefix(m[1], "arauto_source_") || m[1] == "arauto_http_requests_total" {
				continue // there are none without a source, and no requests yet
			}
			want := m[1]
			if m[3] == "=" {
				want = m[1] + `\{[^}]*` + m[2] + `="` + m[4] + `"`
			}
			require.Regexp(t, `(?m)^`+want, text, "%s counts a series that is born with its first event", r.Alert)
		}
	}
}
