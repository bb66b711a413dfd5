package receipt

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/history"
)

// receiptFile is the book on disk: one line a trace, a later line of the same trace replaces an earlier one. A line that is not
// whole was never synced and is left out. The file "owner" beside it is locked while the process lives, says "running"
// until it ends in order, and its time of change is the last instant at which everything refused was in the file.
type receiptFile struct {
	dir   string
	owner *os.File
	out   *os.File
	lines int // in the file, replaced ones included
}

// name of the file in its folder.
const name = "receipts.jsonl"

// maxLine bounds a line that is read.
const maxLine = 64 << 10

// receiptLine is one line of the file; exactly one member is set. Instants are wall clocks'.
type receiptLine struct {
	Refusal *history.ChangeRefusal `json:"refusal,omitempty"`
	Unheard *history.Unheard       `json:"unheard,omitempty"`
}

// running is what the owner's file says while a process lives, or after it died.
const running = "running\n"

// leftover is what a process before left.
type leftover struct {
	refusals []history.ChangeRefusal
	unheard  []history.Unheard
	died     bool      // it did not end in order, or its file is damaged
	alive    time.Time // when it was last known to have everything in the file
}

// openFile makes the folder when it is not there, takes it, and reads what is in it.
func openFile(dir string) (*receiptFile, leftover, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, leftover{}, fmt.Errorf("make the folder of receipts: %w", err)
	}
	owner, err := os.OpenFile(filepath.Join(dir, "owner"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, leftover{}, fmt.Errorf("open the folder of receipts: %w", err)
	}
	if err := syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = owner.Close()
		return nil, leftover{}, fmt.Errorf("the folder of receipts %s belongs to another process: %w", dir, err)
	}
	f := &receiptFile{dir: dir, owner: owner}
	left, err := f.take()
	if err != nil {
		_ = owner.Close()
		return nil, leftover{}, fmt.Errorf("read the receipts kept in %s: %w", dir, err)
	}
	return f, left, nil
}

// take reads what is there and marks the folder as in use.
func (f *receiptFile) take() (leftover, error) {
	info, err := f.owner.Stat()
	if err != nil {
		return leftover{}, err
	}
	left := leftover{died: info.Size() > 0, alive: info.ModTime()}
	torn, err := f.read(&left)
	if err != nil {
		return left, err
	}
	if f.out, err = os.OpenFile(f.path(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return left, err
	}
	if torn {
		_, err = f.out.WriteString("\n")
	}
	if err == nil {
		_, err = f.owner.WriteAt([]byte(running), 0)
	}
	return left, errors.Join(err, f.owner.Sync())
}

// touch says that everything refused until at is in the file.
func (f *receiptFile) touch(at time.Time) error { return os.Chtimes(f.owner.Name(), at, at) }

func (f *receiptFile) path() string { return filepath.Join(f.dir, name) }

// read loads the file. torn: its last line is not whole. A line that cannot be read counts as a process that died.
func (f *receiptFile) read(left *leftover) (torn bool, err error) {
	in, err := os.Open(f.path())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = in.Close() }() // it was only read
	at := map[key]int{}
	lines := bufio.NewReaderSize(in, maxLine)
	for {
		text, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			left.died = true
			continue
		case errors.Is(err, io.EOF):
			return len(text) > 0, nil
		case err != nil:
			return false, err
		}
		f.lines++
		var l receiptLine
		if json.Unmarshal(text, &l) != nil {
			left.died = left.died || len(bytes.TrimSpace(text)) > 0
			continue
		}
		left.add(&l, at)
	}
}

// add takes one line; at are the places of traces by their key.
func (o *leftover) add(l *receiptLine, at map[key]int) {
	switch {
	case l.Refusal != nil:
		r := *l.Refusal
		r.Facts.WallClock = true
		if n, there := at[keyOf(&r)]; there {
			o.refusals[n] = r
			return
		}
		at[keyOf(&r)] = len(o.refusals)
		o.refusals = append(o.refusals, r)
	case l.Unheard != nil:
		u := *l.Unheard
		u.Wall = true
		for i := range o.unheard {
			if o.unheard[i].Why == u.Why {
				if u.From.After(o.unheard[i].From) {
					u.From = o.unheard[i].From
				}
				o.unheard[i] = u
				return
			}
		}
		o.unheard = append(o.unheard, u)
	}
}

// wasteful reports whether the file holds much more than what is outstanding, and is better written anew.
func (f *receiptFile) wasteful(outstanding int) bool { return f.lines > 0 && f.lines >= 2*outstanding }

// write adds lines and syncs them; whole: they replace the file.
func (f *receiptFile) write(lines []receiptLine, whole bool) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text) // one line each
	for i := range lines {
		if err := encoder.Encode(&lines[i]); err != nil {
			return err
		}
	}
	if whole {
		return f.replace(text.Bytes(), len(lines))
	}
	if _, err := f.out.Write(text.Bytes()); err != nil {
		return err
	}
	f.lines += len(lines)
	return f.out.Sync()
}

// replace gives the file new content: all of it, or none.
func (f *receiptFile) replace(text []byte, lines int) error {
	fresh, err := os.OpenFile(f.path()+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err = fresh.Write(text); err == nil {
		err = fresh.Sync()
	}
	if err == nil {
		err = os.Rename(fresh.Name(), f.path())
	}
	if err != nil {
		_ = fresh.Close()
		return err
	}
	_ = f.out.Close() // replaced
	f.out, f.lines = fresh, lines
	return syncFolder(f.dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // it was only synced
	return d.Sync()
}

// close gives the folder back. kept: everything refused is in the file, so the process ends in order.
func (f *receiptFile) close(kept bool) error {
	var err error
	if kept {
		err = f.owner.Truncate(0)
	}
	return errors.Join(err, f.out.Close(), f.owner.Sync(), f.owner.Close())
}
