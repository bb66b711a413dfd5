package port

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheKernelGivesAKeptPortToNobodyElse listens on any port so often that some of the kept ones would be among them.
func TestTheKernelGivesAKeptPortToNobodyElse(t *testing.T) {
	kept := map[int]bool{}
	for range 300 {
		kept[For(t).Number()] = true
	}
	require.Len(t, kept, 300)
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		require.False(t, kept[l.Addr().(*net.TCPAddr).Port])
	}
}

func TestAProgramListensOnAKeptPortAgainAndAgain(t *testing.T) {
	k := For(t)
	_, err := net.Dial("tcp", k.Address())
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "nobody listens")
	for range 2 {
		l, err := net.Listen("tcp", k.Address())
		require.NoError(t, err)
		_, err = net.Listen("tcp", k.Address())
		require.ErrorIs(t, err, syscall.EADDRINUSE, "one at a time")
		c, err := net.Dial("tcp", k.Address())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
	l, err := net.Listen("tcp", k.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	require.NoError(t, k.Release())
	c, err := net.Dial("tcp", k.Address())
	require.NoError(t, err, "who listens goes on")
	require.NoError(t, c.Close())
}
