package gateway

import (
	"context"
	"errors"
	"slices"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// extension is what initiators get beyond the rules; nil when it is off.
func (g *Gateway) extension() *status.Extension {
	if !g.cfg.Extension.Enabled {
		return nil
	}
	e := &status.Extension{Feed: g.auditlog, Receipts: receipts{g}, Preflights: preflights{g}, Acknowledgements: g.auditlog, Observer: metrics.FeedObserver{Metrics: g.metrics}}
	if g.cfg.Extension.Redelivery {
		e.Redelivery = g.auditlog
	}
	return e
}

// preflights implements status.Preflights.
type preflights struct{ *Gateway }

// Preflight implements status.Preflights.
func (p preflights) Preflight(ctx context.Context, client notice.ClientID, portuguese bool) (address string, steps []status.ReachStep, err error) {
	found, err := p.registry.Get(ctx, client)
	if err != nil || len(found.WebhookURIs) == 0 {
		return "", nil, err
	}
	address = found.WebhookURIs[0]
	for _, s := range p.sender.ProbeAs(ctx, brand.Of(client), address) {
		words := s.Public(portuguese)
		step := status.ReachStep{Step: string(s.Name), OK: s.Err == nil, Detail: words.Seen}
		if s.Err != nil {
			step.Problem, step.Advice = &words.Problem, &words.Advice
		}
		steps = append(steps, step)
	}
	return address, steps, nil
}

// receipts implements status.AttemptReceipts.
type receipts struct{ *Gateway }

// SentAttempt implements status.AttemptReceipts.
func (r receipts) SentAttempt(ctx context.Context, client notice.ClientID, interaction notice.ID) (history.SentAttempt, error) {
	sent, err := r.auditlog.AttemptOf(ctx, client, interaction)
	if err != nil {
		return sent, err
	}
	size, err := r.sealer.VouchedSize(ctx)
	if err != nil {
		return sent, err
	}
	if size > 0 { // proofs that witnesses vouched for, where the attempt is old enough
		if err := r.prove(ctx, &sent, size); err != nil || proven(&sent) {
			return sent, err
		}
	}
	err = r.prove(ctx, &sent, 0)
	return sent, err
}

// proven tells whether the end of the attempt is proven, or has not come.
func proven(sent *history.SentAttempt) bool {
	at := slices.IndexFunc(sent.Record.Attempts, func(a history.AttemptRecord) bool { return a.Number == sent.Number })
	return sent.ResultProof != nil || at >= 0 && sent.Record.Attempts[at].Outcome == "" && sent.Proof != nil
}

// prove adds the proofs of an attempt's entries by the checkpoint of a size, 0 for the newest; those that are not sealed yet are missing.
func (r receipts) prove(ctx context.Context, sent *history.SentAttempt, size int64) error {
	log, err := r.auditlog.OpenLog(ctx, size)
	if errors.Is(err, store.ErrNoCheckpoint) { // nothing is sealed yet
		return nil
	}
	if err != nil {
		return err
	}
	defer log.Close(ctx)
	sent.LogKey = log.Head().Public
	var entries []*audit.Sealed
	of := history.Search{Notification: sent.Record.ID, Entries: []string{history.FactAttempt, history.FactResult}}
	err = log.Each(ctx, of, func(e *audit.Sealed) error {
		if int(audit.Value(e.Entry.Number)) == sent.Number {
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		proof, err := evidence.Prove(ctx, log, e.Seq)
		if err != nil {
			return err
		}
		if e.Entry.Kind == history.FactResult {
			sent.ResultProof = proof
		} else {
			sent.Proof = proof
		}
	}
	return nil
}

// OwnFingerprint implements status.AttemptReceipts.
func (r receipts) OwnFingerprint(client notice.ClientID, serial string) string {
	for _, b := range r.trust.Brands {
		if c := b.Client.Current(); b.Key() == brand.Of(client) && c != nil && c.Leaf != nil && c.Leaf.SerialNumber.Text(16) == serial {
			return mtls.Fingerprint(c.Leaf)
		}
	}
	return ""
}
