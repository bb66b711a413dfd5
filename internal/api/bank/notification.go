package bank

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

type notificationsJSON struct {
	Notifications []notificationJSON `json:"notifications"`
	NextCursor    *string            `json:"nextCursor"`
	Integrity     history.Integrity  `json:"integrity"`
}

// listNotifications searches, newest first (product, "Reading what happened").
func (in *Internal) listNotifications(x *api.Exchange) error {
	f, cursor, err := searchOf(x.R.URL.RawQuery, x.Began, in.cfg.Brands)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), in.cfg.SearchLimit)
	defer cancel()
	pages, err := in.pagesOf(ctx, cursor, partsOf(f)...)
	if err != nil {
		return err
	}
	f.After = pages.after
	records, next, err := in.cfg.History.Notifications(ctx, f)
	if err != nil {
		return in.tooWide(ctx, x, err)
	}
	return in.view(x, len(records), notificationsJSON{listed(records, notificationOf), pages.next(next), in.met(x, integrityOf(records))})
}

// tooWide tells a search that took too long from a database that does not answer at all (L6, F5).
func (in *Internal) tooWide(ctx context.Context, x *api.Exchange, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	probe, cancel := context.WithTimeout(x.R.Context(), in.cfg.SearchLimit/4)
	defer cancel()
	if in.cfg.History.Ping(probe) != nil {
		return err
	}
	return invalid("", "too_broad", "the search took too long: narrow it by clientId, resourceId, interactionId or a shorter time",
		"a consulta demorou demais: restrinja por clientId, resourceId, interactionId ou um período menor")
}

func (in *Internal) getNotification(x *api.Exchange) error {
	id, err := idOf(x)
	if err != nil {
		return err
	}
	record, err := in.cfg.History.Notification(x.R.Context(), id)
	if err != nil {
		return err
	}
	return in.view(x, 1, struct {
		notificationJSON
		Integrity history.Integrity `json:"integrity"`
	}{notificationOf(&record), in.met(x, record.Integrity)})
}

// idOf is the UUID in the path. What is none names nothing.
func idOf(x *api.Exchange) (notice.ID, error) {
	id, err := notice.ParseID(x.Segment("id"))
	if err != nil || id.IsZero() {
		return notice.ID{}, errNotFound
	}
	return id, nil
}

// reasonJSON is why an operator acts; it goes into the record.
type reasonJSON struct {
	Reason string `json:"reason"`
}

// reasonOf reads the reason of an operator's act: it is required, and kept in the history.
func reasonOf(x *api.Exchange) (string, error) {
	body, err := decode[reasonJSON](x)
	if err != nil {
		return "", err
	}
	return reasonFrom(body.Reason)
}

var errResendDisabled = &api.APIError{
	Status: http.StatusForbidden, Code: "resend_disabled",
	Text:   "a fourth attempt is switched off, because the rule allows three; resend.enabled switches it on",
	TextPT: "uma quarta tentativa está desligada, porque a regra permite três; resend.enabled a liga",
}

// postResend asks for one more POST (D-4).
func (in *Internal) postResend(x *api.Exchange) error {
	if !in.cfg.ResendEnabled {
		return errResendDisabled
	}
	id, err := idOf(x)
	if err != nil {
		return err
	}
	reason, err := reasonOf(x)
	if err != nil {
		return err
	}
	judge := func(ctx context.Context) error { return in.cfg.Resender.Resendable(ctx, id) }
	if asked, err := in.asked(x, history.ActResend, reason, judge); asked || err != nil {
		return err
	}
	ctx, cancel := acting(x)
	defer cancel()
	fresh, err := in.cfg.Resender.Resend(ctx, id, x.Who.Subject, reason)
	if err != nil {
		return err
	}
	return answer(x, http.StatusAccepted, struct {
		ID notice.ID `json:"id"`
	}{fresh})
}

// actWithin bounds an operator's or a registrar's act. A silent database is met before it begins (InternalConfig.Answers). What it leaves room
// for is a connection that readers hold, a lock of 2 s in each of several statements, and a hundred resends in one call.
const actWithin = 10 * time.Second

// acting is the context of something that is done, and not only read: a caller who hangs up does not stop it half-way.
func acting(x *api.Exchange) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(x.R.Context()), actWithin)
}
