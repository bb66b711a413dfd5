package auditlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
)

// LogHealth tells how far the log is verified and anchored, as the database has it.
func (l *Log) LogHealth(ctx context.Context) (h history.LogHealth, err error) {
	v, err := l.LogVerification(ctx)
	if err != nil {
		return h, err
	}
	h = history.LogHealth{Size: v.Size, Since: v.Since.verified(), Whole: v.Whole.verified(), Impossible: v.Impossible}
	err = l.query.QueryRow(ctx, "SELECT (SELECT at FROM log_checkpoint ORDER BY size DESC LIMIT 1), (SELECT anchored_through FROM seal_state)").Scan(store.Columns(&h.CheckpointAt, &h.AnchoredAt)...)
	if err != nil {
		return h, store.Unavailable("read the state of the log", err)
	}
	h.AnchoredAt = anchoredCheckpoint(h.AnchoredAt)
	if !v.Whole.BeganAt.IsZero() {
		running := v.underWay()
		h.Running = &running
	}
	return h, nil
}

func (s *ScopeState) verified() history.VerifiedScope {
	return history.VerifiedScope{Verified: s.Verified, EndedAt: s.EndedAt, OKAt: s.OKAt, Fault: logFault(s.Fault), FaultAt: s.FaultAt}
}

func logFault(f *audit.Fault) *history.LogFault {
	if f == nil {
		return nil
	}
	return &history.LogFault{Seq: f.Seq, Reason: f.Reason}
}

// underWay is the verification of the whole log that has begun.
func (v *LogVerification) underWay() history.Verification {
	return history.Verification{BeganAt: v.Whole.BeganAt, Verified: v.Whole.walk.Size, Size: v.Size}
}

// AskWhole begins a verification of the whole log, or joins the one under way; a SelfVerifier does the work. store.ErrNoCheckpoint
// when nothing is sealed yet.
func (l *Log) AskWhole(ctx context.Context) (history.Verification, error) {
	var began time.Time
	err := l.query.QueryRow(ctx, `UPDATE log_verification SET began_at = coalesce(began_at, now())
WHERE scope = 'whole' AND EXISTS (SELECT FROM log_checkpoint) RETURNING began_at`).Scan(store.Columns(&began)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return history.Verification{}, fmt.Errorf("nothing is sealed yet: %w", store.ErrNoCheckpoint)
	}
	if err != nil {
		return history.Verification{}, store.Unavailable("ask for a verification", err)
	}
	v, err := l.LogVerification(ctx)
	if err != nil {
		return history.Verification{}, err
	}
	if !v.Whole.BeganAt.Equal(began) { // it ended meanwhile
		return l.WholeVerification(ctx, began)
	}
	return v.underWay(), nil
}

// WholeVerification is the verification of the whole log that began at an instant: the one under way, or the first that ended
// after that instant. store.ErrNotFound when there is none.
func (l *Log) WholeVerification(ctx context.Context, began time.Time) (out history.Verification, err error) {
	v, err := l.LogVerification(ctx)
	if err != nil {
		return out, err
	}
	if v.Whole.BeganAt.Equal(began) {
		return v.underWay(), nil
	}
	var facts string
	err = l.query.QueryRow(ctx, `SELECT id, at, facts::text FROM entry
WHERE kind = 'verification' AND at >= $1 AND facts->>'scope' = 'whole' ORDER BY at LIMIT 1`, began).Scan(store.Columns(&out.Entry, &out.EndedAt, &facts)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, fmt.Errorf("verification of the whole log that began at %s: %w", began.Format(time.RFC3339Nano), store.ErrNotFound)
	}
	if err != nil {
		return out, store.Unavailable("find a verification", err)
	}
	var r VerificationRecord
	if err := json.Unmarshal([]byte(facts), &r); err != nil {
		return out, fmt.Errorf("facts of the verification %s: %w", out.Entry, err)
	}
	out.BeganAt, out.Verified, out.Size, out.Removed, out.Root = began, r.To, r.To, r.Removed, r.Root
	if r.Found != nil {
		out.Fault = &history.LogFault{Seq: r.Found.Seq, Reason: r.Found.Reason}
		out.Verified = r.Found.Seq
	}
	return out, nil
}
