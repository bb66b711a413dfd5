package bank

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/registry"
)

// Initiators judges and keeps the registrations; *registry.Registry does.
type Initiators interface {
	// Put judges a registration, stores it and tells whether the client is new. A *registry.Invalid says what is wrong.
	Put(ctx context.Context, client notice.ClientID, r registry.Request, actor string) (notice.Initiator, bool, error)
	// Judge judges what Put does but the addresses and the statement, and stores no registration. A *registry.Invalid says what is wrong.
	Judge(ctx context.Context, client notice.ClientID, r registry.Request, actor string) error
	Get(ctx context.Context, client notice.ClientID) (notice.Initiator, error)
	// List lists those that a query selects, in the order of their client ids.
	List(ctx context.Context, q notice.InitiatorQuery) ([]notice.Initiator, error)
	Delete(ctx context.Context, client notice.ClientID, actor string) error
}

// initiatorJSON is a registration as it is read (contract, "Calls and effect").
type initiatorJSON struct {
	key notice.ClientID

	Brand          string          `json:"brand,omitzero"` // absent: the only one
	ClientID       notice.ClientID `json:"clientId"`
	OrganisationID string          `json:"organisationId"`
	SoftwareID     string          `json:"softwareId"`
	Name           string          `json:"name"`
	WebhookURIs    []string        `json:"webhookUris"`
	Push           bool            `json:"push"`
	UpdatedAt      instant         `json:"updatedAt"`
	Health         *briefJSON      `json:"health,omitzero"` // with ?figures=24h
}

// briefJSON is how an initiator did in the last 24 hours.
type briefJSON struct {
	Notifications int64    `json:"notifications"`
	Delivered     int64    `json:"delivered"`
	Exhausted     int64    `json:"exhausted"`
	OnTimeShare   *float64 `json:"onTimeShare"` // of first attempts within 1.5 s of the event, 0 to 1; null: there was none
	Down          bool     `json:"down"`        // its last attempts failed
	Failures      int64    `json:"failures"`    // attempts since the last success
	Since         *instant `json:"since"`       // the first of them
	LastSuccess   *instant `json:"lastSuccessAt"`
}

type initiatorsJSON struct {
	Initiators []initiatorJSON `json:"initiators"`
	NextCursor *string         `json:"nextCursor,omitzero"` // absent at the end

	// With ?figures=24h: what the figures rest on and since when they count, initiators whose last attempts failed, and changes of clients without registration in that time.
	AsOf           *asOfJSON `json:"asOf,omitzero"`
	From           *instant  `json:"from,omitzero"`
	Down           *int64    `json:"down,omitzero"`
	UnknownChanges *int64    `json:"unknownChanges,omitzero"`
}

func (in *Internal) initiatorOf(i *notice.Initiator) initiatorJSON {
	of, id := brand.Split(i.Client)
	return initiatorJSON{
		key: i.Client, Brand: in.cfg.Brands.NameOf(of), ClientID: id, OrganisationID: i.OrganisationID, SoftwareID: i.SoftwareID, Name: i.Name, WebhookURIs: i.WebhookURIs,
		Push: i.Push, UpdatedAt: instant(i.UpdatedAt),
	}
}

// byBrand names the brand of the client in the path, where the path itself does not.
const byBrand = "brand"

// clientOf is the key of the client in the path: its id, with the name of its brand before it or in the query. A client to read
// may lack both; it is then one of the original brand.
func (in *Internal) clientOf(x *api.Exchange) (notice.ClientID, error) {
	client, name, err := in.clientIn(x)
	if err != nil || name == "" && x.R.Method == http.MethodGet && in.cfg.Brands.Holds("") {
		return client, err
	}
	of, wrong := in.cfg.Brands.Resolve(name)
	if wrong != nil {
		return "", invalid("/"+byBrand, wrong.Code, wrong.Detail, wrong.DetailPT)
	}
	return brand.Key(of, client), nil
}

// clientIn is the client's id in the path, and the name of its brand that stands before it or in the query; "": none.
func (in *Internal) clientIn(x *api.Exchange) (client notice.ClientID, name string, err error) {
	name = x.R.URL.Query().Get(byBrand)
	of, client := brand.Split(notice.ClientID(x.Segment("clientId")))
	if _, unknown := in.cfg.Brands.Resolve(string(of)); of != "" && unknown != nil || !notice.ValidClientID(string(client)) {
		return "", "", invalid("/clientId", "format", "clientId must have "+notice.ClientKeyRule, "clientId deve ter "+notice.ClientKeyRulePT)
	}
	if of != "" && name != "" && name != string(of) {
		return "", "", twoBrands()
	}
	return client, cmp.Or(name, string(of)), nil
}

// twoBrands is the 400 of a request that names two brands.
func twoBrands() error {
	return invalid("/"+byBrand, "enum", "the request names two brands; name one", "a requisição informa duas marcas; informe uma")
}

// listInitiators lists registrations in the order of their client ids, limitMax at once unless the caller asks for fewer.
func (in *Internal) listInitiators(x *api.Exchange) error {
	q, err := initiatorsAsked(x.R.URL.RawQuery, in.cfg.Brands)
	if err != nil {
		return err
	}
	var out initiatorsJSON
	if q.down {
		err = in.listDown(x, &out)
	} else {
		err = in.listRegistered(x, q, &out)
	}
	if err == nil && q.figures {
		err = in.addFigures(x, &out)
	}
	if err != nil {
		return err
	}
	return in.view(x, len(out.Initiators), out)
}

func (in *Internal) listRegistered(x *api.Exchange, q initiatorsQuery, out *initiatorsJSON) error {
	limit := q.Limit
	q.Limit++ // one more tells whether there is a next page
	list, err := in.cfg.Initiators.List(x.R.Context(), q.InitiatorQuery)
	if err != nil {
		return err
	}
	if len(list) > limit {
		list = list[:limit]
		cursor := base64.RawURLEncoding.EncodeToString([]byte(list[limit-1].Client))
		out.NextCursor = &cursor
	}
	out.Initiators = listed(list, in.initiatorOf)
	return nil
}

// downMost is how many initiators that do not answer are listed, those that have failed longest first.
const downMost = 100

// listDown lists the initiators whose last attempts failed.
func (in *Internal) listDown(x *api.Exchange, out *initiatorsJSON) error {
	r, err := in.cfg.Figures.Figures(x.R.Context(), figures.Ask{Failing: downAfter})
	if err != nil {
		return err
	}
	out.Initiators = []initiatorJSON{}
	for _, one := range in.down(x.R.Context(), r.Contacts, x.Began) {
		if len(out.Initiators) == downMost {
			break
		}
		found, err := in.cfg.Initiators.Get(x.R.Context(), one.ClientID)
		switch {
		case failure.NotFound(err):
		case err != nil:
			return err
		default:
			out.Initiators = append(out.Initiators, in.initiatorOf(&found))
		}
	}
	return nil
}

// addFigures adds how each initiator of a page did in the last 24 hours.
func (in *Internal) addFigures(x *api.Exchange, out *initiatorsJSON) error {
	clients := make([]notice.ClientID, len(out.Initiators))
	for i := range out.Initiators {
		clients[i] = out.Initiators[i].key
	}
	end := x.Began.UTC().Truncate(time.Hour).Add(time.Hour)
	day := figures.Query{From: end.Add(-pageHours * time.Hour), To: end, Unit: figures.Daily}
	each := day
	each.Clients = clients
	ctx, cancel := context.WithTimeout(x.R.Context(), breachesWithin)
	defer cancel()
	r, err := in.cfg.Figures.Figures(ctx, figures.Ask{Queries: []figures.Query{day, each}, Contacts: clients, Failing: downAfter})
	if err != nil {
		return in.tooLong(ctx, x, err)
	}
	unknown := figures.Total(r.Rows[0]).Summary().Silent[string(ofb.UnknownClient)]
	var down int64
	failing := func(c figures.Contact) bool {
		return c.Failures >= downAfter && x.Began.Sub(c.LastFailure) < downWithin
	}
	for _, c := range r.Contacts {
		if failing(c) {
			down++
		}
	}
	rests := asOf(r.AsOf)
	out.AsOf, out.From, out.UnknownChanges, out.Down = &rests, instantOrNull(day.From), &unknown, &down
	sums := grouped(r.Rows[1], func(k figures.RowKey) notice.ClientID { return k.Client })
	for i := range out.Initiators {
		one := &out.Initiators[i]
		one.Health = &briefJSON{}
		if s := sums[one.key]; s != nil {
			*one.Health = briefJSON{Notifications: s.Notifications, Delivered: s.Closed["delivered"], Exhausted: s.Closed["exhausted"], OnTimeShare: s.First.Share}
		}
		if c, there := r.Contacts[one.key]; there {
			one.Health.Down, one.Health.Failures = failing(c), c.Failures
			one.Health.Since, one.Health.LastSuccess = instantOrNull(c.FailingFrom), instantOrNull(c.LastSuccess)
		}
	}
	return nil
}

// initiatorsQuery is what is asked of the list.
type initiatorsQuery struct {
	notice.InitiatorQuery

	figures bool // of the last 24 hours
	down    bool // only those whose last attempts failed
}

// maxSearchText bounds the text that registrations are searched for, in bytes.
const maxSearchText = 255

// initiatorsAsked reads which registrations are wanted. A cursor is the client id of the last one, in base64url.
func initiatorsAsked(raw string, brands brand.List) (q initiatorsQuery, err error) {
	p, err := parameters(raw, "q", "limit", "cursor", "figures", "down")
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
		if err != nil || !notice.ValidClientKey(brands, string(last)) {
			return q, wrongCursor()
		}
		q.After = notice.ClientID(last)
	}
	switch f, there := p["figures"]; {
	case f == "24h":
		q.figures = true
	case there:
		return q, wrong("figures", "must be 24h", "deve ser 24h")
	}
	switch d, there := p["down"]; {
	case d == "true" && q.Text == "" && q.After == "":
		q.down = true
	case there:
		return q, wrong("down", "must be true, without q and cursor", "deve ser true, sem q nem cursor")
	}
	return q, nil
}

func (in *Internal) getInitiator(x *api.Exchange) error {
	client, err := in.clientOf(x)
	if err != nil {
		return err
	}
	found, err := in.cfg.Initiators.Get(x.R.Context(), client)
	if err != nil {
		return err
	}
	return in.view(x, 1, in.initiatorOf(&found))
}

// registrationBody is a registration as it is sent. An empty statement is one that is there.
type registrationBody struct {
	registry.Request

	Statement *string `json:"softwareStatement"`
}

func (b registrationBody) request() registry.Request {
	if b.Statement != nil {
		b.SoftwareStatement, b.EmptyStatement = *b.Statement, *b.Statement == ""
	}
	return b.Request
}

func (in *Internal) putInitiator(x *api.Exchange) error {
	client, name, err := in.clientIn(x)
	if err != nil {
		return err
	}
	told, err := decode[registrationBody](x)
	if err != nil {
		return err
	}
	body := told.request()
	if name != "" && body.Brand != "" && name != body.Brand {
		return twoBrands()
	}
	body.Brand = cmp.Or(body.Brand, name)
	judge := func(ctx context.Context) error {
		return refusedRegistration(in.cfg.Initiators.Judge(ctx, client, body, x.Who.Subject))
	}
	if asked, err := in.asked(x, history.ActRegistration, "", judge); asked || err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	stored, created, err := in.cfg.Initiators.Put(ctx, client, body, x.Who.Subject)
	if err != nil {
		return refusedRegistration(err)
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return answer(x, status, in.initiatorOf(&stored))
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
	client, err := in.clientOf(x)
	if err != nil {
		return err
	}
	judge := func(ctx context.Context) error { _, err := in.cfg.Initiators.Get(ctx, client); return err }
	if asked, err := in.asked(x, history.ActRegistration, "", judge); asked || err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	if err := in.cfg.Initiators.Delete(ctx, client, x.Who.Subject); err != nil {
		return err
	}
	x.W.WriteHeader(http.StatusNoContent)
	return nil
}
