package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/notice"
)

func TestARowBecomesTheLineTheCoreCouldHaveSent(t *testing.T) {
	m := mustParse(t, bank)
	require.Empty(t, m.Check(bankColumns()))
	got := mapOne(t, m, payment(nil), 0)
	require.Empty(t, got.Problems)
	require.Equal(t, `{"kind":"pix-payment","clientId":"itp-88","apiVersion":"v5","revision":562949953425972,"occurredAt":"2026-11-21T11:59:59.25Z",`+
		`"data":{"paymentId":"p-4711","status":"ACSC","endToEndId":"E1","consentId":"urn:bank:consent:c-1","creationDateTime":"2026-11-21T11:59:00Z",`+
		`"payment":{"amount":"1500.10","currency":"BRL"},"tags":[1.5,5,true],"empty":{}}}`, string(got.Line))
}

// member reads a member of a line, by dots.
func member(t *testing.T, line []byte, path string) any {
	t.Helper()
	v, err := DecodeJSON(line)
	require.NoError(t, err)
	for name := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

func codes(problems []notice.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Code+" "+p.Pointer)
	}
	return out
}

func TestWhatARowLeavesOpenIsLeftOutOrPutAside(t *testing.T) {
	m := mustParse(t, bank)
	for name, c := range map[string]struct {
		override map[string]any
		path     string
		want     any
		codes    []string
	}{
		"a null is left out":              {map[string]any{"end_to_end": nil}, "data.endToEndId", nil, nil},
		"a null by a function too":        {map[string]any{"created_at": nil}, "data.creationDateTime", nil, nil},
		"an object of nulls is left out":  {nil, "data.rejectionReason", nil, nil},
		"an object of some nulls is not":  {map[string]any{"reason": "X"}, "data.rejectionReason.detail", "X", nil},
		"?? takes what stands for a null": {map[string]any{"reason": "X", "reason_text": "y"}, "data.rejectionReason.detail", "y", nil},
		"a status by number":              {map[string]any{"status": json.Number("7")}, "data.status", "CANC", nil},
		"the initiator as cause":          {map[string]any{"cancelled_by": "INITIATOR"}, "cause", "initiator", nil},
		"occurredAt falls back":           {map[string]any{"status_at": nil}, "occurredAt", "2026-11-21T11:59:58Z", nil},
		"before this century":             {map[string]any{"status_at": "0001-01-01T00:00:00Z"}, "occurredAt", "2026-11-21T11:59:58Z", nil},
		"an infinity":                     {map[string]any{"status_at": ""}, "occurredAt", "2026-11-21T11:59:58Z", nil},
		"a minute ahead is possible":      {map[string]any{"status_at": "2026-11-21T12:01:00Z"}, "occurredAt", "2026-11-21T12:01:00Z", nil},
		"more than that is not":           {map[string]any{"status_at": "2026-11-21T12:01:00.001Z"}, "occurredAt", "2026-11-21T11:59:58Z", nil},
		"the commit at last":              {map[string]any{"status_at": nil, "updated_at": "1999-12-31T23:59:59Z"}, "occurredAt", "2026-11-21T12:00:00Z", nil},

		"unmapped status":    {map[string]any{"status": "BOOKED"}, "", nil, []string{"unmapped-status /data/status"}},
		"null status":        {map[string]any{"status": nil}, "", nil, []string{"unmapped-status /data/status"}},
		"null id":            {map[string]any{"external_id": nil}, "", nil, []string{"null-id /data/paymentId"}},
		"empty id":           {map[string]any{"external_id": ""}, "", nil, []string{"null-id /data/paymentId"}},
		"no consent row":     {map[string]any{"consent_id": "c-2"}, "", nil, []string{"no-joined-row "}},
		"null in a text":     {map[string]any{"consent_id": nil}, "", nil, []string{"no-joined-row "}},
		"a sum of fractions": {map[string]any{"total": "1.005"}, "", nil, []string{"expression /data/payment/amount"}},
		"not fetched":        {map[string]any{"total": Missing{}}, "", nil, []string{"missing-value "}},
		"two faults":         {map[string]any{"status": nil, "external_id": nil}, "", nil, []string{"null-id /data/paymentId", "unmapped-status /data/status"}},
		"no UTF-8":           {map[string]any{"end_to_end": "\xff"}, "", nil, []string{"expression /data/endToEndId"}},
		"a huge text":        {map[string]any{"end_to_end": strings.Repeat("x", maxLine)}, "", nil, []string{"too-large "}},
		"a huge value":       {map[string]any{"extra": make([]any, maxNodesOfValue)}, "", nil, []string{"too-large "}},
		"an unknown type":    {map[string]any{"total": time.Now()}, "", nil, []string{"too-large "}},
	} {
		t.Run(name, func(t *testing.T) {
			got := mapOne(t, m, payment(c.override), 0)
			require.Equal(t, c.codes, codes(got.Problems), "%+v", got.Problems)
			if c.codes == nil {
				require.Equal(t, c.want, member(t, got.Line, c.path), "%s", got.Line)
				return
			}
			require.Nil(t, got.Line)
			for _, p := range got.Problems {
				require.NotEmpty(t, p.DetailPT)
				for _, v := range c.override {
					if s, is := v.(string); is && len(s) > 3 {
						require.NotContains(t, p.Detail+p.DetailPT, s, "a problem repeats a value")
					}
				}
			}
		})
	}
}

func TestAColumnThatTheRecordHasNotIsNoNull(t *testing.T) {
	rec := payment(nil)
	delete(rec.Values, "reason")
	got := mapOne(t, mustParse(t, bank), rec, 0)
	require.Equal(t, []string{"no-column "}, codes(got.Problems))
	require.Contains(t, got.Problems[0].Detail, "the column reason")

	bus := mustParse(t, strings.NewReplacer("type: postgres", "type: kafka").Replace(flawed))
	r := SourceRecord{Table: "payments", Op: Insert, Values: map[string]any{"id": "p", "client_id": "c", "status": "ACSC"}, Revision: 1, CommittedAt: noon}
	got = mapOne(t, bus, r, 0)
	require.Empty(t, got.Problems, "a member that a message has not is null")
	require.Equal(t, `{"paymentId":"p","status":"ACSC"}`, marshal(t, member(t, got.Line, "data")))
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func TestWhatTheMappingPassesOverHasAReason(t *testing.T) {
	m := mustParse(t, bank)
	got := mapOne(t, m, payment(map[string]any{"kind": "TED"}), 0)
	require.Equal(t, "tables.payments.when is false", got.Skipped)
	require.Nil(t, got.Line)
	rec := payment(nil)
	rec.Op, rec.Values = Delete, map[string]any{"id": json.Number("4711")}
	require.Contains(t, mapOne(t, m, rec, 0).Skipped, "deleted")
}

func TestOneTableFeedsSeveralMappings(t *testing.T) {
	m := mustParse(t, bank)
	rec := SourceRecord{Table: "app.consents", Op: Insert, Revision: 9, CommittedAt: noon, Values: map[string]any{
		"urn": "urn:b:1", "type": json.Number("1"), "client_id": "itp", "status": "AUTHORISED", "version": json.Number("12"), "extra": nil,
	}}
	first, second := mapOne(t, m, rec, 0), mapOne(t, m, rec, 1)
	require.JSONEq(t, `{"consentId":"urn:b:1","status":"AUTHORISED"}`, marshal(t, member(t, first.Line, "data")))
	require.Equal(t, json.Number("12"), member(t, first.Line, "revision"), "the mapping's own, not shifted by the generation")
	require.Contains(t, second.Skipped, "app.consents\"[1].when")
	rec.Values["type"] = json.Number("2")
	require.NotEmpty(t, mapOne(t, m, rec, 0).Skipped)
	require.Equal(t, "recurring-consent", member(t, mapOne(t, m, rec, 1).Line, "kind"))
	rec.Values["type"] = nil
	require.NotEmpty(t, mapOne(t, m, rec, 0).Skipped, "a null is not 1")
}

func TestRevisionsAreTheOriginsShiftedOrTheMappingsOwn(t *testing.T) {
	m := mustParse(t, strings.Replace(flawed, "type: postgres", "type: kafka\ngeneration: 32767", 1))
	rec := SourceRecord{Table: "payments", Values: map[string]any{"id": "p", "client_id": "c", "status": "ACSC"}, CommittedAt: noon}
	for revision, want := range map[int64]string{1: "9223090561878065153", 1<<48 - 1: "9223372036854775807", 0: "", -1: "", 1 << 48: ""} {
		rec.Revision = revision
		got := mapOne(t, m, rec, 0)
		if want == "" {
			require.Equal(t, []string{"no-revision /revision"}, codes(got.Problems), revision)
			beyond := strings.Contains(got.Problems[0].Detail, "needs more than the 48 bits that generation 32767 leaves it")
			require.Equal(t, revision > 0, beyond, "said, and not wrapped around into another generation")
		} else {
			require.Equal(t, json.Number(want), member(t, got.Line, "revision"))
		}
	}
	m = mustParse(t, strings.NewReplacer("type: postgres", "type: kafka", "id: id", "id: id\n    revision: seq").Replace(flawed))
	for value, want := range map[any]string{
		json.Number("7"): "7", "8": "8", json.Number("0"): "", json.Number("-3"): "", "x": "", nil: "", json.Number("1.5"): "", true: "",
		json.Number("9223372036854775807"): "9223372036854775807", "9223372036854775808": "",
	} {
		rec.Values["seq"] = value
		got := mapOne(t, m, rec, 0)
		if want == "" {
			require.NotEmpty(t, got.Problems, value)
		} else {
			require.Equal(t, json.Number(want), member(t, got.Line, "revision"), got.Problems)
		}
	}
}

// TestAFirstLoadHappenedAtTheLatestWhenItWasRead: its commits are not known, and a mapping need not name a column for that.
func TestAFirstLoadHappenedAtTheLatestWhenItWasRead(t *testing.T) {
	m := mustParse(t, `
source: bus
type: nats
tables:
  p: {kind: pix-payment, id: id, client: id, version: v4, status: '"ACSC"', data: {}}
`)
	first := SourceRecord{Table: "p", Op: Snapshot, Values: map[string]any{"id": "x"}, Revision: 1, ReadAt: noon}
	again, err := ParseEnvelope((Envelope{Source: "bus", Record: first}).Encode())
	require.NoError(t, err)
	for _, rec := range []SourceRecord{first, again.Record} {
		made := mapOne(t, m, rec, 0)
		require.Empty(t, codes(made.Problems))
		require.Contains(t, string(made.Line), `"occurredAt":"2026-11-21T12:00:00Z"`)
		require.Contains(t, string(made.Line), `"cause":"snapshot"`)
		require.Zero(t, rec.CommittedAt, "from no commit on was it ours to announce")
	}
}

func TestASnapshotIsNeverAnnounced(t *testing.T) {
	rec := payment(map[string]any{"cancelled_by": "INITIATOR"})
	rec.Op = Snapshot
	require.Equal(t, "snapshot", member(t, mapOne(t, mustParse(t, bank), rec, 0).Line, "cause"))
}

func TestAClientsRowBecomesARegistration(t *testing.T) {
	m := mustParse(t, bank)
	row := func(override map[string]any) SourceRecord {
		rec := payment(map[string]any{
			"client_id": "itp", "role": "ITP", "active": true, "org": "o", "software": "s", "name": "N", "uris": []any{"https://a/", "https://b/"}, "ssa": nil,
		})
		for k, v := range override {
			rec.Values[k] = v
		}
		rec.Table, rec.Key = "clients", "clients client_id=itp"
		return rec
	}
	got := mapOne(t, m, row(nil), 0)
	require.Empty(t, got.Problems)
	require.Equal(t, &Registration{
		Client: "itp", OrganisationID: "o", SoftwareID: "s", Name: "N", WebhookURIs: []string{"https://a/", "https://b/"}, Checked: true,
	}, got.Registration)
	require.Equal(t, []string{"https://a/"}, mapOne(t, m, row(map[string]any{"uris": "https://a/"}), 0).Registration.WebhookURIs)
	require.Nil(t, mapOne(t, m, row(map[string]any{"uris": nil}), 0).Registration.WebhookURIs, "push is off")
	require.Equal(t, "e.s.a", mapOne(t, m, row(map[string]any{"ssa": "e.s.a"}), 0).Registration.Statement)
	require.Equal(t, notice.ClientID("itp"), mapOne(t, m, row(map[string]any{"active": false}), 0).Delete)
	require.NotEmpty(t, mapOne(t, m, row(map[string]any{"role": "TPP"}), 0).Skipped)
	require.Equal(t, []string{"expression "}, codes(mapOne(t, m, row(map[string]any{"active": nil}), 0).Problems), "a null is neither")
	require.Equal(t, []string{"expression /organisationId"}, codes(mapOne(t, m, row(map[string]any{"org": nil}), 0).Problems))
	require.Equal(t, []string{"expression /webhookUris"}, codes(mapOne(t, m, row(map[string]any{"uris": []any{json.Number("1")}}), 0).Problems))
	require.Equal(t, []string{"expression /webhookUris"}, codes(mapOne(t, m, row(map[string]any{"uris": json.Number("1")}), 0).Problems))

	gone := SourceRecord{Table: "clients", Op: Delete, Key: "clients client_id=itp", Values: map[string]any{"client_id": "itp"}}
	require.Equal(t, notice.ClientID("itp"), mapOne(t, m, gone, 0).Delete, "a deleted row tells its key alone")
	gone.Values = map[string]any{"id": json.Number("1")}
	require.Equal(t, []string{"no-column "}, codes(mapOne(t, m, gone, 0).Problems))
}

func TestAMessageThatCouldNotBeReadIsPutAside(t *testing.T) {
	m := mustParse(t, strings.Replace(flawed, "type: postgres", "type: nats", 1))
	got := mapOne(t, m, SourceRecord{Table: "payments", Op: Insert, Values: map[string]any{memberInvalid: "the body is empty; it must be one JSON object"}}, 0)
	require.Equal(t, []string{"unreadable "}, codes(got.Problems))
}

func TestLookupsAreAskedOnceForAllRecords(t *testing.T) {
	m := mustParse(t, bank)
	var asked []Lookup
	maker := &mapper{find: func(ctx context.Context, l Lookup) (map[string]map[string]any, error) {
		asked = append(asked, l)
		return rows(ctx, l)
	}}
	var works []*work
	for i := range 50 {
		rec := payment(map[string]any{"external_id": fmt.Sprint("p-", i), "consent_id": []any{"c-1", "c-2", nil}[i%3]})
		works = append(works, &work{rule: m.rules["payments"][0], rec: &rec})
	}
	require.NoError(t, maker.all(t.Context(), works))
	require.Equal(t, []Lookup{{"payment_consents", "id", []string{"c-1", "c-2"}}, {"clients", "id", []string{"88"}}}, asked)
	require.NotNil(t, works[0].Line)
	require.NotEmpty(t, works[1].Problems)

	maker.find = func(context.Context, Lookup) (map[string]map[string]any, error) { return nil, errors.New("away") }
	rec := payment(nil)
	require.ErrorContains(t, maker.all(t.Context(), []*work{{rule: m.rules["payments"][0], rec: &rec}}), "look up 1 rows of payment_consents by id: away")
}

func TestNothingOfOneRecordIsSeenByTheNext(t *testing.T) {
	m := mustParse(t, strings.Replace(flawed, "type: postgres", "type: kafka", 1))
	maker := &mapper{}
	one := func(values map[string]any) Mapped {
		w := &work{rule: m.rules["payments"][0], rec: &SourceRecord{Table: "payments", Values: values, Revision: 1, CommittedAt: noon}}
		require.NoError(t, maker.all(t.Context(), []*work{w}))
		return w.Mapped
	}
	require.Empty(t, one(map[string]any{"id": "p", "client_id": "c", "status": "ACSC", "consent_id": "urn:x"}).Problems)
	got := one(map[string]any{"id": "p", "status": "ACSC"})
	require.Equal(t, []string{"no-client /clientId"}, codes(got.Problems))
}

func TestTheMappingIsHeldAgainstTheColumns(t *testing.T) {
	m := mustParse(t, bank)
	require.Nil(t, m.Check(nil), "a bus has no columns")
	for name, c := range map[string]struct {
		change func(map[string][]Column)
		want   string
	}{
		"a table is gone":       {func(c map[string][]Column) { delete(c, "clients") }, "core.yaml: tables.clients: there is no table clients"},
		"a joined table":        {func(c map[string][]Column) { delete(c, "payment_consents") }, "core.yaml:12: tables.payments.joins.consent: there is no table payment_consents"},
		"a joined column":       {func(c map[string][]Column) { c["payment_consents"][0].Name = "key" }, "table payment_consents has no column id; its columns are client_ref, key"},
		"a column is gone":      {func(c map[string][]Column) { c["payments"] = c["payments"][:14] }, "core.yaml:32: tables.payments.data.tags[0]: unknown name extra, at character 1; payments has api, "},
		"of the row by name":    {func(c map[string][]Column) { c["app.consents"][1].Name = "kind" }, "unknown field type"},
		"of the joined row":     {func(c map[string][]Column) { c["payment_consents"][1].Name = "client" }, `tables.payments.joins.client.value: unknown field client_ref, at character 9; payments has `},
		"another type":          {func(c map[string][]Column) { c["payments"][4].Type = Boolean }, ""},
		"an id that is no text": {func(c map[string][]Column) { c["payments"][1].Type = Number }, "core.yaml:14: tables.payments.id: gives a number, and must give text"},
		"when no truth":         {func(c map[string][]Column) { c["app.consents"][1].Type = Text }, "tables.\"app.consents\"[0].when: invalid operation: == (mismatched types string and int)"},
		"a key that tells less": {func(c map[string][]Column) { c["clients"][1].Key = false }, "tables.clients.client: looks at client_id, which is not told when a row is deleted; make it part"},
	} {
		t.Run(name, func(t *testing.T) {
			columns := bankColumns()
			c.change(columns)
			var all []string
			for _, f := range m.Check(columns) {
				all = append(all, f.String())
			}
			if c.want == "" {
				require.Empty(t, all)
				return
			}
			require.Contains(t, strings.Join(all, "\n"), c.want)
		})
	}
}

// TestDigitsTakesAnyText: characters that only look like ASCII letters, or become such in capitals, make no CNPJ.
func TestDigitsTakesAnyText(t *testing.T) {
	for text, want := range map[string]string{
		"12ABK34501DE35": "123450135", "12ab\u212a34501de35": "123450135", "12ab\u212a\u212a4501de35": "12450135", "\u212a\u212a\u212a\u212a\u212a\u212a\u212a\u212a\u212a\u212a\u212a\u212a00": "00", "12AB\u017f34501DE35": "123450135",
		"12.AB\u212a.345/01DE-35": "123450135", "12.AB\u017f.345/01DE-35": "123450135", "1\u0131ABC34501DE35": "1" + "3450135", "\xff2ABC34501DE35": "23450135",
		" 12ABC34501DE35\n": "12ABC34501DE35",
	} {
		require.Equal(t, want, digitsOf(text), "%q", text)
	}
	character := rapid.SampledFrom([]rune("0123456789AKSaks\u212a\u017f\u0131\u0130ÀI٣.-/ "))
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(character, 0, 20, -1).Draw(t, "text")
		if rapid.Bool().Draw(t, "of the form of a CNPJ") {
			text = rapid.StringOfN(rapid.SampledFrom([]rune("01Ak\u212a\u017f")), 12, 12, -1).Draw(t, "base") + "35"
		}
		got := digitsOf(text)
		require.True(t, isDigits(got) || len(got) == 14 && got == alphanumericOf(text), "%q gives %q", text, got)
	})
}

func TestFunctionsGiveWhatTheAPIsTake(t *testing.T) {
	env := map[string]any{"null": nil, "n": 42, "f": 1500.1, "big": "12345678901234567890", "list": []any{"a", "b"}, "o": map[string]any{"b": 1, "a": nil}}
	for text, want := range map[string]any{
		`amount("0")`: "0.00", `amount("1500.1")`: "1500.10", `amount(1500)`: "1500.00", `amount(f)`: "1500.10", `amount("1.2300")`: "1.23", `amount(null)`: nil,
		`cents(5)`: "0.05", `cents("123456")`: "1234.56", `cents(null)`: nil,
		`instant("2026-11-21T09:00:00.999-03:00")`: "2026-11-21T12:00:00Z", `instant("2026-11-21 12:00:00+00")`: "2026-11-21T12:00:00Z",
		`instant("2026-11-21 12:00:00.5", "UTC")`: "2026-11-21T12:00:00Z", `instant(null)`: nil, `instant(null, "UTC")`: nil,
		`instant("2026-11-21T09:00:00", "America/Sao_Paulo")`: "2026-11-21T12:00:00Z", `instant("2026-11-21", "America/Sao_Paulo")`: "2026-11-21T03:00:00Z",
		`instant("2026-11-21T09:00:00-05:00", "America/Sao_Paulo")`: "2026-11-21T14:00:00Z", // it tells its own offset
		`instant("2018-02-17T23:30:00", "America/Sao_Paulo")`:       "2018-02-18T01:30:00Z", // shown twice: the first counts
		`instant("2018-02-17T22:30:00", "America/Sao_Paulo")`:       "2018-02-18T00:30:00Z", `instant("2018-02-18T00:30:00", "America/Sao_Paulo")`: "2018-02-18T03:30:00Z",
		`instant("2018-11-04T01:30:00", "America/Sao_Paulo")`: "2018-11-04T03:30:00Z",
		`date("2026-11-21T23:00:00")`:                         "2026-11-21", `date("2026-11-22T01:00:00Z", "America/Sao_Paulo")`: "2026-11-21",
		`date("2026-11-22T01:00:00Z")`: "2026-11-22", `date("2026-11-22T01:00:00Z", "-03:00")`: "2026-11-21", `date("2026-11-22")`: "2026-11-22", `date(null)`: nil,
		`fromUnix(1763726400)`: "2025-11-21T12:00:00Z", `fromUnixMs("1763726400123")`: "2025-11-21T12:00:00.123Z", `fromUnix(null)`: nil,
		`lower("ÀB")`: "àb", `upper(null)`: nil, `trim(" a ")`: "a", `digits("123.456-7")`: "1234567", `digits("12.abc.345/01DE-35")`: "12ABC34501DE35", `digits("12ABC34501DE35")`: "12ABC34501DE35", `digits("12.ABC.345/01DE-36")`: "12ABC34501DE36",
		`digits("12ABC34501DE36")`: "123450136", `digits("11.222.333/0001-81")`: "11222333000181", `digits("CPF 123.456.789-09")`: "12345678909", `digits("CPF12345678909")`: "12345678909", `digits("ç")`: "",
		`alphanumeric("12.aBC.345/01de-35")`: "12ABC34501DE35", `alphanumeric(null)`: nil, `padLeft(n, 8, "0")`: "00000042", `padLeft("123", 2, "0")`: "123",
		`replace("a.b.c", ".", "-")`: "a-b-c", `join(split("a,b", ","), "+")`: "a+b", `join(list, "")`: "ab", `string(n) + string(true) + string(1.5)`: "42true1.5",
		`oneOf(n, 1, 42)`: true, `oneOf(null, "a")`: false, `oneOf("x", "a", "b")`: false, `null ?? "z"`: "z", `null == nil`: true, `null == "x"`: false, `n + 1`: 43, `f + n`: 1542.1,
		`fromJSON("{\"a\": [1, 2.5]}").a[1]`: 2.5, `o.b`: 1, `o.c`: nil, `o?.a?.b`: nil, `map(list, # + "!")`: []any{"a!", "b!"}, `len(list)`: 2,
		`any(list, # == "b")`: true, `"a" in list`: true, `let x = "q"; x + x`: "qq", `null in ["a"]`: false, `lower(null) == "a"`: false, `n > 3 and f < 2000`: true,
		`big + ""`: "12345678901234567890", `first(list)`: "a", `sum([1, 2])`: 3, `max(1, 2)`: 2, `"abc" matches "^a"`: true, `"abc"[1:]`: "bc", `n >= 1 ? "y" : "x"`: "y",
	} {
		e := &expression{text: text}
		require.NoError(t, e.compile(), text)
		got, err := e.eval(&(&mapper{}).machine, env)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		`amount("1.005")`, `amount("-1")`, `amount("")`, `amount("12345678901234567")`, `amount("1e3")`, `amount(o)`, `cents("1.5")`, `cents(-1)`, `instant("yesterday")`,
		`instant(n)`, `instant("2026-11-21 12:00:00.5")`, `instant("2026-11-21")`, `instant("2018-11-04T00:30:00", "America/Sao_Paulo")`,
		`instant("2026-11-21T12:00:00", lower("Local"))`, `instant("2026-11-21T12:00:00", lower("A/B"))`, `instant("0001-01-01T00:00:00", "Asia/Tokyo")`,
		`date("2026-11-21T23:00:00", "-03:00")`, `date("x")`, `date("2026-11-22", "Sao Paulo")`, `fromUnix(-1)`, `fromUnix("99999999999999")`, `lower(n)`, `padLeft("a", 300, "0")`, `padLeft("a", 3, "00")`,
		`replace("a", "", "b")`, `split("a", "")`, `join(list, n)`, `join([1], "")`, `"a" + null`, `null + null`, `"a" + n`, `fromJSON("{")`, `fromJSON("1 2")`, `oneOf(list, 1)`,
		`null.a`, `n.a`, `len(null)`, `all(null, true)`, `not null`, `string(o)`, `9223372036854775807 + 1`, `map(1..1000000, #)`, `int(big)`, `list[5]`,
		`"a" > null`, `null > 1`,
	} {
		e := &expression{text: text}
		err := e.compile()
		if err == nil {
			_, err = e.eval(&(&mapper{}).machine, env)
		}
		require.Error(t, err, text)
		why := reason(err)
		require.NotContains(t, why, "yesterday")
		require.NotContains(t, why, "12345678901234567890")
	}
}

func TestATextCannotGrowWithoutBound(t *testing.T) {
	text := `let a = x + x; `
	for i := 'a'; i < 'x'-1; i++ {
		text += fmt.Sprintf("let %c = %c + %c; ", i+1, i, i)
	}
	e := &expression{text: text + "w"}
	require.NoError(t, e.compile())
	_, err := e.eval(&(&mapper{}).machine, map[string]any{"x": strings.Repeat("x", 1000)})
	require.ErrorContains(t, err, "a text grows beyond")
	e = &expression{text: `replace(x, "x", x)`}
	require.NoError(t, e.compile())
	_, err = e.eval(&(&mapper{}).machine, map[string]any{"x": strings.Repeat("x", 1000)})
	require.ErrorContains(t, err, "makes at most")
}

// TestExpressionsOfARowReadAndMakeABoundedNumberOfBytes: each of these would take a gigabyte, or read one, for one row.
func TestExpressionsOfARowReadAndMakeABoundedNumberOfBytes(t *testing.T) {
	list := make([]any, 9000)
	for i := range list {
		list[i] = "a"
	}
	x := strings.Repeat("a", 100_000)
	for _, text := range []string{
		`map(list, replace(x, "b", "c"))`, `map(list, x + #)`, `map(list, upper(x))`, `map(list, split(x, "b"))`, `filter(list, x matches "b$")`,
		`all(list, x != #)`, `count(list, x contains "b")`, `map(list, fromJSON(json))`, `any(list, oneOf(x, "b"))`,
	} {
		e := &expression{text: text}
		require.NoError(t, e.compile(), text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := e.eval(&(&mapper{}).machine, map[string]any{"list": list, "x": x, "json": "[" + strings.Repeat("1,", 4000) + "1]"})
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, "read and make more than 64 MiB", text)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8*maxBytes), text)
	}
	e := &expression{text: `upper(x)`}
	require.NoError(t, e.compile())
	env, machine := map[string]any{"x": x}, &mapper{}
	var err error
	for range 400 { // the expressions of one row share the bound
		if _, err = e.eval(&machine.machine, env); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "read and make more than 64 MiB")
}

// TestObjectsAreMadeOfTheElementsOfAList: a brace after a comma begins an object where a name and a colon follow.
func TestObjectsAreMadeOfTheElementsOfAList(t *testing.T) {
	env := map[string]any{"list": []any{map[string]any{"type": "J", "doc": "1"}, map[string]any{"type": "F"}}, "nothing": nil, "o": map[string]any{"a": []any{"x"}}}
	object := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	for text, want := range map[string]any{
		`map(list, {personType: #.type})`:                                       []any{object("personType", "J"), object("personType", "F")},
		`map(list, {"person type": #.type, b: {c: #.doc}})`:                     []any{object("person type", "J", "b", object("c", "1")), object("person type", "F", "b", object("c", nil))},
		`map(list, {#.type + "é"})`:                                             []any{"Jé", "Fé"},
		`map(filter(list, {#.type == "J"}), {t: #.type == "J" ? "yes" : "no"})`: []any{object("t", "yes")},
		`map(list, {})`:              []any{object(), object()},
		`concat([{a: 1}], [{a: 2}])`: []any{object("a", 1), object("a", 2)},
		`list[1]?.type`:              "F", `list[2]?.type`: nil, `list[-1]?.type`: "F", `list[2]?.type ?? "none"`: "none", `nothing?.[1]?.type`: nil, `list[7]?.type?.more`: nil,
		`o.a[3]?.b`: nil, `nothing?.a[3]?.b`: nil, `o["b"]?.c`: nil, `o["a"]?.[0]`: "x",
	} {
		e := &expression{text: text}
		require.NoError(t, e.compile(), text)
		got, err := e.eval(&(&mapper{}).machine, env)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, at := range map[string]int{`map(list, {a: #.b}) )`: 21, `[map(list, {a: #.b}), nosuch(1)]`: 23, `map(list, {a: nosuch(1)})`: 15} {
		err := (&expression{text: text}).compile()
		var wrong *programError
		require.ErrorAs(t, err, &wrong, text)
		require.Equal(t, at, wrong.at, "the place is that of the text as it was written: %s: %s", text, err)
	}
	require.ErrorContains(t, (&expression{text: `$budget`}).compile(), "is not known here")
}

func TestNumbersKeepTheirValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,10})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "digits")
		v, err := plain(json.Number(digits))
		require.NoError(t, err)
		out := digits
		if s, is := v.(string); is {
			require.Equal(t, digits, s)
		} else {
			text, err := appendJSON(nil, v, maxDepth)
			require.NoError(t, err)
			out = string(text)
		}
		want, _, err := big.ParseFloat(digits, 10, 300, big.ToNearestEven)
		require.NoError(t, err)
		got, _, err := big.ParseFloat(out, 10, 300, big.ToNearestEven)
		require.NoError(t, err)
		require.Zero(t, want.Cmp(got), "%s became %s", digits, out)
	})
}

func TestValuesBecomeJSONThatReadsBackTheSame(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaves := []*rapid.Generator[any]{
			rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.Custom(func(t *rapid.T) any { return json.Number(fmt.Sprint(rapid.Int64().Draw(t, "n"))) }),
		}
		if depth > 0 {
			leaves = append(leaves, rapid.SliceOfN(value(depth-1), 0, 4).AsAny(), rapid.MapOfN(rapid.String(), value(depth-1), 0, 4).AsAny())
		}
		return rapid.OneOf(leaves...)
	}
	rapid.Check(t, func(t *rapid.T) {
		v := value(4).Draw(t, "value")
		text, err := appendJSON(nil, v, maxDepth)
		require.NoError(t, err)
		back, err := DecodeJSON(text)
		require.NoError(t, err, "%s", text)
		again, err := appendJSON(nil, back, maxDepth)
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
		standard, err := json.Marshal(v)
		require.NoError(t, err)
		require.JSONEq(t, string(standard), string(text))
	})
}

func TestTheSameRowToldAgainGivesTheSameBytes(t *testing.T) {
	m := mustParse(t, bank)
	first := mapOne(t, m, payment(nil), 0)
	for range 20 {
		require.Equal(t, string(first.Line), string(mapOne(t, m, payment(nil), 0).Line))
	}
}

func TestAnExplanationTellsEveryStep(t *testing.T) {
	m := mustParse(t, bank)
	all, err := m.Explain(t.Context(), rows, payment(map[string]any{"total": "x"}))
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "tables.payments", all[0].Key)
	require.Equal(t, "pix-payment", all[0].Kind)
	steps := map[string]Step{}
	for _, s := range all[0].Steps {
		steps[s.Key+" "+s.Expression] = s
	}
	require.Equal(t, "true", steps[`tables.payments.when kind != "TED"`].Result)
	require.Equal(t, `{"client_ref":88,"id":"c-1"}`, steps["tables.payments.joins.consent.value the row of payment_consents by id"].Result)
	require.Equal(t, `"p-4711"`, steps["tables.payments.id external_id"].Result)
	require.Contains(t, steps["tables.payments.data.payment.amount amount(total)"].Error, "amount() takes a sum")
	require.Equal(t, []string{"expression /data/payment/amount"}, codes(all[0].Problems))
	require.Nil(t, all[0].Line)

	_, err = m.Explain(t.Context(), rows, SourceRecord{Table: "other"})
	require.EqualError(t, err, `the mapping has no table "other"; it has app.consents, clients, payments`)

	all, err = m.Explain(t.Context(), nil, payment(map[string]any{
		"consent": map[string]any{"client_ref": json.Number("1")}, "client": map[string]any{"client_id": "itp"},
	}))
	require.NoError(t, err)
	require.Empty(t, all[0].Problems, "without a database the rows beside it stand in the record")
	require.Equal(t, "itp", member(t, all[0].Line, "clientId"))
}

func BenchmarkMapping(b *testing.B) {
	m := mustParse(b, bank)
	rec := payment(map[string]any{"reason": "X"})
	maker := &mapper{find: rows}
	b.ReportAllocs()
	for b.Loop() {
		works := make([]*work, 100)
		for i := range works {
			works[i] = &work{rule: m.rules["payments"][0], rec: &rec}
		}
		if err := maker.all(b.Context(), works); err != nil || works[0].Line == nil {
			b.Fatal(err, works[0].Problems)
		}
		for _, w := range works {
			_ = Envelope{Source: "core", Record: *w.rec}.Encode()
		}
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/row")
}

func TestAMappingMayNameTheBrand(t *testing.T) {
	named := strings.NewReplacer("    client: client.client_id\n", "    brand: \"'prata'\"\n    client: client.client_id\n",
		"    gone: not active\n", "    gone: not active\n    brand: row.brand\n").Replace(bank)
	require.NotEqual(t, bank, named)
	m := mustParse(t, named)
	made := mapOne(t, m, payment(nil), 0)
	require.Empty(t, made.Problems)
	require.Contains(t, string(made.Line), `{"kind":"pix-payment","brand":"prata","clientId":`)
	require.Equal(t, "prata", made.Brand)
	client := SourceRecord{Table: "clients", Op: Insert, Key: "k", Values: map[string]any{
		"client_id": "itp", "role": "ITP", "active": true, "org": "o", "software": "s", "name": "N", "uris": nil, "ssa": nil, "brand": "ouro",
	}}
	got := mapOne(t, m, client, 0)
	require.Empty(t, got.Problems)
	require.Equal(t, "ouro", got.Registration.Brand)
	client.Values["active"] = false
	got = mapOne(t, m, client, 0)
	require.Equal(t, "ouro", got.Brand)
	require.Equal(t, notice.ClientID("itp"), got.Delete)
	gone := SourceRecord{Table: "clients", Op: Delete, Key: "k", Values: map[string]any{"client_id": "itp", "brand": "ouro"}}
	got = mapOne(t, m, gone, 0)
	require.Empty(t, got.Problems, "the columns of client and brand are looked at, and no others")
	require.Equal(t, "ouro", got.Brand)
}

func TestADeletedClientIsNoKey(t *testing.T) {
	m := mustParse(t, bank)
	gone := SourceRecord{Table: "clients", Op: Delete, Key: "k", Values: map[string]any{"client_id": "beta c1"}}
	got := mapOne(t, m, gone, 0)
	require.Equal(t, []string{"no-client /clientId"}, codes(got.Problems))
	require.Empty(t, got.Delete)
}
