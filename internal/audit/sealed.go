package audit

import (
	"crypto/ed25519"

	"github.com/arauto/arauto/internal/uuid"
)

// SignedHead is the log as of one checkpoint: the key it is signed with, the checkpoint, and the note it was read from.
type SignedHead struct {
	Public     ed25519.PublicKey
	Checkpoint Checkpoint
	Note       []byte
}

// Sealed is what stands at one position of the log: an entry, or what is left of one that was removed when its time was
// over.
type Sealed struct {
	Seq   int64
	Entry *Entry  // nil: removed
	At    Instant // of the entry
	Leaf  Hash    // as the log has it

	Others int // other rows that claim the same place and time; they are not in the log
}

// Genuine tells whether the entry is what was sealed: its hash is the leaf, and its private text is the one that it commits
// to. Of a removed entry nobody can tell: true.
func (s *Sealed) Genuine() bool { return s.Reason() == "" }

// Reason says why the entry is not what was sealed; "" when it is, and of a removed entry.
func (s *Sealed) Reason() string {
	switch {
	case s.Entry == nil:
		return ""
	case Leaf(s.Record(nil)) != s.Leaf:
		return "the entry " + s.Entry.ID.String() + " is not what was sealed"
	}
	if reason := s.Entry.PrivateFault(); reason != "" {
		return "the entry " + s.Entry.ID.String() + ": " + reason
	}
	return ""
}

// Record appends the record of the entry, without its line feed. There must be an entry.
func (s *Sealed) Record(b []byte) []byte { return s.Entry.AppendRecord(b, s.Seq) }

// Line appends the line of an export, without its line feed.
func (s *Sealed) Line(b []byte) []byte {
	if s.Entry == nil {
		return AppendRemoved(b, s.Seq, s.At, s.Leaf)
	}
	return AppendLine(b, s.Record(nil), s.Leaf)
}

// Placed is an entry with its position in the log, compared with what was sealed there.
type Placed struct {
	Entry
	Seq      *int64 // nil: it has no position, since it is not sealed yet or since it was put in (Tampered)
	Verified bool   // its hash is the leaf of its position
	Proven   bool   // and that leaf was followed up to the signed root of the page's head
	Tampered string // why it is not what was sealed; "": it is, or it is not sealed yet
}

// Mark is a place in a list that is ordered by time and id, newest first; zero: none.
type Mark struct {
	At Instant
	ID uuid.UUID
}

// Page is what one search found: the newest first.
type Page struct {
	Entries []Placed
	Next    Mark       // to continue after; zero at the end
	Head    SignedHead // the newest checkpoint, of size 0 when nothing is sealed yet, or when it is damaged
	Size    int64      // of the log the entries were compared with
	Damage  []string   // what is wrong with the log's own tables, as far as this page met it
}

// NewestCosigned stands, in the place of the size of a checkpoint, for the newest that a witness cosigned.
const NewestCosigned = -1
