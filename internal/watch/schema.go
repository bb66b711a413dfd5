package watch

import (
	"maps"
	"slices"

	"github.com/arauto/arauto/internal/notice"
)

// Schema implements Hand: a table whose mappings do not fit its columns stops, and goes on when they fit again.
func (x *session) Schema(table string, columns []Column) {
	x.running()
	x.describe()
	x.Source.mu.Lock()
	if len(columns) > 0 {
		x.columns[table] = columns
	} else {
		delete(x.columns, table)
	}
	known := maps.Clone(x.columns)
	x.Source.mu.Unlock()
	for _, other := range x.mapping.tables {
		if other == table || slices.ContainsFunc(x.mapping.rules[other], func(r *rule) bool {
			return known[other] != nil && slices.ContainsFunc(r.joins, func(j lookup) bool { return j.table == table })
		}) {
			x.judge(other, known)
		}
	}
}

// describe asks once in a session for the columns of the tables that rows are looked up in: they are in no stream. When
// they cannot be had, the rows will tell.
func (x *session) describe() {
	if x.described || len(x.mapping.joined) == 0 {
		return
	}
	x.described = true
	found, err := x.reader.Describe(x.ctx, x.mapping.joined)
	if err != nil {
		x.log.WarnContext(x.ctx, "the tables to look up rows in could not be described", "error", err)
		return
	}
	x.Source.mu.Lock()
	defer x.Source.mu.Unlock()
	maps.Copy(x.columns, found)
}

// judge stops a table, or lets it go on.
func (x *session) judge(table string, columns map[string][]Column) {
	var why []string
	for _, r := range x.mapping.rules[table] {
		for _, f := range r.fit(x.mapping.File, columns, false) {
			why = append(why, f.String())
		}
	}
	x.Source.mu.Lock()
	_, was := x.stopped[table]
	if len(why) > 0 {
		x.stopped[table] = why
	} else {
		delete(x.stopped, table)
	}
	x.Source.mu.Unlock()
	if is := len(why) > 0; is != was {
		x.observer.Stopped(x.mapping.Source, table, is)
		if is {
			x.log.ErrorContext(x.ctx, "a table does not fit its mapping: its rows go to quarantine until it does", "table", table, "why", why)
		} else {
			x.log.InfoContext(x.ctx, "a table fits its mapping again", "table", table)
		}
	}
}

func (x *session) isStopped(table string) bool {
	x.Source.mu.Lock()
	defer x.Source.mu.Unlock()
	_, stopped := x.stopped[table]
	return stopped
}

func stoppedProblem(table string) []notice.Problem {
	return []notice.Problem{problem("", codeSchema, "the columns of table "+table+" do not fit its mapping any more; correct the mapping, then apply",
		"as colunas da tabela "+table+" não correspondem mais ao mapeamento; corrija o mapeamento e reaplique")}
}

func (s *Source) cut() []notice.Problem {
	return []notice.Problem{problem("", codeLarge, "the record was too large to keep; have the core tell it again",
		"o registro era grande demais para ser guardado; faça o core informá-lo de novo")}
}
