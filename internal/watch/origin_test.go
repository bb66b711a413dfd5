package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

var errLost = errors.New("the origin is lost")

// origin is a Reader over records in memory. It remembers what was acknowledged and tells the rest again at every Read,
// in batches. It objects to dones that come out of order or twice.
type origin struct {
	mu      sync.Mutex
	records []SourceRecord
	acked   int // records acknowledged
	batch   int
	reads   []time.Time
	faults  []string

	before  func(read int) error       // fails a Read at its start
	during  func(read, told int) error // fails it before a batch is told
	schemas map[string][]Column        // told at the start of each Read
	find    func(l Lookup) (map[string]map[string]any, error)
	hand    Hand
}

func (o *origin) Read(ctx context.Context, to Hand) error {
	o.mu.Lock()
	o.reads = append(o.reads, time.Now())
	read, from, batch := len(o.reads), o.acked, max(o.batch, 1)
	o.hand = to
	o.mu.Unlock()
	if o.before != nil {
		if err := o.before(read); err != nil {
			return err
		}
	}
	for _, table := range []string{"payments", "app.consents", "clients"} {
		if columns, told := o.schemas[table]; told {
			to.Schema(table, columns)
		}
	}
	to.Lag(0, 0)
	for next := from; next < len(o.records); {
		if o.during != nil {
			if err := o.during(read, next); err != nil {
				return err
			}
		}
		end := min(next+batch, len(o.records))
		start := next
		done := func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.acked != start {
				o.faults = append(o.faults, fmt.Sprintf("done for %d while %d are acknowledged", start, o.acked))
			}
			o.acked = end
		}
		if err := to.Take(ctx, slices.Clone(o.records[next:end]), done); err != nil {
			return fmt.Errorf("take: %w", err)
		}
		next = end
	}
	<-ctx.Done()
	return nil
}

func (o *origin) Describe(context.Context, []string) (map[string][]Column, error) {
	return map[string][]Column{"payment_consents": bankColumns()["payment_consents"], "clients": bankColumns()["clients"]}, nil
}

func (o *origin) Find(ctx context.Context, l Lookup) (map[string]map[string]any, error) {
	if o.find != nil {
		return o.find(l)
	}
	return rows(ctx, l)
}
func (o *origin) Check(context.Context) []error { return nil }
func (o *origin) Close()                        {}

func (o *origin) ackedNow() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acked
}

func (o *origin) readTimes() []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.reads)
}

// vault is a Sink and a Registrar that commits after a while, in order, and fails as told.
type vault struct {
	mu        sync.Mutex
	committed map[string]int // by id of the resource
	rejected  map[string]int // by key
	last      []Rejected
	order     []string // ids and clients as they were handed over
	open      int
	mostOpen  int
	lines     [][]byte
	records   [][]byte
	told      []Told

	takes   time.Duration         // until a commit
	stuck   bool                  // nothing is committed
	submit  func(id string) error // fails Enqueue
	commit  func(id string) error // fails Wait
	verdict func(id string) notice.Verdict
	put     func(r Registration) error
}

func newVault() *vault { return &vault{committed: map[string]int{}, rejected: map[string]int{}} }

type promise struct {
	v     *vault
	id    string
	aside bool
	at    time.Time
}

func (p *promise) Wait(ctx context.Context) (notice.Verdict, error) {
	p.v.mu.Lock()
	stuck := p.v.stuck
	p.v.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return "", ctx.Err()
	}
	select {
	case <-time.After(time.Until(p.at)):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	p.v.open--
	if p.v.commit != nil {
		if err := p.v.commit(p.id); err != nil {
			return "", err
		}
	}
	if p.aside {
		p.v.rejected[p.id]++
		return notice.Quarantined, nil
	}
	p.v.committed[p.id]++
	if p.v.verdict != nil {
		return p.v.verdict(p.id), nil
	}
	if p.v.committed[p.id] > 1 {
		return notice.Duplicate, nil
	}
	return notice.Applied, nil
}

// most is how many were open at once.
func (v *vault) most() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mostOpen
}

func (v *vault) promise(id string, aside bool) PendingRecord {
	v.order = append(v.order, id)
	v.open++
	v.mostOpen = max(v.mostOpen, v.open)
	return &promise{v, id, aside, time.Now().Add(v.takes)}
}

func (v *vault) Enqueue(_ context.Context, line []byte, from Told) (PendingRecord, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var c struct {
		Data struct{ PaymentID, ConsentID string }
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return nil, err
	}
	v.lines, v.records = append(v.lines, line), append(v.records, from.Record())
	v.told = append(v.told, from)
	id := c.Data.PaymentID
	if v.submit != nil {
		if err := v.submit(id); err != nil {
			return nil, err
		}
	}
	return v.promise(id, false), nil
}

func (v *vault) Reject(_ context.Context, r Rejected) (PendingRecord, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.submit != nil {
		if err := v.submit("reject " + r.ResourceID); err != nil {
			return nil, err
		}
	}
	v.last = append(v.last, r)
	return v.promise(r.ResourceID, true), nil
}

func (v *vault) Put(_ context.Context, _ string, r Registration) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.put != nil {
		if err := v.put(r); err != nil {
			return err
		}
	}
	v.order = append(v.order, "client "+string(r.Client))
	return nil
}

func (v *vault) Delete(_ context.Context, _ string, client notice.ClientID) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.order = append(v.order, "gone "+string(client))
	return nil
}

// operator is a Control.
type operator struct {
	mu      sync.Mutex
	paused  bool
	err     error
	reports []SourceStatus
}

func (o *operator) set(paused bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused, o.err = paused, err
}

func (o *operator) Paused(context.Context, string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paused, o.err
}

func (o *operator) Report(_ context.Context, s SourceStatus) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reports = append(o.reports, s)
	return o.err
}

// witness is an Observer that remembers what it was told.
type witness struct {
	mu     sync.Mutex
	seen   []string
	counts map[RecordOutcome]int
	behind []time.Duration
	after  []time.Duration
}

func (w *witness) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

func (w *witness) Outcome(_, _ string, o RecordOutcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.counts == nil {
		w.counts = map[RecordOutcome]int{}
	}
	w.counts[o]++
}

func (w *witness) Committed(_ string, after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.after = append(w.after, after)
}

func (w *witness) Lag(_ string, _ int64, behind time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.behind = append(w.behind, behind)
}

// lags are the lags in time that were reported.
func (w *witness) lags() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.behind)
}

func (w *witness) Failed(_, table string)                { w.note("%s failed", table) }
func (w *witness) State(_ string, s SourceState)         { w.note("%s", s) }
func (w *witness) Stopped(_, table string, stopped bool) { w.note("%s stopped=%t", table, stopped) }

func (w *witness) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.seen, ", ")
}

// numbered makes payments p-0, p-1 and so on.
func numbered(n int) []SourceRecord {
	out := make([]SourceRecord, n)
	for i := range out {
		out[i] = payment(map[string]any{"external_id": fmt.Sprint("p-", i)})
		out[i].Key, out[i].Revision, out[i].Position = fmt.Sprint("payments id=", i), int64(i+1), fmt.Sprint("0/", i)
	}
	return out
}
