package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// namedSchema refuses a member name that is longer than three characters.
type namedSchema struct{}

func (namedSchema) Check(_ ofb.Kind, _ string, data map[string]any) []notice.Problem {
	if name, _ := data["name"].(string); len(name) > 3 {
		return []notice.Problem{{Pointer: "/data/name", Code: "length", Detail: "name is too long", DetailPT: "name é longo demais"}}
	}
	return nil
}

// judging puts an intake of this schema before the store of a bench.
func (b *bench) judging(tell bool) *bench {
	in := intake.New(intake.Config{Store: b.store, Schema: namedSchema{}, NewID: store.NewID, Timers: ofb.Kinds(), TellNonconforming: tell})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { in.Run(ctx); close(ended) }()
	b.t.Cleanup(func() { stop(); <-ended })
	w := *b.world
	w.intake = in
	return &bench{world: &w, url: b.url, owner: b.owner}
}

func named(revision int, status, name string) change {
	c := payment("itp", "p1", revision, status)
	c.Data["name"] = name
	return c
}

func (b *bench) cases(state string) []notice.Case {
	b.t.Helper()
	cases, more, err := b.store.Cases(b.t.Context(), state, history.Position{}, 10)
	require.NoError(b.t, err)
	require.False(b.t, more)
	return cases
}

// TestADocumentThatDoesNotConformIsToldAndListed follows one resource: stored and told, listed until a revision that conforms, or until
// a person has seen it.
func TestADocumentThatDoesNotConformIsToldAndListed(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	tells, refuses := b.judging(true), b.judging(false)

	odd := named(1, "PDNG", "long")
	require.Equal(t, notice.Quarantined, refuses.accept(odd).Verdict)
	told := tells.accept(odd)
	require.Equal(t, notice.Applied, told.Verdict, "another replica, with the other setting")
	require.Len(t, b.cases(notice.CaseOpen), 1)
	listed := b.cases(notice.CaseNonconforming)
	require.Len(t, listed, 1)
	require.Equal(t, told.ChangeID, listed[0].ID, "a case of its own")
	require.Equal(t, "length", listed[0].Problems[0].Code)
	kept, err := b.store.Case(t.Context(), listed[0].ID)
	require.NoError(t, err)
	require.Empty(t, kept.Line, "the document stands in the resource, and may be erased there")
	require.Equal(t, `["length /data/name"]`, one[string](b, "SELECT facts->>'problems' FROM entry WHERE kind = 'change' AND revision = 1"))
	require.Contains(t, b.document("p1"), `"name":"long"`)

	settled := tells.accept(named(2, "ACSC", "longer"))
	require.Len(t, settled.Notifications, 1)
	listed = b.cases(notice.CaseNonconforming)
	require.Len(t, listed, 1, "one case a resource")
	require.EqualValues(t, 2, listed[0].Revision)
	n, err := b.store.CloseSuperseded(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "of the open case, and of no other")

	done, err := b.store.Dismiss(t.Context(), listed[0].ID, "operator", "the facts are so")
	require.NoError(t, err)
	require.True(t, done)
	require.Empty(t, b.cases(notice.CaseNonconforming))

	require.Equal(t, notice.Applied, tells.accept(named(5, "ACSC", "long")).Verdict)
	require.Equal(t, notice.Superseded, tells.accept(named(4, "ACSC", "longest")).Verdict)
	require.Len(t, b.cases(notice.CaseNonconforming), 1, "the document of an older revision is shown to nobody")
	found, err := b.store.OpenCaseIDs(t.Context(), notice.CaseFilter{Client: "itp", State: notice.CaseNonconforming}, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)
	found, err = b.store.OpenCaseIDs(t.Context(), notice.CaseFilter{Client: "itp"}, 10)
	require.NoError(t, err)
	require.Empty(t, found)
	forgets := func(want int) {
		gone, err := b.store.ForgetReplaced(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, gone)
	}
	forgets(0)
	require.Equal(t, notice.Applied, tells.accept(named(6, "ACSC", "ok")).Verdict)
	forgets(1)
	require.Empty(t, b.cases(notice.CaseNonconforming))
	b.cased()
}

// TestNoTextOfADocumentThatDoesNotConformStopsIntake: what a database cannot keep in a column is in none.
func TestNoTextOfADocumentThatDoesNotConformStopsIntake(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	tells := b.judging(true)
	consented := func(id any, n int, name string) change {
		c := named(n, "ACSC", name)
		c.Data["consentId"] = id
		return c
	}
	require.Equal(t, notice.Applied, tells.accept(consented("urn:bank:1", 1, "ok")).Verdict)
	long := ""
	for range 100 {
		long += store.NewID().String() + store.NewID().String()
	}
	for n, id := range []any{"urn:x:\x00", long, "urn:bank:" + long, "beta urn:bank:1", 7, nil, map[string]any{"\x00": long}} {
		a := tells.accept(consented(id, n+2, "long"))
		require.Equal(t, notice.Applied, a.Verdict, "%d", n)
		require.Equal(t, "urn:bank:1", one[string](b, "SELECT consent_id FROM resource WHERE id = 'p1'"), "a payment stays with its consent")
	}
	c := consented("urn:x:\x00", 1, "long")
	c.Data["paymentId"] = "p2"
	require.Len(t, tells.accept(c).Notifications, 1)
	require.True(t, one[bool](b, "SELECT consent_id IS NULL FROM resource WHERE id = 'p2'"))
	b.cased()
}

// TestADeadlineStaysArmedWhileADocumentDoesNotTellItsDates, and fires when it is over.
func TestADeadlineStaysArmedWhileADocumentDoesNotTellItsDates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	tells := b.judging(true)
	c := timed("c1", 1, "AWAITING_AUTHORISATION", time.Minute)
	require.Equal(t, notice.Applied, tells.accept(c).Verdict)
	armed := one[time.Time](b, "SELECT deadline FROM timer")
	c.Revision, c.Data["name"], c.Data["creationDateTime"] = 2, "long", 7
	require.Equal(t, notice.Applied, tells.accept(c).Verdict)
	require.Equal(t, armed, one[time.Time](b, "SELECT deadline FROM timer"))
	b.do("UPDATE timer SET deadline = now() - interval '1 s'")
	require.EqualValues(t, 1, runTimers(t, 1, tells.world))
	require.Equal(t, "REJECTED", one[string](b, "SELECT status FROM resource WHERE id = $1", c.Data["consentId"]))
	b.cased()
}

// cased holds the quarantine against the history, as the daily reconciliation does.
func (b *bench) cased() {
	b.t.Helper()
	tx, err := b.owner.Begin(b.t.Context())
	require.NoError(b.t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(b.t.Context())) }()
	_, found := inspect(b.t, inspectorWithin(tx), time.Time{}, time.Now().Add(time.Hour))
	for _, d := range found {
		require.NotContains(b.t, []history.Finding{history.CaseMissing, history.CaseUndecided}, d.What, d.Detail)
	}
}

// TestACaseThatIsAppliedIsListedAnewWhereItsDocumentDoesNotConform: the setting was changed, and an operator applied what had been
// refused.
func TestACaseThatIsAppliedIsListedAnewWhereItsDocumentDoesNotConform(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	odd := named(1, "ACSC", "long")
	refused := b.judging(false).accept(odd)
	line, err := json.Marshal(odd)
	require.NoError(t, err)
	a, err := b.judging(true).intake.Accept(t.Context(), line, intake.Origin{Source: "quarantine", Actor: "operator", Quarantine: refused.QuarantineID})
	require.NoError(t, err)
	require.Equal(t, notice.Applied, a.Verdict)
	require.Len(t, a.Notifications, 1)
	applied := b.cases(notice.CaseApplied)
	require.Len(t, applied, 1)
	require.Equal(t, refused.QuarantineID, applied[0].ID)
	require.Len(t, b.cases(notice.CaseNonconforming), 1)
	b.cased()
}

func TestTheQuarantineIsReadPageByPage(t *testing.T) {
	b := newBench(t)
	refuses := b.judging(false)
	var want []string
	for n := range 7 {
		c := payment("itp", fmt.Sprint("p", n), 1, "ACSC")
		c.Data["name"] = "long"
		require.Equal(t, notice.Quarantined, refuses.accept(c).Verdict)
		want = append(want, c.Data["paymentId"].(string))
	}
	b.do("UPDATE quarantine SET first_at = $1 WHERE resource_id IN ('p2', 'p3', 'p4')", time.Now()) // of one instant: the id decides
	var got []string
	var after history.Position
	for {
		cases, more, err := b.store.Cases(t.Context(), notice.CaseOpen, after, 2)
		require.NoError(t, err)
		for _, c := range cases {
			got = append(got, c.ResourceID)
		}
		if !more {
			break
		}
		require.Len(t, cases, 2)
		after = history.Position{At: cases[1].FirstAt, ID: cases[1].ID}
	}
	require.Len(t, got, 7, "each once: %v", got)
	slices.Sort(got)
	require.Equal(t, want, got)
	all, more, err := b.store.Cases(t.Context(), "", history.Position{}, 7)
	require.NoError(t, err)
	require.Len(t, all, 7)
	require.False(t, more)
}

// TestTheQuarantineIsCountedByStateAndSource counts what waits, and no longer what is closed.
func TestTheQuarantineIsCountedByStateAndSource(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	counts := func() []notice.CaseCount {
		found, err := b.store.CountCases(t.Context())
		require.NoError(t, err)
		return found
	}
	require.Empty(t, counts())
	refuses := b.judging(false)
	for n := range 3 {
		c := payment("itp", fmt.Sprint("p", n), 1, "ACSC")
		c.Data["name"] = "long"
		require.Equal(t, notice.Quarantined, refuses.accept(c).Verdict)
	}
	c := payment("itp", "told", 1, "ACSC")
	c.Data["name"] = "long"
	require.Equal(t, notice.Applied, b.judging(true).accept(c).Verdict)
	b.do("UPDATE quarantine SET source = 'core', line = convert_to(repeat('x', 100000), 'UTF8'), first_at = now() - interval '1 hour' WHERE resource_id = 'p1'")

	got := counts()
	require.Len(t, got, 3)
	source := got[1].Source
	bytes := one[int64](b, "SELECT sum(octet_length(line)) FROM quarantine WHERE state = 'open' AND source <> 'core'")
	require.Positive(t, bytes)
	for i, want := range []notice.CaseCount{
		{State: notice.CaseNonconforming, Source: source, Cases: 1},
		{State: notice.CaseOpen, Source: source, Cases: 2, Bytes: bytes},
		{State: notice.CaseOpen, Source: "core", Cases: 1, Bytes: 100_000, Oldest: time.Hour},
	} {
		require.InDelta(t, want.Oldest.Seconds(), got[i].Oldest.Seconds(), 60)
		got[i].Oldest = want.Oldest
		require.Equal(t, want, got[i])
	}
	for _, c := range b.cases(notice.CaseOpen) {
		done, err := b.store.Dismiss(t.Context(), c.ID, "ana", "seen")
		require.NoError(t, err)
		require.True(t, done)
	}
	got = counts()
	require.Len(t, got, 1)
	require.Equal(t, notice.CaseNonconforming, got[0].State)
}

// TestAChangeWithTheRevisionOfACaseClosesIt: the core corrected what it had sent. A line that came after the stored one stays for a person,
// also when a timer touches the resource since, and so does a case of the stored document itself.
func TestAChangeWithTheRevisionOfACaseClosesIt(t *testing.T) {
	b := newBench(t)
	tells, refuses := b.judging(true), b.judging(false)
	closes := func(want int) {
		t.Helper()
		n, err := b.store.CloseSuperseded(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	refused := refuses.accept(named(5, "PDNG", "long"))
	require.Equal(t, notice.Quarantined, refused.Verdict)
	closes(0)
	corrected := refuses.accept(named(5, "PDNG", "ok"))
	require.Equal(t, notice.Applied, corrected.Verdict)

	line, err := json.Marshal(named(5, "PDNG", "long"))
	require.NoError(t, err)
	again, err := refuses.intake.Accept(t.Context(), line, intake.Origin{Source: "quarantine", Actor: "ana", Quarantine: refused.QuarantineID})
	require.NoError(t, err)
	require.Equal(t, notice.Conflicting, again.Verdict, "its revision is stored, so nothing else about it matters")
	closes(1)
	closed, err := b.store.Case(t.Context(), refused.QuarantineID)
	require.NoError(t, err)
	require.Equal(t, notice.CaseDismissed, closed.State)
	require.Equal(t, "revision 5 was applied: change "+corrected.ChangeID.String(), closed.ClosedWhy)
	require.Empty(t, closed.Line)

	require.Equal(t, notice.Quarantined, refuses.accept(named(5, "PDNG", "longer")).Verdict)
	b.do("UPDATE resource SET updated_at = now() + interval '1 hour'")
	closes(0)

	odd := tells.accept(named(6, "ACSC", "long"))
	require.Equal(t, notice.Applied, odd.Verdict)
	closes(1) // of revision 5
	require.Len(t, b.cases(notice.CaseNonconforming), 1)

	require.Equal(t, notice.Quarantined, refuses.accept(named(4, "PDNG", "long")).Verdict)
	b.do("UPDATE resource SET updated_at = now() - interval '1 hour'")
	closes(0)
	require.Equal(t, notice.Superseded, refuses.accept(named(4, "PDNG", "ok")).Verdict, "late")
	closes(1)
	require.Empty(t, b.cases(notice.CaseOpen))
}
