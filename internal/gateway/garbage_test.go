package gateway

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheHeapGrowsToWhatIsSpareAndThenAsGoHasIt(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		inUse, looked uint64
		percent       int
	}{
		{0, 0, 100}, {mib, mib, mostGrowth}, {24 * mib, 30 * mib, 213}, {40 * mib, 44 * mib, 109}, {42 * mib, 46 * mib, 100}, {60 * mib, 70 * mib, 100}, {spareHeap + 1, 2 * spareHeap, 100},
	} {
		require.Equal(t, c.percent, percentFor(c.inUse, c.looked), "%d MiB in use", c.inUse/mib)
	}
}

// TestThePaceIsSetAfterEachCollection: what is in use grows, and the percentage falls.
func TestThePaceIsSetAfterEachCollection(t *testing.T) {
	collected(nil) // as spareGarbage does where GOGC is not set
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	require.Greater(t, percent(), uint64(100))
	collectedUntil := func(what func() bool) {
		require.Eventually(t, func() bool { runtime.GC(); return what() }, 10*time.Second, time.Millisecond)
	}
	func() {
		var held [][]byte
		for range 2 * spareHeap >> 20 {
			held = append(held, make([]byte, 1<<20))
		}
		collectedUntil(func() bool { return percent() == 100 })
		runtime.KeepAlive(held)
	}()
	collectedUntil(func() bool { return percent() > 100 })
}
