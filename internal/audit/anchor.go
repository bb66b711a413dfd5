package audit

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"regexp"
	"strings"
)

// AnchorFile is what a file of signed notes, as anchors keep it, has of one log.
type AnchorFile struct {
	// Checkpoints are the checkpoints that the log's key signed, in the order of the file.
	Checkpoints []Checkpoint
	// Cosigned are the signed notes of those with more than one signature, in their order.
	Cosigned [][]byte
	// Foreign lists everything else but blanks, in the order of the file. Neighbours that are taken for the same are one.
	Foreign []Foreign
	// Tail is how many bytes of something else follow the last checkpoint; without a checkpoint, in the whole file. Blanks
	// at both ends are not counted.
	Tail int64
}

// Foreign is a piece of an anchor file that is no checkpoint of the log.
type Foreign struct {
	Line  int    // where it begins, from 1
	Bytes int    // without blanks at its ends, 1 or more
	Lines int    // 1 or more
	Taken string // what it is taken for

	start, end int // in the file
}

// String says where the piece is and what it is taken for.
func (f Foreign) String() string {
	return fmt.Sprintf("line %d: %d bytes in %d lines are passed over: %s", f.Line, f.Bytes, f.Lines, f.Taken)
}

// foreignMost is how many pieces Notes lists one by one.
const foreignMost = 20

// Notes says what was passed over, one sentence each, at most 21. It returns nothing when everything is a checkpoint.
func (a *AnchorFile) Notes() []string {
	var out []string
	for i, f := range a.Foreign {
		if i == foreignMost {
			return append(out, fmt.Sprintf("and %d more pieces, the last at line %d, are passed over", len(a.Foreign)-i, a.Foreign[len(a.Foreign)-1].Line))
		}
		out = append(out, f.String())
	}
	return out
}

// Unread is how many pieces may have been checkpoints of this log: all that is passed over but checkpoints of other logs.
func (a *AnchorFile) Unread() (n int) {
	for _, f := range a.Foreign {
		if !strings.HasPrefix(f.Taken, takenOther) {
			n++
		}
	}
	return n
}

// What a piece of an anchor file is taken for.
const (
	takenRubbish = "it is no checkpoint"
	takenTorn    = "a checkpoint of this log that breaks off"
	takenForged  = "a note in the name of this log that is not signed with its key, or that is no checkpoint"
	takenOther   = "a checkpoint of another log, "
)

// noteStart finds the first line of a note, a log's name. It may stand behind rubbish without a line feed.
var noteStart = regexp.MustCompile(`arauto/[0-9a-f]{16}\n`)

const blanks = " \t\r\n"

// ReadAnchorFile finds the checkpoints of a log in the text of an anchor file, or in the end of one, and passes over
// everything else: an anchor is out of the database's reach, and what somebody adds to it must not hide what it has. Time
// grows with the length of the text alone.
func ReadAnchorFile(text []byte, public ed25519.PublicKey) AnchorFile {
	var a AnchorFile
	name := []byte(Origin(public) + "\n")
	begins := noteStart.FindAllIndex(text, -1)
	first := len(text)
	if len(begins) > 0 {
		first = begins[0][0]
	}
	a.pass(text, 0, first, takenRubbish)
	good := 0
	for i, b := range begins {
		end := len(text)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		length, _ := noteLength(text[b[0]:end])
		signed := b[0] + length
		own := bytes.Equal(text[b[0]:b[1]], name)
		switch {
		case own && signed == b[0]:
			a.pass(text, b[0], end, takenTorn)
			continue
		case own:
			if c, err := OpenCheckpoint(text[b[0]:signed], public); err == nil {
				a.Checkpoints, good = append(a.Checkpoints, c), signed
				if bytes.Count(text[b[0]:signed], []byte("\n— ")) > 1 {
					a.Cosigned = append(a.Cosigned, text[b[0]:signed])
				}
			} else {
				a.pass(text, b[0], signed, takenForged)
			}
		default:
			signed = max(signed, b[1])
			a.pass(text, b[0], signed, takenOther+string(text[b[0]:b[1]-1]))
		}
		a.pass(text, signed, end, takenRubbish)
	}
	a.Tail = int64(len(bytes.Trim(text[good:], blanks)))
	a.measure(text)
	return a
}

// pass notes a piece of the text, unless it is blank.
func (a *AnchorFile) pass(text []byte, start, end int, taken string) {
	piece := bytes.TrimLeft(text[start:end], blanks)
	start = end - len(piece)
	piece = bytes.TrimRight(piece, blanks)
	if len(piece) == 0 {
		return
	}
	end = start + len(piece)
	if n := len(a.Foreign); n > 0 {
		last := &a.Foreign[n-1]
		if last.Taken == taken && len(bytes.Trim(text[last.end:start], blanks)) == 0 {
			last.end = end
			return
		}
	}
	a.Foreign = append(a.Foreign, Foreign{Taken: taken, start: start, end: end})
}

// measure counts bytes and lines.
func (a *AnchorFile) measure(text []byte) {
	line, at := 1, 0
	for i := range a.Foreign {
		f := &a.Foreign[i]
		line += bytes.Count(text[at:f.start], []byte("\n"))
		at = f.start
		f.Line, f.Bytes, f.Lines = line, f.end-f.start, 1+bytes.Count(text[f.start:f.end], []byte("\n"))
	}
}

// noteLength is how long the signed note is that a text begins with, up to its last whole signature; 0 when it has none.
// broken tells that a signature breaks off.
func noteLength(text []byte) (n int, broken bool) {
	middle := bytes.Index(text, []byte("\n\n— "))
	if middle < 0 {
		return 0, false
	}
	for end := middle + 2; bytes.HasPrefix(text[end:], []byte("— ")); end = n {
		line := bytes.IndexByte(text[end:], '\n')
		if line < 0 {
			return n, true
		}
		n = end + line + 1
	}
	return n, false
}
