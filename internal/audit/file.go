package audit

import (
	"bufio"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// removedLine stands in an export for an entry whose month was removed: its leaf, and the time it had.
type removedLine struct {
	V    int    `json:"v"`
	Seq  int64  `json:"seq"`
	At   string `json:"at"`
	Leaf string `json:"leaf"`
}

// AppendRemoved writes the line that stands for a removed entry, without its line feed.
func AppendRemoved(b []byte, seq int64, at Instant, leaf Hash) []byte {
	return fmt.Appendf(b, `%s%d,"at":"%s","leaf":"%s"}`, recordStart, seq, at, leaf)
}

// maxRecord bounds one line of an export; entries are a few hundred bytes.
const maxRecord = 16 << 20

// VerifyRecords walks a complete export, one record a line from position 0 on, and compares it with checkpoints whose
// signatures were verified. What is wrong is a *Fault.
func VerifyRecords(lines io.Reader, checkpoints []Checkpoint) (Verdict, error) {
	var v Verifier
	if err := v.Expect(checkpoints...); err != nil {
		return Verdict{}, err
	}
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(make([]byte, 64<<10), maxRecord)
	for scanner.Scan() {
		if err := v.addLine(scanner.Bytes()); err != nil {
			return Verdict{}, err
		}
	}
	if err := scanner.Err(); err != nil {
		return Verdict{}, fmt.Errorf("read line %d: %w", v.Size()+1, err)
	}
	return v.Finish()
}

func (v *Verifier) addLine(line []byte) error {
	var r removedLine
	if len(line) > 256 || json.Unmarshal(line, &r) != nil || r.Leaf == "" {
		return v.Add(line)
	}
	leaf, err := tlog.ParseHash(r.Leaf)
	at, errAt := parseInstant(r.At)
	if err != nil || errAt != nil || r.Seq != v.Size() || string(AppendRemoved(nil, r.Seq, at, leaf)) != string(line) {
		return &Fault{v.Size(), "neither a record nor the line of a removed one"}
	}
	return v.AddRemoved(at, leaf)
}

// VerifyProof verifies a proof of inclusion. The verdict's size and root are those of the checkpoint it leads to.
func VerifyProof(text []byte, public ed25519.PublicKey) (Verdict, error) {
	p, err := ParseProof(text)
	if err != nil {
		return Verdict{}, &Fault{0, err.Error()}
	}
	c, err := p.Check(public)
	return Verdict{Entries: 1, Root: c.Root}, err
}
