// Package resources is the console's page of one resource: its whole history on one clock, with the reason for silence, the
// attempts drawn against the rule's deadlines, the proof of each entry, the dossier and the resend.
package resources

import (
	"cmp"
	"embed"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of this page. It is reached by a search or a link, so the navigation has no entry for it.
func Section() page.Section {
	auditor := []string{page.Auditor}
	return page.Section{
		Name: "resources", Path: "/resources", Roles: []string{page.Operator, page.Auditor}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/resources/{kind}/{id}", Handle: show},
			{Method: http.MethodGet, Path: "/resources/{kind}/{id}/dossier", Roles: auditor, Handle: dossier},
			{Method: http.MethodPost, Path: "/resources/{kind}/{id}/resend", Roles: []string{page.Operator}, Handle: resend},
			{Method: http.MethodGet, Path: "/entries/{seq}", Roles: auditor, Handle: entry},
			{Method: http.MethodGet, Path: "/entries/{seq}/proof", Roles: auditor, Handle: proof},
		},
	}
}

// told is the resource as the API tells it.
type told struct {
	Kind, ResourceID   string
	ClientID           *string
	APIVersion, Status *string
	Revision           *int64
	UpdatedAt          *time.Time
	Timeline           []moment
	Notifications      []toldNotification
	Integrity          struct {
		Verified, Unsealed, FailedCount int64
	}
}

type toldNotification struct {
	ID            string
	Status        string
	EventAt       time.Time
	CreatedAt     time.Time
	State         string
	Late          bool
	Manual        bool   // an operator or the initiator asked for one more POST
	ResendOf      string // the notification that a resend sends once more; "": not kept
	Resent        bool   // it was sent once more already
	NextAttemptAt *time.Time
	Attempts      []toldAttempt

	punctual toldTiming
}

// toldTiming is the API's judgement on a notification's first attempt.
type toldTiming struct {
	OccurredAt *time.Time
	First      struct {
		FromEvent        string
		SinceEventMicros int64
		Cause            string
	}
}

// zero is the time of the event: the core's, to the microsecond where the API knows it.
func (n *toldNotification) zero() time.Time {
	if n.punctual.OccurredAt != nil {
		return *n.punctual.OccurredAt
	}
	return n.EventAt
}

type toldAttempt struct {
	Number        int
	InteractionID string
	StartedAt     time.Time
	EndedAt       *time.Time
	Outcome       *string
	HTTPStatus    *int
	Echo          *string
	URL           *string
	Detail        *string
	TLS           *struct{ Version string }
}

// moment is an entry of the log, or an attempt.
type moment struct {
	At             time.Time
	Kind           string
	ID             *string
	Revision       *int64
	NotificationID *string
	Outcome        *string
	Facts          json.RawMessage
	Attempt        *toldAttempt
	Tampered       bool
}

type storyView struct {
	told

	ID      string
	Path    string
	Auditor bool
	Tags    []sign
	Choices []drawnChoice // the notifications that may be drawn, newest first; nil: there is one at most
	Clock   *clockView
	Lines   []storyLine
	Older   bool              // older lines have no link to their entry
	Resend  *toldNotification // the notification that may be sent once more
}

// drawnChoice is a notification that the page can draw.
type drawnChoice struct {
	ID, Status string
	At         time.Time
	Resend     bool
	Here       bool
}

// sign is a state with its word.
type sign struct{ State, Text string }

func pathOf(v *page.Visit) string {
	return page.Path("/resources/%s/%s", v.Param("kind"), v.Param("id"))
}

func show(v *page.Visit) error {
	view := storyView{ID: v.Param("id"), Path: pathOf(v), Auditor: v.Has(page.Auditor)}
	if err := v.API.Get("/internal/v1"+view.Path, nil, &view.told); err != nil {
		return err
	}
	entries, older, err := positions(v)
	if err != nil {
		return err
	}
	drawn, err := chosen(view.Notifications, v.Query().Get("notification"))
	if err != nil {
		return err
	}
	if drawn != nil {
		err := v.API.Get(page.Path("/internal/v1/notifications/%s/timing", drawn.ID), nil, &drawn.punctual)
		if err != nil && !page.Is(err, http.StatusNotFound) {
			return err
		}
	}
	view.Older = older
	view.Tags = signsOf(v, &view.told, drawn)
	if drawn != nil {
		view.Clock = clockOf(v, drawn, view.Timeline)
		view.Choices = choicesOf(view.Notifications, drawn)
		if v.Has(page.Operator) && v.CanResend() && !drawn.Manual && !drawn.Resent && (drawn.State == "exhausted" || drawn.State == "cancelled") {
			view.Resend = drawn
		}
	}
	view.Lines = linesOf(v, &view.told, drawn, entries)
	return v.Show("story", page.View{
		Title: v.Text("kind."+view.Kind) + " " + view.ID, Data: view, Crumb: &page.Link{Path: "/notifications", Text: v.Text("crumb")},
	})
}

// chosen is the notification with an id, or the newest where no id is given; nil: there is none. An id that is not the resource's is
// a 404: another notification in its place would mislead.
func chosen(all []toldNotification, id string) (out *toldNotification, err error) {
	for i := range all {
		n := &all[i]
		if id == n.ID || id == "" && (out == nil || n.CreatedAt.After(out.CreatedAt)) {
			out = n
		}
	}
	if out == nil && id != "" {
		return nil, &page.APIRefusal{Status: http.StatusNotFound, Code: "not_found"}
	}
	return out, nil
}

// choicesOf lists the notifications that may be drawn, newest first; nil: there is one alone.
func choicesOf(all []toldNotification, drawn *toldNotification) (out []drawnChoice) {
	if len(all) < 2 {
		return nil
	}
	for i := range all {
		out = append(out, drawnChoice{all[i].ID, all[i].Status, all[i].CreatedAt, all[i].Manual, all[i].ID == drawn.ID})
	}
	slices.SortStableFunc(out, func(a, b drawnChoice) int { return b.At.Compare(a.At) })
	return out
}

// signsOf are the states that stand first on the page.
func signsOf(v *page.Visit, r *told, drawn *toldNotification) []sign {
	out := []sign{{"mute", v.Text("silent")}}
	if drawn != nil {
		out = []sign{verdictOf(v, r.Notifications, drawn)}
		delay := page.Duration(v.Lang, time.Duration(drawn.punctual.First.SinceEventMicros)*time.Microsecond)
		switch drawn.punctual.First.FromEvent {
		case "on-time":
			out = append(out, sign{"ok", v.Text("on-time", delay)})
		case "late":
			out = append(out, sign{"bad", v.Text("late", delay)})
		}
	}
	if n := r.Integrity.FailedCount; n > 0 {
		return append(out, sign{"bad", v.Counted("tampered", n)})
	}
	if n := r.Integrity.Verified; n > 0 {
		out = append(out, sign{"ok", v.Counted("intact", n)})
	}
	if n := r.Integrity.Unsealed; n > 0 {
		out = append(out, sign{"mute", v.Counted("unsealed", n)})
	}
	return out
}

// verdictOf says how a notification and its resend ended together, whichever of the two is drawn: a resend alone would look like a chain
// whose first attempt arrived.
func verdictOf(v *page.Visit, all []toldNotification, drawn *toldNotification) sign {
	original, resend := drawn, (*toldNotification)(nil)
	if drawn.Manual {
		original, resend = nil, drawn
	}
	for i := range all {
		switch n := &all[i]; {
		case resend == nil && n.Manual && n.ResendOf == drawn.ID:
			resend = n
		case original == nil && n.ID == drawn.ResendOf:
			original = n
		}
	}
	switch {
	case resend == nil && (drawn.State == "delivered" || drawn.State == "exhausted"):
		return sign{v.Text("tone." + drawn.State), v.Counted(drawn.State, int64(len(drawn.Attempts)))}
	case resend == nil:
		return sign{v.Text("tone." + drawn.State), v.Text(drawn.State)}
	case original == nil || len(original.Attempts) == 0:
		return sign{v.Text("tone." + resend.State), v.Text("resend." + resend.State)}
	}
	return sign{v.Text("tone." + resend.State), v.Counted("resend."+resend.State+".after", int64(len(original.Attempts)))}
}

// mostEntries is how many entries of a resource are linked: the newest.
const mostEntries = "1000"

// positions are the positions in the log of a resource's entries, by what identifies them: the entry's id, or notification and
// number of an attempt, and whether there are older entries. Auditors alone may ask for them.
func positions(v *page.Visit) (out map[string]string, older bool, err error) {
	out = map[string]string{}
	if !v.Has(page.Auditor) {
		return out, false, nil
	}
	var answer struct {
		Entries []struct {
			Seq            *int64
			ID, Kind       string
			NotificationID *string
			InteractionID  *string
			Number         *int
		}
		NextCursor *string
	}
	err = v.API.Get("/internal/v1/audit/entries", url.Values{"kind": {v.Param("kind")}, "resourceId": {v.Param("id")}, "limit": {mostEntries}}, &answer)
	if err != nil {
		return nil, false, err
	}
	for _, e := range answer.Entries {
		if e.Seq == nil {
			continue
		}
		seq := strconv.FormatInt(*e.Seq, 10)
		out[e.ID] = seq
		number := e.Number
		if e.Kind == "change" && e.InteractionID != nil { // the entry of the change records attempt 1
			number = new(1)
		}
		if e.NotificationID != nil && number != nil {
			key := attemptKey(*e.NotificationID, *number)
			if e.Kind == "result" || out[key] == "" {
				out[key] = seq
			}
		}
	}
	return out, answer.NextCursor != nil, nil
}

func attemptKey(notification string, number int) string {
	return notification + "/" + strconv.Itoa(number)
}

func dossier(v *page.Visit) error {
	format := cmp.Or(v.Query().Get("format"), "html")
	suffix := map[string]string{"html": ".html", "text": ".txt", "pdf": ".pdf"}[format]
	lang := string(v.Lang)
	return v.API.Hand(v.X.W, page.Path("/internal/v1/audit/dossier/%s", v.Param("id")), url.Values{"format": {format}, "lang": {lang}}, "arauto-"+v.Param("id")+suffix)
}

func resend(v *page.Visit) error {
	_, err := v.API.Do(http.MethodPost, page.Path("/internal/v1/notifications/%s/resend", v.Form("notification")), map[string]string{"reason": v.Form("reason")}, nil)
	if err != nil {
		return err
	}
	return v.Done(pathOf(v), "resent")
}

type entryView struct {
	Seq                    int64
	SeqText                string
	ID, Kind, At           string
	ClientID               *string
	ResourceKind           *string
	ResourceID             *string
	Outcome                *string
	Facts, Private         json.RawMessage
	Record, Leaf, Tampered *string
	Size                   *int64
}

func entry(v *page.Visit) error {
	var answer struct {
		Entry      entryView
		Checkpoint *struct{ Size int64 }
	}
	if err := v.API.Get(page.Path("/internal/v1/audit/entries/%s", v.Param("seq")), nil, &answer); err != nil {
		return noEntry(err)
	}
	e := &answer.Entry
	e.SeqText = strconv.FormatInt(e.Seq, 10)
	if answer.Checkpoint != nil {
		e.Size = &answer.Checkpoint.Size
	}
	at, err := time.Parse(time.RFC3339Nano, e.At)
	if err != nil {
		return err
	}
	return v.Show("entry", page.View{Title: v.Text("entry.title", e.SeqText), Data: struct {
		*entryView

		At             time.Time
		Facts, Private string
	}{e, at, indented(e.Facts), indented(e.Private)}})
}

// indented is JSON over several lines, as people read it.
func indented(text json.RawMessage) string {
	var v any
	if len(text) == 0 || string(text) == "null" || json.Unmarshal(text, &v) != nil {
		return string(text)
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return string(text)
	}
	return string(out)
}

// noEntry says of a position that nothing is at that its entry may have been removed.
func noEntry(err error) error {
	if page.Is(err, http.StatusNotFound) {
		return &page.APIRefusal{Status: http.StatusNotFound, Code: "no_entry"}
	}
	return err
}

func proof(v *page.Visit) error {
	return noEntry(v.API.Hand(v.X.W, page.Path("/internal/v1/audit/entries/%s/proof", v.Param("seq")), nil, "arauto-"+v.Param("seq")+"-proof.txt"))
}
