package kafka

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/arauto/arauto/internal/watch/bus"
)

// partition is one that the group gave us.
type partition struct {
	ledger *bus.Ledger[kgo.EpochOffset] // the offset after each record, as a commit names it

	mu      sync.Mutex
	stopped bool            // it goes or went to another member
	read    int64           // the offset after the last one handed over, or where we began; -1: unknown
	high    int64           // the log's end as of the last fetch
	next    kgo.EpochOffset // what may be committed
	told    int64           // what is committed; -1: nothing by us
}

func newPartition() *partition {
	return &partition{ledger: bus.NewLedger[kgo.EpochOffset](), read: -1, told: -1, next: kgo.EpochOffset{Epoch: -1, Offset: -1}}
}

// begin says where the group's memory has us begin; negative: it has none.
func (p *partition) begin(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset >= 0 && p.read < 0 {
		p.read = offset
	}
}

// arrived notes the ends of the log. gap: messages [from, to) were deleted before we read them.
func (p *partition) arrived(high, start int64) (from, to int64, gap bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.high = max(p.high, high)
	if from = p.read; from < 0 || start <= from {
		return 0, 0, false
	}
	p.read = start
	return from, start, true
}

// add writes a record down as handed over. ours is false once the partition was stopped.
func (p *partition) add(r *kgo.Record) (done func(), ours bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, false
	}
	at := r.Timestamp
	if at.UnixMilli() <= 0 {
		at = time.Now()
	}
	p.read = r.Offset + 1
	return p.ledger.Add(kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}, at), true
}

func (p *partition) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

// due is what a commit should say, if anything.
func (p *partition) due() (kgo.EpochOffset, bool) {
	settled := p.ledger.Settled()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(settled) > 0 {
		p.next = settled[len(settled)-1]
	}
	return p.next, p.next.Offset != p.told // a log that lost its end goes back
}

// committed notes that the group knows.
func (p *partition) committed(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = offset
}

// behind counts the messages from what is read and done to the log's end; in hand ones count.
func (p *partition) behind() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.high == 0 {
		return 0
	}
	return max(0, p.high-p.read) + int64(p.ledger.Len())
}
