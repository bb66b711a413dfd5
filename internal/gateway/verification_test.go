package gateway

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/ops"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/seal"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// signedLog is a database, and the key with which its entries are sealed.
type signedLog struct {
	t        *testing.T
	url      string
	auditlog *auditlog.Log
	owner    *pgx.Conn
	key      *audit.Signer // registered by the first sealing
}

func openSignedLog(t *testing.T) *signedLog {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p := &signedLog{t: t, url: storetest.Database(t), key: audit.NewSigner(key)}
	s, err := store.Open(t.Context(), store.Options{URL: p.url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	p.auditlog = auditlog.New(s.Access())
	p.owner, err = pgx.Connect(t.Context(), p.url)
	require.NoError(t, err)
	t.Cleanup(func() { p.owner.Close(t.Context()) })
	return p
}

func (p *signedLog) write(n int) {
	p.t.Helper()
	_, err := p.owner.Exec(p.t.Context(), "INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, $1)", n)
	require.NoError(p.t, err)
}

// sealed seals until the log has that many entries.
func (p *signedLog) sealed(size int64) {
	p.t.Helper()
	_, err := p.auditlog.RegisterLogKey(p.t.Context(), p.key.Public())
	require.NoError(p.t, err)
	require.Eventually(p.t, func() bool {
		out, err := p.auditlog.Seal(p.t.Context(), p.key)
		if err != nil {
			p.t.Error(err)
			return true
		}
		return out.Size >= size
	}, 30*time.Second, time.Millisecond)
}

// verifying is one replica's verification of a log, with its metrics and its own log.
type verifying struct {
	*seal.SelfVerifier
	auditlog *auditlog.Log
	metrics  *metrics.Metrics
	lines    *bytes.Buffer
}

func (p *signedLog) verifying() *verifying {
	p.t.Helper()
	s, err := store.Open(p.t.Context(), store.Options{URL: p.url, Replica: "test", Version: "0"})
	require.NoError(p.t, err)
	p.t.Cleanup(s.Close)
	l := auditlog.New(s.Access())
	m, lines := metrics.New("test"), &bytes.Buffer{}
	figures := metrics.NewSealObserver(m.Registry, time.Now())
	return &verifying{seal.NewVerifier(config.Standard(), l, l.LogKey, slog.New(slog.NewTextHandler(lines, nil)), figures), l, m, lines}
}

// asked is what /readyz answers.
func (v *verifying) asked() (int, string) {
	w := httptest.NewRecorder()
	ops.Handler(&ops.Readiness{Notes: func() []string { return v.Notes(false) }}, v.metrics.Handler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code, w.Body.String()
}

// series are the lines of /metrics about verification.
func (v *verifying) series() string {
	w := httptest.NewRecorder()
	v.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// passes makes as much time pass for the verifications of a scope as an interval says.
func (p *signedLog) passes(scope, interval string) {
	p.t.Helper()
	_, err := p.owner.Exec(p.t.Context(), "UPDATE arauto.log_verification SET ended_at = ended_at - $2::text::interval, fault_at = fault_at - $2::text::interval WHERE scope = $1", scope, interval)
	require.NoError(p.t, err)
}

func (p *signedLog) count(outcome string) (n int) {
	p.t.Helper()
	require.NoError(p.t, p.owner.QueryRow(p.t.Context(), "SELECT count(*) FROM arauto.entry WHERE kind = 'verification' AND outcome = $1", outcome).Scan(&n))
	return n
}

// TestAnAlteredEntryRaisesTheAlarmByItself is found F23: nobody has to ask whether the log is still what was signed.
func TestAnAlteredEntryRaisesTheAlarmByItself(t *testing.T) {
	t.Parallel()
	p := openSignedLog(t)
	replicas := []*verifying{p.verifying(), p.verifying()}
	first := replicas[0]
	for _, zero := range []string{
		`arauto_log_verification_failures_total{scope="since"} 0`, `arauto_log_verification_failures_total{scope="whole"} 0`, "arauto_log_verification_bad 0", "arauto_log_verified_size 0",
	} {
		require.Contains(t, first.series(), zero, "series are there from the start")
	}
	_, err := p.owner.Exec(t.Context(), `INSERT INTO arauto.entry (id, kind, client_id, facts)
SELECT gen_random_uuid(), 'change', 'itp', '{"occurredAt":"2026-11-28T12:00:00.000000Z"}' FROM generate_series(1, 20)`)
	require.NoError(t, err)
	p.sealed(20)
	require.NoError(t, first.Tick(t.Context()))
	require.Zero(t, p.count("ok"), "it is not due yet")
	p.passes("since", "1 hour")
	all := sync.WaitGroup{}
	for _, r := range replicas {
		all.Go(func() {
			if err := r.Tick(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, p.count("ok"), "one replica does it")
	require.NoError(t, first.Tick(t.Context())) // the other may have done it after this one looked
	require.Contains(t, first.series(), "arauto_log_verified_size 20")

	p.write(10)
	p.sealed(31)
	alter := func(before, after string) {
		_, err := p.owner.Exec(t.Context(), "SET session_replication_role = replica")
		require.NoError(t, err)
		_, err = p.owner.Exec(t.Context(), `UPDATE arauto.entry SET facts = replace(facts::text, $1, $2)::json WHERE id = (SELECT id FROM arauto.log_position WHERE seq = 7)`, before, after)
		require.NoError(t, err)
	}
	alter("12:00:00", "12:00:02")
	p.passes("since", "1 hour")
	require.NoError(t, first.Tick(t.Context()))
	require.Equal(t, 2, p.count("ok"), "what is new is right")
	bench, before := alarms.New(t, rulesFile), alarms.Gather(t, first.metrics.Registry)
	p.passes("whole", "7 days")
	require.NoError(t, first.Tick(t.Context()))
	bench.Rings(t, "ArautoLogVerificationBad", nil, before, alarms.Gather(t, first.metrics.Registry))
	require.Equal(t, 1, p.count("bad"))
	require.NoError(t, replicas[1].Tick(t.Context()))
	for _, r := range replicas {
		code, body := r.asked()
		require.Equal(t, 200, code, "the product serves")
		require.Contains(t, body, "first at position 7")
		require.Contains(t, r.series(), "arauto_log_verification_bad 1")
	}
	require.Contains(t, first.series(), `arauto_log_verification_failures_total{scope="whole"} 1`)
	require.Contains(t, first.lines.String(), "level=ERROR msg=\"the log is not what was signed\" scope=whole seq=7")

	alter("12:00:02", "12:00:00")
	require.NoError(t, first.Tick(t.Context()))
	_, body := first.asked()
	require.Contains(t, body, "position 7", "only a verification takes it back")
	p.passes("whole", "1 day")
	require.NoError(t, first.Tick(t.Context()))
	_, body = first.asked()
	require.NotContains(t, body, "notes")
	require.Contains(t, first.series(), "arauto_log_verification_bad 0")
	state, err := first.auditlog.LogVerification(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), state.Whole.OKAt, time.Minute)
}

// TestAVerificationThatDoesNotComeToAnEndRaisesTheAlarm: of what is new after three hours, of the whole log after two weeks.
func TestAVerificationThatDoesNotComeToAnEndRaisesTheAlarm(t *testing.T) {
	bench := alarms.New(t, rulesFile)
	for scope, ago := range map[string]string{auditlog.ScopeSince: "4 hours", auditlog.ScopeWhole: "15 days"} {
		p := openSignedLog(t)
		v := p.verifying()
		require.NoError(t, v.Tick(t.Context()))
		before := alarms.Gather(t, v.metrics.Registry)
		_, err := p.owner.Exec(t.Context(), "UPDATE arauto.log_verification SET ok_at = now() - $2::text::interval WHERE scope = $1", scope, ago)
		require.NoError(t, err)
		require.NoError(t, v.Tick(t.Context()))
		bench.Rings(t, "ArautoLogNotVerified", nil, before, alarms.Gather(t, v.metrics.Registry))
	}
}

// TestANewInstallationWaitsForItsFirstVerification: and a log without a key has nothing to verify.
func TestANewInstallationWaitsForItsFirstVerification(t *testing.T) {
	p := openSignedLog(t)
	v := p.verifying()
	p.passes("since", "1 hour")
	p.passes("whole", "8 days")
	p.write(3)
	require.NoError(t, v.Tick(t.Context()))
	require.Zero(t, p.count("ok"))
	require.Zero(t, p.count("bad"))
}
