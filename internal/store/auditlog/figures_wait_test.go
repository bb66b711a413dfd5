package auditlog

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// sealedEntries are n entries; the xid of each is its position.
func sealedEntries(from, n int) []audit.Entry {
	out := make([]audit.Entry, n)
	for i := range out {
		out[i] = audit.Entry{XID: int64(from + i), Kind: "attempt", Facts: `{"late":false}`}
	}
	return out
}

// taken is what waits at a position: how many entries, and the first.
func taken(w *waiting, at int64) (n int, first, next int64) {
	out, next := w.take(at)
	if len(out) > 0 {
		first = out[0].XID
	}
	return len(out), first, next
}

func TestWhatWaitsIsTakenOnceAndWithoutAHole(t *testing.T) {
	var w waiting
	check := func(at int64, want ...int64) {
		t.Helper()
		n, first, next := taken(&w, at)
		require.Equal(t, want, []int64{int64(n), first, next})
	}
	check(0, 0, 0, math.MaxInt64)
	w.add(0, sealedEntries(0, 10))
	w.add(10, sealedEntries(10, 5))
	check(0, 15, 0, math.MaxInt64)
	check(0, 0, 0, math.MaxInt64)
	w.add(15, sealedEntries(15, 5))
	check(15, 5, 15, math.MaxInt64)

	w.add(20, sealedEntries(20, 5))
	w.add(30, sealedEntries(30, 5)) // another process sealed five
	check(20, 0, 0, 30)             // these are read from the database, up to there
	check(30, 5, 30, math.MaxInt64)

	w.add(35, sealedEntries(35, 5))
	check(37, 3, 37, math.MaxInt64) // another process folded two
	w.add(40, sealedEntries(40, 5))
	check(45, 0, 0, math.MaxInt64) // or all
	w.add(45, sealedEntries(45, 5))
	check(45, 5, 45, math.MaxInt64)

	n, _, _ := taken(nil, 0)
	require.Zero(t, n)
}

func TestWhatWaitsIsBounded(t *testing.T) {
	var w waiting
	w.add(0, sealedEntries(0, 10))
	broken := sealedEntries(10, 2)
	broken[1].Facts = `{"late":1}`
	w.add(10, broken)
	n, _, next := taken(&w, 0)
	require.Zero(t, n, "the fold reads them again, and says what is wrong")
	require.EqualValues(t, math.MaxInt64, next)

	w.add(12, sealedEntries(12, 5))
	large, id := sealedEntries(17, 2000), strings.Repeat("x", waitingMost/1000)
	for i := range large {
		large[i].ResourceID = &id
	}
	w.add(17, large)
	n, _, _ = taken(&w, 12)
	require.Zero(t, n, "it forgets what is too much")
	w.add(2017, sealedEntries(2017, 5))
	n, first, _ := taken(&w, 2017)
	require.Equal(t, 5, n)
	require.EqualValues(t, 2017, first)
}
