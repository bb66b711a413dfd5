package auditlog

import (
	"context"
	"slices"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// told makes a record of each notification from the entry that made it and those that followed, in the given order, and
// compares every entry with its leaf. An entry that differs counts as it is stored and marks its notification as tampered
// with. A row in the place of a sealed entry that is there as well is left out.
func told(ctx context.Context, q querier, made, followed []audit.Entry) ([]history.Record, map[notice.ID]*history.Record, error) {
	entries := slices.Concat(made, followed)
	tiles := tilesOfPage
	if len(made) == 1 {
		tiles = tilesOfOne
	}
	c, err := compareNow(ctx, q, entries, tiles)
	if err != nil {
		return nil, nil, err
	}
	out := make([]history.Record, 0, len(made))
	index := make(map[notice.ID]*history.Record, len(made))
	order := make([]int, 0, len(entries))
	for i := range made {
		if !c.states[i].extra {
			order = append(order, i)
		}
	}
	for i := range entries { // what was sealed begins a record, not a row that was put in its place
		if i >= len(made) || c.states[i].extra {
			order = append(order, i)
		}
	}
	for _, i := range order {
		if r := tell(&out, index, &entries[i], &c.states[i]); r != nil {
			r.Integrity.Add(c.account(entries, i))
		}
	}
	if len(out) > 0 {
		out[0].Integrity.Add(c.damage()) // once
	}
	return out, index, nil
}

// tell begins or continues the record of an entry's notification and returns it; nil when there is none.
func tell(out *[]history.Record, index map[notice.ID]*history.Record, e *audit.Entry, s *entryState) *history.Record {
	f := history.FactOf(e)
	r, begun := index[f.Notification]
	if s.extra && begun {
		return r
	}
	if f.Kind == history.FactChange || f.Kind == history.FactDecision || f.Kind == history.FactResend {
		fresh, err := history.RecordOf(&f)
		if err != nil { // what is stored cannot be read: its columns are all there is
			s.unreadable()
			fresh.Notification = notice.Notification{
				ID: f.Notification, ChangeID: f.Change, Client: f.Client, Kind: f.ResourceKind, ResourceID: f.ResourceID, Revision: f.Revision,
			}
			fresh.CreatedAt, fresh.Attempts, fresh.State, fresh.Manual = f.At.UTC(), f.FirstAttempt(), notice.Pending, f.Kind == history.FactResend
		}
		if begun { // a second entry that claims to have made it
			r.Tampered = r.Tampered || s.failed != ""
			return r
		}
		*out = append(*out, fresh)
		r = &(*out)[len(*out)-1]
		index[f.Notification] = r
	} else if !begun {
		return nil
	} else if r.Add(&f) != nil {
		s.unreadable()
	}
	r.Tampered = r.Tampered || s.failed != ""
	return r
}

// happened tells a resource's entries, each held against its leaf. It comes after the notifications were read, which count the
// entries that they are told by.
func (l *Log) happened(ctx context.Context, t *history.Timeline, entries []audit.Entry) error {
	c, err := compareNow(ctx, l.query, entries, tilesOfPage)
	if err != nil {
		return err
	}
	t.Integrity.Add(c.damage())
	counted := make(map[notice.ID]bool, len(t.Notifications))
	for i := range t.Notifications {
		counted[t.Notifications[i].ID] = true
	}
	var words history.SharedWords
	for i := range entries {
		f := history.FactOf(&entries[i])
		if _, err := history.BriefOf(&entries[i], &words); err != nil {
			c.states[i].unreadable()
		}
		t.Events = append(t.Events, history.Event{
			ID: f.ID, At: f.At.UTC(), Kind: f.Kind, Client: f.Client, Revision: f.Revision, Notification: f.Notification, ChangeID: f.Change,
			Outcome: string(f.Outcome), Facts: f.Facts, Tampered: c.states[i].failed != "",
		})
		switch f.Kind {
		case history.FactChange, history.FactDecision, history.FactResend, history.FactCancelled:
			if counted[f.Notification] && c.states[i].failed == "" { // Add knows the failed ones
				continue
			}
		}
		t.Integrity.Add(c.account(entries, i))
	}
	return nil
}
