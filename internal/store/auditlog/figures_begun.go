package auditlog

import (
	"slices"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// begunMost bounds the memory of begun, in bytes: some ten thousand notifications.
const begunMost = 6 << 20

// continuing are the kinds of entries of a notification that sums rest on.
var continuing = slices.Concat(announcing, []string{history.FactAttempt, history.FactResult, history.FactCancelled})

// begun are notifications that the folded stretches began and did not end, each with all its entries up to there. Most notifications end
// within seconds, in the next stretch, which need not read them again. Those that are not among them are read from the database. When
// they are too many, all are forgotten. An entry here keeps the verdict of its own stretch, while one that is read again is judged by its
// leaf and its private text as they are then: sums can differ between the two where somebody altered an entry. The nil value knows none.
type begun struct {
	entries int64 // of the log, from its beginning
	of      map[notice.ID][]history.Brief
	bytes   int
}

// take returns the entries of those that are wanted and known, and takes them off what is wanted. at is how much of the log is folded.
func (b *begun) take(at int64, wanted map[notice.ID]bool) (out []history.Brief) {
	if b == nil || b.entries != at {
		return nil
	}
	for id := range wanted {
		if of := b.of[id]; len(of) > 0 {
			out = append(out, of...)
			delete(wanted, id)
		}
	}
	return out
}

// after is what is known when a stretch from one position up to another is folded as well. A notification that the stretch makes is known
// when the stretch has the whole transaction: an attempt of the same transaction may stand before it.
func (b *begun) after(s *stretchOfLog, from, to int64) *begun {
	if b == nil || b.entries != from {
		b = &begun{of: map[notice.ID][]history.Brief{}}
	}
	b.entries = to
	ended := make(map[notice.ID]bool, len(s.entries)/2)
	for i := range s.entries {
		if e := &s.entries[i]; e.Closes != "" {
			ended[e.Notification] = true
			b.forget(e.Notification)
		}
	}
	for i := range s.entries {
		if e := &s.entries[i]; e.Announces() && e.XID > s.from.xid && !ended[e.Notification] && b.of[e.Notification] == nil {
			b.of[e.Notification] = []history.Brief{}
		}
	}
	for i := range s.entries {
		e := &s.entries[i]
		if of, known := b.of[e.Notification]; known && slices.Contains(continuing, e.Kind) {
			b.of[e.Notification] = append(of, *e)
			b.bytes += e.Size()
		}
	}
	if b.bytes > begunMost {
		clear(b.of)
		b.bytes = 0
	}
	return b
}

func (b *begun) forget(id notice.ID) {
	for i := range b.of[id] {
		b.bytes -= b.of[id][i].Size()
	}
	delete(b.of, id)
}
