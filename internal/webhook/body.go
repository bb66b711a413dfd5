package webhook

import (
	"bytes"
	"strconv"
)

// skipBody follows the body to its end and says how many bytes of p belong to its next part. Chunks that are not framed as
// RFC 9112 §7.1 says are not followed: the result of the attempt stands, and the connection is not used again.
func (a *answer) skipBody(p []byte) int {
	room := maxBody - a.body
	if a.phase == inRest || room <= 0 {
		a.phase = inRest
		return len(p)
	}
	p = p[:min(len(p), room)]
	if a.phase == inLength {
		n := min(a.left, int64(len(p)))
		if a.left -= n; a.left == 0 {
			a.phase = over
			if a.chunked {
				a.phase = inChunkEnd
			}
		}
		return int(n)
	}
	used := piece(p)
	if line, whole := a.join(p[:used]); whole && !a.chunkLine(line) {
		a.phase = inRest
	}
	return used
}

// chunkLine takes a line of the framing, without its LF, and reports whether it is well formed. A CR must precede the LF:
// unlike in headers, a LF alone ends no line here (RFC 9112 §§2.2, 7.1).
func (a *answer) chunkLine(line []byte) bool {
	line, ended := bytes.CutSuffix(line, []byte("\r"))
	if !ended || checkText(line) != nil {
		return false
	}
	switch {
	case a.phase == inChunkSize:
		return a.chunkSize(line)
	case a.phase == inChunkEnd:
		a.phase = inChunkSize
		return len(line) == 0
	case len(line) == 0:
		a.phase = over
		return true
	}
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && isToken(name)
}

// chunkSize reads the size of the next chunk; extensions after it are ignored (RFC 9112 §7.1.1).
func (a *answer) chunkSize(line []byte) bool {
	extension := bytes.TrimLeft(line, "0123456789abcdefABCDEF")
	digits := line[:len(line)-len(extension)]
	size, err := strconv.ParseInt(string(digits), 16, 64)
	extension = bytes.TrimLeft(extension, " \t")
	if err != nil || len(digits) > 16 || len(extension) > 0 && extension[0] != ';' {
		return false
	}
	a.left, a.phase = size, inLength
	if size == 0 {
		a.phase = inTrailer
	}
	return true
}
