package seal

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// When the log is verified.
const (
	verifyTick       = time.Minute // the longest time between two calls of Tick
	verifyWholeEvery = 7 * 24 * time.Hour
	verifyDoubtEvery = 24 * time.Hour // the whole log, while a finding stands
	verifySinceMost  = 1_000_000      // entries in one verification of what is new; so many new entries make it due
	verifyWholePart  = 200_000        // entries of the whole log in one part
)

// SelfVerifier verifies what was sealed since the last time, and once a week the whole log. One replica at a time does it. The result
// is an entry of the history, and every replica shows it in its metrics and in the notes of /readyz.
type SelfVerifier struct {
	cfg      *config.Config
	auditlog *auditlog.Log
	log      *slog.Logger
	key      func(context.Context) (ed25519.PublicKey, error)
	observer VerifyObserver

	bad  atomic.Pointer[haltReason] // note for /readyz; nil: none
	wake chan struct{}              // a verification was asked for
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

// NewVerifier prepares verification; key returns the public key of the log, or nil if none is registered yet.
func NewVerifier(cfg *config.Config, l *auditlog.Log, key func(context.Context) (ed25519.PublicKey, error), log *slog.Logger, o VerifyObserver) *SelfVerifier {
	return &SelfVerifier{cfg: cfg, auditlog: l, log: log, key: key, observer: o, wake: make(chan struct{}, 1)}
}

// Every is how often Tick is to be called.
func (w *SelfVerifier) Every() time.Duration { return min(verifyTick, w.cfg.Log.VerifyEvery) }

// Ask begins a verification of the whole log, or joins the one under way, at whichever replica. An error that knows NotFound()
// bool and answers true means that nothing is sealed yet.
func (w *SelfVerifier) Ask(ctx context.Context) (history.Verification, error) {
	v, err := w.auditlog.AskWhole(ctx)
	if err != nil {
		return v, err
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return v, nil
}

// Asked tells that Tick is to be called at once.
func (w *SelfVerifier) Asked() <-chan struct{} { return w.wake }

// Tick publishes the results of all replicas, and verifies what is due unless another replica does.
func (w *SelfVerifier) Tick(ctx context.Context) error {
	state, err := w.publish(ctx)
	if err != nil || !w.sinceDue(&state) && !w.wholeDue(&state) {
		return err
	}
	_, err = w.auditlog.InTurn(ctx, "verify", w.run)
	return err
}

// sinceDue returns whether what was sealed since the last time must be verified.
func (w *SelfVerifier) sinceDue(v *auditlog.LogVerification) bool {
	return v.Size-v.Since.Verified >= verifySinceMost || v.Now.Sub(v.Since.EndedAt) >= w.cfg.Log.VerifyEvery
}

// wholeDue returns whether the whole log must be verified, or is being verified.
func (w *SelfVerifier) wholeDue(v *auditlog.LogVerification) bool {
	every := verifyWholeEvery
	if v.Bad() {
		every = verifyDoubtEvery
	}
	return !v.Whole.BeganAt.IsZero() || v.Size > 0 && v.Now.Sub(v.Whole.EndedAt) >= every
}

// run verifies part by part while something is due, what is new first.
func (w *SelfVerifier) run(ctx context.Context) error {
	key, err := w.key(ctx)
	if err != nil || key == nil {
		return err // without a registered key, nothing was sealed
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

// tell logs the result of a verification; nil: there was nothing to record.
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

// publish shows the results of all replicas, and returns them.
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
	var note *haltReason
	for _, s := range []*auditlog.ScopeState{&v.Whole, &v.Since} {
		if s.Fault == nil {
			continue
		}
		at := s.FaultAt.Format(time.RFC3339)
		note = &haltReason{
			fmt.Sprintf("log: the verification of %s found that it is not what was signed, first at position %d: %s; run arauto audit verify", at, s.Fault.Seq, s.Fault.Reason),
			fmt.Sprintf("log: a verificação de %s constatou que não é o que foi assinado, primeiro na posição %d (%s%s); rode arauto audit verify", at, s.Fault.Seq, technical, s.Fault.Reason),
		}
	}
	w.observer.Verified(v.Since.Verified, note != nil)
	w.bad.Store(note)
	return v, nil
}

// Notes returns what operators are told while a finding stands, in Portuguese or, as /readyz does, in English.
func (w *SelfVerifier) Notes(portuguese bool) []string {
	note := w.bad.Load()
	switch {
	case note == nil:
		return nil
	case portuguese:
		return []string{note.pt}
	}
	return []string{note.en}
}
