// Package bank is the internal listener: the bank's own systems and people hand in changes, keep registrations, operate the
// gateway, and read its history. Internal is its http.Handler.
//
// It guarantees that an answer about a change leaves only after its commit; that every error has one shape, made in one place
// (faultOf), where an error that is not known is a 500 whose reason goes to the log alone; and that every read is bounded, in bytes
// and in time.
//
// It does not know what a change means (package intake), who is notified (package registry), or SQL: it declares the methods it
// needs, and package gateway joins them.
package bank

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

// The roles of the bank's own tokens (contract, "Internal bearer token").
const (
	roleIngest    = "ingest"
	roleRegistrar = "registrar"
	roleOperator  = "operator"
	roleAuditor   = "auditor"
)

// Changes takes changes in; *intake.Intake is one.
type Changes interface {
	// Accept decodes, judges and stores one line, and answers after the commit.
	Accept(ctx context.Context, line []byte, from intake.Origin) (intake.Answer, error)
	// Enqueue is Accept for streams: it waits for room and not for the commit.
	Enqueue(ctx context.Context, line []byte, from intake.Origin) (*intake.Pending, error)
	// Unstored leaves a trace of a line that was read and is answered 503 without being submitted.
	Unstored(line []byte, from intake.Origin)
}

// History reads what happened; *auditlog.Log does. An error whose NotFound() bool answers true means that the resource does not exist.
type History interface {
	// Notifications lists at most f.Limit, newest first, and the position to continue after, zero at the end.
	Notifications(ctx context.Context, f history.Filter) ([]history.Record, history.Position, error)
	// Notification reads one.
	Notification(ctx context.Context, id notice.ID) (history.Record, error)
	// Timeline reads everything about one resource.
	Timeline(ctx context.Context, key notice.Key) (history.Timeline, error)
	// CursorKey is the secret that authenticates cursors, the same in every replica.
	CursorKey(ctx context.Context) ([]byte, error)
	// Ping tells whether the database answers: a search that took too long was then too wide.
	Ping(ctx context.Context) error
}

// Resender asks for one more POST of a notification (D-4); *auditlog.Log does. An error that knows Conflict() bool and answers true means
// that what is stored forbids it.
type Resender interface {
	Resend(ctx context.Context, id notice.ID, actor, reason string) (notice.ID, error)
	// Resendable tells by its error why Resend would refuse now, and writes nothing.
	Resendable(ctx context.Context, id notice.ID) error
}

// InternalConfig says what the internal listener serves with. All members are required but those that say otherwise.
type InternalConfig struct {
	Tokens        api.Authenticator
	Changes       Changes
	History       History
	Resender      Resender
	Quarantine    Quarantine
	Initiators    Initiators
	Audited       Audited
	Exports       Exports
	Holds         Holds
	Readings      Readings
	Requests      Requests
	Clock         Clock
	Calendar      Calendar // of certificates; nil: there is none to show
	Prober        Prober
	Verifications Verifications
	Calls         Calls // of a day
	Figures       FiguresReader
	Polling       PollingReader
	Finder        Finder
	Settings      Settings
	Checks        Checks

	Sources       Sources    // what is followed; nil: nothing is
	TempDir       string     // for files that are judged; empty: the system's
	Operation     Operation  // nil: nothing is known of log and alarms
	Tiles         OpenTiles  // nil: the log is not shown to mirrors
	ResendEnabled bool       // D-4: off by default
	FourEyes      []string   // of history.GuardedActs: the acts that another person must approve
	Brands        brand.List // of the deployment; the zero value: one, without a name

	Version string         // of the product, for documents on paper
	Holder  evidence.Party // who runs us, for documents on paper

	// Answers tells by its error that our database answers nothing: then no route begins that needs it. nil: it is not asked.
	Answers func(context.Context) error

	Unread   func(why string) // told of each request with changes that is refused before it is read; nil: nobody
	Observer api.Observer     // nil allowed
	// Tampered is told of each read that met entries which are not what was sealed; nil: nobody.
	Tampered func(read string, found history.Integrity)
	Log      *slog.Logger // nil: discarded

	Idle        time.Duration // how long a stream may stand still, in either direction (default 60 s)
	SearchLimit time.Duration // how long one search may take (default 2 s)
	ReadAhead   int           // lines of one stream read and not answered, at most (default 1024)
}

// Internal answers the bank's own systems and people. It is an http.Handler.
type Internal struct {
	cfg      InternalConfig
	face     *api.Face
	handler  http.Handler
	repeated repeated            // readings of the last minute
	ahead    *readAhead          // what streams have read and not answered
	roles    map[string][]string // that may use a route, by method and path

	preflights, judgements, pollings chan struct{} // those that run

	draining context.Context // ends when streams must read no further line
	drain    context.CancelFunc
}

// NewInternal prepares the internal listener's handler.
func NewInternal(c InternalConfig) *Internal {
	if c.Idle <= 0 {
		c.Idle = 60 * time.Second // design, "The wire"
	}
	if c.SearchLimit <= 0 {
		c.SearchLimit = 2 * time.Second
	}
	if c.ReadAhead <= 0 {
		c.ReadAhead = 1024
	}
	in := &Internal{cfg: c, face: api.NewFace("internal", c.Log, c.Observer)}
	in.ahead = newReadAhead(aheadAllMax)
	in.repeated.seen = map[string]*repeat{}
	in.preflights, in.judgements, in.pollings = make(chan struct{}, maxPreflights), make(chan struct{}, maxJudgements), make(chan struct{}, 1)
	in.draining, in.drain = context.WithCancel(context.Background())
	in.face.Admit = func(x *api.Exchange, roles []string) error {
		if r, approved := x.R.Context().Value(carriedOut{}).(*history.ActRequest); approved {
			return admitAsker(x, r, roles)
		}
		return api.SignIn(x, c.Tokens, roles)
	}
	in.face.Refuse = in.refuse
	routes := in.routes()
	for i := range routes {
		if r := &routes[i]; !slices.Contains(unasked, r.Path) {
			r.Handle = api.Answered(c.Answers, r.Handle)
		}
	}
	in.roles = map[string][]string{}
	for _, r := range routes {
		in.roles[r.Method+" "+r.Path] = r.Roles
	}
	in.handler = in.face.Router(routes)
	return in
}

// routes is the one table of what there is and who may use it (N1: default deny; a test reads it).
func (in *Internal) routes() []api.Route {
	reading := []string{roleOperator, roleAuditor}
	registrations := []string{roleRegistrar, roleOperator, roleAuditor}
	return append(slices.Concat(in.auditRoutes(), in.clockRoutes(), in.figureRoutes(), in.actRoutes()), []api.Route{
		route(http.MethodPost, changesPath, []string{roleIngest}, in.postChanges),

		route(http.MethodGet, "/internal/v1/initiators", registrations, in.listInitiators),
		route(http.MethodPut, "/internal/v1/initiators/{clientId}", []string{roleRegistrar}, in.putInitiator),
		route(http.MethodGet, "/internal/v1/initiators/{clientId}", registrations, plain(in.getInitiator, byBrand)),
		route(http.MethodDelete, "/internal/v1/initiators/{clientId}", []string{roleRegistrar}, in.deleteInitiator),
		route(http.MethodPost, "/internal/v1/initiators/{clientId}/preflight", []string{roleOperator}, plain(in.postPreflight, byBrand)),

		route(http.MethodGet, "/internal/v1/notifications", reading, in.listNotifications),
		route(http.MethodGet, "/internal/v1/notifications/{id}", reading, plain(in.getNotification)),
		route(http.MethodPost, "/internal/v1/notifications/{id}/resend", []string{roleOperator}, in.postResend),
		route(http.MethodGet, "/internal/v1/resources/{kind}/{id}", reading, plain(in.getResource)),

		route(http.MethodGet, certificatesPath, reading, plain(in.listCertificates)),
		route(http.MethodGet, "/internal/v1/quarantine", reading, in.listCases),
		route(http.MethodGet, "/internal/v1/quarantine/{id}", reading, plain(in.getCase)),
		route(http.MethodPost, "/internal/v1/quarantine/{id}/apply", []string{roleOperator}, in.postApply),
		route(http.MethodPost, "/internal/v1/quarantine/{id}/dismiss", []string{roleOperator}, in.postDismiss),

		route(http.MethodGet, "/internal/v1/sources", reading, plain(in.listSources)),
		route(http.MethodGet, "/internal/v1/sources/{name}", reading, plain(in.getSource)),
		route(http.MethodPost, "/internal/v1/sources/{name}/pause", []string{roleOperator}, in.postPause),
		route(http.MethodPost, "/internal/v1/sources/{name}/resume", []string{roleOperator}, in.postResume),
		route(http.MethodPost, "/internal/v1/sources/{name}/accept", []string{roleOperator}, in.postAccept),
		route(http.MethodPost, "/internal/v1/sources/{name}/reapply", []string{roleOperator}, in.postReapply),
	}...)
}

func route(method, path string, roles []string, handle func(*api.Exchange) error) api.Route {
	return api.Route{Method: method, Path: path, Roles: roles, Handle: handle}
}

// unasked are the paths that are served without asking whether the database answers: intake has bounds of its own for a change, and
// certificates are in memory.
var unasked = []string{changesPath, certificatesPath}

// ServeHTTP answers one request.
func (in *Internal) ServeHTTP(w http.ResponseWriter, r *http.Request) { in.handler.ServeHTTP(w, r) }

// Drain makes every stream read no further line, answer what it has read, and end; new streams are refused with 503.
// Call it before http.Server.Shutdown, which waits for them, and before intake stops. It returns at once.
func (in *Internal) Drain() { in.drain() }
