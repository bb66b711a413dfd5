package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// probeWithin bounds a probe: it writes three rows and takes them back.
const probeWithin = 3 * time.Second

// Probe tells whether changes and registrations can be stored now: it runs the statements of Record with a made-up change,
// its first attempt and a made-up case of the quarantine, makes an initiator, and rolls back. nil proves that rights, schema, partitions, triggers and room for small rows are
// there. It leaves dead rows behind, so it is for times of trouble: after a failure, and before a source is read again.
func (s *Store) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	conn, err := s.intake.Acquire(ctx)
	if err != nil {
		return s.noteFault(actRecord, Unavailable("take an intake connection", err))
	}
	defer conn.Release()
	return s.noteFault(actRecord, s.probeOn(ctx, conn))
}

// probeOn is Probe on a connection that is in no transaction. Any failure is an outage: the change was ours.
func (s *Store) probeOn(ctx context.Context, conn *pgxpool.Conn) error {
	defer rollback(conn)
	now := time.Now()
	id := NewID()
	made := &notice.Change{
		ID: id, Kind: ofb.PixPayment, ResourceID: "probe-" + id.String(), Client: "probe", APIVersion: "v5", Revision: 1, OccurredAt: now,
		Cause: ofb.Holder, State: ofb.ResourceState{Status: ofb.PixPayment.Initial()}, Document: []byte("{}"), Source: "probe", Actor: "probe", ReceivedAt: now,
	}
	aside := *made
	aside.ID, aside.Line = NewID(), []byte("{}")
	pasts, began, key, err := lockPasts(ctx, conn, []*notice.Change{made})
	if err != nil {
		return probeFailed(err)
	}
	announcement := &notice.Announcement{OccurredAt: now}
	announcement.ID, announcement.Client, announcement.Kind, announcement.ResourceID = NewID(), made.Client, made.Kind, made.ResourceID
	announcement.APIVersion, announcement.Event, announcement.EventAt = made.APIVersion, ofb.DataChanged, now
	w := newWriter(s, began, now, key)
	defer w.free()
	err = errors.Join(
		w.add(made, &pasts[0], &notice.Decision{Verdict: notice.Applied, Current: true, Announce: announcement, Timer: &ofb.Timer{Rule: "probe", Deadline: now.Add(time.Hour)}}),
		w.add(&aside, &pasts[0], &notice.Decision{Verdict: notice.Quarantined, Problems: []notice.Problem{{Code: "probe"}}}))
	if err != nil {
		return probeFailed(err)
	}
	w.addFirst(&notice.Attempt{
		Notification: announcement.ID, Token: NewID(), Interaction: NewID(), Flight: NewID(), Client: made.Client, Kind: made.Kind, ResourceID: made.ResourceID, Number: 1,
	}, time.Minute)
	w.replaced.add(made, 0, pasts[0].Packed, w.found(made))
	w.announced.add(made, 0)
	w.companies[Company{"", "probe"}] = struct{}{}
	batch := &pgx.Batch{}
	w.queue(batch)
	batch.Queue("INSERT INTO initiator (client_id, organisation_id, software_id, name, push) VALUES ($1, 'probe', 'probe', 'probe', false)", "probe-"+id.String())
	batch.Queue("SET CONSTRAINTS ALL IMMEDIATE")
	batch.Queue("rollback")
	if err := sendAll(ctx, conn, batch); err != nil {
		return probeFailed(err)
	}
	return nil
}

// probeReading tells whether a reading can be recorded now: it writes a made-up one, and rolls back.
func (s *Store) probeReading(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	tx, err := s.query.Begin(ctx)
	if err != nil {
		return Unavailable("take a query connection", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, "INSERT INTO entry (id, kind, outcome, facts) VALUES ($1, 'admin', 'probe', '{}')", ToUUID(NewID())); err != nil {
		return probeFailed(err)
	}
	return nil
}

func probeFailed(err error) error {
	cause := CauseOf(err)
	if cause == CauseRecord { // the record is ours and good: a constraint, a trigger or a missing partition refuses every one
		cause = CauseSchema
	}
	return fmt.Errorf("write a made-up change: %w: %w", outage{cause: cause}, err)
}

// blame says whose fault a failed write of n rows is. conn is in no transaction. The result is an ErrUnavailable unless
// the rows are to blame: then it is the failure itself. Of several rows the one to blame is not known yet, and each must be
// tried alone. Of one row it is proven: a write of ours to the same tables succeeds right after it.
func (s *Store) blame(conn *pgxpool.Conn, doing string, n int, err error) error {
	cause := CauseOf(err)
	if cause != CauseRecord && cause != CauseUnknown || errors.Is(err, context.Canceled) {
		return Unavailable(doing, err)
	}
	if n == 1 {
		ctx, cancel := context.WithTimeout(context.Background(), probeWithin)
		defer cancel()
		if failed := s.probeOn(ctx, conn); failed != nil {
			return fmt.Errorf("%s: %w; then: %w", doing, errOnly(err), failed)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// errOnly keeps the text of an error and not its type, so that nobody takes it for the cause.
func errOnly(err error) error { return errors.New(err.Error()) }

// isRace tells whether another replica made the same resource or revision first. What is stored is seen by the next try.
func isRace(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case "40001", "40P01":
		return true
	case "23505":
		return strings.HasPrefix(pg.TableName, "resource") || strings.HasPrefix(pg.TableName, "revision")
	}
	return false
}

// DatabaseFault is a failure of our database that goes on.
type DatabaseFault struct {
	Cause FaultCause
	Since time.Time
	Text  string // of the newest failure
}

// Acts of which faults are remembered, one by one: a success of one says nothing about the others.
const (
	actRecord  = "store changes"
	actClaim   = "claim"
	actSettle  = "settle"
	actPoll    = "store polls"
	actHistory = "record who reads the history"
	actWrite   = "write" // what the catalog says of our tables and rights
)

// FaultActs lists the acts that Faults may name.
func FaultActs() []string {
	return []string{actRecord, actClaim, actSettle, actPoll, actHistory, actWrite}
}

// faults are what is wrong with each act that writes.
type faults struct {
	mu  sync.Mutex
	all map[string]DatabaseFault
}

// noteFault remembers how a write ended, and returns err. A record's own failure and a held lock are no fault of the
// database.
func (s *Store) noteFault(act string, err error) error {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if err == nil {
		delete(s.faults.all, act)
		return nil
	}
	var known outage
	if !errors.As(err, &known) || known.cause == CauseContention {
		return err
	}
	f := DatabaseFault{known.cause, time.Now(), err.Error()}
	if before, there := s.faults.all[act]; there && before.Cause == f.Cause {
		f.Since = before.Since
	}
	if s.faults.all == nil {
		s.faults.all = map[string]DatabaseFault{}
	}
	s.faults.all[act] = f
	return err
}

// Faults lists what keeps this replica from writing, by act: empty when the last write of each kind succeeded and Writable
// found nothing.
func (s *Store) Faults() map[string]DatabaseFault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return maps.Clone(s.faults.all)
}

// written lists the tables that serve writes, and what it reads to write them, with the rights it needs.
var written = map[string][]string{
	"entry": {"SELECT", "INSERT"}, "revision": {"SELECT", "INSERT"}, "initiator": {"SELECT", "INSERT", "UPDATE"},
	"resource": {"SELECT", "INSERT", "UPDATE", "DELETE"}, "queue": {"SELECT", "INSERT", "UPDATE", "DELETE"},
	"flight": {"SELECT", "INSERT", "UPDATE", "DELETE"}, "timer": {"SELECT", "INSERT", "UPDATE", "DELETE"}, "quarantine": {"SELECT", "INSERT", "UPDATE"},
	"poll_replayed": {"SELECT", "INSERT", "DELETE"}, "log_position": {"SELECT", "INSERT"}, "log_node": {"SELECT", "INSERT"}, "log_cosignature": {"SELECT", "INSERT"},
	"log_checkpoint": {"SELECT", "INSERT"}, "source": {"SELECT", "INSERT", "UPDATE"}, "source_memory": {"SELECT", "INSERT", "UPDATE", "DELETE"},
	"find_cnpj": {"SELECT", "INSERT"}, "keyring": {"SELECT"},
}

// Writable tells whether our role may write what serve writes, and whether the tables are there. It reads the catalog
// only, and notes what it finds as a fault. When the last change or the last reading could not be stored it probes as well, so that a
// fault does not outlive its cause.
func (s *Store) Writable(ctx context.Context) error {
	var tables, rights []string
	for _, table := range slices.Sorted(maps.Keys(written)) {
		for _, right := range written[table] {
			tables, rights = append(tables, table), append(rights, right)
		}
	}
	rows, _ := s.query.Query(ctx, `SELECT v.t, v.p, to_regclass(v.t) IS NULL FROM unnest($1::text[], $2::text[]) AS v(t, p)
WHERE to_regclass(v.t) IS NULL OR NOT (has_table_privilege(to_regclass(v.t), v.p) OR v.p <> 'DELETE' AND has_any_column_privilege(to_regclass(v.t), v.p))`, tables, rights)
	var missing, lacking []string
	var table, right string
	var absent bool
	_, err := pgx.ForEachRow(rows, []any{&table, &right, &absent}, func() error {
		if absent {
			missing = append(missing, table)
		} else {
			lacking = append(lacking, right+" on "+table)
		}
		return nil
	})
	switch {
	case err != nil:
		err = Unavailable("ask for our rights", err)
		if _, failing := s.Faults()[actRecord]; failing { // perhaps for another cause, and sources wait with the next change
			return s.noteFault(actRecord, err)
		}
		return err
	case len(missing) > 0:
		return s.noteFault(actWrite, fmt.Errorf("no table %s: %w", strings.Join(slices.Compact(missing), ", "), outage{cause: CauseSchema}))
	case len(lacking) > 0:
		return s.noteFault(actWrite, fmt.Errorf("no right to %s: %w", strings.Join(lacking, ", "), outage{cause: CauseRights}))
	}
	_ = s.noteFault(actWrite, nil)
	all := s.Faults()
	_, record := all[actRecord]
	_, reading := all[actHistory]
	if reading {
		_ = s.noteFault(actHistory, s.probeReading(ctx)) // changes can be stored all the same
	}
	if record {
		return s.Probe(ctx)
	}
	return nil
}
