package dispatch

import (
	"math/bits"
	"time"
)

// A wheel remembers the instants at which a lane has work, in a fixed space however much work that is: one bit for each
// tick, rounded up so that nobody is early, as far ahead as the longest gap of the schedule (webhook §4.1, 60 s) and
// some. What lies farther ahead is left to a later sweep.
type wheel struct {
	set     [wheelTicks / 64]uint64
	cleared int64 // ticks up to here are not set
}

const (
	tick       = 20 * time.Millisecond
	wheelTicks = 4096 // 82 s
)

// ticksUp is the first tick at or after the distance d from the beginning of time; ticksDown the last one at or before.
func ticksUp(d time.Duration) int64   { return int64((d + tick - 1) / tick) }
func ticksDown(d time.Duration) int64 { return int64(d / tick) }

// add sets a tick; one that is too near or too far is ignored.
func (w *wheel) add(n int64) {
	if n > w.cleared && n <= w.cleared+wheelTicks {
		w.set[n%wheelTicks/64] |= 1 << (n % 64)
	}
}

// clear forgets all ticks up to n.
func (w *wheel) clear(n int64) {
	if n-w.cleared >= wheelTicks {
		w.set = [wheelTicks / 64]uint64{}
		w.cleared = n
	}
	for w.cleared < n {
		first := w.cleared + 1
		last := min(n, first|63) // of the same word
		mask := ^uint64(0) << (first % 64) & (^uint64(0) >> (63 - last%64))
		w.set[first%wheelTicks/64] &^= mask
		w.cleared = last
	}
}

// next is the first tick that is set; ok is false when there is none.
func (w *wheel) next() (n int64, ok bool) {
	for first := w.cleared + 1; first <= w.cleared+wheelTicks; first = first | 63 + 1 {
		word := w.set[first%wheelTicks/64] >> (first % 64)
		if word == 0 {
			continue
		}
		if n = first + int64(bits.TrailingZeros64(word)); n <= w.cleared+wheelTicks {
			return n, true
		}
	}
	return 0, false
}
