package bank

import (
	"bytes"
	"context"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
)

// Requests keeps acts that wait for a second person; *auditlog.Log does, and writes into the history who asked, who
// decided and the outcome. Errors say Conflict or NotFound of themselves.
type Requests interface {
	RequestAct(ctx context.Context, r history.ActRequest) (history.ActRequest, error)
	// ActRequests lists requests in a state ("" for all), newest first, those after a position (zero: from the newest), at most limit.
	ActRequests(ctx context.Context, state string, after history.Position, limit int) ([]history.ActRequest, error)
	ActRequest(ctx context.Context, id notice.ID) (history.ActRequest, error)
	// DecideRequest approves or refuses a request in the name of a person who did not ask for it. Who approved carries the
	// act out, under the token and the lease of the request that is returned.
	DecideRequest(ctx context.Context, id notice.ID, by history.Actor, approve bool, reason string) (history.ActRequest, error)
	// ClaimRequest takes up an approved request that another replica left; nil when there is none.
	ClaimRequest(ctx context.Context) (*history.ActRequest, error)
	// RequestStep tells whether the act of a request was committed, and with which result.
	RequestStep(ctx context.Context, id notice.ID, item string) (result string, done bool, err error)
	// EndRequest keeps what became of an approved request.
	EndRequest(ctx context.Context, r *history.ActRequest) error
	ExpireRequests(ctx context.Context) error
}

// askRoles may read requests: all who may ask for or decide about one.
var askRoles = []string{roleOperator, roleRegistrar, roleAuditor}

type requestJSON struct {
	ID         notice.ID      `json:"request"`
	Act        string         `json:"act"`
	State      string         `json:"state"`
	Call       string         `json:"call"` // method and path
	Body       jsontext.Value `json:"body"` // null: the call has none
	Reason     *string        `json:"reason"`
	AskedBy    string         `json:"askedBy"`
	AskedRole  string         `json:"askedRole"`
	AskedAt    instant        `json:"askedAt"`
	ExpiresAt  instant        `json:"expiresAt"`
	DecidedBy  *string        `json:"decidedBy"` // null until then, here and below
	Decision   *string        `json:"decisionReason"`
	DecidedAt  *instant       `json:"decidedAt"`
	Status     *int           `json:"status"` // of HTTP, as the call was answered
	Answer     jsontext.Value `json:"answer"`
	EndedAt    *instant       `json:"endedAt"`
	DecideRole []string       `json:"decideRoles"` // one of them is needed to decide
}

type requestsJSON struct {
	Requests   []requestJSON `json:"requests"`
	NextCursor *string       `json:"nextCursor"`
}

func requestOf(r *history.ActRequest) requestJSON {
	return requestJSON{
		ID: r.ID, Act: r.Act, State: r.State, Call: r.Method + " " + r.Path, Body: valueOf(r.Body), Reason: orNull(r.Reason),
		AskedBy: r.AskedBy.Subject, AskedRole: r.AskedBy.Role, AskedAt: instant(r.AskedAt), ExpiresAt: instant(r.ExpiresAt),
		DecidedBy: orNull(r.DecidedBy.Subject), Decision: orNull(r.Decision), DecidedAt: instantOrNull(r.DecidedAt),
		Status: orNull(r.Status), Answer: valueOf([]byte(r.Answer)), EndedAt: instantOrNull(r.EndedAt), DecideRole: r.Roles,
	}
}

// valueOf is JSON as it was kept, or null.
func valueOf(b []byte) jsontext.Value {
	if v := jsontext.Value(b); v.IsValid() {
		return v
	}
	return jsontext.Value("null")
}

// waits tells whether a call of this act waits for a second person: it is not one that is carried out.
func (in *Internal) waits(x *api.Exchange, act string) bool {
	return slices.Contains(in.cfg.FourEyes, act) && !isCarriedOut(x.R.Context())
}

// asked tells whether a call is kept as a request, which another person must approve, and answers it then with 202. A
// handler calls it when it has judged the form of the call, and before it acts. judge says why the act would be refused by what is stored
// now, without doing anything of it: nobody need decide about a call that is wrong. It is asked only where the call would be kept; nil: there
// is nothing more to judge.
func (in *Internal) asked(x *api.Exchange, act, reason string, judge func(context.Context) error) (bool, error) {
	if !in.waits(x, act) {
		return false, nil
	}
	ctx, cancel := acting(x)
	defer cancel()
	if judge != nil {
		if err := judge(ctx); err != nil {
			return false, err
		}
	}
	return true, in.keep(ctx, x, act, reason, x.Body)
}

// keep keeps a call as a request with this body, and answers it with 202.
func (in *Internal) keep(ctx context.Context, x *api.Exchange, act, reason string, body []byte) error {
	caller, _ := ctx.Value(history.ActorKey{}).(history.Actor)
	r, err := in.cfg.Requests.RequestAct(ctx, history.ActRequest{
		Act: act, Method: x.R.Method, Path: x.R.URL.RequestURI(), Body: body, Reason: reason, AskedBy: caller, Roles: in.roles[x.R.Method+" "+x.Route],
	})
	if err != nil {
		return err
	}
	x.W.Header().Set("Location", "/internal/v1/requests/"+r.ID.String())
	return answer(x, http.StatusAccepted, struct {
		Request notice.ID `json:"request"`
	}{r.ID})
}

// listRequests lists what waits, or what ?state= asks for.
func (in *Internal) listRequests(x *api.Exchange) error {
	p, err := parameters(x.R.URL.RawQuery, "state", "limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := limitOf(p)
	if err != nil {
		return err
	}
	state, there := p["state"]
	switch {
	case !there:
		state = history.RequestWaiting
	case state == "all":
		state = ""
	case !slices.Contains(history.RequestStates(), state):
		return wrong("state", "must be waiting, approved, done, failed, refused, expired or all",
			"deve ser waiting, approved, done, failed, refused, expired ou all")
	}
	pages, err := in.pagesOf(x.R.Context(), p["cursor"], "requests", state)
	if err != nil {
		return err
	}
	list, err := in.cfg.Requests.ActRequests(x.R.Context(), state, pages.after, limit+1)
	if err != nil {
		return err
	}
	var out requestsJSON
	if len(list) > limit {
		list = list[:limit]
		out.NextCursor = pages.next(history.Position{At: list[limit-1].AskedAt, ID: list[limit-1].ID})
	}
	out.Requests = listed(list, requestOf)
	return in.view(x, len(list), out)
}

func (in *Internal) getRequest(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	r, err := in.cfg.Requests.ActRequest(x.R.Context(), id)
	if err != nil {
		return err
	}
	return in.view(x, 1, requestOf(&r))
}

func (in *Internal) postApprove(x *api.Exchange) error { return in.decide(x, true) }
func (in *Internal) postRefuse(x *api.Exchange) error  { return in.decide(x, false) }

// decide approves or refuses for a person who signed in to the console. A token may ask, and never decides.
func (in *Internal) decide(x *api.Exchange, approve bool) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	reason, err := reasonOf(x)
	if err != nil {
		return err
	}
	if !api.IsSignedIn(x.R.Context()) {
		return &api.APIError{
			Status: http.StatusForbidden, Code: "forbidden", Text: "a bearer token cannot decide; another person approves or refuses the request in the console",
			TextPT: "um token não decide; outra pessoa aprova ou recusa o pedido no console",
		}
	}
	r, err := in.Decide(x.R.Context(), Decider{x.Who.Subject, x.Who.Also, x.Who.Roles, x.R.RemoteAddr}, id, approve, reason)
	if err != nil {
		return err
	}
	return answer(x, http.StatusOK, requestOf(&r))
}

// Decider is who decides in the console: a person who signed in there, never a token of the API.
type Decider struct {
	Subject string
	Also    []string // further names of theirs, under which they may have asked with a token
	Roles   []string
	Source  string // address and port
}

// Decide approves or refuses a request in the name of a person of the console, and carries an approved act out. It returns
// the request as it stands then. Errors: not found, a conflict (their own request, or it is over), or a 403 when the person
// lacks the role that the act needs.
func (in *Internal) Decide(ctx context.Context, who Decider, id notice.ID, approve bool, reason string) (history.ActRequest, error) {
	reason, err := reasonFrom(reason)
	if err != nil {
		return history.ActRequest{}, err
	}
	r, err := in.cfg.Requests.ActRequest(ctx, id)
	if err != nil {
		return r, err
	}
	at := slices.IndexFunc(r.Roles, func(role string) bool { return slices.Contains(who.Roles, role) })
	if at < 0 {
		return r, &api.APIError{
			Status: http.StatusForbidden, Code: "forbidden", Text: "this request needs another role to decide: " + r.Roles[0],
			TextPT: "decidir este pedido exige outro papel: " + r.Roles[0],
		}
	}
	if (history.Person{Subject: who.Subject, Also: who.Also}).Is(r.AskedBy.Subject) {
		return r, errOwnRequest
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*actWithin)
	defer cancel()
	r, err = in.cfg.Requests.DecideRequest(ctx, id, history.Actor{Subject: who.Subject, Role: r.Roles[at], Source: who.Source}, approve, reason)
	if err != nil || !approve {
		return r, err
	}
	if err := in.carryOut(ctx, &r); err != nil {
		in.face.Log.Warn("approved act not carried out yet, will be retried", "request", id.String(), "error", err)
	}
	return in.cfg.Requests.ActRequest(ctx, id)
}

var errOwnRequest = conflict("this is your own request; another person must decide about it", "o pedido é seu; outra pessoa deve decidir sobre ele")

// DecideFault is what to tell a person about an error of Decide: HTTP status, code and text.
func DecideFault(err error) *api.APIError { return faultOf(err) }

// CarryOut expires requests, and carries out approved acts that a replica began and did not end. It is called every few
// seconds, by every replica.
func (in *Internal) CarryOut(ctx context.Context) error {
	if err := in.cfg.Requests.ExpireRequests(ctx); err != nil {
		return err
	}
	for {
		r, err := in.cfg.Requests.ClaimRequest(ctx)
		if err != nil || r == nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, 2*actWithin)
		err = in.carryOut(within, r)
		cancel()
		if err != nil {
			return err
		}
	}
}

// carryOutMost is how often an approved act is begun. One that then still meets an unavailable part has failed.
const carryOutMost = 10

// carryOut makes the call of an approved request as its asker made it, and keeps the answer. What the act commits names the
// request, so that a second start, here or at another replica, finds it done. An answer that passes by itself leaves the
// request to a later start.
func (in *Internal) carryOut(ctx context.Context, r *history.ActRequest) error {
	result, done, err := in.cfg.Requests.RequestStep(ctx, r.ID, "")
	if err != nil {
		return err
	}
	if done { // and its answer was lost with the replica that did it
		r.State, r.Answer = history.RequestDone, result
		return in.cfg.Requests.EndRequest(ctx, r)
	}
	call, err := http.NewRequestWithContext(context.WithValue(context.WithValue(ctx, carriedOut{}, r), history.RequestKey{}, r), r.Method, "http://arauto"+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return err
	}
	call.RemoteAddr = r.AskedBy.Source
	if len(r.Body) > 0 {
		call.Header.Set("Content-Type", typeJSON)
	}
	got := storedAnswer{header: http.Header{}, status: http.StatusOK}
	in.handler.ServeHTTP(&got, call)
	r.Status, r.Answer = got.status, got.body.String()
	switch {
	case got.status < http.StatusMultipleChoices:
		r.State = history.RequestDone
	case got.status >= http.StatusInternalServerError && r.Starts < carryOutMost:
		return errUnavailable
	default:
		r.State = history.RequestFailed
	}
	return in.cfg.Requests.EndRequest(ctx, r)
}

// carriedOut is the key under which the context of a call carries the approved request that it carries out. Nobody outside
// this package can set it.
type carriedOut struct{}

// isCarriedOut tells whether a call carries out an approved request. Its answer is kept for readers of either language.
func isCarriedOut(ctx context.Context) bool { return ctx.Value(carriedOut{}) != nil }

// admitAsker admits the call of an approved request in the name and role of who asked.
func admitAsker(x *api.Exchange, r *history.ActRequest, roles []string) error {
	if !slices.Contains(roles, r.AskedBy.Role) {
		return &api.APIError{
			Status: http.StatusForbidden, Code: "forbidden", Text: "the role of who asked does not suffice any more: " + r.AskedBy.Role,
			TextPT: "o papel de quem pediu não basta mais: " + r.AskedBy.Role,
		}
	}
	x.Who = jws.Principal{Subject: r.AskedBy.Subject, Roles: []string{r.AskedBy.Role}}
	x.R = x.R.WithContext(context.WithValue(x.R.Context(), history.ActorKey{}, r.AskedBy))
	return nil
}

// storedAnswer is an answer that is kept instead of sent.
type storedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
	wrote  bool
}

func (k *storedAnswer) Header() http.Header { return k.header }

// WriteHeader notes the first status.
func (k *storedAnswer) WriteHeader(status int) {
	if !k.wrote {
		k.status, k.wrote = status, true
	}
}

// Write keeps the body.
func (k *storedAnswer) Write(p []byte) (int, error) { return k.body.Write(p) }
