package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/ofb"
)

// flawed is a small mapping that is right; tests put mistakes into it.
const flawed = `source: core
type: postgres
tables:
  payments:
    kind: pix-payment
    id: id
    client: client_id
    version: v4
    status: status
    data:
      consentId: consent_id
`

func flawsOf(t *testing.T, text string) []string {
	t.Helper()
	_, err := ParseMapping("core.yaml", []byte(text))
	if err == nil {
		return nil
	}
	var e *MappingError
	require.ErrorAs(t, err, &e)
	var out []string
	for _, f := range e.Flaws {
		out = append(out, f.String())
	}
	return out
}

func TestAMappingTellsWhatItReads(t *testing.T) {
	m := mustParse(t, bank)
	require.Equal(t, "core", m.Source)
	require.Equal(t, "postgres", m.Type)
	require.EqualValues(t, 2, m.Generation)
	require.Equal(t, []string{"app.consents", "clients", "payments"}, m.Tables())
	require.Equal(t, []string{"clients", "payment_consents"}, m.Joined())
	require.Equal(t, []ofb.Kind{ofb.PaymentConsent, ofb.PixPayment, ofb.RecurringConsent}, m.Kinds())
	require.True(t, m.Registers())
	require.Nil(t, flawsOf(t, flawed))
	require.False(t, mustParse(t, flawed).Registers())
}

func TestEveryMistakeInAMappingNamesItsLineItsKeyAndWhatIsRight(t *testing.T) {
	// Each case replaces one piece of text and expects, in this order, these parts in one message.
	for name, c := range map[string]struct{ from, to, want string }{
		"no yaml":                  {"type: postgres", "type: [", "core.yaml:"},
		"a quarter of yaml":        {"id: id", "id: {a: b?.c}", "core.yaml:|quote what holds"},
		"two documents":            {"source: core", "---\na: 1\n---\nsource: core", "more than one document|one file for each source"},
		"unknown key":              {"source: core", "sauce: core", "core.yaml:1: sauce: is not known here|there are source, type"},
		"no source":                {"source: core", "generation: 1", "core.yaml:1: source: is missing|name the source"},
		"source no name":           {"source: core", "source: Core Bank", "core.yaml:1: source: is not a name|use at most 63"},
		"source twice":             {"source: core", "source: core\nsource: core", "core.yaml:2: source: stands twice|keep one"},
		"source a list":            {"source: core", "source: [core]", "core.yaml:1: source: is a list, not a text"},
		"source null":              {"source: core", "source:", "core.yaml:1: source: is null, not a text"},
		"no type":                  {"type: postgres\n", "", "type: is missing|write one of postgres, kafka, nats, rabbitmq"},
		"unknown type":             {"type: postgres", "type: oracle", `core.yaml:2: type: "oracle" is not a kind of origin|postgres, kafka`},
		"another type's block":     {"type: postgres", "type: postgres\nkafka: {}", "core.yaml:3: kafka: does not belong to a source of type postgres|take it out"},
		"generation negative":      {"type: postgres", "type: postgres\ngeneration: -1", "core.yaml:3: generation: is not a whole number from 0 to 32767"},
		"generation too large":     {"type: postgres", "type: postgres\ngeneration: 32768", "core.yaml:3: generation: is not a whole number"},
		"generation a text":        {"type: postgres", `type: postgres` + "\n" + `generation: "1"`, "core.yaml:3: generation: is not a whole number"},
		"table a word":             {flawed[strings.Index(flawed, "  payments:"):], "  payments: 1\n", "core.yaml:4: tables.payments: is a single value|write an object"},
		"kind unknown":             {"kind: pix-payment", "kind: pix", `core.yaml:5: tables.payments.kind: "pix" is not a kind|payment-consent, pix-payment`},
		"no kind":                  {"    kind: pix-payment\n", "", "core.yaml:5: tables.payments.kind: is missing|or initiator"},
		"key unknown":              {"id: id", "id: id\n    ident: id", "core.yaml:7: tables.payments.ident: is not known here|kind, when, joins, id"},
		"no id":                    {"    id: id\n", "", "tables.payments.id: is missing|gives paymentId"},
		"no client":                {"    client: client_id\n", "", "tables.payments.client: is missing|client id"},
		"no version":               {"    version: v4\n", "", "tables.payments.version: is missing|v4 or v5"},
		"no status":                {"    status: status\n", "", "tables.payments.status: is missing|the states of pix-payment are RCVD"},
		"no data":                  {"    data:\n      consentId: consent_id\n", "", "tables.payments.data: is missing|status GET"},
		"version of another kind":  {"version: v4", `version: '"v2"'`, `core.yaml:8: tables.payments.version: "v2" is not a version of pix-payment|use v4 or v5`},
		"version computed wrong":   {"version: v4", `version: '"v" + string(2)'`, `core.yaml:8: tables.payments.version: "v2" is not a version`},
		"version a number":         {"version: v4", "version: 4", "core.yaml:8: tables.payments.version: is a constant that is not text|'\"…\"'"},
		"id truth":                 {"id: id", "id: true", "core.yaml:6: tables.payments.id: is a constant that is not text"},
		"id an object":             {"id: id", "id: {a: b}", "core.yaml:6: tables.payments.id: is an object|one expression"},
		"id a date":                {"id: id", "id: 2026-01-01", `core.yaml:6: tables.payments.id: "2026-01-01" is neither text nor a number|both kinds of quotes`},
		"status of another kind":   {"status: status", `status: '"AUTHORISED"'`, `core.yaml:9: tables.payments.status: "AUTHORISED" is not a state|RCVD, PDNG`},
		"mapped status unknown":    {"status: status", "status: {value: s, map: {a: DONE}}", `core.yaml:9: tables.payments.status.map.a: "DONE" is not a state|RCVD, PDNG`},
		"status map empty":         {"status: status", "status: {value: s, map: {}}", "core.yaml:9: tables.payments.status.map: is empty|list the values"},
		"status without map":       {"status: status", "status: {value: s}", "core.yaml:9: tables.payments.status.map: is missing"},
		"status without value":     {"status: status", "status: {map: {a: ACSC}}", "core.yaml:9: tables.payments.status.value: is missing"},
		"status map twice":         {"status: status", "status: {value: s, map: {a: ACSC, a: RJCT}}", "core.yaml:9: tables.payments.status.map.a: stands twice"},
		"when a word of its own":   {"id: id", `when: '"x"'` + "\n    id: id", "core.yaml:6: tables.payments.when: is a constant that is not true or false"},
		"revision truth":           {"id: id", "revision: true\n    id: id", "core.yaml:6: tables.payments.revision: is a constant that is not a whole number"},
		"cause unknown":            {"id: id", "cause: '\"snapshot\"'\n    id: id", `core.yaml:6: tables.payments.cause: "snapshot" is not a cause|holder or initiator`},
		"occurredAt empty":         {"id: id", "occurredAt: []\n    id: id", "core.yaml:6: tables.payments.occurredAt: is empty|committed_at"},
		"data a list":              {"data:\n      consentId: consent_id", "data: [a]", "core.yaml:10: tables.payments.data: is a list"},
		"syntax":                   {"id: id", "id: '\"a\" +'", "core.yaml:6: tables.payments.id: unexpected token EOF, at character"},
		"empty expression":         {"id: id", "id: ''", "core.yaml:6: tables.payments.id: is empty|the empty text is"},
		"a clock":                  {"id: id", "id: now()", "core.yaml:6: tables.payments.id: uses the unknown function now, at character 1|amount, cents"},
		"a clock by pipe":          {"id: id", "id: x | now()", "core.yaml:6: tables.payments.id: uses the unknown function now"},
		"json of an object":        {"id: id", "id: toJSON(x)", "uses the unknown function toJSON"},
		"members in any order":     {"id: id", "id: keys(x)[0]", "uses the unknown function keys"},
		"a fold without bound":     {"id: id", "id: 'reduce(x, #acc + #)'", "uses the unknown function reduce"},
		"a list for each element":  {"consentId: consent_id", "a: 'all(xs, any(xs, # == 1))'", "core.yaml:11: tables.payments.data.a: goes through a list for each element of a list|in one pass"},
		"method":                   {"id: id", "id: a.b()", "core.yaml:6: tables.payments.id: calls a value that is not a function"},
		"environment":              {"id: id", "id: $env.id", "core.yaml:6: tables.payments.id: $env is not known here|write row"},
		"function as a column":     {"id: id", "id: date", "core.yaml:6: tables.payments.id: date is a function, at character 1|write row.date"},
		"no such zone":             {"id: id", `id: 'instant(a, "Brasilia")'`, "core.yaml:6: tables.payments.id: \"Brasilia\" names no zone, at character 1|write an IANA name"},
		"too many arguments":       {"id: id", "id: instant(a, b, c)", "core.yaml:6: tables.payments.id: too many arguments"},
		"constant of wrong types":  {"id: id", `id: '"a" + 1'`, "core.yaml:6: tables.payments.id: invalid operation: + (mismatched types string and int)"},
		"constant that fails":      {"id: id", `id: amount("1.234")`, "core.yaml:6: tables.payments.id: cannot be computed: amount() takes a sum"},
		"variable of ours":         {"id: id", "id: let row = 1; string(row)", "row is a name of ours"},
		"too long":                 {"id: id", "id: '" + strings.Repeat("a + ", 1100) + "a'", "an expression has 4096 at most"},
		"too many parts":           {"id: id", "id: '" + strings.Repeat("a+", 600) + "a'", "exceeds maximum allowed nodes"},
		"data with an alias bomb":  {"source: core", bomb(), "is more than 10000 values|fewer aliases"},
		"data too deep":            {"consentId: consent_id", strings.Repeat("{a: ", 40) + "b" + strings.Repeat("}", 40), ""},
		"join name taken":          {"id: id", "joins: {row: {table: t, column: c, value: v}}\n    id: id", "core.yaml:6: tables.payments.joins.row: is not free to name a row"},
		"join name no word":        {"id: id", "joins: {a-b: {table: t, column: c, value: v}}\n    id: id", "joins.a-b: is not free"},
		"join unknown key":         {"id: id", "joins: {a: {table: t, columns: c, value: v}}\n    id: id", "joins.a.columns: is not known here|table, column, value"},
		"join not complete":        {"id: id", "joins: {a: {}}\n    id: id", "joins.a.value: is missing"},
		"join of a later one":      {"id: id", "joins: {a: {table: t, column: c, value: b.x}, b: {table: t, column: c, value: v}}\n    id: id", "joins.a.value: looks at b, which is looked up later|put b before it"},
		"join of itself":           {"id: id", "joins: {a: {table: t, column: c, value: a.x}}\n    id: id", "joins.a.value: looks at a, which is looked up later"},
		"initiator with data":      {"kind: pix-payment", "kind: initiator", "core.yaml:6: tables.payments.id: is not known here|organisationId"},
		"initiator without client": {"    kind: pix-payment\n    id: id\n    client: client_id\n    version: v4\n    status: status\n    data:\n      consentId: consent_id\n", "    kind: initiator\n", "tables.payments.organisationId: is missing"},
		"statements otherwise":     {"kind: pix-payment", "kind: initiator\n    statements: unchecked", "tables.payments.statements: is not checked-by-authorization-server"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, flawed, c.from)
			text := strings.Replace(flawed, c.from, c.to, 1)
			if name == "data too deep" {
				text, c.want = strings.Replace(flawed, "consentId: consent_id", "a: "+c.to, 1), "is nested too deep"
			}
			found := flawsOf(t, text)
			for _, f := range found {
				at, ok := 0, true
				for part := range strings.SplitSeq(c.want, "|") {
					i := strings.Index(f[at:], part)
					if ok = i >= 0; !ok {
						break
					}
					at += i
				}
				if ok {
					return
				}
			}
			require.Failf(t, "not told", "%q is in none of\n%s", c.want, strings.Join(found, "\n"))
		})
	}
}

// bomb is a document of aliases of aliases: 10^7 values.
func bomb() string {
	text := "postgres:\n  a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 6 {
		text += strings.ReplaceAll("  aN: &aN ["+strings.Repeat("*aP,", 9)+"*aP]\n", "N", string(rune('1'+i)))
		text = strings.ReplaceAll(text, "aP", "a"+string(rune('0'+i)))
	}
	return text + "source: core\ntype: postgres\ntables:\n  t:\n    kind: pix-payment\n    id: id\n    client: c\n    version: v4\n    status: s\n    data: {x: *a6}\nx-rest:"
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	text := strings.NewReplacer("source: core", "source: CORE", "id: id", "id: now()", "version: v4", "version: '\"v9\"'", "status: status", "status: 7").Replace(flawed)
	require.Len(t, flawsOf(t, text), 4)
}

// TestAFlawThatAliasesRepeatIsToldOnce: one cause, one line of the file, one message.
func TestAFlawThatAliasesRepeatIsToldOnce(t *testing.T) {
	const repeated = `source: core
type: postgres
tables:
  payments: &table
    kind: pix-payment
    id: id
    client: client_id
    version: v4
    status: status
    data:
      debtorAccount: &account {ispb: %s}
      creditorAccount: *account
  others: *table
`
	broken := flawsOf(t, fmt.Sprintf(repeated, "nosuch(ispb)"))
	require.Len(t, broken, 1, "%v", broken)
	require.Contains(t, broken[0], "core.yaml:11: tables.payments.data.debtorAccount.ispb: uses the unknown function nosuch")
	m := mustParse(t, fmt.Sprintf(repeated, "ispd"))
	columns := []Column{{Name: "id", Type: Text}, {Name: "client_id", Type: Text}, {Name: "status", Type: Text}, {Name: "ispb", Type: Text}}
	found := m.Check(map[string][]Column{"payments": columns, "others": columns})
	var unknown []string
	for _, f := range found {
		unknown = append(unknown, f.Wrong)
	}
	require.NotEmpty(t, unknown)
	require.Contains(t, unknown[0], "unknown name ispd")
	require.LessOrEqual(t, len(unknown), 2, "at most one for each table, as its columns may differ: %v", unknown)
}

func TestAMappingIsBoundToABusOnlyWithoutLookups(t *testing.T) {
	text := strings.Replace(flawed, "type: postgres", "type: kafka", 1)
	require.Nil(t, flawsOf(t, text))
	text = strings.Replace(text, "    id: id", "    joins: {a: {table: t, column: c, value: v}}\n    id: id", 1)
	require.Contains(t, strings.Join(flawsOf(t, text), "\n"), "a source of type kafka has no tables to ask")
}

func TestATableWhoseOriginNumbersNothingNeedsARevision(t *testing.T) {
	const name = "name the member that holds the core's own revision, a whole number that grows with each change of the resource"
	settings := func(kind, block string) string {
		return strings.Replace(flawed, "type: postgres", "type: "+kind+"\n"+kind+": "+block, 1)
	}
	own := func(text string) string { return strings.Replace(text, "id: id", "id: id\n    revision: seq", 1) }
	client := "  clients:\n    kind: initiator\n    client: _key\n    organisationId: o\n    softwareId: s\n    webhookUris: uris\n"

	queue := settings("rabbitmq", "{queues: {payments: ''}}")
	require.Equal(t, []string{"core.yaml:6: tables.payments.revision: is missing, and a queue numbers nothing; " + name}, flawsOf(t, queue+client))
	require.Nil(t, flawsOf(t, own(queue)+client))

	topic := settings("kafka", "{topics: {core.payments: payments, other: clients}}")
	require.Equal(t, []string{`core.yaml:6: tables.payments.revision: is missing, and nothing permits the offset of topic "core.payments" to stand in; ` +
		name + ", or put the topic into offset_revisions with its number of partitions"}, flawsOf(t, topic+client))
	require.Nil(t, flawsOf(t, own(topic)))
	require.Nil(t, flawsOf(t, settings("kafka", "{topics: {core.payments: payments}, offset_revisions: {core.payments: 12}}")))
	require.Nil(t, flawsOf(t, settings("kafka", "{topics: {payments: ''}, offset_revisions: {payments: 1}}")))
	require.Len(t, flawsOf(t, settings("kafka", "{topics: {a: payments, b: payments}, offset_revisions: {a: 1}}")), 1, "one topic has no number")
	require.Nil(t, flawsOf(t, settings("nats", "{subjects: {payments: ''}}")), "a stream numbers its messages")
}

func TestSettingsAreReadStrictlyByWhoeverOwnsThem(t *testing.T) {
	type inner struct {
		CA string `yaml:"ca"`
	}
	type Login struct {
		User string `yaml:"user"`
	}
	type settings struct {
		URL   string        `yaml:"url"`
		Every time.Duration `yaml:"every"`
		TLS   *inner        `yaml:"tls"`
		Login `yaml:",inline"`
	}
	parse := func(block string) (settings, error) {
		m := mustParse(t, strings.Replace(flawed, "tables:", "postgres:\n"+block+"tables:", 1))
		s := settings{Every: time.Second}
		return s, m.Settings(&s)
	}
	m := mustParse(t, strings.Replace(flawed, "tables:", "postgres: {url: x, every: 3s, tls: {ca: y}, user: u}\ntables:", 1))
	var s settings
	require.NoError(t, m.Settings(&s))
	require.Equal(t, settings{URL: "x", Every: 3 * time.Second, TLS: &inner{CA: "y"}, Login: Login{"u"}}, s)

	_, err := parse("  url: x\n  tls:\n    cert: y\n")
	require.EqualError(t, err, "core.yaml:6: postgres.tls.cert: is not known here; there are ca")
	_, err = parse("  url: x\n  urls: y\n")
	require.ErrorContains(t, err, "core.yaml:5: postgres.urls: is not known here; there are url, every, tls, user")
	_, err = parse("  url: x\n  every: soon\n")
	require.ErrorContains(t, err, "core.yaml:5: postgres: cannot unmarshal")
	require.NoError(t, mustParse(t, flawed).Settings(&settings{}), "no block: the defaults")
}

func TestAMappingIsReadFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "core.yaml")
	_, err := ReadMapping(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte(flawed), 0o600))
	m, err := ReadMapping(path)
	require.NoError(t, err)
	require.Equal(t, "core.yaml", m.File)
	_, err = ParseMapping("x", make([]byte, maxFile+1))
	require.ErrorContains(t, err, "a mapping has 1048576 at most")
	_, err = ParseMapping("x", nil)
	require.ErrorContains(t, err, "is empty")
}

// mappingBudget is larger than that of other parsers: an expression is compiled, and a mapping is read once, at start. A YAML
// document may repeat parts of itself; the reader stops before that costs more.
var mappingBudget = cost.Budget{Time: 500 * time.Millisecond, TimePerByte: 20 * time.Microsecond, Bytes: 8 << 20, BytesPerByte: 2048}

func FuzzParseMapping(f *testing.F) {
	f.Add([]byte(bank))
	f.Add([]byte(flawed))
	f.Add([]byte(bomb()))
	f.Add([]byte("a: &a [*a]\nb: {<<: *a}\n? [x]\n: y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		require.Empty(t, mappingBudget.Within(len(text), func() { _, _ = ParseMapping("f", text) }))
		m, err := ParseMapping("f", text)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		m.Check(bankColumns())
		_ = m.Settings(&struct{ A int }{})
		for _, table := range m.Tables() {
			rec := payment(nil)
			rec.Table = table
			all, err := m.Explain(t.Context(), nil, rec)
			require.NoError(t, err)
			require.NotEmpty(t, all)
		}
	})
}
