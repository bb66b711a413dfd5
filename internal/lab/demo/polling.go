package demo

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// The payments whose polling is compared, and who polls: a client of beta's organisation that has no push.
const (
	poller      = "gama"
	pollEvery   = 500 * time.Millisecond
	settlesIn   = 15 * time.Second
	paymentPath = "/open-banking/payments/v5/pix/payments/"
)

// compare has two initiators learn that a payment was settled: one by push, and one by polling.
func (d *demo) compare(ctx context.Context, told *standin.Initiator) error {
	beta := certs.DefaultBeta
	err := d.core.Register(ctx, poller, stage.Registration{OrganisationID: beta.Organisation.ID, SoftwareID: beta.SoftwareID, Name: "Gama, sem push"})
	if err != nil {
		return fmt.Errorf("register %s: %w", poller, err)
	}
	client := certs.DefaultAlfa.Name
	if d.Client != "" {
		client = d.Client
	}
	pushed, polled := store.NewID().String(), store.NewID().String()
	change := func(client, id string, revision int64, status ofb.Status) error {
		_, err := d.core.Change(ctx, stage.Change{
			Kind: ofb.PixPayment.String(), ClientID: client, APIVersion: "v5", Revision: revision, OccurredAt: time.Now().UTC(),
			Data: openapitest.Document(ofb.PixPayment, "v5", status, id),
		})
		return err
	}
	for who, id := range map[string]string{client: pushed, poller: polled} {
		if err := change(who, id, 1, ofb.RCVD); err != nil {
			return err
		}
	}
	d.say("core", "a payment of alfa and one of %s are received; both settle in %s. %s has no push and asks every %s", poller, settlesIn, poller, pollEvery)
	var both errgroup.Group
	both.Go(func() error {
		if _, err := told.Wait(ctx, 1, standin.For(pushed)); err != nil {
			return fmt.Errorf("the push of %s: %w", pushed, err)
		}
		return d.pollUntil(ctx, certs.DefaultAlfa, client, pushed)
	})
	both.Go(func() error { return d.pollUntil(ctx, beta, poller, polled) })
	both.Go(func() error {
		select {
		case <-time.After(settlesIn):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := change(client, pushed, 2, ofb.ACSC); err != nil {
			return err
		}
		return change(poller, polled, 2, ofb.ACSC)
	})
	return both.Wait()
}

// pollUntil asks for a payment until it is settled.
func (d *demo) pollUntil(ctx context.Context, who certs.Participant, client, id string) error {
	folder := filepath.Join(d.stage.Dir, "pki", "initiators", who.Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brcac.pem"), filepath.Join(folder, "brcac.key"))
	if err != nil {
		return err
	}
	asker, err := d.stage.Asker(who, pair)
	if err != nil {
		return err
	}
	defer asker.Close()
	token, err := asker.Token(client)
	if err != nil {
		return err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		status, err := asker.Ask(ctx, d.replica.Public, token, stage.NewInteraction(), paymentPath+id)
		if err != nil {
			return fmt.Errorf("poll of %s: %w", client, err)
		}
		if status == string(ofb.ACSC) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// saved says what the log tells of the polling that pushes saved.
func (d *demo) saved(ctx context.Context) error {
	text, err := d.audit(ctx, "report", "--polling", "--month", time.Now().In(ofb.Brasilia).Format("2006-01"), "--format", "json", "--database-url", d.stage.Database)
	if err != nil {
		return err
	}
	var report figures.PollingReport
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	of := func(name string) (found figures.PollingClient, err error) {
		at := slices.IndexFunc(report.Clients, func(c figures.PollingClient) bool { return string(c.Client) == name })
		if at < 0 {
			return found, fmt.Errorf("the report does not name %s: %s", name, text)
		}
		return report.Clients[at], nil
	}
	told, err := of(certs.DefaultAlfa.Name)
	if err != nil {
		return err
	}
	asked, err := of(poller)
	if err != nil {
		return err
	}
	if told.AvoidedAtOthers == nil || *told.AvoidedAtOthers <= 0 || asked.Queries <= told.Queries {
		return fmt.Errorf("pushes saved nothing: %s", text)
	}
	fmt.Fprintf(d.out, "polling: alfa, told by push, asked %d times for %d resources; %s, which polls, %d times for %d. Asking as that one does, alfa would have made about %d more queries\n\n",
		told.Queries, told.Resources, poller, asked.Queries, asked.Resources, *told.AvoidedAtOthers)
	return nil
}
