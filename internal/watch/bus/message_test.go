package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/watch"
)

func TestABodyIsReadStrictlyOrRefusedWithAReasonThatRepeatsNothing(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat("}", n-1) }
	for name, c := range map[string]struct{ body, reason string }{
		"object":             {`{"a":1}`, ""},
		"spaces around":      {" \n{\"a\":1}\n ", ""},
		"as deep as allowed": {nested(MaxDepth), ""},
		"too deep":           {nested(MaxDepth + 1), "nested more than 32"},
		"lists too deep":     {`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", "nested more than 32"},
		"as large":           {`{"a":"` + strings.Repeat("x", MaxBody-8) + `"}`, ""},
		"too large":          {`{"a":"` + strings.Repeat("x", MaxBody-7) + `"}`, "65537 bytes"},
		"empty":              {"", "empty"},
		"only space":         {"  ", "not valid JSON"},
		"list":               {`[1]`, "not a JSON object"},
		"text":               {`"123.456.789-09"`, "not a JSON object"},
		"null":               {`null`, "not a JSON object"},
		"no JSON":            {`123.456.789-09`, "not a JSON object"},
		"cut short":          {`{"cpf":"123.456`, "not valid JSON"},
		"two":                {`{"a":1} {"b":2}`, "something after"},
		"rubbish behind":     {`{"a":1}x`, "something after"},
		"twice":              {`{"a":1,"b":{"c":1,"c":2}}`, "stands twice"},
		"twice, escaped":     {`{"a":1,"\u0061":2}`, "stands twice"},
		"not UTF-8":          {"{\"a\":\"\xff\"}", "not valid JSON in UTF-8, near byte"},
		"half a surrogate":   {`{"a":"\ud800"}`, "not valid JSON in UTF-8, near byte"},
		"long number":        {`{"a":` + strings.Repeat("9", maxNumber+1) + `}`, "a number has more than 64"},
		"reserved":           {`{"_key":1}`, `"_key"`},
		"reserved reason":    {`{"_invalid":"mine"}`, `"_invalid"`},
		"reserved below":     {`{"a":{"_invalid":"mine"}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := Message{Table: "t", Body: []byte(c.body), Position: "here"}.Record()
			require.Equal(t, watch.Insert, r.Op)
			reason, refused := r.Values[MemberInvalid].(string)
			if c.reason == "" {
				require.False(t, refused, reason)
				require.NotContains(t, r.Values, MemberBody)
				return
			}
			require.Contains(t, reason, c.reason)
			require.NotContains(t, reason, "123.456")
			require.Contains(t, r.Values, MemberBody)
		})
	}
}

func TestTheKeyAndTheHeadersAreBoundedAndSafe(t *testing.T) {
	r := Message{
		Table: "t", Key: []byte("k\x1b[31m\n" + strings.Repeat("x", 1000)), Body: []byte(`{}`), Position: "here",
		Headers: []Header{{"a", []byte("1")}, {"a", []byte("2")}, {"bin", []byte{0xff}}},
	}.Record()
	require.NotContains(t, r.Key, "\x1b")
	require.NotContains(t, r.Key, "\n")
	require.Less(t, len(r.Key), 300)
	require.Equal(t, map[string]any{"a": "2", "bin": nil}, r.Values[MemberHeaders])
	require.Len(t, r.Values[MemberKey], 1007, "the mapping has all of it")

	r = Message{Table: "t", Key: bytes.Repeat([]byte("k"), MaxKey+1), Tombstone: true}.Record()
	require.Equal(t, watch.Insert, r.Op, "nobody knows whose deletion it is")
	require.Contains(t, r.Values[MemberInvalid], "key")
	require.Nil(t, r.Values[MemberKey])

	r = Message{Table: "t", Key: []byte{0xff, 0xfe}, Body: []byte(`{}`)}.Record()
	require.Nil(t, r.Values[MemberKey])
	require.True(t, utf8.ValidString(r.Key))

	r = Message{Table: "t", Body: []byte(`{"a":1}`), Headers: []Header{{"h", bytes.Repeat([]byte("x"), MaxHeaders)}}}.Record()
	require.Contains(t, r.Values[MemberInvalid], "headers")
	require.Contains(t, r.Values, MemberBody)
}

func TestATombstoneIsADeletionWithItsKeyAlone(t *testing.T) {
	r := Message{Table: "t", Key: []byte("4711"), Tombstone: true, Revision: 8}.Record()
	require.Equal(t, watch.Delete, r.Op)
	require.Equal(t, map[string]any{MemberKey: "4711", MemberHeaders: map[string]any{}}, r.Values)
	require.Equal(t, int64(8), r.Revision)
}

// FuzzRecord: whatever a bus delivers becomes a record that can be written as JSON, and what is read is what
// encoding/json reads.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `{"a":[1,{"b":null}]}`, `{`, "", `{"a":"\ud800"}`, `{"a":1e999}`} {
		f.Add([]byte(seed), []byte("k"), []byte("h"))
	}
	f.Fuzz(func(t *testing.T, body, key, header []byte) {
		m := Message{Table: "t", Key: key, Body: body, Headers: []Header{{string(header), header}}}
		require.Empty(t, cost.Parser.Within(len(body)+len(key)+len(header), func() { m.Record() }))
		r := Message{Table: "t", Key: key, Body: body, Headers: []Header{{string(header), header}}}.Record()
		_, err := json.Marshal(r.Values)
		require.NoError(t, err)
		if _, refused := r.Values[MemberInvalid]; refused {
			return
		}
		delete(r.Values, MemberKey)
		delete(r.Values, MemberHeaders)
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var want map[string]any
		require.NoError(t, d.Decode(&want))
		require.Equal(t, want, r.Values)
	})
}

func TestALedgerGivesUpOnlyAPrefixThatIsDone(t *testing.T) {
	l := NewLedger[int]()
	at := time.Unix(100, 0)
	var dones []func()
	for i := range 5 {
		dones = append(dones, l.Add(i, at.Add(time.Duration(i)*time.Second)))
	}
	require.Equal(t, at, l.Oldest())
	dones[1]()
	dones[3]()
	require.Empty(t, l.Settled())
	require.Equal(t, []int{0, 2, 4}, l.Open())
	dones[0]()
	dones[0]()
	require.Equal(t, at, l.Oldest(), "done, and not acknowledged yet")
	require.Equal(t, []int{0, 1}, l.Settled())
	require.Empty(t, l.Settled())
	require.Equal(t, at.Add(2*time.Second), l.Oldest())
	waited := make(chan error)
	go func() { waited <- l.Wait(t.Context()) }()
	dones[4]()
	select {
	case <-waited:
		t.Fatal("one is in hand still")
	default:
	}
	dones[2]()
	require.NoError(t, <-waited)
	require.Equal(t, []int{2, 3, 4}, l.Settled())
	require.Zero(t, l.Len())
	require.Zero(t, l.Oldest())
	<-l.Woken()
}

func TestNobodyIsBehindAClockThatGoesWrong(t *testing.T) {
	now := time.Unix(1000, 0)
	require.Zero(t, Behind(now))
	require.Zero(t, Behind(now, time.Time{}))
	require.Zero(t, Behind(now, now.Add(time.Hour)))
	require.Equal(t, time.Minute, Behind(now, time.Time{}, now.Add(-time.Second), now.Add(-time.Minute)))
}

func TestSettingsOfAConnectionAreRefusedWithTheirKey(t *testing.T) {
	secure := &TLS{CA: "ca.pem"}
	for _, c := range []struct {
		found []error
		want  string
	}{
		{Guarded(nil, true), "tls: is missing"},
		{Guarded(nil, false), ""},
		{Guarded(secure, true), ""},
		{Guarded(&TLS{}, false), "tls.ca: is missing"},
		{Guarded(&TLS{CA: "ca.pem", Key: "k"}, false), "tls.certificate, tls.key"},
		{Login{User: "u"}.Problems(), "password_file"},
		{Addresses(nil, "nats", "tls", nil), "urls: is empty"},
		{Addresses([]string{"nats://h:1"}, "nats", "tls", nil), ""},
		{Addresses([]string{"nats://h:1"}, "nats", "tls", secure), "urls[0]: its scheme must be tls, as tls is set"},
		{Addresses([]string{"tls://h:1"}, "nats", "tls", nil), "urls[0]: its scheme must be nats, as tls is not set"},
		{Addresses([]string{"nats://u:secret@h:1"}, "nats", "tls", nil), "urls[0]: holds a user or password"},
		{Addresses([]string{"nats://u:se%zzcret@h:1"}, "nats", "tls", nil), "urls[0]: is not a URL"},
		{Addresses([]string{"amqp://h/v?heartbeat=0"}, "amqp", "amqps", nil), "urls[0]: has a query"},
		{Tables{}.Problems("topics"), "topics: is empty"},
		{Tables{"a": "", "b": "t"}.Fits("topics", []string{"a", "t"}), ""},
		{Tables{"a": "", "b": "x"}.Fits("topics", []string{"a"}), `topics: "b" is read as the table "x", which the mapping does not have; it has a`},
		{Tables{"a": ""}.Fits("topics", []string{"a", "t"}), `topics: nothing is read as "t"`},
		{Tables{" a": "b"}.Problems("topics"), "topics: \" a\" is not a name"},
	} {
		text := fmt.Sprint(c.found)
		require.NotContains(t, text, "secret")
		if c.want == "" {
			require.Empty(t, c.found)
		} else {
			require.Contains(t, text, c.want)
		}
	}
}
