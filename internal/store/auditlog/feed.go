package auditlog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// FeedBack is how far a feed reaches back from its beginning.
const FeedBack = 30 * 24 * time.Hour

// feedMargin is longer than a transaction of ours takes from its beginning to its end: each of its few statements ends
// after 5 s at most, and so does each pause between two of them (Options.pool). It also covers a database clock that goes back
// by less than that, for example when another machine takes over.
const feedMargin = time.Minute

// Entries that end a notification undelivered are found among those of all clients. So they are read in windows of missedWindow, and a
// call that has read for missedLong ends with the window it is in.
const (
	missedWindow = 24 * time.Hour
	missedLong   = time.Second
)

// A feed is in the order of the log: by transaction, then by id. Entries are found by the instant of their transaction's
// beginning, for which there is an index. The window [after - margin, b + margin] holds the next entries of that order, where b is
// the instant of the limit-th entry that began at least a margin after the place: these are all behind the place, and whatever
// began more than a margin after b took its transaction's number later than each of them. $9 bounds b. If there are fewer than the limit up to
// there, the window ends at $9, and cutWindow leaves out what may have others before it behind the window.
const (
	announcedToClient = `a.client_id = $1 AND a.notification_id IS NOT NULL AND a.kind IN ('change', 'decision', 'resend')`

	// The outcomes name the index entry_outcome.
	endedOfClient = `a.client_id = $1 AND a.closes IN ('exhausted', 'cancelled') AND a.outcome = ANY($7::text[]) AND a.` + unusualSQL

	feedSQL = `
WITH far AS (SELECT a.at FROM entry a WHERE %[1]s AND a.at >= $2::timestamptz + $6::interval AND a.at <= $9::timestamptz ORDER BY a.at OFFSET $5::integer - 1 LIMIT 1)
SELECT ` + entryColumns + ` FROM entry a
WHERE %[1]s AND a.at >= $2::timestamptz - $6::interval AND a.at <= coalesce((SELECT at FROM far) + $6::interval, $9::timestamptz)
  AND (a.xid, a.id) > ($3, $8::uuid) AND a.xid < $4 ORDER BY a.xid, a.id LIMIT $5::integer`

	// The next entries of all clients, in the order of the log: where the last of them is, and those of the client among them. OFFSET 0 keeps
	// the server from going by the client, whose entries of a busy minute may be many more.
	nearbySQL     = `SELECT count(*), coalesce(max(xid), 0) FROM (SELECT xid FROM entry WHERE xid >= $1 AND xid < $2 ORDER BY xid LIMIT $3) n`
	feedNearbySQL = `
SELECT ` + entryColumns + ` FROM (SELECT * FROM entry WHERE xid >= $3 AND xid < $4 OFFSET 0) a
WHERE %[1]s AND a.at >= $2::timestamptz - $6::interval AND (a.xid, a.id) > ($3, $8::uuid) ORDER BY a.xid, a.id LIMIT $5::integer`

	feedHorizonSQL = `WITH h(horizon, newest) AS (` + horizonSQL + `) SELECT horizon FROM h`

	// beganSQL reads an instant at or before the begin of each transaction that has a number and is not over. A COMMIT that waits for a standby
	// may be older than the margin. It is read before the horizon: a transaction that ends between the two is behind the horizon then. Of
	// sessions with another login the server tells no begin; an hour stands for it.
	beganSQL = `SELECT least(now(), min(coalesce(xact_start, now() - interval '1 hour'))) FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL`

	newsSQL = `
SELECT DISTINCT a.client_id, coalesce(a.closes IN ('exhausted', 'cancelled'), false), a.kind = 'registered' FROM entry a
WHERE a.xid >= $1 AND a.xid < $2 AND a.at >= now() - interval '1 day' AND a.client_id IS NOT NULL
  AND (a.notification_id IS NOT NULL AND a.kind IN ('change', 'decision', 'resend') OR a.closes IN ('exhausted', 'cancelled') OR a.kind = 'registered')`
)

// endings are the outcomes of the entries that end a notification undelivered.
func endings() []string {
	out := []string{string(notice.Cancelled)}
	for _, o := range notice.Outcomes() {
		if o != notice.OutcomeDelivered {
			out = append(out, string(o))
		}
	}
	return out
}

// Feed lists the notifications of a client that follow a place. None is skipped and none comes twice along a chain of places,
// also when transactions commit in another order than they began: entries are listed when every older transaction is over.
//
// It returns ErrUnavailable when the database does not answer, and for a place that a restored database has not reached again.
func (l *Log) Feed(ctx context.Context, q history.FeedQuery) (history.FeedPage, error) {
	page := history.FeedPage{Next: q.After}
	began, err := l.oldestBegin(ctx)
	if err != nil {
		return page, store.Unavailable("read which transactions are not over", err)
	}
	if err := l.query.QueryRow(ctx, feedHorizonSQL).Scan(&page.Through); err != nil {
		return page, store.Unavailable("read how far the feed is complete", err)
	}
	if page.Through < q.After.XID {
		return page, fmt.Errorf("the place in the feed is after transaction %d, and the database is at %d: it was restored to an earlier state: %w",
			q.After.XID, page.Through, store.ErrUnavailable)
	}
	if q.After.At.IsZero() {
		q.After.At = began.Add(-FeedBack)
	}
	entries, err := l.walk(ctx, q, &page, began)
	if err != nil {
		return page, store.Unavailable("read the feed", err)
	}
	page.Records, err = l.feedRecords(ctx, q, entries)
	return page, store.Unavailable("read the notifications of the feed", err)
}

// oldestBegin is an instant at or before the begin of each transaction that has a number and is not over. The server tells it to the login
// of the session, and not to the role that the session has taken on.
func (l *Log) oldestBegin(ctx context.Context) (began time.Time, err error) {
	err = pgx.BeginTxFunc(ctx, l.query, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL ROLE NONE"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, beganSQL).Scan(&began)
	})
	return began, err
}

// walk reads the entries of a page, window by window, and sets where the next page begins. complete is an instant at or before the begin of
// each transaction that is not over.
func (l *Log) walk(ctx context.Context, q history.FeedQuery, page *history.FeedPage, complete time.Time) ([]audit.Entry, error) {
	for began := time.Now(); ; {
		entries, all, err := l.nearby(ctx, q, page.Through)
		if err != nil {
			return nil, err
		}
		if n := len(entries); n == q.Limit || all {
			page.More, page.Next = n == q.Limit, q.After
			switch {
			case page.More:
				page.Next = placeOfFeed(&entries[n-1])
			case page.Through > q.After.XID: // the next look begins there
				page.Next = history.FeedPlace{XID: page.Through, At: complete.UTC()}
			}
			return entries, nil
		}
		end := pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
		if until := q.After.At.Add(missedWindow); q.Missed && until.Before(complete) {
			end = pgtype.Timestamptz{Time: until, Valid: true}
		}
		if entries, err = l.feedEntries(ctx, q, page.Through, end); err != nil {
			return nil, err
		}
		full := len(entries) == q.Limit
		windowed := end.InfinityModifier == pgtype.Finite
		page.More = windowed || full // also when none of a full page may be shown
		if windowed {
			entries = cutWindow(entries, end.Time)
		}
		page.Next = q.After
		if n := len(entries); n > 0 {
			page.Next = placeOfFeed(&entries[n-1])
		}
		switch {
		case windowed && (!full || len(entries) == 0):
			page.Next.At = end.Time.Add(-feedMargin)
		case !page.More && !full && page.Through > q.After.XID: // all before the horizon was seen: the next look begins there
			page.Next = history.FeedPlace{XID: page.Through, At: complete.UTC()}
		}
		if len(entries) > 0 || !page.More || time.Since(began) > missedLong {
			return entries, nil
		}
		q.After = page.Next
	}
}

// cutWindow leaves out the entries of a window behind the last that began at least a margin before its end. Behind the window there is nothing
// that belongs before those that stay.
func cutWindow(entries []audit.Entry, end time.Time) []audit.Entry {
	for n := len(entries); n > 0; n-- {
		if !entries[n-1].At.Time().After(end.Add(-feedMargin)) {
			return entries[:n]
		}
	}
	return nil
}

func placeOfFeed(e *audit.Entry) history.FeedPlace {
	return history.FeedPlace{XID: e.XID, ID: e.ID, At: e.At.Time()}
}

// nearbyMost is how many entries of all clients a page of so many looks through first.
func nearbyMost(limit int) int { return max(1000, 10*limit) }

// nearby reads the entries of a page out of the next ones of all clients. They suffice where the place is near the end of the log, all then,
// and where the client has many of them: then there is a full page. Otherwise the page must be read by the client, which costs as much as the
// client has in the minutes around the place.
func (l *Log) nearby(ctx context.Context, q history.FeedQuery, through int64) (entries []audit.Entry, all bool, err error) {
	if q.After.XID == 0 {
		return nil, false, nil // the begin of the feed is found by its time
	}
	most := nearbyMost(q.Limit)
	var found int
	var last int64
	if err := l.query.QueryRow(ctx, nearbySQL, q.After.XID, through, most).Scan(&found, &last); err != nil {
		return nil, false, err
	}
	if all = found < most; !all {
		through = last // whose entries may not all be among them
	}
	which, outcomes := feedOf(q)
	entries, err = queryEntries(ctx, l.query, fmt.Sprintf(feedNearbySQL, which), string(q.Client), q.After.At, q.After.XID, through, q.Limit, feedMargin, outcomes, [16]byte(q.After.ID))
	return entries, all, err
}

func (l *Log) feedEntries(ctx context.Context, q history.FeedQuery, through int64, end pgtype.Timestamptz) ([]audit.Entry, error) {
	which, outcomes := feedOf(q)
	return queryEntries(ctx, l.query, fmt.Sprintf(feedSQL, which), string(q.Client), q.After.At, q.After.XID, through, q.Limit, feedMargin, outcomes, [16]byte(q.After.ID), end)
}

// feedOf is the condition for the entries of a feed, with its parameter $7.
func feedOf(q history.FeedQuery) (which string, outcomes []string) {
	if q.Missed {
		return endedOfClient, endings()
	}
	return announcedToClient + ` AND $7::text[] IS NULL`, nil
}

// feedRecords makes records of the entries of a page, in their order.
func (l *Log) feedRecords(ctx context.Context, q history.FeedQuery, entries []audit.Entry) ([]history.Record, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	made := entries
	order := make(map[notice.ID]int, len(entries))
	for i := range entries {
		order[notificationOf(&entries[i])] = i
	}
	if q.Missed {
		ids := make([]pgtype.UUID, len(entries))
		for i := range entries {
			ids[i] = store.ToUUID(notificationOf(&entries[i]))
		}
		var err error
		if made, err = queryEntries(ctx, l.query, announcementsSQL, ids); err != nil {
			return nil, err
		}
	}
	records, err := l.assemble(ctx, made)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r history.Record) bool { return r.Client != q.Client }) // an altered row must not show another client's
	slices.SortStableFunc(records, func(a, b history.Record) int { return cmp.Compare(order[a.ID], order[b.ID]) })
	return records, nil
}

// FeedNews names the clients whose feeds have grown, and those whose registrations have changed, by transactions from a number on; from 0 it
// tells only how far everything is complete. It costs one statement when no transaction has ended, and two otherwise.
func (l *Log) FeedNews(ctx context.Context, from int64) (history.FeedNews, error) {
	var out history.FeedNews
	if err := l.query.QueryRow(ctx, feedHorizonSQL).Scan(&out.Through); err != nil {
		return out, store.Unavailable("read how far the feeds are complete", err)
	}
	if from == 0 || out.Through <= from {
		return out, nil
	}
	rows, _ := l.query.Query(ctx, newsSQL, from, out.Through)
	var client notice.ClientID
	var missed, registered bool
	_, err := pgx.ForEachRow(rows, store.Columns(&client, &missed, &registered), func() error {
		switch {
		case registered:
			out.Registered = append(out.Registered, client)
		case missed:
			out.Missed = append(out.Missed, client)
		default:
			out.Announced = append(out.Announced, client)
		}
		return nil
	})
	return out, store.Unavailable("read whose feeds have grown", err)
}

// AttemptOf finds the attempt of a client that an interaction id names, with its notification; ErrNotFound when this client has
// none, whether or not another client has one.
func (l *Log) AttemptOf(ctx context.Context, client notice.ClientID, interaction notice.ID) (history.SentAttempt, error) {
	found, err := queryEntries(ctx, l.query, entrySelect+"WHERE interaction_id = $1 AND kind IN ('attempt', 'change') AND client_id = $2 LIMIT 1", store.ToUUID(interaction), string(client))
	if err != nil {
		return history.SentAttempt{}, store.Unavailable("find the attempt", err)
	}
	if len(found) == 0 {
		return history.SentAttempt{}, fmt.Errorf("attempt %s: %w", interaction, store.ErrNotFound)
	}
	record, err := l.Notification(ctx, notificationOf(&found[0]))
	if err != nil {
		return history.SentAttempt{}, err
	}
	if record.Client != client {
		return history.SentAttempt{}, fmt.Errorf("attempt %s: %w", interaction, store.ErrNotFound)
	}
	number := 1 // of an attempt that the entry of its change records
	if found[0].Number != nil {
		number = int(*found[0].Number)
	}
	return history.SentAttempt{Record: record, Number: number}, nil
}
