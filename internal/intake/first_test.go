package intake

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// slots is a Slots with a number of free ones.
type slots struct {
	free, taken, released int
	soon                  bool
	started               []notice.Attempt
}

func (s *slots) Reserve(notice.ClientID) (time.Duration, bool) {
	if s.free == 0 {
		return 0, s.soon
	}
	s.free--
	s.taken++
	return 20 * time.Second, false
}

func (s *slots) Release(notice.ClientID) { s.free++; s.released++ }

func (s *slots) Start(attempts []notice.Attempt) { s.started = append(s.started, attempts...) }

func TestAFirstAttemptIsRecordedInTheCommitOfItsChangeAndLeavesAfterIt(t *testing.T) {
	s := &slots{free: 1}
	bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
		d.after = func([]*notice.Change) error {
			require.Empty(t, s.started, "sent before the commit was confirmed")
			return nil
		}
		began := time.Now()
		a, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Len(t, s.started, 1)
		first, told := s.started[0], d.notifications[0]
		require.Equal(t, told.First, &first)
		require.Equal(t, 20*time.Second, told.Lease)
		require.Equal(t, notice.Attempt{
			Notification: a.Notifications[0], Token: first.Token, Interaction: first.Interaction, Flight: first.Flight, Client: told.Client, Kind: told.Kind,
			ResourceID: told.ResourceID, APIVersion: told.APIVersion, Event: told.Event, EventAt: told.EventAt, Number: 1,
			BaseURI: "https://itp.example", ScheduledAt: began, StartedAt: began, ClaimedAt: began,
		}, first)
		require.Negative(t, bytes.Compare(a.ChangeID[:], first.Token[:]), "the log tells the change first")
		require.NotEqual(t, first.Token, first.Interaction)
		require.NotZero(t, first.Flight)
		require.Equal(t, []byte{0x40, 0x80}, []byte{first.Interaction[6] & 0xf0, first.Interaction[8] & 0xc0}, "UUID v4")
		require.Empty(t, d.woken, "nothing waits for a claim")

		d.after = nil
		_, err = d.in.Accept(t.Context(), d.change(2, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Len(t, s.started, 1, "no slot is free")
		require.Nil(t, d.notifications[1].First)
		require.Len(t, d.woken, 1)
	})
}

func TestASlotIsReservedOnlyForWhatLeavesAtOnce(t *testing.T) {
	s := &slots{free: 10}
	bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
		later := line(t, map[string]any{
			"revision": 1, "occurredAt": time.Now().UTC().Format(time.RFC3339Nano), "notBefore": time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano),
			"data": document("p-001", ofb.ACSC),
		})
		for i, l := range [][]byte{later, d.change(2, 1, ofb.Status("NONE")), d.change(3, 1, ofb.RCVD)} {
			_, err := d.in.Accept(t.Context(), l, Origin{})
			require.NoError(t, err)
			require.Equal(t, i/2, s.taken, "whether the last one is announced shows only when it is judged")
		}
		require.Equal(t, 1, s.released)
		require.Empty(t, s.started)
	})
}

// TestTheEntryOfAChangeIsItsFirstAttemptsUnlessThatIsLate: then the attempt has the change's id, also when the answer to the commit is lost.
func TestTheEntryOfAChangeIsItsFirstAttemptsUnlessThatIsLate(t *testing.T) {
	s := &slots{free: 3}
	bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
		d.dense = true
		lost := false
		d.after = func([]*notice.Change) error {
			if lost {
				return nil
			}
			lost = true
			return away{}
		}
		onTime, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.True(t, lost)
		require.Len(t, s.started, 1)
		require.Equal(t, onTime.ChangeID, s.started[0].Token)
		late, err := d.in.Accept(t.Context(), line(t, map[string]any{
			"revision": 1, "occurredAt": time.Now().Add(-notice.FirstWithin - time.Second).UTC().Format(time.RFC3339Nano), "data": document("p-002", ofb.ACSC),
		}), Origin{})
		require.NoError(t, err)
		require.Len(t, s.started, 2)
		require.True(t, s.started[1].Late)
		require.Negative(t, bytes.Compare(late.ChangeID[:], s.started[1].Token[:]), "an entry of its own, which the log tells after the change")
	})
}

// TestAChangeWaitsAMomentForASlotAndHoldsUpNobody: with a slot soon it waits for at most slotWithin; others pass it.
func TestAChangeWaitsAMomentForASlotAndHoldsUpNobody(t *testing.T) {
	s := &slots{soon: true}
	bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
		began := time.Now()
		waits := d.submit(d.change(1, 1, ofb.ACSC), d.change(2, 1, ofb.ACSC))
		loaded := line(t, map[string]any{
			"revision": 1, "occurredAt": time.Now().UTC().Format(time.RFC3339Nano), "cause": "first-load", "data": document("p-003", ofb.ACSC),
		})
		_, err := d.in.Accept(t.Context(), loaded, Origin{})
		require.NoError(t, err)
		require.Equal(t, began, time.Now(), "it needs no slot")

		time.Sleep(slotWithin / 2)
		d.in.mu.Lock()
		s.free = 1
		d.in.mu.Unlock()
		_, err = waits[0].Wait(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), slotWithin/2+slotEvery)
		require.Len(t, s.started, 1)

		_, err = waits[1].Wait(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), slotWithin+slotEvery)
		require.Len(t, s.started, 1, "it is stored without an attempt")
		require.Nil(t, d.notifications[1].First)
	})
}

// TestACommitWhoseAnswerWasLostIsSentOnce covers the three ends of a commit without an answer: it was done and the next try
// finds it; it was not done; and the database stays away.
func TestACommitWhoseAnswerWasLostIsSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		lose          func(*desk)
		sent, slots   int
		notifications int
	}{
		"done": {func(d *desk) {
			lost := false
			d.after = func([]*notice.Change) error {
				if lost {
					return nil
				}
				lost = true
				return away{}
			}
		}, 1, 0, 1},
		"not done": {func(d *desk) {
			lost := false
			d.before = func([]*notice.Change) error {
				if lost {
					return nil
				}
				lost = true
				return away{}
			}
		}, 1, 0, 1},
		"done, and away from then on": {func(d *desk) { d.after = func([]*notice.Change) error { return away{} } }, 0, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slots{free: 1}
			bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
				c.lose(d)
				_, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
				require.Equal(t, c.sent == 0, err != nil)
				require.Len(t, s.started, c.sent)
				require.Equal(t, c.slots, s.free)
				require.Len(t, d.notifications, c.notifications)
				first := d.notifications[0].First
				if c.sent == 1 {
					require.Equal(t, *first, s.started[0], "what is sent is what was recorded")
					return
				}
				require.NotNil(t, first, "its lease runs out, and a rescue finds it")
			})
		})
	}
}

// tardy is a store whose answers to the first two tries are lost. It commits the first one when it has judged the second.
type tardy struct {
	*memory
	tries  int
	commit func()
}

func (s *tardy) Record(ctx context.Context, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error {
	if s.tries++; s.tries > 2 {
		return s.memory.Record(ctx, changes, judge)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pasts := []notice.Past{s.past(changes[0])}
	decisions := judge(pasts)
	if s.tries == 1 {
		s.commit = func() { s.write(changes[0], &pasts[0], &decisions[0]) }
	} else {
		s.commit()
	}
	return away{}
}

// TestWhatIsSentIsWhatTheTryRecordedThatWasCommitted: it is not the last one that was judged.
func TestWhatIsSentIsWhatTheTryRecordedThatWasCommitted(t *testing.T) {
	s := &slots{free: 1}
	bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
		d.in.cfg.Store = &tardy{memory: d.memory}
		began := time.Now()
		a, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Equal(t, notice.Applied, a.Verdict)
		require.Len(t, d.notifications, 1)
		require.Equal(t, []notice.Attempt{*d.notifications[0].First}, s.started)
		require.Equal(t, began, s.started[0].StartedAt, "of the first try")
		require.Greater(t, time.Since(began), 50*time.Millisecond, "there were three")
	})
}

// later is a store whose connections are busy for a second.
type later struct{ *memory }

func (s later) Record(_ context.Context, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error {
	<-time.After(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.past(changes[0])
	past.Asked = time.Now()
	decisions := judge([]notice.Past{past})
	s.write(changes[0], &past, &decisions[0])
	return nil
}

// TestAFirstAttemptBeginsWithItsTransaction and not with its slot: what its result tells of the way to its sending is added to the
// instant of that transaction. Its lease is as old as the slot at most.
func TestAFirstAttemptBeginsWithItsTransaction(t *testing.T) {
	s := &slots{free: 1}
	bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
		d.in.cfg.Store = later{d.memory}
		_, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Len(t, s.started, 1)
		require.Equal(t, s.started[0].StartedAt, s.started[0].BeganAt)
		require.Zero(t, time.Since(s.started[0].BeganAt))
		require.Equal(t, time.Second, time.Since(s.started[0].ClaimedAt))
	})
}

func TestASlotIsGivenBackWhenTheNextTryAnnouncesNothing(t *testing.T) {
	s := &slots{free: 1}
	bubble(t, Config{Slots: s}, func(t *testing.T, d *desk) {
		tries := 0
		d.fails = func([]*notice.Change) error { // after judging, and before anything is stored
			if tries++; tries == 1 {
				d.push = false // the registration ends before the next try
				return away{}
			}
			return nil
		}
		a, err := d.in.Accept(t.Context(), d.change(1, 1, ofb.ACSC), Origin{})
		require.NoError(t, err)
		require.Equal(t, ofb.NoWebhook, a.Silence)
		require.Equal(t, slots{free: 1, taken: 1, released: 1}, *s)
	})
}
