package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
)

// TestAnAnswerCostsNoMoreThanItsSizeAllows feeds answers one byte at a time, as a receiver may send them.
func TestAnAnswerCostsNoMoreThanItsSizeAllows(t *testing.T) {
	for name, text := range map[string]func(n int) string{
		"header lines":  func(n int) string { return "HTTP/1.1 202 Accepted\r\n" + strings.Repeat("a: b\r\n", n) },
		"a long line":   func(n int) string { return "HTTP/1.1 202 Accepted\r\na: " + strings.Repeat("b", n) },
		"a long reason": func(n int) string { return "HTTP/1.1 202 " + strings.Repeat("b", n) },
		"interim":       func(n int) string { return strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", n) },
		"small chunks": func(n int) string {
			return "HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\na\r\n", n)
		},
		"chunk details": func(n int) string {
			return "HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", n)
		},
		"trailers": func(n int) string {
			return "HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("a: b\r\n", n)
		},
		"folded lines":   func(n int) string { return "HTTP/1.1 202 A\r\na: b\r\n" + strings.Repeat(" c\r\n", n) },
		"only new lines": func(n int) string { return strings.Repeat("\r\n", n) },
	} {
		t.Run(name, func(t *testing.T) {
			cost.Linear(t, 2000, func(n int) []byte { return []byte(text(n)) }, func(b []byte) { read(b, 1) })
		})
	}
}

func TestADNSReplyCostsNoMoreThanItsSizeAllows(t *testing.T) {
	asked, err := question("itp.example.com", typeA)
	require.NoError(t, err)
	head := append([]byte(nil), asked...)
	head[2] |= flagResponse
	head[6], head[7] = 0xff, 0xff // more answers than any reply holds
	for name, record := range map[string]string{
		"addresses":   "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x08\x08\x04\x04",
		"long names":  strings.Repeat("\x3f"+strings.Repeat("a", 63), 4) + "\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x08\x08\x04\x04",
		"empty names": "\x00\x00\x05\x00\x01\x00\x00\x00\x00\x00\x00",
		"pointers":    "\xc0\xff",
	} {
		t.Run(name, func(t *testing.T) {
			cost.Linear(t, 200, func(n int) []byte { return append(append([]byte(nil), head...), strings.Repeat(record, n)...) },
				func(reply []byte) { _, _ = addresses(reply, typeA) })
		})
	}
}
