package history

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// readings are what our own reader and encoding/json read of one text.
type readings struct {
	ours, theirs any
	err, refusal error // of ours and of theirs
	fast         bool  // our own had no need of the other
}

// facts are what is read; T is the type, of which P is the pointer.
type facts[T any] interface {
	*T
	read(text string) error
}

func readBoth[T any, P facts[T]](members memberTable) func(text string) readings {
	return func(text string) readings {
		var ours, theirs, alone T
		err := P(&ours).read(text)
		refusal := json.Unmarshal([]byte(text), &theirs)
		return readings{ours, theirs, err, refusal, scan(&alone, text, members)}
	}
}

var readers = map[string]func(text string) readings{
	"change": readBoth[ChangeFacts](changeMembers), "attempt": readBoth[AttemptFacts](attemptMembers), "end": readBoth[endedFacts](endedMembers),
	"poll": func(text string) readings {
		var theirs struct {
			Status     ofb.Status `json:"status"`
			DurationUS Micros     `json:"durationMicros"`
			Suppressed int64      `json:"suppressed"`
			Operation  string     `json:"operation"`
		}
		refusal := json.Unmarshal([]byte(text), &theirs)
		var w SharedWords
		ours, err := pollOf(text, &w)
		if !json.Valid([]byte(text)) { // the column cannot have it: members that nobody needs are not looked at
			err = refusal
		}
		return readings{*ours, PollTold{theirs.Status, theirs.DurationUS, theirs.Suppressed, strings.HasPrefix(theirs.Operation, notice.ExtensionPrefix)}, err, refusal, false}
	},
}

// written are facts of a kind with random members, as they are written; "" when an instant is out of range.
func written(t *testing.T, r *rand.Rand, kind string) string {
	t.Helper()
	var facts any
	switch kind {
	case "change":
		facts = &ChangeFacts{}
	case "attempt":
		facts = &AttemptFacts{}
	case "end":
		facts = &ResultFacts{}
	case "poll":
		facts = &notice.PollFacts{}
	}
	v := reflect.ValueOf(facts).Elem()
	if fill(r, v); r.IntN(2) == 0 {
		plain(v)
	}
	text, err := json.Marshal(facts)
	if err != nil {
		return ""
	}
	if kind == "end" { // what the database adds
		more := `,"endedAt":"2026-11-28T12:00:0` + string(rune('0'+r.IntN(10))) + `.123456+00:00"`
		if r.IntN(2) == 0 {
			more += `,"nextAt":"2026-11-28T12:00:10.5-03:00"`
		} else if r.IntN(3) == 0 {
			more += `,"nextAt":null`
		}
		text = append(append(text[:len(text)-1], more...), '}')
	}
	return string(text)
}

// plain replaces texts by such as need no escape, and large numbers by smaller ones.
func plain(v reflect.Value) {
	for i := range v.NumField() {
		switch field := v.Field(i); field.Kind() {
		case reflect.String:
			field.SetString("é/x-" + strings.Repeat("1", field.Len()))
		case reflect.Int, reflect.Int64:
			field.SetInt(field.Int() % 1_000_000_000)
		case reflect.Slice:
			for n := range field.Len() {
				field.Index(n).SetString("/status")
			}
		case reflect.Pointer:
			if !field.IsNil() {
				plain(field.Elem())
			}
		}
	}
}

// TestFactsAreReadAsTheStandardLibraryDoes compares what is read with what json.Unmarshal reads: of facts as they are written, with spaces as the
// database puts them, and with one place of the text spoilt.
func TestFactsAreReadAsTheStandardLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for kind, read := range readers {
		quick, wrong := 0, 0
		same := func(text string) {
			r := read(text)
			require.Equal(t, r.refusal == nil, r.err == nil, "%s of %s: %v, and the standard library %v", kind, text, r.err, r.refusal)
			if r.fast {
				quick++
			}
			if r.err != nil {
				wrong++
				return
			}
			require.Equal(t, r.theirs, r.ours, "%s of %s", kind, text)
		}
		for range 3000 {
			text := written(t, r, kind)
			if text == "" {
				continue
			}
			same(text)
			same(" " + strings.NewReplacer(`":`, `" : `, `,"`, `, "`).Replace(text) + "\n")
			same(spoilt(r, text))
		}
		for _, text := range []string{
			"", "{", "{}", " { } ", "{,}", `{"a":1}`, `{"":1}`, "null", "[]", `{} {}`, `{"status":"A","status":"B"}`, `{"STATUS":"A"}`, `{"status":null}`, `{"status":"A",}`,
			`{"beganMicros":-0,"durationMicros":-0}`, `{"beganMicros":01}`, `{"beganMicros":1e3,"durationMicros":1e3}`, `{"beganMicros":9223372036854775807}`, `{"beganMicros":-}`,
			`{"late":tru}`, `{"late":"true"}`, `{"occurredAt":"2026-11-28 12:00:00Z"}`, `{"endedAt":null,"scheduledAt":null}`, `{"fields":[]}`, `{"fields":null}`, `{"fields":["a",]}`,
			`{"tls":{"version":"1"},"tls":{"cipher":"2"}}`, `{"first":{"number":1},"first":{"base":"b"}}`, `{"first":null}`, `{"first":{}}`, `{"first":[]}`, `{"first":{"number":1,"base":"b","more":2}}`, `{"tls":null}`, `{"tls":{}}`, `{"tls":[]}`, `{"nextAt":{}}`, `{"nextAt":nul}`, `{"number":1.0}`, `{"source":{"a":[1,"]"]}}`, `{"items":7}`,
		} {
			same(text)
		}
		require.Positive(t, wrong, kind)
		if kind != "poll" {
			require.Greater(t, quick, 1000, "%s is read by the other reader as a rule", kind)
		}
	}
}

// spoilt is a text with one place changed.
func spoilt(r *rand.Rand, text string) string {
	const pieces = "\"\\{}[],:0-e. nt\x00\xff\té"
	at, n := r.IntN(len(text)), r.IntN(len(pieces))
	switch r.IntN(3) {
	case 0:
		return text[:at] + text[at+1:]
	case 1:
		return text[:at] + pieces[n:n+1] + text[at:]
	default:
		return text[:at] + pieces[n:n+1] + text[at+1:]
	}
}

// FuzzFactsAreReadAsTheStandardLibraryDoes compares the two over any text.
func FuzzFactsAreReadAsTheStandardLibraryDoes(f *testing.F) {
	f.Add(`{"system":"a 1","source":"api","occurredAt":"2026-11-28T12:00:00Z","fields":["/status"],"beganMicros":7}`)
	f.Add(`{"private":"x","scheduledAt":"2026-11-28T12:00:00.5-03:00","late":false,"manual":true}`)
	f.Add(`{"number" : 1, "tls":{"version":"TLS 1.3","peerNotAfter":"2027-01-01T00:00:00Z"},"reused":true,"endedAt":"2026-11-28T12:00:00+00:00","nextAt" : null}`)
	f.Fuzz(func(t *testing.T, text string) {
		for kind, read := range readers {
			r := read(text)
			require.Equal(t, r.refusal == nil, r.err == nil, "%s: %v, and the standard library %v", kind, r.err, r.refusal)
			if r.err == nil {
				require.Equal(t, r.theirs, r.ours, kind)
			}
		}
	})
}

// TestWhatAPaymentIsFoundByIsReadFromAnyDocument compares with the standard library, over documents with members around and below.
func TestWhatAPaymentIsFoundByIsReadFromAnyDocument(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	values := []string{`"E1"`, `"a\"b"`, `1.5e3`, `true`, `null`, `{"endToEndId":"inner","x":["}",{}]}`, `[{"cnpjInitiator":"inner"},"]",[]]`, `"é"`, `{}`, `[]`}
	names := []string{"endToEndId", "cnpjInitiator", "status", "payment", "creditor", `a\"b`, "EndToEndId"}
	for range 5000 {
		var text strings.Builder
		text.WriteString("{ ")
		for i := range r.IntN(6) {
			if i > 0 {
				text.WriteString(" ,")
			}
			text.WriteString(`"` + names[r.IntN(len(names))] + `" : ` + values[r.IntN(len(values))])
		}
		text.WriteString("}")
		var document map[string]any // of members that stand twice, the last
		require.NoError(t, json.Unmarshal([]byte(text.String()), &document))
		wantEndToEnd, wantCNPJ := SoughtOf(document)
		endToEnd, cnpj := SoughtIn([]byte(text.String()))
		require.Equal(t, []string{wantEndToEnd, wantCNPJ}, []string{endToEnd, cnpj}, text.String())
	}
	for text, want := range map[string][2]string{
		`{"endToEndId":"E1","cnpjInitiator":"2"}`: {"E1", "2"}, `{"endToEndId":null,"cnpjInitiator":"2"}`: {"", "2"}, `{"endToEndId":7,"cnpjInitiator":"2"}`: {}, `{}`: {},
		`{"ENDTOENDID":"E1","cnpjInitiator":null}`: {}, `{"endToEndId":"E\u0031","EndToEndId":5}`: {"E1"}, `["endToEndId"]`: {}, `{"endToEndId":"E1"`: {},
	} {
		endToEnd, cnpj := SoughtIn([]byte(text))
		require.Equal(t, want, [2]string{endToEnd, cnpj}, text)
	}
}

// column is the value of a column; nil for a zero one.
func column[T comparable](value T) *T {
	var null T
	if value == null {
		return nil
	}
	return &value
}

// entryOfFact is a fact as the database has it.
func entryOfFact(f *Fact) audit.Entry {
	return audit.Entry{
		ID: f.ID, At: audit.At(f.At), XID: 7, Kind: f.Kind, ClientID: column(string(f.Client)), ResourceKind: column(int16(f.ResourceKind)), ResourceID: column(f.ResourceID),
		Revision: column(f.Revision), NotificationID: column(f.Notification), ChangeID: column(f.Change), Number: column(int16(f.Number)),
		InteractionID: column(f.Interaction), Outcome: column(string(f.Outcome)), Closes: column(string(f.Closes)), Facts: string(f.Facts),
	}
}

// TestBriefsMakeTheRecordsThatFactsMake compares the two over random entries of one notification, some of them missing or twice, in any order.
func TestBriefsMakeTheRecordsThatFactsMake(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	made := 0
	var words SharedWords // of all, as in a stretch of the log: nothing of an entry is told by the next
	for range 5000 {
		facts := someFacts(t, r)
		briefs := make([]*Brief, 0, len(facts))
		for i := range facts {
			e := entryOfFact(&facts[i])
			b, err := BriefOf(&e, &words)
			require.NoError(t, err, e.Facts)
			require.Positive(t, b.Size())
			briefs = append(briefs, &b)
		}
		want, err := RecordsOf(facts)
		require.NoError(t, err)
		got, is := RecordOfBriefs(briefs)
		require.Equal(t, len(want) > 0, is)
		if !is {
			continue
		}
		made++
		w := want[len(want)-1]
		// What no verdict on times rests on is not in a brief.
		w.ChangeID, w.APIVersion, w.Status, w.Event, w.EventAt, w.PushEpoch, w.ResendOf, w.Late = notice.ID{}, "", "", "", time.Time{}, 0, notice.ID{}, false
		for i := range w.Attempts {
			a := &w.Attempts[i]
			a.Interaction, a.HTTPStatus, a.TLS, a.URL, a.ClaimedURL, a.Detail = notice.ID{}, 0, nil, "", "", ""
		}
		require.Equal(t, w, got)
	}
	require.Greater(t, made, 1000)
}

// TestBriefsTellNothingOfOneAnother: what an entry does not tell is not taken from the one that was read before it.
func TestBriefsTellNothingOfOneAnother(t *testing.T) {
	of := func(kind, facts string) *audit.Entry {
		e := entryOfFact(&Fact{ID: notice.ID{1}, Kind: kind, Client: "itp", ResourceKind: ofb.PixPayment, ResourceID: "p", Notification: notice.ID{9}, Facts: []byte(facts)})
		return &e
	}
	for kind, c := range map[string]struct{ full, sparse string }{
		FactChange: {`{"system":"arauto-0 1.0.0","source":"api","from":"ACPD","cause":"processing","occurredAt":"2026-11-28T12:00:00Z","notBefore":"2026-11-28T12:00:01Z","beganMicros":900,` +
			`"waitedMicros":1500,"dataHash":"ab","firstReceivedAt":"2026-11-28T12:00:00Z","refusedFor":"overload","refusals":3,"first":{"number":1,"base":"https://itp.example"}}`, `{"system":"","source":""}`},
		FactResult: {`{"number":1,"attempt":"a","echo":"match","detail":"` + LostDetail + `","claimToSendMicros":40,"answeredMicros":2100,"elapsedMicros":2150,"endedAt":"2026-11-28T12:00:00Z"}`, `{"number":1,"attempt":"b"}`},
	} {
		var shared SharedWords
		_, err := BriefOf(of(kind, c.full), &shared)
		require.NoError(t, err)
		got, err := BriefOf(of(kind, c.sparse), &shared)
		require.NoError(t, err)
		want, err := BriefOf(of(kind, c.sparse), &SharedWords{})
		require.NoError(t, err)
		require.Equal(t, want, got, kind)
	}
}

// someFacts are entries of one notification.
func someFacts(t *testing.T, r *rand.Rand) (out []Fact) {
	t.Helper()
	add := func(kind string, number int, facts any) {
		if r.IntN(8) == 0 {
			return
		}
		v := reflect.ValueOf(facts).Elem()
		if fill(r, v); kind == FactResult && r.IntN(3) == 0 {
			v.FieldByName("Detail").SetString(LostDetail)
		}
		text, err := json.Marshal(facts)
		if err != nil { // an instant out of range
			return
		}
		f := Fact{
			ID: notice.ID{byte(len(out) + 1)}, At: time.Unix(1_796_000_000+int64(r.IntN(1000)), 0).UTC(), Kind: kind, Client: "itp", ResourceKind: ofb.PixPayment, ResourceID: "p",
			Notification: notice.ID{9}, Number: number, Facts: text,
		}
		switch {
		case number == 0 && kind != FactCancelled:
			f.Revision = r.Int64N(100)
			if r.IntN(2) == 0 { // of a change: its entry records attempt 1 as well
				f.Interaction = notice.ID{8}
			}
		case kind == FactResult:
			f.Outcome = []notice.Outcome{notice.OutcomeDelivered, notice.OutcomeTimeout, notice.OutcomeUnknown}[r.IntN(3)]
			f.Closes = []notice.State{"", notice.Delivered, notice.Exhausted}[r.IntN(3)]
		case kind == FactCancelled:
			f.Closes = notice.Cancelled
		}
		out = append(out, f)
	}
	add([]string{FactChange, FactDecision, FactResend}[r.IntN(3)], 0, &ChangeFacts{})
	for number := 1; number <= r.IntN(4); number++ {
		add(FactAttempt, number, &AttemptFacts{})
		add(FactResult, number, &ResultFacts{})
	}
	if r.IntN(5) == 0 {
		add(FactCancelled, 0, &AttemptFacts{})
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// BenchmarkBrief takes the three entries of a delivered notification.
func BenchmarkBrief(b *testing.B) {
	entries := []audit.Entry{
		entryOfFact(&Fact{ID: notice.ID{1}, Kind: FactChange, Client: "client-7", ResourceKind: ofb.PixPayment, ResourceID: "p-4711", Revision: 3, Notification: notice.ID{9}, Outcome: "applied", Facts: []byte(`{"system":"arauto-0 1.0.0","source":"api","actor":"core","remote":"10.0.0.7:40022","apiVersion":"v5","status":"ACSC","from":"ACPD","cause":"processing","occurredAt":"2026-11-28T12:00:00.123456Z","beganMicros":900,"waitedMicros":1500,"dataHash":"abababababababababababababababababababababababababababababababab","fields":["/status"],"eventAt":"2026-11-28T12:00:00.123456Z","clause":"webhook §5.1","pushEpoch":1}`)}),
		entryOfFact(&Fact{ID: notice.ID{2}, Kind: FactAttempt, Client: "client-7", ResourceKind: ofb.PixPayment, ResourceID: "p-4711", Notification: notice.ID{9}, Number: 1, Facts: []byte(`{"private":"ccccccccccccccccccccccccccccccccccccccccccc","scheduledAt":"2026-11-28T12:00:00.223456Z","late":false,"base":"https://webhook.itp.example/open-banking","manual":false}`)}),
		entryOfFact(&Fact{ID: notice.ID{3}, Kind: FactResult, Client: "client-7", ResourceKind: ofb.PixPayment, ResourceID: "p-4711", Notification: notice.ID{9}, Number: 1, Outcome: "delivered", Closes: "delivered", Facts: []byte(`{"private":"ccccccccccccccccccccccccccccccccccccccccccc","number":1,"attempt":"01234567-0123-0123-0123-0123456789ab","url":"https://webhook.itp.example/open-banking/webhook/v1/payments/v5/pix/payments/01234567-0123-0123-0123-0123456789ab","httpStatus":202,"echo":"match","tls":{"version":"TLS 1.3","cipher":"TLS_AES_128_GCM_SHA256","peerSubject":"CN=webhook.itp.example,O=Iniciadora,C=BR","peerFingerprint":"abababababababababababababababababababababababababababababababab","peerSerial":"1f2e","peerNotAfter":"2027-01-01T00:00:00Z","ownSerial":"2d"},"reused":true,"remote":"203.0.113.9:443","claimToSendMicros":40,"firstByteOutMicros":90,"answeredMicros":2100,"elapsedMicros":2150,"endedAt":"2026-11-28T12:00:00.323456+00:00"}`)}),
	}
	b.ReportAllocs()
	for b.Loop() {
		var words SharedWords
		for i := range entries {
			if _, err := BriefOf(&entries[i], &words); err != nil {
				b.Fatal(err)
			}
		}
	}
}
