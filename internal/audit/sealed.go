package audit

import "crypto/ed25519"

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

// Placed is an entry with its position in the log; Seq is nil while it is not sealed.
type Placed struct {
	Entry
	Seq *int64
}

// Mark is a place in a list that is ordered by time and id, newest first; zero: none.
type Mark struct {
	At Instant
	ID UUID
}

// Page is what one search found: the newest first.
type Page struct {
	Entries []Placed
	Next    Mark       // to continue after; zero at the end
	Head    SignedHead // the newest checkpoint, of size 0 when nothing is sealed yet
}
