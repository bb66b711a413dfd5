package page

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/arauto/arauto/internal/history"
)

// Subject is what an act or a page is about, as a person typed it: an initiator, a resource, or neither.
type Subject struct{ ClientID, Kind, ResourceID string }

// tracks are the kinds of entries that only an initiator or a resource that exists leaves.
var tracks = []string{
	history.FactChange, history.FactRegistered, history.FactAttempt, history.FactResult, history.FactLateResult, history.FactDecision, history.FactCancelled,
	history.FactDuplicate, history.FactConflict, history.FactQuarantined, history.FactRefused, history.FactAcknowledged, history.FactErasure, "poll",
}

// Known tells whether the log or the registrations know what the subject names. What this person may not look for counts as known, and
// so does what cannot be looked for: nothing is then said about it. What people read, asked for or hold is no proof that it exists.
func (v *Visit) Known(s Subject) (bool, error) {
	if s.ClientID == "" && s.ResourceID == "" {
		return true, nil
	}
	q := url.Values{"limit": {"1"}, "entry": {strings.Join(tracks, ",")}}
	for name, value := range map[string]string{"clientId": s.ClientID, "kind": s.Kind, "resourceId": s.ResourceID} {
		if value != "" {
			q.Set(name, value)
		}
	}
	var found struct{ Entries []struct{ ID string } }
	var refused *APIRefusal
	switch err := v.API.Get("/internal/v1/audit/entries", q, &found); {
	case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
		return true, nil
	case err != nil:
		return false, err
	case len(found.Entries) > 0:
		return true, nil
	case s.ClientID == "" || s.ResourceID != "":
		return false, nil
	}
	err := v.API.Get(Path("/internal/v1/initiators/%s", s.ClientID), nil, nil)
	if Is(err, http.StatusNotFound) {
		return false, nil
	}
	return true, err
}

// The parameters of a page's address that name the unknown subject of an act.
const unknownClient, unknownKind, unknownResource = "unknownClient", "unknownKind", "unknownResource"

// DoneAbout is Done for an act about a subject. Where nobody knows the subject, the page that follows says so, too (Unknown). What cannot be
// asked now is left out: the act is done.
func (v *Visit) DoneAbout(path, key string, s Subject) error {
	if known, err := v.Known(s); known || err != nil {
		return v.Done(path, key)
	}
	q := url.Values{}
	for name, value := range map[string]string{unknownClient: s.ClientID, unknownKind: s.Kind, unknownResource: s.ResourceID} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return v.doneAt(path, key, "?"+q.Encode())
}

// Unknown says that nobody knows the subject that the page's address names; "": it names none, or one that is known.
func (v *Visit) Unknown() (string, error) {
	q := v.Query()
	return v.UnknownSubject(Subject{q.Get(unknownClient), q.Get(unknownKind), q.Get(unknownResource)})
}

// UnknownSubject says that nobody knows a subject; "": somebody does, or it names nothing.
func (v *Visit) UnknownSubject(s Subject) (string, error) {
	if known, err := v.Known(s); known || err != nil {
		return "", err
	}
	if s.ResourceID != "" {
		return v.Text("unknown.resource", s.ResourceID), nil
	}
	return v.Text("unknown.initiator", s.ClientID), nil
}
