package webhook

import (
	"bytes"
	"fmt"
	"strings"
)

// What of an answer we are willing to read (contract, "What of the answer decides").
const (
	maxHead    = 64 << 10 // bytes of status lines and header lines, interim answers included
	maxLines   = 100      // header lines of one answer
	maxInterim = 5        // 1xx answers before the final one
	maxBody    = 16 << 10 // bytes of body read to keep the connection alive
	bodyStart  = 512      // bytes of body remembered to recognise a well-known complaint
)

// fault is what was wrong with an answer: the outcome is then protocol-error.
type fault string

func (f fault) Error() string { return string(f) }

// answer watches the bytes of one answer as they come from the connection, before the HTTP client sees them. It
// enforces our limits, refuses what two parsers could read differently (bare CR, folded lines, controls, conflicting
// lengths: RFC 9112 §§2.2, 5.2, 6.3), and knows where the answer ends, so that whatever a receiver sends after it never
// counts as the answer to the next request.
type answer struct {
	phase   phase
	partial []byte // of a line whose end has not come yet
	size    int    // bytes of head so far
	lines   int    // header lines of the answer being read
	interim int

	status  int  // of the status line being read; 0 before it
	http10  bool // HTTP/1.0
	length  int64
	chunked bool
	keep    keepAlive // what the final answer announced

	left  int64 // body bytes still to come, when the length is known
	body  int   // body bytes seen
	start []byte
	chunk chunkReader
}

type phase uint8

const (
	inHead   phase = iota
	inLength       // a body of known length
	inChunks       // a chunked body
	inRest         // a body that ends with the connection, or one we do not follow
	over           // the answer is complete
)

const noLength = -1

// feed takes the next bytes and says how many of them belong to the answer. The error is a fault.
func (a *answer) feed(p []byte) (int, error) {
	n := 0
	for n < len(p) && a.phase == inHead {
		used, err := a.head(p[n:])
		if err != nil {
			return n, err
		}
		n += used
	}
	if n == len(p) {
		return n, nil
	}
	if rest := bodyStart - len(a.start); rest > 0 && a.phase != over {
		a.start = append(a.start, p[n:min(len(p), n+rest)]...)
	}
	return n + a.skipBody(p[n:]), nil
}

// head takes one line, or what there is of it.
func (a *answer) head(p []byte) (int, error) {
	if a.size == 0 && len(a.partial) == 0 {
		a.length = noLength
	}
	end := bytes.IndexByte(p, '\n')
	used := end + 1
	if end < 0 {
		used = len(p)
	}
	if a.size += used; a.size > maxHead {
		return 0, fault("header limit: more than 64 KiB before the end of the headers")
	}
	if end < 0 {
		checked := len(a.partial)
		a.partial = append(a.partial, p...)
		return used, a.checkPartial(checked)
	}
	line := p[:end]
	if len(a.partial) > 0 {
		a.partial = append(a.partial, line...)
		line = a.partial
	}
	err := a.line(bytes.TrimSuffix(line, []byte("\r")))
	a.partial = a.partial[:0]
	return used, err
}

// checkPartial refuses at once what can no longer become a line, rather than wait for a line end that may never come. The
// first checked bytes were looked at before, except that a CR at their end may have turned out to stand alone: each byte is
// looked at twice at most, however small the pieces are in which the receiver sends.
func (a *answer) checkPartial(checked int) error {
	if a.status == 0 {
		want := []byte("HTTP/1.")
		n := min(len(want), len(a.partial))
		if !bytes.Equal(a.partial[:n], want[:n]) {
			return fault("the answer is not HTTP/1.x")
		}
	}
	return checkText(bytes.TrimSuffix(a.partial[max(0, checked-1):], []byte("\r")))
}

// checkText refuses controls other than tab, a bare CR among them.
func checkText(line []byte) error {
	for _, c := range line {
		switch {
		case c == '\r':
			return fault("the headers contain a bare CR")
		case c < 0x20 && c != '\t' || c == 0x7f:
			return fault(fmt.Sprintf("the headers contain the control character %#02x", c))
		}
	}
	return nil
}

// line takes one whole line of a head, without its end.
func (a *answer) line(line []byte) error {
	if a.status == 0 {
		return a.statusLine(line)
	}
	if len(line) == 0 {
		return a.endOfHead()
	}
	if a.lines++; a.lines > maxLines {
		return fault("header limit: more than 100 header lines")
	}
	return a.header(line)
}

// statusLine reads "HTTP/1.x NNN reason" (RFC 9112 §4); the reason and the space before it may be missing.
func (a *answer) statusLine(line []byte) error {
	if len(line) < len("HTTP/1.1") || !bytes.HasPrefix(line, []byte("HTTP/1.")) || !isDigit(line[7]) {
		return fault("the answer is not HTTP/1.x")
	}
	if err := checkText(line); err != nil {
		return err
	}
	const codeEnd = len("HTTP/1.1 202")
	if len(line) < codeEnd || line[8] != ' ' || len(line) > codeEnd && line[codeEnd] != ' ' {
		return fault("malformed status line")
	}
	status := 0
	for _, c := range line[9:codeEnd] {
		if !isDigit(c) {
			return fault("malformed status line")
		}
		status = 10*status + int(c-'0')
	}
	if status < 100 || status > 599 {
		return fault(fmt.Sprintf("status %03d is outside 100 to 599", status))
	}
	a.status, a.http10 = status, line[7] == '0'
	return nil
}

// header reads one header line; of the values only what frames the body matters.
func (a *answer) header(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		return fault("folded header line")
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return fault("malformed header line")
	}
	if err := checkText(value); err != nil {
		return err
	}
	switch {
	case len(name) == len("Content-Length") && strings.EqualFold(string(name), "Content-Length"):
		return a.contentLength(bytes.Trim(value, " \t"))
	case len(name) == len("Transfer-Encoding") && strings.EqualFold(string(name), "Transfer-Encoding"):
		if a.chunked || !strings.EqualFold(string(bytes.Trim(value, " \t")), "chunked") {
			return fault("unsupported Transfer-Encoding")
		}
		a.chunked = true
	case len(name) == len("Keep-Alive") && strings.EqualFold(string(name), "Keep-Alive"):
		a.keep.parse(string(value))
	}
	return nil
}

func (a *answer) contentLength(value []byte) error {
	if len(value) == 0 || len(value) > 18 {
		return fault("malformed Content-Length")
	}
	var n int64
	for _, c := range value {
		if !isDigit(c) {
			return fault("malformed Content-Length")
		}
		n = 10*n + int64(c-'0')
	}
	if a.length != noLength && a.length != n {
		return fault("conflicting Content-Length")
	}
	a.length = n
	return nil
}

// endOfHead decides, at the empty line, what follows.
func (a *answer) endOfHead() error {
	if a.chunked && a.length != noLength {
		return fault("Content-Length together with Transfer-Encoding")
	}
	switch {
	case a.status == 101:
		return fault("the receiver switches protocols (101), which nobody asked for")
	case a.status < 200:
		if a.interim++; a.interim > maxInterim {
			return fault("header limit: more than 5 interim answers")
		}
		a.status, a.lines, a.length, a.chunked, a.keep = 0, 0, noLength, false, keepAlive{}
	case a.status == 204 || a.status == 304 || a.length == 0:
		a.phase = over
	case a.length > 0:
		a.phase, a.left = inLength, a.length
	case a.chunked && !a.http10:
		a.phase = inChunks
	default:
		a.phase = inRest
	}
	return nil
}

// skipBody follows the body to its end and says how many bytes of p belong to it.
func (a *answer) skipBody(p []byte) int {
	n := len(p)
	switch a.phase {
	case over:
		return 0
	case inLength:
		n = int(min(int64(n), a.left))
		if a.left -= int64(n); a.left == 0 {
			a.phase = over
		}
	case inChunks:
		used, done, ok := a.chunk.feed(p)
		switch {
		case !ok:
			a.phase = inRest // the client will stumble over it too; the connection is not used again
		case done:
			n, a.phase = used, over
		}
	}
	a.body += n
	return n
}

// isToken tells a header name (RFC 9110 §5.6.2).
func isToken(name []byte) bool {
	for _, c := range name {
		if !isLetter(c) && !isDigit(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return len(name) > 0
}

// chunkReader finds the end of a chunked body (RFC 9112 §7.1). It keeps nothing of it.
type chunkReader struct {
	state chunkState
	left  int64 // data bytes to come in this chunk
	size  int64 // being read
	digit bool  // at least one digit of the size was read
	blank bool  // the trailer line being read is empty so far
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkData
	chunkDataEnd
	chunkTrailer
)

// feed says how many bytes belong to the body, whether it has ended, and whether it was well formed so far.
func (c *chunkReader) feed(p []byte) (used int, done, ok bool) {
	for i := 0; i < len(p); i++ {
		b := p[i]
		switch c.state {
		case chunkSize:
			if v, hex := fromHex(b); hex && c.size < maxBody {
				c.size, c.digit = c.size<<4|int64(v), true
				continue
			}
			if !c.digit || b != ';' && b != ' ' && b != '\t' && b != '\r' && b != '\n' {
				return i, false, false
			}
			c.state = chunkExtension
			i-- // the extension's state looks at this byte too
		case chunkExtension:
			if b == '\n' {
				c.left, c.size, c.digit = c.size, 0, false
				c.state, c.blank = chunkData, true
				if c.left == 0 {
					c.state = chunkTrailer
				}
			}
		case chunkData:
			n := min(c.left, int64(len(p)-i))
			if c.left -= n; c.left == 0 {
				c.state = chunkDataEnd
			}
			i += int(n) - 1
		case chunkDataEnd:
			if b == '\n' {
				c.state = chunkSize
			} else if b != '\r' {
				return i, false, false
			}
		case chunkTrailer:
			if b == '\n' && c.blank {
				return i + 1, true, true
			}
			c.blank = b == '\n' || b == '\r' && c.blank
		}
	}
	return len(p), false, true
}

func fromHex(b byte) (byte, bool) {
	switch {
	case isDigit(b):
		return b - '0', true
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10, true
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}
