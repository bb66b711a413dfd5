package store

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/ofb"
)

// ExportQuery says which sealed entries are wanted. What is empty does not restrict.
type ExportQuery struct {
	Client       string
	Kind         string // of the resource, such as pix-payment
	Resource     string // id of a payment, consent or enrolment
	Notification string // UUID
	Interaction  string // UUID
	From, To     time.Time
}

// Filter is the query as a bundle's manifest has it; empty for the whole log.
func (q ExportQuery) Filter() map[string]string {
	out := map[string]string{
		"clientId": q.Client, "kind": q.Kind, "resourceId": q.Resource, "notificationId": q.Notification, "interactionId": q.Interaction,
	}
	if !q.From.IsZero() {
		out["from"] = audit.At(q.From).String()
	}
	if !q.To.IsZero() {
		out["to"] = audit.At(q.To).String()
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// Check tells what is wrong with a query.
func (q ExportQuery) Check() error {
	if q.Kind != "" {
		if _, err := ofb.ParseKind(q.Kind); err != nil {
			return fmt.Errorf("kind: %w", err)
		}
	}
	for name, id := range map[string]string{"notification": q.Notification, "interaction": q.Interaction} {
		if _, err := uuid.Parse(id); id != "" && err != nil {
			return fmt.Errorf("%s: %q is not a UUID", name, id)
		}
	}
	return nil
}

// matches tells whether an entry is wanted: the time from From on, up to but without To.
func (q ExportQuery) matches(e *audit.Entry) bool {
	text := func(want string, have *string) bool { return want == "" || have != nil && *have == want }
	id := func(want string, have *audit.UUID) bool {
		return want == "" || have != nil && strings.EqualFold(have.String(), want)
	}
	kind := true
	if q.Kind != "" {
		k, _ := ofb.ParseKind(q.Kind) // judged by Check
		kind = e.ResourceKind != nil && *e.ResourceKind == int16(k)
	}
	return kind && text(q.Client, e.ClientID) && text(q.Resource, e.ResourceID) && id(q.Notification, e.NotificationID) &&
		id(q.Interaction, e.InteractionID) && (q.From.IsZero() || e.At >= audit.At(q.From)) && (q.To.IsZero() || e.At < audit.At(q.To))
}

// narrow is the index that finds what is wanted without walking the log, if there is one.
func (q ExportQuery) narrow() (where string, arg any) {
	switch {
	case q.Interaction != "":
		return "interaction_id = $1", q.Interaction
	case q.Notification != "":
		return "notification_id = $1", q.Notification
	case q.Resource != "":
		return "resource_id = $1", q.Resource
	}
	return "", nil
}

// Exporter reads the log as of one checkpoint, in one snapshot of the database.
type Exporter struct {
	conn       *pgx.Conn
	tx         pgx.Tx
	Public     ed25519.PublicKey
	Checkpoint audit.Checkpoint
	Note       []byte // the checkpoint as signed
}

// ErrNoCheckpoint means that nothing is sealed yet, or that no checkpoint has the size asked for.
var ErrNoCheckpoint = errors.New("there is no such checkpoint")

// OpenExport connects as whoever the URL names, who needs SELECT on the proof and the history. The log is read as of the
// checkpoint of the given size; 0 is the newest. With the same size the same query always gives the same entries.
func OpenExport(ctx context.Context, url string, size int64) (*Exporter, error) {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return nil, err
	}
	x := &Exporter{conn: conn}
	if err := x.open(ctx, size); err != nil {
		x.Close(ctx)
		return nil, unavailable("open the log", err)
	}
	return x, nil
}

func (x *Exporter) open(ctx context.Context, size int64) (err error) {
	if x.tx, err = x.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		return err
	}
	var key []byte
	var signed string
	err = x.tx.QueryRow(ctx, `SELECT k.public, c.note FROM log_key k, log_checkpoint c WHERE $1 = 0 OR c.size = $1 ORDER BY c.size DESC LIMIT 1`, size).Scan(&key, &signed)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoCheckpoint
	}
	if err != nil {
		return err
	}
	x.Public, x.Note = key, []byte(signed)
	x.Checkpoint, err = audit.OpenCheckpoint(x.Note, x.Public)
	return err
}

// Close ends the reading.
func (x *Exporter) Close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if x.tx != nil {
		_ = x.tx.Rollback(ctx) // it only read
	}
	_ = x.conn.Close(ctx)
}

// Exported is one line of an export: an entry, or what is left of one that was removed when its time was over.
type Exported struct {
	Seq   int64
	Entry *audit.Entry  // nil: removed
	At    audit.Instant // of the entry
	Leaf  audit.Hash    // as stored
}

// Record is the line itself.
func (e *Exported) Record(b []byte) []byte {
	if e.Entry == nil {
		return audit.AppendRemoved(b, e.Seq, e.At, e.Leaf)
	}
	return e.Entry.AppendRecord(b, e.Seq)
}

// Each hands over what the query finds, in the order of the log. Removed entries are part of the whole log only.
func (x *Exporter) Each(ctx context.Context, q ExportQuery, each func(*Exported) error) error {
	if where, arg := q.narrow(); where != "" {
		return x.search(ctx, q, where, arg, each)
	}
	whole := len(q.Filter()) == 0
	last := before
	for seq := int64(0); seq < x.Checkpoint.Size; {
		positions, err := readPositions(ctx, x.tx, seq, int(min(walkBatch, x.Checkpoint.Size-seq)))
		if err != nil {
			return unavailable("read positions", err)
		}
		if len(positions) == 0 {
			return fmt.Errorf("%w: position %d is missing", ErrTampered, seq)
		}
		end := positions[len(positions)-1]
		entries, err := readEntries(ctx, x.tx, last, end.at, 2*walkBatch)
		if err != nil {
			return unavailable("read entries", err)
		}
		if err := merge(positions, entries, q, whole, each); err != nil {
			return err
		}
		last, seq = end.at, end.seq+1
	}
	return nil
}

// merge pairs positions with entries; both are in the order of (xid, id).
func merge(positions []position, entries []audit.Entry, q ExportQuery, whole bool, each func(*Exported) error) error {
	for i := range positions {
		p := &positions[i]
		out := Exported{Seq: p.seq, At: p.time, Leaf: p.leaf}
		for len(entries) > 0 && (cursor{entries[0].XID, entries[0].ID}).compare(p.at) < 0 {
			entries = entries[1:]
		}
		if len(entries) > 0 && (cursor{entries[0].XID, entries[0].ID}) == p.at {
			out.Entry, entries = &entries[0], entries[1:]
		}
		if !whole && (out.Entry == nil || !q.matches(out.Entry)) {
			continue
		}
		if err := each(&out); err != nil {
			return err
		}
	}
	return nil
}

// search finds a few entries by an index of the history, and their positions by their time.
func (x *Exporter) search(ctx context.Context, q ExportQuery, where string, arg any, each func(*Exported) error) error {
	rows, err := x.tx.Query(ctx, entrySelect+"WHERE "+where, arg)
	if err != nil {
		return unavailable("search the history", err)
	}
	entries, err := scanEntries(rows)
	if err != nil {
		return unavailable("search the history", err)
	}
	slices.SortFunc(entries, func(a, b audit.Entry) int { return cursor{a.XID, a.ID}.compare(cursor{b.XID, b.ID}) })
	for i := range entries {
		e := &entries[i]
		if !q.matches(e) {
			continue
		}
		out := Exported{Entry: e, At: e.At}
		var leaf []byte
		err := x.tx.QueryRow(ctx, "SELECT seq, leaf FROM log_position WHERE at = $1 AND xid = $2 AND id = $3 AND seq < $4",
			e.At.Time(), e.XID, [16]byte(e.ID), x.Checkpoint.Size).Scan(&out.Seq, &leaf)
		if errors.Is(err, pgx.ErrNoRows) {
			continue // younger than the checkpoint, or tampered with, which verify tells
		}
		if err != nil {
			return unavailable("find a position", err)
		}
		copy(out.Leaf[:], leaf)
		if err := each(&out); err != nil {
			return err
		}
	}
	return nil
}

// At reads the entry at one position. ErrNotFound when the log is shorter or the entry was removed.
func (x *Exporter) At(ctx context.Context, seq int64) (*Exported, error) {
	if seq < 0 || seq >= x.Checkpoint.Size {
		return nil, ErrNotFound
	}
	positions, err := readPositions(ctx, x.tx, seq, 1)
	if err != nil {
		return nil, unavailable("read a position", err)
	}
	if len(positions) == 0 || positions[0].seq != seq {
		return nil, fmt.Errorf("%w: position %d is missing", ErrTampered, seq)
	}
	p := positions[0]
	rows, err := x.tx.Query(ctx, entrySelect+"WHERE xid = $1 AND id = $2 AND at = $3", p.at.xid, [16]byte(p.at.id), p.time.Time())
	if err != nil {
		return nil, unavailable("read an entry", err)
	}
	entries, err := scanEntries(rows)
	if err != nil {
		return nil, unavailable("read an entry", err)
	}
	if len(entries) != 1 {
		return nil, ErrNotFound
	}
	return &Exported{Seq: seq, Entry: &entries[0], At: p.time, Leaf: p.leaf}, nil
}

// Prove makes the proof that an entry is in the log as of the checkpoint.
func (x *Exporter) Prove(ctx context.Context, seq int64) ([]audit.Hash, error) {
	path, err := audit.ProveInclusion(stored{ctx, x.tx}, seq, x.Checkpoint.Size)
	if err != nil {
		return nil, unavailable("prove", stored{}.judge(err))
	}
	return path, nil
}

// Checkpoints reads all signed notes up to the checkpoint, that one last.
func (x *Exporter) Checkpoints(ctx context.Context) ([][]byte, error) {
	rows, err := x.tx.Query(ctx, "SELECT note FROM log_checkpoint WHERE size <= $1 ORDER BY size", x.Checkpoint.Size)
	if err != nil {
		return nil, unavailable("read checkpoints", err)
	}
	notes, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, unavailable("read checkpoints", err)
	}
	return notes, nil
}

// Reading is what the log keeps of somebody who read it (cases N3).
type Reading struct {
	Act    string // export, proof or dossier
	Filter map[string]string
	Size   int64 // of the log that was read
	Rows   int64
	SHA256 string // of what was handed over
}

// RecordReading writes to the history that it was read: by whom, from where, what was asked for, how much was found and
// what it was. It needs the rights of the application's role; what cannot be recorded must not be handed over (D-3).
func RecordReading(ctx context.Context, url, version string, r Reading) error {
	conn, err := auditConn(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var user string
	var address pgtype.Text
	var port pgtype.Int4
	if err := conn.QueryRow(ctx, "SELECT session_user, host(inet_client_addr()), inet_client_port()").Scan(&user, &address, &port); err != nil {
		return unavailable("record the reading", err)
	}
	from := "local"
	if ip, err := netip.ParseAddr(address.String); err == nil {
		from = netip.AddrPortFrom(ip, uint16(port.Int32)).String()
	}
	facts, err := json.Marshal(map[string]any{
		"system": "arauto audit " + version, "actor": user, "role": "database", "source": from,
		"filter": r.Filter, "size": r.Size, "rows": r.Rows, "sha256": r.SHA256,
	})
	if err != nil {
		return fmt.Errorf("record the reading: %w", err)
	}
	if _, err := conn.Exec(ctx, "INSERT INTO entry (id, kind, outcome, facts) VALUES ($1, $2, $3, $4::json)", NewID().String(), entryAdmin, r.Act, string(facts)); err != nil {
		if isCode(err, "42501") {
			return fmt.Errorf("record the reading: %s may not add to the history, and what is not recorded is not handed over; use a member of %s: %w", user, role, err)
		}
		return unavailable("record the reading", err)
	}
	return nil
}
