package intake

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
)

// nested is a line whose data is nested so that the whole has this depth.
func nested(depth int, opening, closing string) string {
	return `{"data":` + strings.Repeat(opening, depth-1) + "1" + strings.Repeat(closing, depth-1) + "}"
}

func TestALineThatIsNoChangeIsRefusedWithPlaceAndCode(t *testing.T) {
	for name, c := range map[string]struct{ line, pointer, code string }{
		"nothing":                      {"", "", "invalid_json"},
		"white space":                  {" \t ", "", "invalid_json"},
		"not JSON":                     {"kind=pix", "", "invalid_json"},
		"half an object":               {`{"kind":"pix-payment"`, "", "invalid_json"},
		"half a value":                 {`{"data":{"a":[1,2`, "/data/a/2", "invalid_json"},
		"no value":                     {`{"kind"}`, "/kind", "invalid_json"},
		"comma at the end":             {`{"revision":1,}`, "", "invalid_json"},
		"comment":                      {`{"revision":1/*x*/}`, "", "invalid_json"},
		"single quotes":                {`{'kind':1}`, "", "invalid_json"},
		"byte order mark":              {"\ufeff{}", "", "invalid_json"},
		"array":                        {`[{"revision":1}]`, "", "not_an_object"},
		"string":                       {`"{}"`, "", "not_an_object"},
		"number":                       {`7`, "", "not_an_object"},
		"null":                         {`null`, "", "not_an_object"},
		"two objects":                  {`{}{}`, "", "trailing_data"},
		"object and word":              {`{} x`, "", "trailing_data"},
		"object and NUL":               {"{}\x00", "", "trailing_data"},
		"object and comma":             {`{},`, "", "trailing_data"},
		"unknown member":               {`{"kind":"x","id":1}`, "/id", "unknown_member"},
		"other case":                   {`{"Kind":"x"}`, "/Kind", "unknown_member"},
		"unknown with slash and tilde": {`{"a/b~c":1}`, "/a~1b~0c", "unknown_member"},
		"empty name":                   {`{"":1}`, "/", "unknown_member"},
		"member twice":                 {`{"kind":"a","kind":"a"}`, "/kind", "duplicate_member"},
		"escaped member twice":         {`{"kind":"a","\u006bind":"a"}`, "/kind", "duplicate_member"},
		"twice in data":                {`{"data":{"a":1,"b":2,"a":1}}`, "/data/a", "duplicate_member"},
		"twice deep":                   {`{"data":{"a":[0,{"b":{"c":1,"c":2}}]}}`, "/data/a/1/b/c", "duplicate_member"},
		"invalid UTF-8 in a value":     {"{\"kind\":\"\xff\"}", "/kind", "invalid_json"},
		"invalid UTF-8 in a name":      {"{\"data\":{\"\xc3\x28\":1}}", "/data", "invalid_json"},
		"overlong UTF-8":               {"{\"kind\":\"\xc0\x80\"}", "/kind", "invalid_json"},
		"lone high surrogate":          {`{"kind":"\ud800"}`, "/kind", "invalid_json"},
		"lone low surrogate":           {`{"data":{"a":"\udc00x"}}`, "/data/a", "invalid_json"},
		"surrogates reversed":          {`{"kind":"\udc00\ud800"}`, "/kind", "invalid_json"},
		"raw control character":        {"{\"kind\":\"a\nb\"}", "/kind", "invalid_json"},
		"number too large":             {`{"data":{"a":1e999}}`, "/data", "number_range"},
		"number too small":             {`{"revision":-1e999}`, "/revision", "number_range"},
		"number too long":              {`{"revision":` + strings.Repeat("1", 65) + `}`, "/revision", "number_range"},
		"leading zero":                 {`{"revision":01}`, "/revision", "invalid_json"},
		"plus sign":                    {`{"revision":+1}`, "/revision", "invalid_json"},
		"not a number":                 {`{"revision":NaN}`, "/revision", "invalid_json"},
		"33 objects deep":              {nested(33, `{"a":`, `}`), "/data", "too_deep"},
		"33 arrays deep":               {nested(33, `[`, `]`), "/data", "too_deep"},
		"1000 deep":                    {nested(1000, `[`, `]`), "/data", "too_deep"},
		"20000 deep":                   {nested(20_000, `[`, `]`), "/data", "too_deep"},
		"30000 opened, none closed":    {`{"data":` + strings.Repeat("[", 30_000), "/data", "too_deep"},
	} {
		m, err := decode([]byte(c.line))
		require.Nil(t, m, name)
		var l *LineError
		require.ErrorAs(t, err, &l, name)
		require.Equal(t, c.code, l.Code, name)
		if c.code != "invalid_json" { // where exactly broken JSON breaks is a matter of taste
			require.Equal(t, c.pointer, l.Pointer, name)
		}
		require.NotEmpty(t, l.Detail, name)
		require.NotEqual(t, TooLarge, l.Code, name)
		require.Equal(t, l.Detail, l.Error())
	}
}

func TestALineMayHave64KiBAndNotAByteMore(t *testing.T) {
	fits := `{"kind":"` + strings.Repeat("x", MaxLine-len(`{"kind":""}`)) + `"}`
	m, err := decode([]byte(fits))
	require.NoError(t, err)
	require.Len(t, m.values["kind"], MaxLine-len(`{"kind":""}`))

	_, err = decode([]byte(fits + " "))
	var l *LineError
	require.ErrorAs(t, err, &l)
	require.Equal(t, "too_large", l.Code)
}

func TestNestingOf32LevelsIsTaken(t *testing.T) {
	for _, text := range []string{nested(32, `{"a":`, `}`), nested(32, `[`, `]`)} {
		_, err := decode([]byte(text))
		require.NoError(t, err)
	}
}

func TestARefusalNeverRepeatsAValueAndBoundsWhatItRepeatsOfNames(t *testing.T) {
	const secret = "12345678909"
	for _, text := range []string{
		`{"kind":"` + secret + "\xff\"}", `{"data":{"cpf":` + secret + `,"cpf":` + secret + `}}`, `{"data":` + secret + `x}`,
		`{"kind":"` + secret, `{} ` + secret, `"` + secret + `"`, `{"data":[` + secret + `e999]}`,
	} {
		_, err := decode([]byte(text))
		var l *LineError
		require.ErrorAs(t, err, &l, text)
		require.NotContains(t, l.Detail+l.Pointer, secret, text)
	}
	for _, text := range []string{
		`{"` + strings.Repeat("ã", 5000) + `":1}`,
		`{"data":{"` + strings.Repeat("xã", 5000) + `":1,"` + strings.Repeat("xã", 5000) + `":1}}`,
		`{"data":{"` + strings.Repeat("ã", 5000) + `":` + "\xff}}",
	} {
		_, err := decode([]byte(text))
		var l *LineError
		require.ErrorAs(t, err, &l)
		require.LessOrEqual(t, len(l.Pointer), 400)
		require.True(t, utf8.ValidString(l.Pointer), "cut between characters: %q", l.Pointer)
	}
}

func TestDataIsKeptByteForByteAndNumbersAsWritten(t *testing.T) {
	const data = `{ "status":"ACSC", "amount" : 1.10, "big":12345678901234567890, "e":1E+2, "z":-0.0, "u":"\u00e3\/\u0000", "l":[ ] }`
	text := []byte(` { "data" : ` + data + ` , "revision" : 7 } ` + "\r\n")
	m, err := decode(text)
	require.NoError(t, err)
	require.Equal(t, data, string(m.raw))
	require.Equal(t, json.Number("1.10"), m.data["amount"])
	require.Equal(t, json.Number("12345678901234567890"), m.data["big"])
	require.Equal(t, json.Number("1E+2"), m.data["e"])
	require.Equal(t, "ã/\x00", m.data["u"])
	require.Equal(t, []any{}, m.data["l"])
	require.Equal(t, json.Number("7"), m.values["revision"])

	require.Equal(t, "ACSC", m.data["status"])
}

func FuzzDecode(f *testing.F) {
	for _, kind := range ofb.Kinds() {
		version := kind.Versions()[0]
		data := openapitest.Document(kind, version, kind.Initial(), openapitest.SampleID(kind, 1), openapitest.Complete())
		f.Add([]byte(`{"kind":"` + kind.String() + `","clientId":"c","apiVersion":"` + version + `","revision":1,"occurredAt":"2026-11-21T12:00:00Z","data":` + string(data) + `}`))
	}
	for _, s := range []string{
		``, `{}`, `{"data":{"a":1,"a":2}}`, `{"kind":"\ud800"}`, `{"data":[[[[]]]]}`, `{"revision":1e400}`, `{}x`, `{"revision":1e-400,"notBefore":null}`,
		nested(33, "[", "]"), nested(32, `{"a":`, "}"), `{"data":{"` + strings.Repeat("ã", 300) + `":[}}`, `{"cause":tru}`, `{"kind"`, `{"kind":`,
	} {
		f.Add([]byte(s))
	}
	in := New(Config{Schema: anySchema{}, NewID: counter(), Timers: ofb.Kinds()})
	f.Fuzz(func(t *testing.T, text []byte) {
		given := bytes.Clone(text)
		require.Empty(t, cost.Parser.Within(len(text), func() { _, _ = in.Read(text, Origin{}) }))
		c, err := in.Read(text, Origin{})
		require.Equal(t, given, text, "the line is not ours to change")
		if err != nil {
			var l *LineError
			require.ErrorAs(t, err, &l)
			require.NotEmpty(t, l.Code)
			require.True(t, utf8.ValidString(l.Pointer))
			return
		}
		object, ok := numbered(t, text).(map[string]any) // encoding/json takes it as well, as one object
		require.True(t, ok)
		require.True(t, json.Valid(text))
		m, err := decode(text)
		require.NoError(t, err)
		require.Equal(t, object, m.values)
		require.Equal(t, string(m.raw), string(c.Document))
		if data, ok := object["data"].(map[string]any); ok {
			require.Equal(t, data, numbered(t, m.raw))
			require.Equal(t, ofb.Hash(data), ofb.Hash(m.data))
		}
	})
}

// TestAChangeCountsAsWhatItHolds: the document is a part of the line, and not counted beside it. Of a source's the line is not kept.
func TestAChangeCountsAsWhatItHolds(t *testing.T) {
	in := judging(t)
	text := lineOf(ofb.PixPayment, string(openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, openapitest.SampleID(ofb.PixPayment, 1), openapitest.Complete())))
	c, err := in.Read(text, Origin{})
	require.NoError(t, err)
	require.Empty(t, c.Problems)
	p, err := in.submit(c, nil)
	require.NoError(t, err)
	require.Equal(t, len(text), p.size.bytes)
	require.Zero(t, p.Bytes(), "nothing beside the text")
	require.Same(t, &text[bytes.Index(text, c.Document)], &c.Document[0])
	require.Equal(t, len(c.Document), cap(c.Document), "nothing that is appended reaches the line")

	keep := func() []byte { return []byte("record") }
	c, err = in.Read(text, Origin{Keep: keep})
	require.NoError(t, err)
	p, err = in.submit(c, keep)
	require.NoError(t, err)
	require.Equal(t, len(c.Document), p.size.bytes)
}
