package audit_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// treeOf builds the stored levels of a tree of n leaves, and its root.
func treeOf(n int64) (map[audit.Tile][]audit.Hash, audit.Hash) {
	tiles := map[audit.Tile][]audit.Hash{}
	var tree audit.Range
	for seq := range n {
		leaf := audit.Leaf(binary.BigEndian.AppendUint64(nil, uint64(seq)))
		tree.Append(leaf, func(level int, at int64, h audit.Hash) {
			if level%audit.TileLevels == 0 {
				t := audit.Tile{Level: level, N: at >> audit.TileLevels}
				tiles[t] = append(tiles[t], h)
			}
		})
	}
	return tiles, tree.Root()
}

// read copies those tiles that are asked for, as a reader of a database has them.
func read(from map[audit.Tile][]audit.Hash, which []audit.Tile) audit.Tiles {
	out := audit.Tiles{}
	for _, t := range which {
		out[t] = append([]audit.Hash{}, from[t]...)
	}
	return out
}

func TestLeavesAreProvenByTheTilesAboveThem(t *testing.T) {
	for _, size := range []int64{1, 2, 255, 256, 257, 511, 512, 1000, 65535, 65536, 65537, 65536 + 256, 70000, 131072} {
		tree, root := treeOf(size)
		var leaves []audit.Tile
		for _, seq := range []int64{0, size / 3, size / 2, size - 1} {
			leaves = append(leaves, audit.LeafTile(seq))
		}
		need := audit.TilesAbove(leaves, size)
		require.Less(t, len(need), 12, "size %d", size)
		tiles := read(tree, need)
		for tile, is := range tiles.Rooted(leaves, size, root) {
			require.True(t, is, "size %d, tile %v", size, tile)
		}
		leaf, there := tiles.Leaf(size - 1)
		require.True(t, there)
		require.Equal(t, audit.Leaf(binary.BigEndian.AppendUint64(nil, uint64(size-1))), leaf)

		// Whatever one hash is altered on the way from the tile of position 0 to the root, that tile is not rooted any more.
		first := []audit.Tile{audit.LeafTile(0)}
		for _, at := range audit.TilesAbove(first, size) {
			for _, n := range []int{0, len(tree[at]) - 1} {
				forged := read(tree, need)
				forged[at][n][7] ^= 1
				require.False(t, forged.Rooted(first, size, root)[first[0]], "size %d, tile %v, hash %d", size, at, n)
				forged[at] = forged[at][:len(forged[at])-1]
				require.False(t, forged.Rooted(first, size, root)[first[0]], "size %d, tile %v is short", size, at)
			}
		}
		other := root
		other[0] ^= 1
		require.False(t, tiles.Rooted(first, size, other)[first[0]])
	}
}

func TestATileThatIsForgedDoesNotTouchItsNeighbours(t *testing.T) {
	tree, root := treeOf(1000)
	leaves := []audit.Tile{audit.LeafTile(0), audit.LeafTile(256)}
	tiles := read(tree, audit.TilesAbove(leaves, 1000))
	tiles[leaves[1]][9][0] ^= 1
	require.Equal(t, map[audit.Tile]bool{leaves[0]: true, leaves[1]: false}, tiles.Rooted(leaves, 1000, root))
}
