package watch

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/notice"
)

func TestAnEnvelopeKeepsARecordUntilItIsMappedAgain(t *testing.T) {
	rec := payment(map[string]any{"total": Missing{}})
	e := Envelope{Source: "core", Part: 1, Record: rec}
	back, err := ParseEnvelope(e.Encode())
	require.NoError(t, err)
	require.Equal(t, e, back)
	require.Equal(t, e.Encode(), back.Encode())
	require.True(t, json.Valid(e.Encode()))

	for _, line := range []string{`{"kind":"pix-payment","data":{}}`, `[]`, ``, `{"source":"a","table":"t"}`, `{"table":"t","values":{},"data":{}}`} {
		_, err := ParseEnvelope([]byte(line))
		require.ErrorIs(t, err, ErrNoEnvelope, line)
	}
}

func TestAnEnvelopeIsCutWhereItWouldBeTooLarge(t *testing.T) {
	e := Envelope{Source: "core", Record: payment(map[string]any{"total": strings.Repeat("x", maxEnvelope)})}
	text := e.Encode()
	require.Less(t, len(text), 1000)
	back, err := ParseEnvelope(text)
	require.NoError(t, err)
	require.True(t, back.Cut)
	require.Equal(t, text, back.Encode())
	e.Record.Values = map[string]any{"bad": "\xff"}
	back, err = ParseEnvelope(e.Encode())
	require.NoError(t, err)
	require.True(t, back.Cut)
}

func TestARejectedRecordNamesItsResourceOrItsKey(t *testing.T) {
	m := mustParse(t, bank)
	reject := func(override map[string]any) Rejected {
		rec := payment(override)
		rec.Key = "payments id=4711\n\x00" + strings.Repeat("é", 300)
		w := &work{rule: m.rules["payments"][0], rec: &rec}
		require.NoError(t, (&mapper{find: rows}).all(t.Context(), []*work{w}))
		require.NotEmpty(t, w.Problems)
		return w.rejected(&Envelope{Source: "core", Record: *w.rec})
	}
	r := reject(map[string]any{"status": "?"})
	require.Equal(t, "p-4711", r.ResourceID)
	require.Equal(t, "pix-payment", r.Kind)
	require.Equal(t, int64(2<<48|0x1234), r.Revision, "as the change would have it, so that cases sort with it")
	r = reject(map[string]any{"external_id": nil})
	require.True(t, strings.HasPrefix(r.ResourceID, "payments id=4711éé"))
	require.LessOrEqual(t, len(r.ResourceID), maxResourceID)
	require.Equal(t, []notice.Problem{{
		Pointer: "/data/paymentId", Code: "null-id", Detail: "tables.payments.id: the id is null or empty", DetailPT: "tables.payments.id: o id é nulo ou vazio",
	}}, r.Problems)
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add(Envelope{Source: "core", Record: payment(nil)}.Encode())
	f.Add([]byte(`{"source":"\u0000","table":"t","op":"x","key":"","revision":-1,"position":"","missing":["a","a"],"values":{"a":1e999,"b":[[]]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		require.Empty(t, cost.Parser.Within(len(line), func() { _, _ = ParseEnvelope(line) }))
		e, err := ParseEnvelope(line)
		if err != nil {
			return
		}
		text := e.Encode()
		require.True(t, json.Valid(text), "%s", text)
		again, err := ParseEnvelope(text)
		require.NoError(t, err)
		require.Equal(t, text, again.Encode())
	})
}
