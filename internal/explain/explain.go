// Package explain says what would become of one change, or of one row of a source: what the mapping makes of it, the verdict,
// and the request that would be sent. `arauto explain` prints it.
//
// It takes the same path as serve (mapping, intake, webhook), and stores and sends nothing. It reads the gateway's database and
// the core's where they answer, and reports why where they do not.
package explain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/registry"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/sources"
	"github.com/arauto/arauto/internal/webhook"
	"github.com/arauto/arauto/openapi"
)

// Explanation is what would become of one change, and why.
type Explanation struct {
	Mapped *watch.RecordExplanation // what the mapping made of the row; nil: the change was given
	Given  string                   // why the row was not read as the core's database would tell it; "": it was, or there is none
	Lookup string                   // why the core's database was not asked for rows beside it; "": it was, or there are none

	Apart     string            // why the gateway's database was not asked, or could not be; "": it was
	ApartPT   string            // the same in Portuguese
	Line      []byte            // the change; nil: there is none
	LineError *intake.LineError // it is no change at all
	Foresight *intake.Foresight // nil with LineError, or without a line

	Refused  []notice.Problem // why the registration that the row gives would go to quarantine
	Unjudged string           // what of the registration was not judged, and why; "": all of it was

	Registered *notice.Initiator // nil: there is none, or the database was not asked
	URL        string            // of the request; "": none would be made
	Request    []byte            // byte for byte, with an interaction id of zeros: each attempt has one of its own
	Refusal    error             // the registered address may not be dialled
}

// noAddress stands for the registered address where the database was not asked.
const noAddress = "https://registered-address.invalid"

// answerWithin is how long each database may take to answer.
const answerWithin = 5 * time.Second

// Change explains a change, given as the line that POST /internal/v1/changes takes. The settings need not be complete: without a
// database the change is judged as the first of its resource, of a client with an address.
func Change(ctx context.Context, cfg *config.Config, version string, line []byte) (Explanation, error) {
	e := Explanation{Line: line}
	return e, e.foresee(ctx, cfg, version)
}

// CoreRow is a row of the core, or a message.
type CoreRow struct {
	Mapping string // file of the source's mapping
	Table   string // may be empty if the source has one only
	Columns []byte // a JSON object; nil: the newest row of the table, as the core's database has it
}

// Row explains a row, given or the newest of its table. It returns one explanation for each mapping of its table. If the core's database answers, it is asked for
// the rows that the mapping looks up; else they are taken from members of the row that have the names of the mapping.
func Row(ctx context.Context, cfg *config.Config, version string, row CoreRow) ([]Explanation, error) {
	m, err := sources.ReadMapping(row.Mapping)
	if err != nil {
		return nil, err
	}
	table, err := tableOf(m, row.Table)
	if err != nil {
		return nil, err
	}
	r := watch.SourceRecord{Table: table, Op: watch.Update, Revision: sources.TriedRevision, Position: "explain", CommittedAt: time.Now().UTC()}
	if row.Columns != nil {
		d := json.NewDecoder(bytes.NewReader(row.Columns))
		d.UseNumber()
		if err := d.Decode(&r.Values); err != nil || r.Values == nil || d.More() {
			return nil, &config.Error{Problems: []string{"--row: is not one JSON object of the row's columns"}}
		}
	}
	reader, err := sources.OpenReader(m, cfg.Profile == config.Production, nil, slog.New(slog.DiscardHandler))
	if err == nil {
		defer reader.Close()
	} else {
		reader = unopened{err: err}
	}
	given := ""
	if row.Columns == nil {
		if r.Values, err = newest(ctx, reader, table); err != nil {
			return nil, &config.Error{Problems: []string{"--source: " + err.Error() + "; give a row with --row"}}
		}
	} else {
		given = readAsTold(ctx, reader, &r)
	}
	made, why, err := explainMapping(ctx, reader, m, r)
	if err != nil {
		return nil, err
	}
	out := make([]Explanation, len(made))
	for i := range made {
		out[i] = Explanation{Mapped: &made[i], Given: given, Lookup: why, Line: made[i].Line}
		if made[i].Registration != nil {
			out[i].register(cfg)
		}
		if made[i].Line == nil {
			continue
		}
		if err := out[i].foresee(ctx, cfg, version); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tableOf returns the table that was named, or the only one there is.
func tableOf(m *watch.Mapping, table string) (string, error) {
	all := m.Tables()
	switch {
	case table == "" && len(all) == 1:
		return all[0], nil
	case !slices.Contains(all, table):
		return "", &config.Error{Problems: []string{fmt.Sprintf("--table: %q is not in the mapping; name one of %s", table, strings.Join(all, ", "))}}
	}
	return table, nil
}

// newest reads the newest row of a table.
func newest(ctx context.Context, reader watch.Reader, table string) (map[string]any, error) {
	s, keeps := reader.(watch.Sampler)
	if u, is := reader.(unopened); is {
		return nil, u.err
	}
	if !keeps {
		return nil, errors.New("this kind of origin keeps no rows that could be read")
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	rows, err := s.Newest(ctx, table, 1)
	if err != nil {
		return nil, fmt.Errorf("read the newest row of %s: %w", table, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("table %s has no row", table)
	}
	return rows[0], nil
}

// register judges a registration as serve would. The key set of the Directory is not read: a software statement is not judged.
func (e *Explanation) register(cfg *config.Config) {
	allow, _ := cfg.Allowed()
	in := *e.Mapped.Registration
	rules := registry.Config{Brands: cfg.BrandList(), AllowPorts: cfg.Webhook.AllowPorts, Development: cfg.Profile == config.Development, AllowNetworks: allow}
	problems, _, err := sources.RowJudge{Registration: func(in watch.Registration) error {
		return registry.ForeseeFollowed(rules, in.Client, sources.Registration(in), in.Checked)
	}}.Problems("explain", &watch.Mapped{Registration: &in})
	e.Refused = problems
	if err != nil {
		e.Unjudged = err.Error()
	}
}

// unopened is the reader of an origin whose settings are wrong.
type unopened struct {
	watch.Reader
	err error
}

// Find tells why nothing is found.
func (u unopened) Find(context.Context, watch.Lookup) (map[string]map[string]any, error) {
	return nil, u.err
}

// Convert tells why nothing is read.
func (u unopened) Convert(context.Context, string, map[string]any) (map[string]any, error) {
	return nil, u.err
}

// readAsTold converts the row to the form in which the origin would send it. It returns why that was not possible. Messages of a
// bus stay as they are.
func readAsTold(ctx context.Context, reader watch.Reader, r *watch.SourceRecord) (why string) {
	c, converts := reader.(interface {
		Convert(ctx context.Context, table string, row map[string]any) (map[string]any, error)
	})
	if !converts {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	values, err := c.Convert(ctx, r.Table, r.Values)
	if err != nil {
		return err.Error()
	}
	r.Values = values
	return ""
}

// explainMapping maps the row. The core looks up related rows if it answers; else why says what is wrong.
func explainMapping(ctx context.Context, reader watch.Reader, m *watch.Mapping, r watch.SourceRecord) (made []watch.RecordExplanation, why string, err error) {
	if len(m.Joined()) == 0 {
		made, err = m.Explain(ctx, nil, r)
		return made, "", err
	}
	asking, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if made, err = m.Explain(asking, reader.Find, r); err == nil {
		return made, "", nil
	}
	why = err.Error()
	made, err = m.Explain(ctx, nil, r)
	return made, why, err
}

func (e *Explanation) foresee(ctx context.Context, cfg *config.Config, version string) error {
	versions, err := ofb.ParseVersions(cfg.Schema.Versions)
	if err != nil {
		return &config.Error{Problems: []string{"schema.versions (" + config.EnvName("schema.versions") + "): " + err.Error()}}
	}
	schemas, err := openapi.Load(openapi.KeepUnknown(cfg.Schema.UnknownMembers == "keep"), openapi.Declare(versions))
	if err != nil {
		return fmt.Errorf("load our own API documents: %w", err)
	}
	optional, err := config.ParseKinds(cfg.Announce.DirectAuthorised)
	if err != nil {
		return &config.Error{Problems: []string{"announce.direct_authorised (" + config.EnvName("announce.direct_authorised") + "): " + err.Error()}}
	}
	judge := intake.New(intake.Config{Brands: cfg.BrandList(), Schema: schemas, NewID: store.NewID, OptionalAuthorised: optional, Timers: cfg.Timed(), TellNonconforming: cfg.TellNonconforming()})
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	s, err := e.open(ctx, cfg)
	if err != nil {
		return err
	}
	var pasts intake.Pasts
	if s != nil {
		defer s.Close()
		pasts = s
	}
	f, err := judge.Foresee(ctx, e.Line, intake.Origin{Source: "explain"}, pasts)
	switch {
	case errors.As(err, &e.LineError):
		return nil
	case err != nil:
		return err
	}
	e.Foresight = &f
	return e.preview(ctx, cfg, version, s)
}

// open connects to the gateway's database; without a usable one it returns nil and sets e.Apart.
func (e *Explanation) open(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	if cfg.Database.URL == "" {
		e.Apart, e.ApartPT = "database.url is not set", "database.url não está definido"
		return nil, nil
	}
	s, err := store.Open(ctx, store.Options{URL: cfg.Database.URL, PasswordFile: cfg.Database.PasswordFile, Replica: "explain"})
	if err != nil {
		return nil, &config.Error{Problems: []string{"database.url (ARAUTO_DATABASE_URL): " + err.Error()}}
	}
	have, want, err := s.SchemaVersions(ctx)
	switch {
	case err != nil:
		e.Apart, e.ApartPT = "the database does not answer", "o banco de dados não responde"
	case have < want:
		e.Apart = fmt.Sprintf("the schema is at version %d and this binary needs %d", have, want)
		e.ApartPT = fmt.Sprintf("o esquema está na versão %d e este binário precisa da %d", have, want)
	default:
		return s, nil
	}
	s.Close()
	return nil, nil
}

// preview sets the request that would be sent, if any.
func (e *Explanation) preview(ctx context.Context, cfg *config.Config, version string, s *store.Store) error {
	c := e.Foresight.Change
	base := noAddress
	if s != nil && c.Client != "" {
		found, err := s.Initiator(ctx, c.Client)
		switch {
		case err == nil:
			e.Registered = &found
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	a := e.Foresight.Decision.Announce
	if a == nil {
		return nil
	}
	if e.Registered != nil && len(e.Registered.WebhookURIs) > 0 {
		base = e.Registered.WebhookURIs[0]
	}
	allow, _ := cfg.Allowed()
	e.URL, e.Request, e.Refusal = webhook.Preview(webhook.Config{
		Guard: webhook.NewGuard(allow, cfg.Webhook.AllowPorts), Version: version, ASHeaders: cfg.Webhook.ASHeaders, Brands: holders(cfg),
	}, notice.Attempt{
		Client: a.Client, Kind: a.Kind, ResourceID: a.ResourceID, APIVersion: a.APIVersion, Event: a.Event, EventAt: a.EventAt, Number: 1, BaseURI: base,
	})
	return nil
}

// holders are the parts of each brand that a request shows.
func holders(cfg *config.Config) map[brand.Prefix]webhook.Holder {
	out := map[brand.Prefix]webhook.Holder{}
	for _, b := range cfg.EachBrand() {
		out[b.Key()] = webhook.Holder{AuthorisationServerID: b.Holder.AuthorisationServerID}
	}
	return out
}
