package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
)

// reading is what an answer made of some bytes.
type reading struct {
	Used  int
	Phase phase
	Fault string
	// Of final headers that were read to their end.
	Status           int
	Reason, Location string
	Lasts            bool
}

// read feeds the bytes in pieces of the given size, as a connection would until the answer is over or wrong.
func read(input []byte, piece int) reading {
	var a answer
	var r reading
	for len(input) > 0 && a.phase != over && r.Fault == "" {
		n := min(piece, len(input))
		used, err := a.feed(input[:n])
		if err != nil {
			r.Fault = err.Error()
			break
		}
		r.Used += used
		input = input[n:]
		if used < n {
			break
		}
	}
	if r.Fault != "" {
		return reading{Fault: r.Fault}
	}
	r.Phase = a.phase
	if a.phase != inHead {
		r.Status, r.Reason, r.Location, r.Lasts = a.status, a.reason, a.location, a.lasts()
	}
	return r
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		ok202 + echo + empty + "\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n" + ok202 + "Content-Length: 3\r\n\r\nabcd",
		ok202 + "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: 1\r\n\r\nmore",
		"HTTP/1.1 204 No Content\r\n\r\nx", "HTTP/1.0 202 A\n\n", ok202 + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "garbage", ok202 + "A: b\rc\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		ok202 + "Content-Length: 00\r\nContent-Length: 0\r\n\r\n", ok202 + "Content-Length : 1\r\n\r\nx",
		ok202 + "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ok202 + "X: y\r\n z\r\n\r\n",
		"HTTP/1.0 202 A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0 202 A\r\nConnection: a, Keep-Alive\r\nContent-Length: 0\r\n\r\n",
		ok202 + "Connection: x ,close\r\nContent-Length: 0\r\n\r\n", ok202 + "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
		ok202 + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n", ok202 + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 600 Odd\r\n\r\n", "HTTP/1.1 101 S\r\n\r\n",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, input []byte, piece int) {
		require.Empty(t, cost.Parser.Within(len(input), func() { read(input, 1) }), "one byte at a time")
		whole := read(input, len(input)+1)
		if piece > 0 && piece < len(input) {
			split := read(input, piece)
			if whole.Fault == "" || split.Fault == "" {
				require.Equal(t, whole.Fault, split.Fault, "the pieces do not matter")
			}
			if whole.Fault == "" && whole.Phase != inRest {
				require.Equal(t, whole, split, "the pieces do not matter")
			}
		}
		agreesWithNetHTTP(t, input, whole)
	})
}

func TestTheEndOfAnAnswerIsFoundHoweverItArrives(t *testing.T) {
	for _, text := range []string{
		ok202 + echo + empty + "\r\n",
		ok202 + "Content-Length: 5\r\n\r\nhello",
		"HTTP/1.1 100 C\r\n\r\n" + ok202 + "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n2\r\nab\r\n0\r\n\r\n",
		ok202 + "Transfer-Encoding: chunked\r\n\r\n0 ; ext=\"x\"\r\nTrailer: yes\r\nOther: yes\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
	} {
		for piece := 1; piece <= len(text); piece++ {
			got := read([]byte(text+"HTTP/1.1 500 Next\r\n\r\n"), piece)
			require.Empty(t, got.Fault)
			require.Equal(t, over, got.Phase)
			require.Equal(t, len(text), got.Used, "%q in pieces of %d", text, piece)
		}
	}
}

func TestAnEndlessLineIsRefusedBeforeItEnds(t *testing.T) {
	var a answer
	_, err := a.feed([]byte("HTTP/1.1 202 " + strings.Repeat("a", maxHead)))
	require.Error(t, err)
	require.LessOrEqual(t, len(a.partial), maxHead)
	var b answer
	_, err = b.feed([]byte("SSH-2.0"))
	require.Error(t, err, "no need to wait for the end of the line")
}
