package audit_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/cost"
)

// committed is an entry with a private text that its facts commit to.
func committed(kind, private, facts string) audit.Entry {
	return audit.Entry{Kind: kind, Facts: strings.ReplaceAll(facts, "COMMITMENT", audit.Commit(private)), Private: &private}
}

func TestThePrivateTextIsTheOneThatTheFactsCommitTo(t *testing.T) {
	const private = `{"salt":"AAECAwQFBgcICQoLDA0ODw","system":"replica 1","detail":"é \u0041"}`
	sum := sha256.Sum256([]byte(private))
	require.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), audit.Commit(private)+"=", "as openssl dgst -sha256 -binary | base64 writes it")

	for _, facts := range []string{
		`{"private":"COMMITMENT"}`, `{"private" : "COMMITMENT", "late" : false}`, `{"number":1,"private":"COMMITMENT"}`,
		"{\n\t\"private\": \"COMMITMENT\"}", `{"\u0070rivate":"COMMITMENT"}`, `{"private":"x","private":"COMMITMENT"}`,
		`{"private":"COMMITMENT","url":"https://itp.example/private"}`, `{"PRIVATE":"x","private":"COMMITMENT"}`, `{"tls":{"private":"x"},"private":"COMMITMENT"}`,
	} {
		for _, kind := range []string{"attempt", "result", "late-result"} {
			e := committed(kind, private, facts)
			require.Empty(t, e.PrivateFault(), facts)
			e.Private = ptr(private + " ")
			require.Equal(t, "its private text is not the one that its facts commit to", e.PrivateFault(), facts)
			e.Private = nil
			require.Equal(t, "its private text is missing, and its facts commit to one", e.PrivateFault(), facts)
		}
	}
	for _, facts := range []string{
		`{}`, `{"private":null}`, `{"Private":"COMMITMENT"}`, `{"tls":{"private":"COMMITMENT"}}`, `{"private":"COMMITMENT","private":null}`, `["private"]`, `"private"`, `5`, ``, `{"private":"COMMITMENT"`[:12],
	} {
		e := committed("result", private, facts)
		require.Equal(t, "its facts commit to no private text, and it has one", e.PrivateFault(), facts)
		e.Private = nil
		require.Empty(t, e.PrivateFault(), "an entry from before there were private texts: %s", facts)
	}
	for _, facts := range []string{`{"private":5}`, `{"private":{}}`, `{"private":""}`, `{"private":"COMMITMENT="}`, `{"private":"xCOMMITMENT"}`, `{"private":"COMMITMENT","private":"x"}`} {
		e := committed("result", private, facts)
		require.Equal(t, "its private text is not the one that its facts commit to", e.PrivateFault(), facts)
	}
	other := committed("poll", private, `{"private":"COMMITMENT"}`)
	require.NotEmpty(t, other.PrivateFault(), "the facts of other kinds commit to nothing")
	other.Private = nil
	require.Empty(t, other.PrivateFault())
}

// TestEveryOtherPrivateTextIsAFault changes one byte of the text, of the commitment, or the member's name.
func TestEveryOtherPrivateTextIsAFault(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(map[string]string{
			"salt": rapid.StringN(22, 22, -1).Draw(t, "salt"), "system": rapid.String().Draw(t, "system"), "detail": rapid.String().Draw(t, "detail"),
		})
		require.NoError(t, err)
		private := string(text)
		members := map[string]any{"private": audit.Commit(private), rapid.String().Draw(t, "name"): rapid.String().Draw(t, "value")}
		members["private"] = audit.Commit(private)
		facts, err := json.Marshal(members)
		require.NoError(t, err)
		e := audit.Entry{Kind: "result", Facts: string(facts), Private: &private}
		require.Empty(t, e.PrivateFault())
		at := rapid.IntRange(0, len(private)-1).Draw(t, "at")
		changed := []byte(private)
		changed[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		e.Private = ptr(string(changed))
		require.NotEmpty(t, e.PrivateFault())
	})
}

// FuzzCommitment: whatever the facts are, the fast reading of the commitment is that of a whole parser.
func FuzzCommitment(f *testing.F) {
	commitment := audit.Commit("{}")
	for _, facts := range []string{
		`{"private":"` + commitment + `"}`, `{"private" : "` + commitment + `", "late":true}`, `{"private":"` + commitment + `","private":"x"}`, `{"\u0070rivate":"x"}`,
		`{"private":null}`, `{"private":{"private":1}}`, `{"private":"` + commitment[:42] + `\""}`, `{"x":"private"}`,
	} {
		f.Add(facts)
	}
	f.Fuzz(func(t *testing.T, facts string) {
		require.Empty(t, cost.Parser.Within(len(facts), func() { e := audit.Entry{Kind: "result", Facts: facts}; _ = e.PrivateFault() }))
		if !json.Valid([]byte(facts)) {
			return // the column is json: no other text gets there
		}
		var members map[string]json.RawMessage
		raw, present := json.RawMessage(nil), false
		if json.Unmarshal([]byte(facts), &members) == nil {
			raw, present = members["private"]
			present = present && string(raw) != "null"
		}
		without := audit.Entry{Kind: "result", Facts: facts}
		require.Equal(t, present, without.PrivateFault() != "")
		var text string
		fits := present && json.Unmarshal(raw, &text) == nil && text == commitment
		with := audit.Entry{Kind: "result", Facts: facts, Private: ptr("{}")}
		require.Equal(t, fits, with.PrivateFault() == "")
	})
}

func BenchmarkPrivateFault(b *testing.B) {
	e := committed("result", `{"salt":"AAECAwQFBgcICQoLDA0ODw","system":"arauto-7d9f4b6c5-x2x9z 1.0.0","local":"10.0.0.9:51234"}`, `{"private":"COMMITMENT","number":1,"attempt":"03010203-0405-0607-0809-0a0b0c0d0e0f","url":"https://itp.example/hook/open-banking/webhook/v1/payments/v5/pix/payments/1","httpStatus":202,"echo":"match","reused":true,"remote":"203.0.113.9:443","claimToSendMicros":300,"elapsedMicros":66000,"endedAt":"2026-11-21T12:00:00.123456Z"}`)
	for b.Loop() {
		if e.PrivateFault() != "" {
			b.Fatal("a fault")
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	const private = `{"salt":"AAECAwQFBgcICQoLDA0ODw","system":"arauto-7d9f4b6c5-x2x9z 1.0.0","local":"10.0.0.9:51234"}`
	for b.Loop() {
		_ = audit.Commit(private)
	}
}
