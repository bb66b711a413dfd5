package tiles

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/arauto/arauto/internal/audit"
)

// sealedLog is a log in memory, with a key.
type sealedLog struct {
	t       *testing.T
	key     *audit.Signer
	tree    *audit.Range
	levels  map[int][]audit.Hash // by stored level
	entries []audit.Entry
	removed map[int64]bool
}

func newSealedLog(t *testing.T) *sealedLog {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return (&sealedLog{t: t, key: audit.NewSigner(private)}).empty()
}

func (l *sealedLog) empty() *sealedLog {
	return &sealedLog{t: l.t, key: l.key, tree: &audit.Range{}, levels: map[int][]audit.Hash{}, removed: map[int64]bool{}}
}

// grow adds so many entries whose facts say who wrote them.
func (l *sealedLog) grow(n int, by string) *sealedLog {
	for range n {
		e := audit.Entry{Kind: "change", Facts: fmt.Sprintf(`{"by":%q}`, by)}
		leaf := audit.Leaf(e.AppendRecord(nil, l.tree.Size()))
		l.entries = append(l.entries, e)
		l.tree.Append(leaf, func(level int, _ int64, h audit.Hash) {
			if level%audit.TileLevels == 0 {
				l.levels[level] = append(l.levels[level], h)
			}
		})
	}
	return l
}

// fork is another history with the same key after so many entries.
func (l *sealedLog) fork(size, n int) *sealedLog {
	return l.empty().grow(size, "us").grow(n, "another")
}

func (l *sealedLog) Hashes(level int, from, to int64) ([]audit.Hash, error) {
	if to > int64(len(l.levels[level])) {
		return nil, errors.New("beyond the tree")
	}
	return slices.Clone(l.levels[level][from:to]), nil
}

func (l *sealedLog) Tree(context.Context) audit.Hashes { return l }

func (l *sealedLog) Head() audit.SignedHead {
	c := audit.Checkpoint{Size: l.tree.Size(), Root: l.tree.Root(), At: audit.At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))}
	note, err := l.key.Sign(c)
	require.NoError(l.t, err)
	return audit.SignedHead{Public: l.key.Public(), Checkpoint: c, Note: note}
}

func (l *sealedLog) EachFrom(_ context.Context, seq int64, each func(*audit.Sealed) error) error {
	for ; seq < l.tree.Size(); seq++ {
		one := &audit.Sealed{Seq: seq, Entry: &l.entries[seq], Leaf: l.levels[0][seq]}
		if l.removed[seq] {
			one.Entry = nil
		}
		if err := each(one); err != nil {
			return err
		}
	}
	return nil
}

func (l *sealedLog) publish(dir string, entries bool) Published {
	l.t.Helper()
	p, err := Publish(l.t.Context(), l, ToFolder(dir), entries)
	require.NoError(l.t, err)
	return p
}

func (l *sealedLog) mirror(from Remote, dir string) *Mirror {
	l.t.Helper()
	key, err := audit.ParseLogKey(audit.VerifierKey(l.key.Public()))
	require.NoError(l.t, err)
	return &Mirror{Remote: from, Log: key, Dir: dir}
}

// tileFiles reads a published log for Go's own package of transparency logs.
type tileFiles string

func (tileFiles) Height() int                         { return 8 }
func (tileFiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (f tileFiles) ReadTiles(all []tlog.Tile) (out [][]byte, err error) {
	for _, t := range all {
		text, err := os.ReadFile(filepath.Join(string(f), audit.TilePath(t.L, t.N, t.W)))
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// TestAPublishedLogIsWhatC2SPPrescribes: the example of C2SP tlog-tiles, read by Go's own package of transparency logs.
func TestAPublishedLogIsWhatC2SPPrescribes(t *testing.T) {
	dir := t.TempDir()
	l := newSealedLog(t).grow(70_000, "us")
	p := l.publish(dir, true)
	require.Equal(t, 273+1+1+1+1, p.Tiles)
	require.Equal(t, 274, p.Bundles)
	for _, name := range []string{"tile/0/000", "tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"} {
		require.FileExists(t, filepath.Join(dir, name))
	}
	reader := tlog.TileHashReader(tlog.Tree{N: l.tree.Size(), Hash: l.tree.Root()}, tileFiles(dir))
	for _, seq := range []int64{0, 255, 256, 65_535, 65_536, 69_999} {
		proof, err := tlog.ProveRecord(l.tree.Size(), seq, reader)
		require.NoError(t, err)
		require.NoError(t, tlog.CheckRecord(proof, l.tree.Size(), l.tree.Root(), seq, l.levels[0][seq]))
	}
	require.Equal(t, "tile/0/x001/x234/067", audit.TilePath(0, 1_234_067, 256))
	bundle, err := os.ReadFile(filepath.Join(dir, "tile/entries/000"))
	require.NoError(t, err)
	first := l.entries[0].AppendRecord(nil, 0)
	require.Equal(t, append([]byte{0, byte(len(first))}, first...), bundle[:2+len(first)])

	again := l.grow(1000, "us").publish(dir, true)
	require.Equal(t, int64(70_000), again.Old)
	require.Less(t, again.Tiles, 10, "what is there already is not written again")
	_, err = Publish(t.Context(), l.fork(60_000, 20_000), ToFolder(dir), false)
	require.ErrorIs(t, err, ErrFork)
	_, err = Publish(t.Context(), l.fork(100, 0), ToFolder(dir), false)
	require.ErrorIs(t, err, ErrFork)
}

func TestABundleWithARemovedEntryIsLeftOut(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	l := newSealedLog(t).grow(600, "us")
	l.removed[300] = true
	p := l.publish(dir, true)
	require.Equal(t, []int{2, 1}, []int{p.Bundles, p.Left})
	require.NoFileExists(t, filepath.Join(dir, "tile/entries/001"))
	m := l.mirror(Folder(dir), copied)
	m.Entries = true
	done, err := m.Round(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, done.Left)
	require.Equal(t, l.tree.Root(), done.Root)
}

// TestAMirrorFollowsALog over HTTP, through sizes at which tiles of several levels end; its copy is, file by file, the published one.
func TestAMirrorFollowsALog(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	l := newSealedLog(t)
	m := l.mirror(&Site{URL: server.URL, Client: server.Client()}, copied)
	m.Entries = true
	_, err := m.Round(t.Context())
	require.ErrorIs(t, err, ErrAbsent, "nothing is published yet")
	var last int64
	for _, n := range []int{1, 200, 55, 1, 300, 65_000, 1, 0, 66_000} {
		l.grow(n, "us").publish(dir, true)
		done, err := m.Round(t.Context())
		require.NoError(t, err, "%d more", n)
		require.Equal(t, []any{last, l.tree.Size(), l.tree.Root()}, []any{done.Old, done.Size, done.Root})
		last = l.tree.Size()
	}
	for level := range 3 {
		for _, one := range audit.NewTiles(level, 0, last) {
			want, err := os.ReadFile(filepath.Join(dir, one.Path()))
			require.NoError(t, err)
			have, err := os.ReadFile(filepath.Join(copied, one.Path()))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, have), one.Path())
		}
	}
	again := l.mirror(Folder(copied), t.TempDir())
	_, err = again.Round(t.Context())
	require.NoError(t, err, "a mirror can be mirrored")
}

// TestAMirrorNoticesASplitView: the second history is refused in the round in which it is shown, with both checkpoints as proof.
func TestAMirrorNoticesASplitView(t *testing.T) {
	l := newSealedLog(t).grow(1000, "us")
	honest := t.TempDir()
	l.publish(honest, false)
	for name, other := range map[string]*sealedLog{
		"larger": l.fork(990, 500), "larger, from a tile's edge": l.fork(768, 600), "of the same size": l.fork(999, 1), "smaller": l.fork(400, 100), "from the beginning": l.fork(0, 2000),
	} {
		t.Run(name, func(t *testing.T) {
			copied, forked := t.TempDir(), t.TempDir()
			m := l.mirror(Folder(honest), copied)
			_, err := m.Round(t.Context())
			require.NoError(t, err)
			other.publish(forked, false)
			m.Remote = Folder(forked)
			began := time.Now()
			_, err = m.Round(t.Context())
			require.ErrorIs(t, err, ErrFork)
			t.Logf("noticed after %s", time.Since(began))
			kept, err := filepath.Glob(filepath.Join(copied, "forks", "*"))
			require.NoError(t, err)
			require.Len(t, kept, 1)
			text, err := os.ReadFile(kept[0])
			require.NoError(t, err)
			both, err := audit.OpenCheckpoints(text, l.key.Public())
			require.NoError(t, err)
			require.Len(t, both, 2)
			m.Remote = Folder(honest)
			done, err := m.Round(t.Context())
			require.NoError(t, err, "the copy is as it was")
			require.Equal(t, l.tree.Root(), done.Root)
		})
	}
	stale := t.TempDir()
	l.fork(700, 0).publish(stale, false)
	copied := t.TempDir()
	m := l.mirror(Folder(honest), copied)
	_, err := m.Round(t.Context())
	require.NoError(t, err)
	m.Remote = Folder(stale)
	done, err := m.Round(t.Context())
	require.NoError(t, err, "an older checkpoint of the same history is no fork")
	require.Equal(t, int64(1000), done.Size)
}

func TestAMirrorTakesNothingThatIsNotProven(t *testing.T) {
	l := newSealedLog(t).grow(700, "us")
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"a changed leaf": func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "tile/0/001"), 40) },
		"a short tile": func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "tile/0/001"), 8191))
		},
		"a lost tile": func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "tile/0/001"))) },
		"a huge tile": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "tile/0/001"), make([]byte, 1<<20), 0o600))
		},
		"a changed checkpoint": func(t *testing.T, dir string) { flip(t, filepath.Join(dir, Checkpoint), 30) },
		"a changed entry":      func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "tile/entries/001"), 60) },
		"a short bundle": func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "tile/entries/002.p/188"), 100))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, copied := t.TempDir(), t.TempDir()
			l.publish(dir, true)
			spoil(t, dir)
			m := l.mirror(Folder(dir), copied)
			m.Entries = true
			_, err := m.Round(t.Context())
			require.Error(t, err)
			require.NoFileExists(t, filepath.Join(copied, Checkpoint))
			require.NoError(t, os.RemoveAll(dir))
			l.publish(dir, true)
			_, err = m.Round(t.Context())
			require.NoError(t, err, "once it is right, the mirror goes on")
		})
	}
	dir, copied := t.TempDir(), t.TempDir()
	l.publish(dir, false)
	m := l.mirror(Folder(dir), copied)
	_, err := m.Round(t.Context())
	require.NoError(t, err)
	for _, name := range []string{"tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"} {
		flip(t, filepath.Join(copied, name), 40)
		_, err = l.mirror(Folder(dir), copied).Round(t.Context())
		require.ErrorContains(t, err, "the copy is damaged", name)
		flip(t, filepath.Join(copied, name), 40)
	}
	l.grow(65_000, "us").publish(dir, false)
	_, err = m.Round(t.Context())
	require.NoError(t, err)
	flip(t, filepath.Join(copied, "tile/1/000"), 40)
	_, err = l.mirror(Folder(dir), copied).Round(t.Context())
	require.ErrorContains(t, err, "tile/1/000 is not what the leaves below it give", "a tile that no path to the root needs")
}

// TestAMirrorVerifiesTheEntriesThatItKept: a new run reads all of them, names what is damaged, and fetches it again.
func TestAMirrorVerifiesTheEntriesThatItKept(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	l := newSealedLog(t).grow(700, "us")
	l.publish(dir, true)
	begin := func() *Mirror {
		m := l.mirror(Folder(dir), copied)
		m.Entries = true
		return m
	}
	round := func(m *Mirror) Mirrored {
		t.Helper()
		done, err := m.Round(t.Context())
		require.NoError(t, err)
		return done
	}
	in := func(name string) string { return filepath.Join(copied, "tile/entries", filepath.FromSlash(name)) }
	spoil := func() {
		flip(t, in("000"), 60)
		require.NoError(t, os.Truncate(in("002.p/188"), 100))
		require.NoError(t, os.Remove(in("001")))
	}
	round(begin())
	spoil()
	done := round(begin())
	require.Equal(t, []string{"tile/entries/000", "tile/entries/002.p/188"}, done.Damaged)
	require.Equal(t, 1, done.Missing)
	m := begin()
	done = round(m)
	require.Empty(t, done.Damaged, "they were fetched again")
	require.Zero(t, done.Missing)

	spoil()
	l.grow(100, "us").publish(dir, true)
	done = round(begin())
	require.Equal(t, []string{"tile/entries/000"}, done.Damaged, "the bundle at the edge came anew, whole")
	require.Equal(t, 1, done.Missing)
	require.FileExists(t, in("003.p/32"))

	flip(t, in("000"), 60)
	require.NoError(t, os.Remove(in("001")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "tile/entries")))
	_, err := begin().Round(t.Context())
	require.ErrorContains(t, err, "the copy is damaged: tile/entries/000: the entry at position 0 is not what was sealed; it cannot be fetched again")
	l.publish(dir, true)
	flip(t, in("000"), 60)
	require.Equal(t, 1, round(begin()).Left, "a bundle that the log does not publish is counted")
}

func TestOneMirrorAtATimeHasAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "copy")
	unlock, err := Lock(dir)
	require.NoError(t, err)
	_, err = Lock(dir)
	require.ErrorContains(t, err, "another process has the folder "+dir)
	unlock()
	unlock, err = Lock(dir)
	require.NoError(t, err)
	unlock()
}

// TestAPublishedTileMayNotChangeWhatTheCopyHas: the tile at the edge repeats leaves of the copy, which the new root does not read again.
func TestAPublishedTileMayNotChangeWhatTheCopyHas(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	l := newSealedLog(t).grow(200, "us")
	l.publish(dir, false)
	m := l.mirror(Folder(dir), copied)
	_, err := m.Round(t.Context())
	require.NoError(t, err)
	l.grow(100, "us").publish(dir, false)
	flip(t, filepath.Join(dir, "tile/0/000"), 199*32)
	_, err = m.Round(t.Context())
	require.ErrorContains(t, err, "tile/0/000: its first 200 hashes are not those of the copy")
	require.NotErrorIs(t, err, ErrFork, "the signed root covers what the copy has")
	require.NoFileExists(t, filepath.Join(copied, "tile/0/000"))
	_, err = l.mirror(Folder(copied), t.TempDir()).Round(t.Context())
	require.NoError(t, err, "the copy is as it was")
	flip(t, filepath.Join(dir, "tile/0/000"), 199*32)
	for range 2 { // the second one reads the copy from its first leaf on
		done, err := l.mirror(Folder(dir), copied).Round(t.Context())
		require.NoError(t, err, "once the tile is right, the mirror goes on")
		require.Equal(t, l.tree.Root(), done.Root)
	}
}

func flip(t *testing.T, name string, at int) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	text[at] ^= 1
	require.NoError(t, os.WriteFile(name, text, 0o600))
}

func TestATileThatBecameFullStandsInForTheOneAtTheEdge(t *testing.T) {
	dir := t.TempDir()
	l := newSealedLog(t).grow(300, "us")
	head := l.Head()
	l.grow(300, "us").publish(dir, false)
	require.NoError(t, os.WriteFile(filepath.Join(dir, Checkpoint), head.Note, 0o600))
	done, err := l.mirror(Folder(dir), t.TempDir()).Round(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(300), done.Size)
}

func TestAMirrorDemandsTheQuorumOfItsPolicy(t *testing.T) {
	dir := t.TempDir()
	l := newSealedLog(t).grow(5, "us")
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	w, err := audit.NewWitnessKey("w", key.Public())
	require.NoError(t, err)
	m := l.mirror(Folder(dir), t.TempDir())
	m.Policy, err = audit.ParsePolicy(fmt.Appendf(nil, "witness w %s\nquorum w\n", w))
	require.NoError(t, err)
	l.publish(dir, false)
	_, err = m.Round(t.Context())
	require.ErrorIs(t, err, ErrUnwitnessed)
	note := l.Head().Note
	line, err := w.Cosign(note, key, time.Now())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, Checkpoint), append(note, line...), 0o600))
	done, err := m.Round(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(5), done.Size)

	later := t.TempDir()
	l.grow(400, "us").publish(later, false)
	m.Remote = Folder(later)
	_, err = m.Round(t.Context())
	require.ErrorIs(t, err, ErrUnwitnessed)
	require.NoFileExists(t, filepath.Join(m.Dir, "tile/0/000"), "an unwitnessed checkpoint extends nothing")
	for name, other := range map[string]*sealedLog{"of the same size": l.fork(4, 1), "larger": l.fork(4, 300), "smaller": l.fork(2, 1)} {
		forked := t.TempDir()
		other.publish(forked, false)
		m.Remote = Folder(forked)
		_, err = m.Round(t.Context())
		require.ErrorIs(t, err, ErrFork, "a fork that no witness cosigned, %s", name)
	}
	kept, err := filepath.Glob(filepath.Join(m.Dir, "forks", "*"))
	require.NoError(t, err)
	require.Len(t, kept, 3)
}
