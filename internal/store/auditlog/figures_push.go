package auditlog

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// pushMost bounds the resources that are remembered from one fold to the next.
const pushMost = 5000

// pushes are how resources stand, as of a position of the log: those that initiators ask for, often again and again, and those of which a
// notification is open or was. They save reading their history. An entry that somebody altered since counts as it was, as with begun.
type pushes struct {
	entries int64
	known   map[notice.Key]*pushed
}

// at is what is known at a position of the log. When too many are known, those without an open notification are forgotten; if too many are left,
// all are.
func (p *pushes) at(entries int64) *pushes {
	if p != nil && p.entries == entries {
		if len(p.known) > pushMost {
			maps.DeleteFunc(p.known, func(_ notice.Key, of *pushed) bool { return len(of.open) == 0 })
		}
		if len(p.known) <= pushMost {
			return p
		}
	}
	return &pushes{entries: entries, known: map[notice.Key]*pushed{}}
}

// pushed is how the notifications about one resource stand.
type pushed struct {
	newest    notice.ID // zero: none was made
	delivered bool      // the newest one
	open      map[notice.ID]*openPush
	unfetched []figures.Fetch // delivered, and the resource not asked for since their attempt began
}

// openPush is a notification that is not delivered.
type openPush struct {
	fetch  figures.Fetch
	manual bool
	asked  bool // the resource was asked for since its newest attempt began
}

// pushesAsked are what status queries of a stretch say of pushes.
type pushesAsked struct {
	polls   map[notice.ID]figures.Push // by the entry of the status query
	fetched []figures.Fetch
}

// isAsked tells a status query that showed its resource to its client.
func isAsked(e *history.Brief) bool {
	return e.Kind == history.FactPoll && e.Outcome == "200" && e.ResourceKind != 0 && e.ResourceID != "" && e.Client != "" && !e.Poll().Extension
}

// keyOf names the resource that an entry tells of.
func keyOf(e *audit.Entry) notice.Key {
	return notice.Key{Kind: ofb.Kind(audit.Value(e.ResourceKind)), ID: audit.Value(e.ResourceID)}
}

// asked goes through a stretch in the order of the log. earlier are the entries of notifications that it goes on with.
func (f *folding) asked(ctx context.Context, s *stretchOfLog, earlier []history.Brief) (*pushesAsked, error) {
	f.push = f.push.at(f.gen.entries)
	if err := f.meet(ctx, s, earlier); err != nil {
		return nil, err
	}
	out := &pushesAsked{polls: map[notice.ID]figures.Push{}}
	for i := 0; i < len(s.entries) && len(f.push.known) > 0; i++ {
		e := &s.entries[i]
		if p := f.push.known[e.Key()]; p != nil {
			p.add(e, out)
		}
	}
	return out, nil
}

// meet reads how resources stood before a stretch that are asked for in it, or that have an attempt which ends in it and
// began before. Of resources and notifications that the stretch makes it reads nothing, and those that the stretch goes on with are in there
// already. A resource that the stretch makes is remembered when the notification of the change that made it is still open at the end, as long as
// there is room.
func (f *folding) meet(ctx context.Context, s *stretchOfLog, there []history.Brief) error {
	began, young, open := map[notice.ID]bool{}, map[notice.Key]bool{}, map[notice.ID]notice.Key{}
	var fresh []notice.Key
	know := func(k notice.Key) {
		if f.push.known[k] == nil {
			f.push.known[k] = &pushed{open: map[notice.ID]*openPush{}}
			if !young[k] {
				fresh = append(fresh, k)
			}
		}
	}
	for i := range s.entries {
		e := &s.entries[i]
		if e.First && !e.Altered && e.XID > s.from.xid { // the stretch has the whole transaction, before which the log has no change of the resource
			young[e.Key()] = true
			if e.Announces() {
				open[e.Notification] = e.Key()
			}
		}
		if e.Closes != "" {
			delete(open, e.Notification)
		}
		switch {
		case isAsked(e):
			know(e.Key())
		case e.Begins:
			began[e.Notification] = true
		case e.Kind == history.FactResult && e.Closes != "" && !began[e.Notification]:
			know(e.Key())
		}
	}
	for _, k := range open {
		if len(f.push.known) < pushMost {
			know(k)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	kinds, ids := make([]int16, len(fresh)), make([]string, len(fresh))
	for i, k := range fresh {
		kinds[i], ids[i] = int16(k.Kind), k.ID
	}
	// Each is looked for by itself (OFFSET 0): a join with the history would read all of it.
	made, err := queryEntries(ctx, f.db, "SELECT "+entryColumns+` FROM unnest($1::smallint[], $2::text[]) AS k(kind_of, resource)
CROSS JOIN LATERAL (SELECT * FROM entry e WHERE e.resource_id = k.resource AND e.resource_kind = k.kind_of AND e.number IS NULL AND e.notification_id IS NOT NULL
  AND e.kind IN ('change', 'decision', 'resend') AND (e.xid, e.id) <= ($3, $4) OFFSET 0) a`, kinds, ids, s.from.xid, [16]byte(s.from.id))
	if err != nil || len(made) == 0 {
		return err
	}
	earlier, err := f.entriesOf(ctx, s, made, there)
	if err != nil {
		return err
	}
	slices.SortFunc(earlier, func(a, b history.Brief) int { return placeOf(&a).compare(placeOf(&b)) })
	return f.replay(ctx, earlier, s.from)
}

// entriesOf returns the entries of notifications before a stretch. It reads those of which none is there already.
func (f *folding) entriesOf(ctx context.Context, s *stretchOfLog, made []audit.Entry, there []history.Brief) ([]history.Brief, error) {
	known := make(map[notice.ID]bool, len(made))
	for i := range made {
		known[notificationOf(&made[i])] = false
	}
	out := make([]history.Brief, 0, 2*len(made))
	for i := range there {
		if _, wanted := known[there[i].Notification]; wanted {
			out, known[there[i].Notification] = append(out, there[i]), true
		}
	}
	var notifications []pgtype.UUID
	since := made[0].At
	for i := range made {
		if id := notificationOf(&made[i]); !known[id] {
			notifications, since = append(notifications, store.ToUUID(id)), min(since, made[i].At)
		}
	}
	if len(notifications) == 0 {
		return out, nil
	}
	all, err := queryEntries(ctx, f.db, continuedSQL, notifications, since.Time().Add(-clockBack))
	if err != nil {
		return nil, err
	}
	var words history.SharedWords
	for i := range all {
		if placed(&all[i]).compare(s.from) <= 0 {
			out = append(out, history.ColumnsOf(&all[i], &words))
		}
	}
	return out, nil
}

// replay brings resources to where they stood at a place, from the entries of their notifications. Status queries are not
// read one by one: it is asked whether there was one after an attempt.
func (f *folding) replay(ctx context.Context, all []history.Brief, upTo cursor) error {
	attempts, made := map[notice.ID]*history.Brief{}, map[notice.ID]*history.Brief{} // the newest attempt of each notification, and what made it
	delivered := map[notice.ID]bool{}
	for i := range all {
		e := &all[i]
		id := e.Notification
		if p := f.push.known[e.Key()]; p != nil {
			p.add(e, &pushesAsked{})
		}
		if e.Begins {
			attempts[id] = e
		}
		if slices.Contains(announcing, e.Kind) {
			made[id] = e
		}
		delivered[id] = delivered[id] || e.Closes == notice.Delivered
	}
	for i := range all {
		if p := f.push.known[all[i].Key()]; p != nil {
			p.unfetched = nil // as if nothing had been asked
		}
	}
	var looks pollLooks
	for id, e := range attempts {
		if p := f.push.known[e.Key()]; p != nil && (delivered[id] || p.open[id] != nil) {
			looks.add(e)
		}
	}
	asked, err := looks.run(ctx, f.db, upTo)
	if err != nil {
		return err
	}
	for i, e := range looks.attempts {
		id, p := e.Notification, f.push.known[e.Key()]
		if open := p.open[id]; open != nil {
			open.asked = asked[i]
		} else if m := made[id]; m != nil && m.Kind != history.FactResend && !asked[i] {
			p.unfetched = append(p.unfetched, fetchOf(m))
		}
	}
	return nil
}

// pollLooks ask for attempts whether there was a status query of their resources after them, column by column.
type pollLooks struct {
	attempts []*history.Brief
	resource []string
	kind     []int16
	since    []time.Time
	xid      []int64
	id       []pgtype.UUID
}

func (l *pollLooks) add(e *history.Brief) {
	l.attempts, l.resource, l.kind = append(l.attempts, e), append(l.resource, e.ResourceID), append(l.kind, int16(e.ResourceKind))
	l.since, l.xid, l.id = append(l.since, e.At.Add(-time.Hour)), append(l.xid, e.XID), append(l.id, store.ToUUID(e.ID))
}

// askedSQL looks for each attempt by itself: joined with the history as a whole, other plans would read all of it.
const askedSQL = `SELECT k.n FROM unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::bigint[], $5::uuid[]) WITH ORDINALITY AS k(resource, kind_of, since, xid, id, n)
CROSS JOIN LATERAL (SELECT FROM entry p WHERE p.resource_id = k.resource AND p.number IS NULL AND p.at >= k.since AND p.kind = 'poll' AND p.outcome = '200'
  AND p.resource_kind = k.kind_of AND p.client_id IS NOT NULL AND NOT coalesce(starts_with(p.facts->>'operation', $8), false)
  AND (p.xid, p.id) > (k.xid, k.id) AND (p.xid, p.id) <= ($6, $7) LIMIT 1) a`

// run answers for each attempt, as the log has it up to a place.
func (l *pollLooks) run(ctx context.Context, db querier, upTo cursor) ([]bool, error) {
	asked := make([]bool, len(l.attempts))
	if len(asked) == 0 {
		return asked, nil
	}
	rows, _ := db.Query(ctx, askedSQL, l.resource, l.kind, l.since, l.xid, l.id, upTo.xid, [16]byte(upTo.id), notice.ExtensionPrefix)
	var n int64
	_, err := pgx.ForEachRow(rows, []any{&n}, func() error {
		asked[n-1] = true
		return nil
	})
	return asked, err
}

func fetchOf(e *history.Brief) figures.Fetch {
	return figures.Fetch{At: e.At.Unix(), Client: e.Client, Kind: e.ResourceKind}
}

// add takes the next entry of the log about the resource.
func (p *pushed) add(e *history.Brief, out *pushesAsked) {
	id := e.Notification
	switch {
	case isAsked(e):
		p.ask(e, out)
	case id.IsZero():
	case slices.Contains(announcing, e.Kind):
		p.newest, p.delivered = id, false
		p.open[id] = &openPush{fetch: fetchOf(e), manual: e.Kind == history.FactResend}
	case e.Begins:
		if open := p.open[id]; open != nil {
			open.asked = false
		}
	case e.Closes != "":
		open := p.open[id]
		delete(p.open, id)
		if e.Closes != notice.Delivered {
			break
		}
		if id == p.newest {
			p.delivered = true
		}
		switch {
		case open == nil || open.manual:
		case open.asked:
			out.fetched = append(out.fetched, open.fetch)
		default:
			p.unfetched = append(p.unfetched, open.fetch)
		}
	}
}

// ask takes a status query.
func (p *pushed) ask(e *history.Brief, out *pushesAsked) {
	switch {
	case p.newest.IsZero():
		out.polls[e.ID] = figures.PushWithout
	case p.delivered:
		out.polls[e.ID] = figures.PushAfter
	default:
		out.polls[e.ID] = figures.PushBefore
	}
	for _, open := range p.open {
		open.asked = true
	}
	out.fetched = append(out.fetched, p.unfetched...)
	p.unfetched = nil
}
