package bank

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

// Sources are the logs and buses that are followed, as they are configured; package gateway joins them with what the
// replicas tell of them. An error that knows NotFound() bool and answers true means that no such source is configured.
type Sources interface {
	// Sources lists them by name.
	Sources(ctx context.Context) ([]notice.FollowedSource, error)
	Source(ctx context.Context, name string) (notice.FollowedSource, error)
	// Pause pauses a source or lets it go on, at every replica; false when that is how it stands already.
	Pause(ctx context.Context, name string, paused bool, actor, reason string) (bool, error)
	// Accept keeps that a person accepted a finding that stopped a source, at every replica; false when it was accepted before.
	Accept(ctx context.Context, f notice.AcceptedFinding) (bool, error)
	// OpenCases lists cases of a source with their lines, oldest revision first, after the one given (zero: the first).
	OpenCases(ctx context.Context, name string, revision int64, after notice.ID, limit int) ([]notice.Case, error)
	Remap
}

// Remap maps again what a source put aside.
type Remap interface {
	// Remap applies the mapping in force to the record that a case keeps. It asks the source's origin where the mapping
	// does.
	Remap(ctx context.Context, c notice.Case) (notice.Remapped, error)
}

type sourcesJSON struct {
	Sources []sourceJSON `json:"sources"`
}

type sourceJSON struct {
	Name         string         `json:"name"`
	Origin       string         `json:"origin"`
	Running      bool           `json:"running"`
	Paused       bool           `json:"paused"`
	PausedBy     *string        `json:"pausedBy"` // here and below: of the last pause or resumption
	PausedReason *string        `json:"pausedReason"`
	PausedAt     *instant       `json:"pausedAt"`
	Replica      *string        `json:"replica"`
	ReportedAt   *instant       `json:"reportedAt"`
	Status       jsontext.Value `json:"status"` // null until a replica has told
}

func sourceOf(s *notice.FollowedSource) sourceJSON {
	out := sourceJSON{
		Name: s.Name, Origin: s.Origin, Running: s.Running, Paused: s.Paused, PausedBy: orNull(s.PausedBy), PausedReason: orNull(s.PausedWhy),
		PausedAt: instantOrNull(s.PausedAt), Replica: orNull(s.Replica), ReportedAt: instantOrNull(s.ReportedAt), Status: jsontext.Value("null"),
	}
	if !s.ReportedAt.IsZero() {
		out.Status = raw(s.Status)
	}
	return out
}

func (in *Internal) listSources(x *api.Exchange) error {
	if in.cfg.Sources == nil {
		return answer(x, http.StatusOK, sourcesJSON{Sources: []sourceJSON{}})
	}
	all, err := in.cfg.Sources.Sources(x.R.Context())
	if err != nil {
		return err
	}
	return answer(x, http.StatusOK, sourcesJSON{Sources: listed(all, sourceOf)})
}

// source finds the source in the path.
func (in *Internal) source(ctx context.Context, x *api.Exchange) (notice.FollowedSource, error) {
	if in.cfg.Sources == nil {
		return notice.FollowedSource{}, errNotFound
	}
	return in.cfg.Sources.Source(ctx, x.Segment("name"))
}

func (in *Internal) getSource(x *api.Exchange) error { return in.showSource(x.R.Context(), x) }

func (in *Internal) showSource(ctx context.Context, x *api.Exchange) error {
	s, err := in.source(ctx, x)
	if err != nil {
		return err
	}
	return answer(x, http.StatusOK, sourceOf(&s))
}

func (in *Internal) postPause(x *api.Exchange) error  { return in.pause(x, true) }
func (in *Internal) postResume(x *api.Exchange) error { return in.pause(x, false) }

// pause pauses or resumes a source; what is so already is a conflict, for somebody else did it for a reason of theirs.
func (in *Internal) pause(x *api.Exchange, paused bool) error {
	ctx, cancel := acting(x)
	defer cancel()
	s, err := in.source(ctx, x)
	if err != nil {
		return err
	}
	reason, err := reasonOf(x)
	if err != nil {
		return err
	}
	already := conflict("the source is not paused", "a fonte não está pausada")
	if paused {
		already = conflict("the source is paused already", "a fonte já está pausada")
	}
	judge := func(context.Context) error {
		if s.Paused == paused {
			return already
		}
		return nil
	}
	if asked, err := in.asked(x, history.ActSource, reason, judge); asked || err != nil {
		return err
	}
	changed, err := in.cfg.Sources.Pause(ctx, s.Name, paused, x.Who.Subject, reason)
	switch {
	case err != nil:
		return err
	case !changed:
		return already
	}
	return in.showSource(ctx, x)
}

// acceptJSON is why a source may go on although rows may be missing.
type acceptJSON struct {
	Finding string `json:"finding"`
	Reason  string `json:"reason"`
}

// postAccept accepts a finding that stops a source now. One that it does not name is a conflict: nobody accepts in advance what nobody
// has seen.
func (in *Internal) postAccept(x *api.Exchange) error {
	ctx, cancel := acting(x)
	defer cancel()
	s, err := in.source(ctx, x)
	if err != nil {
		return err
	}
	body, err := decode[acceptJSON](x)
	if err != nil {
		return err
	}
	reason, err := reasonFrom(body.Reason)
	if err != nil {
		return err
	}
	var told struct {
		Findings []struct {
			Code string `json:"code"`
		} `json:"findings"`
	}
	if !s.ReportedAt.IsZero() {
		if err := json.Unmarshal(s.Status, &told); err != nil {
			return fmt.Errorf("read the report of source %s: %w", s.Name, err)
		}
	}
	named := false
	for _, f := range told.Findings {
		named = named || f.Code == body.Finding
	}
	if !named {
		return conflict("the source names no such finding now; its status lists those it does", "a fonte não aponta mais este achado; o estado dela lista os que aponta")
	}
	if asked, err := in.asked(x, history.ActSource, reason, nil); asked || err != nil {
		return err
	}
	fresh, err := in.cfg.Sources.Accept(ctx, notice.AcceptedFinding{Source: s.Name, Finding: body.Finding, By: x.Who.Subject, Reason: reason})
	switch {
	case err != nil:
		return err
	case !fresh:
		return conflict("the finding is accepted already; the source goes on within seconds", "o achado já foi aceito; a fonte segue em segundos")
	}
	return in.showSource(ctx, x)
}

// Bounds of one call of reapply: what is left is told, and the call repeated.
const (
	reapplyWithin = 12 * time.Second
	reapplyPage   = 200
)

// reappliedJSON counts what became of the cases.
type reappliedJSON struct {
	Applied     int  `json:"applied"`
	Superseded  int  `json:"superseded"`
	Duplicate   int  `json:"duplicate"`   // accepted since through another channel: such a case can only be dismissed
	Conflict    int  `json:"conflict"`    // its revision was taken by other content
	Quarantined int  `json:"quarantined"` // mapped, and no lawful change
	Registered  int  `json:"registered"`  // of the authorization server's clients; their cases are closed
	Unmapped    int  `json:"unmapped"`
	Skipped     int  `json:"skipped"` // the mapping passes over it now: dismiss it
	More        bool `json:"more"`    // there was no time for all of them
}

func (r *reappliedJSON) count(v notice.Verdict) {
	switch v {
	case notice.Applied:
		r.Applied++
	case notice.Superseded:
		r.Superseded++
	case notice.Duplicate:
		r.Duplicate++
	case notice.Conflicting:
		r.Conflict++
	case notice.Quarantined:
		r.Quarantined++
	}
}

// postReapply maps all open cases of a source again, oldest revision first, and hands them to intake.
func (in *Internal) postReapply(x *api.Exchange) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.R.Context()), 2*reapplyWithin)
	defer cancel()
	s, err := in.source(ctx, x)
	if err != nil {
		return err
	}
	for _, act := range []string{history.ActSource, history.ActQuarantine} { // it acts on a source, and applies its cases
		if asked, err := in.asked(x, act, "", nil); asked || err != nil {
			return err
		}
	}
	var out reappliedJSON
	var last notice.Case
	for began := time.Now(); ; {
		page, err := in.cfg.Sources.OpenCases(ctx, s.Name, last.Revision, last.ID, reapplyPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		if time.Since(began) > reapplyWithin {
			out.More = true
			break
		}
		last = page[len(page)-1]
		if err := in.reapply(ctx, page, x.Who.Subject, &out); err != nil {
			return err
		}
	}
	return answer(x, http.StatusOK, out)
}

// reapply hands a page of cases to intake side by side; intake keeps the order of each resource.
func (in *Internal) reapply(ctx context.Context, page []notice.Case, actor string, out *reappliedJSON) error {
	var waiting []*intake.Pending
	for i := range page {
		line, from, err := in.remap(ctx, &page[i], actor)
		if err != nil {
			return err
		}
		if line == nil {
			switch {
			case from.registered:
				out.Registered++
			case from.problems != nil:
				out.Unmapped++
			default:
				out.Skipped++
			}
			continue
		}
		p, err := in.cfg.Changes.Enqueue(ctx, line, from.Origin)
		if err != nil {
			return err
		}
		waiting = append(waiting, p)
	}
	for _, p := range waiting {
		a, err := p.Wait(ctx)
		if err != nil {
			return err
		}
		out.count(a.Verdict)
	}
	return nil
}

// remapped says how a case is handed to intake, or what keeps it from that.
type remapped struct {
	intake.Origin
	registered bool
	problems   []notice.Problem
}

// whyRegistered closes the case of a row that became a registration.
const whyRegistered = "mapped again and registered"

// remap gives the line of a case: the one kept, or what the mapping makes of the record kept. No line: it is registered
// now, cannot be mapped, or is passed over where nothing is wrong with it.
func (in *Internal) remap(ctx context.Context, c *notice.Case, actor string) ([]byte, remapped, error) {
	from := remapped{Origin: intake.Origin{Source: "quarantine", Actor: actor, Quarantine: c.ID, FirstAt: c.FirstAt}}
	if in.cfg.Sources == nil {
		return c.Line, from, nil
	}
	m, err := in.cfg.Sources.Remap(ctx, *c)
	switch {
	case err != nil:
		return nil, from, err
	case m.Registered:
		from.registered = true
		_, err := in.cfg.Quarantine.Dismiss(ctx, c.ID, actor, whyRegistered)
		return nil, from, err
	case m.Problems != nil || m.Skipped:
		from.problems = m.Problems
		return nil, from, nil
	case m.Line == nil:
		return c.Line, from, nil
	}
	record := c.Line
	from.Source, from.Keep = c.Source, func() []byte { return record }
	return m.Line, from, nil
}
