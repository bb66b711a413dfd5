// Package evidence writes the documents that answer questions about the past: exports of the sealed history, the proof of
// one entry, and the dossier of one resource, a document for people.
//
// All of it is made of a SealedLog, the history as of one checkpoint, and of nothing else. So the same question about the same
// checkpoint gives the same bytes, for every caller, through the command line or the API. What is handed over
// alone, a proof or a dossier, was verified against the checkpoint first; what fails is not shown. To record that it was
// read is the caller's: it knows who reads.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/timing"
)

// SealedLog is the sealed history as of one checkpoint; *auditlog.LogReader is one.
type SealedLog interface {
	Head() audit.SignedHead
	// Each hands over what a search finds, in the order of the log. Removed entries are part of the whole log only.
	Each(ctx context.Context, s history.Search, each func(*audit.Sealed) error) error
	// At reads one entry. An error that knows NotFound() bool and answers true means that there is none.
	At(ctx context.Context, seq int64) (*audit.Sealed, error)
	// Prove is the path from an entry to the checkpoint's root.
	Prove(ctx context.Context, seq int64) ([]audit.Hash, error)
	// IdlePeriods lists stretches between two instants in which nothing was committed that is in the log.
	IdlePeriods(ctx context.Context, from, to time.Time) ([]timing.IdlePeriod, error)
	// Unheard are the entries in the log, between two instants, that name periods of which receipts are unknown.
	Unheard(ctx context.Context, from, to time.Time) ([]history.Fact, error)
	// Checkpoints are all signed notes up to the head's, that one last.
	Checkpoints(ctx context.Context) ([][]byte, error)
	// Counted finds the windows in which verifications counted the clients of a search; nil: there are none.
	Counted(ctx context.Context, s history.Search) (*audit.CountedPeriod, error)
	// Context hands over the entries of the clients of a period that a search does not find, in the order of the log.
	Context(ctx context.Context, p *audit.CountedPeriod, s history.Search, each func(*audit.Sealed) error) error
	// Windows hands over the windows of a period, in the order of the log.
	Windows(ctx context.Context, p *audit.CountedPeriod, each func(*audit.CountedWindow) error) error
}

// Prove writes the proof that the entry at a position is in the log (docs/audit-format.md, "Proof of one entry"), after
// having verified it.
func Prove(ctx context.Context, log SealedLog, seq int64) ([]byte, error) {
	e, err := log.At(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("entry at %d: %w", seq, err)
	}
	p, err := proven(ctx, log, e)
	if err != nil {
		return nil, err
	}
	return p.Marshal(), nil
}

// Compare follows one entry up to the root of the checkpoint and says whether it is what was sealed. Unlike Prove it is no
// error when it is not: an auditor must see what is stored.
func Compare(ctx context.Context, log SealedLog, e *audit.Sealed) (history.Integrity, error) {
	found := history.Integrity{Checkpoint: log.Head().Checkpoint.Size}
	_, err := proven(ctx, log, e)
	fail := func(reason string) {
		id := e.Entry.ID
		found.Fail(history.FailedEntry{Seq: &e.Seq, EntryID: &id, Reason: reason})
	}
	var fault *audit.Fault
	switch {
	case errors.As(err, &fault):
		fail(fault.Reason)
	case err != nil:
		return found, err
	case audit.Leaf(e.Record(nil)) != e.Leaf: // the record leads to the signed root, the leaf stored for it does not
		fail("the leaf that is stored at its position was altered; the entry itself is what was sealed")
	case !e.Genuine():
		fail(e.Entry.PrivateFault())
	default:
		found.Verified, found.Proven = 1, 1
	}
	if e.Others > 0 {
		fail(fmt.Sprintf("%d other rows claim its place: they were put in", e.Others))
	}
	return found, nil
}

// proven makes the proof of an entry and verifies it.
func proven(ctx context.Context, log SealedLog, e *audit.Sealed) (audit.Proof, error) {
	path, err := log.Prove(ctx, e.Seq)
	if err != nil {
		return audit.Proof{}, err
	}
	p := audit.Proof{Record: e.Record(nil), Seq: e.Seq, Path: path, Checkpoint: log.Head().Note}
	_, err = p.Check(log.Head().Public)
	return p, err
}

// errNothing means that a dossier would be empty.
type errNothing string

// Error names what was asked for.
func (e errNothing) Error() string { return string(e) }

// NotFound tells callers that know no evidence.
func (errNothing) NotFound() bool { return true }
