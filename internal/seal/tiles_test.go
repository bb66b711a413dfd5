package seal

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/tiles"
)

// published is a sealer that publishes to a folder and to a bucket.
func (p *proof) published(key, policy string, objects config.ObjectStore) *Sealer {
	p.t.Helper()
	cfg := config.Standard()
	cfg.Profile, cfg.StateDir, cfg.Log.Key, cfg.Log.S3 = config.Development, p.t.TempDir(), key, objects
	cfg.Log.Tiles, cfg.Log.TilesS3 = filepath.Join(cfg.StateDir, "published"), true
	if policy != "" {
		cfg.Log.Witnesses = filepath.Join(cfg.StateDir, "policy.txt")
		require.NoError(p.t, os.WriteFile(cfg.Log.Witnesses, []byte(policy), 0o600))
	}
	return p.must(New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures()))
}

// publishNow publishes to every place, as if 30 s had passed.
func (s *Sealer) publishNow(t *testing.T) (all error) {
	t.Helper()
	for _, p := range s.publishers {
		p.at = time.Time{}
		if err := s.publishRound(t.Context(), p); err != nil {
			all = err
		}
	}
	return all
}

// TestTheLogIsPublishedToAFolderAndToTheObjectStore, and a mirror follows both.
func TestTheLogIsPublishedToAFolderAndToTheObjectStore(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	b, cfg := openBucket(t)
	s := p.published(key, "", cfg.Log.S3)
	require.Equal(t, []string{"folder", "object-store"}, s.Places())
	require.NoError(t, s.publishNow(t), "nothing is sealed yet")
	copies := map[string]*tiles.Mirror{}
	for name, from := range map[string]tiles.Remote{"folder": tiles.Folder(s.cfg.Log.Tiles), "object-store": s.publishers[1].to} {
		copies[name] = &tiles.Mirror{Remote: from, Log: log, Dir: t.TempDir()}
	}
	for _, size := range []int{300, 301, 600} {
		p.write(size - int(p.value(s, "size")))
		p.sealed(s, size)
		require.NoError(t, s.publishNow(t))
		for name, m := range copies {
			require.InDelta(t, size, p.value(s, "published_size", name), 0)
			done, err := m.Round(t.Context())
			require.NoError(t, err, name)
			require.EqualValues(t, size, done.Size, name)
		}
	}
	require.NoDirExists(t, filepath.Join(s.cfg.Log.Tiles, "tile/0/001.p"), "a full tile stands in for its partial ones")
	require.FileExists(t, filepath.Join(s.cfg.Log.Tiles, "tile/0/002.p/88"))
	require.Contains(t, b.objects, "/proofs/arauto/tiles/checkpoint")
	require.NoError(t, s.publishRound(t.Context(), s.publishers[0]), "there is nothing new")
	largest, err := anchorOf(t, cfg).largest(t.Context(), 0)
	require.NoError(t, err)
	require.Zero(t, largest, "tiles are not taken for checkpoints")

	other := newSealedNote(t, s.key)
	require.NoError(t, os.WriteFile(filepath.Join(s.cfg.Log.Tiles, tiles.Checkpoint), other, 0o600))
	s.publishers[0].size = 0
	require.ErrorIs(t, s.publishNow(t), tiles.ErrFork, "what is published is never written over")
}

// newSealedNote is a checkpoint of another history, signed with the same key.
func newSealedNote(t *testing.T, key *audit.Signer) []byte {
	t.Helper()
	note, err := key.Sign(audit.Checkpoint{Size: 5, Root: audit.Leaf(nil), At: audit.At(time.Now())})
	require.NoError(t, err)
	return note
}

// TestWhereWitnessesAreDemandedTheLogIsPublishedAsFarAsTheyVouched: so a mirror with the policy takes each checkpoint that it sees.
func TestWhereWitnessesAreDemandedTheLogIsPublishedAsFarAsTheyVouched(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	w := p.witness("w", log)
	_, cfg := openBucket(t)
	policy := w.line + "quorum w\n"
	s := p.published(key, policy, cfg.Log.S3)
	t.Cleanup(s.witnesses.client.CloseIdleConnections)
	p.write(5)
	p.sealed(s, 5)
	require.NoError(t, s.publishNow(t))
	require.NoFileExists(t, filepath.Join(s.cfg.Log.Tiles, tiles.Checkpoint), "nobody vouched yet")
	_, err := s.PublishedSize(t.Context())
	require.ErrorIs(t, err, store.ErrNoCheckpoint)
	stranger := p.witness("stranger", log)
	elsewhere := p.witnessed(key, stranger.line+"quorum stranger\n")
	p.sealed(elsewhere, 5)
	require.NoError(t, elsewhere.vouchRound(t.Context()))
	_, err = s.PublishedSize(t.Context())
	require.ErrorIs(t, err, store.ErrNoCheckpoint, "a witness vouched that the policy does not know")
	require.NoError(t, s.vouchRound(t.Context()))
	p.write(5)
	p.sealed(s, 10)
	require.NoError(t, s.publishNow(t))
	keyless := p.published("", policy, config.ObjectStore{})
	for _, replica := range []*Sealer{s, keyless} {
		size, err := replica.PublishedSize(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 5, size)
	}
	parsed, err := audit.ParsePolicy([]byte(policy))
	require.NoError(t, err)
	done, err := (&tiles.Mirror{Remote: tiles.Folder(s.cfg.Log.Tiles), Log: log, Dir: t.TempDir(), Policy: parsed}).Round(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, done.Size)
}
