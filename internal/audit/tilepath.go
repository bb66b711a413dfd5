package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// TilePath is the name of a tile as C2SP tlog-tiles has it: its level counts tiles (0 the leaves, 1 their roots by 256), n is its
// index, and width how many hashes it has, 256 or fewer at the edge of the tree. Level -1 names the bundle of entries.
func TilePath(level int, n int64, width int) string {
	index := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		index = fmt.Sprintf("x%03d/%s", n%1000, index)
	}
	path := fmt.Sprintf("tile/%d/%s", level, index)
	if level < 0 {
		path = "tile/entries/" + index
	}
	if width < tileWidth {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

// PublishedTile names a tile or a bundle of a published log by its level, index and width.
type PublishedTile struct {
	Level int // of tiles; -1: entries
	N     int64
	Width int // 1 to 256
}

// Path is the tile's name.
func (t PublishedTile) Path() string { return TilePath(t.Level, t.N, t.Width) }

// First is the number of its first hash within the stored level.
func (t PublishedTile) First() int64 { return t.N << TileLevels }

// NewTiles lists what a published log of the old size lacks when it grows to a new one: the tiles of every level, or the bundles
// of entries for level -1, in their order. Tiles that grow are among them.
func NewTiles(level int, old, size int64) (out []PublishedTile) {
	shift := max(level, 0) * TileLevels
	have, want := old>>shift, size>>shift
	if have == want {
		return nil
	}
	for n := have >> TileLevels; n<<TileLevels < want; n++ {
		out = append(out, PublishedTile{level, n, int(min(tileWidth, want-n<<TileLevels))})
	}
	return out
}

// MarshalTile writes the hashes of a tile one after the other.
func MarshalTile(hashes []Hash) []byte {
	out := make([]byte, 0, len(hashes)*len(Hash{}))
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// ParseTile reads a tile of a width.
func ParseTile(text []byte, width int) ([]Hash, error) {
	if len(text) != width*len(Hash{}) {
		return nil, fmt.Errorf("a tile of %d hashes has %d bytes; %d are right", width, len(text), width*len(Hash{}))
	}
	out := make([]Hash, width)
	for i := range out {
		copy(out[i][:], text[i*len(Hash{}):])
	}
	return out, nil
}

// MaxBundled is the length of the longest record that a bundle of entries can hold, in bytes.
const MaxBundled = 1<<16 - 1

// AppendBundled adds a record to a bundle of entries, with its length before it; the record has at most MaxBundled bytes.
func AppendBundled(bundle, record []byte) []byte {
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(record))), record...)
}

// errBundle means that a bundle of entries is not what its name says.
var errBundle = errors.New("the bundle of entries breaks off, or has another number of entries")

// BundledLeaves reads a bundle of entries and returns the leaf of each record.
func BundledLeaves(bundle []byte, width int) ([]Hash, error) {
	var out []Hash
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, errBundle
		}
		n := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+n || len(out) == width {
			return nil, errBundle
		}
		out, bundle = append(out, Leaf(bundle[2:2+n])), bundle[2+n:]
	}
	if len(out) != width {
		return nil, errBundle
	}
	return out, nil
}
