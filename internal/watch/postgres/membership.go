package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// membership is what the core's catalogue says about which rows of the followed tables the stream carries. Comparing two
// of them finds changes for which no message ever comes: a table that was taken out of the publication, made again, or
// given a partition that is not published.
type membership struct {
	Publication publication    `json:"publication"`
	Members     []*tableMember `json:"members"`

	byID map[uint32]*tableMember
}

// publication is a row of pg_publication; its zero value: there is none.
type publication struct {
	ID      uint32 `json:"id"`
	All     bool   `json:"all"` // FOR ALL TABLES
	Inserts bool   `json:"inserts"`
	Updates bool   `json:"updates"`
	Deletes bool   `json:"deletes"`
	Truncs  bool   `json:"truncates"`
	ViaRoot bool   `json:"viaRoot"` // publish_via_partition_root
}

// tableMember is a followed table, a partition or child of one, or a table above one.
type tableMember struct {
	Table       int    `json:"at"`    // of Options.Tables, from 1
	Above       bool   `json:"above"` // the followed table is its partition
	Root        bool   `json:"root"`  // it is the followed table itself
	ID          uint32 `json:"id"`
	Parent      uint32 `json:"up"` // whose partition it is; 0: it is none
	Schema      string `json:"schema"`
	Name        string `json:"name"`
	Kind        string `json:"kind"`        // pg_class.relkind: r, p (partitioned) or f (foreign)
	Persistence string `json:"persistence"` // p, u (unlogged) or t
	Identity    string `json:"identity"`    // d, f, i or n, as in described
	Keyed       bool   `json:"keyed"`       // it has a primary key
	Listed      uint32 `json:"listed"`      // pg_publication_rel.oid: another one each time it is added; 0: not listed itself
	Filter      string `json:"filter"`      // hash of the row filter of that entry; "": none
	InSchema    uint32 `json:"inSchema"`    // pg_publication_namespace.oid of its schema; 0: not listed
	Filenode    uint32 `json:"filenode"`    // another one after TRUNCATE or a rewrite

	late bool // it is published since its own entry only, not since it is a part of the table
}

func (m *tableMember) sql() string { return pgx.Identifier{m.Schema, m.Name}.Sanitize() }

func (m *tableMember) holdsRows() bool { return m.Kind != "p" && !m.Above }

// selectMembership reads no table but the catalogue, and takes no lock on the core's tables: it never waits for a change
// of a table, nor keeps one waiting. $1 are the tables' names as SQL, $2 their object ids when their name was known last (0:
// unknown), $3 the publication.
const selectMembership = `
WITH RECURSIVE root AS (
  SELECT asked.at::int AS at, c.oid AS id
  FROM unnest($1::text[], $2::oid[]) WITH ORDINALITY AS asked(name, known, at)
  JOIN pg_class c ON c.oid = coalesce(` + askedID + `, asked.known)
  WHERE c.relkind IN ('r', 'p')
), below AS (
  SELECT at, id FROM root
  UNION
  SELECT b.at, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.id
), above AS (
  SELECT r.at, i.inhparent AS id FROM root r JOIN pg_class c ON c.oid = r.id AND c.relispartition JOIN pg_inherits i ON i.inhrelid = c.oid
  UNION
  SELECT a.at, i.inhparent FROM above a JOIN pg_class c ON c.oid = a.id AND c.relispartition JOIN pg_inherits i ON i.inhrelid = c.oid
), every AS (
  SELECT at, id, false AS is_above FROM below UNION ALL SELECT at, id, true FROM above
)
SELECT json_build_object(
  'publication', (SELECT json_build_object('id', oid::bigint, 'all', puballtables, 'inserts', pubinsert, 'updates', pubupdate,
                                           'deletes', pubdelete, 'truncates', pubtruncate, 'viaRoot', pubviaroot) FROM pg_publication WHERE pubname = $3),
  'members', coalesce((SELECT json_agg(json_build_object(
     'at', e.at, 'above', e.is_above, 'root', EXISTS (SELECT FROM root r WHERE r.id = e.id AND r.at = e.at), 'id', c.oid::bigint,
     'up', CASE WHEN c.relispartition THEN (SELECT i.inhparent::bigint FROM pg_inherits i WHERE i.inhrelid = c.oid LIMIT 1) ELSE 0 END,
     'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence, 'identity', c.relreplident,
     'keyed', EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary),
     'listed', coalesce(pr.oid::bigint, 0), 'filter', coalesce(md5(to_jsonb(pr)->>'prqual'), ''),
     'inSchema', %s, 'filenode', c.relfilenode::bigint) ORDER BY e.at, c.oid)
   FROM every e JOIN pg_class c ON c.oid = e.id JOIN pg_namespace n ON n.oid = c.relnamespace
   LEFT JOIN pg_publication p ON p.pubname = $3
   LEFT JOIN pg_publication_rel pr ON pr.prpubid = p.oid AND pr.prrelid = c.oid), '[]'))`

// inSchema is the part of the query that PostgreSQL 14 does not know.
const inSchema = `coalesce((SELECT pn.oid::bigint FROM pg_publication_namespace pn WHERE pn.pnpubid = p.oid AND pn.pnnspid = c.relnamespace), 0)`

// membership looks at the catalogue over a connection. before gives the object ids by which tables are found that have
// another name now; nil: none are known.
func (r *Reader) membership(ctx context.Context, connection *pgconn.PgConn, before *watermark) (*membership, error) {
	names, ids := quotedTables(r.options.Tables), make([]string, len(r.options.Tables))
	for i, name := range r.options.Tables {
		ids[i] = "0"
		if before != nil && before.Tables[name] != nil {
			ids[i] = strconv.FormatUint(uint64(before.Tables[name].ID), 10)
		}
	}
	schemas := inSchema
	r.old.Store(strings.HasPrefix(connection.ParameterStatus("server_version"), "14"))
	if r.old.Load() {
		schemas = "0"
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	look := func() (*membership, error) {
		result := connection.ExecParams(ctx, fmt.Sprintf(selectMembership, schemas),
			[][]byte{arrayOf(names), arrayOf(ids), []byte(r.config.Publication)}, nil, nil, nil).Read()
		if result.Err != nil {
			return nil, fmt.Errorf("look at the publication and the followed tables: %w", result.Err)
		}
		m := &membership{byID: map[uint32]*tableMember{}}
		if err := json.Unmarshal(result.Rows[0][0], m); err != nil {
			return nil, fmt.Errorf("look at the publication and the followed tables: %w", err)
		}
		return m, nil
	}
	m, err := look()
	if err == nil && m.absent(len(names)) {
		// A name is resolved after the query's snapshot was taken: one that a transaction gave to a new table in between has
		// no row there yet. The next look has it.
		m, err = look()
	}
	if err != nil {
		return nil, err
	}
	for _, one := range m.Members {
		if m.byID[one.ID] == nil || !one.Above {
			m.byID[one.ID] = one
		}
	}
	return m, nil
}

// absent reports whether one of the followed tables, 1 to n, was not found.
func (m *membership) absent(n int) bool {
	found := map[int]bool{}
	for _, one := range m.Members {
		found[one.Table] = found[one.Table] || one.Root
	}
	for at := range n {
		if !found[at+1] {
			return true
		}
	}
	return false
}

// of lists the members of a followed table, itself first.
func (m *membership) of(at int) (all []*tableMember) {
	for _, one := range m.Members {
		switch {
		case one.Table != at || one.Above:
		case one.Root:
			all = slices.Insert(all, 0, one)
		default:
			all = append(all, one)
		}
	}
	return all
}

// chain is a member and the tables whose partition it is, upwards.
func (m *membership) chain(one *tableMember) (all []*tableMember) {
	for at := one; at != nil && len(all) < 64; at = m.byID[at.Parent] {
		all = append(all, at)
	}
	return all
}

// cover lists the entries of the publication by which a member's rows are published; none: they are not.
func (m *membership) cover(one *tableMember) (entries []string) {
	if m.Publication.All {
		entries = append(entries, fmt.Sprint("all ", m.Publication.ID))
	}
	for _, c := range m.chain(one) {
		if c.Listed != 0 {
			entries = append(entries, fmt.Sprint("table ", c.Listed))
		}
		if c.InSchema != 0 {
			entries = append(entries, fmt.Sprint("schema ", c.InSchema))
		}
	}
	return entries
}

// publishedAs is the member under whose name a member's rows are told.
func (m *membership) publishedAs(one *tableMember) *tableMember {
	as := one
	if m.Publication.ViaRoot {
		for _, c := range m.chain(one) {
			if m.Publication.All || c.Listed != 0 || c.InSchema != 0 {
				as = c
			}
		}
	}
	return as
}

// filter is the hash of the row filter that applies to a member's rows; "": none.
func (m *membership) filter(one *tableMember) string {
	as := m.publishedAs(one)
	if m.Publication.All || as.InSchema != 0 {
		return ""
	}
	return as.Filter
}

// hasPart reports whether the relation that a finding calls unknown (see unknownID) is a part of a followed table, as after
// ATTACH PARTITION: then the stream tells its rows, and none are missing.
func (m *membership) hasPart(finding string) bool {
	return slices.ContainsFunc(m.Members, func(one *tableMember) bool { return one.holdsRows() && unknownID(one.ID) == finding })
}

// unknownID is the id of a finding about a relation that the stream told of and the catalogue does not explain.
func unknownID(relation uint32) string { return fmt.Sprint("unknown ", relation) }

// finding is one reason why rows of a followed table may be lost.
type finding struct {
	table string
	text  string
	id    string // what it is about, by object ids: the same finding has the same one
	again bool   // rows may be missing that reading the table again brings
}

// partCause is why rows of a part of a table are not told, or may not have been.
type partCause string

const (
	causeForeign     partCause = "foreign"
	causeUnlogged    partCause = "unlogged"
	causeUnpublished partCause = "unpublished" // now, or until its own entry of the publication was made
	causeAttached    partCause = "attached"    // with rows in it
	causeRewritten   partCause = "rewritten"
	causeUnreadable  partCause = "unreadable" // nobody could look for its rows from before
)

// partID is the id of a finding about a part of a table. Its acceptance fits that cause only; that of unpublished fits the rows
// that were written until the part was published as well.
func partID(one *tableMember, why partCause) string {
	return fmt.Sprint(ofPart, one.ID, " ", string(why))
}

// ofPart begins the ids of findings about parts.
const ofPart = "part "

// token names a finding for Config.Accept and Options.Accepted.
func (f finding) token() string { return shortHash(f.table + " " + f.id) }

// hidden lists what keeps rows of followed tables out of the stream, as the catalogue is now.
func (r *Reader) hidden(m *membership) (found []finding) {
	for i, name := range r.options.Tables {
		p := m.Publication
		if len(m.of(i+1)) > 0 && p.ID != 0 && !(p.Inserts && p.Updates) {
			found = append(found, finding{
				table: name, id: fmt.Sprint("operations ", p.ID, " inserts=", p.Inserts, " updates=", p.Updates), again: true,
				text: fmt.Sprintf(saidOperations,
					r.config.Publication, pgx.Identifier{r.config.Publication}.Sanitize()),
			})
		}
		if len(m.of(i+1)) > 0 && p.ID != 0 && slices.Contains(r.options.Erasing, name) && !p.Deletes {
			found = append(found, finding{
				table: name, id: fmt.Sprint("deletes ", p.ID),
				text: fmt.Sprintf(saidDeletes,
					r.config.Publication, name, pgx.Identifier{r.config.Publication}.Sanitize()),
			})
		}
		for _, one := range m.of(i + 1) {
			if text, id := r.hides(m, name, one); text != "" {
				found = append(found, finding{table: name, text: text, id: id, again: true})
			}
		}
	}
	return found
}

func (r *Reader) hides(m *membership, table string, one *tableMember) (text, id string) {
	if !one.holdsRows() {
		return "", ""
	}
	as, pub := m.publishedAs(one), pgx.Identifier{r.config.Publication}.Sanitize()
	part := fmt.Sprintf(saidTable, table)
	if !one.Root {
		part = fmt.Sprintf(saidPart, one.sql(), table)
	}
	switch {
	case one.Kind == "f":
		return fmt.Sprintf(saidForeign, part), partID(one, causeForeign)
	case one.Persistence != "p":
		return fmt.Sprintf(saidUnlogged, part, one.sql()), partID(one, causeUnlogged)
	case len(m.cover(one)) == 0 && !one.Root:
		return fmt.Sprintf(saidUnpublished, part, r.config.Publication, pub, one.sql()), partID(one, causeUnpublished)
	case m.filter(one) != "":
		return fmt.Sprintf(saidFiltered,
			r.config.Publication, as.sql(), pub), fmt.Sprint("filter ", as.Listed, " ", as.Filter)
	case as.Above:
		return fmt.Sprintf(saidAbove, part, as.sql()), fmt.Sprint("above ", as.ID)
	}
	return "", ""
}

// watermark is what is remembered of the followed tables: all their rows were told, or will be, since it was taken.
type watermark struct {
	Tables map[string]*followedTable `json:"tables"` // by their name in the mapping
	// Missed are findings that were seen since, and that no comparison tells once their cause is mended. They stay until they
	// are accepted.
	Missed []missed `json:"missed,omitempty"`
}

// missed is a finding that is remembered.
type missed struct {
	Table string `json:"table"`
	ID    string `json:"id"`
	Text  string `json:"text"`
}

// missing is the watermark with more findings.
func (w *watermark) missing(found []finding) *watermark {
	out := &watermark{Tables: w.Tables, Missed: slices.Clone(w.Missed)}
	for _, f := range found {
		if !slices.ContainsFunc(out.Missed, func(m missed) bool { return m.Table == f.table && m.ID == f.id }) {
			out.Missed = append(out.Missed, missed{f.table, f.id, f.text})
		}
	}
	return out
}

// followedTable is one table of a watermark.
type followedTable struct {
	ID uint32 `json:"id"`
	// Parts are the object ids of itself, its partitions and children that hold rows, by the publication's entries that
	// publish them (see cover), separated by commas.
	Parts map[string][]uint32 `json:"parts"`
	// Former are object ids that were parts of it: the log may still tell rows of them. At most mostFormer, the newest last.
	Former []uint32 `json:"former,omitempty"`
}

// mostFormer bounds what is remembered of partitions that are gone.
const mostFormer = 1000

// watermark is what is to be remembered of a membership, after what was remembered before (nil: nothing).
func (r *Reader) watermark(before *watermark, m *membership) *watermark {
	w := &watermark{Tables: map[string]*followedTable{}}
	for i, name := range r.options.Tables {
		for _, one := range m.of(i + 1) {
			if one.Root {
				w.Tables[name] = &followedTable{ID: one.ID, Parts: map[string][]uint32{}}
			}
			if t := w.Tables[name]; t != nil && one.holdsRows() {
				by := strings.Join(m.cover(one), ",")
				t.Parts[by] = append(t.Parts[by], one.ID)
			}
		}
		if t := w.Tables[name]; t != nil {
			t.inherit(before.table(name, t.ID))
		}
	}
	return w
}

// inherit remembers as former what was a part of the table and is none any more.
func (t *followedTable) inherit(old *followedTable) {
	if old == nil {
		return
	}
	now := t.ids()
	t.Former = slices.Clone(old.Former)
	for _, id := range old.ids() {
		if !slices.Contains(now, id) && !slices.Contains(t.Former, id) {
			t.Former = append(t.Former, id)
		}
	}
	t.Former = slices.DeleteFunc(t.Former, func(id uint32) bool { return slices.Contains(now, id) })
	if n := len(t.Former); n > mostFormer {
		t.Former = t.Former[n-mostFormer:]
	}
}

// ids are those of the table and of its parts, sorted.
func (t *followedTable) ids() []uint32 {
	all := []uint32{t.ID}
	for _, part := range t.Parts {
		all = append(all, part...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// table finds what is remembered of a table, by its name, or by its object id where the mapping has another name for it
// now.
func (w *watermark) table(name string, id uint32) *followedTable {
	if w == nil {
		return nil
	}
	if t := w.Tables[name]; t != nil {
		return t
	}
	for _, other := range slices.Sorted(maps.Keys(w.Tables)) {
		if t := w.Tables[other]; t.ID == id {
			return t
		}
	}
	return nil
}

// lost compares what is remembered with what is now, and lists why rows may have been lost in between. fresh are
// partitions and children that are new, whose rows from before must be looked for.
func (r *Reader) lost(before *watermark, m *membership) (found []finding, fresh []*tableMember) {
	for i, name := range r.options.Tables {
		all := m.of(i + 1)
		var root *tableMember
		id := uint32(0)
		if len(all) > 0 {
			root, id = all[0], all[0].ID
		}
		t := before.table(name, id)
		switch {
		case t == nil: // new in the mapping
		case root == nil:
			found = append(found, finding{
				table: name, id: fmt.Sprint("gone ", t.ID), again: true,
				text: fmt.Sprintf(saidGone, name, t.ID),
			})
		case root.ID != t.ID:
			found = append(found, finding{
				table: name, id: fmt.Sprint("remade ", t.ID, " ", root.ID), again: true,
				text: fmt.Sprintf(saidRemade, name, t.ID, root.ID),
			})
		default:
			more, news := r.uncovered(name, t, m, all)
			found, fresh = append(found, more...), append(fresh, news...)
		}
	}
	return found, fresh
}

// uncovered compares by which entries the parts of a table were and are published.
func (r *Reader) uncovered(name string, before *followedTable, m *membership, all []*tableMember) (found []finding, fresh []*tableMember) {
	was, ever := map[uint32][]string{}, []string{}
	for by, ids := range before.Parts {
		entries := strings.Split(by, ",")
		ever = append(ever, entries...)
		for _, id := range ids {
			was[id] = entries
		}
	}
	still := func(old, now []string) bool {
		return slices.ContainsFunc(now, func(e string) bool { return e != "" && slices.Contains(old, e) })
	}
	for _, one := range all {
		if !one.holdsRows() {
			continue
		}
		now := m.cover(one)
		old, known := was[one.ID]
		switch {
		case known && len(now) > 0 && still(old, now):
		case known && len(old) == 1 && old[0] == "": // it was accepted as not published
			if len(now) > 0 {
				one.late = true
				fresh = append(fresh, one)
			}
		case known:
			how := saidTakenOut
			if len(now) > 0 {
				how = saidPutBack
			}
			found = append(found, finding{
				table: name, id: fmt.Sprint("uncovered ", one.ID, " ", strings.Join(old, ",")), again: true,
				text: fmt.Sprintf(how, one.sql(), r.config.Publication),
			})
		case len(now) > 0:
			one.late = !still(ever, now)
			fresh = append(fresh, one)
		}
	}
	return found, fresh
}
