package seal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// virtualLog is a log in virtual time into which an entry is written every 100 ms.
type virtualLog struct {
	Store // what witnesses need; no test in virtual time has one

	mu       sync.Mutex
	key      ed25519.PrivateKey
	began    time.Time
	takes    time.Duration // one sealing transaction
	failing  bool
	signed   []time.Time
	size     int64
	anchored time.Time
}

func newHistory(takes time.Duration) *virtualLog {
	return &virtualLog{key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), began: time.Now(), takes: takes}
}

func (h *virtualLog) Seal(_ context.Context, key *audit.Signer, _ ...auditlog.PublishedHead) (auditlog.SealStep, error) {
	horizon := time.Now()
	<-time.After(h.takes)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failing {
		return auditlog.SealStep{}, errors.New("the database is away")
	}
	size := int64(horizon.Sub(h.began) / (100 * time.Millisecond))
	out := auditlog.SealStep{Entries: int(size - h.size), Size: size, SealedAt: time.Now(), Horizon: 1, Newest: 1}
	if size == 0 {
		return out, nil
	}
	h.size, h.signed = size, append(h.signed, time.Now())
	var err error
	out.Checkpoint, err = key.Sign(audit.Checkpoint{Size: size, At: audit.At(time.Now())})
	return out, err
}

func (h *virtualLog) LogKey(context.Context) (ed25519.PublicKey, error) {
	return h.key.Public().(ed25519.PublicKey), nil
}

func (h *virtualLog) RegisterLogKey(_ context.Context, key ed25519.PublicKey) (ed25519.PublicKey, error) {
	return key, nil
}

func (h *virtualLog) Extends(context.Context, ed25519.PublicKey, ...auditlog.PublishedHead) error {
	return nil
}

func (h *virtualLog) Fold(context.Context) (auditlog.FoldStep, error) {
	return auditlog.FoldStep{}, nil
}

func (h *virtualLog) MarkAnchored(_ context.Context, at time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.anchored = at
	return nil
}

// place is an anchor in virtual time. One that hangs takes nothing until its patience ends.
type place struct {
	mu    sync.Mutex
	hangs bool
	took  []time.Time
	heads []head
}

func (p *place) put(ctx context.Context, h head) error {
	p.mu.Lock()
	hangs := p.hangs
	p.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took, p.heads = append(p.took, time.Now()), append(p.heads, h)
	return nil
}

func (p *place) hang(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs = on
}

// newest is the size of the last checkpoint it took.
func (p *place) newest() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heads[len(p.heads)-1].size
}

// longest is the longest time between two of them, from a beginning to an end.
func longest(from, to time.Time, at []time.Time) (most time.Duration) {
	for _, t := range append(at, to) {
		most, from = max(most, t.Sub(from)), t
	}
	return most
}

func sealerOf(t *testing.T, h *virtualLog, places map[string]*place) *Sealer {
	t.Helper()
	cfg := config.Standard()
	cfg.Profile, cfg.StateDir = config.Development, t.TempDir()
	s, err := New(cfg, h, slog.New(slog.DiscardHandler), newFigures())
	require.NoError(t, err)
	s.key, s.carriers = audit.NewSigner(h.key), nil
	for name, p := range places {
		every := time.Duration(0)
		if name == "object-store" {
			every = objectEvery
		}
		s.carriers = append(s.carriers, newCarrier(name, p, every))
	}
	return s
}

// TestACheckpointIsSignedWithinTenSecondsAndAnchoredWithinSixty: ten minutes of virtual time with entries all along; sealing
// takes three seconds, one anchor hangs for five minutes, and neither holds up the other.
func TestACheckpointIsSignedWithinTenSecondsAndAnchoredWithinSixty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(3 * time.Second)
		good, bad, object := &place{}, &place{hangs: true}, &place{}
		s := sealerOf(t, h, map[string]*place{"file": good, "url": bad, "object-store": object})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		<-time.After(5 * time.Minute)
		synctest.Wait()
		require.Zero(t, h.anchored, "not before all have it")
		require.Empty(t, bad.took)
		bad.hang(false)
		<-time.After(5 * time.Minute)
		cancel()
		<-done

		now := time.Now()
		require.LessOrEqual(t, longest(h.began, now, h.signed), 10*time.Second)
		require.LessOrEqual(t, longest(h.began, now, good.took), 10*time.Second, "while another hangs")
		require.LessOrEqual(t, longest(h.began, now, object.took), 45*time.Second)
		require.LessOrEqual(t, len(object.took), 21, "an object every 30 s at most: each is kept for years")
		for name, p := range map[string]*place{"file": good, "object-store": object} {
			for i, got := range p.heads {
				require.Less(t, p.took[i].Sub(got.at), 60*time.Second, name)
			}
		}
		require.Less(t, now.Sub(h.anchored), 60*time.Second)
	})
}

// TestTheLastCheckpointIsAnchoredAlthoughNothingFollows: what waits because an object came a moment before is not forgotten
// when the log is quiet from then on.
func TestTheLastCheckpointIsAnchoredAlthoughNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(0)
		object := &place{}
		s := sealerOf(t, h, map[string]*place{"object-store": object})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		<-time.After(12 * time.Second)
		synctest.Wait()
		h.mu.Lock()
		h.failing = true // no newer checkpoint
		last := h.size
		h.mu.Unlock()
		require.Less(t, object.newest(), last)
		<-time.After(time.Minute)
		synctest.Wait()
		require.Equal(t, last, object.newest())
		cancel()
		<-done
	})
}

// TestAFileThatCannotBeWrittenIsToldOnceAMinute and does not stop sealing.
func TestAFileThatCannotBeWrittenIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(0)
		s := sealerOf(t, h, nil)
		var log bytes.Buffer
		s.log = slog.New(slog.NewTextHandler(&log, nil))
		s.carriers = []*carrier{newCarrier("file", fileAnchor(filepath.Join(t.TempDir(), "absent", "checkpoints.txt")), 0)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		<-time.After(52 * time.Second)
		cancel()
		<-done
		require.Len(t, h.signed, 10)
		require.Equal(t, 1, strings.Count(log.String(), "level=ERROR msg=\"checkpoint not anchored, will be retried\""))
		require.Equal(t, 1, strings.Count(log.String(), "\n"))
	})
}
