package watch

import (
	"context"
	"fmt"
	"strings"
)

// RecordExplanation holds the steps by which one mapping converts a record.
type RecordExplanation struct {
	Table string
	Key   string // of the mapping in its file, as "tables.payments"
	Kind  string // of the resource, or "initiator"
	Steps []Step // in the order they were taken
	Mapped
}

// Step is one expression with its result or error. Unlike the problems of a record, it shows values: its
// reader has the row anyway.
type Step struct {
	Key        string
	Expression string
	Result     string // as JSON
	Error      string
}

// Explain maps one record by each mapping of its table and returns every step. Related rows are looked up by find; with
// nil they are taken from the record's own values, by the name of the lookup. An error means that the mapping has no such
// table, or that a look-up failed.
func (m *Mapping) Explain(ctx context.Context, find Find, rec SourceRecord) ([]RecordExplanation, error) {
	rules := m.rules[rec.Table]
	if len(rules) == 0 {
		return nil, fmt.Errorf("the mapping has no table %q; it has %s", rec.Table, strings.Join(m.tables, ", "))
	}
	var all []RecordExplanation
	for _, r := range rules {
		x := RecordExplanation{Table: rec.Table, Key: r.key, Kind: r.kindName()}
		maker := &mapper{find: find}
		maker.look = func(e *expression, v any, err error) {
			if e.program == nil && e.text == "" {
				return
			}
			step := Step{Key: e.key, Expression: e.text}
			if err != nil {
				step.Error = err.Error()
			} else if text, err := appendJSON(nil, v, maxDepth); err != nil {
				step.Error = err.Error()
			} else {
				step.Result = string(text)
			}
			x.Steps = append(x.Steps, step)
		}
		w := &work{rule: r, rec: &rec}
		if err := maker.all(ctx, []*work{w}); err != nil {
			return nil, err
		}
		x.Mapped = w.Mapped
		all = append(all, x)
	}
	return all, nil
}
