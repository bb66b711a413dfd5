package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// A line of an export ends with the leaf of its entry, as the log has it. While an entry is what was sealed that is the
// hash of its record; where it is not, the leaves, which the signed root covers, tell which entry it was.
const (
	leafStart = `,"leaf":"`
	leafEnd   = `"}`
	leafSize  = len(leafStart) + 44 + len(leafEnd)
)

// AppendLine writes the line of an export for an entry, without its line feed: its record, and as the last member the
// leaf that the log has for it.
func AppendLine(b, record []byte, leaf Hash) []byte {
	b = append(b, bytes.TrimSuffix(record, []byte("}"))...)
	return append(append(append(b, leafStart...), leaf.String()...), leafEnd...)
}

// AppendRemoved writes the line that stands for a removed entry, without its line feed.
func AppendRemoved(b []byte, seq int64, at Instant, leaf Hash) []byte {
	return fmt.Appendf(b, `%s%d,"at":"%s"%s%s%s`, recordStart, seq, at, leafStart, leaf, leafEnd)
}

// filteredEnd ends each line of an export that a filter chose, in place of the last brace.
const filteredEnd = `,"filtered":true}`

// AppendFiltered makes the line of an export, without its line feed, that of one which a filter chose: it says so itself.
func AppendFiltered(line []byte) []byte {
	return append(bytes.TrimSuffix(line, []byte("}")), filteredEnd...)
}

// FilteredRecords tells whether records are those that a filter chose, by their first line. Nothing proves where such entries stand in
// the log, and what is missing between them is no fault. A filter that found nothing left an empty file.
func FilteredRecords(lines io.Reader) bool {
	scanner := newLines(lines, maxRecord)
	if !scanner.Scan() {
		return scanner.Err() == nil // an error is told by VerifyRecords
	}
	return bytes.HasSuffix(scanner.Bytes(), []byte(filteredEnd))
}

// errLine means that a line is not one of an export.
var errLine = errors.New("not a line of an export: a record, with the leaf as its last member")

// cutLine appends to b the record that a line was made of, and reads the leaf.
func cutLine(b, line []byte) (record []byte, leaf Hash, err error) {
	at := len(line) - leafSize
	if at < 1 || !bytes.HasPrefix(line[at:], []byte(leafStart)) || !bytes.HasSuffix(line, []byte(leafEnd)) {
		return nil, leaf, errLine
	}
	beside := string(line[at+len(leafStart) : len(line)-len(leafEnd)])
	if leaf, err = tlog.ParseHash(beside); err != nil || leaf.String() != beside {
		return nil, leaf, errLine
	}
	return append(append(b, line[:at]...), '}'), leaf, nil
}

// maxRecord bounds one line of an export; entries are a few hundred bytes.
const maxRecord = 16 << 20

// VerifyRecords walks a complete export, one record and its leaf a line from position 0 on, and compares it with
// checkpoints whose signatures were verified. What is wrong is a *Fault. It names the first entry that is not what was
// sealed; only where the leaf beside that entry was changed as well, the first of those between two checkpoints.
func VerifyRecords(lines io.Reader, public ed25519.PublicKey, checkpoints []Checkpoint) (VerifiedLog, error) {
	v := Verifier{Public: public}
	if err := v.Expect(checkpoints...); err != nil {
		return VerifiedLog{}, err
	}
	scanner := newLines(lines, maxRecord)
	for scanner.Scan() {
		if err := v.addLine(scanner.Bytes()); err != nil {
			return VerifiedLog{}, v.first(err)
		}
	}
	if err := scanner.Err(); err != nil {
		return VerifiedLog{}, v.first(&Fault{v.Size(), "the file cannot be read from here on: " + err.Error()})
	}
	verdict, err := v.Finish()
	return verdict, v.first(err)
}

func (v *Verifier) addLine(line []byte) (err error) {
	var leaf Hash
	if v.scratch, leaf, err = cutLine(v.scratch[:0], line); err != nil {
		return &Fault{v.Size(), err.Error()}
	}
	stamp, removed := bytes.CutPrefix(v.scratch, fmt.Appendf(nil, `%s%d,"at":"`, recordStart, v.Size()))
	if !removed {
		return v.AddBeside(v.scratch, leaf)
	}
	at, err := parseInstant(string(bytes.TrimSuffix(stamp, []byte(`"}`))))
	if err != nil || string(AppendRemoved(nil, v.Size(), at, leaf)) != string(line) {
		return &Fault{v.Size(), "neither a record nor the line of a removed one"}
	}
	return v.AddRemoved(at, leaf)
}

// VerifyProof verifies a proof of inclusion. The verdict's size and root are those of the checkpoint it leads to.
func VerifyProof(text []byte, public ed25519.PublicKey) (VerifiedLog, error) {
	p, err := ParseProof(text)
	if err != nil {
		return VerifiedLog{}, &Fault{0, err.Error()}
	}
	c, err := p.Check(public)
	return VerifiedLog{Entries: 1, Size: c.Size, Root: c.Root, SignedAt: c.At}, err
}
