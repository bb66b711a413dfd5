package tiles

import (
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

	checked bool // the copy was read from its first leaf on
}

// Mirrored tells what one round of a Mirror did.
type Mirrored struct {
	Old, Size int64 // of the copy before and after
	Root      audit.Hash
	Left      int // bundles of entries that the published log does not have
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
		return done, cmp.Or(m.older(c, have, note, old, tree), unvouched)
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
		if done.Left, err = m.entries(ctx, c, old.Size, tree.Size); err != nil {
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
		for _, t := range audit.NewTiles(0, 0, old.Size) {
			leaves, err := stored.Hashes(0, t.First(), t.First()+int64(t.Width))
			if err != nil {
				return nil, fmt.Errorf("the copy is damaged: %w", err)
			}
			for _, leaf := range leaves {
				again.Append(leaf, nil)
			}
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
	upper := map[int][]audit.Hash{} // by level of tiles, from 1: hashes of the tile that is not full yet
	old := tree.Size()
	for level := 1; old>>(level*audit.TileLevels) > 0; level++ {
		count := old >> (level * audit.TileLevels)
		hashes, err := treeAt{c, old}.Hashes(level*audit.TileLevels, count&^(1<<audit.TileLevels-1), count)
		if err != nil {
			return nil, err
		}
		upper[level] = hashes
	}
	all := audit.NewTiles(0, old, size)
	edge, err := treeAt{c, old}.Hashes(0, all[0].First(), old)
	if err != nil {
		return nil, err
	}
	write := func(name string, hashes []audit.Hash) error {
		if keep && wrong == nil {
			return c.write(name, audit.MarshalTile(hashes))
		}
		return nil
	}
	var failed error
	add := func(leaf audit.Hash) {
		tree.Append(leaf, func(level int, n int64, h audit.Hash) {
			if level == 0 || level%audit.TileLevels != 0 {
				return
			}
			l := level / audit.TileLevels
			upper[l] = append(upper[l], h)
			if len(upper[l]) == 1<<audit.TileLevels {
				failed = errors.Join(failed, write(audit.TilePath(l, n>>audit.TileLevels, len(upper[l])), upper[l]))
				upper[l] = upper[l][:0]
			}
		})
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
				add(leaf)
			}
			if err := errors.Join(failed, write(t.Path(), tiles[i])); err != nil {
				return nil, err
			}
		}
	}
	for level, hashes := range upper {
		if n := size >> (level * audit.TileLevels) >> audit.TileLevels; len(hashes) > 0 {
			if err := write(audit.TilePath(level, n, len(hashes)), hashes); err != nil {
				return nil, err
			}
		}
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

// entries reads the new bundles of entries and compares each record with its leaf. It returns how many are not published.
func (m *Mirror) entries(ctx context.Context, c files, old, size int64) (left int, err error) {
	for _, t := range audit.NewTiles(entriesLevel, old, size) {
		text, err := m.Remote.Get(ctx, t.Path(), maxBundle)
		if errors.Is(err, ErrAbsent) {
			left++
			continue
		}
		if err != nil {
			return left, err
		}
		leaves, err := audit.BundledLeaves(text, t.Width)
		if err != nil {
			return left, fmt.Errorf("%s: %w", t.Path(), err)
		}
		want, err := treeAt{c, size}.Hashes(0, t.First(), t.First()+int64(t.Width))
		if err != nil {
			return left, err
		}
		for i := range leaves {
			if leaves[i] != want[i] {
				return left, fmt.Errorf("%s: the entry at position %d is not what was sealed", t.Path(), t.First()+int64(i))
			}
		}
		if err := c.write(t.Path(), text); err != nil {
			return left, err
		}
	}
	return left, nil
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
