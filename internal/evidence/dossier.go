package evidence

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// ErrDossier means that a dossier was asked for in a form there is not.
var ErrDossier = errors.New("a dossier is html, text or PDF, in pt or en")

// Dossier writes down what the log has about one resource, for people: the clock proof of each notification, and each
// change with its decision, each attempt, each answer, each poll. id is the resource's, or that of a notification, a change
// or an interaction about it. format is "html" or "text", lang "pt" or "en"; ErrDossier otherwise. Every entry is verified
// first. It returns how many there are; an error that knows NotFound() bool and answers true means that there is none.
func Dossier(ctx context.Context, log SealedLog, id, format, lang string) (text []byte, entries int64, err error) {
	words, known := dossierWords[lang]
	if !known || format != "html" && format != "text" {
		return nil, 0, ErrDossier
	}
	d, err := collect(ctx, log, id, words)
	if err != nil {
		return nil, 0, err
	}
	var page bytes.Buffer
	if format == "html" {
		err = dossierPage.Execute(&page, d)
	} else {
		err = dossierText.Execute(&page, d)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("write the dossier: %w", err)
	}
	return page.Bytes(), int64(len(d.Events)), nil
}

// dossier is what the document shows.
type dossier struct {
	Words      map[string]string
	ID         string
	Kind       string
	Clients    string
	Log        string
	Size       int64
	Root       string
	SealedAt   string
	Clock      []timing.ClockWords
	Events     []dossierEvent
	Checkpoint string

	head    audit.SignedHead
	clients []string
	timings []timing.Timing // in the order of Clock
	sealed  []entryFile     // in the order of Events
}

// dossierEvent is one entry of the log.
type dossierEvent struct {
	Seq     int64
	At      string // UTC, to the millisecond
	Kind    string
	Number  string // of an attempt
	Outcome string
	IDs     []dossierFact
	Facts   []dossierFact

	instant time.Time
}

type dossierFact struct{ Name, Value string }

// collect finds the entries and verifies each by its proof.
func collect(ctx context.Context, log SealedLog, id string, words map[string]string) (*dossier, error) {
	head := log.Head()
	found, err := about(ctx, log, id)
	if err != nil {
		return nil, err
	}
	if x, knows := log.(interface{ Strays() []audit.Fault }); knows && len(x.Strays()) > 0 {
		return nil, &x.Strays()[0] // a document of proof does not stand beside rows that were put in
	}
	if len(found) == 0 {
		return nil, errNothing(fmt.Sprintf("nothing about %q is in the sealed log of %d entries", id, head.Checkpoint.Size))
	}
	d := &dossier{
		Words: words, ID: *found[0].Entry.ResourceID, Log: audit.Origin(head.Public), Size: head.Checkpoint.Size,
		Root: head.Checkpoint.Root.String(), SealedAt: head.Checkpoint.At.String(), Checkpoint: string(head.Note), head: head,
	}
	for i := range found {
		e := &found[i]
		if _, err := proven(ctx, log, e); err != nil {
			return nil, err
		}
		if reason := e.Reason(); reason != "" {
			return nil, &audit.Fault{Seq: e.Seq, Reason: reason}
		}
		if k := e.Entry.ResourceKind; k != nil {
			d.Kind = ofb.Kind(*k).String()
		}
		if c := e.Entry.ClientID; c != nil && !slices.Contains(d.clients, *c) {
			d.clients = append(d.clients, *c)
		}
		d.Events = append(d.Events, event(e, words))
		d.sealed = append(d.sealed, entryFile{Seq: e.Seq, Leaf: e.Leaf.String(), At: e.At.String(), Kind: e.Entry.Kind})
	}
	d.Clients = strings.Join(d.clients, ", ")
	if d.timings, err = clock(ctx, log, found); err != nil {
		return nil, err
	}
	for i := range d.timings {
		d.Clock = append(d.Clock, d.timings[i].Words(words["clock"]))
	}
	return d, nil
}

// clock judges each notification by the entries of the resource. What the log does not know yet has not happened: a
// notification that waits is judged as of the checkpoint. The instants of other entries, by which a standstill is told, are
// taken as they stand.
func clock(ctx context.Context, log SealedLog, found []audit.Sealed) ([]timing.Timing, error) {
	facts := make([]history.Fact, 0, len(found))
	for i := range found {
		facts = append(facts, history.FactOf(found[i].Entry))
	}
	unheard, err := log.Unheard(ctx, facts[0].At.Add(-unheardAround), facts[len(facts)-1].At.Add(unheardAround))
	if err != nil {
		return nil, err
	}
	records, err := history.RecordsOf(append(facts, unheard...))
	if err != nil {
		return nil, err
	}
	return timing.TimingsOf(records, log.Head().Checkpoint.At.Time(), func(from, to time.Time) ([]timing.IdlePeriod, error) {
		return log.IdlePeriods(ctx, from, to)
	})
}

// unheardAround is how far from a resource's entries periods without receipts are looked for: one is recorded after it is
// over, when the database is back.
const unheardAround = 31 * 24 * time.Hour

// about finds all entries of the resource that an id leads to.
func about(ctx context.Context, log SealedLog, id string) ([]audit.Sealed, error) {
	find := func(s history.Search) (out []audit.Sealed, err error) {
		err = log.Each(ctx, s, func(e *audit.Sealed) error { out = append(out, *e); return nil })
		return out, err
	}
	found, err := find(history.Search{ResourceID: id})
	if err != nil || len(found) > 0 {
		return found, err
	}
	ours, err := notice.ParseID(id)
	if err != nil {
		return nil, nil //nolint:nilerr // not an id of ours either: nothing is found
	}
	for _, s := range []history.Search{{Notification: ours}, {Interaction: ours}, {Change: ours}} {
		some, err := find(s)
		if err != nil {
			return nil, err
		}
		for _, e := range some {
			if e.Entry.ResourceID != nil {
				return find(history.Search{ResourceID: *e.Entry.ResourceID})
			}
		}
	}
	return nil, nil
}

func event(e *audit.Sealed, words map[string]string) dossierEvent {
	word := func(s string) string { return cmp.Or(words[s], timing.OutcomeWord(notice.Outcome(s), words["clock"])) }
	out := dossierEvent{Seq: e.Seq, At: inUTC(e.At.Time(), words["clock"]), Kind: word(e.Entry.Kind), instant: e.At.Time()}
	columns := audit.Columns()
	for i, v := range e.Entry.Values() {
		switch name := columns[i][1]; name {
		case "number":
			out.Number = v
		case "outcome":
			out.Outcome = word(v)
		case "revision", "notificationId", "changeId", "interactionId", "closes":
			if v != "" {
				out.IDs = append(out.IDs, dossierFact{name, word(v)})
			}
		}
	}
	out.Facts = append(factsOf(e.Entry.Facts, words["clock"]), privateOf(e.Entry, words["clock"])...)
	return out
}

// privateOf lists what the bank alone may see of an entry, under names that say so. The salt is left out: it tells nothing.
func privateOf(e *audit.Entry, lang string) []dossierFact {
	if e.Private == nil {
		return nil
	}
	facts := slices.DeleteFunc(factsOf(*e.Private, lang), func(f dossierFact) bool { return f.Name == "salt" })
	for i := range facts {
		facts[i].Name = "private." + facts[i].Name
	}
	return facts
}

// factsOf lists the members of a JSON object in their order, instants as people of a language read them; nested values stay JSON.
func factsOf(text, lang string) []dossierFact {
	d := json.NewDecoder(strings.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return []dossierFact{{"facts", text}}
	}
	var out []dossierFact
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err = errors.Join(err, d.Decode(&value)); err != nil {
			return []dossierFact{{"facts", text}}
		}
		shown := string(value)
		var s string
		if json.Unmarshal(value, &s) == nil && !strings.HasPrefix(shown, "null") {
			shown = s
		}
		if t, err := time.Parse(time.RFC3339Nano, shown); err == nil {
			shown = inUTC(t, lang)
		}
		out = append(out, dossierFact{fmt.Sprint(name), shown})
	}
	return out
}
