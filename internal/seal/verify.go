package seal

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// How often the log is verified without anybody's asking.
const (
	verifyTick       = time.Minute // the longest time between two looks whether it is due
	verifyWholeEvery = 7 * 24 * time.Hour
	verifyDoubtEvery = 24 * time.Hour // the whole log, while something bad is not superseded
	verifySinceMost  = 1_000_000      // entries in one verification of what is new; as many that are new are verified at once
	verifyWholePart  = 200_000        // entries of the whole log between two records of progress
)

// verifier verifies the log by itself: what was sealed since the last time, and once a week all of it. Any replica may do
// it and one at a time does. What it found is an entry of the history; every replica shows it in its metrics and in the
// notes of /readyz. It does not replace verification from outside: anybody who can change the database and this process can
// change both.
type SelfVerifier struct {
	cfg      *config.Config
	auditlog *auditlog.Log
	log      *slog.Logger
	key      func(context.Context) (ed25519.PublicKey, error)
	observer VerifyObserver

	bad atomic.Pointer[string] // note for /readyz; nil: none
}

// VerifyObserver is told what verifications found. Its methods return at once. A scope is auditlog.ScopeSince or
// auditlog.ScopeWhole.
type VerifyObserver interface {
	// VerifiedOK tells when the last verification of a scope without a finding ended, at whichever replica.
	VerifiedOK(scope string, at time.Time)
	// VerifiedBad tells that a verification by this replica found something.
	VerifiedBad(scope string)
	// Verified tells how many entries a verification has checked since they were sealed, and whether a finding stands:
	// from a verification with one until one of the whole log without any.
	Verified(size int64, bad bool)
}

// newVerifier prepares verification with the log's key.
func NewVerifier(cfg *config.Config, l *auditlog.Log, key func(context.Context) (ed25519.PublicKey, error), log *slog.Logger, o VerifyObserver) *SelfVerifier {
	return &SelfVerifier{cfg: cfg, auditlog: l, log: log, key: key, observer: o}
}

// every is the time between two looks.
func (w *SelfVerifier) Every() time.Duration { return min(verifyTick, w.cfg.Log.VerifyEvery) }

// tick publishes what the verifications have come to, and goes on with what is due.
func (w *SelfVerifier) Tick(ctx context.Context) error {
	state, err := w.publish(ctx)
	if err != nil || !w.sinceDue(&state) && !w.wholeDue(&state) {
		return err
	}
	_, err = w.auditlog.InTurn(ctx, "verify", w.run)
	return err
}

// sinceDue tells whether what was sealed since the last time is to be verified.
func (w *SelfVerifier) sinceDue(v *auditlog.LogVerification) bool {
	return v.Size-v.Since.Verified >= verifySinceMost || v.Now.Sub(v.Since.EndedAt) >= w.cfg.Log.VerifyEvery
}

// wholeDue tells whether the whole log is to be verified, or being verified.
func (w *SelfVerifier) wholeDue(v *auditlog.LogVerification) bool {
	every := verifyWholeEvery
	if v.Bad() {
		every = verifyDoubtEvery
	}
	return !v.Whole.BeganAt.IsZero() || v.Size > 0 && v.Now.Sub(v.Whole.EndedAt) >= every
}

// run verifies part by part for as long as something is due. What is new comes first.
func (w *SelfVerifier) run(ctx context.Context) error {
	key, err := w.key(ctx)
	if err != nil || key == nil {
		return err // nothing was ever sealed without a registered key
	}
	for more := true; more; {
		state, err := w.publish(ctx)
		if err != nil {
			return err
		}
		var r *auditlog.VerificationRecord
		switch {
		case w.sinceDue(&state):
			r, err = w.auditlog.VerifySince(ctx, key, verifySinceMost)
		case w.wholeDue(&state):
			r, more, err = w.auditlog.VerifyWhole(ctx, key, verifyWholePart)
		default:
			return nil
		}
		if err != nil {
			return err
		}
		w.tell(r)
	}
	_, err = w.publish(ctx)
	return err
}

// tell says what a verification found; nil: it found nothing to record.
func (w *SelfVerifier) tell(r *auditlog.VerificationRecord) {
	switch {
	case r == nil:
	case r.Found != nil:
		w.observer.VerifiedBad(r.Scope)
		w.log.Error("the log is not what was signed", "scope", r.Scope, "seq", r.Found.Seq, "reason", r.Found.Reason, "from", r.From, "to", r.To)
	default:
		w.log.Info("log verified", "scope", r.Scope, "from", r.From, "to", r.To, "root", r.Root, "took_ms", r.TookMillis)
	}
}

// publish shows what all replicas know.
func (w *SelfVerifier) publish(ctx context.Context) (auditlog.LogVerification, error) {
	v, err := w.auditlog.LogVerification(ctx)
	if err != nil {
		return v, err
	}
	for scope, s := range map[string]*auditlog.ScopeState{auditlog.ScopeSince: &v.Since, auditlog.ScopeWhole: &v.Whole} {
		if !s.OKAt.IsZero() {
			w.observer.VerifiedOK(scope, s.OKAt)
		}
	}
	if v.Impossible != "" {
		w.log.Error("stored state of verification refused", "reason", v.Impossible)
	}
	var note *string
	for _, s := range []*auditlog.ScopeState{&v.Whole, &v.Since} {
		if s.Fault == nil {
			continue
		}
		text := fmt.Sprintf("log: the verification of %s found that it is not what was signed, first at position %d: %s; run arauto audit verify",
			s.FaultAt.Format(time.RFC3339), s.Fault.Seq, s.Fault.Reason)
		note = &text
	}
	w.observer.Verified(v.Since.Verified, note != nil)
	w.bad.Store(note)
	return v, nil
}

// notes are what /readyz adds while something bad is not superseded.
func (w *SelfVerifier) Notes() []string {
	if text := w.bad.Load(); text != nil {
		return []string{*text}
	}
	return nil
}
