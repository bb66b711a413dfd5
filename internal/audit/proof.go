package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Proof shows that one record is in the log, by itself: it holds the record, the path to the root, and a checkpoint. Its
// text is a transparency log's proof (C2SP tlog-proof), with the record as the extra data.
type Proof struct {
	Record     []byte
	Seq        int64
	Path       []Hash
	Checkpoint []byte // signed note
}

// proofStart is the first line of a proof.
const proofStart = "c2sp.org/tlog-proof@v1\n"

// Marshal writes the proof's text.
func (p Proof) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%sextra %s\nindex %d\n", proofStart, base64.StdEncoding.EncodeToString(p.Record), p.Seq)
	for _, h := range p.Path {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// IsProof tells whether a text begins as a proof does.
func IsProof(text []byte) bool { return bytes.HasPrefix(text, []byte(proofStart)) }

// ParseProof reads a proof's text; it verifies nothing.
func ParseProof(text []byte) (p Proof, err error) {
	wrong := errors.New("not a proof of inclusion as docs/audit-format.md describes it")
	rest, ok := bytes.CutPrefix(text, []byte(proofStart))
	head, checkpoint, found := bytes.Cut(rest, []byte("\n\n"))
	lines := strings.SplitN(string(head), "\n", 2+64+1)
	if !ok || !found || len(lines) < 2 || len(lines) > 2+64 {
		return p, wrong
	}
	extra, ok := strings.CutPrefix(lines[0], "extra ")
	if p.Record, err = base64.StdEncoding.DecodeString(extra); !ok || err != nil {
		return p, wrong
	}
	index, ok := strings.CutPrefix(lines[1], "index ")
	if p.Seq, err = strconv.ParseInt(index, 10, 64); !ok || err != nil {
		return p, wrong
	}
	if p.Path, err = hashes(lines[2:]); err != nil {
		return p, wrong
	}
	p.Checkpoint = checkpoint
	if !bytes.Equal(p.Marshal(), text) {
		return p, wrong // it says the same in other characters: no proof of ours
	}
	return p, nil
}

// Check verifies the proof with the log's public key and returns the checkpoint it leads to. What is wrong with it is a
// *Fault.
func (p Proof) Check(public ed25519.PublicKey) (Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, public)
	if err != nil {
		return c, &Fault{p.Seq, err.Error()}
	}
	return c, checkRecord(p.Record, p.Seq, p.Path, c)
}

func checkRecord(record []byte, at int64, path []Hash, c Checkpoint) error {
	seq, err := Seq(record)
	if err != nil {
		return &Fault{at, err.Error()}
	}
	if seq != at {
		return &Fault{at, fmt.Sprintf("the record says seq %d", seq)}
	}
	if err := CheckInclusion(path, at, Leaf(record), c.Size, c.Root); err != nil {
		return &Fault{at, fmt.Sprintf("the record is not what was signed at %s", c.At)}
	}
	return nil
}
