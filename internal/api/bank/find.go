package bank

import (
	"context"
	"net/url"
	"strings"
	"unicode"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Finder finds what an id names; *auditlog.Log does.
type Finder interface {
	Find(ctx context.Context, text string) (history.Found, error)
}

type foundJSON struct {
	Hits []hitJSON `json:"hits"`
	More bool      `json:"more"` // there are more of a type than are listed
}

type hitJSON struct {
	Type           history.HitType  `json:"type"`
	ID             string           `json:"id"`
	Kind           *string          `json:"kind"`
	ResourceID     *string          `json:"resourceId"`
	ClientID       *notice.ClientID `json:"clientId"`
	Name           *string          `json:"name"` // of the client
	NotificationID *notice.ID       `json:"notificationId"`
	Href           string           `json:"href"` // of this API
}

// findMost is how long what is looked for may be, in bytes.
const findMost = 255

// getFind finds what an id names.
func (in *Internal) getFind(x *api.Exchange) error {
	p, err := parameters(x.R.URL.RawQuery, "q")
	if err != nil {
		return err
	}
	q := strings.TrimSpace(p["q"])
	if q == "" || len(q) > findMost || strings.ContainsFunc(q, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return wrong("q", "must be an id of 1 to 255 printable characters", "deve ser um id de 1 a 255 caracteres visíveis")
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), in.cfg.SearchLimit)
	defer cancel()
	found, err := in.cfg.Finder.Find(ctx, q)
	if err != nil {
		return in.tooWide(ctx, x, err)
	}
	out, kept := foundJSON{Hits: []hitJSON{}, More: found.More}, "digest "+found.Mark
	for i := range found.Hits {
		h := &found.Hits[i]
		out.Hits = append(out.Hits, hitOf(h))
		if h.Type != history.HitEndToEnd && h.Type != history.HitCNPJ {
			kept = q // an id that the history has as well; anything else may be about a person
		}
	}
	return in.show(x, history.LogReading{Act: "find", Filter: map[string]string{"path": x.Route, "q": kept}, Rows: int64(len(out.Hits))}, out)
}

func hitOf(h *history.Hit) hitJSON {
	out := hitJSON{
		Type: h.Type, ID: h.ID, ResourceID: orNull(h.ResourceID), ClientID: orNull(h.Client), Name: orNull(h.Name), NotificationID: orNull(h.Notification),
	}
	if h.Kind != 0 {
		out.Kind = orNull(h.Kind.String())
	}
	const root = "/internal/v1/"
	switch h.Type {
	case history.HitNotification, history.HitAttempt:
		out.Href = root + "notifications/" + h.Notification.String()
	case history.HitClient, history.HitOrganisation, history.HitCNPJ:
		out.Href = root + "initiators/" + url.PathEscape(string(h.Client)) + "/health"
	default:
		if h.ResourceID == "" { // a status query that named none
			out.Href = root + "audit/entries?interactionId=" + url.QueryEscape(h.ID)
			break
		}
		out.Href = root + "resources/" + h.Kind.String() + "/" + url.PathEscape(h.ResourceID)
	}
	return out
}
