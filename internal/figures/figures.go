// Package figures sums the log over time: how much was told, how soon, with what outcome, and what initiators asked. It
// folds entries in the order of the log into sums per minute, client and kind, and turns sums into shares and percentiles.
//
// It is pure: no clock, no I/O. Sums are additive: the sums of two stretches of the log add up to those of both, so hours
// may be added to days and clients to a whole. Every notification counts in the hour of its decision, every poll and every
// change in the hour of its own entry.
//
// It does not judge: whether an attempt was on time, and why not, is package timing's word. It does not store anything:
// package auditlog does.
package figures

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// Sums are counters by name. Names are part of the stored form and are never renamed; more may follow.
type Sums map[string]int64

// Add adds the counters of another stretch.
func (s Sums) Add(more Sums) {
	for name, n := range more {
		s[name] += n
	}
}

// AddText adds counters as Text writes them.
func (s Sums) AddText(text string) error {
	bad := func() error { return fmt.Errorf("sums %.40q…: not counters by name", text) }
	body, opened := strings.CutPrefix(text, "{")
	body, closed := strings.CutSuffix(body, "}")
	if !opened || !closed {
		return bad()
	}
	for body != "" {
		name, rest, named := strings.Cut(body, ":")
		digits, more, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseInt(digits, 10, 64)
		if !named || err != nil || len(name) < 3 || name[0] != '"' || name[len(name)-1] != '"' {
			return bad()
		}
		s[name[1:len(name)-1]] += n
		body = more
	}
	return nil
}

// Text writes counters down as a JSON object in the order of their names, without spaces. Counters of 0 are left out.
// Names must need no escape in JSON, and have neither colon nor comma.
func (s Sums) Text() string {
	names := make([]string, 0, len(s))
	for name, n := range s {
		if n != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := make([]byte, 0, 24*len(names)+2)
	out = append(out, '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), name...), '"', ':')
		out = strconv.AppendInt(out, s[name], 10)
	}
	return string(append(out, '}'))
}

// RowKey says what a row of sums is about: one unit of time, one client and one kind. Client "" stands for all clients
// together, and for what names none.
type RowKey struct {
	Start  int64 // Unix seconds
	Client notice.ClientID
	Kind   ofb.Kind // 0: none, or none known
}

// The units of time in which sums are kept.
const (
	Minutely = time.Minute
	Hourly   = time.Hour
	Daily    = 24 * time.Hour // in UTC: sums of hours, added up when they are read
)

// Names of counters. The dots are followed by a word that an entry or package timing has.
const (
	nameChanges       = "changes"        // changes applied or kept as superseded
	nameNotifications = "notifications"  // made by a change or a decision
	nameManual        = "manual"         // operators' resends
	nameSilent        = "silent."        // changes that were not told, by reason
	nameEntry         = "entry."         // entries of other kinds: duplicates, conflicts, quarantined, refused, late results
	nameFirst         = "first."         // first attempts by verdict, from the event
	nameReceipt       = "receipt."       // the same from the change's first receipt
	nameCause         = "cause."         // late first attempts of either verdict, by cause
	nameRetry         = "retry."         // second and third attempts by verdict
	nameRetryCause    = "retry-cause."   // late ones by cause
	nameOutcome       = "outcome."       // attempts by number and outcome: outcome.1.delivered
	nameEcho          = "echo."          // answers by what they echo
	nameClosed        = "closed."        // notifications by their last state
	nameManualClosed  = "manual-closed." // operators' resends by their last state
	nameManualOutcome = "manual-outcome."
	nameAck           = "ack."       // acknowledgements of initiators: processed, refused
	nameLost          = "lost"       // results whose notification the log does not have
	namePoll          = "poll."      // status queries by HTTP status
	nameSuppressed    = "suppressed" // status queries that were refused and counted, not recorded one by one
	nameFinal         = "final"      // status queries that were shown a final state
	nameWithout       = "push.without"
	nameBefore        = "push.before"
	nameAfter         = "push.after"
	nameFetched       = "fetched" // delivered notifications whose resource the client has asked for since

	histEvent   = "event/"   // from the event to the start of the first attempt
	histReceipt = "receipt/" // the same from the change's first receipt
	histAnswer  = "answer/"  // from the first byte of an attempt to the head of its answer
	histPoll    = "query/"   // from reading a status query to recording it
)

// bucketNames are the names of buckets, made once.
var bucketNames = func() map[string][]string {
	out := map[string][]string{}
	for _, h := range []string{histEvent, histReceipt, histAnswer, histPoll} {
		names := make([]string, timing.Buckets)
		for i := range names {
			names[i] = h + strconv.Itoa(i)
		}
		out[h] = names
	}
	return out
}()

// spread reads the histogram of a name.
func (s Sums) spread(hist string) *timing.Spread {
	out := &timing.Spread{}
	for name, n := range s {
		if text, is := strings.CutPrefix(name, hist); is && n > 0 {
			if bucket, err := strconv.Atoi(text); err == nil && bucket >= 0 && bucket < timing.Buckets {
				out.AddBucket(bucket, n)
			}
		}
	}
	return out
}

// percentiles are those of a histogram.
func (s Sums) percentiles(hist string) timing.Percentiles { return s.spread(hist).Percentiles() }

// firstPercentiles are those of the delays of first attempts, of which some are known to have been on time.
func (s Sums) firstPercentiles(hist string, onTime int64) timing.Percentiles {
	of := s.spread(hist)
	of.KeptBy(onTime)
	return of.Percentiles()
}

// Totals gathers the sums of a stretch of the log, by hour and by minute, and what it says last of each client. The zero value is ready.
type Totals struct {
	hours   map[RowKey]Sums // by client too
	minutes map[RowKey]Sums // of all clients
	clients map[notice.ClientID]*Contact
	late    []LateStart
	last    time.Time
}

// LateStart is a first attempt that was claimed in time, and of which its result alone shows that it started late.
type LateStart struct {
	At           time.Time // of its claim
	Notification notice.ID
	Client       notice.ClientID
}

// Contact is what the log says last of the attempts of one client. Operators' resends count.
type Contact struct {
	LastSuccess time.Time      // zero: none
	LastFailure time.Time      // zero: none
	Failures    int64          // attempts that failed since the last success
	FailingFrom time.Time      // of these the first; zero: none
	Outcome     notice.Outcome // of the last attempt
}

// After adds to what was known before.
func (c Contact) After(before Contact) Contact {
	if c.LastSuccess.IsZero() {
		c.LastSuccess = before.LastSuccess
		c.Failures += before.Failures
		if !before.FailingFrom.IsZero() {
			c.FailingFrom = before.FailingFrom
		}
	}
	if c.LastFailure.IsZero() {
		c.LastFailure = before.LastFailure
	}
	return c
}

// Last is the latest instant of an entry that was folded.
func (b *Totals) Last() time.Time { return b.last }

// Contacts are what the stretch says of the attempts of each client.
func (b *Totals) Contacts() map[notice.ClientID]Contact {
	out := make(map[notice.ClientID]Contact, len(b.clients))
	for client, c := range b.clients {
		out[client] = *c
	}
	return out
}

// LateStarts are the first attempts of the stretch that started late and that no claim shows.
func (b *Totals) LateStarts() []LateStart { return b.late }

// Hours are the sums by hour, client and kind; client "" stands for all clients and what names none. They are those of b, not a copy.
func (b *Totals) Hours() map[RowKey]Sums { return b.hours }

// Minutes are the sums of all clients by minute and kind. They are those of b, not a copy.
func (b *Totals) Minutes() map[RowKey]Sums { return b.minutes }

// Polls are the status queries of the stretch, of all clients together.
func (b *Totals) Polls() PollSums {
	all := Sums{}
	for _, s := range b.minutes {
		all.Add(s)
	}
	return all.Summary().Polls
}

// counted are the rows in which one entry counts.
type counted struct {
	hour   Sums // of its client; nil: it names none
	all    Sums // of all clients, by hour
	minute Sums
}

func (c counted) add(name string, n int64) {
	if c.hour != nil {
		c.hour[name] += n
	}
	c.all[name] += n
	c.minute[name] += n
}

func (c counted) one(name string) { c.add(name, 1) }

// at are the rows of a minute.
func (b *Totals) at(t time.Time, client notice.ClientID, kind ofb.Kind) (c counted) {
	if b.hours == nil {
		b.hours, b.minutes = map[RowKey]Sums{}, map[RowKey]Sums{}
	}
	start := t.Unix()
	hour := start - start%int64(Hourly/time.Second)
	if client != "" {
		c.hour = rowOf(b.hours, RowKey{hour, client, kind})
	}
	c.all = rowOf(b.hours, RowKey{hour, "", kind})
	c.minute = rowOf(b.minutes, RowKey{start - start%int64(Minutely/time.Second), "", kind})
	return c
}

// usualCounters is how many counters a row has after one notification.
const usualCounters = 16

func rowOf(rows map[RowKey]Sums, k RowKey) Sums {
	s := rows[k]
	if s == nil {
		s = make(Sums, usualCounters)
		rows[k] = s
	}
	return s
}

func (b *Totals) contact(client notice.ClientID) *Contact {
	if b.clients == nil {
		b.clients = map[notice.ClientID]*Contact{}
	}
	if b.clients[client] == nil {
		b.clients[client] = &Contact{}
	}
	return b.clients[client]
}
