package gateway

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/storetest"
)

// proof is a database and the sealers of the replicas that share it.
type proof struct {
	t     *testing.T
	url   string
	store *store.Store
	owner *pgx.Conn

	metrics map[*sealer]*metrics
}

func openProof(t *testing.T) *proof {
	t.Helper()
	p := &proof{t: t, url: storetest.Database(t), metrics: map[*sealer]*metrics{}}
	var err error
	p.store, err = store.Open(t.Context(), store.Options{URL: p.url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(p.store.Close)
	p.owner, err = pgx.Connect(t.Context(), p.url)
	require.NoError(t, err)
	t.Cleanup(func() { p.owner.Close(t.Context()) })
	return p
}

func (p *proof) sealer(profile, dir, key string, anchorURL string) (*sealer, error) {
	cfg := standard()
	cfg.Profile, cfg.StateDir, cfg.Log.Key, cfg.Log.AnchorURL = profile, dir, key, anchorURL
	m := newMetrics("test")
	s, err := newSealer(cfg, p.store, slog.New(slog.DiscardHandler), m)
	p.metrics[s] = m
	return s, err
}

func (p *proof) must(s *sealer, err error) *sealer {
	p.t.Helper()
	require.NoError(p.t, err)
	return s
}

// value reads a gauge of a sealer; labels are the values of its labels.
func (p *proof) value(s *sealer, name string, labels ...string) float64 {
	p.t.Helper()
	families, err := p.metrics[s].registry.Gather()
	require.NoError(p.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == "arauto_log_"+name && slices.Equal(values, labels) {
				return m.GetGauge().GetValue()
			}
		}
	}
	p.t.Fatal("there is no gauge ", name)
	return 0
}

func (p *proof) write(n int) {
	p.t.Helper()
	_, err := p.owner.Exec(p.t.Context(), "INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, $1)", n)
	require.NoError(p.t, err)
}

// sealed runs rounds until the log has that many entries.
func (p *proof) sealed(s *sealer, size int) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		if err := s.round(p.t.Context()); err != nil {
			p.t.Error(err)
			return true
		}
		return int(p.value(s, "size")) >= size
	}, 30*time.Second, time.Millisecond)
}

func TestTheFirstReplicaMakesTheLogsKeyAndOthersWithoutItDoNotSeal(t *testing.T) {
	p := openProof(t)
	shared, apart := t.TempDir(), t.TempDir()
	first := p.must(p.sealer(Development, shared, "", ""))
	p.write(10)
	p.sealed(first, 10)
	info, err := os.Stat(filepath.Join(shared, "log.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(filepath.Join(shared, "log.pub.pem"))
	require.NoError(t, err)
	public, err := audit.ParsePublic(text)
	require.NoError(t, err)
	registered, err := p.store.LogKey(t.Context())
	require.NoError(t, err)
	require.True(t, public.Equal(registered))

	neighbour := p.must(p.sealer(Development, shared, "", ""))
	p.write(5)
	p.sealed(neighbour, 15)

	stranger := p.must(p.sealer(Development, apart, "", ""))
	require.ErrorIs(t, stranger.round(t.Context()), errNoKey)
	entries, err := os.ReadDir(apart)
	require.NoError(t, err)
	require.Empty(t, entries, "no second key")
	verdict, err := store.Verify(t.Context(), p.url, public, nil)
	require.NoError(t, err)
	require.Equal(t, int64(15), verdict.Entries)
}

func TestProductionRefusesToStartWithoutTheRegisteredKey(t *testing.T) {
	p := openProof(t)
	dir := t.TempDir()
	cfg := standard()
	require.ErrorContains(t, cfg.Check(), "log.key (ARAUTO_LOG_KEY): is not set")
	_, err := p.sealer(Production, dir, filepath.Join(dir, "absent.key"), "")
	require.ErrorContains(t, err, "log.key (ARAUTO_LOG_KEY)")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	text, err := audit.MarshalPrivate(key)
	require.NoError(t, err)
	name := filepath.Join(dir, "mine.key")
	require.NoError(t, os.WriteFile(name, text, 0o600))
	require.NoError(t, os.Chmod(name, 0o644))
	_, err = p.sealer(Production, dir, name, "")
	require.ErrorContains(t, err, "set it to 0600")
	require.NoError(t, os.Chmod(name, 0o600))
	s := p.must(p.sealer(Production, dir, name, ""))
	require.ErrorContains(t, s.refuse(t.Context()), "no key is registered")
	require.ErrorIs(t, s.round(t.Context()), store.ErrWrongKey, "and if the database was away at start, nothing is sealed later")
	registered, err := p.store.LogKey(t.Context())
	require.NoError(t, err)
	require.Nil(t, registered, "no silent new log")
	require.NoError(t, store.RegisterLogKey(t.Context(), p.url, key.Public().(ed25519.PublicKey)))
	require.NoError(t, s.refuse(t.Context()))
	p.write(3)
	p.sealed(s, 3)

	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	text, err = audit.MarshalPrivate(other)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, text, 0o600))
	s = p.must(p.sealer(Production, dir, name, ""))
	require.ErrorContains(t, s.refuse(t.Context()), "is not the registered key")
	require.ErrorIs(t, s.round(t.Context()), store.ErrWrongKey)
}

func TestCheckpointsAreCarriedToEveryAnchor(t *testing.T) {
	p := openProof(t)
	up := false
	var posted []byte
	siem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posted, _ = io.ReadAll(r.Body)
		if !up {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer siem.Close()
	s := p.must(p.sealer(Development, t.TempDir(), "", siem.URL))
	file, post := s.carriers[0], s.carriers[1]
	p.write(4)
	p.sealed(s, 4)
	require.EqualError(t, s.deliver(t.Context(), post), "a checkpoint is not anchored: anchor url: log.anchor_url answered 503")
	require.NoError(t, s.deliver(t.Context(), file), "one that fails keeps no other from getting it")
	var anchored bool
	mark := "SELECT anchored_through > '-infinity' FROM arauto.seal_state"
	require.NoError(t, p.owner.QueryRow(t.Context(), mark).Scan(&anchored))
	require.False(t, anchored)
	require.InDelta(t, 0, p.value(s, "anchored_time_seconds", "url"), 0)
	require.InDelta(t, time.Now().Unix(), p.value(s, "anchored_time_seconds", "file"), 60)
	up = true
	require.NoError(t, s.deliver(t.Context(), post), "tried again without anything new")
	require.NoError(t, p.owner.QueryRow(t.Context(), mark).Scan(&anchored))
	require.True(t, anchored)
	c, err := audit.OpenCheckpoint(posted, s.key.Public())
	require.NoError(t, err)
	require.Equal(t, int64(4), c.Size)
	last, err := fileAnchor(s.cfg.anchorFile()).last(s.key.Public())
	require.NoError(t, err)
	require.Equal(t, c, *last)
}

// TestALogThatIsNotTheAnchoredOneIsNotContinued: the database came back without its last entries.
func TestALogThatIsNotTheAnchoredOneIsNotContinued(t *testing.T) {
	p := openProof(t)
	dir := t.TempDir()
	first := p.must(p.sealer(Development, dir, "", ""))
	p.write(10)
	p.sealed(first, 10)
	require.NoError(t, first.deliver(t.Context(), first.carriers[0]))
	_, err := p.owner.Exec(t.Context(), "SET session_replication_role = replica; DELETE FROM arauto.log_position; DELETE FROM arauto.log_checkpoint; DELETE FROM arauto.entry")
	require.NoError(t, err)
	p.write(20)
	again := p.must(p.sealer(Development, dir, "", ""))
	err = again.round(t.Context())
	require.ErrorIs(t, err, store.ErrTampered)
	again.complain(err)
	require.InDelta(t, 1, p.value(again, "sealing_stopped"), 0)
	var n int
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.log_position").Scan(&n))
	require.Zero(t, n)
}

func TestATransactionThatHoldsBackOthersRaisesTheAlarm(t *testing.T) {
	p := openProof(t)
	s := p.must(p.sealer(Development, t.TempDir(), "", ""))
	s.watchHorizon(store.Sealed{Horizon: 7, Newest: 9})
	require.Empty(t, s.said)
	s.since = s.since.Add(-11 * time.Second)
	s.watchHorizon(store.Sealed{Horizon: 7, Newest: 10})
	require.Contains(t, s.said, "transaction 7 is still running; entries that are younger wait for it")
	require.Greater(t, p.value(s, "horizon_age_seconds"), 10.0)
	s.watchHorizon(store.Sealed{Horizon: 12, Newest: 14})
	require.Less(t, p.value(s, "horizon_age_seconds"), 1.0)
}
