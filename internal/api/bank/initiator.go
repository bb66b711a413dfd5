package bank

import (
	"context"
	"errors"
	"net/http"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

// Initiators judges and keeps the registrations; *registry.Registry does.
type Initiators interface {
	// Put judges a registration, stores it and tells whether the client is new. A *registry.Invalid says what is wrong.
	Put(ctx context.Context, client notice.ClientID, r registry.Request, actor string) (notice.Initiator, bool, error)
	Get(ctx context.Context, client notice.ClientID) (notice.Initiator, error)
	List(ctx context.Context) ([]notice.Initiator, error)
	Delete(ctx context.Context, client notice.ClientID, actor string) error
}

// initiatorJSON is a registration as it is read (contract, "Calls and effect").
type initiatorJSON struct {
	ClientID       notice.ClientID `json:"clientId"`
	OrganisationID string          `json:"organisationId"`
	SoftwareID     string          `json:"softwareId"`
	Name           string          `json:"name"`
	WebhookURIs    []string        `json:"webhookUris"`
	Push           bool            `json:"push"`
	UpdatedAt      instant         `json:"updatedAt"`
}

type initiatorsJSON struct {
	Initiators []initiatorJSON `json:"initiators"`
}

func initiatorOf(i *notice.Initiator) initiatorJSON {
	return initiatorJSON{
		ClientID: i.Client, OrganisationID: i.OrganisationID, SoftwareID: i.SoftwareID, Name: i.Name, WebhookURIs: i.WebhookURIs,
		Push: i.Push, UpdatedAt: instant(i.UpdatedAt),
	}
}

// clientOf is the client id in the path.
func clientOf(x *api.Exchange) (notice.ClientID, error) {
	s := x.Segment("clientId")
	if !notice.ValidClientID(s) {
		return "", invalid("/clientId", "format", "clientId must have 1 to 255 printable ASCII characters without spaces",
			"clientId deve ter de 1 a 255 caracteres ASCII visíveis, sem espaços")
	}
	return notice.ClientID(s), nil
}

func (in *Internal) listInitiators(x *api.Exchange) error {
	if _, err := parameters(x.R.URL.RawQuery); err != nil {
		return err
	}
	list, err := in.initiators.List(x.R.Context())
	if err != nil {
		return err
	}
	out := initiatorsJSON{Initiators: make([]initiatorJSON, len(list))}
	for i := range list {
		out.Initiators[i] = initiatorOf(&list[i])
	}
	return in.view(x, len(list), out)
}

func (in *Internal) getInitiator(x *api.Exchange) error {
	client, err := clientOf(x)
	if err != nil {
		return err
	}
	found, err := in.initiators.Get(x.R.Context(), client)
	if err != nil {
		return err
	}
	return in.view(x, 1, initiatorOf(&found))
}

func (in *Internal) putInitiator(x *api.Exchange) error {
	client, err := clientOf(x)
	if err != nil {
		return err
	}
	body, err := decode[registry.Request](x)
	if err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	stored, created, err := in.initiators.Put(ctx, client, body, x.Who.Subject)
	if err != nil {
		return refusedRegistration(err)
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return answer(x, status, initiatorOf(&stored))
}

// refusedRegistration is the 400 of a registration that was judged and refused; other errors stay as they are.
func refusedRegistration(err error) error {
	var judged *registry.Invalid
	if !errors.As(err, &judged) {
		return err
	}
	return &api.APIError{Status: http.StatusBadRequest, Code: string(judged.Code), Text: judged.Description, Problems: judged.Problems}
}

func (in *Internal) deleteInitiator(x *api.Exchange) error {
	client, err := clientOf(x)
	if err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	if err := in.initiators.Delete(ctx, client, x.Who.Subject); err != nil {
		return err
	}
	x.W.WriteHeader(http.StatusNoContent)
	return nil
}
