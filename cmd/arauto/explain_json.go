package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/explain"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch"
)

// notAChange is the verdict on a line that is no change; the others are those of package notice.
const notAChange = "invalid"

// explainedJSON is one explanation for programs. What does not apply is null.
type explainedJSON struct {
	OK      bool         `json:"ok"`      // false: the change, or the registration, would be refused
	Mapping *mappedJSON  `json:"mapping"` // of a row
	Change  any          `json:"change"`  // as given or mapped; a text where it is no JSON
	Verdict *verdictJSON `json:"verdict"` // on the change
}

type mappedJSON struct {
	Key          string            `json:"key"`
	Table        string            `json:"table"`
	Kind         string            `json:"kind"`
	NotConverted *string           `json:"notConverted"` // why the core's database was not asked for its form of the row
	NotLookedUp  *string           `json:"notLookedUp"`  // why it was not asked for related rows
	Steps        []stepJSON        `json:"steps"`
	Problems     []notice.Problem  `json:"problems"` // of the mapping, or of the registration
	Skipped      *string           `json:"skipped"`  // why the mapping skips the row
	Registration *registrationJSON `json:"registration"`
	Unjudged     *string           `json:"unjudged"` // what of the registration was not judged
	Removes      *string           `json:"removes"`  // the client whose registration would end
}

type stepJSON struct {
	Key        string          `json:"key"`
	Expression string          `json:"expression"`
	Result     json.RawMessage `json:"result"`
	Error      *string         `json:"error"`
}

type registrationJSON struct {
	ClientID       string   `json:"clientId"`
	Name           string   `json:"name"`
	OrganisationID string   `json:"organisationId"`
	SoftwareID     string   `json:"softwareId"`
	WebhookURIs    []string `json:"webhookUris"`
}

type verdictJSON struct {
	Outcome         string           `json:"outcome"`  // applied, superseded, duplicate, conflict, quarantined or invalid
	Problems        []notice.Problem `json:"problems"` // of a quarantined change, and of one that is invalid
	Conflict        *string          `json:"conflict"` // what it contradicts: content, owner or version
	Nonconforming   []notice.Problem `json:"nonconforming"`
	DatabaseNotRead *string          `json:"databaseNotRead"` // why; the change was then judged as the first of its resource
	Ruling          *rulingJSON      `json:"ruling"`          // of a change that would be applied, or recorded as superseded
}

type rulingJSON struct {
	From       *string          `json:"from"` // the state it was judged from
	Status     string           `json:"status"`
	Announced  bool             `json:"announced"`
	Duty       string           `json:"duty"` // must, may or must not
	Clause     string           `json:"clause"`
	Reason     *string          `json:"reason"`     // for silence
	Overruled  bool             `json:"overruled"`  // a deadline that the gateway applied
	Rejudged   bool             `json:"rejudged"`   // the next stored revision would then be announced
	NotBefore  *string          `json:"notBefore"`  // when the first attempt may start
	ClientID   string           `json:"clientId"`   // of the resource's owner
	Registered *bool            `json:"registered"` // null: not known
	WebhookURI *string          `json:"webhookUri"` // registered
	Request    *foreseenRequest `json:"request"`
	Refusal    *string          `json:"refusal"` // why the registered address must not be dialled
}

type foreseenRequest struct {
	URL         string `json:"url"`
	Text        string `json:"text"`        // byte for byte; each attempt has an x-webhook-interaction-id of its own
	Placeholder bool   `json:"placeholder"` // its host stands for the registered address
}

// some is a text, or null when it is empty.
func some(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// explainedForPrograms is an explanation as --json prints it. fine tells what the text for people would tell of it.
func explainedForPrograms(e *explain.Explanation, fine bool) explainedJSON {
	out := explainedJSON{OK: fine}
	if e.Mapped != nil {
		out.Mapping = mappedForPrograms(e)
	}
	if e.Line == nil {
		return out
	}
	if out.Change = string(e.Line); json.Valid(e.Line) {
		out.Change = json.RawMessage(e.Line)
	}
	switch {
	case e.LineError != nil:
		out.Verdict = &verdictJSON{Outcome: notAChange, Problems: []notice.Problem{problemOfLine(e.LineError)}, DatabaseNotRead: some(e.Apart)}
	case e.Foresight != nil:
		out.Verdict = verdictForPrograms(e)
	}
	return out
}

func problemOfLine(e *intake.LineError) notice.Problem {
	return notice.Problem{Pointer: e.Pointer, Code: e.Code, Detail: e.Detail}
}

// inEnglish is problems without their Portuguese, which --json never has; never null.
func inEnglish(problems []notice.Problem) []notice.Problem {
	out := make([]notice.Problem, len(problems))
	for i, p := range problems {
		p.DetailPT = ""
		out[i] = p
	}
	return out
}

func mappedForPrograms(e *explain.Explanation) *mappedJSON {
	m := e.Mapped
	out := &mappedJSON{
		Key: m.Key, Table: m.Table, Kind: m.Kind, NotConverted: some(e.Given), NotLookedUp: some(e.Lookup), Steps: []stepJSON{},
		Problems: inEnglish(append(append([]notice.Problem{}, m.Problems...), e.Refused...)), Skipped: some(m.Skipped), Unjudged: some(e.Unjudged), Removes: some(string(m.Delete)),
	}
	for _, s := range m.Steps {
		out.Steps = append(out.Steps, stepForPrograms(m.Key, s))
	}
	if r := m.Registration; r != nil {
		out.Registration = &registrationJSON{string(r.Client), r.Name, r.OrganisationID, r.SoftwareID, append([]string{}, r.WebhookURIs...)}
	}
	return out
}

func stepForPrograms(mapping string, s watch.Step) stepJSON {
	out := stepJSON{Key: strings.TrimPrefix(s.Key, mapping+"."), Expression: s.Expression, Error: some(s.Error)}
	if s.Error == "" && json.Valid([]byte(s.Result)) {
		out.Result = json.RawMessage(s.Result)
	}
	return out
}

func verdictForPrograms(e *explain.Explanation) *verdictJSON {
	f := e.Foresight
	out := &verdictJSON{
		Outcome: string(f.Verdict), Problems: inEnglish(f.Problems), Conflict: some(f.Why), Nonconforming: inEnglish(f.Nonconforming), DatabaseNotRead: some(e.Apart),
	}
	if f.Verdict == notice.Applied || f.Verdict == notice.Superseded {
		out.Ruling = rulingForPrograms(e)
	}
	return out
}

func rulingForPrograms(e *explain.Explanation) *rulingJSON {
	f, d := e.Foresight, &e.Foresight.Decision
	out := &rulingJSON{
		From: some(string(d.From)), Status: string(f.Change.State.Status), Announced: d.Announce != nil, Duty: d.Judged.Duty.String(), Clause: d.Judged.Clause,
		Overruled: !d.Overruled.IsZero(), Rejudged: d.Rejudged != nil, ClientID: string(f.Change.Client),
	}
	if d.Judged.Duty == ofb.MustNot {
		out.Reason = some(string(d.Judged.Silence))
	}
	if d.Announce != nil && !d.Announce.NotBefore.IsZero() {
		out.NotBefore = some(d.Announce.NotBefore.UTC().Format(time.RFC3339Nano))
	}
	if e.Apart == "" {
		is := e.Registered != nil
		if out.Registered = &is; is && len(e.Registered.WebhookURIs) > 0 {
			out.WebhookURI = some(e.Registered.WebhookURIs[0])
		}
	}
	switch {
	case e.Refusal != nil:
		out.Refusal = some(e.Refusal.Error())
	case e.Request != nil:
		out.Request = &foreseenRequest{URL: e.URL, Text: string(e.Request), Placeholder: e.Apart != ""}
	}
	return out
}
