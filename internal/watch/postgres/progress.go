package postgres

import (
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
)

// ackProgress knows how far a stream may be acknowledged: to the last end of a transaction before which everything is done.
type ackProgress struct {
	mu    sync.Mutex
	open  []part        // handed over or about to be, in order
	acked pglogrepl.LSN //
}

// part is a chunk that is not done.
type part struct {
	commit time.Time     // of its transaction
	end    pglogrepl.LSN // what is reached when it and all before it are done; 0: its transaction goes on
}

// add notes a chunk before anybody can say that it is done.
func (p *ackProgress) add(commit time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, part{commit: commit})
}

// reach notes that everything before a position was added: the end of a transaction, or a place between two.
func (p *ackProgress) reach(at pglogrepl.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.open); n > 0 {
		p.open[n-1].end = max(p.open[n-1].end, at)
	} else {
		p.acked = max(p.acked, at)
	}
}

// done takes the first n chunks off.
func (p *ackProgress) done(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, first := range p.open[:n] {
		p.acked = max(p.acked, first.end)
	}
	if p.open = p.open[n:]; len(p.open) == 0 {
		p.open = nil
	}
}

// idle reports whether everything that was added is done.
func (p *ackProgress) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) == 0
}

// state returns what may be acknowledged, and when the oldest change that is not done was committed; zero: none is open.
func (p *ackProgress) state() (acked pglogrepl.LSN, oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) > 0 {
		oldest = p.open[0].commit
	}
	return p.acked, oldest
}
