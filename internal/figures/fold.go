package figures

import (
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// Stretch is a part of the log and what is needed to understand it.
type Stretch struct {
	Entries []history.Brief // in the order of the log
	// Before are the earlier entries of the notifications that Entries goes on with, in any order.
	Before []history.Brief
	// Judge gives the clock proof of each record, in their order. Each is of a notification up to the entry of ends with the same number, and must be
	// judged by what the log has up to there. What it returns is read before the next call.
	Judge func(records []history.Record, ends []*history.Brief) ([]timing.Timing, error)
	// Polls are what status queries say of pushes, by their entries; one that is absent says nothing.
	Polls map[notice.ID]Push
	// Fetched are delivered notifications whose resource was asked for in this stretch for the first time since.
	Fetched []Fetch
}

// Fetch is a delivered notification, with the place of its sums.
type Fetch struct {
	At     int64 // of its decision, Unix seconds
	Client notice.ClientID
	Kind   ofb.Kind
}

// Push is how a status query stands to the newest notification about its resource.
type Push string

// The ways.
const (
	PushWithout Push = nameWithout // no notification about the resource was made before
	PushBefore  Push = nameBefore  // the newest one is not delivered
	PushAfter   Push = nameAfter   // the newest one is delivered
)

// judgeAtOnce bounds the records that are in memory at once.
const judgeAtOnce = 1000

// Fold adds a stretch of the log. What an entry adds depends on the log up to that entry alone, so any cut of the log into stretches gives the same
// sums. An error, which is Judge's, leaves the sums in an unknown state.
func (b *Totals) Fold(s Stretch) error {
	n := 0 // ends
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.At.After(b.last) {
			b.last = e.At
		}
		if e.Ends() {
			n++
		} else {
			b.single(e, s.Polls)
		}
	}
	for _, f := range s.Fetched {
		b.at(time.Unix(f.At, 0), f.Client, f.Kind).one(nameFetched)
	}
	if n == 0 {
		return nil
	}
	c := chainsOf(s, n)
	records, ends := make([]history.Record, 0, min(n, judgeAtOnce)), make([]*history.Brief, 0, min(n, judgeAtOnce))
	for i := range s.Entries {
		e := &s.Entries[i]
		if !e.Ends() {
			continue
		}
		told, repeated := c.upTo(e)
		if repeated {
			continue
		}
		r, made := history.RecordOfBriefs(told)
		if !made {
			b.at(e.At, e.Client, e.ResourceKind).one(nameLost)
			continue
		}
		if records, ends = append(records, r), append(ends, e); len(records) == judgeAtOnce {
			if err := b.endings(s, records, ends); err != nil {
				return err
			}
			clear(records)
			records, ends = records[:0], ends[:0]
		}
	}
	return b.endings(s, records, ends)
}

// endings counts what ended.
func (b *Totals) endings(s Stretch, records []history.Record, ends []*history.Brief) error {
	if len(records) == 0 {
		return nil
	}
	timings, err := s.Judge(records, ends)
	if err != nil {
		return err
	}
	for i := range records {
		b.ending(ends[i], &records[i], &timings[i])
	}
	return nil
}

// chains are the entries of the notifications of which something ends in a stretch, of each in the order of the log.
type chains struct {
	of   map[notice.ID]chain
	next []int32 // of each entry the next one of its notification, counted from 1; 0: it is the last
	all  func(n int32) *history.Brief
	told []*history.Brief
}

// chain is the first and the last entry of a notification, counted from 1.
type chain struct{ first, last int32 }

func chainsOf(s Stretch, ends int) *chains {
	before := int32(len(s.Before))
	c := &chains{of: make(map[notice.ID]chain, ends), next: make([]int32, len(s.Before)+len(s.Entries)+1)}
	c.all = func(n int32) *history.Brief {
		if n <= before {
			return &s.Before[n-1]
		}
		return &s.Entries[n-1-before]
	}
	for i := range s.Entries {
		if e := &s.Entries[i]; e.Ends() {
			c.of[e.Notification] = chain{}
		}
	}
	for n := int32(1); int(n) < len(c.next); n++ {
		id := c.all(n).Notification
		of, wanted := c.of[id]
		if !wanted {
			continue
		}
		if of.first == 0 {
			of.first = n
		} else {
			c.next[of.last] = n
		}
		of.last = n
		c.of[id] = of
	}
	return c
}

// upTo returns the entries of the notification of an entry up to that one, until it is called again, and whether the same end is among the earlier
// ones: the first one counts.
func (c *chains) upTo(end *history.Brief) (told []*history.Brief, repeated bool) {
	told = c.told[:0]
	for n := c.of[end.Notification].first; n != 0; n = c.next[n] {
		e := c.all(n)
		if told = append(told, e); e == end {
			break
		}
		repeated = repeated || e.Kind == end.Kind && e.Number == end.Number
	}
	c.told = told
	return told, repeated
}

// single counts an entry that needs no other to be understood.
func (b *Totals) single(e *history.Brief, polls map[notice.ID]Push) {
	switch e.Kind {
	case history.FactChange, history.FactDecision:
		sums := b.at(e.At, e.Client, e.ResourceKind)
		if e.Kind == history.FactChange {
			sums.one(nameChanges)
		}
		if !e.Notification.IsZero() {
			sums.one(nameNotifications)
		} else if reason := e.Silence(); reason != "" {
			sums.one(nameSilent + word(reason))
		}
	case history.FactResend:
		b.at(e.At, e.Client, e.ResourceKind).one(nameManual)
	case history.FactAcknowledged:
		b.at(e.At, e.Client, e.ResourceKind).one(nameAck + word(e.Outcome))
	case history.FactDuplicate, history.FactConflict, history.FactQuarantined, history.FactLateResult:
		b.at(e.At, e.Client, e.ResourceKind).one(nameEntry + e.Kind)
	case history.FactRefused:
		b.at(e.At, e.Client, e.ResourceKind).add(nameEntry+e.Kind, max(1, e.Refusals()))
	case history.FactPoll:
		b.poll(e, polls[e.ID])
	}
}

// poll counts a status query. Calls of the extension are none: a long poll of theirs takes 30 s by design.
func (b *Totals) poll(e *history.Brief, push Push) {
	p := e.Poll()
	if p.Extension {
		return
	}
	sums := b.at(e.At, e.Client, e.ResourceKind)
	sums.one(namePoll + word(e.Outcome))
	sums.one(bucketNames[histPoll][timing.BucketOf(p.Duration)])
	if p.Suppressed > 0 {
		sums.add(nameSuppressed, p.Suppressed)
	}
	if e.ResourceKind != 0 && e.ResourceKind.Final(p.Status) {
		sums.one(nameFinal)
	}
	if push != "" {
		sums.one(string(push))
	}
}

// ending counts the end of an attempt, or of a notification that waited.
func (b *Totals) ending(f *history.Brief, r *history.Record, t *timing.Timing) {
	sums := b.at(r.CreatedAt, r.Client, r.Kind)
	closed, outcome := nameClosed, nameOutcome+strconv.Itoa(int(f.Number))+"."
	if r.Manual {
		closed, outcome = nameManualClosed, nameManualOutcome
	}
	if f.Closes != "" {
		sums.one(closed + word(f.Closes))
	}
	if f.Kind != history.FactResult {
		return
	}
	sums.one(outcome + word(f.Outcome))
	b.noteContact(f, r)
	for i := range r.Attempts {
		if r.Attempts[i].Number == int(f.Number) {
			attempt(sums, i, r, t)
			if i == 0 && !r.Manual && t.First.Late() && !claimedLate(r) {
				b.late = append(b.late, LateStart{r.Attempts[0].StartedAt, r.ID, r.Client})
			}
			break
		}
	}
}

// claimedLate tells a first attempt that its claim marked as late. One whose claim is that of its change has no mark.
func claimedLate(r *history.Record) bool {
	a := &r.Attempts[0]
	return a.StartedAt.After(r.OccurredAt.Add(notice.FirstWithin)) && !a.StartedAt.Equal(a.ScheduledAt)
}

// attempt counts the times of one attempt.
func attempt(sums counted, i int, r *history.Record, t *timing.Timing) {
	a := &r.Attempts[i]
	if a.Echo != notice.NoEcho {
		sums.one(nameEcho + word(a.Echo))
	}
	if r.Manual {
		return
	}
	if o := a.Offsets; o.Answered > 0 && o.FirstByteOut > 0 {
		sums.one(bucketNames[histAnswer][timing.BucketOf(history.Micros((o.Answered - o.FirstByteOut).Microseconds()))])
	}
	if i > 0 {
		if gap := t.Attempts[i].Gap; gap != "" {
			sums.one(nameRetry + string(gap))
			if gap == timing.TooLate {
				sums.one(nameRetryCause + word(t.Attempts[i].Cause))
			}
		}
		return
	}
	v := &t.First
	if v.FromEvent == "" {
		return
	}
	sums.one(nameFirst + string(v.FromEvent))
	sums.one(nameReceipt + string(v.FromReceipt))
	if v.FromEvent == timing.Unknown {
		return
	}
	if v.Late() {
		sums.one(nameCause + word(v.Cause))
	}
	sums.one(bucketNames[histEvent][timing.BucketOf(v.SinceEvent)])
	sums.one(bucketNames[histReceipt][timing.BucketOf(v.SinceReceipt)])
}

// noteContact keeps whether the client could be reached.
func (b *Totals) noteContact(f *history.Brief, r *history.Record) {
	c := b.contact(r.Client)
	c.Outcome = f.Outcome
	if f.Outcome.Success() {
		*c = Contact{LastSuccess: f.At, LastFailure: c.LastFailure, Outcome: f.Outcome}
		return
	}
	if c.Failures++; c.FailingFrom.IsZero() {
		c.FailingFrom = f.At
	}
	c.LastFailure = f.At
}

// word is a word as the name of a counter can have it; what no entry of ours has is "other".
func word[T ~string](w T) string {
	for i := range len(w) {
		if c := w[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return "other"
		}
	}
	return string(w)
}
