package bank

import (
	"cmp"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// instant is a time as this API writes it: UTC with microseconds. null stands for none.
type instant time.Time

// MarshalText writes exactly six digits of a second.
func (t instant) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000000Z"), nil
}

func instantOrNull(t time.Time) *instant {
	if t.IsZero() {
		return nil
	}
	i := instant(t)
	return &i
}

// orNull is nil for a zero value, so that null stands in JSON where there is nothing.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// notificationJSON is a notification as it is read (contract, "Lists and notifications").
type notificationJSON struct {
	ID            notice.ID       `json:"id"`
	ChangeID      notice.ID       `json:"changeId"`
	ClientID      notice.ClientID `json:"clientId"`
	Kind          string          `json:"kind"`
	ResourceID    string          `json:"resourceId"`
	APIVersion    string          `json:"apiVersion"`
	Revision      *int64          `json:"revision"` // null: a timer made the change
	Status        string          `json:"status"`
	EventType     *string         `json:"eventType"`
	EventAt       instant         `json:"eventAt"`
	CreatedAt     instant         `json:"createdAt"`
	State         notice.State    `json:"state"`
	CancelReason  *string         `json:"cancelReason"`
	Late          bool            `json:"late"`
	NextAttemptAt *instant        `json:"nextAttemptAt"`
	Manual        bool            `json:"manual,omitzero"`   // only on a resend (D-4)
	ResendOf      notice.ID       `json:"resendOf,omitzero"` // the notification that a resend sends once more
	Resent        bool            `json:"resent,omitzero"`   // no other resend is possible
	Tampered      bool            `json:"tampered,omitzero"` // an entry it is told by is not what was sealed
	Attempts      []attemptJSON   `json:"attempts"`
}

// attemptJSON is an attempt as it is read (contract, "Attempts").
type attemptJSON struct {
	Number        int       `json:"number"`
	InteractionID notice.ID `json:"interactionId"`
	ScheduledAt   *instant  `json:"scheduledAt"`
	StartedAt     instant   `json:"startedAt"`
	EndedAt       *instant  `json:"endedAt"`
	Outcome       *string   `json:"outcome"`
	HTTPStatus    *int      `json:"httpStatus"`
	Echo          *string   `json:"echo"`
	TLS           *tlsJSON  `json:"tls"`
	URL           *string   `json:"url"`
	Detail        *string   `json:"detail"`
}

type tlsJSON struct {
	Version         string `json:"version"`
	Cipher          string `json:"cipher"`
	PeerSubject     string `json:"peerSubject"`
	PeerFingerprint string `json:"peerFingerprint"`
}

func notificationOf(r *history.Record) notificationJSON {
	return notificationJSON{
		ID: r.ID, ChangeID: r.ChangeID, ClientID: r.Client, Kind: r.Kind.String(), ResourceID: r.ResourceID, APIVersion: r.APIVersion,
		Revision: orNull(r.Revision), Status: string(r.Status), EventType: orNull(string(r.Event)), EventAt: instant(r.EventAt),
		CreatedAt: instant(r.CreatedAt), State: r.State, CancelReason: orNull(r.CancelReason), Late: r.Late,
		NextAttemptAt: instantOrNull(r.NextAttemptAt), Manual: r.Manual, ResendOf: r.ResendOf, Resent: r.Resent, Tampered: r.Tampered, Attempts: listed(r.Attempts, attemptOf),
	}
}

// integrityOf sums up what the log says of several notifications.
func integrityOf(records []history.Record) (out history.Integrity) {
	for i := range records {
		out.Add(records[i].Integrity)
	}
	return out
}

// listed is a list as it is read; an empty one is never null.
func listed[T, J any](all []T, as func(*T) J) []J {
	out := make([]J, len(all))
	for i := range all {
		out[i] = as(&all[i])
	}
	return out
}

func attemptOf(a *history.AttemptRecord) attemptJSON {
	out := attemptJSON{
		Number: a.Number, InteractionID: a.Interaction, ScheduledAt: instantOrNull(a.ScheduledAt), StartedAt: instant(a.StartedAt),
		EndedAt: instantOrNull(a.EndedAt), Outcome: orNull(string(a.Outcome)), HTTPStatus: orNull(a.HTTPStatus),
		Echo: orNull(string(a.Echo)), URL: orNull(cmp.Or(a.URL, a.ClaimedURL)), Detail: orNull(a.Detail),
	}
	if t := a.TLS; t != nil {
		out.TLS = &tlsJSON{Version: t.Version, Cipher: t.Cipher, PeerSubject: t.PeerSubject, PeerFingerprint: t.PeerFingerprint}
	}
	return out
}
