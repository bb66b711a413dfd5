package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAColumnWithoutZoneIsNoInstantUntilTheMappingNamesOne(t *testing.T) {
	as := func(table, column string, kind Type) func(map[string][]Column) {
		return func(all map[string][]Column) {
			for i, c := range all[table] {
				if c.Name == column {
					all[table][i].Type = kind
				}
			}
		}
	}
	for name, c := range map[string]struct {
		was, is string // in the mapping
		columns func(map[string][]Column)
		wants   string // "": nothing is wrong
	}{
		"instant of it":         {"", "", as("payments", "created_at", Local), "tables.payments.data.creationDateTime: takes created_at for an instant, and the column has no zone"},
		"of a date":             {"", "", as("payments", "created_at", Day), "takes created_at for an instant"},
		"with a zone":           {"instant(created_at)", `instant(created_at, "America/Sao_Paulo")`, as("payments", "created_at", Local), ""},
		"by the row":            {"instant(created_at)", "instant(row.created_at)", as("payments", "created_at", Local), "takes row.created_at for an instant"},
		"in a choice":           {"instant(created_at)", `'instant(created_at < "2000" ? updated_at : created_at)'`, as("payments", "created_at", Local), "takes created_at for an instant"},
		"in a choice, zoned":    {"instant(created_at)", `'instant(created_at < "2000" ? updated_at : created_at, "UTC")'`, as("payments", "created_at", Local), ""},
		"as it is":              {"instant(created_at)", "created_at", as("payments", "created_at", Local), "takes created_at for an instant"},
		"a date as it is":       {"instant(created_at)", "created_at", as("payments", "created_at", Day), ""},
		"its day":               {"instant(created_at)", "date(created_at)", as("payments", "created_at", Local), ""},
		"its day elsewhere":     {"instant(created_at)", `date(created_at, "-03:00")`, as("payments", "created_at", Local), "takes created_at for an instant"},
		"when it happened":      {"", "", as("payments", "status_at", Local), "tables.payments.occurredAt"},
		"when it happened, too": {"[status_at,", `['instant(status_at, "America/Sao_Paulo")',`, as("payments", "status_at", Local), ""},
		"a zone from a column":  {"instant(created_at)", "instant(created_at, end_to_end)", as("payments", "created_at", Local), ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, bank, c.was)
			text := bank
			if c.was != "" {
				text = strings.Replace(bank, c.was, c.is, 1)
			}
			columns := bankColumns()
			c.columns(columns)
			var found []string
			for _, f := range mustParse(t, text).Check(columns) {
				found = append(found, f.String())
			}
			if c.wants == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Contains(t, found[0], c.wants)
			require.Contains(t, found[0], `"America/Sao_Paulo"`)
		})
	}
}

func TestATimeWithoutZoneIsNoTimeOfAnEvent(t *testing.T) {
	m := mustParse(t, `
source: bus
type: nats
tables:
  p: {kind: pix-payment, id: id, client: id, version: v4, status: '"ACSC"', occurredAt: at, data: {}}
`)
	maker := &mapper{}
	w := &work{rule: m.rules["p"][0], rec: &SourceRecord{Table: "p", Values: map[string]any{"id": "x", "at": "2026-11-21T12:00:00"}, Revision: 1, CommittedAt: noon}}
	require.NoError(t, maker.all(t.Context(), []*work{w}))
	require.Contains(t, codes(w.Problems), "impossible-instant /occurredAt")
}
