package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestARoomIsLeft: after a batch the room is there for the next one, and the connection writes in a buffer that is not the room's; only while
// it holds bytes that were not sent does it keep the room.
func TestARoomIsLeft(t *testing.T) {
	t.Parallel()
	own, other := make([]byte, 0, 1024), make([]byte, 0, 1024)
	for name, c := range map[string]struct {
		after func(room []byte) []byte // what the connection writes in after the batch
		now   []byte                   // and when it has left the room; nil: the same
		gone  bool
	}{
		"a long message: pgx forgets the room":     {func([]byte) []byte { return other }, other, true},
		"a short message: pgx would keep the room": {func(room []byte) []byte { return room[:0] }, own, true},
		"a message that is left: it is not sent":   {func(room []byte) []byte { return append(room, "left over"...) }, nil, false},
	} {
		room := &writeRoom{message: make([]byte, 0, 4096)}
		writes, err := room.Encode(append(own, "begun"...))
		require.NoError(t, err)
		require.Equal(t, "begun", string(writes), name)
		require.Equal(t, 4096, cap(writes), name)
		after := c.after(writes)
		left := leftRoom{room: room}
		now, err := left.Encode(after)
		require.NoError(t, err)
		want := c.now
		if want == nil {
			want = after
		}
		require.Equal(t, c.gone, left.gone, name)
		require.Len(t, now, len(want), name)
		require.Same(t, &want[:1][0], &now[:1][0], name)
	}
	small := &writeRoom{}
	writes, err := small.Encode(own)
	require.NoError(t, err)
	require.Same(t, &own[:1][0], &writes[:1][0], "a room without memory")
}
