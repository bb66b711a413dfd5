package intake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// state is a state with a document and a limit of its own.
func state(s ofb.Status, document byte, limit string) ofb.ResourceState {
	st := ofb.ResourceState{Status: s, Data: [32]byte{document}}
	if limit != "" {
		st.Watched = map[string]string{"/transactionLimit": limit, "/recurringConfiguration/automatic/useOverdraftLimit": limit}
	}
	return st
}

// revised is a change of one resource that has nothing wrong with it.
func revised(kind ofb.Kind, revision int64, s ofb.ResourceState) *notice.Change {
	return &notice.Change{
		ID: notice.ID{9, byte(revision)}, Kind: kind, ResourceID: "r", Client: "itp", APIVersion: "v2", Revision: revision, OccurredAt: noon,
		Cause: ofb.Holder, State: s,
	}
}

// stored is the revision a change would have become.
func stored(c *notice.Change, silence ofb.Silence, notification byte) *notice.Revision {
	return &notice.Revision{
		Number: c.Revision, ChangeID: notice.ID{7, byte(c.Revision)}, State: c.State, Cause: c.Cause, OccurredAt: c.OccurredAt,
		Silence: silence, Notification: notice.ID{notification},
	}
}

// current is the resource as a change left it.
func current(c *notice.Change, announced ...ofb.Status) *notice.Resource {
	r := &notice.Resource{Client: c.Client, APIVersion: c.APIVersion, Revision: c.Revision, State: c.State, OccurredAt: c.OccurredAt}
	for _, s := range announced {
		r.Announced |= stateBit(c.Kind, s)
	}
	return r
}

func TestWhatBecomesOfAChange(t *testing.T) {
	type want struct {
		verdict notice.Verdict
		silence ofb.Silence // "" with verdict applied or superseded: announced
		event   ofb.EventType
		why     string
		again   int64 // revision that is announced after all
		current bool
	}
	const (
		pix, consent, recurring, enrollment = ofb.PixPayment, ofb.PaymentConsent, ofb.RecurringConsent, ofb.Enrollment
		applied, superseded, conflict       = notice.Applied, notice.Superseded, notice.Conflicting
	)
	with := func(c *notice.Change, edit func(*notice.Change)) *notice.Change { edit(c); return c }
	acsc := revised(pix, 7, state(ofb.ACSC, 1, ""))
	partial, authorised := state(ofb.PartiallyAccepted, 1, ""), state(ofb.Authorised, 2, "10")
	for name, c := range map[string]struct {
		change   *notice.Change
		past     notice.Past
		optional []ofb.Kind
		want     want
	}{
		"a first change into a state that is told":      {acsc, notice.Past{Push: true}, nil, want{verdict: applied, current: true}},
		"a first change in the initial state":           {revised(pix, 1, state(ofb.RCVD, 1, "")), notice.Past{Push: true}, nil, want{verdict: applied, silence: ofb.NotATrigger, current: true}},
		"a client without address":                      {acsc, notice.Past{}, nil, want{verdict: applied, silence: ofb.NoWebhook, current: true}},
		"a client without registration":                 {acsc, notice.Past{Unregistered: true}, nil, want{verdict: applied, silence: ofb.UnknownClient, current: true}},
		"no trigger comes before no webhook":            {revised(pix, 1, state(ofb.ACPD, 1, "")), notice.Past{}, nil, want{verdict: applied, silence: ofb.NotATrigger, current: true}},
		"a first load":                                  {with(revised(pix, 7, acsc.State), func(c *notice.Change) { c.Cause = ofb.FirstLoad }), notice.Past{Push: true}, nil, want{verdict: applied, silence: ofb.Snapshot, current: true}},
		"the initiator's own step is told all the same": {with(revised(pix, 7, state(ofb.CANC, 1, "")), func(c *notice.Change) { c.Cause = ofb.Initiator }), notice.Past{Push: true}, nil, want{verdict: applied, current: true}},

		"direct AUTHORISED by default":              {revised(consent, 1, authorised), notice.Past{Push: true}, nil, want{verdict: applied, silence: ofb.OptionalOff, current: true}},
		"direct AUTHORISED where it is on":          {revised(consent, 1, authorised), notice.Past{Push: true}, []ofb.Kind{consent}, want{verdict: applied, current: true}},
		"direct AUTHORISED where another kind's is": {revised(consent, 1, authorised), notice.Past{Push: true}, []ofb.Kind{recurring}, want{verdict: applied, silence: ofb.OptionalOff, current: true}},
		"AUTHORISED of several approvers": {
			revised(recurring, 2, authorised),
			notice.Past{Push: true, Resource: current(revised(recurring, 1, partial)), Before: stored(revised(recurring, 1, partial), ofb.NotATrigger, 0)},
			nil,
			want{verdict: applied, event: ofb.StateChanged, current: true},
		},
		"AUTHORISED of an enrolment": {revised(enrollment, 1, authorised), notice.Past{Push: true}, ofb.Kinds(), want{verdict: applied, silence: ofb.NotATrigger, current: true}},

		"a limit edited by the holder": {
			revised(enrollment, 2, state(ofb.Authorised, 3, "20")),
			notice.Past{Push: true, Resource: current(revised(enrollment, 1, authorised)), Before: stored(revised(enrollment, 1, authorised), ofb.NotATrigger, 0)},
			nil,
			want{verdict: applied, event: ofb.DataChanged, current: true},
		},
		"a limit edited by the initiator": {
			with(revised(enrollment, 2, state(ofb.Authorised, 3, "20")), func(c *notice.Change) { c.Cause = ofb.Initiator }),
			notice.Past{Push: true, Resource: current(revised(enrollment, 1, authorised)), Before: stored(revised(enrollment, 1, authorised), ofb.NotATrigger, 0)},
			nil,
			want{verdict: applied, silence: ofb.InitiatorEdit, current: true},
		},
		"another field edited": {
			revised(enrollment, 2, state(ofb.Authorised, 3, "10")),
			notice.Past{Push: true, Resource: current(revised(enrollment, 1, authorised)), Before: stored(revised(enrollment, 1, authorised), ofb.NotATrigger, 0)},
			nil,
			want{verdict: applied, silence: ofb.NotATrigger, current: true},
		},
		"nothing edited": {
			revised(enrollment, 2, authorised),
			notice.Past{Push: true, Resource: current(revised(enrollment, 1, authorised)), Before: stored(revised(enrollment, 1, authorised), ofb.NotATrigger, 0)},
			nil,
			want{verdict: applied, silence: ofb.NoChange, current: true},
		},

		"the same again":                   {acsc, notice.Past{Push: true, Resource: current(acsc), Same: stored(acsc, "", 1)}, nil, want{verdict: notice.Duplicate, current: true}},
		"the same again, superseded since": {acsc, notice.Past{Push: true, Resource: current(revised(pix, 8, acsc.State)), Same: stored(acsc, "", 1)}, nil, want{verdict: notice.Duplicate}},
		"other content":                    {revised(pix, 7, state(ofb.ACSC, 2, "")), notice.Past{Resource: current(acsc), Same: stored(acsc, "", 1)}, nil, want{verdict: conflict, why: "content"}},
		"another cause":                    {with(revised(pix, 7, acsc.State), func(c *notice.Change) { c.Cause = ofb.Initiator }), notice.Past{Resource: current(acsc), Same: stored(acsc, "", 1)}, nil, want{verdict: conflict, why: "content"}},
		"another occurredAt":               {with(revised(pix, 7, acsc.State), func(c *notice.Change) { c.OccurredAt = noon.Add(time.Microsecond) }), notice.Past{Resource: current(acsc), Same: stored(acsc, "", 1)}, nil, want{verdict: conflict, why: "content"}},
		"the same instant elsewhere, another notBefore": {with(revised(pix, 7, acsc.State), func(c *notice.Change) {
			c.OccurredAt, c.NotBefore = noon.In(time.FixedZone("", 3600)), noon
		}), notice.Past{Resource: current(acsc), Same: stored(acsc, "", 1)}, nil, want{verdict: notice.Duplicate, current: true}},
		"another owner":             {with(revised(pix, 8, acsc.State), func(c *notice.Change) { c.Client = "other" }), notice.Past{Push: true, Resource: current(acsc), Before: stored(acsc, "", 1)}, nil, want{verdict: conflict, why: "owner"}},
		"another owner of the same": {with(revised(pix, 7, acsc.State), func(c *notice.Change) { c.Client = "other" }), notice.Past{Resource: current(acsc), Same: stored(acsc, "", 1)}, nil, want{verdict: conflict, why: "owner"}},
		"another version":           {with(revised(pix, 8, acsc.State), func(c *notice.Change) { c.APIVersion = "v5" }), notice.Past{Resource: current(acsc), Before: stored(acsc, "", 1)}, nil, want{verdict: conflict, why: "version"}},
		"backwards":                 {revised(pix, 8, state(ofb.RCVD, 1, "")), notice.Past{Resource: current(acsc), Before: stored(acsc, "", 1)}, nil, want{verdict: notice.Quarantined}},
		"out of a final state":      {revised(pix, 8, state(ofb.RJCT, 1, "")), notice.Past{Resource: current(acsc), Before: stored(acsc, "", 1)}, nil, want{verdict: notice.Quarantined}},
		"backwards, seen before":    {with(revised(pix, 8, state(ofb.RCVD, 1, "")), func(c *notice.Change) { c.Client = "other" }), notice.Past{Resource: current(acsc), Before: stored(acsc, "", 1)}, nil, want{verdict: conflict, why: "owner"}},
		"late, told":                {revised(pix, 6, state(ofb.PDNG, 1, "")), notice.Past{Push: true, Resource: current(acsc, ofb.ACSC), After: stored(acsc, "", 1)}, nil, want{verdict: superseded}},
		"late, the same state told before": {
			revised(pix, 6, state(ofb.ACSC, 2, "")),
			notice.Past{Push: true, Resource: current(acsc, ofb.ACSC), After: stored(acsc, "", 1)},
			nil,
			want{verdict: superseded, silence: ofb.AlreadyAnnounced},
		},
		"late, told before, and no webhook now": {
			revised(pix, 6, state(ofb.ACSC, 2, "")),
			notice.Past{Resource: current(acsc, ofb.ACSC), After: stored(acsc, "", 1)},
			nil,
			want{verdict: superseded, silence: ofb.AlreadyAnnounced},
		},
		"late, legal from its predecessor, though not towards what follows": {revised(pix, 6, state(ofb.RJCT, 2, "")), notice.Past{
			Push: true, Resource: current(acsc, ofb.ACSC), Before: stored(revised(pix, 5, state(ofb.PDNG, 1, "")), "", 1), After: stored(acsc, "", 1),
		}, nil, want{verdict: superseded}},
		"late, illegal from its predecessor": {revised(pix, 6, state(ofb.RCVD, 2, "")), notice.Past{
			Push: true, Resource: current(acsc, ofb.ACSC), Before: stored(revised(pix, 5, state(ofb.PDNG, 1, "")), "", 1), After: stored(acsc, "", 1),
		}, nil, want{verdict: notice.Quarantined}},
		"late approval makes the next a duty": {revised(consent, 2, partial), notice.Past{
			Push: true, Resource: current(revised(consent, 3, authorised)), After: stored(revised(consent, 3, authorised), ofb.OptionalOff, 0),
		}, nil, want{verdict: superseded, silence: ofb.NotATrigger, again: 3}},
		"late approval, the next was told": {revised(consent, 2, partial), notice.Past{
			Push: true, Resource: current(revised(consent, 3, authorised), ofb.Authorised), After: stored(revised(consent, 3, authorised), "", 1),
		}, nil, want{verdict: superseded, silence: ofb.NotATrigger}},
		"late approval, the next was told by a later decision": {revised(consent, 2, partial), notice.Past{
			Push: true, AnnouncedLater: true, Resource: current(revised(consent, 3, authorised)), After: stored(revised(consent, 3, authorised), ofb.OptionalOff, 0),
		}, nil, want{verdict: superseded, silence: ofb.NotATrigger}},
		"late approval, the state was told of another revision": {revised(consent, 2, partial), notice.Past{
			Push: true, Resource: current(revised(consent, 4, authorised), ofb.Authorised), After: stored(revised(consent, 3, authorised), ofb.OptionalOff, 0),
		}, nil, want{verdict: superseded, silence: ofb.NotATrigger}},
		"late approval, no webhook when the next came": {revised(consent, 2, partial), notice.Past{
			Push: true, Resource: current(revised(consent, 3, authorised)), After: stored(revised(consent, 3, authorised), ofb.NoWebhook, 0),
		}, nil, want{verdict: superseded, silence: ofb.NotATrigger}},
		"late approval, no webhook now": {revised(consent, 2, partial), notice.Past{
			Resource: current(revised(consent, 3, authorised)), After: stored(revised(consent, 3, authorised), ofb.OptionalOff, 0),
		}, nil, want{verdict: superseded, silence: ofb.NotATrigger}},
		"late edit makes the next an edit back": {revised(enrollment, 2, state(ofb.Authorised, 3, "20")), notice.Past{
			Push: true, Resource: current(revised(enrollment, 3, authorised)), Before: stored(revised(enrollment, 1, authorised), ofb.NotATrigger, 0),
			After: stored(revised(enrollment, 3, authorised), ofb.NoChange, 0),
		}, nil, want{verdict: superseded, event: ofb.DataChanged, again: 3}},
		"late edit before an edit of the initiator's": {revised(enrollment, 2, state(ofb.Authorised, 3, "20")), notice.Past{
			Push: true, Resource: current(revised(enrollment, 3, authorised)), Before: stored(revised(enrollment, 1, authorised), ofb.NotATrigger, 0),
			After: stored(with(revised(enrollment, 3, authorised), func(c *notice.Change) { c.Cause = ofb.Initiator }), ofb.NoChange, 0),
		}, nil, want{verdict: superseded, event: ofb.DataChanged}},
		"late edit before one that was silent because its state was told": {revised(recurring, 3, state(ofb.Authorised, 3, "20")), notice.Past{
			Push: true, Resource: current(revised(recurring, 5, authorised), ofb.Authorised), Before: stored(revised(recurring, 1, partial), ofb.NotATrigger, 0),
			After: stored(revised(recurring, 4, authorised), ofb.AlreadyAnnounced, 0),
		}, nil, want{verdict: superseded, silence: ofb.AlreadyAnnounced, again: 4}},
	} {
		in := New(Config{NewID: counter(), OptionalAuthorised: c.optional})
		c.past.Epoch = 5
		d := in.judge(c.change, &c.past)
		require.Equal(t, c.want.verdict, d.Verdict, name)
		require.Equal(t, c.want.why, d.Why, name)
		require.Equal(t, c.want.current, d.Current, name)
		require.Equal(t, d, New(Config{NewID: counter(), OptionalAuthorised: c.optional}).judge(c.change, &c.past), "%s: judged twice alike", name)
		told := (c.want.verdict == applied || c.want.verdict == superseded) && c.want.silence == ""
		require.Equal(t, told, d.Announce != nil, name)
		require.Equal(t, c.want.silence, d.Judged.Silence, name)
		if told {
			require.Equal(t, notice.Notification{
				ID: d.Announce.ID, ChangeID: c.change.ID, Client: "itp", Kind: c.change.Kind, ResourceID: "r", APIVersion: "v2", Revision: c.change.Revision,
				Status: c.change.State.Status, Event: c.want.event, EventAt: noon, PushEpoch: 5,
			}, d.Announce.Notification, name)
			require.NotEmpty(t, d.Announce.Clause, name)
		}
		require.Equal(t, c.want.again != 0, d.Rejudged != nil, name)
		if d.Rejudged != nil {
			require.Equal(t, c.want.again, d.Rejudged.Revision, name)
			require.Equal(t, c.past.After.ChangeID, d.Rejudged.ChangeID, name)
			require.Equal(t, c.past.After.State.Status, d.Rejudged.Status, name)
			require.Equal(t, int64(5), d.Rejudged.PushEpoch, name)
		}
		if c.past.Resource != nil && (d.Verdict == applied || d.Verdict == superseded) {
			require.Equal(t, c.past.Resource.Announced, d.Announced&c.past.Resource.Announced, "%s: what was told stays told", name)
		}
		if d.Verdict == notice.Quarantined {
			require.Equal(t, []string{"illegal-transition /data/status"}, codes(d.Problems), name)
			require.NotEmpty(t, d.Problems[0].DetailPT)
		}
		if d.Verdict == notice.Duplicate {
			require.Same(t, c.past.Same, d.Earlier)
		}
	}
}

// A timer made the resource REJECTED at noon; the core's last word was revision 1.
func TestACoreChangeMeetsATimersChange(t *testing.T) {
	in := New(Config{NewID: counter(), Timers: ofb.Kinds()})
	first := revised(ofb.PaymentConsent, 1, state(ofb.AwaitingAuthorisation, 1, ""))
	r := current(first, ofb.Rejected)
	r.State, r.TimerAt = state(ofb.Rejected, 2, ""), noon
	past := func() *notice.Past {
		return &notice.Past{Push: true, Resource: r, Before: stored(first, ofb.NotATrigger, 0)}
	}
	at := func(status ofb.Status, when time.Time) *notice.Change {
		c := revised(ofb.PaymentConsent, 2, state(status, 3, ""))
		c.OccurredAt = when
		c.Timer = &ofb.Timer{Rule: "its own"}
		return c
	}
	for name, when := range map[string]time.Time{"before": noon.Add(-time.Microsecond), "at": noon} {
		d := in.judge(at(ofb.Authorised, when), past())
		require.Equal(t, notice.Applied, d.Verdict, name)
		require.Equal(t, noon, d.Overruled, name)
		require.Equal(t, ofb.AwaitingAuthorisation, d.From, name)
		require.Equal(t, ofb.OptionalOff, d.Judged.Silence, name)
		require.Equal(t, "its own", d.Timer.Rule, name)

		d = in.judge(at(ofb.Rejected, when), past())
		require.NotNil(t, d.Announce, "the core's own rejection wins and is told (%s)", name)
		require.Equal(t, noon, d.Overruled)
	}
	d := in.judge(at(ofb.Authorised, noon.Add(time.Microsecond)), past())
	require.Equal(t, notice.Quarantined, d.Verdict, "after the deadline it is judged from what the timer made")
	d = in.judge(at(ofb.Rejected, noon.Add(time.Microsecond)), past())
	require.Equal(t, notice.Applied, d.Verdict)
	require.Zero(t, d.Overruled)
	require.Equal(t, ofb.NotATrigger, d.Judged.Silence, "the same state again")

	// The core's own last revision is still a duplicate, and one before it is still late.
	same := past()
	same.Before, same.Same = nil, stored(first, ofb.NotATrigger, 0)
	require.Equal(t, notice.Duplicate, in.judge(first, same).Verdict)
	r.Revision = 3
	p := past()
	p.Before, p.After = stored(first, ofb.NotATrigger, 0), stored(revised(ofb.PaymentConsent, 3, state(ofb.Authorised, 4, "")), ofb.OptionalOff, 0)
	d = in.judge(revised(ofb.PaymentConsent, 2, state(ofb.PartiallyAccepted, 5, "")), p)
	require.Equal(t, notice.Superseded, d.Verdict)
	require.Zero(t, d.Overruled)
	require.Nil(t, d.Timer, "a late change sets no deadline")
	require.Equal(t, int64(3), d.Rejudged.Revision)
}

func TestEveryStateHasABitOfItsOwn(t *testing.T) {
	for _, kind := range ofb.Kinds() {
		var all uint64
		for _, s := range kind.Statuses() {
			require.Zero(t, all&stateBit(kind, s))
			all |= stateBit(kind, s)
		}
	}
}
