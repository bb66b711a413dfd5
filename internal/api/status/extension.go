package status

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Feed reads what was decided for a client; *auditlog.Log does.
type Feed interface {
	// Feed lists the notifications of a client that follow a place.
	Feed(ctx context.Context, q history.FeedQuery) (history.FeedPage, error)
	// FeedNews names the clients whose feeds have grown, and those whose registrations have changed, by transactions from a number on; from 0, none.
	FeedNews(ctx context.Context, from int64) (history.FeedNews, error)
	// CursorKey is the secret that seals cursors, the same in every replica.
	CursorKey(ctx context.Context) ([]byte, error)
}

// AttemptReceipts tells a client of an attempt that was made to it. An error that knows NotFound() bool and answers true means that
// there is none of this client.
type AttemptReceipts interface {
	SentAttempt(ctx context.Context, client notice.ClientID, interaction notice.ID) (history.SentAttempt, error)
	// OwnFingerprint is the SHA-256 of the certificate with a serial number of a client's brand, both in hex; "" when it is not known any more.
	OwnFingerprint(client notice.ClientID, serial string) string
}

// Redelivery makes one more POST for what a client did not get; *auditlog.Log does.
type Redelivery interface {
	// Redeliver makes one for each notification that ended undelivered since an instant and was never sent once more, at most so many.
	// An error that knows Conflict() bool and answers true means that the client has no address.
	Redeliver(ctx context.Context, client notice.ClientID, since time.Time, most int) (queued []notice.ID, more bool, err error)
}

// Preflights tries whether a notification could reach a client.
type Preflights interface {
	// Preflight goes the way of a notification to the first registered address of a client, up to the end of the handshake; an address ""
	// means that there is none. Texts are in Portuguese or in English. It ends with its context.
	Preflight(ctx context.Context, client notice.ClientID, portuguese bool) (address string, steps []ReachStep, err error)
}

// ReachStep is one condition for a notification to reach an address, and its result.
type ReachStep struct {
	Step    string  `json:"step"` // address, name, connection, certificate or client certificate, in this order
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail"`  // what was seen
	Problem *string `json:"problem"` // why it does not hold; null when it does
	Advice  *string `json:"advice"`  // what would be right; null when it holds
}

// ExtensionObserver is told about the extension, for metrics. Its methods must be quick and safe for concurrent use.
type ExtensionObserver interface {
	// Waiting reports a long poll that begins (1) or ends (-1).
	Waiting(change int)
	// Listed reports notifications that a feed handed out.
	Listed(missed bool, n int)
}

type silentExtension struct{}

func (silentExtension) Waiting(int)      {}
func (silentExtension) Listed(bool, int) {}

// Extension is what initiators get beyond the rules. Its calls have the admission, the limits, the errors and the records of status
// queries. A member that is nil leaves its calls out.
type Extension struct {
	Feed     Feed
	Receipts AttemptReceipts
	Observer ExtensionObserver // nil allowed

	Redelivery Redelivery
	Preflights Preflights

	Acknowledgements Acknowledgements
}

// extensionVersion is x-v of the extension's answers, and extensionAPI its version in the records.
const (
	extensionVersion = "1.0.0"
	extensionAPI     = "v1"
	extensionBase    = "/arauto/" + extensionAPI
)

// extensionCall is one call of the extension.
type extensionCall struct {
	name   string // in the record
	method string
	path   string // below extensionBase
}

var (
	callEvents       = extensionCall{notice.ExtensionPrefix + "events", http.MethodGet, "/events"}
	callAcks         = extensionCall{notice.ExtensionPrefix + "acks", http.MethodPost, "/events/acks"}
	callNotification = extensionCall{notice.ExtensionPrefix + "notification", http.MethodGet, "/notifications/{interactionId}"}
	callPreflight    = extensionCall{notice.ExtensionPrefix + "preflight", http.MethodPost, "/preflight"}
	callRedelivery   = extensionCall{notice.ExtensionPrefix + "redelivery", http.MethodPost, "/redelivery"}
)

// extensionCalls are the calls there are.
var extensionCalls = []*extensionCall{&callEvents, &callAcks, &callNotification, &callPreflight, &callRedelivery}

// extensionRoutes are the routes of the extension; none where it is off.
func (p *Public) extensionRoutes() []api.Route {
	var out []api.Route
	add := func(op *extensionCall, handle func(*api.Exchange, *extensionCall) error) {
		out = append(out, api.Route{
			Method: op.method, Path: extensionBase + op.path, Roles: []string{scopePayments, scopeRecurring},
			Handle: func(x *api.Exchange) error { return handle(x, op) },
		})
	}
	if e := p.cfg.Extension; e != nil {
		if e.Feed != nil {
			add(&callEvents, p.getEvents)
		}
		if e.Acknowledgements != nil {
			add(&callAcks, p.postAcks)
		}
		if e.Receipts != nil {
			add(&callNotification, p.getReceipt)
		}
		if e.Preflights != nil {
			add(&callPreflight, p.postPreflight)
		}
		if e.Redelivery != nil {
			add(&callRedelivery, p.postRedelivery)
		}
	}
	return out
}

// extensionOf finds the name of the call that a route of the extension leads to; "" for none.
func extensionOf(route string) string {
	for i := range extensionCalls {
		if extensionBase+extensionCalls[i].path == route {
			return extensionCalls[i].name
		}
	}
	return ""
}

// extensionAt finds the name of the call that a path is for which was not routed; "" for none.
func (p *Public) extensionAt(path string) string {
	rest, below := strings.CutPrefix(path, extensionBase)
	if p.cfg.Extension == nil || !below {
		return ""
	}
	for _, op := range extensionCalls {
		if fixed, _, _ := strings.Cut(op.path, "{"); strings.HasPrefix(rest, fixed) {
			return op.name
		}
	}
	return ""
}

// caller admits a call of the extension as get admits a status query: its record can be kept, the client is registered, the
// certificate is the client's, and the token has a scope.
func (p *Public) caller(x *api.Exchange, op *extensionCall) (*notice.Initiator, error) {
	if err := p.recordable(x, op); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), readWithin)
	defer cancel()
	known, err := p.cfg.Resources.Read(ctx, notice.Question{Client: queryOf(x).poll.Client})
	if err != nil {
		return nil, err
	}
	return known.Initiator, queryOf(x).judge(known.Initiator)
}

// recordable names the call in its record, and says whether that can be kept.
func (p *Public) recordable(x *api.Exchange, op *extensionCall) error {
	f := &queryOf(x).poll.Facts
	f.Operation, f.APIVersion = op.name, extensionAPI
	if err := p.cfg.Polls.Ready(); err != nil {
		return fmt.Errorf("%w: %w", errUnrecordable, err)
	}
	return nil
}

// judge holds certificate and token of a call of the extension against a registration; nil: there is none.
func (q *query) judge(known *notice.Initiator) error {
	switch {
	case known == nil || !q.caller.Is(known.OrganisationID, known.SoftwareID):
		return because(refClient, "certificate is not the registered client's")
	case q.noScope:
		return because(refForbidden, "no scope for this")
	}
	return nil
}

// opened judges the caller and the form of a call without a body, and returns the caller, the address of the call and its parameters.
func (p *Public) opened(x *api.Exchange, op *extensionCall) (who *notice.Initiator, self string, values url.Values, err error) {
	if who, err = p.caller(x, op); err == nil {
		self, values, err = p.self(x)
	}
	return who, self, values, err
}

// self judges the form of a call of the extension without a body and returns its address as the answer repeats it, and its parameters.
func (p *Public) self(x *api.Exchange) (string, url.Values, error) {
	if hasBody(x.R) {
		return "", nil, refBody
	}
	return p.selfWithBody(x)
}

// selfWithBody is self for a call that takes a body.
func (p *Public) selfWithBody(x *api.Exchange) (string, url.Values, error) {
	if err := judgeHead(x.R); err != nil {
		return "", nil, err
	}
	self := queryOf(x).brand.BaseURL + x.R.RequestURI
	if len(self) > maxSelf {
		return "", nil, because(refParameter, "address is too long")
	}
	values, err := url.ParseQuery(x.R.URL.RawQuery)
	if err != nil {
		return "", nil, because(refParameter, "query cannot be read")
	}
	return self, values, nil
}

// eventJSON is a notification as its receiver may see it: nothing of the bank's side, and no document.
type eventJSON struct {
	ID         notice.ID      `json:"id"`
	Kind       string         `json:"kind"`
	ResourceID string         `json:"resourceId"`
	APIVersion string         `json:"apiVersion"`
	Status     string         `json:"status"`
	EventType  *string        `json:"eventType"` // null where the notification has none
	EventAt    string         `json:"eventAt"`   // the timestamp of the notification's body
	DecidedAt  string         `json:"decidedAt"`
	State      string         `json:"state"`
	Manual     bool           `json:"manual"` // one more POST, asked for by hand
	Late       bool           `json:"late"`
	Attempts   []eventAttempt `json:"attempts"`
}

// eventAttempt is an attempt as its receiver may see it; null is not known, or not yet.
type eventAttempt struct {
	Number        int       `json:"number"`
	InteractionID notice.ID `json:"interactionId"`
	StartedAt     string    `json:"startedAt"`
	EndedAt       *string   `json:"endedAt"`
	Outcome       *string   `json:"outcome"`
	HTTPStatus    *int      `json:"httpStatus"`
}

func eventOf(r *history.Record) eventJSON {
	out := eventJSON{
		ID: r.ID, Kind: r.Kind.String(), ResourceID: brand.ID(r.ResourceID), APIVersion: r.APIVersion, Status: string(r.Status), EventType: known(string(r.Event)),
		EventAt: requestTime(r.EventAt), DecidedAt: micros(r.CreatedAt), State: string(r.State), Manual: r.Manual, Late: r.Late, Attempts: []eventAttempt{},
	}
	for i := range r.Attempts {
		out.Attempts = append(out.Attempts, attemptOf(&r.Attempts[i]))
	}
	return out
}

func attemptOf(a *history.AttemptRecord) eventAttempt {
	out := eventAttempt{Number: a.Number, InteractionID: a.Interaction, StartedAt: micros(a.StartedAt), Outcome: known(string(a.Outcome))}
	if !a.EndedAt.IsZero() {
		ended := micros(a.EndedAt)
		out.EndedAt = &ended
	}
	if a.HTTPStatus != 0 {
		out.HTTPStatus = &a.HTTPStatus
	}
	return out
}

// known is a text, or null for none.
func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// micros writes an instant in UTC with microseconds (contract, "Lists and notifications").
func micros(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z") }

// tell answers a call of the extension, signed and recorded as a status query is.
func (p *Public) tell(x *api.Exchange, self, audience string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode an answer of the extension: %w", err)
	}
	return p.answer(x, text, self, audience, extensionVersion)
}

// extensionEndpoint is the path of a call of the extension, by its name; "" for none.
func extensionEndpoint(name string) string {
	for i := range extensionCalls {
		if extensionCalls[i].name == name {
			return extensionBase + extensionCalls[i].path
		}
	}
	return ""
}

// watchOf makes what holds long polls; nil where there is no feed.
func watchOf(e *Extension) *feedWatch {
	if e == nil || e.Feed == nil {
		return nil
	}
	return newFeedWatch(e.Feed.FeedNews)
}

// observed is who is told about the extension.
func (e *Extension) observed() ExtensionObserver {
	return cmp.Or[ExtensionObserver](e.Observer, silentExtension{})
}

// onlyNames refuses a parameter that the call does not know: a misspelt cursor would begin again from the start.
func onlyNames(values url.Values, names ...string) error {
	for name := range values {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") {
			return because(refParameter, "unknown parameter")
		}
	}
	return nil
}
