package webhook

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stricter lists what we refuse in the head of an answer although http.ReadResponse accepts it: the beginning of our fault,
// and the reason.
var stricter = map[string]string{
	"header limit":                               "the limits are the contract's; http.ReadResponse has none",
	"the receiver switches protocols":            "nobody asked for another protocol (RFC 9110 §15.2.2); net/http's client hands the connection over",
	"the answer is not HTTP/1.x":                 "net/http reads HTTP/0.x and HTTP/2.0 in a status line too; only HTTP/1.x is spoken (contract)",
	"malformed status line":                      "one space separates version, status and reason (RFC 9112 §4); net/http takes several, and any three characters that Atoi reads",
	"status":                                     "there is no status outside 100 to 599 (RFC 9110 §15)",
	"folded header line":                         "obs-fold is a means of smuggling, and may be refused (RFC 9112 §5.2)",
	"malformed header line":                      "no space before the colon (RFC 9112 §5.1); net/http keeps such a line under a name of its own",
	"the headers contain":                        "controls and a bare CR are read differently by different parsers (RFC 9112 §2.2, RFC 9110 §5.5)",
	"malformed Content-Length":                   "digits only, 18 at most; net/http takes 19, and ignores the header of an answer that cannot have a body",
	"conflicting Content-Length":                 "never two lengths, also where the answer has no body (RFC 9112 §6.3)",
	"unsupported Transfer-Encoding":              "net/http ignores the header in HTTP/1.0 (RFC 9112 §6.1: such an answer must be taken for faulty)",
	"Content-Length together with Transfer-Enco": "smuggling (RFC 9112 §6.3); net/http ignores the length",
}

// laxer lists what we accept although net/http refuses it: a part of net/http's error, and the reason.
var laxer = map[string]string{
	"multiple Content-Length headers": "0 and 00 are the same length; net/http compares the texts",
	"bad trailer key":                 "an announcement in Trailer changes nothing: no trailer is used (RFC 9110 §6.5.1)",
	"invalid byte in chunk length":    "blanks before a chunk's extension must be read (RFC 9112 §7.1.1)",
	"header line too long":            "net/http reads chunk lines of up to 4 KiB; ours end with the body's limit",
}

// agreesWithNetHTTP holds the reader of answers against net/http's. Where both accept an answer they agree on its status, its
// end, and what becomes of the connection; where one of them refuses it, the reason is in the lists above.
func agreesWithNetHTTP(t *testing.T, input []byte, ours reading) {
	t.Helper()
	if ours.Fault == "" && ours.Phase == inHead {
		return // net/http waits, too, or is content with less
	}
	buffered := bufio.NewReaderSize(bytes.NewReader(input), len(input)+16)
	resp, err := finalResponse(buffered)
	switch {
	case ours.Fault != "":
		if err == nil {
			require.True(t, listed(stricter, func(text string) bool { return strings.HasPrefix(ours.Fault, text) }), "only we refuse %q", ours.Fault)
		}
		return
	case err != nil:
		require.True(t, listed(laxer, func(text string) bool { return strings.Contains(err.Error(), text) }), "only net/http refuses: %v", err)
		return
	}
	require.Equal(t, resp.StatusCode, ours.Status)
	if ours.Status != 202 {
		require.Equal(t, resp.Status, ours.Reason)
	}
	if ours.Status/100 == 3 {
		require.Equal(t, resp.Header.Get("Location"), ours.Location)
	}
	if ours.Phase != inRest {
		require.Equal(t, !resp.Close, ours.Lasts, "whether the connection stays open")
	}
	if ours.Phase != over {
		return
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err != nil {
		require.True(t, listed(laxer, func(text string) bool { return strings.Contains(err.Error(), text) }), "only net/http refuses the body: %v", err)
		return
	}
	require.Equal(t, len(input)-buffered.Buffered(), ours.Used, "the end of the answer")
}

// finalResponse skips interim answers, as net/http's client does.
func finalResponse(r *bufio.Reader) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
}

func listed(reasons map[string]string, holds func(text string) bool) bool {
	for text := range reasons {
		if holds(text) {
			return true
		}
	}
	return false
}

// TestAnswersOfEveryMakeAgreeWithNetHTTP puts answers together from good and bad pieces. The seeds are fixed.
func TestAnswersOfEveryMakeAgreeWithNetHTTP(t *testing.T) {
	pieces := [][]string{
		{"", "", "", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\r\nLink: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 102 P\nX: y\n\n"},
		{"HTTP/1.1 ", "HTTP/1.1 ", "HTTP/1.1 ", "HTTP/1.0 ", "HTTP/1.2 ", "HTTP/2.0 ", "HTTP/0.9 ", "http/1.1 ", "HTTP/1.1  ", "HTTP/1.1"},
		{"202", "202 Accepted", "200 OK", "204 None", "304 Not", "302 Found", "400 Bad\xe9", "599 ", "101 S", "99 X", "600 X", "+20", "20", "2020"},
		{"\r\n", "\r\n", "\n", "\r\r\n", "\x00\r\n"},
		{"", "", "Content-Length: 3", "content-length:\t3 ", "Content-Length: 0", "Content-Length: 03", "Content-Length: 3, 3", "Content-Length: -3", "Content-Length:", "Content-Length: 9999999999999999999", "Content-Length : 3"},
		{"", "", "", "Content-Length: 3", "Content-Length: 4", "Transfer-Encoding: chunked", "Transfer-Encoding: Chunked ", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity", "Transfer-Encoding:"},
		{"", "", "Connection: close", "Connection: keep-alive", "Connection: x,  Close ,y", "Connection: closed", "Connection: \"close\"", "CONNECTION:close", "Connection: x\tclose"},
		{"", "", "Location: /a b ", "Location:", "Trailer: X", "Trailer: Content-Length", "X: y\r\n z", " X: y", "X y", ": y", "X:\x01", "X: y\x7f", "X\x80: y", "X: \xff\t y", "X:"},
		{"\r\n", "\r\n", "\n", "\r", ""},
		{"", "abc", "ab", "abcd", "3\r\nabc\r\n", "3;x=\"y\"\r\nabc\r\n", "3 ;x\r\nabc\r\n", "3 \r\nabc\r\n", "3\nabc\r\n", "3\r\nabc\n", "3\r\nabcd\r\n", "0003\r\nabc\r\n", "00000000000000003\r\nabc\r\n", "g\r\n", "3;\r\r\nabc\r\n", "-3\r\nabc\r\n"},
		{"0\r\n\r\n", "0\r\n\r\n", "0\r\nX: y\r\n\r\n", "0\r\nX y\r\n\r\n", "0\r\nX: y\n\r\n", "0\n\n", "0\r\n X: y\r\n\r\n", "00;z\r\n\r\n", "0\r\n", ""},
		{"", "", "HTTP/1.1 500 Next\r\n\r\n", "x"},
	}
	r := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 100_000 {
		var text strings.Builder
		for n, choices := range pieces {
			piece := choices[r.IntN(len(choices))]
			if r.IntN(3) > 0 {
				piece = choices[0]
			}
			text.WriteString(piece)
			if n >= 4 && n <= 7 && piece != "" {
				text.WriteString("\r\n")
			}
		}
		input := []byte(text.String())
		ours := read(input, len(input))
		if ours.Phase == over {
			accepted++
		}
		agreesWithNetHTTP(t, input, ours)
		if t.Failed() {
			t.Fatalf("%q", input)
		}
		require.Equal(t, ours.Fault == "", read(input, 1+r.IntN(7)).Fault == "", "%q: the pieces do not matter", input)
	}
	require.Greater(t, accepted, 5_000)
}

// FuzzTheBoundsOfReading sends the same bytes for ever, after a beginning. Whatever they are, reading ends.
func FuzzTheBoundsOfReading(f *testing.F) {
	for _, seed := range [][2]string{
		{ok202, "X: y\r\n"},
		{"", "HTTP/1.1 100 Continue\r\n\r\n"},
		{ok202 + "Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"},
		{ok202 + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n"},
		{ok202 + "Transfer-Encoding: chunked\r\n\r\n1;", "x"},
		{ok202 + "\r\n", "x"},
		{ok202 + "Content-Length: 999999999999999999\r\n\r\n", "x"},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, begin, more []byte) {
		if len(more) == 0 {
			return
		}
		var a answer
		taken := 0
		for piece := begin; a.worthReading(); piece = more {
			for len(piece) > 0 && a.worthReading() {
				next := piece[:min(len(piece), bufferSize)]
				used, err := a.feed(next)
				taken += len(next)
				if err != nil || used < len(next) {
					return
				}
				piece = piece[used:]
			}
			require.LessOrEqual(t, taken, maxHead+maxBody+bufferSize)
			require.LessOrEqual(t, len(a.partial), maxHead)
			require.LessOrEqual(t, len(a.start), bodyStart)
		}
	})
}
