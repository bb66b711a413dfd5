package auditlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store"
)

// How many tiles of leaves one read follows up to the signed root. A page of neighbours in the log has a dozen; what lies
// beyond is compared with its leaf only, and is not counted as proven.
const (
	tilesOfPage = 64
	tilesOfOne  = 1024
)

// comparison holds entries that a read shows against the log. It is made by compareWithLog.
type comparison struct {
	size   int64        // of the log; 0: nothing is sealed
	faults []string     // damage of the log's own tables
	states []entryState // in the order of the entries
}

// logEnd is how far the log goes.
type logEnd struct {
	audit.SignedHead        // zero when nothing is sealed, or when the newest checkpoint is damaged
	size             int64  // by the newest checkpoint, or by the positions when that is damaged
	next             int64  // the next transaction to be
	fault            string // why the newest checkpoint is no proof
}

// entryState is how one entry stands to the log.
type entryState struct {
	seq      *int64
	failed   string // why it is not what was sealed; "": it is, or it is not sealed yet
	verified bool   // its hash is the leaf of its position
	proven   bool   // and that leaf leads to the signed root
	extra    bool   // failed, and another row in its place is what was sealed
}

// unreadable notes that the entry's facts cannot be read. The product writes no such facts, so somebody else wrote them, and they
// are sealed as they are. Nothing can be judged by them, which must not keep anybody from reading the other entries.
func (s *entryState) unreadable() { s.failed = cmp.Or(s.failed, "its facts cannot be read") }

// compareWithLog holds entries, in any order, against the sealed log. The entries must have been read by an earlier statement than
// the end of the log, or in the same snapshot: what is sealed meanwhile is then not missed. It never fails because of what
// is stored: damage is in the comparison. An error means that the database did not answer.
//
// It takes a few statements for the positions (findPositions) and one for the tree.
func compareWithLog(ctx context.Context, q querier, end *logEnd, entries []audit.Entry, tiles int) (*comparison, error) {
	c := &comparison{size: end.size, states: make([]entryState, len(entries))}
	if end.fault != "" {
		c.faults = append(c.faults, end.fault)
	}
	if len(entries) == 0 || c.size == 0 {
		return c, nil
	}
	order := make([]int, len(entries)) // of the entries, as they are sealed
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return placed(&entries[a]).compare(placed(&entries[b])) })
	sorted := make([]audit.Entry, len(entries))
	for i, n := range order {
		sorted[i] = entries[n]
	}
	ends, err := positionsAt(ctx, q, []int64{0, c.size - 1})
	if err != nil {
		return nil, err
	}
	last, there := ends[c.size-1]
	if _, first := ends[0]; !there || !first {
		c.fail("the first or the last position of the log is missing", order)
		return c, nil
	}
	positions, err := findBetween(ctx, q, sorted, c.size, ends)
	if errors.Is(err, store.ErrTampered) {
		c.fail(err.Error(), order)
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	leaves := make([]*audit.Hash, len(entries))
	for i, n := range order {
		leaves[n] = c.states[n].judge(&sorted[i], positions[i], last.at, end.next)
	}
	c.twins(sorted, order)
	if len(c.faults) > 0 {
		return c, nil // there is no signed root to lead to
	}
	return c, c.root(ctx, q, end.Checkpoint, leaves, tiles)
}

// readEnd reads the newest checkpoint and the next transaction. A checkpoint that is not signed with the registered key is
// no error: then leaves are compared and nothing is proven.
func readEnd(ctx context.Context, q querier) (*logEnd, error) {
	var end logEnd
	var note string
	err := q.QueryRow(ctx, `SELECT k.public, c.size, c.note, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
FROM log_checkpoint c LEFT JOIN log_key k ON true ORDER BY c.size DESC LIMIT 1`).Scan((*[]byte)(&end.Public), &end.size, &note, &end.next)
	if errors.Is(err, pgx.ErrNoRows) {
		return &end, nil
	}
	if err != nil {
		return nil, err
	}
	end.Note = []byte(note)
	if end.Checkpoint, err = audit.OpenCheckpoint(end.Note, end.Public); err == nil && end.Checkpoint.Size != end.size {
		err = fmt.Errorf("it was signed for %d entries", end.Checkpoint.Size)
	}
	if err == nil {
		return &end, nil
	}
	end.SignedHead = audit.SignedHead{}
	end.fault = fmt.Sprintf("the newest checkpoint, of %d entries, is no proof: %v", end.size, err)
	// A checkpoint that was put in may claim any size; the positions say how far the log goes.
	var size pgtype.Int8
	if err := q.QueryRow(ctx, "SELECT least(max(seq), 9223372036854775806) + 1 FROM log_position").Scan(&size); err != nil {
		return nil, err
	}
	end.size = size.Int64
	return &end, nil
}

// compareNow is compareWithLog with the end of the log as it is now.
func compareNow(ctx context.Context, q querier, entries []audit.Entry, tiles int) (*comparison, error) {
	if len(entries) == 0 {
		return &comparison{}, nil
	}
	end, err := readEnd(ctx, q)
	if err != nil {
		return nil, err
	}
	return compareWithLog(ctx, q, end, entries, tiles)
}

// fail notes damage of the log's own tables, under which no entry can be compared.
func (c *comparison) fail(why string, all []int) {
	c.faults = append(c.faults, why)
	for _, n := range all {
		c.states[n].failed = "it cannot be compared: " + why
	}
}

// judge compares one entry with its position and returns its leaf when they agree.
func (s *entryState) judge(e *audit.Entry, p *position, last cursor, next int64) *audit.Hash {
	switch {
	case p != nil:
		s.seq = &p.seq
		leaf := audit.Leaf(e.AppendRecord(nil, p.seq))
		if leaf != p.leaf {
			s.failed = "it is not what was sealed"
			break
		}
		if s.failed = e.PrivateFault(); s.failed == "" {
			s.verified = true
			return &leaf
		}
	case placed(e).compare(last) <= 0:
		s.failed = "it has no position in the log, and younger entries have: it was put in, or its position was removed"
	case e.XID >= next:
		s.failed = "it claims a transaction that has not begun: it was put in or altered"
	default:
		s.failed = e.PrivateFault()
	}
	return nil
}

// twins judges rows that claim the same place: one at most is what was sealed.
func (c *comparison) twins(sorted []audit.Entry, order []int) {
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && placed(&sorted[to]) == placed(&sorted[from]) {
			to++
		}
		genuine := slices.IndexFunc(order[from:to], func(n int) bool { return c.states[n].verified })
		for i, n := range order[from:to] {
			s := &c.states[n]
			switch {
			case to-from == 1 || i == genuine:
			case genuine >= 0:
				s.verified, s.extra, s.failed = false, true, "a second row in the place of a sealed entry: it was put in"
			case s.failed == "":
				s.failed = "two rows have the same place: one of them was put in"
			}
		}
		from = to
	}
}

// root follows leaves up to the signed root.
func (c *comparison) root(ctx context.Context, q querier, head audit.Checkpoint, leaves []*audit.Hash, most int) error {
	var want []audit.Tile
	for i, s := range c.states {
		if !s.verified || leaves[i] == nil || len(want) == most {
			continue
		}
		if t := audit.LeafTile(*s.seq); !slices.Contains(want, t) {
			want = append(want, t)
		}
	}
	if len(want) == 0 {
		return nil
	}
	tiles, err := readTiles(ctx, q, audit.TilesAbove(want, head.Size), head.Size)
	if err != nil {
		return err
	}
	rooted := tiles.Rooted(want, head.Size, head.Root)
	for i := range c.states {
		s := &c.states[i]
		if !s.verified {
			continue
		}
		is, looked := rooted[audit.LeafTile(*s.seq)]
		if leaf, there := tiles.Leaf(*s.seq); looked && is && there && leaf == *leaves[i] {
			s.proven = true
		} else if looked {
			s.verified, s.failed = false, "its leaf, or one of the 255 around it, does not lead to the root that was signed at "+head.At.String()
		}
	}
	return nil
}

// readTiles reads tiles as a tree of that size has them, in one statement.
func readTiles(ctx context.Context, q querier, which []audit.Tile, size int64) (audit.Tiles, error) {
	var leaves, numbers []int64
	var levels []int16
	for _, t := range which {
		if t.Level == 0 {
			leaves = append(leaves, t.N)
		} else {
			levels, numbers = append(levels, int16(t.Level)), append(numbers, t.N)
		}
	}
	rows, _ := q.Query(ctx, `SELECT 0::smallint, t.n, (SELECT string_agg(p.leaf, ''::bytea ORDER BY p.seq) FROM log_position p WHERE p.seq >= t.n << 8 AND p.seq < least((t.n + 1) << 8, $2))
FROM unnest($1::bigint[]) AS t(n)
UNION ALL SELECT t.level, t.n, (SELECT string_agg(l.hash, ''::bytea ORDER BY l.n) FROM log_node l WHERE l.level = t.level AND l.n >= t.n << 8 AND l.n < least((t.n + 1) << 8, $2::bigint >> t.level::integer))
FROM unnest($3::smallint[], $4::bigint[]) AS t(level, n)`, leaves, size, levels, numbers)
	out := make(audit.Tiles, len(which))
	var t audit.Tile
	var all []byte
	_, err := pgx.ForEachRow(rows, []any{&t.Level, &t.N, &all}, func() error {
		hashes := make([]audit.Hash, 0, len(all)/len(audit.Hash{}))
		for one := range slices.Chunk(all, len(audit.Hash{})) {
			if len(one) == len(audit.Hash{}) {
				hashes = append(hashes, audit.Hash(one))
			}
		}
		out[t] = hashes
		return nil
	})
	return out, err
}

// account is what the comparison says of some entries, by their numbers.
func (c *comparison) account(entries []audit.Entry, which ...int) history.Integrity {
	out := history.Integrity{Checkpoint: c.size}
	for _, n := range which {
		s := &c.states[n]
		switch {
		case s.failed != "":
			id := entries[n].ID
			out.Fail(history.FailedEntry{Seq: s.seq, EntryID: &id, At: entries[n].At.Time(), Reason: s.failed})
		case s.verified:
			out.Verified++
			if s.proven {
				out.Proven++
			}
		default:
			out.Unsealed++
		}
	}
	return out
}

// damage is what the comparison says of the log's own tables.
func (c *comparison) damage() history.Integrity {
	out := history.Integrity{Checkpoint: c.size}
	for _, why := range c.faults {
		out.Fail(history.FailedEntry{Reason: why})
	}
	return out
}
