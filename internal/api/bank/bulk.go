package bank

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// bulkMost is how many cases or notifications one call may name or find.
const bulkMost = 100

// actRoutes are acts about several at once, requests for a second person, and what runs here. They come before the routes
// of single ids, which would match them too.
func (in *Internal) actRoutes() []api.Route {
	reading := []string{roleOperator, roleAuditor}
	return []api.Route{
		route(http.MethodGet, "/internal/v1/requests", askRoles, in.listRequests),
		route(http.MethodGet, "/internal/v1/requests/{id}", askRoles, plain(in.getRequest)),
		route(http.MethodPost, "/internal/v1/requests/{id}/approve", askRoles, plain(in.postApprove)),
		route(http.MethodPost, "/internal/v1/requests/{id}/refuse", askRoles, plain(in.postRefuse)),
		route(http.MethodPost, "/internal/v1/notifications/resend", []string{roleOperator}, plain(in.postResends)),
		route(http.MethodPost, "/internal/v1/quarantine/apply", []string{roleOperator}, plain(in.postApplies)),
		route(http.MethodPost, "/internal/v1/quarantine/dismiss", []string{roleOperator}, plain(in.postDismisses)),
		route(http.MethodGet, "/internal/v1/settings", reading, plain(in.getSettings)),
		route(http.MethodGet, "/internal/v1/reconciliations", reading, in.listReconciliations),
		route(http.MethodPost, "/internal/v1/reconciliations", reading, plain(in.postReconciliation)),
	}
}

// bulkJSON is an act about several: by their ids, or, in the quarantine, by what they have in common.
type bulkJSON struct {
	IDs    []string    `json:"ids,omitempty"`
	Filter *filterJSON `json:"filter,omitempty"`
	Reason string      `json:"reason"`
}

// filterJSON selects open cases, or those of a state. A member that is left out restricts nothing.
type filterJSON struct {
	ClientID string `json:"clientId"`
	Kind     string `json:"kind"`
	Source   string `json:"source"`
	Code     string `json:"code"` // of one of its problems
	State    string `json:"state,omitempty"`
}

// bulkAnswer has one line for each that was named or found.
type bulkAnswer struct {
	Results []bulkResult `json:"results"`
	More    bool         `json:"more"` // the filter finds more than one call takes
}

// bulkResult is what a call about this one alone would have answered.
type bulkResult struct {
	ID     string        `json:"id"`
	Status int           `json:"status"`          // of HTTP
	Error  string        `json:"error,omitempty"` // code
	Text   string        `json:"error_description,omitempty"`
	TextPT string        `json:"error_description_pt,omitempty"` // in the kept answer of an approved request
	Errors []problemJSON `json:"errors,omitempty"`
	New    notice.ID     `json:"resent,omitzero"` // the notification that a resend made
}

// idsOf reads and judges the ids of an act about several: 1 to 100, each once.
func idsOf(texts []string) ([]notice.ID, error) {
	if len(texts) == 0 || len(texts) > bulkMost {
		return nil, invalid("/ids", "length", "ids must have 1 to 100 members", "ids deve ter de 1 a 100 membros")
	}
	var out []notice.ID
	for _, text := range texts {
		id, err := notice.ParseID(text)
		if err != nil || id.IsZero() || slices.Contains(out, id) {
			return nil, invalid("/ids", "format", "ids must be ids, each once", "ids deve conter ids, cada um uma vez")
		}
		out = append(out, id)
	}
	return out, nil
}

// each acts about one after the other and gathers what became of each. It ends early when the time of the call is over:
// what is left is answered 503.
func each(ctx context.Context, x *api.Exchange, ids []notice.ID, act func(notice.ID, *bulkResult) error) bulkAnswer {
	out := bulkAnswer{Results: make([]bulkResult, len(ids))}
	for i, id := range ids {
		r := &out.Results[i]
		r.ID, r.Status = id.String(), http.StatusOK
		err := ctx.Err()
		if err == nil {
			err = act(id, r)
		}
		if err == nil {
			continue
		}
		f := faultOf(err)
		portuguese := wantsPortuguese(x.R)
		r.Status, r.Error, r.Text, r.Errors = f.Status, f.Code, f.TextIn(portuguese), problemsOf(f.Problems, portuguese)
		if isCarriedOut(x.R.Context()) {
			r.TextPT = f.TextPT
		}
	}
	return out
}

// judged says of each what would become of it now, by reading alone, and whether any of them could be done.
func judged(ctx context.Context, x *api.Exchange, ids []notice.ID, judge func(context.Context, notice.ID) error) (out bulkAnswer, some bool) {
	out = each(ctx, x, ids, func(id notice.ID, _ *bulkResult) error { return judge(ctx, id) })
	return out, slices.ContainsFunc(out.Results, func(r bulkResult) bool { return r.Error == "" })
}

// unfinished is an error when an answer of an approved act has a line that passes by itself: the act is begun again later,
// and finds what it did.
func unfinished(ctx context.Context, out bulkAnswer) error {
	if ctx.Value(history.RequestKey{}) != nil && slices.ContainsFunc(out.Results, func(r bulkResult) bool { return r.Status >= http.StatusInternalServerError }) {
		return errUnavailable
	}
	return nil
}

// postResends asks for one more POST of each of several notifications (D-4).
func (in *Internal) postResends(x *api.Exchange) error {
	if !in.cfg.ResendEnabled {
		return errResendDisabled
	}
	body, err := decode[bulkJSON](x)
	if err != nil {
		return err
	}
	if body.Filter != nil {
		return invalid("/filter", "unknown_member", "notifications are named by their ids", "notificações são indicadas por seus ids")
	}
	ids, err := idsOf(body.IDs)
	if err != nil {
		return err
	}
	reason, err := reasonFrom(body.Reason)
	if err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	if in.waits(x, history.ActResend) {
		if refused, some := judged(ctx, x, ids, in.cfg.Resender.Resendable); !some {
			return answer(x, http.StatusOK, refused)
		}
		return in.keep(ctx, x, history.ActResend, reason, x.Body)
	}
	out := each(ctx, x, ids, func(id notice.ID, r *bulkResult) error {
		fresh, err := in.cfg.Resender.Resend(ctx, id, x.Who.Subject, reason)
		if err != nil {
			return err
		}
		r.Status, r.New = http.StatusAccepted, fresh
		return nil
	})
	if err := unfinished(ctx, out); err != nil {
		return err
	}
	return answer(x, http.StatusOK, out)
}

// postApplies hands the lines of several cases to intake once more; the oldest revision first where a filter found them.
func (in *Internal) postApplies(x *api.Exchange) error {
	return in.cases(x, in.applicable, func(ctx context.Context, id notice.ID, reason string) error {
		c, err := in.cfg.Quarantine.Case(ctx, id)
		if err != nil {
			return err
		}
		if err := applyRefusal(&c); err != nil {
			if closedByRequest(ctx, &c, notice.CaseApplied) {
				return nil
			}
			return err
		}
		line, from, err := in.lineOf(ctx, x, id, &c)
		if err != nil {
			return err
		}
		if line != nil {
			from.Address = x.R.RemoteAddr
			a, err := in.cfg.Changes.Accept(ctx, line, from.Origin)
			if err != nil {
				return err
			}
			if f := refusalOf(a, from.Origin); f != nil {
				return f
			}
		}
		return in.cfg.Quarantine.RecordAct(ctx, "quarantine-applied", id.String(), reason)
	})
}

// postDismisses closes several cases without applying them.
func (in *Internal) postDismisses(x *api.Exchange) error {
	return in.cases(x, in.dismissible, func(ctx context.Context, id notice.ID, reason string) error {
		return in.dismiss(ctx, id, x.Who.Subject, reason)
	})
}

// cases acts about several cases of the quarantine. A request that waits for a second person keeps the cases that were
// found when it was asked for: nobody approves what they did not see. judge says by reading alone why the act would be refused about one;
// where all would be, there is nothing to approve.
func (in *Internal) cases(x *api.Exchange, judge func(context.Context, notice.ID) error, act func(ctx context.Context, id notice.ID, reason string) error) error {
	body, err := decode[bulkJSON](x)
	if err != nil {
		return err
	}
	reason, err := reasonFrom(body.Reason)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.R.Context()), 2*actWithin)
	defer cancel()
	ids, more, err := in.named(ctx, &body)
	if err != nil {
		return err
	}
	if len(ids) > 0 && in.waits(x, history.ActQuarantine) {
		if refused, some := judged(ctx, x, ids, judge); !some {
			return answer(x, http.StatusOK, refused)
		}
		kept, err := json.Marshal(bulkJSON{IDs: textsOf(ids), Reason: reason})
		if err != nil {
			return err
		}
		return in.keep(ctx, x, history.ActQuarantine, reason, kept)
	}
	out := each(ctx, x, ids, func(id notice.ID, _ *bulkResult) error { return act(ctx, id, reason) })
	out.More = more
	if err := unfinished(ctx, out); err != nil {
		return err
	}
	return answer(x, http.StatusOK, out)
}

func textsOf(ids []notice.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// named reads which cases an act is about, and whether the filter finds more than these.
func (in *Internal) named(ctx context.Context, body *bulkJSON) (ids []notice.ID, more bool, err error) {
	if (body.Filter == nil) == (body.IDs == nil) {
		return nil, false, invalid("", "required", "name the cases by ids or by filter, one of both", "indique os casos por ids ou por filter, um dos dois")
	}
	if body.Filter == nil {
		ids, err = idsOf(body.IDs)
		return ids, false, err
	}
	f := body.Filter
	if f.State != "" && f.State != notice.CaseOpen && f.State != notice.CaseNonconforming {
		return nil, false, invalid("/filter/state", "invalid_parameter", "state must be open or nonconforming", "state deve ser open ou nonconforming")
	}
	if *f == (filterJSON{State: f.State}) {
		return nil, false, invalid("/filter", "required", "filter must have clientId, kind, source or code", "filter deve ter clientId, kind, source ou code")
	}
	if f.Kind != "" {
		if _, err := ofb.ParseKind(f.Kind); err != nil {
			return nil, false, invalid("/filter/kind", "invalid_parameter", "kind must be "+kindsEN,
				"kind deve ser "+kindsPT)
		}
	}
	ids, err = in.cfg.Quarantine.OpenCaseIDs(ctx, notice.CaseFilter{Client: notice.ClientID(f.ClientID), Kind: f.Kind, Source: f.Source, Code: f.Code, State: f.State}, bulkMost+1)
	if len(ids) > bulkMost {
		return ids[:bulkMost], true, err
	}
	return ids, false, err
}
