package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// ResourceHistory is everything that is kept about how one resource changed, read at one instant: the revisions, the entries that
// decided about them, and the current document.
type ResourceHistory struct {
	notice.Key
	Client    notice.ClientID
	Revisions []notice.Revision
	Decided   []Decided // entries "change" and "decision", in any order
	Current   *Document // nil: there is none
	ErasedAt  time.Time // when its document was erased last; zero: it was not

	HistoryFrom time.Time // what is older may have been removed
	// Registered tells whether the client had an address at an instant, as far as that is known; nil: it is not.
	Registered func(at time.Time) (push, known bool)
}

// Decided is an entry that accepts a change, or judges a stored revision again.
type Decided struct {
	ID           notice.ID // of the entry; of an accepted change it is the change's id
	At           time.Time
	System       string // the replica: two changes of one resource at one replica never overlap
	Rejudged     bool   // a stored revision was judged again
	Revision     int64  // 0: a timer's change
	Verdict      notice.Verdict
	State        ofb.ResourceState // without watched fields, which no entry has
	Cause        ofb.Cause
	OccurredAt   time.Time
	Notification notice.ID
	Event        ofb.EventType
	Silence      ofb.Silence
	Quarantine   notice.ID // the case that was applied
}

// Document is what is current of a resource.
type Document struct {
	notice.Resource
	ChangeID notice.ID
	Hash     [32]byte // of the document as it is stored, computed anew
}

// sameTime is how far the instants of two transactions may lie apart while it is unknown which one saw the other.
const sameTime = 10 * time.Second

// surelyBefore tells whether o was committed when d was judged.
func (d *Decided) surelyBefore(o *Decided) bool {
	if o.System == d.System && o.Revision > 0 && d.Revision > 0 {
		return !o.At.After(d.At)
	}
	return o.At.Before(d.At.Add(-sameTime))
}

// maybeBefore tells whether o may have been.
func (d *Decided) maybeBefore(o *Decided) bool {
	if o.System == d.System && o.Revision > 0 && d.Revision > 0 {
		return !o.At.After(d.At)
	}
	return !o.At.After(d.At.Add(sameTime))
}

// Differences compares what is kept of a resource: each accepted change has its revision and one decision, the same that
// the rules give when they are asked again; nothing is told twice; and the current document is the newest.
func (s *ResourceHistory) Differences() []Difference {
	f := newResourceFindings(s)
	seen := map[int64]bool{}
	for i := range s.Decided {
		d := &s.Decided[i]
		if !d.Rejudged && d.Revision > 0 {
			if seen[d.Revision] {
				f.add(ChangeTwice, d, "revision %d was accepted before", d.Revision)
			}
			seen[d.Revision] = true
			f.revision(d)
		}
		f.decision(d)
	}
	for i := range s.Revisions {
		r := &s.Revisions[i]
		if made, known := r.ChangeID.Time(); f.accepted[r.Number] == nil && (!known || !made.Before(s.HistoryFrom)) {
			f.out = append(f.out, Difference{
				What: RevisionWithoutChange, Since: Moment{r.OccurredAt}, Client: s.Client, Kind: s.Kind.String(), ResourceID: s.ID, Revision: r.Number,
				Change: r.ChangeID, Notification: r.Notification, Detail: "no entry accepts it",
			})
		}
	}
	f.owed()
	f.current()
	return f.out
}

// resourceFindings gathers what is wrong with one resource.
type resourceFindings struct {
	s        *ResourceHistory
	stored   map[int64]*notice.Revision
	accepted map[int64]*Decided       // the first entry that accepted each revision
	rising   []*Decided               // all entries that accepted a revision, by revision
	told     map[int64]int            // notifications of a revision
	first    map[ofb.Status]time.Time // when a notification first told a state
	whole    bool                     // no part of the resource's history was removed
	out      []Difference
}

// newResourceFindings sorts what is known of a resource once. Its revisions are sorted by number and its decisions by time, so
// that no question asked of one of many changes has to look at all the others.
func newResourceFindings(s *ResourceHistory) *resourceFindings {
	f := &resourceFindings{s: s, stored: map[int64]*notice.Revision{}, accepted: map[int64]*Decided{}, told: map[int64]int{}, first: map[ofb.Status]time.Time{}, whole: true}
	slices.SortFunc(s.Revisions, func(a, b notice.Revision) int { return cmp.Compare(a.Number, b.Number) })
	for i := range s.Revisions {
		r := &s.Revisions[i]
		f.stored[r.Number] = r
		if made, known := r.ChangeID.Time(); known && made.Before(s.HistoryFrom) {
			f.whole = false
		}
	}
	slices.SortStableFunc(s.Decided, func(a, b Decided) int { return a.At.Compare(b.At) })
	for i := range s.Decided {
		d := &s.Decided[i]
		if _, told := f.first[d.State.Status]; !told && !d.Notification.IsZero() {
			f.first[d.State.Status] = d.At
		}
		if d.Rejudged || d.Revision == 0 {
			continue
		}
		f.rising = append(f.rising, d)
		if f.accepted[d.Revision] == nil {
			f.accepted[d.Revision] = d
		}
	}
	slices.SortStableFunc(f.rising, func(a, b *Decided) int { return cmp.Compare(a.Revision, b.Revision) })
	return f
}

func (f *resourceFindings) add(what Finding, d *Decided, format string, args ...any) {
	f.out = append(f.out, Difference{
		What: what, Since: Moment{d.At}, Client: f.s.Client, Kind: f.s.Kind.String(), ResourceID: f.s.ID, Revision: d.Revision, Change: d.ID,
		Notification: d.Notification, Detail: fmt.Sprintf(format, args...),
	})
}

// revision compares an accepted change with what is stored of it.
func (f *resourceFindings) revision(d *Decided) {
	r := f.stored[d.Revision]
	if r == nil {
		f.add(ChangeWithoutRevision, d, "revision %d is not stored", d.Revision)
		return
	}
	for _, m := range []struct {
		what string
		same bool
	}{
		{"change", r.ChangeID == d.ID},
		{"document's hash", r.State.Data == d.State.Data},
		{"state", r.State.Status == d.State.Status},
		{"cause", r.Cause == d.Cause},
		{"time of the event", r.OccurredAt.Equal(d.OccurredAt)},
		{"notification", r.Notification == d.Notification},
		{"reason for silence", r.Silence == d.Silence},
	} {
		if !m.same {
			f.add(RevisionDiffers, d, "the revision has another %s than its entry", m.what)
		}
	}
}

// decision checks that there is one, and that the rules, asked again, give the same.
func (f *resourceFindings) decision(d *Decided) {
	if d.Notification.IsZero() == (d.Silence == "") {
		f.add(DecisionMissing, d, "it must be told or be silent for a reason")
		return
	}
	if !d.Notification.IsZero() && d.Revision > 0 {
		if f.told[d.Revision]++; f.told[d.Revision] == 2 {
			f.add(ToldTwice, d, "revision %d has more than one notification", d.Revision)
		}
	}
	f.silence(d)
	state, cause := d.State, d.Cause
	if r := f.stored[d.Revision]; r != nil {
		state = r.State
		if d.Rejudged { // its entry is about the decision alone
			cause = r.Cause
		}
	}
	var verdicts []ofb.Ruling
	for _, from := range f.predecessors(d) {
		v := ofb.Judge(f.s.Kind, from, state, cause)
		if agrees(v, d) {
			return
		}
		verdicts = append(verdicts, v)
	}
	v := verdicts[0]
	f.add(DecisionDiffers, d, "the rules say %s %s %s, the entry %s %s", v.Duty, v.Event, v.Silence, d.Event, d.Silence)
}

// owed finds silences that a late revision before them turned into a duty, and that were never told.
func (f *resourceFindings) owed() {
	for i := range f.s.Revisions {
		r := &f.s.Revisions[i]
		switch r.Silence {
		case ofb.NotATrigger, ofb.NoChange, ofb.OptionalOff:
		default:
			continue
		}
		mine := f.accepted[r.Number]
		if i == 0 || mine == nil || f.told[r.Number] > 0 {
			continue
		}
		before := &f.s.Revisions[i-1]
		late := f.accepted[before.Number]
		if late == nil || !late.At.After(mine.At.Add(sameTime)) && (late.System != mine.System || !late.At.After(mine.At)) {
			continue // not late
		}
		v := ofb.Judge(f.s.Kind, &before.State, r.State, r.Cause)
		_, announced := f.first[r.State.Status]
		if v.Duty == ofb.Must && f.addressed(late.At) && (before.State.Status == r.State.Status || !announced) {
			f.add(DecisionMissing, mine, "revision %d came late and made it a duty (%s)", before.Number, v.Clause)
		}
	}
}

// addressed tells that the client surely had an address around an instant.
func (f *resourceFindings) addressed(at time.Time) bool {
	if f.s.Registered == nil {
		return false
	}
	before, one := f.s.Registered(at.Add(-sameTime))
	after, two := f.s.Registered(at.Add(sameTime))
	return one && two && before && after
}

// agrees tells whether a decision follows from a verdict of the rules. What depends on settings and registrations, and
// not on the rules, is looked at by silence.
func agrees(v ofb.Ruling, d *Decided) bool {
	if !d.Notification.IsZero() {
		return v.Duty != ofb.MustNot && v.Event == d.Event
	}
	switch d.Silence {
	case ofb.UnknownClient, ofb.NoWebhook, ofb.AlreadyAnnounced:
		return v.Duty != ofb.MustNot
	case ofb.OptionalOff:
		return v.Duty == ofb.May
	}
	return v.Duty == ofb.MustNot && v.Silence == d.Silence
}

// silence checks reasons that rest on something else than the rules.
func (f *resourceFindings) silence(d *Decided) {
	switch d.Silence {
	case ofb.AlreadyAnnounced:
		at, told := f.first[d.State.Status]
		if told = told && at.Before(d.At.Add(sameTime)); !told && f.whole {
			f.add(SilenceUnfounded, d, "%s was not announced before", d.State.Status)
		}
	case ofb.UnknownClient, ofb.NoWebhook:
		if f.addressed(d.At) {
			f.add(SilenceUnfounded, d, "the client had a registered address")
		}
	}
}

// predecessors are the states a change can have been judged from (design, "Judging a change"). There is one, unless two
// transactions ran at the same time; nil stands for a first change.
func (f *resourceFindings) predecessors(d *Decided) []*ofb.ResourceState {
	if d.Revision == 0 {
		return f.found(d)
	}
	out, sure := f.timerBefore(d)
	if sure {
		return out
	}
	end, _ := slices.BinarySearchFunc(f.rising, d.Revision, func(o *Decided, revision int64) int { return cmp.Compare(o.Revision, revision) })
	for _, o := range slices.Backward(f.rising[:end]) {
		if d.Rejudged && o.At.After(d.At) || !d.maybeBefore(o) {
			continue
		}
		state := o.State
		if r := f.stored[o.Revision]; r != nil {
			state = r.State
		}
		if out = append(out, &state); d.Rejudged || d.surelyBefore(o) {
			return out
		}
	}
	return append(f.removed(out, d.Revision), nil)
}

// removed adds the revisions whose entries are older than the history.
func (f *resourceFindings) removed(out []*ofb.ResourceState, below int64) []*ofb.ResourceState {
	var last *notice.Revision
	for i := range f.s.Revisions {
		r := &f.s.Revisions[i]
		if made, known := r.ChangeID.Time(); known && made.Before(f.s.HistoryFrom) && r.Number < below && (last == nil || r.Number > last.Number) {
			last = r
		}
	}
	if last != nil {
		out = append(out, &last.State)
	}
	return out
}

// timerBefore is the state that a timer had made when d was judged, where the core's word is younger than the deadline;
// sure: d was judged from that and nothing else.
func (f *resourceFindings) timerBefore(d *Decided) (out []*ofb.ResourceState, sure bool) {
	if d.Rejudged || d.Verdict != notice.Applied {
		return nil, false
	}
	for i := f.before(d) - 1; i >= 0; i-- {
		o := &f.s.Decided[i]
		switch {
		case o.ID == d.ID || o.Rejudged || o.Verdict != notice.Applied || !d.maybeBefore(o):
		case o.Revision > 0 && d.surelyBefore(o):
			return out, false
		case o.Revision == 0 && d.OccurredAt.After(o.OccurredAt):
			if out = append(out, &o.State); d.surelyBefore(o) {
				return out, len(out) == 1
			}
		}
	}
	return out, false
}

// before is the number of decisions that may have been committed when d was judged; they are the first ones.
func (f *resourceFindings) before(d *Decided) int {
	end := d.At.Add(sameTime)
	return sort.Search(len(f.s.Decided), func(i int) bool { return f.s.Decided[i].At.After(end) })
}

// found are the states that a timer can have found.
func (f *resourceFindings) found(d *Decided) []*ofb.ResourceState {
	var out []*ofb.ResourceState
	for i := f.before(d) - 1; i >= 0; i-- {
		o := &f.s.Decided[i]
		if o.ID == d.ID || o.Rejudged || o.Verdict != notice.Applied || !d.maybeBefore(o) {
			continue
		}
		if out = append(out, &o.State); d.surelyBefore(o) {
			return out
		}
	}
	return append(f.removed(out, math.MaxInt64), nil)
}

// documentErased tells whether an erasure came after the change that made the current document. The entry of that change may have been
// removed with its month.
func (f *resourceFindings) documentErased() bool {
	made := slices.IndexFunc(f.s.Decided, func(d Decided) bool { return !d.Rejudged && d.ID == f.s.Current.ChangeID })
	return !f.s.ErasedAt.IsZero() && (made < 0 || !f.s.ErasedAt.Before(f.s.Decided[made].At))
}

// current checks that the document is that of the newest change.
func (f *resourceFindings) current() {
	var newest *notice.Revision
	if n := len(f.s.Revisions); n > 0 {
		newest = &f.s.Revisions[n-1]
	}
	c := f.s.Current
	wrong := func(detail string) {
		d := Difference{What: DocumentDiffers, Client: f.s.Client, Kind: f.s.Kind.String(), ResourceID: f.s.ID, Detail: detail}
		if newest != nil {
			d.Since, d.Revision, d.Change = Moment{newest.OccurredAt}, newest.Number, newest.ChangeID
		}
		f.out = append(f.out, d)
	}
	switch {
	case c == nil && newest != nil:
		wrong("there is no current document")
	case c == nil:
	case newest == nil:
		wrong("there is a current document and no revision")
	case c.Hash != c.State.Data && (c.Hash != [32]byte{} || !f.documentErased()):
		wrong("the document is not what its hash says")
	case c.Revision != newest.Number:
		wrong("the current document is of another revision than the newest")
	case !c.TimerAt.IsZero():
		timer := func(d Decided) bool {
			return d.ID == c.ChangeID && d.Revision == 0 && d.State.Data == c.State.Data && d.State.Status == c.State.Status
		}
		if !slices.ContainsFunc(f.s.Decided, timer) {
			wrong("no timer's change made the current document")
		}
	case c.ChangeID != newest.ChangeID || c.State.Data != newest.State.Data || c.State.Status != newest.State.Status:
		wrong("the current document is not that of the newest revision")
	}
}
