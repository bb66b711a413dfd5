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
	// Cases lists cases by state ("" for all), newest first, those below after (zero: from the newest), at most limit, without their lines.
	// more: there are others below.
	Cases(ctx context.Context, state string, after history.Position, limit int) (cases []notice.Case, more bool, err error)
	// Case reads one with its line.
	Case(ctx context.Context, id notice.ID) (notice.Case, error)
	// Dismiss closes a case permanently; false when it is closed already, or there is none.
	Dismiss(ctx context.Context, id notice.ID, actor, reason string) (bool, error)
	// OpenCaseIDs lists open cases, the oldest revision first, at most limit.
	OpenCaseIDs(ctx context.Context, f notice.CaseFilter, limit int) ([]notice.ID, error)
	// RecordAct writes an act about a case into the history, in the name of the caller whom ctx names.
	RecordAct(ctx context.Context, act, object, reason string) error
}

type casesJSON struct {
	Quarantine []caseJSON `json:"quarantine"`
	NextCursor *string    `json:"nextCursor,omitempty"` // absent on the last page
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
	return caseJSON{
		ID: c.ID, State: c.State, Kind: orNull(c.Kind), ResourceID: orNull(c.ResourceID), Revision: orNull(c.Revision),
		ClientID: orNull(string(c.Client)), Source: c.Source, Errors: problemsOf(c.Problems, portuguese), Seen: c.Seen,
		FirstAt: instant(c.FirstAt), LastAt: instant(c.LastAt), ClosedBy: orNull(c.ClosedBy), ClosedReason: orNull(c.ClosedWhy),
		ClosedAt: instantOrNull(c.ClosedAt),
	}
}

// problemsOf are problems in one of our languages.
func problemsOf(all []notice.Problem, portuguese bool) []problemJSON {
	return listed(all, func(p *notice.Problem) problemJSON {
		if portuguese && p.DetailPT != "" {
			return problemJSON{p.Pointer, p.Code, p.DetailPT}
		}
		return problemJSON{p.Pointer, p.Code, p.Detail}
	})
}

// listCases lists what is open, or what ?state= asks for.
func (in *Internal) listCases(x *api.Exchange) error {
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
		state = notice.CaseOpen
	case state == "all":
		state = ""
	case !slices.Contains([]string{notice.CaseOpen, notice.CaseNonconforming, notice.CaseApplied, notice.CaseDismissed}, state):
		return wrong("state", "must be open, nonconforming, applied, dismissed or all", "deve ser open, nonconforming, applied, dismissed ou all")
	}
	pages, err := in.pagesOf(x.R.Context(), p["cursor"], "quarantine", state)
	if err != nil {
		return err
	}
	cases, more, err := in.cfg.Quarantine.Cases(x.R.Context(), state, pages.after, limit)
	if err != nil {
		return err
	}
	var out casesJSON
	if more {
		out.NextCursor = pages.next(history.Position{At: cases[len(cases)-1].FirstAt, ID: cases[len(cases)-1].ID})
	}
	portuguese := wantsPortuguese(x.R)
	out.Quarantine = listed(cases, func(c *notice.Case) caseJSON { return caseOf(c, portuguese) })
	return in.view(x, len(cases), out)
}

func (in *Internal) getCase(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	c, err := in.cfg.Quarantine.Case(x.R.Context(), id)
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
	c, err := in.cfg.Quarantine.Case(ctx, id)
	if err != nil {
		return err
	}
	return answer(x, http.StatusOK, shownCase(x, &c))
}

var (
	errClosed        = conflict("the case is already closed", "o caso já está encerrado")
	errStoredAlready = conflict("the change is stored already, and its document does not conform to the schema; there is nothing to apply; dismiss the case",
		"a mudança já está gravada, e seu documento não segue o esquema; não há o que aplicar; dispense o caso")
)

// applyRefusal is why a case cannot be applied; nil: it waits for that.
func applyRefusal(c *notice.Case) error {
	if c.State == notice.CaseNonconforming {
		return errStoredAlready
	}
	if c.State != notice.CaseOpen || c.Line == nil {
		return errClosed
	}
	return nil
}

// applicable tells by its error why a case would not be applied now, as far as the case itself says.
func (in *Internal) applicable(ctx context.Context, id notice.ID) error {
	c, err := in.cfg.Quarantine.Case(ctx, id)
	if err != nil {
		return err
	}
	return applyRefusal(&c)
}

// dismissible tells by its error why a case would not be dismissed now.
func (in *Internal) dismissible(ctx context.Context, id notice.ID) error {
	c, err := in.cfg.Quarantine.Case(ctx, id)
	if err == nil && c.State != notice.CaseOpen && c.State != notice.CaseNonconforming {
		err = errClosed
	}
	return err
}

// postApply hands a case's line to intake once more, as it is, or as the mapping of its source makes it of the record
// that was kept: what stood in its way may have changed. Once another
// change with its revision was accepted, it is a conflict, whatever else is wrong with it (design, "Judging a change").
func (in *Internal) postApply(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	c, err := in.cfg.Quarantine.Case(ctx, id)
	if err != nil {
		return err
	}
	if err := applyRefusal(&c); err != nil {
		if closedByRequest(ctx, &c, notice.CaseApplied) {
			return in.showCase(ctx, x, id)
		}
		return err
	}
	if asked, err := in.asked(x, history.ActQuarantine, "", nil); asked || err != nil {
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
		return nil, from, conflict("the mapping now skips this record; dismiss the case", "o mapeamento agora pula este registro; dispense o caso")
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
	judge := func(ctx context.Context) error { return in.dismissible(ctx, id) }
	if asked, err := in.asked(x, history.ActQuarantine, reason, judge); asked || err != nil {
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
	done, err := in.cfg.Quarantine.Dismiss(ctx, id, actor, reason)
	if err != nil || done {
		return err
	}
	c, err := in.cfg.Quarantine.Case(ctx, id)
	if err == nil && !closedByRequest(ctx, &c, notice.CaseDismissed) {
		err = errClosed
	}
	return err
}
