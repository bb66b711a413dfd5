// Package status is the public listener: it answers the initiators' status queries (status-apis).
//
// A query is admitted by the table of operations and by the caller's certificate and access token. The answer shows at least
// what was committed when the query arrived, with deadlines applied that have passed, and is signed. It leaves after its
// record is durable; a query whose record cannot be kept is answered 503. Every error has one of the codes of the contract,
// made in one place (refusalFor), and repeats nothing that was sent. Limits bound each client and all of them together.
//
// Between two queries the package keeps only what limits need, and the refusals that RecordRefused is to record. It knows no SQL, signs with keys that others hold, and shares the frame of
// package api with the internal listener.
package status

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// AccessTokens judges initiators' access tokens; *jws.AccessVerifier and *jws.Introspector do. A *jws.Refusal says that
// the token is not accepted; an error that wraps jws.ErrUnavailable, that it cannot be judged.
type AccessTokens interface {
	Verify(ctx context.Context, token string) (jws.AccessToken, error)
}

// SigningKeys names the key that answers are signed with now; *jws.Signers does.
type SigningKeys interface {
	Active() (*jws.AnswerSigner, error)
}

// Resources reads what is committed. No cache may stand behind it: a query must show at least what was committed when it
// was put (design, "Polls").
type Resources interface {
	Read(ctx context.Context, q notice.Question) (notice.PollReading, error)
}

// Polls keeps the record of every query; *spool.Spool does.
type Polls interface {
	// Record returns nil once the record is durable, and before that nothing is answered.
	Record(ctx context.Context, p notice.Poll) error
	// Ready says that records can be kept now.
	Ready() error
}

// PublicObserver is told about status queries, for metrics, beside what Observer is told. Its methods must be quick and
// safe for concurrent use.
type PublicObserver interface {
	// Polled reports one answered query about a kind of resource (0: about none) and the code of its error, "" for 200.
	Polled(kind ofb.Kind, status int, code string)
	// Shed reports a refusal by a limit: "connections", "client-rate", "client-in-flight", "rate", "in-flight", "waiting" or "preflight".
	Shed(limit string)
	// Unrecorded reports an answer whose record could not be kept; it was a 503, or a 529 beyond what is recorded.
	Unrecorded(status int)
}

type silentPublic struct{}

func (silentPublic) Polled(ofb.Kind, int, string) {}
func (silentPublic) Shed(string)                  {}
func (silentPublic) Unrecorded(int)               {}

// PublicConfig says what the public listener serves with. All members are required but those that say otherwise.
type PublicConfig struct {
	BaseURL        string // public.base_url, what links.self begins with
	OrganisationID string // the holder's, iss of every answer
	Tokens         AccessTokens
	Keys           SigningKeys

	// Brands are several brands by the names that initiators ask for in the handshake (SNI), in lower case. With them the four members
	// above are not used. Nil: they are the only brand, for every name.
	Brands map[string]*AnsweringBrand

	Resources Resources
	Polls     Polls

	Timers   []ofb.Kind       // kinds whose deadlines of the rules are applied to what is shown (D-10)
	Versions ofb.Versions     // minor versions that the holder declares
	Outgoing *openapi.Schemas // checks what goes out and answers 500 for what does not fit; nil: not checked
	Limits   Limits           // zero members have defaults

	Extension *Extension // what initiators get beyond the rules; nil: nothing

	Observer       api.Observer   // nil allowed
	PublicObserver PublicObserver // nil allowed
	Log            *slog.Logger   // nil: discarded
}

// AnsweringBrand is who answers: one brand of the deployment. All members are required but Key, which is "" for the original brand.
type AnsweringBrand struct {
	Key            brand.Prefix // in the keys of what belongs to it
	BaseURL        string
	OrganisationID string
	Tokens         AccessTokens
	Keys           SigningKeys

	others []brand.Prefix // the keys of the other brands
}

// The time a query may take: answerWithin for all of it, after which the answer is 504 (status-apis §2), and readWithin
// for the database, after which it is 503. A session that waits for a lock is told so by the server a little sooner, and where the database is
// silent the refusal and its record in the spool take less than 3 s (cases F5). A call of the extension whose caller was read may take
// historyWithin for what it is for: it waits for the turn of its organisation, reads a thousand events, or acts on a hundred notifications, each
// in a transaction of its own.
const (
	answerWithin  = 15 * time.Second
	readWithin    = 2200 * time.Millisecond
	historyWithin = 5 * time.Second
	headerWithin  = 10 * time.Second // cases H4, of a handshake as well
	maxHeader     = 128 << 10        // above what we answer ourselves: a token of 64 KiB is a 401, not a 431
)

// Public answers the initiators' status queries. It is an http.Handler for a listener that demands client certificates.
type Public struct {
	cfg      PublicConfig
	only     *AnsweringBrand // nil: the server name decides
	face     *api.Face
	handler  http.Handler
	limits   *limiter
	refused  refusalCounts
	observer PublicObserver

	watch   *feedWatch    // holds long polls; nil where there is no feed
	reads   *turns        // of the history, by calls of the extension
	leaving chan struct{} // closed when the server shuts down: long polls end
	left    sync.Once

	preflights preflightTimes
}

// linkPattern is what payments' links.self must match (status-apis §1.9 LINK): the host needs a dot and a top label of two
// to six letters.
var linkPattern = regexp.MustCompile(`^(https:\/\/)?(www\.)?[-a-zA-Z0-9@:%._\+~#=]{2,256}\.[a-z]{2,6}\b([-a-zA-Z0-9@:%_\+.~#?&\/\/=]*)$`)

// NewPublic prepares the public listener's handler. It fails for settings that could not be answered with.
func NewPublic(c PublicConfig) (*Public, error) {
	var only *AnsweringBrand
	if c.Brands == nil {
		only = &AnsweringBrand{BaseURL: c.BaseURL, OrganisationID: c.OrganisationID, Tokens: c.Tokens, Keys: c.Keys}
		if err := only.prepare(nil); err != nil {
			return nil, err
		}
	}
	for _, b := range c.Brands {
		if err := b.prepare(c.Brands); err != nil {
			return nil, err
		}
	}
	c.PublicObserver = cmp.Or[PublicObserver](c.PublicObserver, silentPublic{})
	limits, err := newLimiter(c.Limits)
	if err != nil {
		return nil, err
	}
	p := &Public{
		cfg: c, only: only, face: api.NewFace("public", c.Log, c.Observer), limits: limits, observer: c.PublicObserver,
		watch: watchOf(c.Extension), reads: newTurns(), leaving: make(chan struct{}),
	}
	p.face.Admit, p.face.Refuse = p.admit, p.refuse
	p.handler = p.face.Router(p.routes())
	return p, nil
}

// prepare judges the base URL, and notes the keys of the other brands.
func (b *AnsweringBrand) prepare(all map[string]*AnsweringBrand) error {
	base := strings.TrimRight(b.BaseURL, "/")
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !linkPattern.MatchString(base) {
		return errors.New("public.base_url must be https://host with a public-looking name, such as https://api.banco.example.com")
	}
	b.BaseURL, b.others = base, nil
	for _, other := range all {
		if other.Key != b.Key && !slices.Contains(b.others, other.Key) {
			b.others = append(b.others, other.Key)
		}
	}
	return nil
}

// elsewhere lists the keys that an id would have in the other brands.
func (b *AnsweringBrand) elsewhere(id string) []string {
	var out []string
	for _, other := range b.others {
		out = append(out, brand.Key(other, id))
	}
	return out
}

// brandOf is the brand that a connection was made to; nil when none has its name, which its handshake does not let pass.
func (p *Public) brandOf(r *http.Request) *AnsweringBrand {
	if p.only != nil || r.TLS == nil {
		return p.only
	}
	return p.cfg.Brands[strings.ToLower(r.TLS.ServerName)]
}

// operation is one thing an initiator may ask for.
type operation struct {
	name     string   // in the record
	api      string   // segment of the path
	versions []string // under which it is served
	path     string
	kind     ofb.Kind // of the resource in the path, or of the consent whose payments are listed
	under    ofb.Kind // of the payments listed; 0: no list
	scopes   []string // of which the token needs one (status-apis §1.1)
}

const (
	scopePayments  = "payments"
	scopeRecurring = "recurring-payments"
)

// operations is the table of product "Status endpoints".
var operations = []operation{
	{"consent", "payments", []string{"v4", "v5"}, "/consents/{id}", ofb.PaymentConsent, 0, []string{scopePayments}},
	{"consent-payments", "payments", []string{"v4", "v5"}, "/consents/{id}/pix/payments", ofb.PaymentConsent, ofb.PixPayment, []string{scopePayments}},
	{"payment", "payments", []string{"v4", "v5"}, "/pix/payments/{id}", ofb.PixPayment, 0, []string{scopePayments}},
	{"recurring-consent", "automatic-payments", []string{"v2"}, "/recurring-consents/{id}", ofb.RecurringConsent, 0, []string{scopeRecurring}},
	{"recurring-payments", "automatic-payments", []string{"v2"}, "/pix/recurring-payments", ofb.RecurringConsent, ofb.RecurringPayment, []string{scopeRecurring}},
	{"recurring-payment", "automatic-payments", []string{"v2"}, "/pix/recurring-payments/{id}", ofb.RecurringPayment, 0, []string{scopeRecurring}},
	{"enrollment", "enrollments", []string{"v2"}, "/enrollments/{id}", ofb.Enrollment, 0, []string{scopePayments, scopeRecurring}},
}

// routes makes of the table what the router takes: one path a version.
func (p *Public) routes() []api.Route {
	var out []api.Route
	for _, op := range operations {
		for _, version := range op.versions {
			out = append(out, api.Route{
				Method: http.MethodGet, Path: op.route(version, "{id}"), Roles: op.scopes,
				Handle: func(x *api.Exchange) error { return p.get(x, &op, version) },
			})
		}
	}
	return append(out, p.extensionRoutes()...)
}

// query is what is known of one request so far; it becomes the poll's record.
type query struct {
	id      string          // x-fapi-interaction-id of the answer
	brand   *AnsweringBrand // that was asked
	caller  mtls.Caller
	token   jws.AccessToken
	noScope bool // the token is good and lacks the scope; said after who is asking (401 before 403)
	poll    notice.Poll
	usage   *clientUsage    // by which it is counted while it is under way
	whole   context.Context //nolint:containedctx // of the request, without the time that an answer may take: a long poll waits longer

	answered context.CancelFunc // ends the time that an answer may take
	waits    bool               // its handler has returned, and what is left to do comes after a wait
}

type queryKey struct{}

// queryOf is the query of an exchange of this listener.
func queryOf(x *api.Exchange) *query {
	q, _ := x.R.Context().Value(queryKey{}).(*query)
	return q
}

// ServeHTTP answers one request.
func (p *Public) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.mayWait(r) && parkingOf(r.Context()) == nil {
		p.WaitOutside(p).ServeHTTP(w, r)
		return
	}
	now, of := time.Now(), p.brandOf(r)
	if of == nil {
		http.Error(w, "no brand has this server name", http.StatusMisdirectedRequest)
		return
	}
	q := &query{id: uuid.NewString(), brand: of, poll: notice.Poll{ID: notice.ID(uuid.Must(uuid.NewV7())), At: now}}
	q.poll.Interaction, _ = notice.ParseID(q.id)
	q.poll.Facts.Source, q.poll.Facts.ReceivedAt, q.poll.Facts.Brand = r.RemoteAddr, now.UTC(), string(of.Key)
	q.whole = r.Context()
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), queryKey{}, q), answerWithin)
	q.answered = cancel
	r = r.WithContext(ctx)
	q.identify(r)
	usage, limit := p.limits.enter(r, q.caller)
	if limit != "" {
		defer cancel()
		p.observer.Shed(limit)
		p.shed(w, r, limit)
		return
	}
	q.usage = usage
	defer p.leave(q)
	p.handler.ServeHTTP(w, r)
}

// leave ends a query, unless it waits.
func (p *Public) leave(q *query) {
	if !q.waits {
		q.answered()
		p.limits.leave(q.usage)
	}
}

// shed answers a request beyond a limit, before it costs anything more.
func (p *Public) shed(w http.ResponseWriter, r *http.Request, limit string) {
	x := p.face.Begin(w, r, "")
	defer p.face.Conclude(x)
	if limit == limitConnections {
		w.Header().Set("Connection", "close")
	}
	if name := p.extensionAt(r.URL.Path); name != "" {
		queryOf(x).poll.Facts.Operation, queryOf(x).poll.Facts.APIVersion = name, extensionAPI
	}
	p.refuse(x, because(refOverload, limit))
}

// Server is a server for this handler, with its time limits and the counting of connections. The configuration must be
// one of mtls.ServerConfig.
func (p *Public) Server(config *tls.Config) *http.Server {
	server := api.NewServer(p, config, p.face.Log)
	server.ReadHeaderTimeout = headerWithin
	server.ReadTimeout = answerWithin + headerWithin // shorter, it would cancel queries that are being answered
	server.WriteTimeout = answerWithin + headerWithin
	server.MaxHeaderBytes = maxHeader
	server.ConnContext, server.ConnState = p.limits.connected, p.limits.changed
	server.RegisterOnShutdown(func() { p.left.Do(func() { close(p.leaving) }) })
	return server
}

// connectionOf is the connection a request came on; nil outside a prepared server.
func connectionOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}

type connectionKey struct{}

// connection is one TCP connection of the public listener, counted for its client once that is known.
type connection struct {
	key string // "" until the first request
}

// requestTime is meta.requestDateTime: UTC, without fractions (status-apis §1.7).
func requestTime(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05Z") }
