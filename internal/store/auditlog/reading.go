package auditlog

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// readingFacts are what an entry keeps of a reading. Its outcome is the act.
type readingFacts struct {
	System  string            `json:"system"`
	Actor   string            `json:"actor"`
	Role    string            `json:"role"`
	Source  string            `json:"source"` // address and port
	Filter  map[string]string `json:"filter"`
	Size    int64             `json:"size"`
	Rows    int64             `json:"rows"`
	SHA256  string            `json:"sha256,omitempty"`
	Repeats int64             `json:"again,omitempty"` // the same reading that often more, within a minute
}

// plainEntry is an entry about no resource.
type plainEntry struct {
	id            notice.ID
	kind, outcome string
	facts         any // encoded as JSON
}

// add writes the entry through a pool, a connection or a transaction.
func (e plainEntry) add(ctx context.Context, db interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
},
) error {
	text, err := store.Facts(e.facts)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, "INSERT INTO entry (id, kind, outcome, facts) VALUES ($1, $2, $3, $4::json)", store.ToUUID(e.id), e.kind, e.outcome, text)
	return err
}

// RecordReading writes to the history that it was read by somebody who called us, whom the context names
// (notice.Actor). What cannot be recorded must not be handed over (D-3).
func (l *Log) RecordReading(ctx context.Context, r history.LogReading) error {
	c := store.CallerOf(ctx)
	if r.Actor != (history.Actor{}) {
		c = r.Actor
	}
	e := plainEntry{store.NewID(), history.FactAdmin, r.Act, readingFacts{l.system, c.Subject, c.Role, c.Source, filled(r.Filter), r.Size, r.Rows, r.SHA256, r.Repeats}}
	return l.wrote(store.Unavailable("record the reading", e.add(ctx, l.query)))
}

// filled makes an absent filter an empty one.
func filled(filter map[string]string) map[string]string {
	if filter == nil {
		return map[string]string{}
	}
	return filter
}

// RecordReading writes to the history that the user whom the URL names read it: from where, what was asked for, and how much
// was found. It needs the rights of the auditors' role or of the application's. What cannot be recorded must not be handed over (D-3).
func RecordReading(ctx context.Context, url, version string, r history.LogReading) error {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var user string
	var address pgtype.Text
	var port pgtype.Int4
	if err := conn.QueryRow(ctx, "SELECT session_user, host(inet_client_addr()), inet_client_port()").Scan(&user, &address, &port); err != nil {
		return store.Unavailable("record the reading", err)
	}
	from := "local"
	if ip, err := netip.ParseAddr(address.String); err == nil {
		from = netip.AddrPortFrom(ip, uint16(port.Int32)).String()
	}
	e := plainEntry{store.NewID(), history.FactAdmin, r.Act, readingFacts{"arauto audit " + version, user, "database", from, filled(r.Filter), r.Size, r.Rows, r.SHA256, 0}}
	text, err := store.Facts(e.facts)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT record_reading($1, $2::json)", r.Act, text)
	if store.IsCode(err, "42883") { // the schema is older than this command
		err = e.add(ctx, conn)
	}
	if err != nil {
		if store.IsCode(err, "42501") {
			return fmt.Errorf("record the reading: %s may not add to the history, and what is not recorded is not handed over; use a member of %s: %w", user, store.AuditorRole, err)
		}
		return store.Unavailable("record the reading", err)
	}
	return nil
}
