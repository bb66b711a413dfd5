package intake

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// schemas are the real ones, read once.
var schemas = sync.OnceValues(func() (*openapi.Schemas, error) { return openapi.Load() })

// anySchema lets every document pass.
type anySchema struct{}

func (anySchema) Check(ofb.Kind, string, map[string]any) []notice.Problem { return nil }

// counter makes ids 1, 2, 3 and so on.
func counter() func() notice.ID {
	var n atomic.Uint64
	return func() (id notice.ID) {
		binary.BigEndian.PutUint64(id[8:], n.Add(1))
		return id
	}
}

// memory keeps what is decided as the store does, by the contract of Store: one transaction after the other, all or
// nothing. It objects to batches that the contract forbids.
type memory struct {
	mu            sync.Mutex
	push          bool
	dense         bool // notice.Past's
	resources     map[notice.Key]*held
	notifications []notice.Announcement
	verdicts      []notice.Verdict // of entries, in order of commit
	order         []notice.ID      // changes committed
	batches       []int            // sizes of what was asked for, refused ones included
	faults        []string         // breaches of the contract

	before func(changes []*notice.Change) error // fails a transaction, or takes its time; called without the lock
	after  func(changes []*notice.Change) error // loses the answer of a commit
	fails  func(changes []*notice.Change) error // fails a transaction that has judged
}

// held is what is kept of one resource.
type held struct {
	resource  notice.Resource
	revisions []notice.Revision // ascending
	spoken    map[int64]bool
	document  []byte
	timer     *ofb.Timer
}

func newMemory() *memory { return &memory{push: true, resources: map[notice.Key]*held{}} }

func (m *memory) Record(_ context.Context, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error {
	m.mu.Lock()
	m.batches = append(m.batches, len(changes))
	m.mu.Unlock()
	if m.before != nil {
		if err := m.before(changes); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.IsSortedFunc(changes, byKey) || len(slices.CompactFunc(slices.Clone(changes), func(a, b *notice.Change) bool { return a.Key() == b.Key() })) != len(changes) {
		m.faults = append(m.faults, "a batch holds a resource twice, or is not sorted")
	}
	pasts := make([]notice.Past, len(changes))
	for i, c := range changes {
		pasts[i] = m.past(c)
	}
	decisions := judge(pasts)
	if m.fails != nil {
		if err := m.fails(changes); err != nil {
			return err
		}
	}
	for i, c := range changes {
		m.write(c, &pasts[i], &decisions[i])
	}
	if m.after != nil {
		return m.after(changes)
	}
	return nil
}

func byKey(a, b *notice.Change) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ResourceID, b.ResourceID))
}

func (m *memory) past(c *notice.Change) notice.Past {
	p := notice.Past{Push: m.push, Dense: m.dense, Epoch: 1, BaseURI: "https://itp.example", Now: time.Now()}
	h := m.resources[c.Key()]
	if h == nil {
		return p
	}
	r := h.resource
	p.Resource = &r
	if c.Revision > r.Revision && r.TimerAt.IsZero() { // the current row tells enough, and no more
		p.Before = &notice.Revision{Number: r.Revision, State: r.State, OccurredAt: r.OccurredAt}
		return p
	}
	for _, v := range h.revisions {
		switch {
		case v.Number == c.Revision:
			p.Same = &v
		case v.Number < c.Revision:
			p.Before = &v
		case p.After == nil:
			p.After, p.AnnouncedLater = &v, h.spoken[v.Number]
		}
	}
	return p
}

func (m *memory) write(c *notice.Change, p *notice.Past, d *notice.Decision) {
	m.verdicts = append(m.verdicts, d.Verdict)
	m.order = append(m.order, c.ID)
	if d.Verdict != notice.Applied && d.Verdict != notice.Superseded {
		return
	}
	h := m.resources[c.Key()]
	if h == nil {
		h = &held{spoken: map[int64]bool{}}
		m.resources[c.Key()] = h
	}
	v := notice.Revision{
		Number: c.Revision, ChangeID: c.ID, State: c.State, Cause: c.Cause, OccurredAt: c.OccurredAt, Silence: d.Judged.Silence,
	}
	if d.Announce != nil {
		v.Notification = d.Announce.ID
		m.notifications = append(m.notifications, *d.Announce)
	}
	if c.Cause != ofb.Clock {
		h.revisions = append(h.revisions, v)
		slices.SortFunc(h.revisions, func(a, b notice.Revision) int { return cmp.Compare(a.Number, b.Number) })
	}
	if d.Rejudged != nil {
		m.notifications = append(m.notifications, *d.Rejudged)
		h.spoken[d.Rejudged.Revision] = true
	}
	h.resource.Announced = d.Announced
	if !d.Current {
		return
	}
	h.document, h.timer = c.Document, d.Timer
	r := notice.Resource{
		Client: c.Client, APIVersion: c.APIVersion, Revision: c.Revision, State: c.State, Announced: d.Announced, OccurredAt: c.OccurredAt,
	}
	if c.Cause == ofb.Clock {
		r.Revision, r.TimerAt = p.Resource.Revision, c.OccurredAt
	}
	h.resource = r
}

// FireTimers is the same for deadlines; now is the clock of the database.
func (m *memory) FireTimers(_ context.Context, limit int, judge func([]notice.DueTimer) []notice.Fired) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	var ready []notice.DueTimer
	var due []*held
	for _, key := range slices.SortedFunc(maps.Keys(m.resources), func(a, b notice.Key) int { return cmp.Compare(a.ID, b.ID) }) {
		if h := m.resources[key]; h.timer != nil && !h.timer.Deadline.After(now) && len(ready) < limit {
			due = append(due, h)
			ready = append(ready, notice.DueTimer{
				Key: key, Client: h.resource.Client, APIVersion: h.resource.APIVersion, Resource: h.resource, Document: h.document,
				Push: m.push, Epoch: 1, Now: now,
			})
		}
	}
	for i, f := range judge(ready) {
		due[i].timer = nil
		if f.Change != nil {
			m.write(f.Change, &notice.Past{Resource: &ready[i].Resource}, &f.Decision)
		}
	}
	return len(ready), nil
}

// told counts the notifications of a resource by revision and by state.
func (m *memory) told() (byRevision map[int64]int, byStatus map[ofb.Status]int) {
	byRevision, byStatus = map[int64]int{}, map[ofb.Status]int{}
	for _, n := range m.notifications {
		byRevision[n.Revision]++
		if n.Event != ofb.DataChanged {
			byStatus[n.Status]++
		}
	}
	return byRevision, byStatus
}

// away is a database that is not there.
type away struct{}

func (away) Error() string   { return "database away" }
func (away) Transient() bool { return true }

var errRow = errors.New("a row of this batch is poison")

// line makes the text of a change; members override or, when nil, remove.
func line(t testing.TB, override map[string]any) []byte {
	t.Helper()
	m := map[string]any{
		"kind": "pix-payment", "clientId": "itp", "apiVersion": "v5", "revision": 1, "occurredAt": "2026-11-21T12:00:00Z",
		"data": map[string]any{"paymentId": "p-1", "consentId": "urn:b:1", "status": "ACSC"},
	}
	maps.Copy(m, override)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(m)
	require.NoError(t, err)
	return text
}

// waiting is how many changes wait for their commit.
func (in *Intake) waiting() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.held.changes
}

// change reads a line that must be readable.
func (in *Intake) change(t testing.TB, override map[string]any) *notice.Change {
	t.Helper()
	c, err := in.Read(line(t, override), Origin{Source: "api", Actor: "core"})
	require.NoError(t, err)
	return c
}

// document is a payment's data.
func document(id string, status ofb.Status) map[string]any {
	return map[string]any{"paymentId": id, "consentId": "urn:b:1", "status": string(status)}
}

// numbered decodes as any JSON reader would, numbers as text.
func numbered(t testing.TB, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&v))
	return v
}

// lockedText is what was logged, read while others may write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
