package store_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// acceptTogether submits first changes of payments at once, so that they share commits, and waits for all.
func (b *bench) acceptTogether(ids []string) []error {
	b.t.Helper()
	errs := make([]error, len(ids))
	pending := make([]*intake.Pending, len(ids))
	for n, id := range ids {
		line, err := json.Marshal(payment("itp", id, 1, "ACSC"))
		require.NoError(b.t, err)
		pending[n], err = b.intake.Enqueue(b.t.Context(), line, intake.Origin{Source: "api", Actor: "core"})
		require.NoError(b.t, err)
	}
	for n, p := range pending {
		_, errs[n] = p.Wait(b.t.Context())
	}
	return errs
}

func consent(id string, revision int, status string) change {
	return change{
		Kind: "payment-consent", ClientID: "itp", APIVersion: "v5", Revision: revision, OccurredAt: time.Now(),
		Data: map[string]any{"consentId": "urn:bancoex:" + id, "status": status},
	}
}

// TestALateRevisionMakesItsSuccessorBeJudgedAgain is contract "Late revisions": a silence that becomes a duty is announced
// then, once, whatever else comes late.
func TestALateRevisionMakesItsSuccessorBeJudgedAgain(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	require.Equal(t, ofb.NotATrigger, b.accept(consent("c", 1, "AWAITING_AUTHORISATION")).Silence)
	third := b.accept(consent("c", 30, "AUTHORISED"))
	require.Equal(t, ofb.OptionalOff, third.Silence, "AUTHORISED straight from AWAITING_AUTHORISATION is off (D-6)")

	second := b.accept(consent("c", 20, "PARTIALLY_ACCEPTED"))
	require.Equal(t, notice.Superseded, second.Verdict)
	require.Empty(t, second.Notifications, "it is told about the next revision, not about this one")
	listed, _, err := b.log.Notifications(t.Context(), history.Filter{ResourceID: "urn:bancoex:c", Kind: ofb.PaymentConsent, Limit: 10})
	require.NoError(t, err)
	require.Len(t, listed, 1, "AUTHORISED after PARTIALLY_ACCEPTED must be told")
	told := listed[0]
	require.Equal(t, ofb.Status("AUTHORISED"), told.Status)
	require.EqualValues(t, 30, told.Revision)
	require.Equal(t, third.ChangeID, told.ChangeID)
	require.Equal(t, 1, b.entries("decision", "urn:bancoex:c"))

	for _, revision := range []int{25, 27, 10} {
		another := b.accept(consent("c", revision, "PARTIALLY_ACCEPTED"))
		require.Equal(t, notice.Superseded, another.Verdict)
		require.Empty(t, another.Notifications, "revision %d", revision)
	}
	require.Equal(t, notice.Duplicate, b.accept(consentAgain(b, "c", 30)).Verdict)
	require.Len(t, b.claim("itp", 10, 0), 1)
	require.Equal(t, "AUTHORISED", one[string](b, "SELECT status FROM resource WHERE id = 'urn:bancoex:c'"))
}

// consentAgain rebuilds a change exactly as it is stored.
func consentAgain(b *bench, id string, revision int) change {
	b.t.Helper()
	c := consent(id, revision, one[string](b, "SELECT status FROM stored_revision WHERE revision = $1", revision))
	c.OccurredAt = one[time.Time](b, "SELECT occurred_at FROM stored_revision WHERE revision = $1", revision).UTC()
	return c
}

// TestAnOlderStateThatArrivesLateIsToldOnceAndChangesNothing is case A4.
func TestAnOlderStateThatArrivesLateIsToldOnceAndChangesNothing(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	require.Len(t, b.accept(payment("itp", "p1", 7, "ACSC")).Notifications, 1)
	late := payment("itp", "p1", 6, "PDNG")
	first := b.accept(late)
	require.Equal(t, notice.Superseded, first.Verdict)
	require.Len(t, first.Notifications, 1)
	again := b.accept(late)
	require.Equal(t, notice.Duplicate, again.Verdict)
	require.Equal(t, first.Notifications, again.Notifications)
	require.Equal(t, ofb.AlreadyAnnounced, b.accept(payment("itp", "p1", 5, "PDNG")).Silence)
	require.Equal(t, notice.Superseded, b.accept(payment("itp", "p1", 4, "RCVD")).Verdict)

	r, err := b.store.Read(t.Context(), notice.Question{Client: "itp", Kind: ofb.PixPayment, ID: "p1"})
	require.NoError(t, err)
	require.Equal(t, ofb.Status("ACSC"), r.Stored.Status)
	require.Len(t, b.claim("itp", 10, 0), 2)
}

// TestTheSameChangeSentAHundredTimesIsStoredOnce is case A2.
func TestTheSameChangeSentAHundredTimesIsStoredOnce(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	replicas := []*world{b.world, replicaOf(t, b.url), replicaOf(t, b.url)}
	line, err := json.Marshal(payment("itp", "p1", 7, "ACSC"))
	require.NoError(t, err)
	var mu sync.Mutex
	answers := map[notice.Verdict][]intake.Answer{}
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			for range 5 {
				a, err := replicas[n%3].intake.Accept(context.WithoutCancel(t.Context()), line, intake.Origin{Source: "api", Actor: "core"})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answers[a.Verdict] = append(answers[a.Verdict], a)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.Len(t, answers[notice.Applied], 1)
	require.Len(t, answers[notice.Duplicate], 99)
	first := answers[notice.Applied][0]
	require.Len(t, first.Notifications, 1)
	for _, a := range answers[notice.Duplicate] {
		require.Equal(t, first.ChangeID, a.ChangeID)
		require.Equal(t, first.Notifications, a.Notifications)
		require.Equal(t, first.Silence, a.Silence)
	}
	require.Equal(t, 1, b.entries("change", "p1"))
	require.Equal(t, 99, b.entries("duplicate", "p1"))
	require.Len(t, b.claim("itp", 10, 0), 1)
}

// TestTheSameRevisionWithOtherContentIsAConflictThatLeavesItsTrace is case A3.
func TestTheSameRevisionWithOtherContentIsAConflictThatLeavesItsTrace(t *testing.T) {
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	c := payment("itp", "p1", 7, "PDNG")
	b.accept(c)
	before := one[string](b, "SELECT row_to_json(r)::text FROM resource r")
	other := c
	other.Data = map[string]any{"paymentId": "p1", "status": "ACSC"}
	cause, moment := c, c
	cause.Cause = "initiator"
	moment.OccurredAt = c.OccurredAt.Add(time.Second)
	for _, wrong := range []change{other, cause, moment} {
		a := b.accept(wrong)
		require.Equal(t, notice.Conflicting, a.Verdict)
		require.Equal(t, "content", a.Why)
		require.Empty(t, a.Notifications)
	}
	require.Equal(t, before, one[string](b, "SELECT row_to_json(r)::text FROM resource r"))
	require.Equal(t, 3, b.entries("conflict", "p1"))
	require.Equal(t, 3, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'conflict' AND length(facts->>'storedHash') = 64 AND length(facts->>'dataHash') = 64"))
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM entry WHERE kind = 'conflict' AND facts->>'storedHash' <> facts->>'dataHash'"))
	require.Equal(t, 1, one[int](b, "SELECT count(*) FROM queue"))
}
