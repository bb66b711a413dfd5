package figures

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// Stretch is a part of the log and what is needed to understand it.
type Stretch struct {
	Entries []history.Fact // in the order of the log
	// Before are the earlier entries of the notifications that Entries goes on with, in any order.
	Before []history.Fact
	// Damaged are notifications with an entry that is not what was sealed; their verdicts are unknown.
	Damaged map[notice.ID]bool
	// Judge gives the clock proof of each record, in their order. It must know the same receipts and standstills whenever
	// the same part of the log is folded.
	Judge func([]history.Record) ([]timing.Timing, error)
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

// Fold adds a stretch of the log. An error leaves the book in an unknown state.
func (b *Totals) Fold(s Stretch) error {
	ended := map[notice.ID]bool{} // notifications of which something ended
	for i := range s.Entries {
		f := &s.Entries[i]
		if f.At.After(b.last) {
			b.last = f.At
		}
		switch f.Kind {
		case history.FactResult, history.FactCancelled:
			ended[f.Notification] = true
		default:
			if err := b.single(f, s.Polls); err != nil {
				return err
			}
		}
	}
	for _, n := range s.Fetched {
		b.at(time.Unix(n.At, 0), n.Client, n.Kind)[nameFetched]++
	}
	if len(ended) == 0 {
		return nil
	}
	records, err := recordsOf(s, ended)
	if err != nil {
		return err
	}
	timings, err := s.Judge(records)
	if err != nil {
		return err
	}
	index := make(map[notice.ID]int, len(records))
	for i := range records {
		index[records[i].ID] = i
	}
	seen := map[string]bool{}
	for i := range s.Entries {
		f := &s.Entries[i]
		if f.Kind != history.FactResult && f.Kind != history.FactCancelled {
			continue
		}
		n, known := index[f.Notification]
		if !known {
			b.at(f.At, f.Client, f.ResourceKind)[nameLost]++
			continue
		}
		if once := string(f.Notification[:]) + f.Kind + strconv.Itoa(f.Number); !seen[once] {
			seen[once] = true
			b.ending(f, &records[n], &timings[n])
		}
	}
	return nil
}

// recordsOf makes the records of the notifications of which something ended.
func recordsOf(s Stretch, ended map[notice.ID]bool) ([]history.Record, error) {
	facts := make([]history.Fact, 0, 3*len(ended))
	for _, list := range [][]history.Fact{s.Before, s.Entries} {
		for i := range list {
			if ended[list[i].Notification] {
				facts = append(facts, list[i])
			}
		}
	}
	records, err := history.RecordsOf(facts)
	for i := range records {
		records[i].Tampered = s.Damaged[records[i].ID]
	}
	return records, err
}

// single counts an entry that needs no other to be understood.
func (b *Totals) single(f *history.Fact, polls map[notice.ID]Push) error {
	switch f.Kind {
	case history.FactChange, history.FactDecision:
		sums := b.at(f.At, f.Client, f.ResourceKind)
		if f.Kind == history.FactChange {
			sums[nameChanges]++
		}
		if !f.Notification.IsZero() {
			sums[nameNotifications]++
			return nil
		}
		var c struct {
			Reason ofb.Silence `json:"reason"`
		}
		if err := json.Unmarshal(f.Facts, &c); err != nil {
			return fmt.Errorf("facts of entry %s: %w", f.ID, err)
		}
		if c.Reason != "" {
			sums[nameSilent+word(c.Reason)]++
		}
	case history.FactResend:
		b.at(f.At, f.Client, f.ResourceKind)[nameManual]++
	case history.FactDuplicate, history.FactConflict, history.FactQuarantined, history.FactLateResult:
		b.at(f.At, f.Client, f.ResourceKind)[nameEntry+f.Kind]++
	case history.FactRefused:
		var c history.ChangeFacts
		if err := json.Unmarshal(f.Facts, &c); err != nil {
			return fmt.Errorf("facts of entry %s: %w", f.ID, err)
		}
		b.at(f.At, f.Client, f.ResourceKind)[nameEntry+f.Kind] += max(1, c.Refusals)
	case factPoll:
		return b.poll(f, polls)
	}
	return nil
}

// factPoll is the kind of the entry of a status query.
const factPoll = "poll"

func (b *Totals) poll(f *history.Fact, polls map[notice.ID]Push) error {
	var p struct {
		Status     ofb.Status `json:"status"`
		DurationUS int64      `json:"durationMicros"`
		Suppressed int64      `json:"suppressed"`
	}
	if err := json.Unmarshal(f.Facts, &p); err != nil {
		return fmt.Errorf("facts of entry %s: %w", f.ID, err)
	}
	sums := b.at(f.At, f.Client, f.ResourceKind)
	sums[namePoll+word(f.Outcome)]++
	sums[bucketNames[histPoll][bucketOf(history.Micros(p.DurationUS))]]++
	if p.Suppressed > 0 {
		sums[nameSuppressed] += p.Suppressed
	}
	if f.ResourceKind != 0 && f.ResourceKind.Final(p.Status) {
		sums[nameFinal]++
	}
	if push := polls[f.ID]; push != "" {
		sums[string(push)]++
	}
	return nil
}

// ending counts the end of an attempt, or of a notification that waited.
func (b *Totals) ending(f *history.Fact, r *history.Record, t *timing.Timing) {
	sums := b.at(r.CreatedAt, r.Client, r.Kind)
	closed, outcome := nameClosed, nameOutcome+strconv.Itoa(f.Number)+"."
	if r.Manual {
		closed, outcome = nameManualClosed, nameManualOutcome
	}
	if f.Closes != "" {
		sums[closed+word(f.Closes)]++
	}
	if f.Kind != history.FactResult {
		return
	}
	sums[outcome+word(f.Outcome)]++
	b.noteContact(f, r)
	for i := range r.Attempts {
		if r.Attempts[i].Number == f.Number {
			attempt(sums, i, r, t)
			break
		}
	}
}

// attempt counts the times of one attempt.
func attempt(sums Sums, i int, r *history.Record, t *timing.Timing) {
	a := &r.Attempts[i]
	if a.Echo != notice.NoEcho {
		sums[nameEcho+word(a.Echo)]++
	}
	if r.Manual {
		return
	}
	if o := a.Offsets; o.Answered > 0 && o.FirstByteOut > 0 {
		sums[bucketNames[histAnswer][bucketOf(history.Micros((o.Answered-o.FirstByteOut).Microseconds()))]]++
	}
	if i > 0 {
		if gap := t.Attempts[i].Gap; gap != "" {
			sums[nameRetry+string(gap)]++
			if gap == timing.TooLate {
				sums[nameRetryCause+word(t.Attempts[i].Cause)]++
			}
		}
		return
	}
	v := &t.First
	if v.FromEvent == "" {
		return
	}
	sums[nameFirst+string(v.FromEvent)]++
	sums[nameReceipt+string(v.FromReceipt)]++
	if v.FromEvent == timing.Unknown {
		return
	}
	if v.Late() {
		sums[nameCause+word(v.Cause)]++
	}
	sums[bucketNames[histEvent][bucketOf(v.SinceEvent)]]++
	sums[bucketNames[histReceipt][bucketOf(v.SinceReceipt)]]++
}

// noteContact keeps whether the client could be reached.
func (b *Totals) noteContact(f *history.Fact, r *history.Record) {
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
