package watch

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// debeziumMapping is the mapping of docs/watching.md for messages of Debezium's PostgreSQL connector.
func debeziumMapping(t *testing.T) *Mapping {
	t.Helper()
	page, err := os.ReadFile("../../docs/watching.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "\n## Messages of Debezium\n")
	require.True(t, found)
	_, block, found := strings.Cut(section, "```yaml\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	return mustParse(t, block)
}

// debezium is a message as the connector writes it with its default settings and schemas.enable=false.
func debezium(t *testing.T, change map[string]any) SourceRecord {
	t.Helper()
	const message = `{
  "before": null,
  "after": {
    "id": "7f9b1c0e-1111-4222-8333-944455556666", "client_id": "alfa", "status": "ACSC", "amount": "AkoE", "currency": "BRL",
    "created_at": 1763726400123456, "due": 20413, "details": "{\"note\":\"long\"}"
  },
  "source": {"version": "3.3.1.Final", "connector": "postgresql", "name": "core", "ts_ms": 1763726400200, "snapshot": "false",
    "db": "core", "sequence": "[\"24023112\",\"24023128\"]", "schema": "public", "table": "payments", "txId": 555, "lsn": 24023128, "xmin": null},
  "transaction": null, "op": "u", "ts_ms": 1763726400300, "ts_us": 1763726400300123
}`
	rec := SourceRecord{Table: "payments", Op: Insert, Position: "core.public.payments/0/17"}
	d := json.NewDecoder(strings.NewReader(message))
	d.UseNumber()
	require.NoError(t, d.Decode(&rec.Values))
	after, _ := rec.Values["after"].(map[string]any)
	for name, v := range change {
		if name == "after" || name == "op" {
			rec.Values[name] = v
		} else {
			after[name] = v
		}
	}
	return rec
}

func TestAMessageOfDebeziumBecomesAChange(t *testing.T) {
	m := debeziumMapping(t)
	made := mapOne(t, m, debezium(t, nil), 0)
	require.Empty(t, made.Problems)
	var line struct {
		Revision   int64
		OccurredAt string
		ClientID   string `json:"clientId"`
		Data       map[string]any
	}
	require.NoError(t, json.Unmarshal(made.Line, &line))
	require.EqualValues(t, 24023128, line.Revision)
	require.Equal(t, "alfa", line.ClientID)
	require.Equal(t, "2025-11-21T12:00:00Z", line.Data["creationDateTime"], "microseconds")
	require.Equal(t, map[string]any{"amount": "1500.20", "currency": "BRL"}, line.Data["payment"], "a number as bytes")
	require.Equal(t, "2025-11-21", line.Data["date"], "days")

	made = mapOne(t, m, debezium(t, map[string]any{"op": "d", "after": nil}), 0)
	require.NotEmpty(t, made.Skipped, "a deleted row is no state")
	tombstone := SourceRecord{Table: "payments", Op: Delete, Position: "core.public.payments/0/18", Values: map[string]any{}}
	made = mapOne(t, m, tombstone, 0)
	require.NotEmpty(t, made.Skipped)
}

// TestDebeziumsPlaceholderIsNeverAValue: in each column, and in each kind of expression, the message goes to quarantine.
func TestDebeziumsPlaceholderIsNeverAValue(t *testing.T) {
	require.Equal(t, "__debezium_unavailable_value", unavailable, "Debezium's default")
	m := debeziumMapping(t)
	for _, column := range []string{"id", "client_id", "status", "amount", "created_at", "currency"} {
		made := mapOne(t, m, debezium(t, map[string]any{column: unavailable}), 0)
		require.NotEmpty(t, made.Problems, column)
		require.Empty(t, made.Line, column)
		require.NotContains(t, made.Problems[0].Detail, "__debezium")
	}
	made := mapOne(t, m, debezium(t, map[string]any{"details": unavailable}), 0)
	require.Empty(t, made.Problems, "nothing looks at that column")
	for text, env := range map[string]any{
		`a.b == "x"`: map[string]any{"b": unavailable}, `"x" == a.b`: map[string]any{"b": unavailable}, `a.b != nil`: map[string]any{"b": unavailable},
		`a.b in ["x"]`: map[string]any{"b": unavailable}, `a.b + "x"`: map[string]any{"b": unavailable}, `a.b ?? "x"`: map[string]any{"b": unavailable},
		`a.b ? 1 : 2`: map[string]any{"b": unavailable}, `oneOf(a.b, "x")`: map[string]any{"b": unavailable}, `upper(a.b)`: map[string]any{"b": unavailable},
		`a.b`: map[string]any{"b": unavailable}, `a.b startsWith "__"`: map[string]any{"b": unavailable},
	} {
		e := &expression{text: text}
		require.NoError(t, e.compile(), text)
		v, err := plain(env)
		require.NoError(t, err)
		got, err := e.eval(&(&mapper{}).machine, map[string]any{"a": v})
		require.Error(t, err, "%s gives %v", text, got)
	}
}

func TestNumbersAndTimesOfDebeziumKeepTheirValue(t *testing.T) {
	for text, want := range map[string]any{
		`decimal("AkoE", 2)`: "1500.20", `decimal("AA==", 2)`: "0.00", `decimal("/w==", 2)`: "-0.01", `decimal("AQ==", 0)`: "1", `decimal("fw==", 4)`: "0.0127",
		`decimal("f////////////////////w==", 2)`: "1701411834604692317316873037158841057.27", `decimal(nil, 2)`: nil, `amount(decimal("AkoE", 2))`: "1500.20",
		`fromUnixUs(1763726400123456)`: "2025-11-21T12:00:00.123456Z", `fromUnixUs("1763726400000000", "America/Sao_Paulo")`: "2025-11-21T15:00:00Z", `fromUnixUs(nil)`: nil,
		`fromDays(20413)`: "2025-11-21", `fromDays(-1)`: "1969-12-31", `fromDays(0)`: "1970-01-01", `fromDays(nil)`: nil,
	} {
		e := &expression{text: text}
		require.NoError(t, e.compile(), text)
		got, err := e.eval(&(&mapper{}).machine, map[string]any{})
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		`decimal("", 2)`, `decimal("x", 2)`, `decimal("AA==", -1)`, `decimal("AA==", 99)`, `decimal(1, 2)`, `fromUnixUs(-1)`, `fromUnixUs("x")`, `fromUnixUs(1, "Brasilia")`,
		`fromDays("1")`, `fromDays(2932897)`, `fromDays(-719163)`,
	} {
		e := &expression{text: text}
		err := e.compile()
		if err == nil {
			_, err = e.eval(&(&mapper{}).machine, map[string]any{})
		}
		require.Error(t, err, text)
	}
}
