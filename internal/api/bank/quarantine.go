package bank

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

// Quarantine keeps what could not be applied; *store.Store does.
type Quarantine interface {
	// Cases lists cases by state ("" for all), newest first, at most limit, without their lines.
	Cases(ctx context.Context, state string, limit int) ([]notice.Case, error)
	// Case reads one with its line.
	Case(ctx context.Context, id notice.ID) (notice.Case, error)
	// Dismiss closes a case permanently; false when it is closed already, or there is none.
	Dismiss(ctx context.Context, id notice.ID, actor, reason string) (bool, error)
	// OpenCaseIDs lists open cases, the oldest revision first, at most limit.
	OpenCaseIDs(ctx context.Context, f notice.CaseFilter, limit int) ([]notice.ID, error)
	// RecordAct writes an act about a case into the history, in the name of the caller whom ctx names.
	RecordAct(ctx context.Context, act, object, reason string) error
}

const caseOpen = "open"

type casesJSON struct {
	Quarantine []caseJSON `json:"quarantine"`
}

type caseJSON struct {
	ID           notice.ID      `json:"id"`
	State        string         `json:"state"`
	Kind         *string        `json:"kind"` // null here and below: the line does not tell
	ResourceID   *string        `json:"resourceId"`
	Revision     *int64         `json:"revision"`
	ClientID     *string        `json:"clientId"`
	Source       string         `json:"source"`
	Errors       []problemJSON  `json:"errors"`
	Seen         int64          `json:"seen"`
	FirstAt      instant        `json:"firstAt"`
	LastAt       instant        `json:"lastAt"`
	ClosedBy     *string        `json:"closedBy"`
	ClosedReason *string        `json:"closedReason"`
	ClosedAt     *instant       `json:"closedAt"`
	Change       jsontext.Value `json:"change,omitzero"` // the line, in the single reading alone; null once the case is closed
}

type problemJSON struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

func caseOf(c *notice.Case, portuguese bool) caseJSON {
	out := caseJSON{
		ID: c.ID, State: c.State, Kind: orNull(c.Kind), ResourceID: orNull(c.ResourceID), Revision: orNull(c.Revision),
		ClientID: orNull(string(c.Client)), Source: c.Source, Errors: make([]problemJSON, len(c.Problems)), Seen: c.Seen,
		FirstAt: instant(c.FirstAt), LastAt: instant(c.LastAt), ClosedBy: orNull(c.ClosedBy), ClosedReason: orNull(c.ClosedWhy),
		ClosedAt: instantOrNull(c.ClosedAt),
	}
	for i, p := range c.Problems {
		out.Errors[i] = problemJSON{p.Pointer, p.Code, p.Detail}
		if portuguese && p.DetailPT != "" {
			out.Errors[i].Detail = p.DetailPT
		}
	}
	return out
}

// listCases lists what is open, or what ?state= asks for.
func (in *Internal) listCases(x *api.Exchange) error {
	p, err := parameters(x.R.URL.RawQuery, "state", "limit")
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
		state = caseOpen
	case state == "all":
		state = ""
	case !slices.Contains([]string{caseOpen, "applied", "dismissed"}, state):
		return wrong("state", "must be open, applied, dismissed or all", "deve ser open, applied, dismissed ou all")
	}
	cases, err := in.quarantine.Cases(x.R.Context(), state, limit)
	if err != nil {
		return err
	}
	out := casesJSON{Quarantine: make([]caseJSON, len(cases))}
	for i := range cases {
		out.Quarantine[i] = caseOf(&cases[i], wantsPortuguese(x.R))
	}
	return in.view(x, len(cases), out)
}

func (in *Internal) getCase(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	c, err := in.quarantine.Case(x.R.Context(), id)
	if err != nil {
		return err
	}
	return in.view(x, 1, shownCase(x, &c))
}

func shownCase(x *api.Exchange, c *notice.Case) caseJSON {
	out := caseOf(c, wantsPortuguese(x.R))
	out.Change = raw(c.Line)
	return out
}

func (in *Internal) showCase(ctx context.Context, x *api.Exchange, id notice.ID) error {
	c, err := in.quarantine.Case(ctx, id)
	if err != nil {
		return err
	}
	return answer(x, http.StatusOK, shownCase(x, &c))
}

var errClosed = conflict("the case is already closed")

// postApply hands a case's line to intake once more, as it is, or as the mapping of its source makes it of the record
// that was kept: what stood in its way may have changed. Once another
// change with its revision was accepted, it is a conflict (design, "Judging a change").
func (in *Internal) postApply(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	c, err := in.quarantine.Case(ctx, id)
	if err != nil {
		return err
	}
	if c.State != caseOpen || c.Line == nil {
		if closedByRequest(ctx, &c, "applied") {
			return in.showCase(ctx, x, id)
		}
		return errClosed
	}
	if asked, err := in.asked(x, history.ActQuarantine, ""); asked || err != nil {
		return err
	}
	line, from, err := in.lineOf(ctx, x, id, &c)
	if err != nil {
		return err
	}
	if line == nil {
		return in.showCase(ctx, x, id)
	}
	return in.accept(x, line, from.Origin)
}

// lineOf is the line of a case as intake takes it; nil when it was a registration and is stored by now. An error says why
// there is none.
func (in *Internal) lineOf(ctx context.Context, x *api.Exchange, id notice.ID, c *notice.Case) ([]byte, remapped, error) {
	line, from, err := in.remap(ctx, c, x.Who.Subject)
	switch {
	case err != nil || from.registered || line != nil:
		return line, from, err
	case from.problems == nil:
		return nil, from, conflict("the mapping now skips this record; dismiss the case")
	}
	return nil, from, refusalOf(intake.Answer{Verdict: notice.Quarantined, Problems: from.problems, QuarantineID: id}, from.Origin)
}

// closedByRequest tells whether an earlier start of the approved request in ctx closed the case.
func closedByRequest(ctx context.Context, c *notice.Case, state string) bool {
	r, _ := ctx.Value(history.RequestKey{}).(*history.ActRequest)
	return r != nil && c.State == state && c.ClosedBy == r.AskedBy.Subject && !c.ClosedAt.Before(r.DecidedAt)
}

// postDismiss closes a case without applying it.
func (in *Internal) postDismiss(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	reason, err := reasonOf(x)
	if err != nil {
		return err
	}
	if asked, err := in.asked(x, history.ActQuarantine, reason); asked || err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	if err := in.dismiss(ctx, id, x.Who.Subject, reason); err != nil {
		return err
	}
	return in.showCase(ctx, x, id)
}

func (in *Internal) dismiss(ctx context.Context, id notice.ID, actor, reason string) error {
	done, err := in.quarantine.Dismiss(ctx, id, actor, reason)
	if err != nil || done {
		return err
	}
	c, err := in.quarantine.Case(ctx, id)
	if err == nil && !closedByRequest(ctx, &c, "dismissed") {
		err = errClosed
	}
	return err
}
