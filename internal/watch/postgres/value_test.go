package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/watch"
)

func TestEveryTypeComesInItsFormBySnapshotStreamAndLookup(t *testing.T) {
	t.Parallel()
	cases := []struct {
		declared, literal string
		want              any
		kind              watch.Type
	}{
		{"boolean", "true", true, watch.Boolean},
		{"boolean", "false", false, watch.Boolean},
		{"smallint", "-3", json.Number("-3"), watch.Number},
		{"integer", "7", json.Number("7"), watch.Number},
		{"bigint", "9223372036854775807", json.Number("9223372036854775807"), watch.Number},
		{"real", "0.1", json.Number("0.1"), watch.Number},
		{"double precision", "1e300", json.Number("1e+300"), watch.Number},
		{"double precision", "'NaN'", "NaN", watch.Number},
		{"double precision", "'-Infinity'", "-Infinity", watch.Number},
		{"numeric(17,2)", "1500.50", "1500.50", watch.Text},
		{"numeric", "'NaN'", "NaN", watch.Text},
		{"money", "'12.34'", "$12.34", watch.Text},
		{"uuid", "'6F9619FF-8B86-D011-B42D-00CF4FC964FF'", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", watch.Text},
		{"text", `E'a\nb "c" \\'`, "a\nb \"c\" \\", watch.Text},
		{"varchar(9)", "'ção'", "ção", watch.Text},
		{"char(4)", "'ab'", "ab  ", watch.Text},
		{"mood", "'it''s'", "it's", watch.Text},
		{"json", `'{"a": 1.50, "b": [null, true]}'`, map[string]any{"a": json.Number("1.50"), "b": []any{nil, true}}, watch.JSON},
		{"jsonb", `'{"n": 12345678901234567890}'`, map[string]any{"n": json.Number("12345678901234567890")}, watch.JSON},
		{"jsonb", `'null'`, nil, watch.JSON},
		{"timestamptz", "'2026-11-22 00:30:01.123456-03'", "2026-11-22T03:30:01.123456Z", watch.Instant},
		{"timestamptz", "'2026-11-22 03:30:01+00'", "2026-11-22T03:30:01Z", watch.Instant},
		{"timestamptz", "'0001-01-01 00:00:00+00'", "0001-01-01T00:00:00Z", watch.Instant},
		{"timestamptz", "'infinity'", "", watch.Instant},
		{"timestamptz", "'-infinity'", "", watch.Instant},
		{"timestamptz", "'0044-03-15 00:00:00+00 BC'", "0044-03-15 00:00:00+00 BC", watch.Instant},
		{"timestamptz", "'12026-03-15 00:00:00+00'", "12026-03-15 00:00:00+00", watch.Instant},
		{"timestamp", "'2026-11-22 03:30:01.5'", "2026-11-22T03:30:01.5", watch.Local},
		{"timestamp", "'infinity'", "", watch.Local},
		{"date", "'2026-11-22'", "2026-11-22", watch.Day},
		{"date", "'-infinity'", "", watch.Day},
		{"time", "'03:30:01'", "03:30:01", watch.Text},
		{"interval", "'1 day 2 hours'", "P1DT2H", watch.Text},
		{"bytea", `'\x00ff10'`, "AP8Q", watch.Text},
		{"integer[]", "'{1,NULL,3}'", []any{json.Number("1"), nil, json.Number("3")}, watch.JSON},
		{"text[]", `ARRAY['a', 'NULL', 'x,"y\z', '', '{}', NULL]`, []any{"a", "NULL", `x,"y\z`, "", "{}", nil}, watch.JSON},
		{"text[]", "'{}'", []any{}, watch.JSON},
		{"integer[]", "'[0:1]={7,8}'", []any{json.Number("7"), json.Number("8")}, watch.JSON},
		{"integer[]", "'{{1,2},{3,4}}'", []any{[]any{json.Number("1"), json.Number("2")}, []any{json.Number("3"), json.Number("4")}}, watch.JSON},
		{"timestamptz[]", `'{"2026-11-22 03:30:01+00"}'`, []any{"2026-11-22T03:30:01Z"}, watch.JSON},
		{"mood[]", "ARRAY['it''s']::mood[]", []any{"it's"}, watch.JSON},
		{"jsonb[]", `ARRAY['{"a": 1}'::jsonb]`, []any{map[string]any{"a": json.Number("1")}}, watch.JSON},
		{"cents", "5", json.Number("5"), watch.Number},
		{"cents[]", "ARRAY[5]::cents[]", []any{json.Number("5")}, watch.JSON},
		{"point", "'(1,2)'", "(1,2)", watch.Text},
		{"box[]", "'{(1,1),(0,0);(3,3),(2,2)}'", []any{"(1,1),(0,0)", "(3,3),(2,2)"}, watch.JSON},
		{"int2vector", "'1 2'", "1 2", watch.Text},
		{"inet", "'10.0.0.1'", "10.0.0.1", watch.Text},
		{"text", "NULL", nil, watch.Text},
		{"pair", "ROW(1, 'b c')::pair", `(1,"b c")`, watch.Text},
		{"timestamp[]", `'{"2026-11-22 03:30:01"}'`, []any{"2026-11-22T03:30:01"}, watch.JSON},
		{"numeric", "1500", "1500", watch.Text},
		{"int4range", "'[1,5)'", "[1,5)", watch.Text},
		{"xml", "'<a/>'", "<a/>", watch.Text},
		{"timetz", "'03:30:01-03'", "03:30:01-03", watch.Text},
	}
	c := newCore(t, nil, "CREATE TYPE mood AS ENUM ('it''s')", "CREATE DOMAIN cents AS bigint CHECK (value > 0)", "CREATE TYPE pair AS (a int, b text)", "SET timezone = 'America/Sao_Paulo'",
		"SET datestyle = 'SQL, DMY'", "SET intervalstyle = 'sql_standard'", "SET bytea_output = 'escape'")
	// What the bank sets for its own programs changes nothing of what we read.
	for _, setting := range []string{"timezone = 'America/Sao_Paulo'", "datestyle = 'SQL, DMY'", "intervalstyle = 'postgres_verbose'", "bytea_output = 'escape'", "extra_float_digits = '-3'"} {
		c.exec("ALTER DATABASE " + c.slot + " SET " + setting)
	}
	// One table has a column of each: a reader for each would start, load and stop as often as there are cases.
	columns, literals := []string{"id bigint PRIMARY KEY"}, []string{}
	for i, test := range cases {
		columns, literals = append(columns, fmt.Sprintf("v%d %s", i, test.declared)), append(literals, test.literal)
	}
	insert := func(id int) {
		c.exec(fmt.Sprintf("INSERT INTO payments VALUES (%d, %s)", id, strings.Join(literals, ", ")))
	}
	c.exec("DROP TABLE payments")
	c.exec("CREATE TABLE payments (" + strings.Join(columns, ", ") + ")")
	insert(1)
	r, h := c.reader(nil), newHand()
	run := read(t, r, h)
	loaded := h.take(t, 1)[0]
	c.reading()
	insert(2)
	streamed := h.take(t, 1)[0]
	found, err := r.Find(t.Context(), watch.Lookup{Table: "payments", Column: "id", Keys: []string{"2"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	// What explain makes of the row's JSON, as psql prints it, is what the stream tells.
	var given map[string]any
	decoder := json.NewDecoder(strings.NewReader(ask[string](c, "SELECT to_jsonb(p)::text FROM payments p WHERE id = 2")))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&given))
	given["account"] = map[string]any{"number": "1"} // no column: a row beside it
	converted, err := r.Convert(t.Context(), "payments", given)
	require.NoError(t, err)
	require.Equal(t, given["account"], converted["account"])
	delete(converted, "account")
	described, err := r.Describe(t.Context(), []string{"payments", "nowhere"})
	require.NoError(t, err)
	require.Len(t, described, 1)
	h.await(t, "the schema", func(h *hand) bool { return h.told == 1 && len(h.schemas["payments"]) == len(columns) })
	require.NoError(t, run.end())
	require.Equal(t, described, h.schemas, "the stream describes the table as the catalog does")
	require.Len(t, described["payments"], len(columns))
	require.Equal(t, watch.Column{Name: "id", Type: watch.Number, Key: true}, described["payments"][0])
	for source, values := range map[string]map[string]any{"snapshot": loaded.Values, "stream": streamed.Values, "lookup": found["2"], "explain": converted} {
		require.Len(t, values, len(columns), source)
		want := json.Number("2")
		if source == "snapshot" {
			want = "1"
		}
		require.Equal(t, want, values["id"], source)
		for i, test := range cases {
			require.Equal(t, test.want, values[fmt.Sprint("v", i)], "%s: %s %s", source, test.declared, test.literal)
		}
	}
	for i, test := range cases {
		require.Equal(t, watch.Column{Name: fmt.Sprint("v", i), Type: test.kind}, described["payments"][i+1], "%s %s", test.declared, test.literal)
	}
}

func TestTextThatIsNotOfItsTypeStaysText(t *testing.T) {
	for _, broken := range []string{"", "{", "{1", `{"a`, `{"a\`, "{1}}", "{,}", "[0:1]", "[0:1]={", "{{{{{{{1}}}}}}}", "x"} {
		f := &form{kind: array, comma: ',', element: &form{kind: numeral}}
		require.Equal(t, broken, f.value([]byte(broken)))
	}
	require.Equal(t, "{oh", (&form{kind: document}).value([]byte("{oh")))
	require.Equal(t, `\xzz`, (&form{kind: binary}).value([]byte(`\xzz`)))
	require.Equal(t, "2026-11-22 03:30:01-03", (&form{kind: instant}).value([]byte("2026-11-22 03:30:01-03")))
	require.Equal(t, "12", (&form{kind: day}).value([]byte("12")))
}

func TestLongKeysAreCutForPeople(t *testing.T) {
	require.Equal(t, "short", printable([]byte("short")))
	long := printable([]byte("ééééééééééééééééééééééééééééééééxééééééééééé"))
	require.Len(t, []rune(long), 33)
	require.Equal(t, "a?b", printable([]byte("a\xffb")))
}

func FuzzValuesNeverPanic(f *testing.F) {
	for _, seed := range []string{"{1,NULL}", `{"a\"b",{x}}`, "[0:1]={1,2}", "2026-11-22 03:25:01.5+00", "infinity", `\x00`, "1e5", "t", `{"a":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for k := textual; k <= binary; k++ {
			if over := cost.Parser.Within(len(text), func() { (&form{kind: k}).value(text) }); over != "" {
				t.Fatalf("form %d: %s", k, over)
			}
			v := (&form{kind: array, comma: ',', element: &form{kind: k}}).value(text)
			if _, isText := v.(string); !isText && (len(text) < 2 || text[len(text)-1] != '}') {
				t.Fatalf("%q was taken for an array", text)
			}
		}
		if n, ok := (&form{kind: numeral}).value(text).(json.Number); ok && !json.Valid([]byte(n)) {
			t.Fatalf("%q is no JSON number", n)
		}
	})
}

func FuzzMessagesNeverPanic(f *testing.F) {
	f.Add([]byte("I\x00\x00\x00\x01N\x00\x02t\x00\x00\x00\x011n"))
	f.Add([]byte("U\x00\x00\x00\x01K\x00\x02t\x00\x00\x00\x011nN\x00\x02t\x00\x00\x00\x011u"))
	f.Add([]byte("D\x00\x00\x00\x01O\x00\x02t\x00\x00\x00\x011n"))
	f.Add([]byte("B\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01"))
	f.Add([]byte("R\x00\x00\x00\x01public\x00payments\x00d\x00\x01\x01id\x00\x00\x00\x00\x14\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, message []byte) {
		l := newLane(&Reader{log: slog.New(slog.DiscardHandler)}, map[string]*table{})
		known := &relation{ours: true, shape: shape{table: "payments", names: []string{"id", "note"}, forms: []*form{{kind: numeral}, {}}, keys: []int{0}}}
		l.relations[1] = known
		if err := l.message(t.Context(), 7, &byteCursor{rest: message}); err != nil || l.filling == nil {
			return
		}
		for _, r := range l.filling.records {
			if r.Table != "payments" || r.Revision != 7 {
				t.Fatalf("%v", r)
			}
		}
	})
}

// TestACoreInAnotherEncodingIsReadAsUTF8: its server translates. JSON text may escape what no text of a database holds; the rows behind it come all the same.
func TestACoreInAnotherEncodingIsReadAsUTF8(t *testing.T) {
	t.Parallel()
	made := newCore(t, nil)
	c := *made
	name := made.slot + "_latin"
	made.exec("CREATE DATABASE " + name + " ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	c.url, c.slot = made.server.URL(name), name
	c.conn = c.connect()
	t.Cleanup(func() {
		_, err := made.conn.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)")
		require.NoError(t, err)
	})
	t.Cleanup(func() {
		_, err := c.conn.Exec(context.WithoutCancel(t.Context()), "SELECT pg_drop_replication_slot($1)", name)
		require.NoError(t, err)
	})
	c.exec("CREATE TABLE payments (id bigint PRIMARY KEY, note text, doc json)")
	c.exec(`INSERT INTO payments VALUES (1, E'caf\351', '{"a": "x"}')`)
	r := c.reader(nil)
	h := newHand()
	run := read(t, r, h)
	require.Equal(t, []string{"snapshot payments doc=map[a:x] id=1 note=café"}, briefs(h.take(t, 1)))
	c.reading()
	c.exec(`INSERT INTO payments VALUES (2, E'caf\351', '{"a": "x\u0000y"}'), (3, NULL, '{"a": "\ud800"}'), (4, 'after', NULL)`)
	require.Equal(t, []string{
		"insert payments doc=map[a:x\x00y] id=2 note=café",
		"insert payments doc=map[a:\uFFFD] id=3 note=<nil>", // half a surrogate is no character, and no reason to stop
		"insert payments doc=<nil> id=4 note=after",
	}, briefs(h.take(t, 3)))
	require.NoError(t, run.end())
}
