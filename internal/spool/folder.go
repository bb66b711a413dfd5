package spool

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// folder is the spool on disk: one file a batch, one line a poll, named so that names sort by time. A file that is there
// is complete up to its last whole line; a line that is not whole belongs to somebody who was never answered.
type folder struct {
	dir   string
	owner *os.File // locked while we live
	fence int64    // under which number our polls are written; kept with the folder

	mu     sync.Mutex
	files  map[string]spoolFile
	number uint64 // number of the next file, so that two of one instant differ
}

// spoolFile is what is known of one file of the spool.
type spoolFile struct {
	at    time.Time
	bytes int64
	held  bool // its commit is under way
}

const (
	suffix   = ".polls"
	fenceLen = 8
)

// openFolder makes the folder when it is not there, takes it, and lists what is in it.
func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool: %w", err)
	}
	owner, err := os.OpenFile(filepath.Join(dir, "owner"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	if err := syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = owner.Close()
		return nil, fmt.Errorf("spool %s belongs to another process; each replica needs a state folder of its own: %w", dir, err)
	}
	f := &folder{dir: dir, owner: owner, files: map[string]spoolFile{}}
	if f.fence, err = readFence(owner); err == nil {
		err = f.list()
	}
	if err != nil {
		_ = owner.Close()
		return nil, err
	}
	return f, nil
}

// readFence reads the folder's number, and makes one up when it is new.
func readFence(owner *os.File) (int64, error) {
	text := make([]byte, 2*fenceLen)
	if n, _ := owner.ReadAt(text, 0); n == len(text) {
		var number [fenceLen]byte
		if _, err := hex.Decode(number[:], text); err == nil {
			return int64(binary.BigEndian.Uint64(number[:])), nil
		}
	}
	var number [fenceLen]byte
	_, _ = rand.Read(number[:]) // never fails
	if _, err := owner.WriteAt([]byte(hex.EncodeToString(number[:])+"\n"), 0); err != nil {
		return 0, fmt.Errorf("number the spool: %w", err)
	}
	if err := owner.Sync(); err != nil {
		return 0, fmt.Errorf("number the spool: %w", err)
	}
	return int64(binary.BigEndian.Uint64(number[:])), nil
}

// list finds what the process before left.
func (f *folder) list() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("list the spool: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("list the spool: %w", err)
		}
		f.files[e.Name()] = spoolFile{at: info.ModTime(), bytes: info.Size()}
	}
	return nil
}

func (f *folder) close() error { return f.owner.Close() } // which gives up the lock

// load tells how old the oldest file is, 0 when there is none, and how large all are.
func (f *folder) load(now time.Time) (age time.Duration, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.files {
		age, bytes = max(age, now.Sub(one.at)), bytes+one.bytes
	}
	return age, bytes
}

func (f *folder) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.files)
}

// write makes a file durable: its content and its name.
func (f *folder) write(polls []notice.Poll, held bool) (string, error) {
	content, err := encode(polls)
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	now := time.Now()
	name := fmt.Sprintf("%020d-%06d%s", now.UnixNano(), f.number%1_000_000, suffix)
	f.number++
	f.mu.Unlock()
	if err := f.create(name, os.O_EXCL, content); err != nil {
		_ = os.Remove(filepath.Join(f.dir, name)) // nobody is answered for it
		return "", err
	}
	f.mu.Lock()
	f.files[name] = spoolFile{at: now, bytes: int64(len(content)), held: held}
	f.mu.Unlock()
	return name, nil
}

func (f *folder) create(name string, flag int, content []byte) error {
	out, err := os.OpenFile(filepath.Join(f.dir, name), os.O_WRONLY|os.O_CREATE|flag, 0o600)
	if err != nil {
		return fmt.Errorf("make a file of the spool: %w", err)
	}
	_, err = out.Write(content)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("write a file of the spool: %w", err)
	}
	return f.syncNames()
}

func (f *folder) syncNames() error {
	dir, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("sync the spool: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync the spool: %w", err)
	}
	return nil
}

func encode(polls []notice.Poll) ([]byte, error) {
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	for i := range polls {
		if err := lines.Encode(&polls[i]); err != nil {
			return nil, fmt.Errorf("encode a poll: %w", err)
		}
	}
	return out.Bytes(), nil
}

// read reads the polls of a file. A last line without its end was cut off by a crash and is left out; any other line
// that cannot be read is an error.
func (f *folder) read(name string) ([]notice.Poll, error) {
	content, err := os.ReadFile(filepath.Join(f.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	content = content[:bytes.LastIndexByte(content, '\n')+1]
	var polls []notice.Poll
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p notice.Poll
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("read line %d: %w", len(polls)+1, err)
		}
		polls = append(polls, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	return polls, nil
}

// oldestRipe is the first file by time when no commit of its own is under way, or "": what was written later waits for
// it, so that order is kept.
func (f *folder) oldestRipe() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.files) == 0 {
		return ""
	}
	first := slices.Min(slices.Collect(maps.Keys(f.files)))
	if f.files[first].held {
		return ""
	}
	return first
}

func (f *folder) release(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one, ok := f.files[name]; ok {
		one.held = false
		f.files[name] = one
	}
}

// remove forgets a file whose polls are in the history. Should the name survive a crash, its polls are replayed again,
// which does nothing.
func (f *folder) remove(name string) {
	_ = os.Remove(filepath.Join(f.dir, name))
	f.forget(name)
}

func (f *folder) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, name)
}

// setAside takes a file out of the spool that cannot be read: it is kept under another name.
func (f *folder) setAside(name string) {
	_ = os.Rename(filepath.Join(f.dir, name), filepath.Join(f.dir, name+".unreadable"))
	f.forget(name)
}

// putAside keeps polls that the database refuses in a file that nothing here deletes.
func (f *folder) putAside(polls []notice.Poll) error {
	content, err := encode(polls)
	if err != nil {
		return err
	}
	return f.create("refused.jsonl", os.O_APPEND, content)
}
