// Package witness vouches for the checkpoints of logs that others keep (C2SP tlog-witness): it remembers the newest checkpoint of
// each log that it knows, cosigns a newer one only with a proof that the log only grew, and refuses every other history.
//
// What it vouched for is on the disk before anybody gets the cosignature, so neither a restart nor a power cut makes it vouch for
// two histories. A folder belongs to one witness and one process at a time. A refused history that the log's own key signed is
// proof of a fork, and is kept beside the checkpoint that it contradicts.
//
// The package does not judge the content of a log, and it does not ask logs for their checkpoints: they come to it.
package witness

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/audit"
)

// Options say who the witness is and which logs it knows.
type Options struct {
	Name  string        // name of its key, such as audit.bank.example/w1
	Key   crypto.Signer // Ed25519
	Logs  []audit.LogKey
	State string // folder; see Init
	Log   *slog.Logger
}

// Witness vouches for checkpoints. Its methods may be called by several goroutines.
type Witness struct {
	self audit.WitnessKey
	key  crypto.Signer
	logs map[string]*known // by the log's name
	dir  string
	lock *os.File
	log  *slog.Logger
	now  func() time.Time
}

// known is a log that the witness knows, and what it vouched for last.
type known struct {
	mu   sync.Mutex
	key  audit.LogKey
	tree audit.Tree // zero: it never vouched for this log
	note []byte     // with its cosignature; nil: none yet
	told time.Time  // when a refused history was logged last
}

// identityFile holds the verifier key of the witness whose folder it is. forksFolder holds what it refused.
const (
	identityFile = "witness"
	forksFolder  = "forks"
)

// Init prepares an empty folder for a witness, once. A folder that already belongs to a witness is an error: a witness that forgot
// what it vouched for would vouch for another history.
func Init(dir string, self audit.WitnessKey) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("prepare the folder of the witness: %w", err)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("prepare the folder of the witness: %w", err)
	}
	if len(all) > 0 {
		return fmt.Errorf("the folder %s is not empty; a new witness needs an empty one", dir)
	}
	return store(filepath.Join(dir, identityFile), []byte(self.String()+"\n"))
}

// AddLog lets the witness of a folder vouch for a log, from the first checkpoint that it sees. A log that it knows stays as it is.
func AddLog(dir string, log audit.LogKey) error {
	path := stateFile(dir, log.Origin())
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return store(path, nil)
}

// stateFile is where the newest checkpoint of a log is kept: under the hash of its name, as in the address of C2SP tlog-witness.
func stateFile(dir, origin string) string { return filepath.Join(dir, originHash(origin)) }

func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// Open opens the folder of a witness, for this process alone, and reads what it vouched for. The folder must be of this witness and
// must know every log of the options: see Init and AddLog.
func Open(o Options) (w *Witness, err error) {
	w = &Witness{key: o.Key, logs: map[string]*known{}, dir: o.State, log: o.Log, now: time.Now}
	if w.self, err = audit.NewWitnessKey(o.Name, o.Key.Public()); err != nil {
		return nil, err
	}
	have, err := os.ReadFile(filepath.Join(o.State, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not the folder of a witness; a new witness begins one with --init", o.State)
	}
	if err != nil {
		return nil, fmt.Errorf("read the folder of the witness: %w", err)
	}
	if mine := w.self.String() + "\n"; string(have) != mine {
		return nil, fmt.Errorf("%s is the folder of another witness, %s; this one is %s", o.State, bytes.TrimSpace(have), w.self)
	}
	if w.lock, err = os.Open(filepath.Join(o.State, identityFile)); err != nil {
		return nil, fmt.Errorf("read the folder of the witness: %w", err)
	}
	if err := syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process has the folder %s; one witness runs at a time", o.State), w.lock.Close())
	}
	for _, key := range o.Logs {
		l, err := w.read(key)
		if err != nil {
			return nil, errors.Join(err, w.lock.Close())
		}
		w.logs[key.Origin()] = l
	}
	return w, nil
}

// read reads what the witness vouched for last of a log. Its own cosignature shows that the file is what it wrote.
func (w *Witness) read(key audit.LogKey) (*known, error) {
	l := &known{key: key}
	text, err := os.ReadFile(stateFile(w.dir, key.Origin()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the witness does not know the log %s yet; add it once with --add-log", key.Origin())
	case err != nil:
		return nil, fmt.Errorf("read what the witness vouched for: %w", err)
	case len(text) == 0:
		return l, nil
	}
	if l.tree, err = key.Open(text); err != nil {
		return nil, fmt.Errorf("what the witness vouched for in %s: %w", stateFile(w.dir, key.Origin()), err)
	}
	if !key.CosignedBy(text, w.self) {
		return nil, fmt.Errorf("what the witness vouched for in %s has no cosignature of this witness", stateFile(w.dir, key.Origin()))
	}
	l.note = text
	return l, nil
}

// Close lets go of the folder.
func (w *Witness) Close() error { return w.lock.Close() }

// Self is the name and the key of the witness.
func (w *Witness) Self() audit.WitnessKey { return w.self }

// Why a witness does not vouch for a checkpoint.
var (
	ErrUnknownLog = errors.New("the witness does not know this log")
	ErrSignature  = errors.New("the checkpoint is not signed with the key of the log")
	ErrRequest    = errors.New("the old size is larger than the checkpoint")
	ErrFork       = errors.New("the checkpoint is not shown to extend what the witness vouched for")
)

// SizeError means that the request is about another size than the one that the witness vouched for last.
type SizeError struct{ Size int64 }

// Error names the size.
func (e *SizeError) Error() string {
	return fmt.Sprintf("the witness vouched for %d entries last; prove from there", e.Size)
}

// Vouch cosigns the checkpoint of a request and returns the line of the cosignature, once it is on the disk. The error is one of
// ErrUnknownLog, ErrSignature, ErrRequest, ErrFork and *SizeError, or one of the disk.
func (w *Witness) Vouch(r audit.CosignRequest) ([]byte, error) {
	origin := audit.OriginOf(r.Checkpoint)
	l := w.logs[origin]
	if l == nil {
		return nil, ErrUnknownLog
	}
	tree, err := l.key.Open(r.Checkpoint)
	if err != nil {
		w.log.Warn("checkpoint refused", "log", origin, "error", err)
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r.Old > tree.Size:
		return nil, ErrRequest
	case r.Old != l.tree.Size:
		return nil, &SizeError{l.tree.Size}
	}
	if err := audit.CheckGrowth(r.Path, l.tree, tree); err != nil {
		return nil, w.refuse(l, r, err)
	}
	line, err := w.self.Cosign(r.Checkpoint, w.key, w.now())
	if err != nil {
		return nil, err
	}
	note := append(l.key.Own(r.Checkpoint), line...)
	if err := store(stateFile(w.dir, origin), note); err != nil {
		w.log.Error("checkpoint not stored, so not cosigned", "log", origin, "size", tree.Size, "error", err)
		return nil, err
	}
	l.tree, l.note = tree, note
	w.log.Info("checkpoint cosigned", "log", origin, "size", tree.Size, "root", tree.Root.String())
	return line, nil
}

// refuse logs a checkpoint that the log signed and that is not shown to extend the one before, and keeps both: with the same size
// and another root they prove a fork by themselves. A wrong proof for the tree that the witness vouched for is no other history, and
// is not kept. The same history is kept once; how often it is logged is limited, except when it is new.
func (w *Witness) refuse(l *known, r audit.CosignRequest, why error) error {
	tree, _ := l.key.Open(r.Checkpoint) // verified by the caller
	fork := tree.Size == l.tree.Size && tree.Root != l.tree.Root
	kept, isNew, err := "", false, error(nil)
	if tree != l.tree {
		kept, isNew, err = w.keep(l, r.Checkpoint, tree, fork)
	}
	if now := w.now(); isNew || now.Sub(l.told) >= linesEvery {
		l.told = now
		w.log.Error("history refused", "log", l.key.Origin(), "size", tree.Size, "vouched", l.tree.Size, "fork", fork, "kept", kept, "error", errors.Join(why, err))
	}
	return ErrFork
}

// linesEvery is the time between two lines about a refused history of one log.
const linesEvery = time.Minute

// keptMost is how many refused checkpoints of a log are kept, and again as many that prove a fork: one suffices as proof, and a caller must
// not fill the disk. What is not proven leaves room for what is.
const keptMost = 1000

// keep stores a refused checkpoint, without the signatures of others, beside the one that the witness vouched for. path is empty when it
// is not kept.
func (w *Witness) keep(l *known, checkpoint []byte, tree audit.Tree, fork bool) (path string, isNew bool, err error) {
	dir, prefix := filepath.Join(w.dir, forksFolder), originHash(l.key.Origin())+"."
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %t", tree.Size, tree.Root, fork))
	name, most := prefix+hex.EncodeToString(sum[:8]), keptMost
	if fork {
		most *= 2
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, err
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return "", false, err
	}
	count := 0
	for _, one := range all {
		if one.Name() == name {
			return filepath.Join(dir, name), false, nil
		}
		if strings.HasPrefix(one.Name(), prefix) {
			count++
		}
	}
	if count >= most {
		return "", false, nil
	}
	path = filepath.Join(dir, name)
	if err := store(path, bothNotes(l.note, l.key.Own(checkpoint))); err != nil {
		return "", false, err
	}
	return path, true, nil
}

// bothNotes writes two notes as a file of checkpoints.
func bothNotes(vouched, refused []byte) []byte {
	var out []byte
	if vouched != nil {
		out = append(bytes.Clone(vouched), '\n')
	}
	return append(append(out, refused...), '\n')
}

// Newest is the newest checkpoint of a log that the witness vouched for, with the signature of the log and its cosignature. hash is
// the SHA-256 of the log's name in hexadecimal. False when there is none.
func (w *Witness) Newest(hash string) ([]byte, bool) {
	for origin, l := range w.logs {
		if originHash(origin) == hash {
			return l.newest()
		}
	}
	return nil, false
}

func (l *known) newest() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.note, l.note != nil
}

// store replaces a file so that after a power cut either the old or the new content is there.
func store(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // after the rename it is not there
	_, errWrite := file.Write(text)
	if err := errors.Join(errWrite, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
