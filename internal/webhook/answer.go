package webhook

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
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

// answer reads one answer from the bytes of a connection, in whatever pieces they come. It enforces our limits, refuses
// what two parsers could read differently (bare CR, folded lines, controls, conflicting lengths: RFC 9112 §§2.2, 5.2,
// 6.3), and knows where the answer ends, so that nothing that a receiver sends after it counts as the answer to the next
// request. It keeps nothing of the body but its start, and that of an answer 400 only.
type answer struct {
	sent string // our interaction id, for the comparison with the one that comes back

	phase   phase
	partial []byte // of a line whose end has not come yet; at most maxHead or about maxBody
	size    int    // bytes of head so far
	interim int
	headers // of the answer being read

	left  int64 // bytes still to come of the body, or of the chunk
	body  int   // body bytes seen, the framing of chunks included
	start []byte
}

// headers is what the status line and the header lines of one answer said.
type headers struct {
	status   int    // 0 before the status line
	reason   string // the status line from the status on, as it came; "" for 202
	http10   bool   // HTTP/1.0
	lines    int
	sized    bool // there is a Content-Length
	length   int64
	chunked  bool
	closes   bool        // Connection: close
	stays    bool        // Connection: keep-alive, which HTTP/1.0 needs
	echo     notice.Echo // "" while no id came back
	location string      // the first, of a redirection
	keep     keepAlive
}

type phase uint8

const (
	inHead      phase = iota
	inLength          // a body, or a chunk, of known length
	inChunkSize       // the line before a chunk
	inChunkEnd        // the line end after a chunk
	inTrailer         // the lines after the last chunk
	inRest            // a body that ends with the connection, or one we do not follow
	over              // the answer is complete
)

// lasts reports whether the connection stays open after a complete answer (RFC 9112 §9.3).
func (h *headers) lasts() bool { return !h.closes && (!h.http10 || h.stays) }

// worthReading reports whether the answer has not ended and may still end within our limits.
func (a *answer) worthReading() bool { return a.phase != over && a.body < maxBody }

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
	if room := bodyStart - len(a.start); room > 0 && a.status == 400 && a.phase != over {
		a.start = append(a.start, p[n:min(len(p), n+room)]...)
	}
	for n < len(p) && a.phase != over {
		used := a.skipBody(p[n:])
		a.body += used
		n += used
	}
	return n, nil
}

// piece is the length of the next line of p with its end, or of what there is of it.
func piece(p []byte) int {
	if end := bytes.IndexByte(p, '\n'); end >= 0 {
		return end + 1
	}
	return len(p)
}

// join completes a line with its next piece. A whole line comes without its LF and is valid until the next call.
func (a *answer) join(p []byte) (line []byte, whole bool) {
	text, whole := bytes.CutSuffix(p, []byte("\n"))
	if whole && len(a.partial) == 0 {
		return text, true
	}
	a.partial = append(a.partial, text...)
	if line = a.partial; whole {
		a.partial = a.partial[:0]
	}
	return line, whole
}

// head takes one line of the head, or what there is of it.
func (a *answer) head(p []byte) (int, error) {
	used := piece(p)
	if a.size += used; a.size > maxHead {
		return 0, fault("header limit: more than 64 KiB before the end of the headers")
	}
	checked := len(a.partial)
	line, whole := a.join(p[:used])
	if !whole {
		return used, a.checkPartial(checked)
	}
	return used, a.line(bytes.TrimSuffix(line, []byte("\r")))
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
	const codeStart, codeEnd = len("HTTP/1.1 "), len("HTTP/1.1 202")
	if len(line) < codeEnd || line[8] != ' ' || len(line) > codeEnd && line[codeEnd] != ' ' {
		return fault("malformed status line")
	}
	status, ok := decimal(line[codeStart:codeEnd])
	if !ok {
		return fault("malformed status line")
	}
	if status < 100 || status > 599 {
		return fault(fmt.Sprintf("status %03d is outside 100 to 599", status))
	}
	a.status, a.http10 = int(status), line[7] == '0'
	if status != 202 {
		a.reason = string(line[codeStart:])
	}
	return nil
}

// decimal reads digits and nothing else; at most 18, so that no number overflows.
func decimal(digits []byte) (n int64, ok bool) {
	for _, c := range digits {
		if !isDigit(c) {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, len(digits) > 0 && len(digits) <= 18
}

// header reads one header line. Of the values only those matter that frame the body, decide about the connection, or are
// part of the result.
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
	value = bytes.Trim(value, " \t")
	switch {
	case is(name, "Content-Length"):
		return a.contentLength(value)
	case is(name, "Transfer-Encoding"):
		if a.chunked || !is(value, "chunked") {
			return fault("unsupported Transfer-Encoding")
		}
		a.chunked = true
	case is(name, ofb.HeaderInteractionID):
		a.compareEcho(value)
	case is(name, "Connection"):
		for option := range bytes.SplitSeq(value, []byte(",")) {
			option = bytes.Trim(option, " \t")
			a.closes = a.closes || is(option, "close")
			a.stays = a.stays || is(option, "keep-alive")
		}
	case is(name, "Keep-Alive"):
		a.keep.parse(string(value))
	case is(name, "Location") && a.location == "" && a.status/100 == 3:
		a.location = string(value)
	}
	return nil
}

// is compares texts without regard to the case of ASCII letters.
func is(text []byte, want string) bool {
	return len(text) == len(want) && strings.EqualFold(string(text), want)
}

// compareEcho looks for our interaction id, and nothing beside it, in the answer.
func (a *answer) compareEcho(value []byte) {
	switch {
	case len(value) == 0:
	case string(value) != a.sent:
		a.echo = notice.EchoDifferent
	case a.echo == notice.NoEcho:
		a.echo = notice.EchoMatch
	}
}

func (a *answer) contentLength(value []byte) error {
	n, ok := decimal(value)
	if !ok {
		return fault("malformed Content-Length")
	}
	if a.sized && a.length != n {
		return fault("conflicting Content-Length")
	}
	a.sized, a.length = true, n
	return nil
}

// endOfHead decides, at the empty line, what follows.
func (a *answer) endOfHead() error {
	if a.chunked && a.sized {
		return fault("Content-Length together with Transfer-Encoding")
	}
	switch {
	case a.status == 101:
		return fault("the receiver switches protocols (101), which nobody asked for")
	case a.status < 200:
		if a.interim++; a.interim > maxInterim {
			return fault("header limit: more than 5 interim answers")
		}
		a.headers = headers{}
	case a.status == 204 || a.status == 304 || a.sized && a.length == 0:
		a.phase = over
	case a.sized:
		a.phase, a.left = inLength, a.length
	case a.chunked && !a.http10:
		a.phase = inChunkSize
	default:
		a.phase = inRest
	}
	return nil
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
