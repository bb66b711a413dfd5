package webhook

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText is how many characters of the peer's text are kept, anywhere.
const maxText = 256

// escape makes text that came from a peer safe to store and show: one line, at most 256 characters, nothing in it that
// a terminal, a log or a page could take for more than text. What is printable stays as it is; everything else
// (controls, line breaks, direction marks, odd spaces, bytes that are not UTF-8) is written as a Go escape. A backslash
// stays too: names of certificates come with escapes of their own, and escaping twice changes nothing. A text that was
// cut ends in "…", never in half an escape.
func escape(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	room := maxText - 1 // one for the ellipsis
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, s[i])
		case !strconv.IsPrint(r):
			piece = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		n := utf8.RuneCountInString(piece)
		if n > room && !(n == room+1 && i+size == len(s)) {
			b.WriteRune('…')
			break
		}
		b.WriteString(piece)
		room -= n
		i += size
	}
	return b.String()
}

// plain tells the usual case: short, printable ASCII.
func plain(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
