// Package cost tests that reading foreign bytes costs no more than their number allows. Anybody who sends the bytes chooses
// them, so a parser whose time or memory grows faster than its input can be stopped by one small message.
//
// Two tests are offered. Linear doubles an input and compares: it finds superlinear cost by its growth. Within measures
// one input against a budget per byte: fuzz targets call it for every input that they draw.
//
// Memory is what a run allocated in all. Held measures instead what the result of a run keeps.
// Time is that of the processor. Neither test may run beside others of the same process, because both are counted for the
// process as a whole.
package cost

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"
)

// spent is what one run cost.
type spent struct {
	time  time.Duration
	bytes uint64
}

// never is more than any run costs.
var never = spent{1 << 62, 1 << 62}

// least is the lower of both times and the lower of both numbers of bytes: other work of the machine only ever adds to either.
func (s spent) least(other spent) spent {
	return spent{min(s.time, other.time), min(s.bytes, other.bytes)}
}

// measure runs f once.
func measure(f func()) spent {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := processorTime()
	f()
	took := processorTime() - begin
	runtime.ReadMemStats(&after)
	return spent{took, after.TotalAlloc - before.TotalAlloc}
}

// processorTime is the time that this process has used of all processors. Unlike a wall clock it does not count the work of
// others.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic("cost: the process cannot read its own processor time: " + err.Error())
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

const (
	doublings = 3
	// growth is by how much the cost may grow over all doublings together. Linear cost grows 8 times, n·log n about 10
	// times, quadratic cost 64 times.
	growth = 24
	// noise is what a run may cost without anybody asking why: growth is not judged below it.
	noiseTime  = 2 * time.Millisecond
	noiseBytes = 64 << 10
)

// The two inputs of Linear are run in turn, so that a machine which is busy for a while slows both. As long as the cost seems to grow too
// fast, they are run again: the load of a machine changes, and a cost that does grow stays.
const (
	leastRounds = 5
	mostRounds  = 200
)

// Linear fails the test when the time or the allocated bytes of run grow faster than its input does. prepare makes an
// input of n units, run reads it; n begins at least and is doubled three times.
func Linear[T any](t *testing.T, least int, prepare func(n int) T, run func(T)) {
	t.Helper()
	small, large := prepare(least), prepare(least<<doublings)
	run(small) // caches of the process are filled once
	run(large)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // its work falls to one run or another by chance, and takes the processors that happen to be idle
	little, much := never, never
	for round := 1; round <= leastRounds || round <= mostRounds && (slower(little, much) || larger(little, much)); round++ {
		runtime.GC() // so that both use memory that was used before
		little = little.least(measure(func() { run(small) }))
		much = much.least(measure(func() { run(large) }))
	}
	if slower(little, much) {
		t.Errorf("time grows faster than the input: %d units take %s, %d take %s", least, little.time, least<<doublings, much.time)
	}
	if larger(little, much) {
		t.Errorf("memory grows faster than the input: %d units allocate %d bytes, %d allocate %d", least, little.bytes, least<<doublings, much.bytes)
	}
}

// slower reports whether the time grew faster than the input.
func slower(little, much spent) bool {
	return much.time > noiseTime && much.time > growth*max(little.time, noiseTime/growth)
}

// larger reports whether the allocated bytes grew faster than the input.
func larger(little, much spent) bool {
	return much.bytes > noiseBytes && much.bytes > growth*max(little.bytes, noiseBytes/growth)
}

// Budget is what reading one input may cost: a fixed part and a part for each byte.
type Budget struct {
	Time         time.Duration
	TimePerByte  time.Duration
	Bytes        uint64
	BytesPerByte uint64
}

// Parser is the budget of fuzz targets. It is generous about the fixed part and about a machine that is busy; what it finds is
// cost that grows faster than the input.
var Parser = Budget{Time: 200 * time.Millisecond, TimePerByte: 10 * time.Microsecond, Bytes: 512 << 10, BytesPerByte: 256}

// Within returns "" when run stays within the budget for an input of n bytes, else what it exceeded and by how much. An
// input over the budget is measured again, so that a pause of the machine is not taken for a cost of the input.
func (b Budget) Within(n int, run func()) string {
	most := spent{b.Time + time.Duration(n)*b.TimePerByte, b.Bytes + uint64(n)*b.BytesPerByte}
	got := measure(run)
	for range 4 {
		if got.time <= most.time && got.bytes <= most.bytes {
			return ""
		}
		got = got.least(measure(run))
	}
	var over []string
	if got.time > most.time {
		over = append(over, fmt.Sprintf("took %s, may take %s", got.time, most.time))
	}
	if got.bytes > most.bytes {
		over = append(over, fmt.Sprintf("allocated %d bytes, may allocate %d", got.bytes, most.bytes))
	}
	return fmt.Sprintf("%d bytes: %v", n, slices.Clip(over))
}

// Held returns how many bytes of memory the result of run keeps alive.
func Held[T any](run func() T) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := run()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return max(after.HeapAlloc, before.HeapAlloc) - before.HeapAlloc
}
