package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Fault is what a verification found to be wrong, at the first position where it shows.
type Fault struct {
	Seq    int64
	Reason string
}

// Error is the line that audit verify prints.
func (f *Fault) Error() string { return fmt.Sprintf("BAD seq=%d %s", f.Seq, f.Reason) }

// Verdict is what a verification found to be right.
type Verdict struct {
	Entries  int64 // that were verified: of a whole log all of it, removed ones included; of a filtered bundle what is in it
	Size     int64 // of the log that Root is of
	Root     Hash
	Removed  int64 // entries whose time was over, proven by their hash and by the entry that records their removal
	Unsealed int64 // entries that wait for the sealer, where that can be known
	Oldest   Instant

	Filtered bool     // a filter chose the entries
	Complete bool     // with Filtered: it is proven that nothing the filter should find is missing
	Notes    []string // what else a reader should know, one sentence each
}

// String is the line that audit verify prints for the verdict (contract, "Demo and audit").
func (v Verdict) String() string {
	switch {
	case !v.Filtered:
		return fmt.Sprintf("ok %d %s", v.Entries, v.Root)
	case v.Complete:
		return fmt.Sprintf("ok %d %s; complete", v.Entries, v.Root)
	}
	return fmt.Sprintf("genuine %d of %d %s; completeness not shown", v.Entries, v.Size, v.Root)
}

// Verifier walks a log from its first entry to its last and compares it with signed checkpoints. The zero value is ready.
type Verifier struct {
	// Complete, when set, is told every subtree of the records, or of what is left of them, that becomes complete: its
	// level, its number in that level and its hash. Level 0 are the leaves.
	Complete func(level int, n int64, h Hash)

	tree    Range
	waiting []Checkpoint // ahead of the tree, the smallest first
	good    int64        // size of the last checkpoint that agreed
	scratch []byte

	differs int64  // first position whose record is not the leaf beside it
	beside  *Range // the tree of the leaves themselves from there on; nil while all agree

	removed map[string]*removal // by month
	dropped []Dropped           // as the last entry about removals says
	total   int64
}

// removal is what was met of one month's removed entries.
type removal struct {
	First   int64 `json:"first"`
	Last    int64 `json:"last"`
	Entries int64 `json:"entries"`
}

// Progress is how far a walk has come, at a checkpoint: what a Verifier must know of the entries behind it. Its JSON is
// what is stored, so that a walk over a long log can go on after a restart. The zero value is the beginning of the log.
type Progress struct {
	Size    int64               `json:"size"`              // entries walked: the size of a checkpoint that agreed, or 0
	Removed map[string]*removal `json:"removed,omitempty"` // by month: entries that are not there any more
	Dropped []Dropped           `json:"dropped,omitempty"` // as the last entry about removals says
}

// Removals is how many entries were passed that are not there any more.
func (p Progress) Removals() (n int64) {
	for _, r := range p.Removed {
		n += r.Entries
	}
	return n
}

// Resume continues a walk behind p.Size entries. tree is the tree of these entries; the caller has compared its root with
// the signed checkpoint of that size.
func Resume(p Progress, tree *Range) *Verifier {
	v := &Verifier{tree: *tree.clone(), good: p.Size, removed: map[string]*removal{}, dropped: slices.Clone(p.Dropped)}
	for month, r := range p.Removed {
		own := *r
		v.removed[month] = &own
		v.total += r.Entries
	}
	return v
}

// Progress tells how far the walk has come. It stands at a checkpoint when FinishPart found nothing wrong.
func (v *Verifier) Progress() Progress {
	p := Progress{Size: v.tree.Size(), Dropped: slices.Clone(v.dropped)}
	if len(v.removed) > 0 {
		p.Removed = map[string]*removal{}
	}
	for month, r := range v.removed {
		own := *r
		p.Removed[month] = &own
	}
	return p
}

// Dropped is one month of the history that was removed, as an entry of kind retention tells it. Each such entry tells
// all removals so far.
type Dropped struct {
	Partition string    `json:"partition"` // entry_ and the month, YYYYMM, in UTC
	First     int64     `json:"first"`     // position of the first of its entries
	Last      int64     `json:"last"`
	Entries   int64     `json:"entries"`
	DroppedAt time.Time `json:"droppedAt"`
}

// keepAtLeast is how many years after its end a month must be kept (the BCB's common period).
const keepAtLeast = 5

// Expect announces checkpoints whose signatures were verified. They may come in any order, but each before the walk has
// passed its size.
func (v *Verifier) Expect(checkpoints ...Checkpoint) error {
	for _, c := range checkpoints {
		if c.Size < v.tree.Size() {
			return fmt.Errorf("checkpoint of %d announced after %d entries", c.Size, v.tree.Size())
		}
	}
	v.waiting = append(v.waiting, checkpoints...)
	slices.SortStableFunc(v.waiting, func(a, b Checkpoint) int { return int(min(1, max(-1, a.Size-b.Size))) })
	return v.compare()
}

// add takes the record at the next position; leaf is its hash.
func (v *Verifier) add(record []byte, leaf Hash) error {
	seq, err := Seq(record)
	if err != nil {
		return &Fault{v.tree.Size(), err.Error()}
	}
	if seq != v.tree.Size() {
		return &Fault{v.tree.Size(), fmt.Sprintf("missing or out of order: the record found here says seq %d", seq)}
	}
	if bytes.Contains(record[:min(len(record), 256)], []byte(`,"kind":"retention",`)) {
		var r struct {
			Facts struct {
				Dropped []Dropped `json:"dropped"`
			} `json:"facts"`
		}
		if err := json.Unmarshal(record, &r); err != nil {
			return &Fault{seq, "the entry about a removal cannot be read"}
		}
		v.dropped = r.Facts.Dropped
	}
	return v.grow(leaf)
}

// AddBeside takes the record at the next position together with the leaf that stands beside it, in an export. When
// records turn out not to be what was signed while the leaves are, the fault names the very record.
func (v *Verifier) AddBeside(record []byte, beside Hash) error {
	leaf := Leaf(record)
	if v.beside == nil && leaf != beside {
		v.differs, v.beside = v.tree.Size(), v.tree.clone()
	}
	if v.beside != nil {
		v.beside.Append(beside, nil)
	}
	return v.add(record, leaf)
}

// first prefers, of two faults, the one that shows earlier in the log.
func (v *Verifier) first(err error) error {
	var f *Fault
	if v.beside != nil && errors.As(err, &f) && f.Seq > v.differs {
		return &Fault{v.differs, "the entry is not the leaf that stands beside it; further on: " + f.Reason}
	}
	return err
}

// AddEntry takes the entry at the next position and returns its leaf.
func (v *Verifier) AddEntry(e *Entry) (Hash, error) {
	v.scratch = e.AppendRecord(v.scratch[:0], v.tree.Size())
	leaf := Leaf(v.scratch)
	return leaf, v.add(v.scratch, leaf)
}

// AddRemoved takes the leaf of an entry that is no longer there, with the time it had. Finish asks for the entry that
// records its removal.
func (v *Verifier) AddRemoved(at Instant, leaf Hash) error {
	month := "entry_" + at.Time().Format("200601")
	if v.removed == nil {
		v.removed = map[string]*removal{}
	}
	r := v.removed[month]
	if r == nil {
		r = &removal{First: v.tree.Size()}
		v.removed[month] = r
	}
	r.Last = v.tree.Size()
	r.Entries++
	v.total++
	if v.beside != nil {
		v.beside.Append(leaf, nil)
	}
	return v.grow(leaf)
}

// Size is how many positions were walked.
func (v *Verifier) Size() int64 { return v.tree.Size() }

func (v *Verifier) grow(leaf Hash) error {
	v.tree.Append(leaf, v.Complete)
	return v.compare()
}

func (v *Verifier) compare() error {
	for len(v.waiting) > 0 && v.waiting[0].Size == v.tree.Size() {
		c := v.waiting[0]
		v.waiting = v.waiting[1:]
		right, beside := c.Root == v.tree.Root(), v.beside != nil && c.Root == v.beside.Root()
		switch {
		case right && v.beside != nil:
			return &Fault{v.differs, "the leaf that stands beside the entry is not the entry's; the entry is what was signed at " + c.At.String()}
		case beside:
			return &Fault{v.differs, "the entry is not what was signed at " + c.At.String()}
		case !right:
			return &Fault{v.good, fmt.Sprintf("the entries from %d to %d are not what was signed at %s", v.good, c.Size-1, c.At)}
		}
		v.good = c.Size
	}
	return nil
}

// Finish ends the walk: nothing signed may be missing, and nothing may be there that was not signed.
func (v *Verifier) Finish() (Verdict, error) {
	if err := v.checkRemoved(); err != nil {
		return Verdict{}, err
	}
	return v.FinishPart()
}

// FinishPart ends the walk through a part of the log: as Finish, but whether the log records the removal of what is
// missing is not judged, since the entry about it may stand further on.
func (v *Verifier) FinishPart() (Verdict, error) {
	size := v.tree.Size()
	if len(v.waiting) > 0 {
		c := v.waiting[len(v.waiting)-1]
		return Verdict{}, &Fault{size, fmt.Sprintf("the end is cut off: %d entries were signed at %s, %d are here", c.Size, c.At, size)}
	}
	if v.good != size {
		return Verdict{}, &Fault{v.good, fmt.Sprintf("no checkpoint covers the entries from %d to %d", v.good, size-1)}
	}
	if size == 0 {
		return Verdict{}, &Fault{0, "the log is empty: nothing is sealed, so nothing is proven"}
	}
	return Verdict{Entries: size, Size: size, Root: v.tree.Root(), Removed: v.total}, nil
}

// checkRemoved holds what is missing against what the log itself says was removed.
func (v *Verifier) checkRemoved() error {
	var worst *Fault
	for month, r := range v.removed {
		i := slices.IndexFunc(v.dropped, func(d Dropped) bool { return d.Partition == month })
		var reason string
		switch {
		case i < 0:
			reason = "missing, and no entry says that " + month + " was removed"
		case v.dropped[i].First != r.First || v.dropped[i].Last != r.Last || v.dropped[i].Entries != r.Entries:
			reason = fmt.Sprintf("missing: %d entries of %s are not here, and the log says that %d were removed", r.Entries, month, v.dropped[i].Entries)
		case v.dropped[i].tooEarly():
			reason = "missing: " + month + " was removed before its time was over"
		default:
			continue
		}
		if worst == nil || r.First < worst.Seq {
			worst = &Fault{r.First, reason}
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

func (d Dropped) tooEarly() bool {
	month, err := time.Parse("entry_200601", d.Partition)
	return err != nil || d.DroppedAt.Before(month.AddDate(keepAtLeast, 1, 0))
}
