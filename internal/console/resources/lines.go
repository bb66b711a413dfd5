package resources

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/console/page"
)

// storyLine is one line of the history.
type storyLine struct {
	At                time.Time
	Day, Offset       string // the day where it changes; the time since the event
	Title, Text, More string
	Tag, Tone         string
	Entry             string // position in the log; "": not sealed, or the person may not ask
	Anchor            string
}

// momentFacts are the facts that lines tell, of entries of all kinds.
type momentFacts struct {
	Status, From  string
	Source, Actor string
	Cause         string
	Clause        string
	Reason        string
	Why           string
	RefusedFor    string
	Because       int64 `json:"becauseRevision"`
	HTTPStatus    int
	Code          string
	Problems      []string
}

// linesOf tells the history, oldest first.
func linesOf(v *page.Visit, r *told, drawn *toldNotification, entries map[string]string) []storyLine {
	var out []storyLine
	day := ""
	failed := map[string]time.Time{} // by notification: when the last attempt failed
	resends := map[string]bool{}
	for i := range r.Notifications {
		resends[r.Notifications[i].ID] = r.Notifications[i].Manual
	}
	for i := range r.Timeline {
		m := &r.Timeline[i]
		l := storyLine{At: m.At, Anchor: "line-" + strconv.Itoa(i+1)}
		if d := page.Day(v.Lang, m.At); d != day {
			day, l.Day = d, d
		}
		if drawn != nil {
			l.Offset = offset(v, m.At.Sub(drawn.zero()))
		}
		if m.Attempt != nil {
			attemptLine(v, &l, m, failed)
			if resends[text(m.NotificationID)] {
				l.Title = v.Text("line.resent")
			}
			l.Entry = entries[attemptKey(text(m.NotificationID), m.Attempt.Number)]
		} else {
			entryLine(v, &l, m)
			l.Entry = entries[text(m.ID)]
		}
		if m.Tampered {
			l.Tag, l.Tone = v.Counted("tampered", 1), "bad"
		}
		out = append(out, l)
	}
	return out
}

func offset(v *page.Visit, d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < 0:
		return "−" + page.Duration(v.Lang, -d)
	}
	return "+" + page.Duration(v.Lang, d)
}

func text[T ~string](s *T) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// entryLine tells an entry.
func entryLine(v *page.Visit, l *storyLine, m *moment) {
	var f momentFacts
	_ = json.Unmarshal(m.Facts, &f) // what cannot be read is not told; the entry itself shows it
	l.Title = m.Kind
	if v.HasText("line." + m.Kind) {
		l.Title = v.Text("line." + m.Kind)
	}
	switch {
	case f.From != "" && f.Status != "":
		l.Text = f.From + " → " + f.Status
	case f.Status != "" && m.Kind == "poll":
		l.Text = v.Text("d.showed", f.Status)
	case f.Status != "":
		l.Text = f.Status
	}
	var more []string
	add := func(there bool, key string, args ...any) {
		if there {
			more = append(more, v.Text(key, args...))
		}
	}
	add(m.Revision != nil && *m.Revision > 0 && m.Kind != "poll", "revision", number(m.Revision))
	add(f.Cause == "timer", "d.timer")
	add(f.Source != "" && m.Kind != "poll", "d.from", f.Source)
	add(f.Actor != "", "d.by", f.Actor)
	add(f.Clause != "" && m.NotificationID != nil, "d.must", f.Clause)
	reason := f.Reason
	if v.HasText("silence." + reason) {
		reason = v.Text("silence." + reason)
	}
	add(f.Reason != "" && m.NotificationID == nil, "d.silence", reason)
	add(f.Because > 0, "d.because", strconv.FormatInt(f.Because, 10))
	why := f.Why // of a person, where it is a resend's
	if m.Kind == "conflict" {
		why = worded(v, why)
	}
	add(why != "", "d.why", why)
	add(f.RefusedFor != "", "d.why", worded(v, f.RefusedFor))
	add(f.HTTPStatus > 0, "d.answer", strconv.Itoa(f.HTTPStatus))
	for i, problem := range f.Problems { // a code, and where
		code, pointer, _ := strings.Cut(problem, " ")
		f.Problems[i] = strings.TrimSpace(worded(v, code) + " " + pointer)
	}
	add(len(f.Problems) > 0, "d.why", strings.Join(f.Problems, ", "))
	l.More = strings.Join(more, " · ")
	if o := text(m.Outcome); o != "" && v.HasText("outcome."+o) && o != "applied" {
		l.Tag, l.Tone = v.Text("outcome."+o), "mute"
	}
}

// worded is the reason that a word of ours stands for, or the word itself where it has no text.
func worded(v *page.Visit, word string) string {
	if v.HasText("why." + word) {
		return v.Text("why." + word)
	}
	return word
}

func number(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// attemptLine tells an attempt.
func attemptLine(v *page.Visit, l *storyLine, m *moment, failed map[string]time.Time) {
	a := m.Attempt
	of := text(m.NotificationID)
	l.Title = v.Text("line.attempt", strconv.Itoa(a.Number))
	l.Text = text(a.URL)
	var more []string
	if before, there := failed[of]; there {
		more = append(more, v.Text("d.gap", page.Duration(v.Lang, a.StartedAt.Sub(before))))
	}
	if a.TLS != nil {
		more = append(more, a.TLS.Version)
	}
	if a.HTTPStatus != nil {
		more = append(more, v.Text("d.answer", strconv.Itoa(*a.HTTPStatus)))
	}
	l.Tag, l.Tone = v.Text("under-way"), "mute"
	if a.EndedAt != nil {
		more = append(more, v.Text("d.took", page.Duration(v.Lang, a.EndedAt.Sub(a.StartedAt))))
		failed[of] = *a.EndedAt
	}
	switch echo := text(a.Echo); echo {
	case "":
	case "match", "ok", "same":
		more = append(more, v.Text("d.echo"))
	default:
		if key := "d.echo." + echo; v.HasText(key) {
			echo = v.Text(key)
		}
		more = append(more, v.Text("d.no-echo", echo))
	}
	if d := text(a.Detail); d != "" {
		more = append(more, d)
	}
	l.More = strings.Join(more, " · ")
	if a.Outcome != nil {
		l.Tag, l.Tone = v.Text("outcome."+*a.Outcome), v.Text("tone."+*a.Outcome)
	}
}
