package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/watch"
)

// change names one change: the resource's id and the core's revision.
type change struct {
	ID       string
	Revision int64
}

// database stands in for our own: a watch.Sink that stores changes, or refuses all of them for a reason, and that refuses
// poison alone. It also tells whether it can store.
type database struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew with every event

	fault   error           // why nothing is stored; nil: changes are stored
	poison  map[string]bool // ids that fail by themselves while others are stored
	stored  map[change]int
	order   map[string][]int64 // revisions of a resource, in the order they were stored first
	aside   map[string]int     // cases of the quarantine, by the resource's id
	told    map[change]int     // how often the origin handed a change over
	reads   int                // how often it was read
	refused int                // changes refused since the fault began
	asked   int                // how often it was asked, in vain, whether it can store
	state   watch.SourceState
}

func newDatabase() *database {
	return &database{
		changed: make(chan struct{}), poison: map[string]bool{}, stored: map[change]int{}, order: map[string][]int64{}, aside: map[string]int{},
		told: map[change]int{},
	}
}

// act changes or reads the database, and tells those who wait.
func (d *database) act(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.changed)
	d.changed = make(chan struct{})
}

// breaks refuses every change from now on; nil mends it.
func (d *database) breaks(fault error) { d.act(func() { d.fault, d.refused, d.asked = fault, 0, 0 }) }

// storable is what a Source asks before it reads.
func (d *database) storable(context.Context) (err error) {
	d.act(func() {
		if err = d.fault; err != nil {
			d.asked++
		}
	})
	return err
}

// pending is a change whose commit is known when it is waited for.
type pending struct {
	d     *database
	c     change
	aside bool
}

// Wait implements watch.PendingRecord.
func (p *pending) Wait(context.Context) (v notice.Verdict, err error) {
	p.d.act(func() {
		switch {
		case p.d.fault != nil:
			p.d.refused++
			err = fmt.Errorf("record 1 changes: %w", p.d.fault)
		case p.aside:
			p.d.aside[p.c.ID]++
			v = notice.Quarantined
		case p.d.poison[p.c.ID]:
			err = fmt.Errorf("record 1 changes: %w", watch.ErrAlone)
		default:
			if v = notice.Duplicate; p.d.stored[p.c] == 0 {
				v = notice.Applied
				p.d.order[p.c.ID] = append(p.d.order[p.c.ID], p.c.Revision)
			}
			p.d.stored[p.c]++
		}
	})
	return v, err
}

// Enqueue implements watch.Sink.
func (d *database) Enqueue(_ context.Context, line []byte, _ watch.Told) (watch.PendingRecord, error) {
	var read struct {
		Revision int64
		Data     struct{ PaymentID string }
	}
	if err := json.Unmarshal(line, &read); err != nil {
		return nil, err
	}
	if read.Data.PaymentID == "" || read.Revision == 0 {
		return nil, errors.New("sourcetest: a line without an id or a revision")
	}
	return &pending{d: d, c: change{read.Data.PaymentID, read.Revision}}, nil
}

// Reject implements watch.Sink.
func (d *database) Reject(_ context.Context, r watch.Rejected) (watch.PendingRecord, error) {
	return &pending{d: d, c: change{r.ResourceID, r.Revision}, aside: true}, nil
}

// counting is a reader that notes what it hands over.
type counting struct {
	watch.Reader
	d *database
}

// Read implements watch.Reader.
func (c counting) Read(ctx context.Context, to watch.Hand) error {
	c.d.act(func() { c.d.reads++ })
	return c.Reader.Read(ctx, counted{to, c.d})
}

type counted struct {
	watch.Hand
	d *database
}

// Take implements watch.Hand.
func (c counted) Take(ctx context.Context, records []watch.SourceRecord, done func()) error {
	c.d.act(func() {
		for _, r := range records {
			id, _ := r.Values["id"].(string)
			number, _ := r.Values["n"].(json.Number)
			n, _ := number.Int64()
			c.d.told[change{id, n}]++
		}
	})
	return c.Hand.Take(ctx, records, done)
}

// observer notes the state of a source, and nothing else.
type observer struct{ d *database }

// State implements watch.Observer.
func (o observer) State(_ string, s watch.SourceState) { o.d.act(func() { o.d.state = s }) }

// Outcome implements watch.Observer.
func (observer) Outcome(string, string, watch.RecordOutcome) {}

// Committed implements watch.Observer.
func (observer) Committed(string, time.Duration) {}

// Lag implements watch.Observer.
func (observer) Lag(string, int64, time.Duration) {}

// Failed implements watch.Observer.
func (observer) Failed(string, string) {}

// Stopped implements watch.Observer.
func (observer) Stopped(string, string, bool) {}
