package audit

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// tileWidth is how many hashes a tile holds at most.
const tileWidth = 1 << TileLevels

// Tile names up to 256 neighbouring hashes of one stored level: those with the numbers from N·256 on. All of a complete
// tile make one hash of the next stored level.
type Tile struct {
	Level int // 0 (the leaves), 8, 16, …
	N     int64
}

// LeafTile is the tile that holds the leaf of a position.
func LeafTile(seq int64) Tile { return Tile{0, seq >> TileLevels} }

// complete tells whether a tree of that size fills the tile.
func (t Tile) complete(size int64) bool { return (t.N+1)<<TileLevels <= size>>t.Level }

// up is the tile that holds the hash which a complete tile makes.
func (t Tile) up() Tile { return Tile{t.Level + TileLevels, t.N >> TileLevels} }

// TilesAbove lists all tiles that connect tiles of leaves with the root of a tree of that size: those above them, and the
// incomplete ones at the tree's edge. The tiles given are among them. Neighbours share what is above them, so that a page
// of the log needs little more than its own tiles.
func TilesAbove(leaves []Tile, size int64) []Tile {
	seen := map[Tile]bool{}
	for _, t := range leaves {
		for !seen[t] {
			seen[t] = true
			if !t.complete(size) {
				break
			}
			t = t.up()
		}
	}
	for level := 0; size>>level > 0; level += TileLevels {
		if size>>level&(tileWidth-1) != 0 {
			seen[Tile{level, size >> level >> TileLevels}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b Tile) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.N, b.N))
	})
}

// Tiles are tiles that were read, with their hashes in order. An incomplete one has those that the tree has.
type Tiles map[Tile][]Hash

// errTile means that hashes are missing.
var errTile = errors.New("a tile of the tree lacks hashes")

// Hashes implements the interface Hashes, for numbers of one tile.
func (t Tiles) Hashes(level int, from, to int64) ([]Hash, error) {
	tile := t[Tile{level, from >> TileLevels}]
	first := from &^ (tileWidth - 1)
	if to-first > int64(len(tile)) || to < from {
		return nil, errTile
	}
	return slices.Clone(tile[from-first : to-first]), nil
}

// Leaf is the leaf of a position; false when it was not read.
func (t Tiles) Leaf(seq int64) (Hash, bool) {
	tile, n := t[LeafTile(seq)], int(seq&(tileWidth-1))
	if n >= len(tile) {
		return Hash{}, false
	}
	return tile[n], true
}

// Rooted tells which of some tiles of leaves lead to the root of a tree of that size. t must hold what TilesAbove lists for
// them. Where the edge of the tree does not give the root, none does.
func (t Tiles) Rooted(leaves []Tile, size int64, root Hash) map[Tile]bool {
	known := map[Tile]bool{}
	edge, err := ReadRange(t, size)
	top := err == nil && edge.Root() == root
	var rooted func(Tile) bool
	rooted = func(tile Tile) bool {
		if is, there := known[tile]; there {
			return is
		}
		is := top
		if tile.complete(size) {
			above := tile.up()
			made, err := Parent(t, above.Level, tile.N)
			have, errAbove := t.Hashes(above.Level, tile.N, tile.N+1)
			is = err == nil && errAbove == nil && made == have[0] && rooted(above)
		}
		known[tile] = is
		return is
	}
	out := make(map[Tile]bool, len(leaves))
	for _, tile := range leaves {
		out[tile] = rooted(tile)
	}
	return out
}
