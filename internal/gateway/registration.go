package gateway

import (
	"context"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/webhook"
)

// registrations stores them and closes what this replica has open towards a client whose registration changed. The other
// replicas read the new one with their next claim, and close their idle connections by themselves within a minute.
type registrations struct {
	*store.Store
	sender *webhook.Sender
}

// PutInitiator implements registry.Store.
func (r registrations) PutInitiator(ctx context.Context, in notice.Initiator, actor string) (notice.Initiator, bool, error) {
	stored, created, err := r.Store.PutInitiator(ctx, in, actor)
	if err == nil {
		r.sender.Forget(in.Client)
	}
	return stored, created, err
}

// DeleteInitiator implements registry.Store.
func (r registrations) DeleteInitiator(ctx context.Context, client notice.ClientID, actor string) error {
	err := r.Store.DeleteInitiator(ctx, client, actor)
	if err == nil {
		r.sender.Forget(client)
	}
	return err
}
