package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// privateLine is the private text of one entry of a bundle. Null is a text that the entry commits to and that the database
// no longer has; a text that is not handed over has no line.
type privateLine struct {
	Seq     int64   `json:"seq"`
	Private *string `json:"private"`
}

// Private writes the private text of an entry of the bundle, in the order of the entries. An entry that neither has one nor
// commits to one is left out.
func (b *BundleWriter) Private(seq int64, e *Entry) error {
	if e.Private == nil && e.PrivateFault() == "" {
		return nil
	}
	text, err := json.Marshal(privateLine{seq, e.Private})
	if err != nil {
		return err
	}
	return b.line(memberPrivate, text)
}

// verifyPrivate compares the private texts in a bundle with what its entries, which were verified, commit to. An entry
// without a line was handed over without its text. What is wrong is a *Fault.
func (b *bundle) verifyPrivate() error {
	if b.files[memberPrivate] == nil {
		return nil
	}
	texts, err := b.open(memberPrivate)
	if err != nil {
		return &Fault{0, err.Error()}
	}
	defer texts.Close()
	entries, err := b.open(memberEntries)
	if err != nil {
		return &Fault{0, err.Error()}
	}
	defer entries.Close()
	in := newRecords(entries)
	lines := newLines(texts, maxRecord)
	last := int64(-1)
	for lines.Scan() {
		var p privateLine
		if json.Unmarshal(lines.Bytes(), &p) != nil || p.Seq <= last {
			return &Fault{max(last, 0), "after it " + memberPrivate + " has something that is not a private text in order"}
		}
		last = p.Seq
		record := in.at(p.Seq)
		if record == nil {
			return &Fault{p.Seq, memberPrivate + " has a text of an entry that is not in the bundle"}
		}
		if reason := p.fault(record); reason != "" {
			return &Fault{p.Seq, reason}
		}
	}
	if lines.Err() != nil {
		return &Fault{max(last, 0), "after it " + memberPrivate + " cannot be read"}
	}
	return nil
}

// fault says why the text is not the one that a record commits to; "" when it is.
func (p *privateLine) fault(record []byte) string {
	var e struct {
		Kind  string          `json:"kind"`
		Facts json.RawMessage `json:"facts"`
	}
	if json.Unmarshal(record, &e) != nil {
		return "the entry cannot be read"
	}
	facts := string(e.Facts)
	if len(facts) > 0 && facts[0] == '"' && json.Unmarshal(e.Facts, &facts) != nil {
		return "the facts of the entry cannot be read"
	}
	if p.Private == nil && privateFault(e.Kind, facts, nil) == "" {
		return fmt.Sprintf("%s speaks of its private text, and it commits to none", memberPrivate)
	}
	return privateFault(e.Kind, facts, p.Private)
}

// records finds records of an export by their positions, which rise.
type records struct {
	lines  *bufio.Scanner
	record []byte
	seq    int64 // of the record
}

func newRecords(lines io.Reader) *records {
	return &records{lines: newLines(lines, maxRecord), seq: -1}
}

// at is the record at a position that is larger than the ones asked for before; nil when it is not there.
func (r *records) at(seq int64) []byte {
	for r.seq < seq {
		if !r.lines.Scan() {
			return nil
		}
		var err error
		if r.record, _, err = cutLine(r.record[:0], r.lines.Bytes()); err != nil {
			return nil
		}
		if r.seq, err = Seq(r.record); err != nil {
			return nil
		}
	}
	if r.seq != seq {
		return nil
	}
	return r.record
}
