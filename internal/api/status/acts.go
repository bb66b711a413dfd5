package status

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// The bounds of acts that initiators ask for.
const (
	preflightEvery  = time.Minute // of one client, at this replica
	preflightWithin = 14 * time.Second
	maxPreflights   = 4   // at once: each holds a connection to a receiver
	redeliveredMost = 100 // notifications of one call
	redeliveredBack = 30 * 24 * time.Hour
	maxActBody      = 64 << 10
)

// preflightTimes keeps clients from having us connect more often than they may. The zero value is ready to use.
type preflightTimes struct {
	mu   sync.Mutex
	last map[notice.ClientID]time.Time
	run  int
}

// begin admits a preflight of a client; done must be called when it ends. It is nil for one that is refused: wait is then how long the client
// must wait for its own turn, zero when it has that and others run.
func (t *preflightTimes) begin(client notice.ClientID, now time.Time) (done func(), wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, there := t.last[client]; there && now.Sub(at) < preflightEvery {
		return nil, preflightEvery - now.Sub(at)
	}
	if t.run >= maxPreflights {
		return nil, 0
	}
	fresh := map[notice.ClientID]time.Time{client: now}
	for other, at := range t.last { // at most four begin at once, so few are kept
		if now.Sub(at) < preflightEvery {
			fresh[other] = at
		}
	}
	fresh[client] = now
	t.last = fresh
	t.run++
	return func() {
		t.mu.Lock()
		t.run--
		t.mu.Unlock()
	}, 0
}

type preflightOutcome struct {
	WebhookURI *string     `json:"webhookUri"` // null: none is registered, so push is off
	OK         bool        `json:"ok"`
	Steps      []ReachStep `json:"steps"` // the first that failed is the last
}

// postPreflight goes the way of a notification to the caller's own registered address, up to the end of the handshake.
func (p *Public) postPreflight(x *api.Exchange, op *extensionCall) error {
	who, self, values, err := p.opened(x, op)
	if err != nil {
		return err
	}
	if err := onlyNames(values); err != nil {
		return err
	}
	client := queryOf(x).poll.Client
	done, wait := p.preflights.begin(client, time.Now())
	if done == nil {
		p.observer.Shed(limitPreflight)
		return reasoned{refOverload, limitPreflight, wait}
	}
	defer done()
	ctx, cancel := context.WithTimeout(x.R.Context(), preflightWithin)
	defer cancel()
	address, steps, err := p.cfg.Extension.Preflights.Preflight(ctx, client, api.Prefers(x.R, "pt"))
	if err != nil {
		return err
	}
	out := preflightOutcome{WebhookURI: known(address), OK: len(steps) > 0 && steps[len(steps)-1].OK, Steps: append([]ReachStep{}, steps...)}
	queryOf(x).poll.Facts.Items = len(steps)
	return p.tell(x, self, who.OrganisationID, out)
}

type redeliveryAsked struct {
	Since time.Time `json:"since"`
}

type redeliveryJSON struct {
	Queued []notice.ID `json:"queued"` // notifications for which one more POST is due now
	More   bool        `json:"more"`   // ask again for the others
}

// postRedelivery makes one more POST for what the caller did not get since an instant (D-4).
func (p *Public) postRedelivery(x *api.Exchange, op *extensionCall) error {
	var asked redeliveryAsked
	who, self, err := p.openAct(x, op, &asked)
	if err != nil {
		return err
	}
	if asked.Since.IsZero() {
		return because(refMissing, "no since")
	}
	if time.Since(asked.Since) > redeliveredBack {
		return because(refParameter, "since is more than 30 days ago")
	}
	client := queryOf(x).poll.Client
	ctx, end, err := p.acting(x, who.OrganisationID)
	if err != nil {
		return err
	}
	defer end()
	queued, more, err := p.cfg.Extension.Redelivery.Redeliver(ctx, client, asked.Since, redeliveredMost)
	if text, conflict := failure.Conflict(err); conflict {
		return because(refParameter, text)
	}
	if err != nil {
		return err
	}
	queryOf(x).poll.Facts.Items = len(queued)
	return p.tell(x, self, who.OrganisationID, redeliveryJSON{append([]notice.ID{}, queued...), more})
}

// openAct judges the caller of an act and reads the object that it sent.
func (p *Public) openAct(x *api.Exchange, op *extensionCall, asked any) (who *notice.Initiator, self string, err error) {
	if who, err = p.caller(x, op); err != nil {
		return who, self, err
	}
	self, values, err := p.selfWithBody(x)
	if err == nil {
		err = onlyNames(values)
	}
	if err == nil {
		err = readAct(x.R, asked)
	}
	return who, self, err
}

// acting waits for the turn of an organisation and returns the context of an act, to be ended: its entries name the caller, and it is not
// broken off when the caller goes.
func (p *Public) acting(x *api.Exchange, organisation string) (ctx context.Context, end func(), err error) {
	waits, stop := context.WithTimeout(x.R.Context(), historyWithin)
	defer stop()
	over, err := p.reads.begin(waits, organisation)
	if err != nil {
		return nil, nil, err
	}
	actor := history.Actor{Subject: string(queryOf(x).poll.Client), Role: history.RoleInitiator, Source: x.R.RemoteAddr}
	ctx, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(x.R.Context()), history.ActorKey{}, actor), historyWithin)
	return ctx, func() { cancel(); over() }, nil
}

// readAct reads the JSON object of an act, with no member that it does not know.
func readAct(r *http.Request, into any) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; hasBody(r) && (err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return because(refActBody, "body is not application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxActBody+1))
	switch {
	case err != nil:
		return because(refParameter, "body cannot be read")
	case len(body) == 0:
		return because(refMissing, "no body")
	case len(body) > maxActBody:
		return because(refParameter, "body is too long")
	}
	if err := json.Unmarshal(body, into, json.RejectUnknownMembers(true)); err != nil {
		return because(refParameter, "body is not as the document says")
	}
	return nil
}
