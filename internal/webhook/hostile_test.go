package webhook

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
)

const (
	ok202 = "HTTP/1.1 202 Accepted\r\n"
	echo  = "x-webhook-interaction-id: 3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11\r\n"
	empty = "Content-Length: 0\r\n"
)

func TestGarbageIsAProtocolErrorAndCostsTheConnection(t *testing.T) {
	for name, raw := range map[string]string{
		"not HTTP":                    "220 mail.example ESMTP ready\r\n",
		"binary":                      "\x00\x01\x02\x03\x00",
		"HTTP/0.9":                    "<html>hello</html>",
		"HTTP/2":                      "HTTP/2 202 Accepted\r\n\r\n",
		"HTTP/2.0":                    "HTTP/2.0 202 Accepted\r\n\r\n",
		"lower case":                  "http/1.1 202 Accepted\r\n\r\n",
		"HTTP/1.":                     "HTTP/1. 202 Accepted\r\n\r\n",
		"a space in front":            " HTTP/1.1 202 Accepted\r\n\r\n",
		"an empty line in front":      "\r\nHTTP/1.1 202 Accepted\r\n\r\n",
		"status 000":                  "HTTP/1.1 000 None\r\n\r\n",
		"status 099":                  "HTTP/1.1 099 None\r\n\r\n",
		"status 600":                  "HTTP/1.1 600 None\r\n\r\n",
		"status 999":                  "HTTP/1.1 999 None\r\n\r\n",
		"status of two digits":        "HTTP/1.1 20 Short\r\n\r\n",
		"status of four digits":       "HTTP/1.1 2020 Long\r\n\r\n",
		"negative status":             "HTTP/1.1 -20 Minus\r\n\r\n",
		"no status":                   "HTTP/1.1\r\n\r\n",
		"two spaces":                  "HTTP/1.1  202 Accepted\r\n\r\n",
		"101 unasked":                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"NUL in the reason":           "HTTP/1.1 202 Acc\x00epted\r\n\r\n",
		"NUL in a value":              ok202 + "X-A: b\x00c\r\n\r\n",
		"NUL in a name":               ok202 + "X-\x00A: b\r\n\r\n",
		"bare CR in a value":          ok202 + "X-A: b\rX-B: c\r\n\r\n",
		"bare CR before the end":      ok202 + "X-A: b\r\r\n\r\n",
		"bare CR instead of CRLF":     "HTTP/1.1 202 Accepted\rX: y\r\r",
		"escape sequence":             ok202 + "X-A: \x1b[31mred\r\n\r\n",
		"no colon":                    ok202 + "this is no header\r\n\r\n",
		"no name":                     ok202 + ": value\r\n\r\n",
		"space before the colon":      ok202 + "Content-Length : 0\r\n\r\n",
		"folded line":                 ok202 + "X-A: b\r\n c\r\n\r\n",
		"negative length":             ok202 + "Content-Length: -1\r\n\r\n",
		"length with a sign":          ok202 + "Content-Length: +1\r\n\r\nx",
		"length in hex":               ok202 + "Content-Length: 0x1\r\n\r\nx",
		"empty length":                ok202 + "Content-Length:\r\n\r\n",
		"list of lengths":             ok202 + "Content-Length: 1, 1\r\n\r\nx",
		"enormous length":             ok202 + "Content-Length: 99999999999999999999\r\n\r\n",
		"conflicting lengths":         ok202 + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"length and chunks":           ok202 + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and length":           ok202 + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"unknown transfer encoding":   ok202 + "Transfer-Encoding: gzip\r\n\r\n",
		"transfer encodings":          ok202 + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":               ok202 + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"identity transfer encoding":  ok202 + "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
		"a fault in an interim":       "HTTP/1.1 100 Continue\r\nX\r\n\r\n" + ok202 + echo + empty + "\r\n",
		"a good answer after rubbish": "x" + ok202 + echo + empty + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			i.Answer("", standin.Answer{Raw: []byte(raw)}, standin.Accept)
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeProtocol, r.Outcome, r.Detail)
			requireShowable(t, r.Detail)
			require.Zero(t, r.HTTPStatus)
			require.NoError(t, i.WaitOpen(soon(t), 0), "the connection is closed")
			require.Len(t, i.Requests(), 1)

			r = send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeDelivered, r.Outcome)
			require.False(t, r.Reused)
		})
	}
}

func TestOddButLawfulAnswersAreUnderstood(t *testing.T) {
	for name, raw := range map[string]string{
		"no reason":                 "HTTP/1.1 202\r\n" + echo + empty + "\r\n",
		"empty reason":              "HTTP/1.1 202 \r\n" + echo + empty + "\r\n",
		"reason in Latin-1":         "HTTP/1.1 202 Aceit\xe1vel\r\n" + echo + empty + "\r\n",
		"HTTP/1.0":                  "HTTP/1.0 202 Accepted\r\n" + echo + empty + "\r\n",
		"LF alone":                  "HTTP/1.1 202 Accepted\n" + strings.ReplaceAll(echo, "\r", "") + "Content-Length: 0\n\n",
		"the same length twice":     ok202 + echo + empty + empty + "\r\n",
		"no length, then the end":   ok202 + echo + "Connection: close\r\n\r\n",
		"chunks":                    ok202 + echo + "Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
		"tabs and spaces":           ok202 + "x-webhook-interaction-id:\t 3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11 \t\r\n" + empty + "\r\n",
		"other case":                ok202 + strings.ToUpper("x-webhook-interaction-id") + ": 3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11\r\n" + empty + "\r\n",
		"gzip said and not undone":  ok202 + echo + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
		"a hundred header lines":    ok202 + echo + empty + strings.Repeat("X-A: b\r\n", 98) + "\r\n",
		"exactly 64 KiB of headers": ok202 + echo + empty + "X: " + strings.Repeat("a", 64<<10-len(ok202+echo+empty+"X: \r\n\r\n")) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			i.Answer("", standin.Answer{Raw: []byte(raw)})
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
		})
	}
}

func TestHeaderBombsEndEarlyAndInLittleMemory(t *testing.T) {
	for name, flood := range map[string]standin.Answer{
		"16 MiB header":            {Flood: standin.Repeat(ok202+"X-A: ", "a", 16<<20)},
		"100 000 header lines":     {Flood: standin.Repeat(ok202, "X-A: b\r\n", 100_000)},
		"10 000 interim answers":   {Flood: standin.Repeat("", "HTTP/1.1 100 Continue\r\n\r\n", 10_000)},
		"one line of 8 MiB":        {Flood: standin.Repeat("HTTP/1.1 202 ", "a", 8<<20)},
		"101 header lines":         {Raw: []byte(ok202 + echo + empty + strings.Repeat("X-A: b\r\n", 99) + "\r\n")},
		"64 KiB and one byte":      {Raw: []byte(ok202 + echo + empty + "X: " + strings.Repeat("a", 64<<10-len(ok202+echo+empty+"X: \r\n\r\n")+1) + "\r\n\r\n")},
		"64 KiB over two answers":  {Raw: []byte("HTTP/1.1 103 Early\r\nX: " + strings.Repeat("a", 40<<10) + "\r\n\r\n" + ok202 + echo + empty + "X: " + strings.Repeat("a", 30<<10) + "\r\n\r\n")},
		"names without end":        {Flood: standin.Repeat(ok202, "a", 16<<20)},
		"six interim, then silent": {Raw: []byte(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 6))},
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			i.Answer("", flood)
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeProtocol, r.Outcome, r.Detail)
			require.Contains(t, r.Detail, "header limit")
			require.Less(t, r.Elapsed, 5*time.Second)
			require.NoError(t, i.WaitOpen(soon(t), 0))
		})
	}
}

func TestAnAnswerIsDeliveredAtItsHeaders(t *testing.T) {
	big := strings.Repeat("x", 16<<10)
	for name, c := range map[string]struct {
		answer standin.Answer
		kept   bool
	}{
		"no body":                    {standin.Answer{}, true},
		"a small body":               {standin.Answer{Body: `{"ok":true}`}, true},
		"16 KiB of body":             {standin.Answer{Body: big}, true},
		"more than 16 KiB":           {standin.Answer{Body: big + "x"}, false},
		"a body that never comes":    {standin.Answer{Body: "never", Stall: standin.AtBody}, false},
		"a body of 1 B/s":            {standin.Answer{Body: "slowly", TrickleBody: time.Second}, false},
		"a body without end":         {standin.Answer{Flood: standin.Repeat(ok202+echo+"\r\n", "x", 1<<30)}, false},
		"chunks":                     {standin.Answer{Raw: []byte(ok202 + echo + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")}, true},
		"chunks without end":         {standin.Answer{Flood: standin.Repeat(ok202+echo+"Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", 1<<30)}, false},
		"broken chunks":              {standin.Answer{Raw: []byte(ok202 + echo + "Transfer-Encoding: chunked\r\n\r\nzz\r\n")}, false},
		"a chunk of 2⁶³ bytes":       {standin.Answer{Raw: []byte(ok202 + echo + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n")}, false},
		"more than its length":       {standin.Answer{Raw: []byte(ok202 + echo + "Content-Length: 3\r\n\r\nabcd")}, false},
		"a second answer":            {standin.Answer{Raw: []byte(ok202 + echo + empty + "\r\n" + ok202 + echo + empty + "\r\n")}, false},
		"a second answer in chunks":  {standin.Answer{Raw: []byte(ok202 + echo + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ok202)}, false},
		"close asked for":            {standin.Answer{Header: []string{"Connection: close"}}, false},
		"closed":                     {standin.Answer{End: standin.Close}, false},
		"HTTP/1.0":                   {standin.Answer{Raw: []byte("HTTP/1.0 202 Accepted\r\n" + echo + empty + "\r\n")}, false},
		"a body until the end":       {standin.Answer{Raw: []byte(ok202 + echo + "\r\nabc"), End: standin.Close}, false},
		"length longer than we read": {standin.Answer{Raw: []byte(ok202 + echo + "Content-Length: 999999999\r\n\r\nabc")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInitiator(t)
			o := new(counter)
			s := newSender(t, func(c *Config) { c.Observer = o })
			if c.kept {
				s.keep.body = time.Minute // its size is tried, and not how fast the receiver's process is
			}
			i.Answer("", c.answer, standin.Accept)
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
			require.Less(t, r.Elapsed, 2*time.Second)
			if !c.kept {
				o.waitOpen(t, 0)
			} else if c.answer.Body != "" || c.answer.Raw != nil {
				idle(t, s)
			}
			r = send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
			require.Equal(t, c.kept, r.Reused)
			require.Len(t, i.Requests(), 2)
		})
	}
}

func TestHostileTextsAreKeptOnOneSafeLine(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	for _, text := range []string{
		"<script>alert(1)</script>", "\u202egnihton", "caf\xe9", "tab\tand\u00a0space", strings.Repeat("long ", 200), `back\slash`, "\u200b\ufeff", "日本語",
	} {
		i.Answer("", standin.Answer{Status: 503, Reason: text})
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeRefused, r.Outcome, r.Detail)
		requireShowable(t, r.Detail)
		i.Answer("", standin.Answer{Status: 302, Header: []string{"Location: " + text}})
		r = send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeRedirected, r.Outcome, r.Detail)
		requireShowable(t, r.Detail)
	}
}

// requireShowable holds when a text is one printable line of at most 256 characters.
func requireShowable(t *testing.T, text string) {
	t.Helper()
	require.LessOrEqual(t, utf8.RuneCountInString(text), 256)
	require.True(t, utf8.ValidString(text))
	for _, r := range text {
		require.False(t, r < ' ' || r == 0x7f || strings.ContainsRune("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u200b\ufeff\u2028\u2029\u00a0", r), "%q", text)
	}
}
