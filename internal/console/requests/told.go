package requests

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/arauto/arauto/internal/console/page"
)

// askedAct is what a call would do: the key of its words, and the name or id of what it is about.
type askedAct struct {
	Key, About string
	IDs        []string // of an act about several
}

// acts are the calls that wait for a second person, by method and path; * stands for a name or an id.
var acts = map[string]string{
	"POST notifications/*/resend": "resend", "POST notifications/resend": "resends",
	"POST quarantine/*/apply": "apply", "POST quarantine/apply": "applies", "POST quarantine/*/dismiss": "dismiss", "POST quarantine/dismiss": "dismisses",
	"PUT audit/holds/*": "place", "DELETE audit/holds/*": "lift",
	"PUT initiators/*": "register", "DELETE initiators/*": "end",
	"POST sources/*/pause": "pause", "POST sources/*/resume": "resume", "POST sources/*/accept": "accept", "POST sources/*/reapply": "reapply",
}

// act tells which act a request is; false: one that this page does not know.
func (r *waitingAct) act() (askedAct, bool) {
	method, path, _ := strings.Cut(r.Call, " ")
	path, _, _ = strings.Cut(path, "?")
	path = strings.TrimPrefix(path, "/internal/v1/")
	parts := strings.Split(path, "/")
	for shape, key := range acts {
		wanted, shape, _ := strings.Cut(shape, " ")
		about, fits := match(strings.Split(shape, "/"), parts)
		if wanted != method || !fits {
			continue
		}
		var body struct{ IDs []string }
		_ = json.Unmarshal(r.Body, &body) // an act about one has no ids
		return askedAct{key, about, body.IDs}, true
	}
	return askedAct{}, false
}

func match(shape, parts []string) (about string, fits bool) {
	if len(shape) != len(parts) {
		return "", false
	}
	for i, want := range shape {
		switch name, err := url.PathUnescape(parts[i]); {
		case want == "*" && err == nil:
			about = name
		case want != parts[i]:
			return "", false
		}
	}
	return about, true
}

// refusedCall is what an answer says that is no success, or a line of one about several.
type refusedCall struct {
	ID     string
	Status int
	Error  string
	Text   string `json:"error_description"`
	TextPT string `json:"error_description_pt"`
}

// told is the reason in the language of the page. It is in English where there is no other text.
func (c refusedCall) told(v *page.Visit) string {
	switch {
	case v.Lang == page.Portuguese && c.TextPT != "":
		return c.TextPT
	case c.Text != "":
		return c.Text
	}
	return c.Error
}

// answered are the members of answers that are told in words.
type answered struct {
	refusedCall

	Outcome       string            // of a change
	Notifications []json.RawMessage // that it made
	Results       []refusedCall     // of an act about several
	More          bool

	Applied, Superseded, Duplicate, Conflict, Quarantined, Registered, Unmapped, Skipped int64 // of cases mapped again
}

// tell says what the request asks for, and what became of it.
func (r *waitingAct) tell(v *page.Visit) {
	act, known := r.act()
	r.What = v.Text("act." + r.Act)
	if known && len(act.IDs) > 0 {
		r.What = v.Counted("what."+act.Key, int64(len(act.IDs)))
	} else if known {
		r.What = v.Text("what."+act.Key, act.About)
	}
	if r.State != "done" && r.State != "failed" {
		return
	}
	var got answered
	if json.Unmarshal(r.Answer, &got) != nil {
		got = answered{}
	}
	if r.State == "failed" {
		r.Became = append(r.Became, v.Text("not-done", got.told(v)))
		return
	}
	if !known {
		r.Became = append(r.Became, v.Text("did"))
		return
	}
	r.Became = r.did(v, act, &got)
}

// did says what an act did.
func (r *waitingAct) did(v *page.Visit, act askedAct, got *answered) (lines []string) {
	switch {
	case len(act.IDs) > 0:
		var refused []refusedCall
		for _, one := range got.Results {
			if one.Error != "" {
				refused = append(refused, one)
			}
		}
		lines = append(lines, v.Counted("did."+act.Key, int64(len(got.Results)-len(refused))))
		for _, one := range refused {
			lines = append(lines, v.Text("did.refused", one.ID, one.told(v)))
		}
	case act.Key == "apply" && v.HasText("did.apply."+got.Outcome):
		lines = append(lines, v.Text("did.apply."+got.Outcome))
		if len(got.Notifications) > 0 {
			lines = append(lines, v.Counted("did.notified", int64(len(got.Notifications))))
		}
	case act.Key == "resend" && got.ID != "":
		lines = append(lines, v.Text("did.resend.as", got.ID))
	case act.Key == "register" && r.Status != nil && *r.Status == http.StatusCreated:
		lines = append(lines, v.Text("did.register.new"))
	case act.Key == "reapply":
		lines = append(lines, v.Text("did.reapply"))
		for _, sum := range []struct {
			key string
			n   int64
		}{
			{"applied", got.Applied},
			{"superseded", got.Superseded},
			{"duplicate", got.Duplicate},
			{"conflict", got.Conflict},
			{"quarantined", got.Quarantined},
			{"registered", got.Registered},
			{"unmapped", got.Unmapped},
			{"skipped", got.Skipped},
		} {
			if sum.n > 0 {
				lines = append(lines, v.Counted("did.reapply."+sum.key, sum.n))
			}
		}
	default:
		lines = append(lines, v.Text("did."+act.Key))
	}
	if got.More {
		lines = append(lines, v.Text("did.more"))
	}
	return lines
}
