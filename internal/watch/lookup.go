package watch

import (
	"context"
	"fmt"
	"slices"
)

// Find answers a Lookup, as Reader.Find does.
type Find func(ctx context.Context, l Lookup) (map[string]map[string]any, error)

// lookupPlace is where rows are looked up.
type lookupPlace struct{ table, column string }

// want is a row that a record needs beside it.
type want struct {
	w    *work
	join *lookup
	key  string
}

// join looks up the rows beside the records, one lookup for a table and column and step. An error means that the origin
// could not be asked.
func (m *mapper) join(ctx context.Context, works []*work) error {
	for step := 0; ; step++ {
		wants := map[lookupPlace][]want{}
		var order []lookupPlace // so that the origin is asked in the same order whenever the same is told
		deeper := false
		for _, w := range works {
			if w.finished || step >= len(w.rule.joins) || w.rec.Op == Delete && !w.rule.joinsIn(w.rule.needs(Delete)) {
				continue
			}
			deeper = true
			j := &w.rule.joins[step]
			key, ok := m.key(w, j)
			if !ok {
				continue
			}
			at := lookupPlace{j.table, j.column}
			if wants[at] == nil {
				order = append(order, at)
			}
			wants[at] = append(wants[at], want{w, j, key})
		}
		if !deeper {
			return nil
		}
		for _, at := range order {
			if err := m.ask(ctx, at, wants[at]); err != nil {
				return err
			}
		}
	}
}

// key computes what to look for. ok is false where there is nothing to ask: it failed, or is null.
func (m *mapper) key(w *work, j *lookup) (key string, ok bool) {
	m.on(w)
	v, ok := m.value(j.value)
	switch {
	case !ok:
		w.finished = true
		return "", false
	case v == nil:
		m.found(w, j, nil)
		return "", false
	}
	t, err := toText(v)
	if err != nil {
		m.failed(j.value, err)
		w.finished = true
		return "", false
	}
	key, _ = t.(string)
	return key, true
}

// ask looks up the rows of one place.
func (m *mapper) ask(ctx context.Context, at lookupPlace, wants []want) error {
	if m.find == nil {
		for _, one := range wants {
			row, _ := one.w.rec.Values[one.join.name].(map[string]any)
			m.found(one.w, one.join, row)
		}
		return nil
	}
	l := Lookup{Table: at.table, Column: at.column}
	seen := map[string]bool{}
	for _, one := range wants {
		if !seen[one.key] {
			seen[one.key], l.Keys = true, append(l.Keys, one.key)
		}
	}
	m.now = nil // what fails now is no record's fault
	rows, err := m.find(ctx, l)
	if err != nil {
		return fmt.Errorf("look up %d rows of %s by %s: %w", len(l.Keys), at.table, at.column, err)
	}
	for _, one := range wants {
		m.found(one.w, one.join, rows[one.key])
	}
	return nil
}

// found puts a joined row, or its absence, where expressions find it.
func (m *mapper) found(w *work, j *lookup, row map[string]any) {
	m.on(w)
	shown := &expression{key: j.value.key, text: "the row of " + j.table + " by " + j.column, line: j.line}
	var v any
	var err error
	if row == nil {
		w.lacking = true
	} else if v, err = plain(row); err != nil {
		m.failed(shown, err)
		w.finished = true
		return
	}
	w.env[j.name] = v
	if m.look != nil {
		m.look(shown, v, nil)
	}
}

// joinsIn reports whether something looks at a joined row.
func (r *rule) joinsIn(u uses) bool {
	return slices.ContainsFunc(r.joins, func(j lookup) bool { return slices.Contains(u.names, j.name) })
}
