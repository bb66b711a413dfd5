// Package tiles keeps copies of a log in the form of C2SP tlog-tiles: Publish writes the log as static files, to a folder or to an object
// store, and a Mirror follows a published log, ours or another one, and keeps its own copy. Read makes one file of a log when it is asked for.
//
// A copy is only ever extended. Its checkpoint is replaced last, so that a copy is whole at each moment, also after a power cut. A
// Mirror takes a checkpoint only after it has computed the root of the whole tree from the leaves, on top of the tree that it
// has: a history that does not extend its own is a fork, and is kept as proof.
//
// The package serves nothing: any web server can serve the files.
package tiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/arauto/arauto/internal/audit"
)

// Checkpoint is the name of the file of the newest checkpoint.
const Checkpoint = "checkpoint"

// ErrFork means that a log does not extend the copy of it.
var ErrFork = errors.New("the log does not extend this copy of it")

// TreeSource is a sealed log that is published.
type TreeSource interface {
	// Head is the checkpoint as of which the log is read.
	Head() audit.SignedHead
	// Tree reads the stored levels of the tree.
	Tree(ctx context.Context) audit.Hashes
	// EachFrom hands over the entries from a position on, in their order; of a removed one, only its leaf.
	EachFrom(ctx context.Context, seq int64, each func(*audit.Sealed) error) error
}

// Published tells what Publish wrote.
type Published struct {
	Old, Size int64 // of the copy before and after
	Tiles     int   // files of hashes
	Bundles   int   // files of entries
	Left      int   // bundles that were left out: an entry of them was removed, or is too long for the format
}

// Publish extends a published log to the checkpoint of the source, with the entries or with the hashes alone. ErrFork when the log does
// not extend what is published, also when that is larger. Without new entries nothing is written.
func Publish(ctx context.Context, s TreeSource, to Target, entries bool) (p Published, err error) {
	head, tree := s.Head(), s.Tree(ctx)
	have, err := to.Get(ctx, Checkpoint, maxNote)
	if err != nil && !errors.Is(err, ErrAbsent) {
		return p, err
	}
	p.Size = head.Checkpoint.Size
	if have != nil {
		old, err := audit.OpenCheckpoint(have, head.Public)
		if err != nil {
			return p, fmt.Errorf("the published %s: %w", Checkpoint, err)
		}
		if p.Old = old.Size; old.Size > p.Size {
			return p, fmt.Errorf("%w: it has %d entries and the log %d", ErrFork, old.Size, p.Size)
		}
		if err := extends(tree, old); err != nil {
			return p, err
		}
		if bytes.Equal(have, head.Note) {
			return p, nil
		}
	}
	out := &puts{ctx: ctx, to: to}
	var full []audit.PublishedTile // that were partial before
	for level := 0; p.Size>>(level*audit.TileLevels) > 0; level++ {
		for _, t := range audit.NewTiles(level, p.Old, p.Size) {
			hashes, err := tree.Hashes(level*audit.TileLevels, t.First(), t.First()+int64(t.Width))
			if err != nil {
				return p, err
			}
			if err := out.add(t.Path(), audit.MarshalTile(hashes)); err != nil {
				return p, err
			}
			if t.Width == 1<<audit.TileLevels && t.First() < p.Old>>(level*audit.TileLevels) {
				full = append(full, t)
			}
			p.Tiles++
		}
	}
	if entries {
		if err := bundles(ctx, s, out, &p); err != nil {
			return p, err
		}
	}
	if err := errors.Join(out.flush(), to.Settle(ctx)); err != nil {
		return p, err
	}
	if err := errors.Join(to.Put(ctx, Checkpoint, head.Note), to.Settle(ctx)); err != nil {
		return p, err
	}
	err = nil
	for _, t := range full {
		err = errors.Join(err, to.Full(ctx, t))
		if t.Level == 0 && entries {
			err = errors.Join(err, to.Full(ctx, audit.PublishedTile{Level: entriesLevel, N: t.N, Width: t.Width}))
		}
	}
	return p, err
}

// extends tells whether a tree has, at its beginning, what a checkpoint says.
func extends(tree audit.Hashes, old audit.Checkpoint) error {
	r, err := audit.ReadRange(tree, old.Size)
	if err != nil {
		return err
	}
	if r.Root() != old.Root {
		return fmt.Errorf("%w: its first %d entries are not those of the checkpoint signed at %s", ErrFork, old.Size, old.At)
	}
	return nil
}

// bundles writes the bundles of entries that the published log lacks.
func bundles(ctx context.Context, s TreeSource, out *puts, p *Published) error {
	all := audit.NewTiles(entriesLevel, p.Old, p.Size)
	if len(all) == 0 {
		return nil
	}
	next, bundle, whole := 0, []byte(nil), true
	return s.EachFrom(ctx, all[0].First(), func(e *audit.Sealed) error {
		record := []byte(nil)
		if e.Entry != nil {
			record = e.Record(nil)
		}
		if record == nil || len(record) > audit.MaxBundled {
			whole = false
		} else {
			bundle = audit.AppendBundled(bundle, record)
		}
		t := all[next]
		if e.Seq+1 < t.First()+int64(t.Width) {
			return nil
		}
		if whole {
			if err := out.add(t.Path(), bundle); err != nil {
				return err
			}
			p.Bundles++
		} else {
			p.Left++
		}
		next, bundle, whole = next+1, nil, true
		return nil
	})
}

// entriesLevel stands for bundles of entries.
const entriesLevel = -1

// files is a copy of a log in a folder.
type files struct{ dir string }

// path is where a tile or bundle of the copy is.
func (c files) path(t audit.PublishedTile) string {
	return filepath.Join(c.dir, filepath.FromSlash(t.Path()))
}

// checkpoint reads the signed note of the copy; nil when there is no copy yet.
func (c files) checkpoint() ([]byte, error) {
	note, err := os.ReadFile(filepath.Join(c.dir, Checkpoint))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return note, err
}

// LockFile is the name of the file by which one process at a time has the folder of a copy.
const LockFile = ".lock"

// Lock takes the folder of a copy for this process alone, until unlock is called. It makes the folder if it is not there.
func Lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a published log is for its readers
		return nil, fmt.Errorf("prepare the folder of the copy: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("prepare the folder of the copy: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process has the folder %s; one mirror runs at a time", dir), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// write replaces a file. What is written is safe on the disk after commit.
func (c files) write(name string, text []byte) error {
	path := filepath.Join(c.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a published log is for its readers
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // after the rename it is not there
	_, errWrite := file.Write(text)
	if err := errors.Join(errWrite, file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// commit replaces the checkpoint once everything before it is safe on the disk: tens of thousands of tiles at once, which is why they
// are not synced one by one.
func (c files) commit(note []byte) error {
	syscall.Sync()
	if err := c.write(Checkpoint, note); err != nil {
		return err
	}
	syscall.Sync()
	return nil
}

// treeAt reads the tree of a copy of a size. A tile at the edge is read by the width that this size gives it.
type treeAt struct {
	files

	size int64
}

// Hashes implements audit.Hashes.
func (t treeAt) Hashes(level int, from, to int64) (out []audit.Hash, err error) {
	count := t.size >> level
	for from < to {
		n := from >> audit.TileLevels
		one := audit.PublishedTile{Level: level / audit.TileLevels, N: n, Width: int(min(1<<audit.TileLevels, count-n<<audit.TileLevels))}
		text, err := os.ReadFile(t.path(one))
		if err != nil {
			return nil, err
		}
		hashes, err := audit.ParseTile(text, one.Width)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.Path(), err)
		}
		end := min(to, one.First()+int64(one.Width))
		if end <= from {
			return nil, fmt.Errorf("%s lacks hashes", one.Path())
		}
		out, from = append(out, hashes[from-one.First():end-one.First()]...), end
	}
	return out, nil
}
