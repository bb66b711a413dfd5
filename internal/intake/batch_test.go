package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// desk is an intake at work before a store in memory, in virtual time.
type desk struct {
	*memory
	t     *testing.T
	in    *Intake
	seen  *observed
	woken []time.Time
	logs  lockedText
	stop  context.CancelFunc
	ended chan struct{}
}

// observed counts what an Observer is told.
type observed struct {
	mu       sync.Mutex
	verdicts map[notice.Verdict]int
	refused  map[string]int
	failed   int

	nonconforming map[ofb.Kind]int
}

func (o *observed) Nonconforming(kind ofb.Kind) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.nonconforming == nil {
		o.nonconforming = map[ofb.Kind]int{}
	}
	o.nonconforming[kind]++
}

func (o *observed) Accepted(_ ofb.Kind, v notice.Verdict, _ ofb.Silence, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.verdicts[v]++
}

func (o *observed) Committed(_ int, _ time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failed++
	}
}

func (o *observed) Refused(why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused[why]++
}

// bubble runs a test in virtual time with an intake that is going; when it ends, the intake has ended too.
func bubble(t *testing.T, c Config, test func(*testing.T, *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{memory: newMemory(), t: t, seen: &observed{verdicts: map[notice.Verdict]int{}, refused: map[string]int{}}, ended: make(chan struct{})}
		c.Store, c.NewID, c.Observer = d.memory, counter(), d.seen
		if c.Schema == nil {
			c.Schema = anySchema{}
		}
		var mu sync.Mutex
		c.Wake = func(_ notice.ClientID, at time.Time) {
			mu.Lock()
			defer mu.Unlock()
			d.woken = append(d.woken, at)
		}
		c.Log = slog.New(slog.NewTextHandler(&d.logs, nil))
		d.in = New(c)
		ctx, stop := context.WithCancel(t.Context())
		d.stop = stop
		go func() { defer close(d.ended); d.in.Run(ctx) }()
		test(t, d)
		stop()
		<-d.ended
		require.Empty(t, d.faults)
		require.Zero(t, d.in.waiting(), "everything is answered")
		require.Empty(t, d.in.busy, "every resource is free again")
	})
}

// change is a line about the n-th payment.
func (d *desk) change(n, revision int, status ofb.Status) []byte {
	return line(d.t, map[string]any{
		"revision": revision, "occurredAt": time.Now().UTC().Format(time.RFC3339Nano), "data": document(fmt.Sprintf("p-%03d", n), status),
	})
}

func (d *desk) submit(lines ...[]byte) []*Pending {
	d.t.Helper()
	var all []*Pending
	for _, l := range lines {
		p, err := d.in.Enqueue(d.t.Context(), l, Origin{Source: "test"})
		require.NoError(d.t, err)
		all = append(all, p)
	}
	return all
}

func (d *desk) wait(all []*Pending) (answers []Answer, errs []error) {
	for _, p := range all {
		a, err := p.Wait(d.t.Context())
		answers, errs = append(answers, a), append(errs, err)
	}
	return answers, errs
}

// took makes every transaction take this long.
func took(d time.Duration) func([]*notice.Change) error {
	return func([]*notice.Change) error { <-time.After(d); return nil }
}

func TestAnIdleIntakeCommitsAtOnce(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		began := time.Now()
		a, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{Source: "api"})
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		require.Equal(t, notice.Applied, a.Verdict)
		require.Len(t, a.Notifications, 1)
		require.Equal(t, a.ChangeID, a.Change.ID)
		require.Equal(t, []int{1}, d.batches)
		require.Equal(t, 1, d.seen.verdicts[notice.Applied])
	})
}

func TestWhileACommitIsUnderWayChangesGatherForTwoMilliseconds(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		d.before = took(50 * time.Millisecond)
		began := time.Now()
		first := d.submit(d.change(0, 1, ofb.ACSC))
		synctest.Wait()
		var rest []*Pending
		for n := range 150 {
			rest = append(rest, d.submit(d.change(n+1, 1, ofb.ACSC))...)
			<-time.After(10 * time.Microsecond)
		}
		d.wait(first)
		require.Equal(t, 50*time.Millisecond, time.Since(began))
		_, errs := d.wait(rest)
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, 52*time.Millisecond, time.Since(began), "the oldest of the others lingered 2 ms beside the commit under way")
		require.Equal(t, []int{1, 150}, d.batches)
	})
}

func TestAFullBatchDoesNotLinger(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		d.before = took(50 * time.Millisecond)
		began := time.Now()
		all := d.submit(d.change(0, 1, ofb.ACSC))
		synctest.Wait()
		for n := range 450 {
			all = append(all, d.submit(d.change(n+1, 1, ofb.ACSC))...)
		}
		_, errs := d.wait(all)
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, []int{1, 200, 200, 50}, d.batches, "200 at most in one commit")
		require.Equal(t, 52*time.Millisecond, time.Since(began))
	})
}

func TestNoMoreCommitsThanWorkersAreUnderWay(t *testing.T) {
	bubble(t, Config{Workers: 2, MaxBatch: 10}, func(t *testing.T, d *desk) {
		var mu sync.Mutex
		var flying, most int
		d.before = func([]*notice.Change) error {
			mu.Lock()
			flying++
			most = max(most, flying)
			mu.Unlock()
			<-time.After(20 * time.Millisecond)
			mu.Lock()
			flying--
			mu.Unlock()
			return nil
		}
		var lines [][]byte
		for n := range 100 {
			lines = append(lines, d.change(n, 1, ofb.ACSC))
		}
		_, errs := d.wait(d.submit(lines...))
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, 2, most)
	})
}

func TestChangesOfOneResourceAreStoredOneByOneInTheirOrder(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		d.before = took(5 * time.Millisecond)
		path := []ofb.Status{ofb.RCVD, ofb.PDNG, ofb.ACCP, ofb.ACPD, ofb.ACSC}
		var all []*Pending
		for revision, status := range path {
			for n := range 20 {
				all = append(all, d.submit(d.change(n, revision+1, status))...)
			}
		}
		answers, errs := d.wait(all)
		require.NoError(t, errors.Join(errs...))
		for _, a := range answers {
			require.Equal(t, notice.Applied, a.Verdict, "none overtook another")
		}
		for _, h := range d.resources {
			require.Equal(t, ofb.ACSC, h.resource.State.Status)
		}
	})
}

func TestASharedCommitThatFailsIsStoredOneByOneAndOnlyThePoisonIsRefused(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		var alone []string
		d.before = func(changes []*notice.Change) error {
			if len(changes) == 1 {
				alone = append(alone, changes[0].ResourceID)
			}
			for _, c := range changes {
				switch c.ResourceID {
				case "p-000":
					<-time.After(10 * time.Millisecond)
				case "p-003":
					return errRow
				}
			}
			return nil
		}
		all := d.submit(d.change(0, 1, ofb.ACSC))
		synctest.Wait()
		all = append(all, d.submit(d.change(5, 1, ofb.ACSC), d.change(3, 1, ofb.ACSC), d.change(1, 1, ofb.ACSC))...)
		answers, errs := d.wait(all)
		require.Equal(t, []int{1, 3, 1, 1, 1}, d.batches, "each alone once")
		require.Equal(t, []string{"p-000", "p-001", "p-003", "p-005"}, alone, "in order")
		for i, err := range errs {
			if i == 2 {
				require.ErrorIs(t, err, ErrUnavailable)
				require.ErrorIs(t, err, ErrAlone)
				require.ErrorIs(t, err, errRow)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, notice.Applied, answers[i].Verdict)
		}
		require.Len(t, d.notifications, 3)
		require.Equal(t, 1, d.seen.refused["unavailable"])
		require.Equal(t, 3, d.seen.verdicts[notice.Applied])
	})
}

func TestWhenTheDatabaseGoesAwayWhileMembersAreStoredAloneNobodyWaitsForTheOthersPatience(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		gone := false
		d.before = func(changes []*notice.Change) error {
			switch {
			case changes[0].ResourceID == "p-000":
				<-time.After(10 * time.Millisecond)
				return nil
			case len(changes) > 1:
				gone = true
				return errRow
			case gone:
				return away{}
			}
			return nil
		}
		all := d.submit(d.change(0, 1, ofb.ACSC))
		synctest.Wait()
		began := time.Now()
		for n := range 100 {
			all = append(all, d.submit(d.change(n+1, 1, ofb.ACSC))...)
		}
		_, errs := d.wait(all)
		require.NoError(t, errs[0])
		for _, err := range errs[1:] {
			require.ErrorIs(t, err, ErrUnavailable)
		}
		require.Less(t, time.Since(began), 3*time.Second, "requests fail within 3 s when the database is away")
	})
}

func TestADatabaseThatIsAwayIsTriedAgainUntilItIsBack(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		back := time.Now().Add(time.Second)
		d.before = func([]*notice.Change) error {
			if time.Now().Before(back) {
				return fmt.Errorf("record: %w", away{})
			}
			return nil
		}
		a, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict)
		require.GreaterOrEqual(t, time.Now(), back)
		require.Less(t, time.Since(back), time.Second)
		require.Less(t, len(d.batches), 10, "the pauses grow")
		require.Len(t, d.notifications, 1)
	})
}

func TestADatabaseThatStaysAwayIsGivenUpAndTheNextChangeTriesAnew(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		d.before = func([]*notice.Change) error { return away{} }
		began := time.Now()
		all := d.submit(d.change(1, 1, ofb.ACSC))
		synctest.Wait()
		all = append(all, d.submit(d.change(2, 1, ofb.ACSC), d.change(1, 2, ofb.ACSC))...)
		_, errs := d.wait(all[:2])
		for _, err := range errs {
			require.ErrorIs(t, err, ErrUnavailable)
		}
		require.LessOrEqual(t, time.Since(began), 2502*time.Millisecond)
		require.Greater(t, time.Since(began), 1200*time.Millisecond)
		_, errs = d.wait(all[2:])
		require.ErrorIs(t, errs[0], ErrUnavailable)
		d.before = nil
		a, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict, "a refused change left nothing behind")
		require.Equal(t, 3, d.seen.refused["unavailable"])
	})
}

// TestEveryChangeIsRefusedInTimeHoweverManyWaitBeforeIt is case F5: "requests fail within 3 s". The time for which a change
// waits behind commits that fail counts.
func TestEveryChangeIsRefusedInTimeHoweverManyWaitBeforeIt(t *testing.T) {
	bubble(t, Config{Workers: 1, MaxBatch: 1}, func(t *testing.T, d *desk) {
		d.in.cfg.Store = hung{d.memory}
		began := time.Now()
		_, errs := d.wait(d.submit(d.change(1, 1, ofb.ACSC), d.change(2, 1, ofb.ACSC), d.change(2, 2, ofb.ACSC), d.change(3, 1, ofb.ACSC)))
		for _, err := range errs {
			require.ErrorIs(t, err, ErrUnavailable)
		}
		require.Equal(t, d.in.cfg.GiveUp, time.Since(began))

		d.in.cfg.Store = d.memory
		a, err := d.in.Accept(t.Context(), d.change(3, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict, "the next change tries anew")

		d.before = func([]*notice.Change) error { time.Sleep(d.in.cfg.GiveUp - time.Millisecond); return nil }
		for _, p := range d.submit(d.change(4, 1, ofb.ACSC), d.change(5, 1, ofb.ACSC), d.change(6, 1, ofb.ACSC)) {
			_, err := p.Wait(t.Context())
			require.NoError(t, err, "a database that is slow and not away is waited for")
		}
	})
}

func TestADatabaseThatAnswersNothingIsGivenUpToo(t *testing.T) {
	bubble(t, Config{GiveUp: time.Second}, func(t *testing.T, d *desk) {
		store := hung{d.memory}
		d.in.cfg.Store = store
		began := time.Now()
		_, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, ErrUnavailable)
		require.Equal(t, time.Second, time.Since(began))
	})
}

// hung answers only when its caller gives up.
type hung struct{ *memory }

func (hung) Record(ctx context.Context, _ []*notice.Change, _ func([]notice.Past) []notice.Decision) error {
	<-ctx.Done()
	return errors.Join(away{}, ctx.Err())
}

func TestACommitWhoseAnswerWasLostIsRecognised(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		_, err := d.in.Accept(t.Context(), d.change(1, 7, ofb.ACSC), Origin{})
		require.NoError(t, err)
		lose := func() {
			once := false
			d.after = func([]*notice.Change) error {
				if !once {
					once = true
					return away{}
				}
				return nil
			}
		}
		lose()
		woken := len(d.woken)
		told := d.change(2, 1, ofb.ACSC)
		a, err := d.in.Accept(t.Context(), told, Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict)
		require.Equal(t, a.Change.ID, a.ChangeID)
		require.Len(t, a.Notifications, 1)
		require.Len(t, d.woken, woken+1, "its lane is woken all the same")
		require.Equal(t, []notice.Verdict{notice.Applied, notice.Applied, notice.Duplicate}, d.verdicts)

		again, err := d.in.Accept(t.Context(), told, Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Duplicate, again.Verdict)
		require.Equal(t, a.ChangeID, again.ChangeID)
		require.Equal(t, a.Notifications, again.Notifications)
		require.Len(t, d.woken, woken+1, "a duplicate wakes nobody")

		lose()
		a, err = d.in.Accept(t.Context(), d.change(3, 1, ofb.RCVD), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict)
		require.Equal(t, ofb.NotATrigger, a.Silence)
		require.Empty(t, a.Notifications)

		lose()
		a, err = d.in.Accept(t.Context(), d.change(1, 6, ofb.PDNG), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Superseded, a.Verdict, "a late one is superseded, heard or not")
		require.Len(t, a.Notifications, 1)
	})
}

func TestALateChangeThatMakesTheNextOneADutyAnswersForItselfAndWakesTheLane(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		consent := func(revision int, status ofb.Status) []byte {
			return line(t, map[string]any{
				"kind": "payment-consent", "revision": revision, "occurredAt": "1999-12-31T12:00:00Z",
				"data": map[string]any{"consentId": "urn:b:1", "status": string(status)},
			})
		}
		accept := func(text []byte) Answer {
			a, err := d.in.Accept(t.Context(), text, Origin{})
			require.NoError(t, err)
			return a
		}
		three := accept(consent(3, ofb.Authorised))
		require.Equal(t, ofb.OptionalOff, three.Silence)
		require.Empty(t, d.woken)
		two := accept(consent(2, ofb.PartiallyAccepted))
		require.Equal(t, notice.Superseded, two.Verdict)
		require.Len(t, d.notifications, 1, "revision 3 is told after all")
		require.Equal(t, int64(3), d.notifications[0].Revision)
		require.Empty(t, two.Notifications, "a duplicate could not repeat what is told about another revision")
		require.Equal(t, ofb.NotATrigger, two.Silence)
		require.Equal(t, three.ChangeID, d.notifications[0].ChangeID)
		require.Equal(t, []time.Time{time.Now()}, d.woken)
		again := accept(consent(3, ofb.Authorised))
		require.Equal(t, notice.Duplicate, again.Verdict)
		require.Equal(t, three.ChangeID, again.ChangeID)
		require.Equal(t, three.Notifications, again.Notifications)
		require.Equal(t, three.Silence, again.Silence)
		again = accept(consent(2, ofb.PartiallyAccepted))
		require.Equal(t, notice.Duplicate, again.Verdict)
		require.Equal(t, two.ChangeID, again.ChangeID)
		require.Len(t, d.notifications, 1)
		require.Len(t, d.woken, 1)
	})
}

func TestAQuarantinedChangeAnswersItsCaseAndAConflictItsReason(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		_, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		backwards := d.change(1, 2, ofb.RCVD)
		a, err := d.in.Accept(t.Context(), backwards, Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Quarantined, a.Verdict)
		require.Equal(t, []string{"illegal-transition /data/status"}, codes(a.Problems))
		require.Equal(t, a.Change.CaseID(), a.QuarantineID)
		again, err := d.in.Accept(t.Context(), backwards, Origin{})
		require.NoError(t, err)
		require.Equal(t, a.QuarantineID, again.QuarantineID, "the same line is the same case")

		a, err = d.in.Accept(t.Context(), d.change(1, 1, ofb.RJCT), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Conflicting, a.Verdict)
		require.Equal(t, "content", a.Why)
		require.Zero(t, a.QuarantineID)
		a, err = d.in.Accept(t.Context(), d.change(1, 2, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict, "neither occupied the revision")
	})
}

func TestALineThatIsNoChangeIsRefusedAtOnceAndHoldsNothing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		var l *LineError
		_, err := d.in.Accept(t.Context(), []byte("{"), Origin{})
		require.ErrorAs(t, err, &l)
		_, err = d.in.Enqueue(t.Context(), []byte("{"), Origin{})
		require.ErrorAs(t, err, &l)
		require.Zero(t, d.in.waiting())
		require.Empty(t, d.batches)
	})
}

func TestTooManyChangesAreRefusedByAcceptAndAwaitedBySubmit(t *testing.T) {
	bubble(t, Config{MaxInFlight: 6, MaxBatch: 1, Workers: 1}, func(t *testing.T, d *desk) {
		d.before = took(100 * time.Millisecond)
		all := d.submit(d.change(1, 1, ofb.ACSC), d.change(2, 1, ofb.ACSC), d.change(3, 1, ofb.ACSC)) // as many as are left
		require.Equal(t, 3, d.in.waiting())
		_, err := d.in.Accept(t.Context(), d.change(4, 1, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, ErrBusy)
		require.Equal(t, 1, d.seen.refused["busy"])

		began := time.Now()
		fourth := d.submit(d.change(4, 1, ofb.ACSC))
		require.Equal(t, 100*time.Millisecond, time.Since(began), "there is room when the first is stored")

		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = d.in.Enqueue(ctx, d.change(5, 1, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, errs := d.wait(append(all, fourth...))
		require.NoError(t, errors.Join(errs...))
	})
}

func TestWhileTheDatabaseIsSlowAcceptRefusesAndSubmitWaits(t *testing.T) {
	var late atomic.Int64
	bubble(t, Config{Behind: func() time.Duration { return time.Duration(late.Load()) }}, func(t *testing.T, d *desk) {
		accept := func(n int) error {
			_, err := d.in.Accept(t.Context(), d.change(n, 1, ofb.ACSC), Origin{})
			return err
		}
		late.Store(int64(notice.FirstWithin / 2))
		require.NoError(t, accept(1), "half the time is left")
		late.Store(int64(notice.FirstWithin/2 + 1))
		require.ErrorIs(t, accept(2), ErrBusy)
		require.Equal(t, map[string]int{"behind": 1}, d.seen.refused)

		began := time.Now()
		time.AfterFunc(time.Second, func() { late.Store(int64(notice.FirstWithin / 6)) })
		_, errs := d.wait(d.submit(d.change(3, 1, ofb.ACSC)))
		require.NoError(t, errs[0])
		require.InDelta(t, time.Second, time.Since(began), float64(slowLook))

		late.Store(int64(notice.FirstWithin))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := d.in.Enqueue(ctx, d.change(4, 1, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, context.DeadlineExceeded)

		d.stop()
		<-d.ended
		_, err = d.in.Enqueue(t.Context(), d.change(5, 1, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, ErrUnavailable, "an intake that has ended keeps nobody waiting")
	})
}

func TestACallerThatGivesUpLeavesItsChangeOnItsWay(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		d.before = took(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		text := d.change(1, 1, ofb.ACSC)
		_, err := d.in.Accept(ctx, text, Origin{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, d.in.waiting())
		a, err := d.in.Accept(t.Context(), text, Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Duplicate, a.Verdict)
		require.Len(t, d.notifications, 1)
	})
}

func TestAPanicInJudgingRefusesThatChangeAlone(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		var poison atomic.Bool
		ids := d.in.cfg.NewID
		d.in.cfg.NewID = func() notice.ID {
			if poison.Swap(false) {
				panic("poison")
			}
			return ids()
		}
		d.before = func(changes []*notice.Change) error {
			for _, c := range changes {
				switch c.ResourceID {
				case "p-000":
					<-time.After(10 * time.Millisecond)
				case "p-002":
					poison.Store(true)
				}
			}
			return nil
		}
		first := d.submit(d.change(0, 1, ofb.ACSC))
		synctest.Wait()
		all := d.submit(d.change(1, 1, ofb.ACSC), d.change(2, 1, ofb.ACSC), d.change(3, 1, ofb.ACSC))
		_, errs := d.wait(append(first, all...))
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		require.ErrorIs(t, errs[2], ErrUnavailable)
		require.ErrorContains(t, errs[2], "panic while judging")
		require.NoError(t, errs[3])
		require.Contains(t, d.logs.String(), "panic while judging")
		require.Contains(t, d.logs.String(), "judge.go", "with its stack")
	})
}

func TestTheLaneIsWokenWhenItsNotificationFallsDue(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, d *desk) {
		at := func(n int, notBefore time.Duration) []byte {
			now := time.Now().UTC()
			return line(t, map[string]any{
				"occurredAt": now.Format(time.RFC3339Nano), "notBefore": now.Add(notBefore).Format(time.RFC3339Nano), "data": document(fmt.Sprintf("p-%d", n), ofb.ACSC),
			})
		}
		now := time.Now()
		for n, notBefore := range []time.Duration{-time.Hour, time.Second, time.Hour} {
			_, err := d.in.Accept(t.Context(), at(n, notBefore), Origin{})
			require.NoError(t, err)
		}
		_, err := d.in.Accept(t.Context(), d.change(9, 1, ofb.RCVD), Origin{})
		require.NoError(t, err)
		require.Len(t, d.woken, 3, "what is silent wakes nobody")
		for i, want := range []time.Duration{0, time.Second, notice.FirstWithin} {
			require.Equal(t, want, d.woken[i].Sub(now))
		}
	})
}

// However the end falls, what was submitted is stored and answered, and what comes after is refused.
func TestRunEndsAfterStoringWhatIsLeft(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		bubble(t, Config{Workers: 1 + random.IntN(3), MaxBatch: 1 + random.IntN(4), MaxInFlight: 1 + random.IntN(12)}, func(t *testing.T, d *desk) {
			d.before = took(time.Duration(random.IntN(4)) * time.Millisecond)
			end := time.Duration(random.IntN(8_000)) * time.Microsecond
			time.AfterFunc(end, d.stop)
			var callers sync.WaitGroup
			for n := range 4 {
				pause := time.Duration(random.IntN(1_500)) * time.Microsecond
				callers.Go(func() {
					for revision := range 10 {
						p, err := d.in.Enqueue(t.Context(), d.change(n%3, revision*4+n+1, ofb.ACSC), Origin{})
						if err != nil {
							require.ErrorIs(t, err, ErrUnavailable)
							return
						}
						a, err := p.Wait(t.Context())
						require.NoError(t, err)
						require.NotEqual(t, notice.Quarantined, a.Verdict)
						<-time.After(pause)
					}
				})
			}
			callers.Wait() // a caller that is never answered is a deadlock, which the bubble reports
			<-d.ended
			_, err := d.in.Accept(t.Context(), d.change(1, 99, ofb.ACSC), Origin{})
			require.ErrorIs(t, err, ErrUnavailable)
			require.Zero(t, d.seen.refused["busy"], "an intake that has ended is not busy")
		})
	}
}

func TestAnEndBeforeTheBeginningStillStoresWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		in := New(Config{Store: m, Schema: anySchema{}, NewID: counter(), MaxBatch: 3})
		d := &desk{memory: m, t: t, in: in}
		var all []*Pending
		for n := range 10 {
			all = append(all, d.submit(d.change(n%4, n+1, ofb.ACSC))...)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		in.Run(ctx)
		_, errs := d.wait(all)
		require.NoError(t, errors.Join(errs...))
		require.Len(t, m.order, 10)
		require.LessOrEqual(t, slices.Max(m.batches), 3)
		_, err := in.Enqueue(t.Context(), d.change(1, 99, ofb.ACSC), Origin{})
		require.ErrorIs(t, err, ErrUnavailable)
	})
}
