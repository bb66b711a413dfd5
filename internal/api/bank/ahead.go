package bank

import "sync"

// Bounds of what streams have read and whose answers are not written, in bytes of memory. A stream beyond them is not read
// until its answers are taken, or others have given room.
const (
	aheadMax    = 8 << 20  // of one stream
	aheadAllMax = 64 << 20 // of all streams; each may have one line more
	// aheadLine is what a line takes beside its text: its place among those that wait for their commit, and its answer.
	aheadLine = 1 << 10
)

// readAhead is what all streams have together.
type readAhead struct {
	mu      sync.Mutex
	changed *sync.Cond
	most    int
	used    int
}

func newReadAhead(most int) *readAhead {
	a := &readAhead{most: most}
	a.changed = sync.NewCond(&a.mu)
	return a
}

// budget is the part of one stream.
type budget struct {
	all  *readAhead
	most int
	used int
	over bool // nobody waits any more, and nothing is counted
}

// budget makes the part of one stream. Call end when the stream has ended.
func (a *readAhead) budget(most int) *budget { return &budget{all: a, most: most} }

// take waits until there is room for n, or nothing else of this stream is under way. A stream may have as much as is left to
// the others: one whose answers nobody reads leaves them half.
func (b *budget) take(n int) {
	a := b.all
	a.mu.Lock()
	defer a.mu.Unlock()
	for !b.over && b.used > 0 && b.used+n > min(b.most, a.most-a.used) {
		a.changed.Wait()
	}
	b.count(n)
}

// add counts n more of what was taken, without waiting.
func (b *budget) add(n int) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.count(n)
}

// give gives n back.
func (b *budget) give(n int) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.count(-n)
	b.all.changed.Broadcast()
}

// count is called with the lock held.
func (b *budget) count(n int) {
	if !b.over {
		b.used += n
		b.all.used += n
	}
}

// end gives everything back and lets everybody who waits go on. It may be called more than once.
func (b *budget) end() {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.count(-b.used)
	b.over = true
	b.all.changed.Broadcast()
}
