package history

import (
	"fmt"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Integrity says how the entries that a read shows, or judges by, stand to the sealed log. A read shows what is stored;
// this tells what of it is proven.
type Integrity struct {
	Verified    int64         `json:"verified"`    // entries that are what was sealed: their hash is the leaf of their position
	Proven      int64         `json:"proven"`      // of these, entries whose leaf was followed up to the signed root of Checkpoint
	Unsealed    int64         `json:"unsealed"`    // entries that the sealer has not reached: nothing proves them yet
	FailedCount int64         `json:"failedCount"` // entries that are not what was sealed, or that have no position
	Failed      []FailedEntry `json:"failed"`      // the first of these, at most 100
	Checkpoint  int64         `json:"checkpoint"`  // size of the signed checkpoint that was compared with; 0: nothing is sealed
}

// FailedEntry is one entry that is not what was sealed.
type FailedEntry struct {
	Seq     *int64     `json:"seq"`     // position in the log; null where the entry has none
	EntryID *notice.ID `json:"entryId"` // null where it is the log's own tables that are damaged
	Reason  string     `json:"reason"`

	At time.Time `json:"-"` // the time that the entry claims: with its id it names one row
}

// same tells whether two failures are about one row, or about the same damage of the log's tables.
func (f *FailedEntry) same(o *FailedEntry) bool {
	if f.EntryID == nil || o.EntryID == nil {
		return f.EntryID == o.EntryID && f.Reason == o.Reason
	}
	return *f.EntryID == *o.EntryID && f.At.Equal(o.At)
}

// failedMost is how many failed entries are listed one by one.
const failedMost = 100

// Fail adds a failed entry.
func (i *Integrity) Fail(f FailedEntry) {
	i.FailedCount++
	if len(i.Failed) < failedMost {
		i.Failed = append(i.Failed, f)
	}
}

// Add adds the account of another part of the same read. A failed entry that is listed already counts once.
func (i *Integrity) Add(o Integrity) {
	i.Verified += o.Verified
	i.Proven += o.Proven
	i.Unsealed += o.Unsealed
	i.FailedCount += o.FailedCount
	before := i.Failed
	for n := range o.Failed {
		switch f := &o.Failed[n]; {
		case slices.ContainsFunc(before, func(known FailedEntry) bool { return known.same(f) }):
			i.FailedCount--
		case len(i.Failed) < failedMost:
			i.Failed = append(i.Failed, *f)
		}
	}
	i.Checkpoint = max(i.Checkpoint, o.Checkpoint)
}

// Tampered tells whether anything failed.
func (i *Integrity) Tampered() bool { return i.FailedCount > 0 }

// Listed is the same with an empty list in the place of none, as JSON has it.
func (i Integrity) Listed() Integrity {
	if i.Failed == nil {
		i.Failed = []FailedEntry{}
	}
	return i
}

var integrityWords = map[string][4]string{
	"pt": {"integridade: %d registros conferem com o log selado (%d até a raiz assinada), %d ainda não selados, %d ADULTERADOS", "ADULTERADO", "posição", "registro"},
	"en": {"integrity: %d entries match the sealed log (%d up to the signed root), %d not sealed yet, %d TAMPERED WITH", "TAMPERED", "position", "entry"},
}

// Lines puts it into words, in Portuguese (pt) or English: the account, then one line for each failed entry.
func (i *Integrity) Lines(lang string) []string {
	w, known := integrityWords[lang]
	if !known {
		w = integrityWords["en"]
	}
	out := []string{fmt.Sprintf(w[0], i.Verified, i.Proven, i.Unsealed, i.FailedCount)}
	for _, f := range i.Failed {
		line := w[1]
		if f.Seq != nil {
			line += fmt.Sprintf(" %s %d", w[2], *f.Seq)
		}
		if f.EntryID != nil {
			line += fmt.Sprintf(" %s %s", w[3], f.EntryID)
		}
		out = append(out, line+": "+f.Reason)
	}
	return out
}
