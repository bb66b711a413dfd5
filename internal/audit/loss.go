package audit

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// KindLoss is the kind of an entry that holds a statement of loss.
const KindLoss = "loss"

// Loss states that entries which were sealed and published are gone, because the database was set back, and that the log
// goes on from an older state. It is signed with the log's key and stands in the facts of an entry of kind loss, as the
// member statement. Without it a log that contradicts a published checkpoint is not sealed and does not verify.
type Loss struct {
	Kept Tree         // what is left of the log: the published log began with it
	Lost []Checkpoint // the published heads that the log does not extend, 1 or more; Skew is not used
	At   Instant      // when it was stated, by the database's clock
	By   string       // who states it
	Why  string       // in one line
}

// Tree is the size and the root of the log at one moment.
type Tree struct {
	Size int64
	Root Hash
}

// maxLossLine bounds who and why, in bytes.
const maxLossLine = 1000

// text is what is signed.
func (l Loss) text(origin string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nloss\nkept %d %s\n", origin, l.Kept.Size, l.Kept.Root)
	for _, c := range l.Lost {
		fmt.Fprintf(&b, "published %d %s %s\n", c.Size, c.Root, c.At)
	}
	fmt.Fprintf(&b, "time %s\nby %s\nreason %s\n", l.At, l.By, l.Why)
	return b.String()
}

// Check says what keeps the statement from being signed.
func (l Loss) Check() error {
	for name, s := range map[string]string{"by": l.By, "reason": l.Why} {
		if s == "" || strings.TrimSpace(s) != s || len(s) > maxLossLine || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("%s: is empty, too long or not one line; write 1 to %d bytes without control characters", name, maxLossLine)
		}
	}
	if len(l.Lost) == 0 {
		return errors.New("the statement names no published checkpoint that is lost")
	}
	for _, c := range l.Lost {
		if c.Size <= l.Kept.Size || l.Kept.Size < 0 {
			return fmt.Errorf("the published checkpoint of %d entries is not ahead of the %d that are left", c.Size, l.Kept.Size)
		}
	}
	return nil
}

// Admits tells whether the statement covers a published checkpoint: one of the lost part, not beyond the published heads
// that the statement names in size or in signed time.
func (l Loss) Admits(c Checkpoint) bool {
	return c.Size > l.Kept.Size && slices.ContainsFunc(l.Lost, func(p Checkpoint) bool {
		return c.At <= p.At && (c.Size < p.Size || c.Size == p.Size && c.Root == p.Root)
	})
}

// String is the note that a verification prints about the loss.
func (l Loss) String() string {
	var end int64
	for _, c := range l.Lost {
		end = max(end, c.Size)
	}
	return fmt.Sprintf("the positions %d to %d as they were published are lost: %s (stated by %s at %s)", l.Kept.Size, end-1, l.Why, l.By, l.At)
}

// SignLoss makes the signed note of a statement.
func (s *Signer) SignLoss(l Loss) ([]byte, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: l.text(Origin(s.public))}, noteSigner{s})
	if err != nil {
		return nil, fmt.Errorf("sign the statement of loss: %w", err)
	}
	return signed, nil
}

// OpenLoss verifies a signed statement with the log's public key and reads it.
func OpenLoss(signed []byte, public ed25519.PublicKey) (l Loss, err error) {
	text, err := openNote(signed, public, "the statement of loss")
	if err != nil {
		return l, err
	}
	wrong := errors.New("the statement of loss is not one of this log: origin, loss, kept, published, time, by and reason are expected, a line each")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 7 || lines[1] != "loss" {
		return l, wrong
	}
	if l.Kept, _, err = parseTree(lines[2], "kept", 3); err != nil {
		return l, wrong
	}
	for _, line := range lines[3 : len(lines)-3] {
		head, at, err := parseTree(line, "published", 4)
		if err != nil {
			return l, wrong
		}
		l.Lost = append(l.Lost, Checkpoint{Size: head.Size, Root: head.Root, At: at})
	}
	end := lines[len(lines)-3:]
	if l.At, err = parseInstant(strings.TrimPrefix(end[0], "time ")); err != nil {
		return l, wrong
	}
	l.By, l.Why = strings.TrimPrefix(end[1], "by "), strings.TrimPrefix(end[2], "reason ")
	if l.text(Origin(public)) != text || l.Check() != nil {
		return l, wrong
	}
	return l, nil
}

func parseTree(line, word string, fields int) (t Tree, at Instant, err error) {
	f := strings.Split(line, " ")
	if len(f) != fields || f[0] != word {
		return t, at, errors.New("another line is expected")
	}
	if t.Size, err = strconv.ParseInt(f[1], 10, 64); err != nil {
		return t, at, err
	}
	if t.Root, err = tlog.ParseHash(f[2]); err == nil && fields == 4 {
		at, err = parseInstant(f[3])
	}
	return t, at, err
}

// LossOf reads the statement from the facts of an entry of kind loss.
func LossOf(facts string, public ed25519.PublicKey) (Loss, error) {
	var members map[string]json.RawMessage
	var statement string
	if json.Unmarshal([]byte(facts), &members) != nil || json.Unmarshal(members["statement"], &statement) != nil {
		return Loss{}, errors.New("an entry of kind loss holds a signed statement of loss")
	}
	return OpenLoss([]byte(statement), public)
}

// fork is a published checkpoint that contradicts the log, and the fault it is unless a statement of loss admits it.
type fork struct {
	at    Checkpoint
	fault *Fault
}

// loss takes an entry of kind loss into account.
func (v *Verifier) loss(seq int64, facts string) error {
	l, err := LossOf(facts, v.Public)
	if err != nil {
		return &Fault{seq, err.Error()}
	}
	if l.Kept.Size > seq {
		return &Fault{seq, fmt.Sprintf("the statement of loss keeps %d entries and stands before the last of them", l.Kept.Size)}
	}
	v.past.Losses = append(v.past.Losses, l)
	return nil
}

// Admitted tells whether a statement of loss that was met covers a published checkpoint.
func (v *Verifier) Admitted(c Checkpoint) bool {
	return slices.ContainsFunc(v.past.Losses, func(l Loss) bool { return l.Admits(c) })
}

// Earliest prefers, of a fault and the published checkpoints that contradict the log and that no statement of loss admits,
// the one that shows earlier in the log. Any other error stays, and nil stays nil where nothing contradicts.
func (v *Verifier) Earliest(err error) error {
	var f *Fault
	if err != nil && !errors.As(err, &f) {
		return err
	}
	for _, k := range v.forks {
		if !v.Admitted(k.at) && (f == nil || k.fault.Seq <= f.Seq) {
			f, err = k.fault, k.fault
		}
	}
	return err
}
