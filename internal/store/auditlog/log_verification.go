package auditlog

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// Scopes of a verification that the product does by itself.
const (
	ScopeSince = "since" // what was sealed since the last one
	ScopeWhole = "whole" // the log from its beginning
)

// removalGrace is how long the entry about a removal may take to be sealed: before that, entries that are missing are not
// told to be missing.
const removalGrace = 2 * time.Minute

// LogVerification is what the verifications have come to.
type LogVerification struct {
	Size         int64     // of the newest checkpoint; 0: none
	Now          time.Time // by the database
	Since, Whole ScopeState

	// Impossible says what the stored state claims that cannot be, such as a verification in the future; empty: nothing. The
	// role of serve may write that state, so such a claim is not believed: what it speaks of is verified again.
	Impossible string
}

// ScopeState is what the verifications of one scope have come to.
type ScopeState struct {
	Verified int64     // ScopeSince: positions below are verified or told to be bad. ScopeWhole: size of the log at the last one
	EndedAt  time.Time // of the last one; before the first, when the database was made ready for it
	OKAt     time.Time // of the last one that found nothing wrong; zero: none yet
	BeganAt  time.Time // of the one under way; zero: none
	Fault    *audit.Fault
	FaultAt  time.Time // when Fault was found

	walk walkState
}

// walkState is the progress of a verification of ScopeWhole as it is stored.
type walkState struct {
	audit.Progress
	MissingAt time.Time `json:"missingAt"` // when the last entry that is not there any more was passed
}

// Bad tells whether something was found that no later verification has superseded.
func (v LogVerification) Bad() bool { return v.Since.Fault != nil || v.Whole.Fault != nil }

// VerificationRecord is what a verification found. Its JSON is the facts of its entry, and part of the audit format.
type VerificationRecord struct {
	System     string            `json:"system"`
	Scope      string            `json:"scope"`
	From       int64             `json:"from"`
	To         int64             `json:"to"`             // positions From ≤ seq < To
	Root       string            `json:"root,omitempty"` // of the log of To entries, where nothing is wrong
	Removed    int64             `json:"removed"`        // of them, removed since their time was over
	TookMillis int64             `json:"tookMillis"`
	Found      *VerificationFind `json:"found,omitempty"`  // the first thing that is wrong
	Counts     *audit.Commitment `json:"counts,omitempty"` // ScopeSince, where nothing is wrong
}

// VerificationFind is the first thing that is wrong, and where.
type VerificationFind struct {
	Seq    int64  `json:"seq"`
	Reason string `json:"reason"`
}

// LogVerification reads what the verifications have come to.
func (l *Log) LogVerification(ctx context.Context) (v LogVerification, err error) {
	rows, _ := l.query.Query(ctx, `
WITH log AS (SELECT coalesce(max(size), 0) AS size FROM log_checkpoint)
SELECT scope, verified, coalesce(progress::text, '{}'), began_at, ended_at, ok_at, fault_seq, fault_reason, fault_at, now(), log.size,
  (SELECT coalesce(max(to_seq), 0) FROM log_count WHERE to_seq <= log.size)
FROM log_verification, log`)
	var scope, progress string
	var read ScopeState
	var seq *int64
	var reason string
	var counted int64
	_, err = pgx.ForEachRow(rows, store.Columns(&scope, &read.Verified, &progress, &read.BeganAt, &read.EndedAt, &read.OKAt, &seq, &reason, &read.FaultAt, &v.Now, &v.Size, &counted), func() error {
		state := &v.Since
		if scope == ScopeWhole {
			state = &v.Whole
		}
		if *state = read; seq != nil {
			state.Fault = &audit.Fault{Seq: *seq, Reason: reason}
		}
		return json.Unmarshal([]byte(progress), &state.walk)
	})
	if err != nil {
		return v, store.Unavailable("read the state of verification", err)
	}
	v.doubt(counted)
	return v, nil
}

// doubt takes back what the stored state claims and cannot be. counted is where the counts of clients end.
func (v *LogVerification) doubt(counted int64) {
	for _, s := range []*ScopeState{&v.Since, &v.Whole} {
		if s.EndedAt.After(v.Now) || s.OKAt.After(v.Now) || s.BeganAt.After(v.Now) {
			v.Impossible = "the stored state of the log's verification has a time in the future"
			*s = ScopeState{Verified: s.Verified, Fault: s.Fault, FaultAt: s.FaultAt}
		}
	}
	if v.Since.Verified > v.Size {
		v.Impossible = fmt.Sprintf("the stored state of the log's verification says that %d entries are verified, and the log has %d", v.Since.Verified, v.Size)
		v.Since = ScopeState{Verified: counted, Fault: v.Since.Fault, FaultAt: v.Since.FaultAt}
	}
	if v.Whole.walk.Size > v.Size {
		v.Impossible = fmt.Sprintf("the stored state of the log's verification has come to entry %d, and the log has %d", v.Whole.walk.Size, v.Size)
		v.Whole = ScopeState{Verified: v.Whole.Verified, Fault: v.Whole.Fault, FaultAt: v.Whole.FaultAt}
	}
}

// VerifySince verifies what was sealed since its last call, at most so many entries, and records the finding in the history
// with the counts of each client. It returns nil and writes no entry when only entries about verifications were sealed, or
// none. One replica at a time may call it (InTurn). An error means that the log could not be read.
func (l *Log) VerifySince(ctx context.Context, key ed25519.PublicKey, most int64) (*VerificationRecord, error) {
	began := time.Now()
	state, err := l.LogVerification(ctx)
	if err != nil {
		return nil, err
	}
	from := state.Since.Verified
	to, err := l.checkpointAfter(ctx, from, most)
	if err != nil {
		return nil, err
	}
	if to == 0 {
		return nil, l.verifiedNothing(ctx)
	}
	var counter audit.Counter
	others := 0
	p := partOfLog{key: key, from: audit.Progress{Size: from}, to: to, sealed: func(e *audit.Entry, leaf audit.Hash) {
		if e.ClientID != nil {
			counter.Add(*e.ClientID, leaf)
		}
		if e.Kind != history.FactVerification {
			others++
		}
	}}
	r := &VerificationRecord{System: l.system, Scope: ScopeSince, From: from, To: to}
	verdict, _, err := l.verifyPart(ctx, p)
	if err := r.judge(verdict, err); err != nil {
		return nil, store.Unavailable("verify the log", err)
	}
	if r.Found == nil && others == 0 && r.Removed == 0 {
		return nil, l.verifiedNothing(ctx)
	}
	r.TookMillis = time.Since(began).Milliseconds()
	return r, store.Unavailable("record the verification", l.recordSince(ctx, r, counter.Counts()))
}

// judge takes what a verification came to. An error that is no fault is returned.
func (r *VerificationRecord) judge(v audit.VerifiedLog, err error) error {
	var fault *audit.Fault
	switch {
	case errors.As(err, &fault):
		r.Found = &VerificationFind{fault.Seq, fault.Reason}
	case err != nil:
		return err
	default:
		r.Root, r.Removed = v.Root.String(), v.Removed
	}
	return nil
}

// verifiedNothing notes that there was nothing to verify.
func (l *Log) verifiedNothing(ctx context.Context) error {
	_, err := l.query.Exec(ctx, "UPDATE log_verification SET ended_at = now(), ok_at = now() WHERE scope = 'since'")
	return store.Unavailable("note the verification", err)
}

// okNotAhead takes a time in the future out of the state (see LogVerification.Impossible).
const okNotAhead = "ok_at = CASE WHEN ok_at <= now() THEN ok_at END, "

// recordSince writes entry, counts and state in one transaction.
func (l *Log) recordSince(ctx context.Context, r *VerificationRecord, counts audit.ClientCounts) error {
	return pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		id := store.NewID()
		if r.Found == nil {
			previous, err := previousCounts(ctx, tx)
			if err != nil {
				return err
			}
			r.Counts = &audit.Commitment{From: r.From, To: r.To, Clients: int64(len(counts)), Root: counts.Root().String(), Previous: previous}
			_, err = tx.Exec(ctx, "INSERT INTO log_count (to_seq, from_seq, entry, clients) VALUES ($1, $2, $3, $4)", r.To, r.From, store.ToUUID(id), counts.Marshal())
			if err != nil {
				return err
			}
		}
		if err := insertVerification(ctx, tx, id, r); err != nil {
			return err
		}
		if r.Found == nil {
			_, err := tx.Exec(ctx, "UPDATE log_verification SET verified = $1, ended_at = now(), ok_at = now() WHERE scope = 'since'", r.To)
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE log_verification SET verified = $1, ended_at = now(), `+okNotAhead+`fault_seq = $2, fault_reason = $3, fault_at = now() WHERE scope = 'since'`,
			r.To, r.Found.Seq, r.Found.Reason)
		return err
	})
}

func insertVerification(ctx context.Context, tx pgx.Tx, id notice.ID, r *VerificationRecord) error {
	outcome := "ok"
	if r.Found != nil {
		outcome = "bad"
	}
	return plainEntry{id, history.FactVerification, outcome, r}.add(ctx, tx)
}

// previousCounts is the position of the newest entry with counts; nil when there is none, or it is not sealed yet.
func previousCounts(ctx context.Context, q querier) (*int64, error) {
	var at cursor
	err := q.QueryRow(ctx, "SELECT xid, entry FROM log_count ORDER BY to_seq DESC LIMIT 1").Scan(store.Columns(&at.xid, &at.id)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var size int64
	if err := q.QueryRow(ctx, "SELECT coalesce(max(size), 0) FROM log_checkpoint").Scan(&size); err != nil {
		return nil, err
	}
	found, err := findPositions(ctx, q, []audit.Entry{{XID: at.xid, ID: at.id}}, size)
	if err != nil || found[0] == nil {
		return nil, err
	}
	return &found[0].seq, nil
}

// VerifyWhole verifies the next part, of so many entries, of the whole log, and begins anew after the end. At the end it
// records the finding in the history and returns it. more tells that another part can be verified at once. The database keeps
// the progress, so a restart costs one part at most. One replica at a time may call it (InTurn).
func (l *Log) VerifyWhole(ctx context.Context, key ed25519.PublicKey, part int64) (r *VerificationRecord, more bool, err error) {
	state, err := l.LogVerification(ctx)
	if err != nil || state.Size == 0 {
		return nil, false, err
	}
	walk := state.Whole.walk
	if state.Whole.BeganAt.IsZero() {
		walk = walkState{}
		if err := l.keepWalk(ctx, &walk); err != nil {
			return nil, false, err
		}
		state.Whole.BeganAt = state.Now
	}
	r = &VerificationRecord{System: l.system, Scope: ScopeWhole, To: state.Size}
	to, err := l.checkpointAfter(ctx, walk.Size, part)
	if err != nil {
		return nil, false, err
	}
	verdict, v, err := l.verifyPart(ctx, partOfLog{key: key, from: walk.Progress, to: max(to, walk.Size)})
	if err == nil {
		if verdict.Removed > walk.Removals() {
			walk.MissingAt = state.Now
		}
		walk.Progress = v.Progress()
		if walk.Size < state.Size {
			return nil, true, l.keepWalk(ctx, &walk)
		}
		if verdict, err = v.Finish(); err != nil && state.Now.Sub(walk.MissingAt) < removalGrace {
			return nil, false, l.keepWalk(ctx, &walk) // the entry about the removal may not be sealed yet
		}
		if err == nil {
			err = verdict.AsOf(state.Now)
		}
		r.To = walk.Size
	}
	if err := r.judge(verdict, err); err != nil {
		return nil, false, store.Unavailable("verify the log", err)
	}
	r.TookMillis = state.Now.Sub(state.Whole.BeganAt).Milliseconds()
	return r, false, store.Unavailable("record the verification", l.recordWhole(ctx, r))
}

// keepWalk stores how far the walk has come.
func (l *Log) keepWalk(ctx context.Context, walk *walkState) error {
	text, err := store.Facts(walk)
	if err != nil {
		return err
	}
	_, err = l.query.Exec(ctx, "UPDATE log_verification SET progress = $1::jsonb, began_at = coalesce(began_at, now()) WHERE scope = 'whole'", text)
	return store.Unavailable("keep the progress of the verification", err)
}

// recordWhole writes entry and state in one transaction. One that finds nothing wrong supersedes what was found before it
// began.
func (l *Log) recordWhole(ctx context.Context, r *VerificationRecord) error {
	return pgx.BeginFunc(ctx, l.query, func(tx pgx.Tx) error {
		if err := insertVerification(ctx, tx, store.NewID(), r); err != nil {
			return err
		}
		const ended = "UPDATE log_verification SET verified = $1, progress = NULL, began_at = NULL, ended_at = now(), "
		if r.Found != nil {
			_, err := tx.Exec(ctx, ended+okNotAhead+"fault_seq = $2, fault_reason = $3, fault_at = now() WHERE scope = 'whole'", r.To, r.Found.Seq, r.Found.Reason)
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE log_verification SET fault_seq = NULL, fault_reason = NULL, fault_at = NULL
WHERE fault_at < (SELECT began_at FROM log_verification WHERE scope = 'whole')`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, ended+"ok_at = now() WHERE scope = 'whole'", r.To)
		return err
	})
}

// checkpointAfter is the size of the largest checkpoint that covers at most so many entries more than a size, or of the
// next one where that covers more already; 0: there is none.
func (l *Log) checkpointAfter(ctx context.Context, size, most int64) (next int64, err error) {
	err = l.query.QueryRow(ctx, `SELECT coalesce((SELECT max(size) FROM log_checkpoint WHERE size > $1 AND size <= $1 + $2), (SELECT min(size) FROM log_checkpoint WHERE size > $1), 0)`,
		size, most).Scan(&next)
	return next, store.Unavailable("find the next checkpoint", err)
}

// partOfLog is the part of the log that one walk verifies: from one checkpoint to another.
type partOfLog struct {
	key    ed25519.PublicKey
	from   audit.Progress
	to     int64
	sealed func(e *audit.Entry, leaf audit.Hash)
}

// verifyPart walks through a part of the log, in short windows with a rest after each. The tree at its beginning is made
// of what is stored and must have the root that was signed. What is wrong is an *audit.Fault.
func (l *Log) verifyPart(ctx context.Context, p partOfLog) (verdict audit.VerifiedLog, v *audit.Verifier, err error) {
	w := &verification{db: l.query, key: p.key, last: before, end: p.to, gentle: true, sealed: p.sealed, v: audit.Resume(p.from, &audit.Range{})}
	if err := w.registered(ctx); err != nil {
		return verdict, nil, err
	}
	if p.from.Size > 0 {
		if err := w.window(ctx, func(q querier) error { return w.resume(ctx, q, p.from) }); err != nil {
			return verdict, nil, err
		}
	}
	if p.to > p.from.Size {
		if err := w.walk(ctx); err != nil {
			return verdict, nil, err
		}
	}
	verdict, err = w.v.FinishPart()
	return verdict, w.v, err
}

// resume rebuilds the tree at the beginning of a part, and compares it with the checkpoint there.
func (w *verification) resume(ctx context.Context, q querier, from audit.Progress) error {
	fault := func(reason string, args ...any) error {
		return &audit.Fault{Seq: from.Size - 1, Reason: fmt.Sprintf(reason, args...)}
	}
	var signed string
	err := q.QueryRow(ctx, "SELECT note FROM log_checkpoint WHERE size = $1", from.Size).Scan(&signed)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault("the checkpoint of %d entries is not in the database any more", from.Size)
	}
	if err != nil {
		return err
	}
	c, err := audit.OpenCheckpoint([]byte(signed), w.key)
	if err != nil {
		return fault("the checkpoint of %d entries: %v", from.Size, err)
	}
	tree, err := audit.ReadRange(stored{ctx, q}, from.Size)
	if errors.Is(err, errGap) {
		return fault("the stored tree of %d entries has gaps: %v", from.Size, err)
	}
	if err != nil {
		return err
	}
	if c.Size != from.Size || tree.Root() != c.Root {
		return fault("the stored tree of %d entries is not what was signed at %s", from.Size, c.At)
	}
	positions, err := readPositions(ctx, q, from.Size-1, 1)
	if err != nil {
		return err
	}
	if len(positions) != 1 || positions[0].seq != from.Size-1 {
		return fault("its position is missing")
	}
	w.last, w.v = positions[0].at, audit.Resume(from, tree)
	return nil
}
