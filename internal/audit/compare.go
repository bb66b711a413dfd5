package audit

import (
	"cmp"
	"fmt"
	"slices"
)

// Contradiction returns a *Fault when two checkpoints, whose signatures were verified, have one size and different roots: the log has two
// histories. It compares them in their order. A statement of loss can admit one of them; only the whole log tells that.
func Contradiction(all ...Checkpoint) error {
	first := map[int64]Checkpoint{}
	for _, c := range all {
		other, known := first[c.Size]
		if !known {
			first[c.Size] = c
		} else if other.Root != c.Root {
			return &Fault{0, fmt.Sprintf("two histories: the log was signed over %d entries at %s and at %s, with different roots; only a statement of loss in the whole log can admit that", c.Size, other.At, c.At)}
		}
	}
	return nil
}

// Growth is what a proof of consistency that was verified joins: sizes of the log, the smaller one first.
type Growth struct{ From, To int64 }

// Compare compares checkpoints of one log, at least one, whose signatures were verified. It returns the newest, and a size that nothing joins
// with it, 0 when all are of one history. Two that contradict each other are a *Fault. The checkpoints of the proofs must be among all.
func Compare(all []Checkpoint, proofs []Growth) (newest Checkpoint, apart int64, err error) {
	if err := Contradiction(all...); err != nil {
		return newest, 0, err
	}
	all = slices.SortedFunc(slices.Values(all), func(a, b Checkpoint) int { return cmp.Compare(b.Size, a.Size) })
	newest = all[0]
	joined := map[int64]bool{0: true, newest.Size: true}
	for _, c := range all {
		for _, p := range proofs {
			if p.From == c.Size && joined[p.To] {
				joined[c.Size] = true
			}
		}
		if !joined[c.Size] {
			return newest, c.Size, nil
		}
	}
	return newest, 0, nil
}
