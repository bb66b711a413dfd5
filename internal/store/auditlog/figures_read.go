package auditlog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// tailMost is how many entries behind the folded ones are counted when figures are read.
const tailMost = 5000

// Figures reads sums, and counts the entries that are not folded yet, as far as they are at most tailMost. The sums rest on
// entries as they were sealed; stored sums are compared with nothing.
func (l *Log) Figures(ctx context.Context, ask figures.Ask) (figures.Reading, error) {
	var out figures.Reading
	for i, q := range ask.Queries {
		if q.Unit != figures.Daily && q.Unit != figures.Hourly && q.Unit != figures.Minutely {
			return out, fmt.Errorf("figures: query %d: unit %s is not known; use %s, %s or %s", i, q.Unit, figures.Daily, figures.Hourly, figures.Minutely)
		}
	}
	err := pgx.BeginTxFunc(ctx, l.query, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		r := figuresReading{db: tx, ask: ask}
		err := r.run(ctx)
		out = r.out
		return err
	})
	return out, store.Unavailable("read figures", err)
}

// figuresReading is one reading of figures.
type figuresReading struct {
	db  pgx.Tx
	ask figures.Ask
	gen generation
	out figures.Reading
}

func (r *figuresReading) run(ctx context.Context) (err error) {
	if r.gen, err = activeFigures(ctx, r.db); err != nil {
		return err
	}
	if r.out.Size, err = logSize(ctx, r.db); err != nil {
		return err
	}
	if r.out.Whole, err = wholeSince(ctx, r.db); err != nil {
		return err
	}
	r.out.Position, r.out.At = r.gen.entries, r.gen.through
	tail, err := r.tail(ctx)
	if err != nil {
		return err
	}
	for _, q := range r.ask.Queries {
		if err := r.query(ctx, q, tail); err != nil {
			return err
		}
	}
	return r.contacts(ctx, tail)
}

// WholeSince is since when the log has every entry; zero: nothing is sealed.
func (i *Inspector) WholeSince(ctx context.Context) (time.Time, error) {
	since, err := wholeSince(ctx, i.db)
	return since, store.Unavailable("read where the log begins", err)
}

// wholeSince is since when the log has every entry: its first one, or the end of the last month that was removed. Zero: nothing is sealed.
func wholeSince(ctx context.Context, db querier) (since time.Time, err error) {
	err = db.QueryRow(ctx, `SELECT greatest((SELECT at FROM log_position ORDER BY seq LIMIT 1),
  (SELECT (to_date(substr(max(partition), 7), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' FROM history_dropped))`).Scan(store.Columns(&since)...)
	return since, err
}

// tail counts what is not folded. It computes between statements, as a fold does (store.LongPauses).
func (r *figuresReading) tail(ctx context.Context) (*figures.Totals, error) {
	none := &figures.Totals{}
	if r.out.Size == 0 || r.out.Size-r.gen.entries > tailMost {
		return none, nil
	}
	if _, err := r.db.Exec(ctx, store.LongPauses); err != nil {
		return none, err
	}
	s := stretchOfLog{}
	upTo, err := placeBefore(ctx, r.db, r.out.Size)
	if err != nil {
		return none, err
	}
	if s.from = upTo; r.out.Size > r.gen.entries {
		if s, err = readStretch(ctx, r.db, r.gen.entries, r.out.Size); err != nil {
			return none, err
		}
	}
	unsealed, err := readNext(ctx, r.db, upTo, beyond, tailMost+1)
	if err != nil || len(s.entries)+len(unsealed) > tailMost {
		return none, err
	}
	var words history.SharedWords
	for i := range unsealed {
		s.entries = append(s.entries, briefOf(&unsealed[i], false, &words))
	}
	f := folding{db: r.db, still: &idlePeriods{}, gen: r.gen}
	book, err := f.book(ctx, s)
	if err != nil {
		return none, err
	}
	n := int64(len(s.entries))
	r.out.Tail = &n
	return book, r.db.QueryRow(ctx, "SELECT now()").Scan(&r.out.At)
}

// query reads the rows that a query wants.
func (r *figuresReading) query(ctx context.Context, q figures.Query, tail *figures.Totals) error {
	clients, more := []notice.ClientID{q.Client}, notice.ClientID("")
	stored, fresh := hoursSQL, tail.Hours()
	if q.Unit == figures.Minutely {
		stored, fresh = minutesSQL, tail.Minutes()
	}
	if q.Clients != nil {
		clients = q.Clients
	}
	if q.EachClient {
		var err error
		if clients, more, err = r.clients(ctx, q, fresh); err != nil {
			return err
		}
	}
	ids := make([]string, len(clients))
	for i, c := range clients {
		ids[i] = string(c)
	}
	rows, _ := r.db.Query(ctx, stored, r.gen.number, ids, q.From, q.To, int16(q.Kind))
	all := map[figures.RowKey]figures.Sums{}
	if _, err := addStored(rows, all, q.Unit); err != nil {
		return err
	}
	for k, sums := range fresh {
		at := time.Unix(k.Start, 0)
		if !slices.Contains(clients, k.Client) || q.Kind != 0 && k.Kind != q.Kind || at.Before(q.From) || !at.Before(q.To) {
			continue
		}
		if k.Start -= k.Start % int64(q.Unit/time.Second); all[k] == nil {
			all[k] = figures.Sums{}
		}
		all[k].Add(sums)
	}
	out := make([]figures.Row, 0, len(all))
	for k, sums := range all {
		out = append(out, figures.Row{RowKey: k, Sums: sums})
	}
	slices.SortFunc(out, func(a, b figures.Row) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Kind, b.Kind))
	})
	r.out.Rows, r.out.More = append(r.out.Rows, out), append(r.out.More, more)
	return nil
}

const (
	hoursSQL = `SELECT extract(epoch FROM hour)::bigint, client_id, kind, sums::text FROM figures_hour
WHERE generation = $1 AND client_id = ANY($2) AND hour >= $3 AND hour < $4 AND ($5 = 0 OR kind = $5)`

	minutesSQL = `SELECT extract(epoch FROM minute)::bigint, '', kind, sums::text FROM figures_minute
WHERE generation = $1 AND '' = ANY($2) AND minute >= $3 AND minute < $4 AND ($5 = 0 OR kind = $5)`

	// clientsSQL finds the next clients by one look at the primary key each.
	clientsSQL = `WITH RECURSIVE c(client_id) AS (
  SELECT (SELECT min(client_id) FROM figures_hour WHERE generation = $1 AND client_id > $2)
  UNION ALL SELECT (SELECT min(h.client_id) FROM figures_hour h WHERE h.generation = $1 AND h.client_id > c.client_id) FROM c WHERE c.client_id IS NOT NULL
)
SELECT client_id FROM c WHERE client_id IS NOT NULL LIMIT $3`
)

// clients are the next clients of a query, and the last of them when others follow.
func (r *figuresReading) clients(ctx context.Context, q figures.Query, fresh map[figures.RowKey]figures.Sums) ([]notice.ClientID, notice.ClientID, error) {
	rows, _ := r.db.Query(ctx, clientsSQL, r.gen.number, string(q.After), q.Limit+1)
	out, err := pgx.CollectRows(rows, pgx.RowTo[notice.ClientID])
	if err != nil {
		return nil, "", err
	}
	for k := range fresh {
		if k.Client > q.After {
			out = append(out, k.Client)
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > q.Limit {
		return out[:q.Limit], out[q.Limit-1], nil
	}
	return out, "", nil
}

func (r *figuresReading) contacts(ctx context.Context, tail *figures.Totals) error {
	if r.ask.Contact == "" && len(r.ask.Contacts) == 0 && r.ask.Failing == 0 {
		return nil
	}
	fresh := tail.Contacts()
	ids := []string{string(r.ask.Contact)}
	for _, client := range r.ask.Contacts {
		ids = append(ids, string(client))
	}
	for client := range fresh {
		ids = append(ids, string(client))
	}
	all, err := readContacts(ctx, r.db, "generation = $1 AND (client_id = ANY($2) OR $3 > 0 AND failures >= $3)", r.gen.number, ids, r.ask.Failing)
	if err != nil {
		return err
	}
	for client, c := range fresh {
		if old, there := all[client]; there {
			c = c.After(old)
		}
		all[client] = c
	}
	for client, c := range all {
		if client != r.ask.Contact && !slices.Contains(r.ask.Contacts, client) && (r.ask.Failing == 0 || c.Failures < r.ask.Failing) {
			delete(all, client)
		}
	}
	r.out.Contacts = all
	return nil
}

// queueSQL looks at a bounded number of rows. $1 is a client, or empty for all.
const queueSQL = `
SELECT (SELECT count(*) FROM (SELECT FROM queue WHERE token IS NULL AND ($1 = '' OR client_id = $1) LIMIT 100000) w),
  (SELECT count(*) FROM queue WHERE token IS NOT NULL AND ($1 = '' OR client_id = $1)) + CASE WHEN $1 = '' THEN (SELECT coalesce(sum(unsettled), 0) FROM flight)
    ELSE (SELECT count(*) FROM entry a WHERE a.client_id = $1 AND ` + inFlight + ` AND ` + unsettled + `) END,
  (SELECT count(*) FROM (SELECT FROM queue q JOIN initiator i ON i.client_id = q.client_id AND i.push AND i.push_epoch = q.push_epoch
    WHERE q.token IS NULL AND q.attempts = 0 AND NOT q.manual AND q.due_at <= now() AND q.occurred_at < now() - $2::interval AND ($1 = '' OR q.client_id = $1)
    LIMIT 10000) l),
  coalesce(greatest(now() - (SELECT min(q.due_at) FROM initiator i CROSS JOIN LATERAL (
    SELECT due_at FROM queue WHERE client_id = i.client_id AND push_epoch = i.push_epoch AND token IS NULL ORDER BY due_at, id LIMIT 1) q
    WHERE i.push AND ($1 = '' OR i.client_id = $1)), interval '0'), interval '0')`

// Queue tells what waits to be sent, of one client or of all ("").
func (l *Log) Queue(ctx context.Context, client notice.ClientID) (history.QueueState, error) {
	var q history.QueueState
	err := l.query.QueryRow(ctx, queueSQL, string(client), notice.FirstWithin).Scan(&q.Waiting, &q.InFlight, &q.LateNow, &q.Oldest)
	return q, store.Unavailable("read the queue", err)
}

// LogHead is how far the log goes.
type LogHead struct {
	Size            int64
	SealedAt        time.Time // the newest checkpoint was signed; zero: there is none
	AnchoredThrough time.Time // entries before are covered by every anchor of a replica; zero: nothing is anchored
	AnchoredAt      time.Time // the newest checkpoint that they all have was signed then; zero: none
}

// Head tells how far the log goes.
func (l *Log) Head(ctx context.Context) (LogHead, error) {
	var h LogHead
	err := l.query.QueryRow(ctx, `SELECT coalesce(c.size, 0), c.at, s.anchored_through
FROM seal_state s LEFT JOIN LATERAL (SELECT size, at FROM log_checkpoint ORDER BY size DESC LIMIT 1) c ON true`).Scan(store.Columns(&h.Size, &h.SealedAt, &h.AnchoredThrough)...)
	h.AnchoredAt = anchoredCheckpoint(h.AnchoredThrough)
	return h, store.Unavailable("read the end of the log", err)
}
