package audit

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a hash of the tree: SHA-256 as RFC 6962 uses it. Its String is base64.
type Hash = tlog.Hash

// Leaf is the hash of a record: SHA-256 of a zero byte and the record (RFC 6962 §2.1).
func Leaf(record []byte) Hash { return tlog.RecordHash(record) }

// EmptyRoot is the root of a tree without leaves: SHA-256 of nothing (RFC 6962 §2.1).
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// TileLevels is the distance between the levels of the tree that are stored: level 0 (the leaves), 8, 16, 24 and so on.
// What lies between is computed from at most 256 hashes.
const TileLevels = 8

// Range is a tree that is only added to: it keeps the roots of the complete subtrees it consists of, one for each bit
// set in its size, and so needs next to no memory for any number of leaves. The zero value is the empty tree.
type Range struct {
	size  int64
	stack []Hash // from the largest subtree to the smallest
}

// Size is the number of leaves.
func (r *Range) Size() int64 { return r.size }

func (r *Range) clone() *Range { return &Range{r.size, slices.Clone(r.stack)} }

// rangeState is a range as it is stored.
type rangeState struct {
	Size  int64  `json:"size"`
	Stack []Hash `json:"stack"`
}

// MarshalJSON writes the range so that UnmarshalJSON reads it back.
func (r Range) MarshalJSON() ([]byte, error) { return json.Marshal(rangeState{r.size, r.stack}) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Range) UnmarshalJSON(text []byte) error {
	var s rangeState
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s.Size < 0 || bits.OnesCount64(uint64(s.Size)) != len(s.Stack) {
		return errors.New("a range of a tree has a hash for each bit set in its size")
	}
	r.size, r.stack = s.Size, s.Stack
	return nil
}

// Append adds a leaf and tells emit, when not nil, every subtree that is complete by it, the leaf itself included, with
// its level and its number in that level.
func (r *Range) Append(leaf Hash, emit func(level int, n int64, h Hash)) {
	h := leaf
	level := 0
	for ; ; level++ {
		if emit != nil {
			emit(level, r.size>>level, h)
		}
		if r.size>>level&1 == 0 {
			break
		}
		h = tlog.NodeHash(r.stack[len(r.stack)-1], h)
		r.stack = r.stack[:len(r.stack)-1]
	}
	r.stack = append(r.stack, h)
	r.size++
}

// Root is the root of the tree as it is.
func (r *Range) Root() Hash {
	if r.size == 0 {
		return EmptyRoot()
	}
	h := r.stack[len(r.stack)-1]
	for i := len(r.stack) - 2; i >= 0; i-- {
		h = tlog.NodeHash(r.stack[i], h)
	}
	return h
}

// Hashes is where the stored levels of a tree are read. Level is 0 or another multiple of TileLevels; all the hashes
// from number from up to but without to belong to complete subtrees.
type Hashes interface {
	Hashes(level int, from, to int64) ([]Hash, error)
}

// Node computes the root of the complete subtree at any level from what is stored below it.
func Node(stored Hashes, level int, n int64) (Hash, error) {
	base := level - level%TileLevels
	count := int64(1) << (level - base)
	return fold(stored, base, n*count, (n+1)*count)
}

// Parent recomputes the hash of a stored subtree (level is a multiple of TileLevels, and not 0) from the 256 hashes of
// the stored level below it: what is stored above can be checked by what is stored below.
func Parent(stored Hashes, level int, n int64) (Hash, error) {
	return fold(stored, level-TileLevels, n<<TileLevels, (n+1)<<TileLevels)
}

func fold(stored Hashes, level int, from, to int64) (Hash, error) {
	hashes, err := stored.Hashes(level, from, to)
	if err != nil {
		return Hash{}, err
	}
	if int64(len(hashes)) != to-from {
		return Hash{}, fmt.Errorf("the tree holds %d of the %d hashes of level %d from %d on", len(hashes), to-from, level, from)
	}
	for len(hashes) > 1 {
		for i := range len(hashes) / 2 {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
		hashes = hashes[:len(hashes)/2]
	}
	return hashes[0], nil
}

// ReadRange rebuilds the range of the tree of the given size from what is stored.
func ReadRange(stored Hashes, size int64) (*Range, error) {
	r := &Range{size: size}
	var at int64
	for level := bits.Len64(uint64(size)) - 1; level >= 0; level-- {
		if size>>level&1 == 0 {
			continue
		}
		h, err := Node(stored, level, at>>level)
		if err != nil {
			return nil, err
		}
		r.stack = append(r.stack, h)
		at += 1 << level
	}
	return r, nil
}

// reader serves package tlog, which asks for hashes by an index of its own.
func reader(stored Hashes) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]Hash, error) {
		out := make([]Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			var err error
			if out[i], err = Node(stored, level, n); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

// ErrOutside means that a proof was asked for something that is not in the tree of that size.
var ErrOutside = errors.New("not in the tree of that size")

// ProveInclusion makes the proof that leaf seq is in the tree of that size (RFC 6962 §2.1.1).
func ProveInclusion(stored Hashes, seq, size int64) ([]Hash, error) {
	if seq < 0 || seq >= size {
		return nil, ErrOutside
	}
	return tlog.ProveRecord(size, seq, reader(stored))
}

// CheckInclusion tells whether the proof shows that the leaf stands at seq in the tree of that size and root.
func CheckInclusion(proof []Hash, seq int64, leaf Hash, size int64, root Hash) error {
	if seq < 0 || seq >= size {
		return ErrOutside
	}
	return tlog.CheckRecord(proof, size, root, seq, leaf)
}

// ProveConsistency makes the proof that the tree of the old size is the beginning of the one of the new (RFC 6962
// §2.1.2); both are 1 or more.
func ProveConsistency(stored Hashes, old, size int64) ([]Hash, error) {
	if old < 1 || old > size {
		return nil, ErrOutside
	}
	return tlog.ProveTree(size, old, reader(stored))
}

// CheckConsistency tells whether the proof shows that the old tree is the beginning of the new.
func CheckConsistency(proof []Hash, old int64, oldRoot Hash, size int64, root Hash) error {
	if old < 1 || old > size {
		return ErrOutside
	}
	return tlog.CheckTree(proof, size, root, old, oldRoot)
}
