package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arauto/arauto/internal/watch"
)

// relations knows by object id which table of the mapping a relation of the stream belongs to: the table itself, a partition or
// child of it, or one that was. The lanes of a session share one.
type relations struct {
	mu     sync.Mutex
	tables map[string]*table // by their name in the mapping
	byID   map[uint32]*table
}

func newParts(tables map[string]*table) *relations {
	p := &relations{tables: tables, byID: map[uint32]*table{}}
	for _, t := range tables {
		for _, id := range t.parts {
			p.byID[id] = t
		}
	}
	return p
}

func (p *relations) of(id uint32) *table {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

func (p *relations) add(id uint32, t *table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID[id] = t
}

// adopt takes over the parts that a watermark knows, the former ones included.
func (p *relations) adopt(w *watermark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, f := range w.Tables {
		if t := p.tables[name]; t != nil {
			for _, id := range slices.Concat(f.ids(), f.Former) {
				p.byID[id] = t
			}
		}
	}
}

// stop is an ErrGap at a place in the log.
type stop struct {
	at pglogrepl.LSN
	error
}

// Unwrap is the ErrGap.
func (s *stop) Unwrap() error { return s.error }

// tableOf finds the followed table that a relation of the stream belongs to; nil: it is none of ours, and its rows are
// passed over and counted. A relation that is not known is looked up in the catalogue as it is now. Where it cannot be told
// from a part of a followed table, the error is an ErrGap: its rows are never confirmed.
func (l *slotStream) tableOf(ctx context.Context, d described) (*table, error) {
	if t := l.parts.of(d.id); t != nil {
		return t, nil
	}
	if len(l.parts.tables) == 0 {
		return nil, nil
	}
	l.stuck.Store(true) // it may take a moment, in which the connection is silent
	defer l.stuck.Store(false)
	kin, err := l.kinOf(ctx, d.id)
	if err != nil {
		return nil, err
	}
	for _, id := range kin.Above {
		if t := l.parts.of(id); t != nil {
			l.log.InfoContext(ctx, "a new partition or child is followed", "table", t.name, "partition", sqlName(d.schema, d.name))
			l.parts.add(d.id, t)
			return t, nil
		}
	}
	name := sqlName(d.schema, d.name)
	if kin.Named != "" {
		return nil, fmt.Errorf("table %s of the mapping is another one now, or new: %w", kin.Named, errChanged)
	}
	if kin.Is && kin.Covered {
		l.log.WarnContext(ctx, "the publication has a table that the mapping has not: its rows are passed over", "relation", name)
		return nil, nil
	}
	for _, t := range l.parts.alike(d) {
		f := finding{
			table: t.name, id: unknownID(d.id), again: true,
			text: fmt.Sprintf(saidStranger, name, d.id, t.name),
		}
		if open := l.unaccepted([]finding{f}); len(open) > 0 {
			return nil, l.gapError(open)
		}
	}
	l.log.WarnContext(ctx, "rows came of a relation that is not there now, or not published any more, and cannot have been a part of a followed table", "relation", name)
	return nil, nil
}

// alike lists the tables with partitions or children of which a relation may have been one: it has all their columns.
func (p *relations) alike(d described) (all []*table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tables {
		several := 0
		for _, other := range p.byID {
			if other == t {
				several++
			}
		}
		if several < 2 && !t.partitioned {
			continue
		}
		lacks := slices.ContainsFunc(t.columns, func(c watch.Column) bool {
			return !slices.ContainsFunc(d.columns, func(other describedColumn) bool { return other.name == c.Name })
		})
		if !lacks {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *table) int { return cmp.Compare(a.name, b.name) })
	return all
}

// kin is what the catalogue says of a relation of the stream.
type kin struct {
	Is      bool     `json:"is"`      // it is there
	Covered bool     `json:"covered"` // it is published by itself
	Above   []uint32 `json:"above"`   // itself, and the tables whose partition or child it is
	Named   string   `json:"named"`   // the mapping's name for it; "": none
}

const selectKin = `
WITH RECURSIVE up AS (
  SELECT $1::oid AS id UNION SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.id
)
SELECT json_build_object('is', EXISTS (SELECT FROM pg_class WHERE oid = $1::oid),
  'covered', EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $2 AND (p.puballtables
     OR EXISTS (SELECT FROM pg_publication_rel pr WHERE pr.prpubid = p.oid AND pr.prrelid IN (SELECT id FROM up)) %s)),
  'above', (SELECT json_agg(id::bigint) FROM up),
  'named', coalesce((SELECT asked.mapped FROM unnest($3::text[], $4::text[]) AS asked(mapped, name) WHERE ` + askedID + ` = $1::oid LIMIT 1), ''))`

const kinInSchema = `OR EXISTS (SELECT FROM pg_publication_namespace pn JOIN pg_class c ON c.relnamespace = pn.pnnspid
     WHERE pn.pnpubid = p.oid AND c.oid IN (SELECT id FROM up))`

// unseenFor is how long a relation that the log tells of may stay invisible: a commit is in the log a moment before others
// can see it, and longer where it waits for a standby.
const unseenFor = time.Second

// kinOf looks a relation up, in a view of the database in which the transaction that is read is committed.
func (l *slotStream) kinOf(ctx context.Context, id uint32) (kin, error) {
	var k kin
	for began := time.Now(); ; {
		schemas := kinInSchema
		if l.old.Load() {
			schemas = ""
		}
		batch := &pgconn.Batch{}
		batch.ExecParams(fmt.Sprintf(selectKin, schemas), [][]byte{
			fmt.Append(nil, id), []byte(l.config.Publication), arrayOf(l.options.Tables), arrayOf(quotedTables(l.options.Tables)),
		}, nil, nil, nil)
		rows, err := l.query(ctx, batch, []uint32{l.now.xid})
		if err == nil {
			err = json.Unmarshal(rows[0].Rows[0][0], &k)
		}
		if err != nil {
			return kin{}, fmt.Errorf("look up relation %d: %w", id, err)
		}
		if k.Is || time.Since(began) > unseenFor {
			return k, nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return kin{}, err
		}
	}
}

// truncated reads a TRUNCATE. No state follows from it, as from a deleted row, so it is counted and passed over; but where
// a deleted row means something, nobody tells which rows there were.
func (l *slotStream) truncated(ctx context.Context, at pglogrepl.LSN, c *byteCursor) error {
	n := int(c.uint32())
	c.uint8() // CASCADE, RESTART IDENTITY
	for range n {
		if c.bad {
			break
		}
		t := l.parts.of(c.uint32())
		if t == nil {
			continue
		}
		l.truncates.Add(1)
		l.log.WarnContext(ctx, "a table was truncated: nothing follows from it", "table", t.name, "position", position(at))
		if !slices.Contains(l.options.Erasing, t.name) {
			continue
		}
		f := finding{
			table: t.name, id: "truncate " + at.String(), again: true,
			text: fmt.Sprintf(saidTruncated, t.name),
		}
		if open := l.unaccepted([]finding{f}); len(open) > 0 {
			return l.gapError(open)
		}
	}
	return c.end("truncate")
}
