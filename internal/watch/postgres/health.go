package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/arauto/arauto/internal/watch"
)

// state is what Health tells, and what a session knows of the core's clock.
type state struct {
	mu       sync.Mutex
	doing    string        // what takes its time before the stream begins
	halted   string        // why Read stopped until a person decides; "": it did not
	until    pglogrepl.LSN // where; 0: before the stream began
	findings []watch.SourceFinding
	notes    []string
	problems []string
	offset   time.Duration // the core's clock minus ours
	known    bool          // the offset was measured
}

// halt keeps why Read stopped, where that is for a person to decide.
func (s *state) halt(err error) {
	if !errors.Is(err, ErrGap) && !errors.Is(err, ErrLost) && !errors.Is(err, ErrOther) {
		return
	}
	at := pglogrepl.LSN(0)
	if stopped, is := errors.AsType[*stop](err); is {
		at = stopped.at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted, s.until, s.findings = err.Error(), at, nil
	if gap, is := errors.AsType[*membershipGap](err); is {
		s.findings = findingsOf(gap.found)
	}
}

// steady says that a comparison passed, and how far the stream was done with: what stopped Read before is over once the
// stream is past it.
func (s *state) steady(done pglogrepl.LSN, notes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = notes
	if done > s.until {
		s.halted, s.findings = "", nil
	}
}

// Findings lists what stopped Read and can be accepted by its code; none: it did not stop, or there is another way to go on.
func (r *Reader) Findings() []watch.SourceFinding {
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	return slices.Clone(r.state.findings)
}

// Halted reports whether Read stopped until a person decides (ErrGap, ErrLost, ErrOther), and goes on telling it until a
// later Read has passed what stopped it. It may be asked at any time.
func (r *Reader) Halted() bool {
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	return r.state.halted != ""
}

func (s *state) phase(doing string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doing = doing
}

// coreNow is the time by the core's clock, once that is known.
func (s *state) coreNow() (now time.Time, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.offset), s.known
}

// Health lists what an operator should see, though Read goes on: log that is held back, a slot without a bound, a
// snapshot on its way. Empty: all is well.
func (r *Reader) Health() []string {
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	var found []string
	if r.state.halted != "" {
		found = append(found, "stopped until a person decides: "+r.state.halted)
	}
	if r.state.doing != "" {
		found = append(found, r.state.doing)
	}
	return slices.Concat(found, r.state.notes, r.state.problems)
}

// vital is what one look at the server tells.
type vital struct {
	now       time.Time
	end       pglogrepl.LSN // of the log
	confirmed pglogrepl.LSN
	status    string
	safe      *int64 // bytes that may still be written before the slot is lost; nil: no bound
	keep      int64  // max_slot_wal_keep_size in MB; -1: no bound
}

func (r *Reader) look(ctx context.Context, slot string) (vital, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var v vital
	err := r.queryRow(ctx, `
		SELECT clock_timestamp(), CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
		       coalesce(s.confirmed_flush_lsn, '0/0')::text, coalesce(s.wal_status, ''), s.safe_wal_size,
		       (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
		FROM (VALUES (1)) one LEFT JOIN pg_replication_slots s ON slot_name = $1`, slot).
		Scan(&v.now, &v.end, &v.confirmed, &v.status, &v.safe, &v.keep)
	return v, err
}

// watchOver looks at the server every second: it reports the lag, what is wrong, compares the membership of the followed
// tables, and remembers the position.
func (s *session) watchOver(ctx context.Context, slot string, l *slotStream) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	for {
		asked := time.Now()
		v, err := s.look(ctx, slot)
		if err == nil {
			s.report(slot, v, asked, l)
			err = s.steady(ctx, v.end)
		}
		if errors.Is(err, ErrGap) || errors.Is(err, errChanged) {
			s.fail(err)
		}
		if err == nil {
			position := l.position()
			if err = s.remember(ctx, position); err == nil {
				err = s.useUp(ctx, s.passed(position))
			}
		}
		if err != nil && ctx.Err() == nil && !failing {
			s.log.WarnContext(ctx, "cannot look after the slot", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			s.rememberLast(l)
			return
		case <-tick.C:
		}
	}
}

// rememberLast remembers the last position, also when everything is ending.
func (s *session) rememberLast(l *slotStream) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.remember(ctx, l.position()); err != nil {
		s.log.WarnContext(ctx, "the last position is not remembered", "error", err)
	}
}

// report tells the Hand the lag, and keeps what Health tells.
func (s *session) report(slot string, v vital, asked time.Time, l *slotStream) {
	acked, behind := max(v.confirmed, l.done()), time.Duration(0)
	if _, oldest := l.progress.state(); !oldest.IsZero() {
		behind = max(0, v.now.Sub(oldest))
	}
	lag := int64(0)
	if v.end > acked {
		lag = int64(v.end - acked)
	}
	dangers := s.config.dangers(slot, v, lag)
	s.state.mu.Lock()
	worse := len(dangers) > len(s.state.problems)
	s.state.offset, s.state.known = v.now.Sub(asked.Add(time.Since(asked)/2)), true
	s.state.problems = dangers
	s.state.mu.Unlock()
	if worse {
		s.log.Warn("core's log at risk", "dangers", dangers)
	}
	if s.Halted() { // what waits was not handed over, so no commit time tells how old it is
		behind = -1
	}
	s.to.Lag(lag, behind)
}

// dangers says what is wrong with a slot.
func (c *Config) dangers(slot string, v vital, lag int64) []string {
	var found []string
	if lag > int64(c.MaxLag) {
		found = append(found, fmt.Sprintf("slot %s holds back %s of the database's log, more than max_lag (%s)", slot, Size(lag), c.MaxLag))
	}
	switch v.status {
	case "":
		found = append(found, fmt.Sprintf("slot %s does not exist", slot))
	case "unreserved":
		found = append(found, fmt.Sprintf("slot %s is about to be lost: the server may throw its log away at the next checkpoint", slot))
	case "lost":
		found = append(found, fmt.Sprintf("slot %s is lost: the server threw its log away", slot))
	}
	if v.keep < 0 {
		found = append(found, "the server sets no bound to what a slot holds back: set max_slot_wal_keep_size, or a reader that stays away fills its disk")
	} else if bound := v.keep << 20; v.safe != nil && bound > 0 && *v.safe < bound/4 {
		found = append(found, fmt.Sprintf("slot %s will be lost after %s more of log (max_slot_wal_keep_size is %s)", slot, Size(max(0, *v.safe)), Size(bound)))
	}
	return found
}

// checkMembership tells what would stop Read for fear of lost rows.
func (s *session) checkMembership(ctx context.Context) []error {
	defer s.closeCatalogue()
	if err := s.loadAccepted(ctx); err != nil {
		return []error{err}
	}
	var before *watermark
	if slot, err := s.findSlot(ctx, s.config.Slot); err != nil {
		return []error{err}
	} else if slot != nil && !slot.lost() {
		before = s.remembered()
	}
	m, err := s.lookAtMembership(ctx, before)
	if err != nil {
		return []error{err}
	}
	found, err := s.gaps(ctx, before, m)
	if err != nil {
		return []error{err}
	}
	var all []error
	for _, f := range s.unaccepted(append(found, s.hidden(m)...)) {
		all = append(all, s.gapError([]finding{f}))
	}
	for _, text := range s.renamed(m) {
		all = append(all, fmt.Errorf("%w: %s", ErrGap, text))
	}
	for _, one := range m.bare() {
		all = append(all, noIdentityOf(one))
	}
	return all
}

// Check implements watch.Reader: rights, wal_level, publication, tables, slot, and room for what is to be made.
func (r *Reader) Check(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	found, err := r.checkServer(ctx)
	if err != nil {
		return []error{r.unreached(err)}
	}
	connection, err := r.replication(ctx)
	if err != nil {
		found = append(found, err)
	} else {
		s := &session{Reader: r}
		if err := s.identify(ctx, connection); err != nil {
			found = append(found, err)
		}
		closeConnection(connection)
		found = append(found, s.checkSlot(ctx)...)
		found = append(found, s.checkMembership(ctx)...)
	}
	return append(found, r.checkTables(ctx)...)
}

// checksNoText is the encoding of a database that Read and Check refuse.
const checksNoText = "SQL_ASCII"

var errChecksNoText = errors.New("the encoding of the database is SQL_ASCII, which checks no text: the first row with a text that is not UTF-8 would stop the " +
	"source; move the data into a database whose encoding is UTF8")

func (r *Reader) checkServer(ctx context.Context) (found []error, err error) {
	var version, senders, slots, used int
	var level, encoding string
	err = r.queryRow(ctx, `
		SELECT current_setting('server_version_num')::int, current_setting('wal_level'), current_setting('max_wal_senders')::int,
		       current_setting('max_replication_slots')::int, (SELECT count(*) FROM pg_replication_slots),
		       current_setting('server_encoding')`).
		Scan(&version, &level, &senders, &slots, &used, &encoding)
	if err != nil {
		return nil, err
	}
	refuse := func(wrong bool, err error) {
		if wrong {
			found = append(found, err)
		}
	}
	refuse(version < 140000, fmt.Errorf("the server is of version %d.%d: at least 14 is needed", version/10000, version%10000))
	refuse(encoding == checksNoText, errChecksNoText)
	refuse(level != "logical", fmt.Errorf("wal_level is %s: run ALTER SYSTEM SET wal_level = logical, and restart the server", level))
	refuse(senders < 2, errors.New("max_wal_senders: "+strconv.Itoa(senders)+" is too few: the stream needs one, and a second for its fast lane"))
	refuse(slots < used+1 && r.config.Create, fmt.Errorf("max_replication_slots: all %d are taken: we need one, and two for moments", slots))
	return found, nil
}

// checkSlot tells what of the slot would keep Read from working.
func (s *session) checkSlot(ctx context.Context) []error {
	slot, err := s.findSlot(ctx, s.config.Slot)
	if err != nil {
		return []error{err}
	}
	if slot != nil && slot.lost() && s.config.Snapshot == Again {
		return nil // Read may begin anew; Check changes nothing
	}
	if _, err := s.usable(ctx, nil, slot); err != nil {
		return []error{err}
	}
	return nil
}

func (r *Reader) checkTables(ctx context.Context) []error {
	tables, err := r.tables(ctx)
	if err != nil {
		return []error{err}
	}
	exists, found, err := r.publication(ctx)
	if err != nil {
		return []error{err}
	}
	var missing []*table
	for _, name := range r.options.Tables {
		t := tables[name]
		if t == nil {
			found = append(found, r.noTable(ctx, name))
			continue
		}
		if !t.readable() {
			found = append(found, r.unreadable(t))
		}
		if !t.hasIdentity() {
			found = append(found, noIdentity(t))
		}
		if !t.listed {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 || !exists && len(tables) > 0 {
		found = append(found, r.checkPublication(ctx, exists, missing)...)
	}
	return append(found, r.checkJoined(ctx)...)
}

// checkPublication tells what keeps a publication that is not there, or lacks tables, from being made so.
func (r *Reader) checkPublication(ctx context.Context, exists bool, missing []*table) (found []error) {
	statement := sqlPublication(r.config.Publication, exists, missing)
	if !r.config.Create {
		return []error{fmt.Errorf("publication %s does not carry all tables: let their owner run: %s", r.config.Publication, statement)}
	}
	right := "has_database_privilege(current_database(), 'CREATE')"
	lacks := "make publication %s: GRANT CREATE ON DATABASE to it, or let the tables' owner run: %s"
	if exists {
		right = "(SELECT pg_has_role(pubowner, 'USAGE') FROM pg_publication WHERE pubname = $1)"
		lacks = "change publication %s, which is another's: let its owner run: %s"
	}
	var may bool
	if err := r.queryRow(ctx, "SELECT "+right+" WHERE $1 <> ''", r.config.Publication).Scan(&may); err != nil {
		return []error{fmt.Errorf("ask for the right to make publication %s: %w", r.config.Publication, err)}
	}
	if !may {
		found = append(found, fmt.Errorf("the role may not "+lacks, r.config.Publication, statement))
	}
	for _, t := range missing {
		if !t.owned {
			found = append(found, fmt.Errorf("the role may not publish %s, which is another's: let its owner run: %s", t.name, statement))
		}
	}
	return found
}

// checkJoined tells in which tables no rows can be looked up. One that is not there is the mapping's to name, with its line.
func (r *Reader) checkJoined(ctx context.Context) (found []error) {
	tables, err := r.lookUp(ctx, r.options.Joined)
	if err != nil {
		return []error{err}
	}
	for _, name := range r.options.Joined {
		if t := tables[name]; t != nil && !t.readable() && !slices.Contains(r.options.Tables, name) {
			found = append(found, r.unreadable(t))
		}
	}
	return found
}
