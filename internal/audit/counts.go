package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Counter counts the entries of each client in one window of the log, and grows a tree of the leaves of each client's
// entries in the order of their positions. Memory grows with the number of clients, not of entries. The zero value is
// ready.
type Counter struct {
	clients map[string]*Range
}

// Add takes the leaf of the next entry that names a client.
func (c *Counter) Add(client string, leaf Hash) {
	r := c.clients[client]
	if r == nil {
		if c.clients == nil {
			c.clients = map[string]*Range{}
		}
		r = &Range{}
		c.clients[client] = r
	}
	r.Append(leaf, nil)
}

// Counts is what was counted so far.
func (c *Counter) Counts() ClientCounts {
	out := make(ClientCounts, 0, len(c.clients))
	for client, r := range c.clients {
		out = append(out, ClientCount{Key: ClientKey(client), Count: r.Size(), Root: r.Root()})
	}
	slices.SortFunc(out, func(a, b ClientCount) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return out
}

// ClientKey is the place of a client in the list of counts: SHA-256 of "arauto client", a line feed and the id.
func ClientKey(client string) Hash { return sha256.Sum256([]byte("arauto client\n" + client)) }

// ClientCount says how many entries one client has in a window, and which.
type ClientCount struct {
	Key   Hash
	Count int64
	Root  Hash // of the tree of the leaves of these entries
}

// inner is what stands beside the key in the list's tree. It hides how many entries a neighbour has.
func (c ClientCount) inner() Hash {
	var b [8 + len(Hash{})]byte
	binary.BigEndian.PutUint64(b[:8], uint64(c.Count))
	copy(b[8:], c.Root[:])
	return sha256.Sum256(b[:])
}

// countLeaf is the leaf of one client in the list's tree.
func countLeaf(key, inner Hash) Hash { return Leaf(append(key[:], inner[:]...)) }

// ClientCounts is the list of all clients that have entries in a window, in the order of their keys. The root of its tree is
// what the log commits to.
type ClientCounts []ClientCount

// countSize is the length of one client in what Marshal writes.
const countSize = 2*len(Hash{}) + 8

// Marshal writes the list as it is stored: of each client 32 bytes of key, 8 of count (big-endian) and 32 of root.
func (c ClientCounts) Marshal() []byte {
	out := make([]byte, 0, len(c)*countSize)
	for i := range c {
		out = append(out, c[i].Key[:]...)
		out = binary.BigEndian.AppendUint64(out, uint64(c[i].Count))
		out = append(out, c[i].Root[:]...)
	}
	return out
}

// ParseCounts reads what Marshal wrote. The error says that it is damaged.
func ParseCounts(b []byte) (ClientCounts, error) {
	if len(b)%countSize != 0 {
		return nil, errors.New("the stored counts are damaged: their length is wrong")
	}
	out := make(ClientCounts, 0, len(b)/countSize)
	for ; len(b) > 0; b = b[countSize:] {
		c := ClientCount{Key: Hash(b[:32]), Count: int64(binary.BigEndian.Uint64(b[32:40])), Root: Hash(b[40:72])}
		if n := len(out); c.Count < 1 || n > 0 && bytes.Compare(out[n-1].Key[:], c.Key[:]) >= 0 {
			return nil, errors.New("the stored counts are damaged: they are out of order, or count nothing")
		}
		out = append(out, c)
	}
	return out, nil
}

func (c ClientCounts) leaves() []Hash {
	out := make([]Hash, len(c))
	for i := range c {
		out[i] = countLeaf(c[i].Key, c[i].inner())
	}
	return out
}

// Root is the root of the list's tree.
func (c ClientCounts) Root() Hash { return rootOf(c.leaves()) }

// Find is the place of a client in the list, or the place it would have.
func (c ClientCounts) Find(key Hash) (int, bool) {
	return slices.BinarySearchFunc(c, key, func(c ClientCount, key Hash) int { return bytes.Compare(c.Key[:], key[:]) })
}

// rootOf computes the root of a tree held in memory.
func rootOf(leaves []Hash) Hash {
	var r Range
	for _, leaf := range leaves {
		r.Append(leaf, nil)
	}
	return r.Root()
}

// pathIn makes the proof of inclusion of one leaf of a tree held in memory (RFC 6962 §2.1.1).
func pathIn(leaves []Hash, i int) []Hash {
	if len(leaves) <= 1 {
		return nil
	}
	half := 1
	for half*2 < len(leaves) {
		half *= 2
	}
	if i < half {
		return append(pathIn(leaves[:half], i), rootOf(leaves[half:]))
	}
	return append(pathIn(leaves[half:], i-half), rootOf(leaves[:half]))
}

// Commitment is what the entry about a verification says about the counts of its window: that of all entries from From
// up to but without To, those of clients are in a list of so many clients, whose tree has this root. It is a member of
// the facts of entries of kind verification, and part of the audit format.
type Commitment struct {
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	Clients  int64  `json:"clients"`
	Root     string `json:"root"`     // base64
	Previous *int64 `json:"previous"` // position of the entry with the counts before these; null: none, or not sealed yet
}

func (c *Commitment) hash() (Hash, error) { return tlog.ParseHash(c.Root) }
