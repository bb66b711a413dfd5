package tiles

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/arauto/arauto/internal/audit"
)

// Target is where a log is published. Put and Settle may be called by several goroutines.
type Target interface {
	Remote
	// Put writes a file, and replaces one of the same name.
	Put(ctx context.Context, name string, text []byte) error
	// Settle returns when everything that was put is safe.
	Settle(ctx context.Context) error
	// Full tells that a tile or bundle is full. Its partial ones may be removed, because the full one stands in for them.
	Full(ctx context.Context, t audit.PublishedTile) error
}

// ToFolder is a folder of this machine as a target.
func ToFolder(dir string) Target { return &folderTarget{Folder: Folder(dir)} }

// folderTarget is a folder that is written.
type folderTarget struct {
	Folder

	mu      sync.Mutex
	written []string // since the last Settle
}

// syncedAlone is how many files are synced one by one. Beyond it the whole machine is synced, which is faster for them.
const syncedAlone = 64

// Put implements Target.
func (f *folderTarget) Put(_ context.Context, name string, text []byte) error {
	if err := (files{string(f.Folder)}).write(name, text); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = append(f.written, filepath.Join(string(f.Folder), filepath.FromSlash(name)))
	return nil
}

// Settle implements Target.
func (f *folderTarget) Settle(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	written := f.written
	f.written = nil
	if len(written) > syncedAlone {
		syscall.Sync()
		return nil
	}
	var all error
	for _, name := range written {
		all = errors.Join(all, syncFile(name), syncFile(filepath.Dir(name)), syncFile(filepath.Dir(filepath.Dir(name))))
	}
	return all
}

// syncFile makes a file or the names in a folder safe.
func syncFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// Full implements Target.
func (f *folderTarget) Full(_ context.Context, t audit.PublishedTile) error {
	return os.RemoveAll(filepath.Join(string(f.Folder), filepath.FromSlash(t.Path())) + ".p")
}

// puts gathers files and writes some at once. Its zero value lacks a target.
type puts struct {
	ctx  context.Context //nolint:containedctx // of one call of Publish
	to   Target
	wait []putFile
}

type putFile struct {
	name string
	text []byte
}

// add takes a file, whose text the caller leaves alone.
func (p *puts) add(name string, text []byte) error {
	p.wait = append(p.wait, putFile{name, text})
	if len(p.wait) < atOnce {
		return nil
	}
	return p.flush()
}

// flush writes what waits.
func (p *puts) flush() error {
	errs := make([]error, len(p.wait))
	var all sync.WaitGroup
	for i, f := range p.wait {
		all.Go(func() { errs[i] = p.to.Put(p.ctx, f.name, f.text) })
	}
	all.Wait()
	p.wait = p.wait[:0]
	return errors.Join(errs...)
}
