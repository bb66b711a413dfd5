package evidence

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
)

// Jobs are the exports that were asked for; *auditlog.SealedLog has them. A maker that does not give a sign of life for 30 s loses
// its export to another one.
type Jobs interface {
	// ClaimExport takes one up; nil when there is nothing to do.
	ClaimExport(ctx context.Context) (*history.Export, error)
	// AddPiece appends at most 1 MiB to the file, in the order of n, from 0.
	AddPiece(ctx context.Context, e *history.Export, n int, data []byte) error
	// KeepExport is a sign of life; an error means that the export is not ours any more, or that nothing is known.
	KeepExport(ctx context.Context, e *history.Export, walked int64) error
	FinishExport(ctx context.Context, e *history.Export, entries int64, sha256 string) error
	FailExport(ctx context.Context, e *history.Export, why string) error
	ReleaseExport(ctx context.Context, e *history.Export) error
}

// Maker makes exports in the background, one at a time.
type Maker struct {
	Jobs    Jobs
	Version string // of the product, for bundles

	// Open opens the log as of a size. progress is to be told how many positions were walked; done ends the reading.
	Open func(ctx context.Context, size int64, progress func(int64)) (log SealedLog, done func(), err error)

	Alive time.Duration // between signs of life (default 5 s)

	TempDir string // for files that are verified; empty: the system's

	Tampered func(detail string) // told of an export that its own verification refuses; nil: nobody
}

// pieceSize is how much of a file is kept in memory.
const pieceSize = 1 << 20

// Make makes one export, if any is asked for, and tells whether there was one. What is wrong with the export itself, such
// as that it is too large, ends it and is no error; an error means that it could not be tried, or not be ended: it is made
// again, by any replica.
func (m Maker) Make(ctx context.Context) (bool, error) {
	e, err := m.Jobs.ClaimExport(ctx)
	if err != nil || e == nil {
		return false, err
	}
	err = m.make(ctx, e)
	if err == nil {
		return true, nil
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if ctx.Err() != nil { // we are asked to end
		return true, errors.Join(fmt.Errorf("export %s: %w", e.ID, err), m.Jobs.ReleaseExport(after, e))
	}
	if failure.Transient(err) {
		return true, fmt.Errorf("export %s: %w", e.ID, err) // its lease runs out
	}
	if errLost := m.Jobs.FailExport(after, e, reason(err)); errLost != nil {
		return true, fmt.Errorf("export %s: %w", e.ID, errors.Join(err, errLost))
	}
	return true, nil
}

// reason is the innermost of an error's texts, which is the one that says what to do.
func reason(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

func (m Maker) make(ctx context.Context, e *history.Export) error {
	format, known := FormatNamed(e.Format)
	if !known {
		return errors.New("this version of the product does not know the format " + e.Format)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var walked atomic.Int64
	stopped := m.live(ctx, e, &walked, cancel)
	defer func() { cancel(nil); <-stopped }()
	log, done, err := m.Open(ctx, e.Size, walked.Store)
	if err != nil {
		return err
	}
	defer done()
	file := &pieces{ctx: ctx, jobs: m.Jobs, export: e, walked: &walked, sum: sha256.New()}
	copied, err := m.copyToVerify(e)
	if err != nil {
		return err
	}
	to := io.Writer(file)
	if copied != nil {
		defer copied.Close()
		to = io.MultiWriter(file, copied)
	}
	entries, err := format.Write(ctx, log, e.Search, m.Version, to)
	if err == nil {
		err = file.flush()
	}
	if err == nil && copied != nil {
		err = judgeComplete(ctx, e, copied, log.Head().Public)
		if fault, bad := errors.AsType[*audit.Fault](err); bad && m.Tampered != nil {
			m.Tampered(fmt.Sprintf("export %s: %v", e.ID, fault))
		}
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	return m.Jobs.FinishExport(ctx, e, entries, hex.EncodeToString(file.sum.Sum(nil)))
}

// copyToVerify is a file for a copy of the export, where its verification can show that nothing of a client's period is missing; nil
// elsewhere. It is gone when it is closed.
func (m Maker) copyToVerify(e *history.Export) (*os.File, error) {
	filter := e.Search.Filter()
	if e.Format != FileBundle || e.Search.Narrow() || filter["to"] == "" || filter["clientId"] == "" && filter["organisationId"] == "" {
		return nil, nil //nolint:nilnil // nothing to verify is no error
	}
	file, err := os.CreateTemp(m.TempDir, ".arauto-export-*")
	if err != nil {
		return nil, fmt.Errorf("make a file for the verification of the export: %w", err)
	}
	return file, os.Remove(file.Name())
}

// judgeComplete verifies a bundle as everybody can, and keeps whether that shows that nothing is missing. What is wrong with the bundle is
// an *audit.Fault: such a file is not handed out.
func judgeComplete(ctx context.Context, e *history.Export, bundle *os.File, public ed25519.PublicKey) error {
	info, err := bundle.Stat()
	if err != nil {
		return err
	}
	verdict, err := audit.VerifyBundleWithin(readUntil{ctx, bundle}, info.Size(), public, nil, verifyMost)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e.Complete, e.Notes = new(err == nil && verdict.Complete), verdict.Notes
	if errors.Is(err, audit.ErrTooLong) {
		e.Notes, err = []string{audit.NoteMemory}, nil
	}
	return err
}

// readUntil reads a file until a context ends.
type readUntil struct {
	ctx context.Context //nolint:containedctx // io.ReaderAt has none
	io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (r readUntil) ReadAt(p []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.ReaderAt.ReadAt(p, at)
}

// verifyMost is how many bytes of a part of a bundle its verification keeps in memory.
const verifyMost = 32 << 20

// live gives signs of life until ctx ends, and ends it when the export is lost.
func (m Maker) live(ctx context.Context, e *history.Export, walked *atomic.Int64, end context.CancelCauseFunc) <-chan struct{} {
	stopped := make(chan struct{})
	own := *e
	go func() {
		defer close(stopped)
		every := m.Alive
		if every <= 0 {
			every = 5 * time.Second
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := m.Jobs.KeepExport(ctx, &own, walked.Load()); err != nil && ctx.Err() == nil {
				end(err)
				return
			}
		}
	}()
	return stopped
}

// pieces cuts a file into pieces and sums it.
type pieces struct {
	ctx    context.Context //nolint:containedctx // io.Writer has none
	jobs   Jobs
	export *history.Export
	walked *atomic.Int64
	n      int
	buffer []byte
	sum    hash.Hash
}

// Write keeps what is not a full piece yet.
func (p *pieces) Write(b []byte) (int, error) {
	written := len(b)
	_, _ = p.sum.Write(b) // never fails
	for len(b) > 0 {
		take := min(len(b), pieceSize-len(p.buffer))
		p.buffer, b = append(p.buffer, b[:take]...), b[take:]
		if len(p.buffer) == pieceSize {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

func (p *pieces) flush() error {
	if len(p.buffer) == 0 {
		return nil
	}
	p.export.Walked = p.walked.Load()
	if err := p.jobs.AddPiece(p.ctx, p.export, p.n, p.buffer); err != nil {
		return err
	}
	p.n, p.buffer = p.n+1, p.buffer[:0]
	return nil
}
