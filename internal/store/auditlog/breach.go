package auditlog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/timing"
)

// Inspector reads the history in order to judge it: the clock proof, the reconciliation, the list of calls. It needs
// nothing but SELECT. Everything is read in short statements, each piece in a snapshot of its own, so that neither
// vacuum nor the sealer waits for it and the product does not slow down.
type Inspector struct {
	db     Reader
	pages  int64 // of the history in one piece
	gentle bool
	tell   func(ctx context.Context, done, all int64) error // how many pages were read; nil: nobody asks
	conn   *pgx.Conn                                        // of its own; nil: it reads over the pool
}

// NewInspector judges what db shows. It reads so many pages of the history at a time, SweepPages in production.
func NewInspector(db Reader, pages int64) *Inspector { return &Inspector{db: db, pages: pages} }

// Gently makes a walk through the history rest after each piece for as long as the piece took.
func (i *Inspector) Gently() *Inspector {
	i.gentle = true
	return i
}

// Telling makes a walk through the history report, after each piece, how many of all pages it has read. An error ends it.
func (i *Inspector) Telling(tell func(ctx context.Context, done, all int64) error) *Inspector {
	i.tell = tell
	return i
}

// Reader is a connection, or a pool of them.
type Reader interface {
	querier
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
}

// OpenInspector connects as the user that the URL names.
func OpenInspector(ctx context.Context, url string) (*Inspector, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return nil, err
	}
	i := NewInspector(conn, SweepPages)
	i.conn = conn
	return i, nil
}

// Inspector judges over the pool that reads.
func (l *Log) Inspector() *Inspector { return NewInspector(l.query, SweepPages) }

// Close ends the connection that OpenInspector made.
func (i *Inspector) Close(ctx context.Context) {
	if i.conn != nil {
		_ = i.conn.Close(context.WithoutCancel(ctx))
	}
}

// ClockReport judges every notification of a period and hands those over of which a time was not kept. Memory grows
// with the number of initiators, not of notifications.
func (i *Inspector) ClockReport(ctx context.Context, p timing.Period, breach func(*timing.Timing) error) (*timing.ClockReport, error) {
	out := &timing.ClockReport{
		From: history.Moment{Time: p.From}, To: history.Moment{Time: p.To}, Total: timing.NewTimingSummary(), ByClient: map[notice.ClientID]*timing.TimingSummary{},
	}
	err := i.Timings(ctx, p, func(t *timing.Timing) error {
		out.Total.Add(t)
		if out.ByClient[t.Client] == nil {
			out.ByClient[t.Client] = timing.NewTimingSummary()
		}
		out.ByClient[t.Client].Add(t)
		out.Integrity.Add(t.Integrity)
		if !t.Reported() {
			return nil
		}
		return breach(t)
	})
	if err != nil {
		return nil, err
	}
	out.Integrity = out.Integrity.Listed()
	since, err := i.WholeSince(ctx)
	if err != nil {
		return nil, err
	}
	out.WholeSince = history.Moment{Time: since}
	out.Silent, err = i.silent(ctx, p)
	return out, err
}

// timingPage is how many notifications are judged at a time.
const timingPage = 1000

const timingAnnounced = entrySelect + `a WHERE a.notification_id IS NOT NULL AND a.kind IN ('change', 'decision', 'resend') AND a.at < $2 AND `

// Timings hands over the clock proof of each notification of a period, in the order of their decisions. An error of
// each ends it and is returned.
func (i *Inspector) Timings(ctx context.Context, p timing.Period, each func(*timing.Timing) error) error {
	still := idlePeriodsOf(i.db)
	for {
		rows, now, err := i.announced(ctx, p)
		if err != nil {
			return store.Unavailable("read notifications", err)
		}
		records, err := i.records(ctx, rows)
		if err != nil {
			return store.Unavailable("read attempts", err)
		}
		timings, err := timing.TimingsOf(records, now, still.within(ctx, now))
		if err != nil {
			return store.Unavailable("look for standstills", err)
		}
		for n := range timings {
			if err := each(&timings[n]); err != nil {
				return err
			}
		}
		if len(rows) < timingPage {
			return nil
		}
		last := &rows[len(rows)-1]
		p.After = history.Position{At: last.At.Time(), ID: notificationOf(last)}
	}
}

// announced reads one page of the entries that made notifications, and the database's clock.
func (i *Inspector) announced(ctx context.Context, p timing.Period) ([]audit.Entry, time.Time, error) {
	var now time.Time
	if err := i.db.QueryRow(ctx, "SELECT now()").Scan(&now); err != nil {
		return nil, now, err
	}
	sql, args := timingAnnounced+"a.at >= $1", []any{p.From, p.To}
	if !p.After.At.IsZero() {
		sql, args = timingAnnounced+"(a.at, a.notification_id) > ($1, $3)", []any{p.After.At, p.To, store.ToUUID(p.After.ID)}
	}
	if p.Client != "" {
		args = append(args, string(p.Client))
		sql += fmt.Sprintf(" AND a.client_id = $%d", len(args))
	}
	out, err := queryEntries(ctx, i.db, fmt.Sprintf("%s ORDER BY a.at, a.notification_id LIMIT %d", sql, timingPage), args...)
	return out, now, err
}

// records adds attempts, state and earlier receipts to announcements. The right to read the queue is not needed.
func (i *Inspector) records(ctx context.Context, rows []audit.Entry) ([]history.Record, error) {
	out, _, err := assembleEntries(ctx, i.db, rows)
	if err != nil {
		return nil, err
	}
	return out, joinReceipts(ctx, i.db, out)
}

// Timing is the clock proof of one notification; ErrNotFound when there is none.
func (l *Log) Timing(ctx context.Context, id notice.ID) (timing.Timing, error) {
	var now time.Time // before the entries: an attempt may begin between, and the time up to a later instant would be held against it
	if err := l.query.QueryRow(ctx, "SELECT now()").Scan(&now); err != nil {
		return timing.Timing{}, store.Unavailable("read the clock", err)
	}
	r, err := l.Notification(ctx, id)
	if err != nil {
		return timing.Timing{}, err
	}
	records := []history.Record{r}
	if err := joinReceipts(ctx, l.query, records); err != nil {
		return timing.Timing{}, store.Unavailable("read earlier receipts", err)
	}
	still := idlePeriodsOf(l.query)
	timings, err := timing.TimingsOf(records, now, still.within(ctx, now))
	if err != nil {
		return timing.Timing{}, store.Unavailable("look for standstills", err)
	}
	return timings[0], nil
}

// Timings is Inspector.Timings over the pool that reads.
func (l *Log) Timings(ctx context.Context, p timing.Period, each func(*timing.Timing) error) error {
	return l.Inspector().Timings(ctx, p, each)
}

// ClockReport is Inspector.ClockReport over the pool that reads.
func (l *Log) ClockReport(ctx context.Context, p timing.Period, breach func(*timing.Timing) error) (*timing.ClockReport, error) {
	return l.Inspector().ClockReport(ctx, p, breach)
}
