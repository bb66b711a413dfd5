package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// proof is a database and the sealers of the replicas that share it.
type proof struct {
	t        testing.TB
	url      string
	auditlog *auditlog.Log
	owner    *pgx.Conn
}

// toldFigures keeps what a sealer tells, by the names of the metrics; those of an anchor with its name.
type toldFigures struct {
	mu  sync.Mutex
	now map[string]float64
}

func newFigures() *toldFigures { return &toldFigures{now: map[string]float64{}} }

func (f *toldFigures) set(name string, value float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now[name] = value
}

func (f *toldFigures) add(name string, value float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now[name] += value
}

func (f *toldFigures) Sealed(entries int)       { f.add("entries_sealed_total", float64(entries)) }
func (f *toldFigures) Delayed(by time.Duration) { f.set("horizon_age_seconds", by.Seconds()) }
func (f *toldFigures) Checkpointed(at time.Time) {
	f.set("checkpoint_time_seconds", float64(at.Unix()))
}
func (f *toldFigures) Strays(n int64)             { f.add("strays_total", float64(n)) }
func (f *toldFigures) Stopped()                   { f.set("sealing_stopped", 1) }
func (f *toldFigures) AnchorFailed(anchor string) { f.add("anchor_failures_total "+anchor, 1) }
func (f *toldFigures) Folded(p figures.PollSums)  { f.add("polls", float64(p.Total)) }
func (f *toldFigures) Vouched(w string, t time.Time) {
	f.set("witness_time_seconds "+w, float64(t.Unix()))
}

func (f *toldFigures) Witnessed(size int64, until time.Time) {
	f.set("witnessed_size", float64(size))
	f.set("witnessed_time_seconds", float64(until.Unix()))
}

func (f *toldFigures) WitnessFailed(w string, refused bool) {
	f.add("witness_failures_total "+w, 1)
	if refused {
		f.add("witness_refusals_total "+w, 1)
	}
}

func (f *toldFigures) Published(place string, size int64, _ time.Time) {
	f.set("published_size "+place, float64(size))
}

func (f *toldFigures) Signed(_ time.Duration, err error) {
	f.add("signatures", 1)
	if err != nil {
		f.add("signer_failures_total", 1)
	}
}

func (f *toldFigures) PublishFailed(place string) { f.add("publish_failures_total "+place, 1) }

func (f *toldFigures) Anchored(a string, t time.Time) {
	f.set("anchored_time_seconds "+a, float64(t.Unix()))
}

func (f *toldFigures) Extends(size int64) {
	f.set("size", float64(size))
	f.set("sealing_stopped", 0)
}

func openProof(t testing.TB) *proof {
	t.Helper()
	p := &proof{t: t, url: storetest.Database(t)}
	s, err := store.Open(t.Context(), store.Options{URL: p.url, Replica: "test", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	p.auditlog = auditlog.New(s.Access())
	p.owner, err = pgx.Connect(t.Context(), p.url)
	require.NoError(t, err)
	t.Cleanup(func() { p.owner.Close(t.Context()) })
	return p
}

func (p *proof) sealer(profile, dir, key string, anchorURL string) (*Sealer, error) {
	cfg := config.Standard()
	cfg.Profile, cfg.StateDir, cfg.Log.Key, cfg.Log.AnchorURL = profile, dir, key, anchorURL
	return New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures())
}

// withObjects is the sealer of a replica with a state folder of its own, so no file tells it of the past, and a bucket.
func (p *proof) withObjects(key string, objects config.ObjectStore) *Sealer {
	p.t.Helper()
	cfg := config.Standard()
	cfg.Profile, cfg.StateDir, cfg.Log.Key, cfg.Log.S3 = config.Development, p.t.TempDir(), key, objects
	return p.must(New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures()))
}

func (p *proof) must(s *Sealer, err error) *Sealer {
	p.t.Helper()
	require.NoError(p.t, err)
	return s
}

// value reads a figure of a sealer; one that was never told is 0. Of an anchor, its name is added.
func (p *proof) value(s *Sealer, name string, anchor ...string) float64 {
	p.t.Helper()
	f, ok := s.observer.(*toldFigures)
	require.True(p.t, ok)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now[strings.Join(append([]string{name}, anchor...), " ")]
}

func (p *proof) write(n int) {
	p.t.Helper()
	_, err := p.owner.Exec(p.t.Context(), "INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, $1)", n)
	require.NoError(p.t, err)
}

// sealed runs rounds until the log has that many entries.
func (p *proof) sealed(s *Sealer, size int) {
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
	first := p.must(p.sealer(config.Development, shared, "", ""))
	p.write(10)
	p.sealed(first, 10)
	info, err := os.Stat(filepath.Join(shared, "log.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(filepath.Join(shared, "log.pub.pem"))
	require.NoError(t, err)
	public, err := audit.ParsePublic(text)
	require.NoError(t, err)
	registered, err := p.auditlog.LogKey(t.Context())
	require.NoError(t, err)
	require.True(t, public.Equal(registered))

	neighbour := p.must(p.sealer(config.Development, shared, "", ""))
	p.write(5)
	p.sealed(neighbour, 15)

	stranger := p.must(p.sealer(config.Development, apart, "", ""))
	require.ErrorIs(t, stranger.round(t.Context()), errNoKey)
	entries, err := os.ReadDir(apart)
	require.NoError(t, err)
	require.Empty(t, entries, "no second key")
	verdict, err := auditlog.Verify(t.Context(), p.url, public, nil)
	require.NoError(t, err)
	require.Equal(t, int64(15), verdict.Entries)
}

func TestProductionRefusesToStartWithoutTheRegisteredKey(t *testing.T) {
	p := openProof(t)
	dir := t.TempDir()
	cfg := config.Standard()
	require.ErrorContains(t, cfg.Check(), "log.key (ARAUTO_LOG_KEY): is not set")
	_, err := p.sealer(config.Production, dir, filepath.Join(dir, "absent.key"), "")
	require.ErrorContains(t, err, "log.key (ARAUTO_LOG_KEY)")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	text, err := audit.MarshalPrivate(key)
	require.NoError(t, err)
	name := filepath.Join(dir, "mine.key")
	require.NoError(t, os.WriteFile(name, text, 0o600))
	require.NoError(t, os.Chmod(name, 0o644))
	_, err = p.sealer(config.Production, dir, name, "")
	require.ErrorContains(t, err, "set it to 0600")
	require.NoError(t, os.Chmod(name, 0o600))
	s := p.must(p.sealer(config.Production, dir, name, ""))
	require.ErrorContains(t, s.Refuse(t.Context()), "no key is registered")
	require.ErrorIs(t, s.round(t.Context()), store.ErrWrongKey, "and if the database was away at start, nothing is sealed later")
	registered, err := p.auditlog.LogKey(t.Context())
	require.NoError(t, err)
	require.Nil(t, registered, "no silent new log")
	require.NoError(t, auditlog.RegisterLogKey(t.Context(), p.url, key.Public().(ed25519.PublicKey)))
	require.NoError(t, s.Refuse(t.Context()))
	p.write(3)
	p.sealed(s, 3)

	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	text, err = audit.MarshalPrivate(other)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, text, 0o600))
	s = p.must(p.sealer(config.Production, dir, name, ""))
	require.ErrorContains(t, s.Refuse(t.Context()), "is not the registered key")
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
	s := p.must(p.sealer(config.Development, t.TempDir(), "", siem.URL))
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
	all, rest, err := fileAnchor(s.cfg.AnchorFile()).tail(s.key.Public())
	require.NoError(t, err)
	require.Equal(t, []audit.Checkpoint{c}, all)
	require.Zero(t, rest)
}

// TestALogThatIsNotTheAnchoredOneIsNotContinued: the database came back without its last entries.
func TestALogThatIsNotTheAnchoredOneIsNotContinued(t *testing.T) {
	p := openProof(t)
	dir := t.TempDir()
	first := p.must(p.sealer(config.Development, dir, "", ""))
	p.write(10)
	p.sealed(first, 10)
	require.NoError(t, first.deliver(t.Context(), first.carriers[0]))
	_, err := p.owner.Exec(t.Context(), "SET session_replication_role = replica; DELETE FROM arauto.log_position; DELETE FROM arauto.log_checkpoint; DELETE FROM arauto.entry")
	require.NoError(t, err)
	p.write(20)
	again := p.must(p.sealer(config.Development, dir, "", ""))
	err = again.round(t.Context())
	require.ErrorIs(t, err, store.ErrSetBack)
	again.complain(err)
	require.InDelta(t, 1, p.value(again, "sealing_stopped"), 0)
	var n int
	require.NoError(t, p.owner.QueryRow(t.Context(), "SELECT count(*) FROM arauto.log_position").Scan(&n))
	require.Zero(t, n)
}

// TestALogThatIsNotTheOneInTheObjectStoreIsNotContinued: the same, of a replica whose file is gone.
func TestALogThatIsNotTheOneInTheObjectStoreIsNotContinued(t *testing.T) {
	p := openProof(t)
	b, settings := openBucket(t)
	dir := t.TempDir()
	p.write(10)
	maker := p.must(p.sealer(config.Development, dir, "", "")) // makes the key
	p.sealed(maker, 10)
	key := filepath.Join(dir, "log.key")
	first := p.withObjects(key, settings.Log.S3)
	for size := 15; size <= 40; size += 5 {
		p.write(5)
		p.sealed(first, size)
		object := first.carriers[len(first.carriers)-1]
		object.at = time.Time{} // the distance between objects is not what this is about
		require.NoError(t, first.deliver(t.Context(), object))
	}
	require.Equal(t, 6, b.puts)
	asked := b.lists
	p.write(1)
	p.sealed(first, 41)
	require.Equal(t, asked, b.lists, "the bucket is searched at the start alone")

	b.refuse = http.StatusServiceUnavailable
	away := p.withObjects(key, settings.Log.S3)
	p.write(1)
	p.sealed(away, 42)
	require.Contains(t, slices.Collect(maps.Keys(away.said)), "the log is not compared with the object store yet, it will be tried again: the object store answered 503 SlowDown: no")

	p.setBack(35)
	away.remembered.Store(nil) // what the process itself has seen is not what this is about
	place := away.places[1].publisher.(*objectPlace)
	ask := func() []auditlog.PublishedHead {
		heads, _ := place.published(t.Context(), away.key)
		return heads
	}
	require.Empty(t, ask(), "a minute is not over")
	place.asked = time.Now().Add(-repeatAfter)
	require.Empty(t, ask(), "it is still away")
	b.refuse = 0
	place.asked = time.Now().Add(-repeatAfter)
	for name, s := range map[string]*Sealer{"it came back": away, "a start": p.withObjects(key, settings.Log.S3)} {
		err := s.round(t.Context())
		require.ErrorIs(t, err, store.ErrSetBack, name)
		require.ErrorContains(t, err, "the object store has a checkpoint of 40 entries", name)
		s.complain(err)
		require.InDelta(t, 1, p.value(s, "sealing_stopped"), 0, name)
	}

	for path := range b.objects {
		b.objects[path].body = []byte("arauto/0123456789abcdef\n1\n")
	}
	other := p.withObjects(key, settings.Log.S3)
	other.key = away.key
	heads, err := other.places[1].published(t.Context(), other.key)
	require.ErrorIs(t, err, errForeign)
	require.ErrorContains(t, err, "6 such objects")
	require.Empty(t, heads, "what another log left binds nobody")
}

// TestTheLargestObjectIsFoundAmongMillions, of whatever sizes, and beside objects of other kinds.
func TestTheLargestObjectIsFoundAmongMillions(t *testing.T) {
	b, cfg := openBucket(t)
	o := anchorOf(t, cfg)
	for _, sizes := range [][]int64{{}, {1}, {2}, {1, 2, 3}, {7, 1 << 20, 1<<20 + 1}, {5_000_000_000}, {1, 999_999_999_999}} {
		clear(b.objects)
		b.objects["/proofs/arauto/readme"] = &object{}
		b.objects["/proofs/other/00000000000000000099"] = &object{}
		var want int64
		for _, size := range sizes {
			b.objects[fmt.Sprintf("/proofs/arauto/%020d", size)] = &object{}
			want = size
		}
		b.lists = 0
		found, err := o.largest(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, want, found)
		require.Less(t, b.lists, 100)
	}
}

func TestATransactionThatHoldsBackOthersRaisesTheAlarm(t *testing.T) {
	p := openProof(t)
	s := p.must(p.sealer(config.Development, t.TempDir(), "", ""))
	s.watchHorizon(auditlog.SealStep{Horizon: 7, Newest: 9})
	require.Empty(t, s.said)
	s.since = s.since.Add(-11 * time.Second)
	s.watchHorizon(auditlog.SealStep{Horizon: 7, Newest: 10})
	require.Contains(t, s.said, "transaction 7 is still running; entries that are younger wait for it")
	require.Greater(t, p.value(s, "horizon_age_seconds"), 10.0)
	s.watchHorizon(auditlog.SealStep{Horizon: 12, Newest: 14})
	require.Less(t, p.value(s, "horizon_age_seconds"), 1.0)
}

// TestEntriesThatCannotBeSealedRaiseTheAlarm: the owner of the tables puts a row behind the end of the log.
func TestEntriesThatCannotBeSealedRaiseTheAlarm(t *testing.T) {
	p := openProof(t)
	s := p.must(p.sealer(config.Development, t.TempDir(), "", ""))
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	p.write(3)
	p.sealed(s, 3)
	require.Zero(t, p.value(s, "strays_total"))
	_, err := p.owner.Exec(t.Context(), "INSERT INTO arauto.entry (id, xid, kind, facts) SELECT id, xid, 'change', '{}' FROM arauto.log_position WHERE seq = 1")
	require.NoError(t, err)
	require.NoError(t, s.round(t.Context()))
	require.Positive(t, p.value(s, "strays_total"))
	require.Contains(t, log.String(), `level=ERROR msg="the history was tampered with"`)
	p.write(1)
	p.sealed(s, 4)
}
