package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
)

// Consistency shows, by itself, that the log as of one checkpoint is the beginning of the log as of a later one: nothing
// before the first was changed, removed or put in by the time of the second (RFC 6962 §2.1.2).
type Consistency struct {
	Path     []Hash
	Old, New []byte // signed notes
}

// consistencyStart is the first line of a proof of consistency.
const consistencyStart = "arauto-consistency/1\n"

// Marshal writes the proof's text.
func (p Consistency) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(consistencyStart)
	for _, h := range p.Path {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(p.Old)
	b.WriteByte('\n')
	b.Write(p.New)
	return b.Bytes()
}

// IsConsistency tells whether a text begins as a proof of consistency does.
func IsConsistency(text []byte) bool { return bytes.HasPrefix(text, []byte(consistencyStart)) }

// ParseConsistency reads a proof's text; it verifies nothing.
func ParseConsistency(text []byte) (p Consistency, err error) {
	wrong := errors.New("not a proof of consistency as docs/audit-format.md describes it")
	rest, ok := bytes.CutPrefix(text, []byte(consistencyStart))
	path, notes, found := bytes.Cut(append([]byte("\n"), rest...), []byte("\n\n"))
	lines := strings.Split(string(path), "\n")[1:]
	if len(path) == 0 {
		lines = nil
	}
	if !ok || !found || len(lines) > 2*64 {
		return p, wrong
	}
	if p.Path, err = hashes(lines); err != nil {
		return p, wrong
	}
	both, err := SplitCheckpoints(notes)
	if err != nil || len(both) != 2 {
		return p, wrong
	}
	p.Old, p.New = both[0], both[1]
	if !bytes.Equal(p.Marshal(), text) {
		return p, wrong // it says the same in other characters
	}
	return p, nil
}

// Check verifies the proof with the log's public key and returns both checkpoints. What is wrong with it is a *Fault, at
// the first position that is not shown to have stayed.
func (p Consistency) Check(public ed25519.PublicKey) (old, later Checkpoint, err error) {
	if old, err = OpenCheckpoint(p.Old, public); err != nil {
		return old, later, &Fault{0, "the older checkpoint: " + err.Error()}
	}
	if later, err = OpenCheckpoint(p.New, public); err != nil {
		return old, later, &Fault{old.Size, "the newer checkpoint: " + err.Error()}
	}
	if err = CheckConsistency(p.Path, old.Size, old.Root, later.Size, later.Root); err != nil {
		return old, later, &Fault{0, fmt.Sprintf("the %d entries signed at %s are not the first of the %d signed at %s", old.Size, old.At, later.Size, later.At)}
	}
	return old, later, nil
}

// VerifyConsistency verifies a proof of consistency, whose checkpoints must not contradict each other or those that were kept (Contradiction).
// The verdict's size and root are those of the newer checkpoint.
func VerifyConsistency(text []byte, public ed25519.PublicKey, anchored ...Checkpoint) (VerifiedLog, error) {
	p, err := ParseConsistency(text)
	if err != nil {
		return VerifiedLog{}, &Fault{0, err.Error()}
	}
	earlier, later, err := p.Check(public)
	if err == nil {
		err = Contradiction(append([]Checkpoint{earlier, later}, anchored...)...)
	}
	return VerifiedLog{Entries: later.Size, Size: later.Size, Root: later.Root, SignedAt: later.At}, err
}
