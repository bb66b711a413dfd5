package auditlog

import (
	"context"
	"errors"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// undeliveredSQL finds notifications of a client that ended undelivered since an instant and whose change was never sent once more,
// for an operator or an initiator. The outcomes name the index entry_outcome.
const undeliveredSQL = `
SELECT u.notification_id FROM entry u
JOIN entry a ON a.notification_id = u.notification_id AND a.kind IN ('change', 'decision')
WHERE u.client_id = $1 AND u.closes IN ('exhausted', 'cancelled') AND u.outcome = ANY($4::text[]) AND u.` + unusualSQL + ` AND u.at >= $2
  AND NOT EXISTS (SELECT FROM entry r WHERE r.change_id = coalesce(a.change_id, a.id) AND r.kind = 'resend')
ORDER BY u.at, u.notification_id LIMIT $3`

// byHandSQL counts what waits of a client that was asked for by hand, up to a bound.
const byHandSQL = `SELECT count(*) FROM (SELECT FROM queue WHERE client_id = $1 AND token IS NULL AND manual LIMIT $2) x`

// byHandMost is how much of that may wait of a client before Redeliver adds nothing: each claim of its lane passes over it.
const byHandMost = 1000

// Redeliver makes one more POST for each notification of a client that ended undelivered since an instant, at most so many, oldest
// end first. A change for which an operator or this call asked before is left out, also where nothing was sent: there is one such POST
// in all (D-4), and one that was not sent is for an operator to ask for again. While byHandMost of them wait to be sent it adds none. more
// says that there are further ones. The entries name the caller of the context (history.Actor).
//
// It returns store.ErrNoPush when the client has no address, and ErrUnavailable when the database does not answer; then a repetition
// is safe.
func (l *Log) Redeliver(ctx context.Context, client notice.ClientID, since time.Time, most int) (queued []notice.ID, more bool, err error) {
	var wait int
	if err := l.query.QueryRow(ctx, byHandSQL, string(client), byHandMost).Scan(&wait); err != nil {
		return nil, false, store.Unavailable("count what waits to be sent once more", err)
	}
	most = min(most, byHandMost-wait)
	found, err := store.All(ctx, l.query, func(id *notice.ID) []any { return []any{id} }, undeliveredSQL, string(client), since, most+1, endings())
	if err != nil {
		return nil, false, store.Unavailable("find what ended undelivered", err)
	}
	if more = len(found) > most; more {
		found = found[:most]
	}
	for _, id := range found {
		_, err := l.Resend(ctx, id, string(client), "asked for by the initiator")
		switch {
		case errors.Is(err, store.ErrResent): // another call was first
		case err != nil:
			return queued, more, err
		default:
			queued = append(queued, id)
		}
	}
	return queued, more, nil
}
