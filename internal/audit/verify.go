package audit

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// VerifiedLog is what a verification found to be right.
type VerifiedLog struct {
	Entries int64 // that were verified: of a whole log all of it, removed ones included; of a filtered bundle what is in it
	Size    int64 // of the log that Root is of
	Root    Hash
	// SignedAt is the time of the checkpoint of Size, by the log's clock.
	SignedAt Instant

	Removed int64 // entries whose time was over, proven by their hash and by the entry that announced their removal
	// RemovedAsOf is the latest signed time on which a removal rests; see AsOf.
	RemovedAsOf  Instant
	removedFirst int64
	Unsealed     int64 // entries that wait for the sealer, where that can be known
	Oldest       Instant

	// Witnessed is how many entries the witnesses of a policy vouched for, and WitnessedUntil the time up to which their quorum did;
	// see Policy.Confirm.
	Witnessed      int64
	WitnessedUntil time.Time
	whole          bool // the checkpoints of all sizes were compared
	losses         []Loss

	Filtered bool     // a filter chose the entries
	Complete bool     // with Filtered: it is proven that nothing the filter should find is missing
	Notes    []string // what else a reader should know, one sentence each
}

// String is the line that audit verify prints for the verdict (contract, "Demo and audit").
func (v VerifiedLog) String() string {
	switch {
	case !v.Filtered:
		return fmt.Sprintf("ok %d %s", v.Entries, v.Root)
	case v.Complete:
		return fmt.Sprintf("ok %d %s; complete", v.Entries, v.Root)
	}
	return fmt.Sprintf("genuine %d of %d %s; completeness not shown", v.Entries, v.Size, v.Root)
}

// AsOf refuses a verdict that rests on a checkpoint which is dated after now: with it entries could be passed off as old
// enough to be removed by anybody who has the log's key. It also refuses one whose witnesses vouched until more than MaxAhead after now.
// What is wrong is a *Fault.
func (v VerifiedLog) AsOf(now time.Time) error {
	if v.RemovedAsOf > At(now)+clockMargin {
		return &Fault{v.removedFirst, fmt.Sprintf("missing: its removal was announced by a checkpoint that is dated %s, which is yet to come", v.RemovedAsOf)}
	}
	if v.WitnessedUntil.After(now.Add(MaxAhead)) {
		return &Fault{0, fmt.Sprintf("the witnesses vouched until %s, which is yet to come: compare their clocks with this one", v.WitnessedUntil.Format(time.RFC3339))}
	}
	return nil
}

// Verifier walks a log from its first entry to its last and compares it with signed checkpoints. The zero value is ready.
type Verifier struct {
	// Complete, when set, is told every subtree of the records, or of what is left of them, that becomes complete: its
	// level, its number in that level and its hash. Level 0 are the leaves.
	Complete func(level int, n int64, h Hash)

	// Public is the log's public key, which statements of loss are signed with. Without it none is accepted.
	Public ed25519.PublicKey

	tree    Range
	waiting []Checkpoint // ahead of the tree, the smallest first
	good    int64        // size of the last checkpoint that agreed
	scratch []byte

	differs int64  // first position whose record is not the leaf beside it
	beside  *Range // the tree of the leaves themselves from there on; nil while all agree

	past         Progress // but for its size
	month        string   // of the last entry
	blind        bool     // nothing is known of the entries in front of the walk
	removedAsOf  Instant
	removedFirst int64 // position of the first entry whose removal rests on it
	forks        []fork
}

// Progress is how far a walk has come, at a checkpoint: what a Verifier must know of the entries behind it. Its JSON is
// what is stored, so that a walk over a long log can go on after a restart. The zero value is the beginning of the log; one
// that has a Size alone begins there and knows nothing of what is behind, so a recorded removal is not compared with its
// announcement.
type Progress struct {
	Size      int64                        `json:"size"`                // entries walked: the size of a checkpoint that agreed, or 0
	Announced map[string]*announcedRemoval `json:"announced,omitempty"` // removals, by month
	Missing   map[string]*missingMonth     `json:"missing,omitempty"`   // by month: entries that are not there any more
	Present   map[string]int64             `json:"present,omitempty"`   // by month: the position of the first entry that is there
	Losses    []Loss                       `json:"losses,omitempty"`    // that the log states
	Newest    Instant                      `json:"newest,omitempty"`    // the latest signed time
	Before    Instant                      `json:"before,omitempty"`    // the signed time of the last checkpoint
	Covers    bool                         `json:"covers,omitempty"`    // there was one
}

// clone copies what a walk goes on to change.
func (p Progress) clone() Progress {
	p.Announced, p.Missing, p.Present, p.Losses = maps.Clone(p.Announced), maps.Clone(p.Missing), maps.Clone(p.Present), slices.Clone(p.Losses)
	for month, a := range p.Announced {
		own := *a
		p.Announced[month] = &own
	}
	for month, m := range p.Missing {
		own := *m
		own.Leaves = *m.Leaves.clone()
		p.Missing[month] = &own
	}
	return p
}

// Removals is how many entries were passed that are not there any more.
func (p Progress) Removals() (n int64) {
	for _, m := range p.Missing {
		n += m.Count
	}
	return n
}

// Resume continues a walk behind p.Size entries. tree is the tree of these entries; the caller has compared its root with
// the signed checkpoint of that size. Public is to be set, as for a new Verifier.
func Resume(p Progress, tree *Range) *Verifier {
	return &Verifier{tree: *tree.clone(), good: p.Size, past: p.clone(), blind: p.Size > 0 && !p.Covers}
}

// Progress tells how far the walk has come. It stands at a checkpoint when FinishPart found nothing wrong.
func (v *Verifier) Progress() Progress {
	p := v.past.clone()
	p.Size = v.tree.Size()
	return p
}

// Expect announces checkpoints whose signatures were verified. They may come in any order, but each before the walk has
// passed its size.
func (v *Verifier) Expect(checkpoints ...Checkpoint) error {
	for _, c := range checkpoints {
		if c.Size < v.tree.Size() {
			return fmt.Errorf("checkpoint of %d announced after %d entries", c.Size, v.tree.Size())
		}
	}
	v.waiting = append(v.waiting, checkpoints...)
	slices.SortStableFunc(v.waiting, func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
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
	if month := recordMonth(record); string(month) != v.month {
		if v.month = string(month); v.past.Present == nil {
			v.past.Present = map[string]int64{}
		}
		if _, known := v.past.Present[v.month]; !known {
			v.past.Present[v.month] = seq
		}
	}
	if err := v.ofTheLog(seq, record); err != nil {
		return err
	}
	return v.grow(leaf)
}

// ofTheLog takes an entry into account that is about the log itself.
func (v *Verifier) ofTheLog(seq int64, record []byte) error {
	start := record[:min(len(record), 256)]
	if !bytes.Contains(start, []byte(`,"kind":"`+KindRetention+`"`)) && !bytes.Contains(start, []byte(`,"kind":"`+KindLoss+`"`)) {
		return nil
	}
	var e struct {
		Kind    string          `json:"kind"`
		Outcome string          `json:"outcome"`
		Facts   json.RawMessage `json:"facts"`
	}
	if err := json.Unmarshal(record, &e); err != nil {
		return &Fault{seq, "the entry about the log itself cannot be read"}
	}
	switch e.Kind {
	case KindRetention:
		return v.retention(seq, e.Outcome, string(e.Facts))
	case KindLoss:
		return v.loss(seq, string(e.Facts))
	}
	return nil // the facts of another entry look like one
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

// AddRemoved takes the leaf of an entry that is no longer there, with the time its position claims. Finish asks for
// the entry that announced its removal, and compares that time with the signed ones around it.
func (v *Verifier) AddRemoved(at Instant, leaf Hash) error {
	v.miss(at, leaf)
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
	size, agreed, at := v.tree.Size(), false, MinusInfinity
	for len(v.waiting) > 0 && v.waiting[0].Size == size {
		c := v.waiting[0]
		v.waiting = v.waiting[1:]
		right, beside := c.Root == v.tree.Root(), v.beside != nil && c.Root == v.beside.Root()
		switch {
		case right && v.beside != nil:
			return &Fault{v.differs, "the leaf that stands beside the entry is not the entry's; the entry is what was signed at " + c.At.String()}
		case beside:
			return &Fault{v.differs, "the entry is not what was signed at " + c.At.String()}
		case !right: // a fault, unless the log states further on that this was lost
			v.forks = append(v.forks, fork{c, &Fault{v.good, fmt.Sprintf("the entries from %d to %d are not what was signed at %s", v.good, c.Size-1, c.At)}})
			continue
		}
		agreed, at = true, max(at, c.At)
	}
	if agreed {
		v.good = size
		v.cover(at)
	}
	return nil
}

// Finish ends the walk: nothing signed may be missing, and nothing may be there that was not signed.
func (v *Verifier) Finish() (VerifiedLog, error) {
	if err := v.checkRemoved(); err != nil {
		return VerifiedLog{}, v.Earliest(err)
	}
	return v.FinishPart()
}

// FinishPart ends the walk through a part of the log: as Finish, but whether the log announced the removal of what is
// missing is not judged, since the entry about it may stand further on.
func (v *Verifier) FinishPart() (VerifiedLog, error) {
	verdict, err := v.finishPart()
	if err = v.Earliest(err); err != nil {
		return VerifiedLog{}, err
	}
	return verdict, nil
}

func (v *Verifier) finishPart() (VerifiedLog, error) {
	size := v.tree.Size()
	for _, c := range slices.Backward(v.waiting) {
		if !v.Admitted(c) {
			return VerifiedLog{}, &Fault{size, fmt.Sprintf("the end is cut off: %d entries were signed at %s, %d are here", c.Size, c.At, size)}
		}
	}
	if v.good != size {
		return VerifiedLog{}, &Fault{v.good, fmt.Sprintf("no checkpoint covers the entries from %d to %d", v.good, size-1)}
	}
	if size == 0 {
		return VerifiedLog{}, &Fault{0, "the log is empty: nothing is sealed, so nothing is proven"}
	}
	verdict := VerifiedLog{Entries: size, Size: size, Root: v.tree.Root(), SignedAt: v.past.Before, Removed: v.past.Removals(), RemovedAsOf: v.removedAsOf, removedFirst: v.removedFirst, whole: true, losses: slices.Clone(v.past.Losses)}
	for _, l := range v.past.Losses {
		verdict.Notes = append(verdict.Notes, l.String())
	}
	return verdict, nil
}
