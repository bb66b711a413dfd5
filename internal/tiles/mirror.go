package tiles

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// ErrAbsent means that a published log does not have a file.
var ErrAbsent = errors.New("the published log does not have this file")

// Remote is a published log.
type Remote interface {
	// Get reads a file of at most so many bytes; ErrAbsent when it is not there.
	Get(ctx context.Context, name string, most int64) ([]byte, error)
}

// Folder is a published log in a folder of this machine.
type Folder string

// Get implements Remote.
func (f Folder) Get(_ context.Context, name string, most int64) ([]byte, error) {
	file, err := os.Open(filepath.Join(string(f), filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrAbsent
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return atMost(file, most)
}

// Site is a published log behind HTTP.
type Site struct {
	URL    string // without a slash at its end
	Token  string // bearer token; empty: none
	Client *http.Client
}

// Get implements Remote.
func (s *Site) Get(ctx context.Context, name string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/"+name, http.NoBody)
	if err != nil {
		return nil, err
	}
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return atMost(resp.Body, most)
	case http.StatusNotFound, http.StatusGone:
		return nil, ErrAbsent
	}
	return nil, fmt.Errorf("%s: the server answered %d", name, resp.StatusCode)
}

func atMost(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("a file of the published log is longer than %d bytes", most)
	}
	return text, err
}

// Mirror keeps a copy of a published log.
type Mirror struct {
	Remote  Remote
	Log     audit.LogKey
	Policy  *audit.Policy // nil: witnesses are not asked for
	Dir     string
	Entries bool // also the entries, not the hashes alone

	checked bool // the hashes of the copy were read from its first leaf on
	whole   bool // the entries of the copy, too
}

// Mirrored tells what one round of a Mirror did.
type Mirrored struct {
	Old, Size int64 // of the copy before and after
	Root      audit.Hash
	Left      int      // bundles of entries that the published log does not have
	Damaged   []string // bundles of the copy that were not what was sealed, and were fetched again
	Missing   int      // bundles that the copy did not have, and that were fetched
}

// Bounds of the files of a published log, and how many are asked for at once.
const (
	maxNote   = 64 << 10
	maxTile   = 8 << 10
	maxBundle = 256 * (2 + audit.MaxBundled)
	atOnce    = 16
)

// Round takes the newest checkpoint of the published log, verifies everything up to it, and extends the copy. ErrFork when the log does
// not extend the copy, with or without cosignatures: both checkpoints are then kept in the folder forks. ErrUnwitnessed when it lacks the
// quorum; the copy stays as it is. A smaller checkpoint that fits the copy changes nothing.
//
// The first round also reads the whole copy: every hash, and with Entries every record, which is compared with its leaf. A damaged or
// missing bundle of entries is fetched again. A damaged tile, or a bundle that cannot be fetched again, is an error.
func (m *Mirror) Round(ctx context.Context) (done Mirrored, err error) {
	c := files{m.Dir}
	have, err := c.checkpoint()
	if err != nil {
		return done, err
	}
	old := audit.Tree{Root: audit.EmptyRoot()}
	if have != nil {
		if old, err = m.Log.Open(have); err != nil {
			return done, fmt.Errorf("%s in %s: %w", Checkpoint, m.Dir, err)
		}
	}
	note, err := m.Remote.Get(ctx, Checkpoint, maxNote)
	if err != nil {
		return done, fmt.Errorf("read the newest checkpoint: %w", err)
	}
	tree, err := m.Log.Open(note)
	if err != nil {
		return done, err
	}
	done = Mirrored{Old: old.Size, Size: old.Size, Root: old.Root}
	copied, err := m.tree(c, old)
	if err != nil {
		return done, err
	}
	unvouched := m.vouched(note)
	switch { // witnesses refuse a fork, so the comparison comes before the quorum
	case tree.Size <= old.Size:
		if err := m.older(c, have, note, old, tree); err != nil {
			return done, err
		}
		return done, cmp.Or(m.kept(ctx, c, old.Size, &done), unvouched)
	case have == nil && unvouched != nil:
		return done, unvouched
	}
	wrong, err := m.grow(ctx, c, copied, tree.Size, unvouched == nil)
	if err != nil {
		return done, err
	}
	if copied.Root() != tree.Root {
		return done, m.fork(c, have, note, fmt.Sprintf("the root over its %d entries is not the signed one", tree.Size))
	}
	if err := cmp.Or(wrong, unvouched); err != nil {
		return done, err
	}
	if m.Entries {
		edge := old.Size &^ (1<<audit.TileLevels - 1) // the bundle at the edge comes anew
		if err := m.entries(ctx, c, old.Size, tree.Size, &done); err != nil {
			return done, err
		}
		if err := m.kept(ctx, c, edge, &done); err != nil {
			return done, err
		}
	}
	done.Size, done.Root = tree.Size, tree.Root
	return done, c.commit(note)
}

// tree reads the tree of the copy: the first time from its leaves, later from its edge.
func (m *Mirror) tree(c files, old audit.Tree) (tree *audit.Range, err error) {
	stored := treeAt{c, old.Size}
	tree, err = audit.ReadRange(stored, old.Size)
	if err == nil && !m.checked {
		again := &audit.Range{}
		upper := upperTiles{hashes: map[int][]audit.Hash{}, each: stored.same}
		for _, t := range audit.NewTiles(0, 0, old.Size) {
			leaves, err := stored.Hashes(0, t.First(), t.First()+int64(t.Width))
			if err != nil {
				return nil, fmt.Errorf("the copy is damaged: %w", err)
			}
			for _, leaf := range leaves {
				again.Append(leaf, upper.add)
			}
		}
		if err := upper.end(old.Size); err != nil {
			return nil, err
		}
		if again.Root() != tree.Root() {
			return nil, errDamaged
		}
		m.checked = true
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the copy is damaged: %w", err)
	case tree.Root() != old.Root:
		return nil, errDamaged
	}
	return tree, nil
}

// same compares a tile of the copy with the hashes that its leaves give.
func (t treeAt) same(one audit.PublishedTile, hashes []audit.Hash) error {
	text, err := os.ReadFile(t.path(one))
	switch {
	case err != nil:
		return fmt.Errorf("the copy is damaged: %w", err)
	case !bytes.Equal(text, audit.MarshalTile(hashes)):
		return fmt.Errorf("%w (%s is not what the leaves below it give)", errDamaged, one.Path())
	}
	return nil
}

// upperTiles gathers the hashes above the leaves while leaves are added to a tree, and hands over each tile once.
type upperTiles struct {
	hashes map[int][]audit.Hash // by level of tiles, from 1: of the tile that is not full yet
	each   func(audit.PublishedTile, []audit.Hash) error
	failed error
}

// add takes a hash of the tree, as Range.Append hands it over.
func (u *upperTiles) add(level int, n int64, h audit.Hash) {
	if level == 0 || level%audit.TileLevels != 0 {
		return
	}
	l := level / audit.TileLevels
	u.hashes[l] = append(u.hashes[l], h)
	if full := u.hashes[l]; len(full) == 1<<audit.TileLevels {
		u.failed = errors.Join(u.failed, u.each(audit.PublishedTile{Level: l, N: n >> audit.TileLevels, Width: len(full)}, full))
		u.hashes[l] = full[:0]
	}
}

// end hands over the tiles at the edge of a tree of a size, and returns what failed.
func (u *upperTiles) end(size int64) error {
	for level, hashes := range u.hashes {
		if n := size >> (level * audit.TileLevels) >> audit.TileLevels; len(hashes) > 0 {
			u.failed = errors.Join(u.failed, u.each(audit.PublishedTile{Level: level, N: n, Width: len(hashes)}, hashes))
		}
	}
	return u.failed
}

// errDamaged means that the tiles of a copy do not belong to its checkpoint.
var errDamaged = errors.New("the copy is damaged: its tiles do not give the root of its checkpoint; begin a new one in an empty folder")

// vouched refuses a checkpoint that lacks the quorum of the policy.
func (m *Mirror) vouched(note []byte) error {
	if m.Policy == nil || !m.Policy.Demands() {
		return nil
	}
	said, err := m.Log.Cosignatures(note, m.Policy)
	if err != nil {
		return err
	}
	if _, reached := m.Policy.Until(audit.NotAhead(said, time.Now())); !reached {
		return ErrUnwitnessed
	}
	return nil
}

// ErrUnwitnessed means that the newest checkpoint lacks the cosignatures that the policy demands. A later one may have them.
var ErrUnwitnessed = errors.New("the newest checkpoint does not have the cosignatures that the policy demands")

// older compares a checkpoint that is not larger than the copy with it.
func (m *Mirror) older(c files, have, note []byte, old, tree audit.Tree) error {
	r, err := audit.ReadRange(treeAt{c, old.Size}, tree.Size)
	if err != nil {
		return fmt.Errorf("the copy is damaged: %w", err)
	}
	if r.Root() != tree.Root {
		return m.fork(c, have, note, fmt.Sprintf("its %d entries are not the first of the %d of the copy", tree.Size, old.Size))
	}
	return nil
}

// grow reads the new leaves, adds them to the tree, and with keep writes the tiles of all levels. The first new tile repeats leaves at
// the edge of the copy. If they are not those of the copy, wrong says so, and grow writes nothing: it goes on with the leaves of the copy,
// and the root tells whether the log is another one or the published tile is damaged.
func (m *Mirror) grow(ctx context.Context, c files, tree *audit.Range, size int64, keep bool) (wrong, err error) {
	write := func(t audit.PublishedTile, hashes []audit.Hash) error {
		if keep && wrong == nil {
			return c.write(t.Path(), audit.MarshalTile(hashes))
		}
		return nil
	}
	upper := upperTiles{hashes: map[int][]audit.Hash{}, each: write}
	old := tree.Size()
	for level := 1; old>>(level*audit.TileLevels) > 0; level++ {
		count := old >> (level * audit.TileLevels)
		hashes, err := treeAt{c, old}.Hashes(level*audit.TileLevels, count&^(1<<audit.TileLevels-1), count)
		if err != nil {
			return nil, err
		}
		upper.hashes[level] = hashes
	}
	all := audit.NewTiles(0, old, size)
	edge, err := treeAt{c, old}.Hashes(0, all[0].First(), old)
	if err != nil {
		return nil, err
	}
	for len(all) > 0 {
		some := all[:min(len(all), atOnce)]
		all = all[len(some):]
		tiles, err := m.fetch(ctx, some)
		if err != nil {
			return nil, err
		}
		for i, t := range some {
			known := max(0, old-t.First())
			if known > 0 && !slices.Equal(tiles[i][:known], edge) {
				wrong = fmt.Errorf("%s: its first %d hashes are not those of the copy, which the signed root covers; the published file is damaged", t.Path(), known)
			}
			for _, leaf := range tiles[i][known:] {
				tree.Append(leaf, upper.add)
			}
			if err := errors.Join(upper.failed, write(t, tiles[i])); err != nil {
				return nil, err
			}
		}
	}
	if err := upper.end(size); err != nil {
		return nil, err
	}
	return wrong, nil
}

// fetch reads some tiles of leaves at once.
func (m *Mirror) fetch(ctx context.Context, some []audit.PublishedTile) ([][]audit.Hash, error) {
	out, errs := make([][]audit.Hash, len(some)), make([]error, len(some))
	var all sync.WaitGroup
	for i, t := range some {
		all.Go(func() {
			text, err := m.tile(ctx, t, maxTile)
			if err == nil {
				text = text[:min(len(text), t.Width*len(audit.Hash{}))] // a full tile may stand in for one at the edge
				out[i], err = audit.ParseTile(text, t.Width)
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", t.Path(), err)
			}
		})
	}
	all.Wait()
	return out, errors.Join(errs...)
}

// tile reads a tile, or the full one of its number when the one at the edge is no longer there.
func (m *Mirror) tile(ctx context.Context, t audit.PublishedTile, most int64) ([]byte, error) {
	text, err := m.Remote.Get(ctx, t.Path(), most)
	if errors.Is(err, ErrAbsent) && t.Width < 1<<audit.TileLevels {
		t.Width = 1 << audit.TileLevels
		return m.Remote.Get(ctx, t.Path(), most)
	}
	return text, err
}

// entries reads the new bundles of entries, and counts those that are not published.
func (m *Mirror) entries(ctx context.Context, c files, old, size int64, done *Mirrored) error {
	for _, t := range audit.NewTiles(entriesLevel, old, size) {
		switch err := m.bundle(ctx, c, t); {
		case errors.Is(err, ErrAbsent):
			done.Left++
		case err != nil:
			return err
		}
	}
	return nil
}

// kept compares the records of the copy before a size with their leaves, once, and fetches the bundles again that are damaged or missing.
func (m *Mirror) kept(ctx context.Context, c files, size int64, done *Mirrored) error {
	if !m.Entries || m.whole {
		return nil
	}
	for _, t := range audit.NewTiles(entriesLevel, 0, size) {
		text, err := os.ReadFile(c.path(t))
		missing := errors.Is(err, fs.ErrNotExist)
		if err == nil {
			err = c.sealed(t, text)
		}
		if err == nil {
			continue
		}
		switch again := m.bundle(ctx, c, t); {
		case again == nil && missing:
			done.Missing++
		case again == nil:
			done.Damaged = append(done.Damaged, t.Path())
		case missing && errors.Is(again, ErrAbsent):
			done.Left++
		default:
			return fmt.Errorf("the copy is damaged: %w; it cannot be fetched again: %w", err, again)
		}
	}
	if done.Missing > 0 || len(done.Damaged) > 0 {
		syscall.Sync()
	}
	m.whole = true
	return nil
}

// bundle copies one bundle of entries, once each record is compared with its leaf.
func (m *Mirror) bundle(ctx context.Context, c files, t audit.PublishedTile) error {
	text, err := m.Remote.Get(ctx, t.Path(), maxBundle)
	if err != nil {
		return err
	}
	if err := c.sealed(t, text); err != nil {
		return err
	}
	return c.write(t.Path(), text)
}

// sealed compares the records of a bundle with the leaves of the copy.
func (c files) sealed(t audit.PublishedTile, bundle []byte) error {
	leaves, err := audit.BundledLeaves(bundle, t.Width)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Path(), err)
	}
	want, err := treeAt{c, t.First() + int64(t.Width)}.Hashes(0, t.First(), t.First()+int64(t.Width))
	if err != nil {
		return err
	}
	for i := range leaves {
		if leaves[i] != want[i] {
			return fmt.Errorf("%s: the entry at position %d is not what was sealed", t.Path(), t.First()+int64(i))
		}
	}
	return nil
}

// fork keeps both checkpoints and returns ErrFork.
func (m *Mirror) fork(c files, have, note []byte, why string) error {
	sum := sha256.Sum256(note)
	name := "forks/" + hex.EncodeToString(sum[:8])
	text := note
	if have != nil {
		text = append(append(append([]byte{}, have...), '\n'), note...)
	}
	return errors.Join(fmt.Errorf("%w: %s; both checkpoints are in %s", ErrFork, why, filepath.Join(m.Dir, name)), c.write(name, text))
}
