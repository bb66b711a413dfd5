package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/watch"
)

// ErrGap says that rows of a followed table may be missing from the stream, or that a row came of a relation that cannot
// be told from a followed table. Read stops and confirms nothing beyond that point. The error names each finding, its
// cure, and the word by which Config.Accept and Options.Accepted go on.
var ErrGap = errors.New("rows of a followed table may be missing")

// shortHash is enough of a hash to tell findings apart.
func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// loadAccepted reads which findings persons have accepted, besides those of the settings.
func (r *Reader) loadAccepted(ctx context.Context) error {
	if r.options.Accepted == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	codes, err := r.options.Accepted(ctx)
	if err != nil {
		return fmt.Errorf("read which findings are accepted: %w", err)
	}
	r.accepted.Store(&codes)
	return nil
}

// returned lists the codes of findings that a person accepted, that were not found by the comparison before, and that are found now:
// what was accepted had ended, so this is another event.
func (s *session) returned(found []finding) (codes []string) {
	accepted := s.accepted.Load()
	if accepted == nil {
		return nil
	}
	for _, f := range found {
		same := func(other finding) bool { return other.token() == f.token() }
		if slices.Contains(*accepted, f.token()) && !slices.ContainsFunc(s.standing, same) && !slices.Contains(codes, f.token()) {
			codes = append(codes, f.token())
		}
	}
	return codes
}

// passed lists the codes of findings that a person accepted and that are behind: position, which is remembered, is past what the
// log had when the session began, and the last comparison did not find them. Before that the stream may still meet one of them.
func (s *session) passed(position pglogrepl.LSN) (codes []string) {
	accepted := s.accepted.Load()
	if accepted == nil || position < s.system.XLogPos {
		return nil
	}
	for _, code := range *accepted {
		if !slices.ContainsFunc(s.standing, func(f finding) bool { return f.token() == code }) {
			codes = append(codes, code)
		}
	}
	return codes
}

// useUp ends the acceptances of these codes by persons, so that the same cause stops the source again when it comes again.
func (s *session) useUp(ctx context.Context, codes []string) error {
	if len(codes) == 0 {
		return nil
	}
	if s.options.UseUp != nil {
		ctx, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		if err := s.options.UseUp(ctx, codes); err != nil {
			return fmt.Errorf("note that accepted findings are used up: %w", err)
		}
	}
	left := slices.DeleteFunc(slices.Clone(*s.accepted.Load()), func(code string) bool { return slices.Contains(codes, code) })
	s.accepted.Store(&left)
	s.log.InfoContext(ctx, "accepted findings are used up: the same cause stops the source again", "findings", codes)
	return nil
}

// unaccepted leaves out the findings that the settings or a person accept.
func (r *Reader) unaccepted(found []finding) []finding {
	codes := r.config.Accept
	if more := r.accepted.Load(); more != nil {
		codes = slices.Concat(codes, *more)
	}
	return slices.DeleteFunc(slices.Clone(found), func(f finding) bool { return slices.Contains(codes, f.token()) })
}

// findingsOf lists findings for people, each code once.
func findingsOf(found []finding) (all []watch.SourceFinding) {
	for _, f := range found {
		if one := (watch.SourceFinding{Code: f.token(), Text: f.text, TextPT: portugueseOf(f.text)}); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// membershipGap is an ErrGap with its findings.
type membershipGap struct {
	found []finding
	error
}

// Unwrap is the ErrGap.
func (g *membershipGap) Unwrap() error { return g.error }

// gapError is ErrGap with all findings; nil when there are none.
func (r *Reader) gapError(found []finding) error {
	if len(found) == 0 {
		return nil
	}
	var texts, tokens []string
	for _, f := range found {
		if !slices.Contains(tokens, f.token()) {
			texts, tokens = append(texts, fmt.Sprintf("%s [accept: %s]", f.text, f.token())), append(tokens, f.token())
		}
	}
	again := "With create: true and snapshot: initial, the tables named are then read again as they are, and the stream goes on"
	if r.config.Snapshot == Never {
		again = "The tables are not read again (snapshot: never): what was missed stays unknown"
	}
	return &membershipGap{found, fmt.Errorf("%w: %s. Mend the cause, then set accept: [%s] in the source's postgres settings and restart the replicas, or accept it on the console's page of sources. %s",
		ErrGap, strings.Join(texts, "; "), strings.Join(tokens, ", "), again)}
}

// confirmLimit is how far the log may be confirmed: to where the membership was last known to be as it should.
type confirmLimit struct{ at atomic.Uint64 }

func (l *confirmLimit) raise(at pglogrepl.LSN) { l.at.Store(max(l.at.Load(), uint64(at))) }

// of caps a position. A nil limit caps nothing.
func (l *confirmLimit) of(at pglogrepl.LSN) pglogrepl.LSN {
	if l == nil {
		return at
	}
	return min(at, pglogrepl.LSN(l.at.Load()))
}

// remembered is the watermark that the stream of our slot goes on from; nil: there is none.
func (s *session) remembered() *watermark {
	if s.known == nil || s.known.Slot != s.config.Slot {
		return nil
	}
	return s.known.Followed
}

// lookAtMembership looks with an own connection that is made anew when it broke.
func (s *session) lookAtMembership(ctx context.Context, before *watermark) (*membership, error) {
	if s.catalogue == nil || s.catalogue.IsClosed() {
		connection, err := s.dial(ctx, "catalogue", map[string]string{"statement_timeout": milliseconds(soon)}, readOnly)
		if err != nil {
			return nil, err
		}
		s.catalogue = connection
	}
	return s.membership(ctx, s.catalogue, before)
}

// gaps lists why rows may have been lost since a watermark, those that the settings accept included.
func (r *Reader) gaps(ctx context.Context, before *watermark, m *membership) ([]finding, error) {
	found, fresh := r.lost(before, m)
	if before != nil {
		for _, f := range before.Missed {
			if !m.hasPart(f.ID) {
				found = append(found, finding{table: f.Table, id: f.ID, text: f.Text, again: true})
			}
		}
	}
	for _, one := range fresh {
		filled, why, err := r.filled(ctx, m, one)
		if err != nil {
			return nil, err
		}
		if filled != "" {
			table := r.options.Tables[one.Table-1]
			found = append(found, finding{table: table, id: partID(one, why), text: filled, again: true})
		}
	}
	return found, nil
}

// filled reports whether a new part of a table has rows that were written before it was a part, or before it was published:
// the log tells such rows of no table that we follow. "": it has none. Rows are told apart by the transaction, and within
// one by the command, that wrote them. A transaction that had begun before and wrote afterwards counts as before: to be
// asked for nothing is better than to lose a row.
func (r *Reader) filled(ctx context.Context, m *membership, one *tableMember) (text string, why partCause, err error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	from, where := "ONLY "+one.sql(), "true"
	if root := m.of(one.Table)[0]; one.Parent != 0 { // the right to read the root suffices, and the bounds lead to the partition
		from = root.sql()
		if err := r.queryRow(ctx, "SELECT coalesce(pg_get_partition_constraintdef($1::bigint::oid), 'true')", int64(one.ID)).Scan(&where); err != nil {
			return "", "", fmt.Errorf("look up the bounds of %s: %w", one.sql(), err)
		}
	}
	tables, schemas := "{}", "{}"
	if one.late {
		tables, schemas = entryIDs(m.cover(one), "table "), entryIDs(m.cover(one), "schema ")
	}
	entries := "SELECT xmin, cmin FROM pg_publication_namespace WHERE oid = ANY($4::oid[])"
	if r.old.Load() {
		entries = "SELECT xmin, cmin FROM pg_publication_rel WHERE oid = ANY($4::oid[])"
	}
	rewritten := one.Filenode != one.ID // after ALTER TABLE … SET LOGGED no row tells that it was written unlogged
	var older bool
	err = r.queryRow(ctx, "SELECT EXISTS (SELECT FROM "+from+" AS r WHERE r.tableoid = $1::bigint::oid AND ("+where+`) AND ($2::boolean OR EXISTS (
		SELECT FROM (SELECT xmin, cmin FROM pg_inherits WHERE inhrelid = $1::bigint::oid
		             UNION ALL SELECT xmin, cmin FROM pg_publication_rel WHERE oid = ANY($3::oid[]) UNION ALL `+entries+`) s
		WHERE age(r.xmin) > age(s.xmin) OR r.xmin = s.xmin AND r.cmin::text::bigint < s.cmin::text::bigint)))`,
		int64(one.ID), rewritten, tables, schemas).Scan(&older)
	table := r.options.Tables[one.Table-1]
	switch {
	case code(err) == "57014" || code(err) == "42501" || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return fmt.Sprintf(saidUnreadable, one.sql(), table, err), causeUnreadable, nil
	case err != nil:
		return "", "", fmt.Errorf("look for rows of %s from before it was a part of %s: %w", one.sql(), table, err)
	case older && rewritten:
		return fmt.Sprintf(saidRewritten, one.sql(), table), causeRewritten, nil
	case older:
		why = causeAttached
		if one.late {
			why = causeUnpublished
		}
		return fmt.Sprintf(saidAttached, one.sql(), table), why, nil
	}
	return "", "", nil
}

// entryIDs are the object ids of a kind of entries, as an array of the server.
func entryIDs(entries []string, kind string) string {
	var ids []string
	for _, e := range entries {
		if id, is := strings.CutPrefix(e, kind); is {
			ids = append(ids, id)
		}
	}
	return "{" + strings.Join(ids, ",") + "}"
}

// compare holds the membership as it is now against a watermark. It returns what the settings accept, and an ErrGap for
// the rest.
func (s *session) compare(ctx context.Context, before *watermark) (accepted []finding, err error) {
	m, err := s.lookAtMembership(ctx, before)
	if err != nil {
		return nil, err
	}
	if names := s.renamed(m); len(names) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrGap, strings.Join(names, "; "))
	}
	if accepted, err = s.gaps(ctx, before, m); err != nil || before == nil {
		return nil, err
	}
	hidden := slices.DeleteFunc(s.hidden(m), func(f finding) bool { return strings.HasPrefix(f.id, ofPart) }) // publish may mend it
	return accepted, s.refuse(ctx, before, s.resume(), slices.Concat(accepted, hidden))
}

// refuse is the ErrGap for findings that the settings do not accept; nil: there are none. They are remembered, so that a
// mended cause does not hide what was missed. position is what is confirmed.
func (s *session) refuse(ctx context.Context, before *watermark, position pglogrepl.LSN, found []finding) error {
	open := s.unaccepted(found)
	if len(open) == 0 {
		return nil
	}
	if before != nil {
		s.followed = before.missing(open)
		if err := s.remember(ctx, position); err != nil {
			return err
		}
	}
	return s.gapError(open)
}

// keepGap remembers the findings that ended a session. Those that the stream told are in no catalogue: without the note,
// Check could not name them. It is called when the goroutines of the session have ended.
func (s *session) keepGap(err error) {
	of, is := errors.AsType[*membershipGap](err)
	if !is || s.main == nil || s.followed == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	s.followed = s.followed.missing(of.found)
	if err := s.remember(ctx, s.main.position()); err != nil {
		s.log.WarnContext(ctx, "what stopped the source is not remembered yet, and arauto check does not list it", "error", err)
	}
}

// begin compares once more, now that the publication is as it should be, and takes the membership as the one that the
// session goes on from. It returns the findings that the settings accept.
func (s *session) begin(ctx context.Context, before *watermark, tables map[string]*table) (accepted []finding, err error) {
	if accepted, err = s.compare(ctx, before); err != nil {
		return nil, err
	}
	m, err := s.lookAtMembership(ctx, before)
	if err != nil {
		return nil, err
	}
	hidden := s.hidden(m)
	if err := s.refuse(ctx, before, s.resume(), hidden); err != nil {
		return nil, err
	}
	s.followed, s.standing = s.watermark(before, m), slices.Concat(accepted, hidden)
	for name, t := range tables {
		if f := s.followed.Tables[name]; f == nil || f.ID != t.id {
			return nil, fmt.Errorf("table %s: %w", name, errChanged)
		}
	}
	s.compared = s.system.XLogPos
	s.limit.raise(s.compared)
	s.describe(ctx, tables)
	return accepted, nil
}

// unmoved reports whether the tables named have the same members, published alike, and whether none of them was truncated or
// rewritten in between: either would make a snapshot from before read it as empty.
func (r *Reader) unmoved(before, now *membership, names []string) bool {
	list := func(m *membership) (all []string) {
		for i, name := range r.options.Tables {
			for _, one := range m.of(i + 1) {
				if slices.Contains(names, name) {
					all = append(all, fmt.Sprint(one.ID, one.Filenode, one.sql(), m.cover(one), m.filter(one)))
				}
			}
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(list(before), list(now))
}

// errChanged ends a session that began with tables that are others now; the next one begins with them.
var errChanged = errors.New("the followed tables changed while they were looked at; the session begins again")

// steady compares the membership with the one before, each second. When all is well it raises the limit, to a position
// that was reached before the comparison before this one: a change of the catalogue is in the log a moment before others
// can see it. ErrGap and errChanged end the session; another error means that nothing could be compared, and nothing more
// is confirmed meanwhile. end is the server's position, asked for before.
func (s *session) steady(ctx context.Context, end pglogrepl.LSN) error {
	m, err := s.lookAtMembership(ctx, s.followed)
	if err != nil {
		return err
	}
	found, err := s.gaps(ctx, s.followed, m)
	if err != nil {
		return err
	}
	hidden := s.hidden(m)
	found = append(found, hidden...)
	if err := s.useUp(ctx, s.returned(found)); err != nil {
		return err
	}
	if err := s.refuse(ctx, s.followed, s.main.position(), found); err != nil {
		return err
	}
	s.standing = found
	now := s.watermark(s.followed, m)
	for name, t := range now.Tables {
		if s.followed.Tables[name] != nil {
			continue
		}
		delete(now.Tables, name) // it was not there when the session began
		if len(t.Parts) > 1 || len(t.Parts[""]) == 0 {
			return fmt.Errorf("table %s is there now: %w", name, errChanged)
		}
	}
	s.followed = now
	s.main.parts.adopt(now)
	s.limit.raise(s.compared)
	s.compared = end
	s.state.steady(s.main.done(), s.notes(m, hidden))
	return nil
}

// notes are what an operator should see of the membership, though the source goes on. hidden are findings that are accepted.
func (s *session) notes(m *membership, hidden []finding) (all []string) {
	all = s.renamed(m)
	for _, f := range hidden {
		all = append(all, fmt.Sprintf("the source goes on although this is so, because it is accepted [%s]: %s", f.token(), f.text))
	}
	for _, one := range m.bare() {
		all = append(all, noIdentityOf(one).Error())
	}
	if p := m.Publication; p.ID != 0 && !p.Truncs && len(s.options.Erasing) > 0 {
		all = append(all, fmt.Sprintf("publication %s does not publish truncates: a TRUNCATE of %s would not be noticed; ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate')",
			s.config.Publication, strings.Join(s.options.Erasing, ", "), pgx.Identifier{s.config.Publication}.Sanitize()))
	}
	return all
}

// renamed names the tables that are known by their object id and have another name now.
func (r *Reader) renamed(m *membership) (all []string) {
	for i, name := range r.options.Tables {
		path := identifier(name)
		if of := m.of(i + 1); len(of) > 0 && of[0].Name != path[len(path)-1] {
			all = append(all, fmt.Sprintf("table %s is named %s now: name it so in the mapping before the next start", name, of[0].sql()))
		}
	}
	return all
}

// bare lists the members whose changed rows the server cannot name: it refuses the core's own updates of them.
func (m *membership) bare() (all []*tableMember) {
	for _, one := range m.Members {
		if one.holdsRows() && one.Kind == "r" && !one.Root && (one.Identity == "n" || one.Identity == "d" && !one.Keyed) {
			all = append(all, one)
		}
	}
	return all
}

func noIdentityOf(one *tableMember) error {
	return fmt.Errorf("%s has no primary key or replica identity that changes could be told by, so the server refuses the core's updates of it: add a key, or ALTER TABLE %s REPLICA IDENTITY FULL", one.sql(), one.sql())
}

func (s *session) closeCatalogue() {
	if s.catalogue != nil {
		closeConnection(s.catalogue)
		s.catalogue = nil
	}
}

// readAgain reads the tables in which rows may be missing, as the settings accepted it.
func (s *session) readAgain(ctx context.Context, connection *pgconn.PgConn, tables map[string]*table, accepted []finding) error {
	var names []string
	for _, f := range accepted {
		s.log.WarnContext(ctx, "rows may be missing, and the settings accept it", "table", f.table, "finding", f.text)
		if f.again && tables[f.table] != nil && !slices.Contains(names, f.table) {
			names = append(names, f.table)
		}
	}
	if len(names) == 0 || s.config.Snapshot == Never {
		return nil
	}
	slices.Sort(names)
	if err := s.load(ctx, connection, tables, names); err != nil {
		return err
	}
	return dropSlot(ctx, connection, loading(s.config.Slot))
}
