package gateway

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/seal"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/tiles"
)

// audited is the log as auditors read it through the API.
type audited struct{ *auditlog.Log }

// Open implements api.Audited.
func (a audited) Open(ctx context.Context, size int64) (evidence.SealedLog, func(), error) {
	x, err := a.OpenLog(ctx, size)
	if err != nil {
		return nil, nil, err
	}
	return x, func() { x.Close(ctx) }, nil
}

// Consistency implements bank.Audited.
func (a audited) Consistency(ctx context.Context, old, size int64) (audit.Consistency, ed25519.PublicKey, error) {
	x, err := a.OpenLog(ctx, size)
	if err != nil {
		return audit.Consistency{}, nil, err
	}
	defer x.Close(ctx)
	proof, err := x.ProveSince(ctx, old)
	return proof, x.Public, err
}

// verifications implements bank.Verifications.
type verifications struct {
	log      *auditlog.Log
	sealer   *seal.Sealer
	verifier *seal.SelfVerifier
}

// LogHealth implements bank.Verifications.
func (v verifications) LogHealth(ctx context.Context) (history.LogHealth, error) {
	h, err := v.log.LogHealth(ctx)
	if err != nil {
		return h, err
	}
	h.Anchors, h.SealsHere = v.sealer.AnchorStates(), v.sealer.SealsHere()
	h.NotSealing, h.NotSealingPT = v.sealer.NotSealing()
	h.Witnessing, err = v.sealer.WitnessStates(ctx)
	return h, err
}

// AskVerification implements bank.Verifications.
func (v verifications) AskVerification(ctx context.Context) (history.Verification, error) {
	return v.verifier.Ask(ctx)
}

// Verification implements bank.Verifications.
func (v verifications) Verification(ctx context.Context, began time.Time) (history.Verification, error) {
	return v.log.WholeVerification(ctx, began)
}

// makeExports makes what was asked for, one after the other.
func (g *Gateway) makeExports(ctx context.Context) error {
	maker := evidence.Maker{
		Jobs: g.auditlog, Version: g.version, TempDir: g.cfg.StateDir,
		Tampered: func(detail string) { g.tamperedRead(detail, history.Integrity{}) },
		Open: func(ctx context.Context, size int64, progress func(int64)) (evidence.SealedLog, func(), error) {
			x, err := g.auditlog.OpenLogForLong(ctx, size)
			if err != nil {
				return nil, nil, err
			}
			x.Progress = progress
			return x, func() { x.Close(ctx) }, nil
		},
	}
	for {
		made, err := maker.Make(ctx)
		if err != nil || !made {
			return err
		}
	}
}

// tellHeld says which months a hold keeps beyond their time, each hour: a forgotten hold keeps them forever.
func (g *Gateway) tellHeld(ctx context.Context) error {
	held, err := g.auditlog.HeldMonths(ctx)
	if err != nil {
		return err
	}
	g.metrics.HeldMonths.Set(float64(len(held)))
	for _, month := range slices.Sorted(maps.Keys(held)) {
		g.log.Warn("month of the history kept beyond its retention time by a hold", slog.String("partition", month), slog.String("holds", strings.Join(held[month], ", ")))
	}
	return nil
}

// openTiles opens the log as it is shown to mirrors.
func (g *Gateway) openTiles(ctx context.Context) (tiles.TreeSource, func(), error) {
	size, err := g.sealer.PublishedSize(ctx)
	if err != nil {
		return nil, nil, err
	}
	x, err := g.auditlog.OpenLog(ctx, size)
	if err != nil {
		return nil, nil, err
	}
	return x, func() { x.Close(ctx) }, nil
}
