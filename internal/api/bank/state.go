package bank

import (
	"context"
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
)

// Settings tells what runs here and with which settings; package gateway joins them.
type Settings interface {
	// Settings lists every setting of this replica, secrets masked.
	Settings() []Setting
	// Schema is the version that the database's schema has, and the one that this binary was built for.
	Schema(ctx context.Context) (have, want int64, err error)
	// Replicas lists who served this database within the last week.
	Replicas(ctx context.Context) ([]history.Replica, error)
	// Starts lists the newest starts of replicas, and what they read again while they ran: newest first, at most limit of each.
	Starts(ctx context.Context, limit int) ([]history.RecordedStart, []history.RecordedReload, error)
}

// Setting is one setting as it is in force.
type Setting struct {
	Key    string `json:"key"`
	Env    string `json:"variable"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // default, file or environment
}

// Checks are reconciliations: what they found, and those that people ask for; *auditlog.Log has them. An error that knows
// Conflict() bool means that one goes on.
type Checks interface {
	Reconciliations(ctx context.Context, limit int) ([]history.RecordedReconciliation, error)
	ReconciliationRuns(ctx context.Context, limit int) ([]history.ReconciliationRun, error)
	AskReconciliation(ctx context.Context, from, to time.Time) (history.ReconciliationRun, error)
}

// startsShown is how many starts and reloads are listed.
const startsShown = 10

type settingsJSON struct {
	Schema   int64         `json:"schema"`      // of the database
	BuiltFor int64         `json:"schemaWants"` // of this replica's version
	Settings []Setting     `json:"settings"`
	Replicas []replicaJSON `json:"replicas"`
	Starts   []startJSON   `json:"starts"`
	Reloads  []reloadJSON  `json:"reloads"`
}

type replicaJSON struct {
	Name      string  `json:"name"`
	Version   string  `json:"version"`
	StartedAt instant `json:"startedAt"`
	SeenAt    instant `json:"seenAt"`
	Alive     bool    `json:"alive"` // seen within the last 30 s
}

// startJSON is a start of a replica, as its entry tells it.
type startJSON struct {
	At        instant           `json:"at"`        // of the entry
	StartedAt instant           `json:"startedAt"` // by the replica's clock
	Replica   string            `json:"replica"`
	Version   string            `json:"version"`
	Profile   string            `json:"profile"`
	SHA256    string            `json:"settingsSha256"`
	Loosened  []string          `json:"loosened"`
	Differs   *[]differenceJSON `json:"differs"` // from that replica's start before; null: there is none
}

type differenceJSON struct {
	Key    string  `json:"key"`
	Before *string `json:"before"` // null: the default, or no such file
	After  *string `json:"after"`
}

// reloadJSON is a file, list or key set that a replica read again while it ran.
type reloadJSON struct {
	At      instant `json:"at"`
	System  string  `json:"system"`
	Setting string  `json:"setting"`
	Source  string  `json:"source"`
	Outcome string  `json:"outcome"`
	Reason  *string `json:"reason"`
}

func startOf(s *history.RecordedStart) startJSON {
	out := startJSON{At: instant(s.At), StartedAt: instant(s.StartedAt), Replica: s.Replica, Version: s.Version, Profile: s.Profile, SHA256: s.SHA256, Loosened: s.Loosened}
	if s.Differs != nil {
		differs := listed(s.Differs, func(d *history.StartDifference) differenceJSON {
			return differenceJSON{d.Key, orNull(d.Before), orNull(d.After)}
		})
		out.Differs = &differs
	}
	return out
}

func reloadOf(r *history.RecordedReload) reloadJSON {
	return reloadJSON{instant(r.At), r.System, r.Setting, r.Source, r.Outcome, orNull(r.Reason)}
}

// getSettings shows the settings of the replica that answers, which replicas there are, and with what they ran.
func (in *Internal) getSettings(x *api.Exchange) error {
	have, want, err := in.cfg.Settings.Schema(x.R.Context())
	if err != nil {
		return err
	}
	all, err := in.cfg.Settings.Replicas(x.R.Context())
	if err != nil {
		return err
	}
	out := settingsJSON{Schema: have, BuiltFor: want, Settings: in.cfg.Settings.Settings(), Replicas: make([]replicaJSON, len(all))}
	for i, r := range all {
		out.Replicas[i] = replicaJSON{r.Name, r.Version, instant(r.StartedAt), instant(r.SeenAt), r.Alive}
	}
	starts, reloads, err := in.cfg.Settings.Starts(x.R.Context(), startsShown)
	if err != nil {
		return err
	}
	out.Starts, out.Reloads = listed(starts, startOf), listed(reloads, reloadOf)
	return in.view(x, len(out.Settings), out)
}

type reconciliationJSON struct {
	At      instant `json:"at"`
	AskedBy *string `json:"askedBy"` // null: the daily one
	history.Reconciliation
}

type runJSON struct {
	From    instant  `json:"from"`
	To      instant  `json:"to"`
	AskedBy string   `json:"askedBy"`
	AskedAt instant  `json:"askedAt"`
	State   string   `json:"state"` // waiting, running, done or failed
	Done    int64    `json:"pagesDone"`
	All     int64    `json:"pagesAll"`
	Problem *string  `json:"problem"`
	EndedAt *instant `json:"endedAt"`
}

func runOf(r *history.ReconciliationRun) runJSON {
	return runJSON{
		From: instant(r.From), To: instant(r.To), AskedBy: r.AskedBy.Subject, AskedAt: instant(r.AskedAt), State: r.State, Done: r.Done, All: r.All,
		Problem: orNull(r.Problem), EndedAt: instantOrNull(r.EndedAt),
	}
}

// runsShown is how many reconciliations that people asked for are listed.
const runsShown = 10

// listReconciliations lists what the newest reconciliations found, and those that people asked for.
func (in *Internal) listReconciliations(x *api.Exchange) error {
	p, err := parameters(x.R.URL.RawQuery, "limit")
	if err != nil {
		return err
	}
	limit, err := limitOf(p)
	if err != nil {
		return err
	}
	found, err := in.cfg.Checks.Reconciliations(x.R.Context(), limit)
	if err != nil {
		return err
	}
	runs, err := in.cfg.Checks.ReconciliationRuns(x.R.Context(), runsShown)
	if err != nil {
		return err
	}
	out := struct {
		Runs            []runJSON            `json:"runs"`
		Reconciliations []reconciliationJSON `json:"reconciliations"`
	}{listed(runs, runOf), make([]reconciliationJSON, len(found))}
	for i, r := range found {
		out.Reconciliations[i] = reconciliationJSON{instant(r.At), orNull(r.AskedBy), r.Reconciliation}
	}
	return in.view(x, len(found), out)
}

// postReconciliation asks for a reconciliation of a period of at most 31 days.
func (in *Internal) postReconciliation(x *api.Exchange) error {
	body, err := decode[struct {
		From time.Time `json:"from"`
		To   time.Time `json:"to"`
	}](x)
	if err != nil {
		return err
	}
	if problem := history.Begun(body.From, x.Began); problem != nil {
		return invalid("/from", "format", "from "+problem.Detail, "from "+problem.DetailPT)
	}
	if body.To.After(x.Began) {
		body.To = x.Began
	}
	switch {
	case body.From.IsZero() || body.To.IsZero():
		return invalid("", "required", "from and to must be given, as RFC 3339 times", "from e to devem ser informados, como horários RFC 3339")
	case !body.From.Before(body.To) || body.To.Sub(body.From) > rangeMax:
		return invalid("/to", "format", "to must lie after from, by at most 31 days", "to deve ser posterior a from, em no máximo 31 dias")
	}
	ctx, cancel := acting(x)
	defer cancel()
	run, err := in.cfg.Checks.AskReconciliation(ctx, body.From.UTC(), body.To.UTC())
	if err != nil {
		return err
	}
	return answer(x, http.StatusAccepted, runOf(&run))
}
