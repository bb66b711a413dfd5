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

// measure runs f several times and returns its lowest time and its lowest number of allocated bytes: other work of the
// machine only ever adds to either.
func measure(times int, f func()) spent {
	least := spent{1 << 62, 1 << 62}
	for range times {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := processorTime()
		f()
		took := processorTime() - begin
		runtime.ReadMemStats(&after)
		least.time, least.bytes = min(least.time, took), min(least.bytes, after.TotalAlloc-before.TotalAlloc)
	}
	return least
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

// Linear fails the test when the time or the allocated bytes of run grow faster than its input does. prepare makes an
// input of n units, run reads it; n begins at least and is doubled three times.
func Linear[T any](t *testing.T, least int, prepare func(n int) T, run func(T)) {
	t.Helper()
	sizes := []int{least, least << doublings}
	var costs []spent
	for _, n := range sizes {
		input := prepare(n)
		run(input) // caches of the process are filled once
		costs = append(costs, measure(5, func() { run(input) }))
	}
	small, large := costs[0], costs[1]
	if large.time > noiseTime && large.time > growth*max(small.time, noiseTime/growth) {
		t.Errorf("time grows faster than the input: %d units take %s, %d take %s", sizes[0], small.time, sizes[1], large.time)
	}
	if large.bytes > noiseBytes && large.bytes > growth*max(small.bytes, noiseBytes/growth) {
		t.Errorf("memory grows faster than the input: %d units allocate %d bytes, %d allocate %d", sizes[0], small.bytes, sizes[1], large.bytes)
	}
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
	got := measure(1, run)
	for range 4 {
		if got.time <= most.time && got.bytes <= most.bytes {
			return ""
		}
		again := measure(1, run)
		got.time, got.bytes = min(got.time, again.time), min(got.bytes, again.bytes)
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
