package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// KindRetention is the kind of the entries that announce and record the removal of a month of the history.
const KindRetention = "retention"

// The outcomes of an entry of kind retention. A removal is announced first; the month is dropped after the announcement was
// sealed, covered by a checkpoint and anchored.
const (
	RemovalAnnounced = "announced"
	RemovalDropped   = "dropped"
)

// Removal is one month of the history that is removed, as entries of kind retention tell it in their facts.
type Removal struct {
	Partition string // entry_YYYYMM: the month, in UTC
	First     int64  // position of the first of its entries
	Last      int64  // position of the last one
	Entries   int64  // number of its entries, 1 or more
	Digest    Hash   // RFC 6962 root over the leaves of its entries, in the order of their positions
}

// keepAtLeast is how many years the history must be kept (the BCB's common period).
const keepAtLeast = 5

// clockMargin is how far the claimed time of a removed entry may lie outside of the signed times of the checkpoints around
// it: an entry's time is the beginning of its transaction, and a database may change its host.
const clockMargin = Instant(time.Hour / time.Microsecond)

var errRemoval = errors.New("an entry of kind retention announces or records one removal: partition, first, last, entries and digest")

// ParseRemoval reads the facts of an entry of kind retention. Members are matched by their exact names.
func ParseRemoval(facts string) (r Removal, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(facts), &members); err != nil {
		return r, errRemoval
	}
	var digest string
	for name, into := range map[string]any{"partition": &r.Partition, "first": &r.First, "last": &r.Last, "entries": &r.Entries, "digest": &digest} {
		if json.Unmarshal(members[name], into) != nil {
			return r, errRemoval
		}
	}
	if r.Digest, err = tlog.ParseHash(digest); err != nil {
		return r, errRemoval
	}
	if _, _, err := r.Month(); err != nil || r.First < 0 || r.Last < r.First || r.Entries < 1 || r.Entries > r.Last-r.First+1 {
		return r, errRemoval
	}
	return r, nil
}

// Month returns the beginning of the month and of the next one, in UTC.
func (r Removal) Month() (begins, ends time.Time, err error) {
	begins, err = time.Parse("entry_200601", r.Partition)
	if err != nil || begins.Format("entry_200601") != r.Partition {
		return begins, ends, errRemoval
	}
	return begins, begins.AddDate(0, 1, 0), nil
}

// RemovableAt returns the earliest instant at which a removal may be announced: five years after the end of the month, and
// five years after the time at which all of its entries were first covered by a checkpoint, whichever is later.
func (r Removal) RemovableAt(covered Instant) Instant {
	_, ends, _ := r.Month()
	return max(At(ends.AddDate(keepAtLeast, 0, 0)), At(covered.Time().AddDate(keepAtLeast, 0, 0)))
}

// announcedRemoval is a removal that the log announced, as the walk met it.
type announcedRemoval struct {
	Removal
	Seq     int64
	Covered Instant // signed time of the first checkpoint that covers the announcement; see Sure
	Sure    bool    // such a checkpoint was met
}

// missingMonth is what the walk met of one month's missing entries.
type missingMonth struct {
	First, Last, Count int64
	Leaves             Range
	Covered            Instant // signed time by which all of them are covered
	Odd                *Fault  // the first whose claimed time cannot be

	waiting   bool    // some of them are not covered by a checkpoint yet, which is not so at a checkpoint
	low, high Instant // of the claimed times of those
	from      int64   // position of the first of those
}

// recordMonth cuts YYYY-MM out of a record, whose time stands at a fixed place; empty for a time without a month.
func recordMonth(record []byte) []byte {
	_, rest, found := bytes.Cut(record[:min(len(record), 128)], []byte(`,"at":"`))
	if !found || len(rest) < len("2006-01") || rest[4] != '-' {
		return nil
	}
	return rest[:len("2006-01")]
}

// retention takes an entry of kind retention into account.
func (v *Verifier) retention(seq int64, outcome, facts string) error {
	r, err := ParseRemoval(facts)
	if err != nil {
		return &Fault{seq, err.Error()}
	}
	known := v.past.Announced[r.Partition]
	switch outcome {
	case RemovalAnnounced:
		if known != nil {
			return &Fault{seq, fmt.Sprintf("the removal of %s is announced for the second time; it was announced at position %d", r.Partition, known.Seq)}
		}
		if r.Last >= seq {
			return &Fault{seq, fmt.Sprintf("the removal of %s is announced before its last entry, %d", r.Partition, r.Last)}
		}
		if v.past.Announced == nil {
			v.past.Announced = map[string]*announcedRemoval{}
		}
		v.past.Announced[r.Partition] = &announcedRemoval{Removal: r, Seq: seq}
		return nil
	case RemovalDropped:
		switch {
		case known == nil && v.blind:
		case known == nil:
			return &Fault{seq, fmt.Sprintf("the removal of %s is recorded, and no entry announced it", r.Partition)}
		case known.Removal != r:
			return &Fault{seq, fmt.Sprintf("the removal of %s is recorded otherwise than it was announced at position %d", r.Partition, known.Seq)}
		case !known.Sure:
			return &Fault{seq, fmt.Sprintf("the removal of %s is recorded, and no checkpoint covers its announcement at position %d before", r.Partition, known.Seq)}
		}
		return nil
	}
	return &Fault{seq, fmt.Sprintf("an entry of kind retention has the outcome %q; announced and dropped are known", outcome)}
}

// miss takes the position of an entry that is missing.
func (v *Verifier) miss(at Instant, leaf Hash) {
	name := "entry_" + at.Time().Format("200601")
	if v.past.Missing == nil {
		v.past.Missing = map[string]*missingMonth{}
	}
	m, seq := v.past.Missing[name], v.tree.Size()
	if m == nil {
		m = &missingMonth{First: seq}
		v.past.Missing[name] = m
	}
	if !m.waiting {
		m.waiting, m.low, m.high, m.from = true, at, at, seq
	}
	m.low, m.high, m.Last = min(m.low, at), max(m.high, at), seq
	m.Count++
	m.Leaves.Append(leaf, nil)
}

// cover tells the walk that everything up to here is covered by a checkpoint of that signed time. What is missing was
// there by then, whatever time its position claims.
func (v *Verifier) cover(at Instant) {
	began := min(v.past.Before, at) // the clock may have been set back
	v.past.Newest, v.past.Before = max(v.past.Newest, at), at
	for _, a := range v.past.Announced {
		if !a.Sure {
			a.Sure, a.Covered = true, at
		}
	}
	for _, m := range v.past.Missing {
		if !m.waiting {
			continue
		}
		m.waiting, m.Covered = false, v.past.Newest
		early, late := v.past.Covers && m.low < began-clockMargin, m.high > v.past.Newest+clockMargin
		if (early || late) && m.Odd == nil {
			m.Odd = &Fault{m.from, fmt.Sprintf("missing, and the time of its position, %s, cannot be: it was sealed between %s and %s", m.low, began, v.past.Newest)}
			if !v.past.Covers {
				m.Odd.Reason = fmt.Sprintf("missing, and the time of its position, %s, cannot be: it was sealed by %s", m.high, v.past.Newest)
			}
		}
	}
	v.past.Covers = true
}

// checkRemoved compares what is missing with what the log announced before it was removed.
func (v *Verifier) checkRemoved() error {
	var worst *Fault
	for month, m := range v.past.Missing {
		if f := v.checkMonth(month, m); f != nil && (worst == nil || f.Seq < worst.Seq) {
			worst = f
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

// checkMonth judges the missing entries of one month; nil when their removal is shown to be right.
func (v *Verifier) checkMonth(month string, m *missingMonth) *Fault {
	a := v.past.Announced[month]
	wrong := func(format string, args ...any) *Fault {
		return &Fault{m.First, "missing: " + fmt.Sprintf(format, args...)}
	}
	switch {
	case m.Odd != nil:
		return m.Odd
	case a == nil:
		return wrong("no entry announces the removal of %s", month)
	case m.waiting:
		return wrong("no checkpoint covers it")
	case a.First != m.First || a.Last != m.Last || a.Entries != m.Count:
		return wrong("%d entries of %s from %d to %d are not here; the removal of %d from %d to %d was announced", m.Count, month, m.First, m.Last, a.Entries, a.First, a.Last)
	case a.Digest != m.Leaves.Root():
		return wrong("the entries of %s that are not here are not those whose removal was announced", month)
	case !a.Sure:
		return wrong("no checkpoint covers the announcement of the removal of %s", month)
	case a.Covered < a.RemovableAt(m.Covered):
		return wrong("%s was sealed by %s and its removal announced by %s, before %d years were over", month, m.Covered, a.Covered, keepAtLeast)
	}
	if seq, there := v.past.Present[month[6:10]+"-"+month[10:]]; there {
		return &Fault{seq, fmt.Sprintf("the entry is of %s, which was removed", month)}
	}
	if a.Covered > v.removedAsOf {
		v.removedAsOf, v.removedFirst = a.Covered, m.First
	}
	return nil
}
