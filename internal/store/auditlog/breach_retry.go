package auditlog

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// retriesSQL reads when second and third attempts began after failures of a period. The outcomes name the index entry_outcome. Facts are
// handed over as text: one that was tampered with must not fail the query.
//
// $1 ≤ at of the failure < $2, $3 outcomes of failures, $4 is before every attempt that follows.
const retriesSQL = `
SELECT a.notification_id, a.at, a.number, coalesce(r.facts->>'endedAt', ''), coalesce(s.facts->>'claimToSendMicros', ''), coalesce(s.facts->>'firstByteOutMicros', ''), now()
FROM entry r JOIN entry a ON a.notification_id = r.notification_id AND a.kind = 'attempt' AND a.number = r.number + 1 AND a.at >= $4
LEFT JOIN entry s ON s.notification_id = r.notification_id AND s.kind = 'result' AND s.number = a.number AND s.at >= $4
WHERE r.kind = 'result' AND r.outcome = ANY($3::text[]) AND r.` + unusualSQL + ` AND r.at >= $1 AND r.at < $2`

// failures are the outcomes after which an attempt follows.
func failures() (out []string) {
	for _, o := range notice.Outcomes() {
		if !o.Success() {
			out = append(out, string(o))
		}
	}
	return out
}

// startedRetry is what retriesSQL tells of one attempt.
type startedRetry struct {
	place
	number                   int
	failed, waited, firstOut string
}

// late tells whether it may have started at another time than the rule wants. The clock proof judges.
func (r *startedRetry) late() bool {
	failed, err := time.Parse(time.RFC3339Nano, r.failed)
	gap, due := notice.Next(r.number-1, false)
	if err != nil || !due {
		return true
	}
	began := r.At
	for _, text := range []string{r.waited, r.firstOut} { // no text: it has not ended, or no byte left
		if took, err := strconv.ParseInt(text, 10, 64); err == nil {
			began = began.Add(history.Micros(took).Duration())
		}
	}
	return r.At.Sub(failed) < gap || began.Sub(failed) > gap+timing.GapTolerance
}

// LateRetries are the clock proofs of notifications whose second or third attempt did not start when the rule wants, by when that attempt
// was recorded, newest first: at most limit of them before p.After, and the position to continue after; zero at the end. The period is
// that of the failures before. It costs by the failures of the period, which it finds by an index.
func (i *Inspector) LateRetries(ctx context.Context, p timing.Period, limit int) ([]timing.Timing, history.Position, error) {
	var next history.Position
	places, now, err := i.lateRetries(ctx, p)
	if err != nil {
		return nil, next, store.Unavailable("find late retries", err)
	}
	if len(places) > limit {
		places = places[:limit]
		next = history.Position{At: places[limit-1].At, ID: places[limit-1].ID}
	}
	order := make(map[notice.ID]int, len(places))
	ids := make([]pgtype.UUID, len(places))
	for n, at := range places {
		ids[n], order[at.ID] = store.ToUUID(at.ID), n
	}
	var rows []audit.Entry
	if len(ids) > 0 {
		if rows, err = queryEntries(ctx, i.db, announcedInOrder, ids); err != nil {
			return nil, next, store.Unavailable("find late retries", err)
		}
	}
	out, err := i.judgedAlone(ctx, rows, now)
	out = slices.DeleteFunc(out, func(t timing.Timing) bool {
		return !t.Tampered && !slices.ContainsFunc(t.Breaches(), func(b string) bool { return b != "first" })
	})
	slices.SortFunc(out, func(a, b timing.Timing) int { return order[a.Notification] - order[b.Notification] })
	return out, next, err
}

// lateRetries finds notifications by their newest attempt that may be late, newest first.
func (i *Inspector) lateRetries(ctx context.Context, p timing.Period) (places []place, now time.Time, err error) {
	sql, args := retriesSQL, []any{p.From, p.To, failures(), p.From.Add(-clockBack)}
	if p.Client != "" {
		sql, args = sql+" AND r.client_id = $5", append(args, string(p.Client))
	}
	newest := map[notice.ID]time.Time{}
	var r startedRetry
	rows, _ := i.db.Query(ctx, sql, args...)
	_, err = pgx.ForEachRow(rows, store.Columns(&r.ID, &r.At, &r.number, &r.failed, &r.waited, &r.firstOut, &now), func() error {
		if r.late() && r.At.After(newest[r.ID]) {
			newest[r.ID] = r.At
		}
		return nil
	})
	for id, at := range newest {
		if after := p.After; after.At.IsZero() || at.Before(after.At) || at.Equal(after.At) && bytes.Compare(id[:], after.ID[:]) < 0 {
			places = append(places, place{id, at})
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return bytes.Compare(b.ID[:], a.ID[:])
	})
	return places, now, err
}

// LateRetries is Inspector.LateRetries over the pool that reads.
func (l *Log) LateRetries(ctx context.Context, p timing.Period, limit int) ([]timing.Timing, history.Position, error) {
	return l.Inspector().LateRetries(ctx, p, limit)
}
