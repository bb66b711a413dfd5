package bank

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

// Initiators judges and keeps the registrations; *registry.Registry does.
type Initiators interface {
	// Put judges a registration, stores it and tells whether the client is new. A *registry.Invalid says what is wrong.
	Put(ctx context.Context, client notice.ClientID, r registry.Request, actor string) (notice.Initiator, bool, error)
	Get(ctx context.Context, client notice.ClientID) (notice.Initiator, error)
	// List lists those that a query selects, in the order of their client ids.
	List(ctx context.Context, q notice.InitiatorQuery) ([]notice.Initiator, error)
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
	NextCursor *string         `json:"nextCursor,omitzero"` // absent at the end
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

// listInitiators lists registrations in the order of their client ids, limitMax at once unless the caller asks for fewer.
func (in *Internal) listInitiators(x *api.Exchange) error {
	q, err := initiatorsAsked(x.R.URL.RawQuery)
	if err != nil {
		return err
	}
	limit := q.Limit
	q.Limit++ // one more tells whether there is a next page
	list, err := in.initiators.List(x.R.Context(), q)
	if err != nil {
		return err
	}
	var out initiatorsJSON
	if len(list) > limit {
		list = list[:limit]
		cursor := base64.RawURLEncoding.EncodeToString([]byte(list[limit-1].Client))
		out.NextCursor = &cursor
	}
	out.Initiators = make([]initiatorJSON, len(list))
	for i := range list {
		out.Initiators[i] = initiatorOf(&list[i])
	}
	return in.view(x, len(list), out)
}

// maxSearchText bounds the text that registrations are searched for, in bytes.
const maxSearchText = 255

// initiatorsAsked reads which registrations are wanted. A cursor is the client id of the last one, in base64url.
func initiatorsAsked(raw string) (q notice.InitiatorQuery, err error) {
	p, err := parameters(raw, "q", "limit", "cursor")
	if err != nil {
		return q, err
	}
	q.Limit = limitMax
	if _, there := p["limit"]; there {
		if q.Limit, err = limitOf(p); err != nil {
			return q, err
		}
	}
	if q.Text = p["q"]; len(q.Text) > maxSearchText || !utf8.ValidString(q.Text) || strings.ContainsRune(q.Text, 0) {
		return q, wrong("q", "must be text of at most 255 bytes in UTF-8", "deve ser um texto de no máximo 255 bytes em UTF-8")
	}
	if cursor, there := p["cursor"]; there {
		last, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
		if err != nil || !notice.ValidClientID(string(last)) {
			return q, wrongCursor()
		}
		q.After = notice.ClientID(last)
	}
	return q, nil
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
