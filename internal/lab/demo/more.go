package demo

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// lateBy is how old the change of the late story is when the core tells of it: more than the 1.5 s of the rule.
const lateBy = 4 * time.Second

// polls is how often the poller asks.
const polls = 12

// more leaves what people look for on the console's pages beside the stories: a late first attempt, a change in quarantine, a change
// of a client that nobody registered, and an initiator that polls without a push.
func (d *demo) more(ctx context.Context, alfa *standin.Initiator) error {
	change := func(client, id string, revision int64, status ofb.Status, age time.Duration) error {
		_, err := d.core.Change(ctx, stage.Change{
			Kind: ofb.PixPayment.String(), ClientID: client, APIVersion: "v5", Revision: revision, OccurredAt: time.Now().UTC().Add(-age),
			Data: openapitest.Document(ofb.PixPayment, "v5", status, id),
		})
		return err
	}
	late, polled := store.NewID().String(), store.NewID().String()
	alfa.Answer(late, standin.Accept)
	if err := change("alfa", late, 1, ofb.ACSC, lateBy); err != nil {
		return fmt.Errorf("the late change: %w", err)
	}
	if _, err := alfa.Wait(ctx, 1, standin.For(late)); err != nil {
		return fmt.Errorf("the late attempt: %w", err)
	}
	d.say("core", "told of %s %s after it happened; its first attempt is late, and the cause is the core", short(late), lateBy)
	if err := change("alfa", late, 2, ofb.RCVD, 0); err == nil {
		return fmt.Errorf("a step from %s to %s was not put into quarantine", ofb.ACSC, ofb.RCVD)
	}
	d.say("core", "wants %s back to %s; the rules know no such step, so the change waits in quarantine", short(late), ofb.RCVD)
	if err := change("gama", store.NewID().String(), 1, ofb.ACSC, 0); err != nil {
		return fmt.Errorf("the change of an unknown client: %w", err)
	}
	d.say("core", "tells of a payment of gama, which nobody registered; it is kept and not announced")
	if err := change("alfa", polled, 1, ofb.RCVD, 0); err != nil {
		return fmt.Errorf("the change that is polled: %w", err)
	}
	asker, token, err := d.asker()
	if err != nil {
		return err
	}
	defer asker.Close()
	for range polls {
		if _, err := asker.Ask(ctx, d.replica.Public, token, stage.NewInteraction(), stage.StatusPath(ofb.PixPayment, "v5", polled)); err != nil {
			return fmt.Errorf("poll: %w", err)
		}
	}
	d.say("alfa", "polls %d times for %s, which the rules do not announce yet", polls, short(polled))
	return nil
}

// asker polls as alfa; the caller closes it.
func (d *demo) asker() (*stage.Asker, string, error) {
	folder := filepath.Join(d.stage.Dir, "pki", "initiators", certs.DefaultAlfa.Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brcac.pem"), filepath.Join(folder, "brcac.key"))
	if err != nil {
		return nil, "", err
	}
	asker, err := d.stage.Asker(certs.DefaultAlfa, pair)
	if err != nil {
		return nil, "", err
	}
	token, err := asker.Token(certs.DefaultAlfa.Name)
	if err != nil {
		asker.Close()
		return nil, "", err
	}
	return asker, token, nil
}
