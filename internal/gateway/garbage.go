package gateway

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// spareHeap is what the heap may reach before garbage is collected, however little of it is in use. At full speed 30 to 45 MiB are in use, and
// Go alone would collect at twice that, several times a second.
const spareHeap = 88 << 20

// spareGarbage makes Go collect when the heap is twice what is in use, or spareHeap where that is more. Where GOGC is set, that counts alone.
var spareGarbage = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		collected(nil)
	}
})

// cycle is garbage that tells of a collection. It is too large to share its place with other small objects, which would keep it.
type cycle struct{ _ [16]byte }

// mostGrowth is the most by which the heap may grow, in percent: what is in use may grow by leaps before the pace follows.
const mostGrowth = 300

// collected sets the pace of the next collection, and waits for it. Go collects when the heap has grown by a percentage of what is in use and
// of what it looks through besides: stacks and global variables.
func collected(*cycle) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	inUse := samples[0].Value.Uint64()
	looked := inUse + samples[1].Value.Uint64() + samples[2].Value.Uint64()
	debug.SetGCPercent(percentFor(inUse, looked))
	runtime.SetFinalizer(&cycle{}, collected)
}

// percentFor is the percentage by which the heap may grow.
func percentFor(inUse, looked uint64) int {
	if inUse+looked >= spareHeap || looked == 0 {
		return 100
	}
	return int(min(mostGrowth, (spareHeap-inUse)*100/looked))
}
