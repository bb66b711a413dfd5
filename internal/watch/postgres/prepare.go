package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/watch"
)

// note is what Memory keeps: which database this is, and how far we were.
type note struct {
	System     string `json:"system"`   // the cluster's identifier, made by initdb
	Timeline   int32  `json:"timeline"` // grows with each promotion and each recovery to a point in time
	Database   string `json:"database"`
	Slot       string `json:"slot"`
	Generation int64  `json:"generation"`
	Position   string `json:"position"` // acknowledged

	Followed *watermark `json:"followed,omitempty"` // of the tables, at the position or after it
}

// identify compares the database with the one remembered. Revisions are positions, so it must be the same log, further on.
func (s *session) identify(ctx context.Context, connection *pgconn.PgConn) error {
	bounded, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	var err error
	if s.system, err = pglogrepl.IdentifySystem(bounded, connection); err != nil {
		return fmt.Errorf("identify the database: %w", err)
	}
	if s.options.Memory == nil {
		return nil
	}
	text, err := s.options.Memory.Recall(bounded)
	if err != nil {
		return fmt.Errorf("recall the database: %w", err)
	}
	if text == nil {
		return nil
	}
	s.known = &note{}
	if err := json.Unmarshal(text, s.known); err != nil {
		return fmt.Errorf("recall the database: %w", err)
	}
	if s.options.Generation > s.known.Generation {
		s.log.WarnContext(bounded, "a new generation: whatever database this is, it is taken as it is", "generation", s.options.Generation)
		s.known = nil
		return nil
	}
	return s.sameLog(bounded, connection)
}

func (s *session) sameLog(ctx context.Context, connection *pgconn.PgConn) error {
	const cure = "if that is meant, drop the slot if it is there, raise the mapping's generation and set snapshot: again"
	k := s.known
	if k.System != s.system.SystemID || k.Database != s.system.DBName {
		return fmt.Errorf("%w: it was database %s of cluster %s and is %s of %s; %s", ErrOther, k.Database, k.System, s.system.DBName, s.system.SystemID, cure)
	}
	position, err := pglogrepl.ParseLSN(k.Position)
	if err != nil {
		return fmt.Errorf("recall the database: position %q: %w", k.Position, err)
	}
	if s.system.XLogPos < position {
		return fmt.Errorf("%w: it was at %s and is at %s, as after a restore or the promotion of a standby that lagged; %s", ErrOther, position, s.system.XLogPos, cure)
	}
	if s.system.Timeline <= k.Timeline {
		return nil
	}
	history, err := pglogrepl.TimelineHistory(ctx, connection, s.system.Timeline)
	if err != nil {
		return fmt.Errorf("read the history of timeline %d: %w", s.system.Timeline, err)
	}
	if fork := forked(history.Content, k.Timeline); fork != 0 && fork < position {
		return fmt.Errorf("%w: it was at %s when its log goes another way since %s, as after a restore or the promotion of a standby that lagged; %s", ErrOther, position, fork, cure)
	}
	return nil
}

// forked finds where a timeline was left, in a history file: lines of timeline, position and reason. 0: nowhere.
func forked(history []byte, timeline int32) pglogrepl.LSN {
	for line := range strings.Lines(string(history)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(fields[0], 10, 32); err != nil || int32(n) < timeline {
			continue
		}
		if at, err := pglogrepl.ParseLSN(fields[1]); err == nil {
			return at
		}
	}
	return 0
}

// remember writes down where we are.
func (s *session) remember(ctx context.Context, position pglogrepl.LSN) error {
	if s.options.Memory == nil {
		return nil
	}
	n := note{
		System: s.system.SystemID, Timeline: s.system.Timeline, Database: s.system.DBName, Slot: s.config.Slot,
		Generation: s.options.Generation, Position: position.String(), Followed: s.followed,
	}
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if string(text) == s.noted {
		return nil
	}
	if err := s.options.Memory.Remember(ctx, text); err != nil {
		return fmt.Errorf("remember the position: %w", err)
	}
	s.known, s.noted = &n, string(text)
	return nil
}

// resume is where to go on. The slot knows it too, but a crash of the server sets that back to its last checkpoint.
func (s *session) resume() pglogrepl.LSN {
	if s.known == nil || s.known.Slot != s.config.Slot {
		return 0
	}
	at, err := pglogrepl.ParseLSN(s.known.Position)
	if err != nil {
		return 0
	}
	return at
}

// loading is the name of the slot while its snapshot is read. The slot proper is a copy of it, made when the snapshot is
// wholly ours: so it exists exactly when the snapshot is complete, even when a replica died meanwhile.
func loading(slot string) string { return slot + "_loading" }

// prepare sees to publication and slot, and reads the snapshot if this is the first time.
func (s *session) prepare(ctx context.Context, connection *pgconn.PgConn, tables map[string]*table) error {
	slot, err := s.findSlot(ctx, s.config.Slot)
	if err != nil {
		return err
	}
	if slot, err = s.usable(ctx, connection, slot); err != nil {
		return err
	}
	var before *watermark // a new slot has nothing to go on from
	if slot != nil {
		before = s.remembered()
		if _, err := s.compare(ctx, before); err != nil { // before a table is put into the publication again
			return err
		}
	}
	if err := s.publish(ctx, connection, tables); err != nil {
		return err
	}
	missed, err := s.begin(ctx, before, tables)
	if err != nil {
		return err
	}
	if slot != nil {
		if err := s.release(ctx, slot); err != nil {
			return err
		}
		if err := dropSlot(ctx, connection, loading(s.config.Slot)); err != nil {
			return err
		}
		if err := s.readAgain(ctx, connection, tables, missed); err != nil {
			return err
		}
		return s.remember(ctx, max(slot.confirmed, s.resume()))
	}
	if s.config.Snapshot == Never {
		_, err = pglogrepl.CreateReplicationSlot(ctx, connection, s.config.Slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{SnapshotAction: "NOEXPORT_SNAPSHOT"})
		if err != nil {
			return s.explain(fmt.Errorf("create slot %s: %w", s.config.Slot, err))
		}
		s.log.InfoContext(ctx, "slot created, without a snapshot: rows that do not change stay unknown")
	} else if err := s.snapshot(ctx, connection, tables); err != nil {
		return err
	}
	return s.remember(ctx, s.system.XLogPos)
}

// usable returns the slot if it can be read, nil if it may be made, and otherwise says what is the matter.
func (s *session) usable(ctx context.Context, connection *pgconn.PgConn, slot *slotState) (*slotState, error) {
	const cure = "Its changes since then cannot be had. Set snapshot: again (with create: true) to begin anew with the rows as they are: " +
		"each row's present state is then compared with what is known; a state that came and went in between is not seen"
	since := ""
	if s.known != nil && s.known.Slot == s.config.Slot {
		since = s.known.Position
	}
	switch {
	case slot == nil && since != "" && s.config.Snapshot != Again:
		return nil, fmt.Errorf("%w: slot %s, read up to %s, does not exist any more. %s", ErrLost, s.config.Slot, since, cure)
	case slot == nil && !s.config.Create:
		return nil, fmt.Errorf("slot %s does not exist. Set create: true, or let a DBA run: %s", s.config.Slot, sqlSlot(s.config.Slot))
	case slot == nil:
		if since != "" {
			s.log.WarnContext(ctx, "the slot was lost and is begun anew: what changed since and changed again is not seen", "since", since)
		}
		return nil, nil
	case slot.plugin != "pgoutput" || slot.database != s.system.DBName:
		return nil, fmt.Errorf("slot %s is of plugin %s and database %s, not pgoutput and %s: name another slot", s.config.Slot, slot.plugin, slot.database, s.system.DBName)
	case slot.lost() && s.config.Snapshot != Again:
		return nil, fmt.Errorf("%w: slot %s, read up to %s, fell behind by more than max_slot_wal_keep_size and the server threw its log away. %s",
			ErrLost, s.config.Slot, slot.confirmed, cure)
	case slot.lost():
		s.log.WarnContext(ctx, "the slot was lost and is begun anew: what changed since and changed again is not seen", "since", slot.confirmed.String())
		return nil, dropSlot(ctx, connection, s.config.Slot)
	}
	return slot, nil
}

// release waits until the server has given up on the slot's last reader, which we outlive by the lease.
func (s *session) release(ctx context.Context, slot *slotState) (err error) {
	deadline := time.Now().Add(patience + time.Second)
	for ; slot != nil && slot.active; slot, err = s.findSlot(ctx, s.config.Slot) {
		if err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("slot %s is in use by process %d of the server, which is not one of ours: %w", s.config.Slot, slot.process, watch.ErrElsewhere)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// slotState is a row of pg_replication_slots.
type slotState struct {
	plugin, database, status string
	active                   bool
	process                  int
	restart, confirmed       pglogrepl.LSN
}

func (s *slotState) lost() bool { return s.status == "lost" }

// findSlot returns nil when there is no such slot.
func (r *Reader) findSlot(ctx context.Context, name string) (*slotState, error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	var s slotState
	err := r.queryRow(ctx, `
		SELECT plugin::text, database::text, coalesce(wal_status, 'lost'), active, coalesce(active_pid, 0),
		       coalesce(restart_lsn::text, '0/0'), coalesce(confirmed_flush_lsn::text, '0/0')
		FROM pg_replication_slots WHERE slot_name = $1 AND slot_type = 'logical'`, name).
		Scan(&s.plugin, &s.database, &s.status, &s.active, &s.process, &s.restart, &s.confirmed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at slot %s: %w", name, err)
	}
	return &s, nil
}

// dropSlot drops a slot of ours; one that is not there is no error.
func dropSlot(ctx context.Context, connection *pgconn.PgConn, name string) error {
	err := pglogrepl.DropReplicationSlot(ctx, connection, name, pglogrepl.DropReplicationSlotOptions{Wait: true})
	if err != nil && code(err) != "42704" {
		return fmt.Errorf("drop slot %s: %w", name, err)
	}
	return nil
}

// explain adds to an error of the server what a DBA can do about it.
func (s *session) explain(err error) error {
	switch code(err) {
	case "55000":
		return fmt.Errorf("%w (the server needs wal_level = logical and a restart)", err)
	case "53400":
		return fmt.Errorf("%w (raise max_replication_slots, or drop slots that nobody reads)", err)
	case "42501":
		return fmt.Errorf("%w (the role lacks a right; let a DBA run: %s)", err, sqlSlot(s.config.Slot))
	}
	return err
}

// publish makes sure that the publication carries the mapping's tables.
func (s *session) publish(ctx context.Context, connection *pgconn.PgConn, tables map[string]*table) error {
	exists, problems, err := s.publication(ctx)
	if err != nil {
		return err
	}
	var missing []*table
	for _, name := range s.options.Tables {
		if t := tables[name]; t != nil && !t.listed {
			missing = append(missing, t)
		}
		if t := tables[name]; t != nil && !t.hasIdentity() {
			problems = append(problems, noIdentity(t))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if len(tables) == 0 {
		return fmt.Errorf("none of the mapping's tables exists: %s", strings.Join(s.options.Tables, ", "))
	}
	if exists && len(missing) == 0 {
		return nil
	}
	statement := sqlPublication(s.config.Publication, exists, missing)
	if !s.config.Create {
		return fmt.Errorf("publication %s does not carry the mapping's tables. Set create: true, or let the tables' owner run: %s", s.config.Publication, statement)
	}
	if _, err := connection.Exec(ctx, statement).ReadAll(); err != nil {
		return fmt.Errorf("make the publication (let the tables' owner run: %s): %w", statement, err)
	}
	for _, t := range missing {
		t.listed = true
	}
	s.log.InfoContext(ctx, "publication made to carry the mapping's tables", "publication", s.config.Publication)
	return nil
}

// publication reports whether it exists, and what is wrong with it.
func (r *Reader) publication(ctx context.Context) (exists bool, problems []error, err error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	var inserts, updates bool
	err = r.queryRow(ctx, "SELECT pubinsert, pubupdate FROM pg_publication WHERE pubname = $1", r.config.Publication).Scan(&inserts, &updates)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, fmt.Errorf("look at publication %s: %w", r.config.Publication, err)
	}
	if !inserts || !updates {
		problems = append(problems, fmt.Errorf("publication %s does not publish inserts and updates: let its owner run: ALTER PUBLICATION %s SET (publish = 'insert, update, delete')",
			r.config.Publication, pgx.Identifier{r.config.Publication}.Sanitize()))
	}
	return true, problems, nil
}

// hasIdentity reports whether the server can name a changed row. Once published, a table without would refuse the core's
// own updates.
func (t *table) hasIdentity() bool {
	return t.identity == 'f' || t.identity == 'i' || t.identity == 'd' && len(t.primary) > 0
}

func noIdentity(t *table) error {
	return fmt.Errorf("%s has no primary key that changes could be told by, and once published it would refuse the core's updates: add a key, or ALTER TABLE %s REPLICA IDENTITY FULL", t.name, t.sql())
}

// sqlPublication is the statement that makes a publication carry the tables.
func sqlPublication(name string, exists bool, missing []*table) string {
	var names []string
	for _, t := range missing {
		names = append(names, t.sql())
	}
	slices.Sort(names)
	quoted := pgx.Identifier{name}.Sanitize()
	if exists {
		return "ALTER PUBLICATION " + quoted + " ADD TABLE " + strings.Join(names, ", ")
	}
	return "CREATE PUBLICATION " + quoted + " FOR TABLE " + strings.Join(names, ", ") + " WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
}

func sqlSlot(name string) string {
	return "SELECT pg_create_logical_replication_slot('" + name + "', 'pgoutput')"
}
