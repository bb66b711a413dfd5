package bank

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// resourceJSON is everything that is known about one resource.
type resourceJSON struct {
	Kind          string             `json:"kind"`
	ResourceID    string             `json:"resourceId"`
	ClientID      *string            `json:"clientId"`
	APIVersion    *string            `json:"apiVersion"`
	Revision      *int64             `json:"revision"`
	Status        *string            `json:"status"`
	UpdatedAt     *instant           `json:"updatedAt"`
	Document      jsontext.Value     `json:"document"` // null: nothing was ever applied
	Timeline      []momentJSON       `json:"timeline"` // oldest first
	Notifications []notificationJSON `json:"notifications"`
	Integrity     history.Integrity  `json:"integrity"` // of the timeline and the notifications; the document is not in the log, its hash is
}

// momentJSON is one thing that happened: an entry of the log, or an attempt. All members are always there.
type momentJSON struct {
	At             instant          `json:"at"`
	Kind           string           `json:"kind"` // "attempt", or the entry's: change, decision, duplicate, conflict, quarantined, poll, …
	ID             *notice.ID       `json:"id"`   // of the entry
	ClientID       *notice.ClientID `json:"clientId"`
	Revision       *int64           `json:"revision"`
	ChangeID       *notice.ID       `json:"changeId"`
	NotificationID *notice.ID       `json:"notificationId"`
	Outcome        *string          `json:"outcome"`
	Facts          jsontext.Value   `json:"facts"`
	Attempt        *attemptJSON     `json:"attempt"`
	Offsets        *offsetsJSON     `json:"offsetsMicros"` // of an attempt that ended, from its hand-over to the sender
	Tampered       bool             `json:"tampered,omitzero"`
}

// offsetsJSON are the stages of an attempt in microseconds; 0: not reached, or a kept-alive connection.
type offsetsJSON struct {
	ClaimToSend  int64 `json:"claimToSend"`
	Dialled      int64 `json:"dialled"`
	Handshaken   int64 `json:"handshaken"`
	FirstByteOut int64 `json:"firstByteOut"`
	Answered     int64 `json:"answered"`
	Elapsed      int64 `json:"elapsed"`
}

// getResource reads the whole history of one resource.
func (in *Internal) getResource(x *api.Exchange) error {
	kind, err := ofb.ParseKind(x.Segment("kind"))
	if err != nil {
		return errUnknownKind
	}
	id := x.Segment("id")
	if !notice.ValidResourceKey(in.cfg.Brands, kind, id) {
		return errNotFound
	}
	t, err := in.cfg.History.Timeline(x.R.Context(), notice.Key{Kind: kind, ID: id})
	if err != nil {
		return err
	}
	return in.view(x, len(t.Events)+len(t.Notifications), resourceJSON{
		Kind: kind.String(), ResourceID: id, ClientID: orNull(string(t.Client)), APIVersion: orNull(t.APIVersion),
		Revision: orNull(t.Revision), Status: orNull(string(t.Status)), UpdatedAt: instantOrNull(t.UpdatedAt),
		Document: raw(t.Document), Timeline: momentsOf(&t), Notifications: listed(t.Notifications, notificationOf),
		Integrity: in.met(x, t.Integrity),
	})
}

// momentsOf puts entries and attempts into one order of time.
func momentsOf(t *history.Timeline) []momentJSON {
	out := make([]momentJSON, 0, len(t.Events))
	for i := range t.Events {
		e := &t.Events[i]
		out = append(out, momentJSON{
			At: instant(e.At), Kind: e.Kind, ID: orNull(e.ID), ClientID: orNull(e.Client), Revision: orNull(e.Revision),
			ChangeID: orNull(e.ChangeID), NotificationID: orNull(e.Notification), Outcome: orNull(e.Outcome), Facts: raw(e.Facts), Tampered: e.Tampered,
		})
	}
	for i := range t.Notifications {
		n := &t.Notifications[i]
		for j := range n.Attempts {
			a := attemptOf(&n.Attempts[j])
			m := momentJSON{
				At: a.StartedAt, Kind: "attempt", ClientID: orNull(n.Client), Revision: orNull(n.Revision), ChangeID: orNull(n.ChangeID),
				NotificationID: orNull(n.ID), Outcome: a.Outcome, Attempt: &a, Tampered: n.Tampered,
			}
			if a.EndedAt != nil {
				m.Offsets = offsetsOf(n.Attempts[j].Offsets)
			}
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b momentJSON) int { return time.Time(a.At).Compare(time.Time(b.At)) })
	return out
}

func offsetsOf(o history.Offsets) *offsetsJSON {
	return &offsetsJSON{
		ClaimToSend: o.ClaimToSend.Microseconds(), Dialled: o.Dialled.Microseconds(), Handshaken: o.Handshaken.Microseconds(),
		FirstByteOut: o.FirstByteOut.Microseconds(), Answered: o.Answered.Microseconds(), Elapsed: o.Elapsed.Microseconds(),
	}
}

// raw is JSON as it is stored, null when there is none.
func raw(b []byte) jsontext.Value {
	if len(b) == 0 {
		return jsontext.Value("null")
	}
	return b
}
