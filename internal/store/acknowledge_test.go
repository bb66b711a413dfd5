package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/figures"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// TestAcknowledgementsAreKeptOnceAndByTheirOwnerAlone: also when the same is said by many at once.
func TestAcknowledgementsAreKeptOnceAndByTheirOwnerAlone(t *testing.T) {
	f := newFigured(t)
	f.register("itp", "https://itp.example/hook")
	f.register("other", "https://other.example/hook")
	f.accept(payment("itp", "p1", 1, "ACSC"))
	f.accept(payment("itp", "p2", 1, "ACSC"))
	f.accept(payment("other", "p3", 1, "ACSC"))
	f.settle(notice.OutcomeDelivered, f.claim("itp", 10, 0)...)
	f.settle(notice.OutcomeDelivered, f.claim("other", 10, 0)...)
	p1, p2, p3 := f.notificationOf("p1"), f.notificationOf("p2"), f.notificationOf("p3")
	ctx := context.WithValue(t.Context(), history.ActorKey{}, history.Actor{Subject: "itp", Role: "initiator", Source: "192.0.2.1:1"})
	said := []history.Acknowledgement{
		{Notification: p1, Outcome: history.AckProcessed},
		{Notification: p2, Outcome: history.AckRefused, Code: "unknown-payment", Description: "not ours"},
		{Notification: p3, Outcome: history.AckProcessed},
		{Notification: store.NewID(), Outcome: history.AckProcessed},
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	recorded := 0
	for range 8 {
		all.Go(func() {
			got, err := f.log.Acknowledge(ctx, "itp", said)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(got) != len(said) || got[2] != history.AckUnknown || got[3] != history.AckUnknown || got[0] != got[1] {
				t.Error(got, err)
				return
			}
			if got[0] == history.AckRecorded {
				recorded++
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, recorded, "one of them was the first")
	require.Equal(t, 1, f.entries(history.FactAcknowledged, "p1"))
	require.Equal(t, 1, f.entries(history.FactAcknowledged, "p2"))
	require.Zero(t, f.entries(history.FactAcknowledged, "p3"))
	changed, err := f.log.Acknowledge(ctx, "itp", []history.Acknowledgement{{Notification: p1, Outcome: history.AckRefused, Code: "late"}})
	require.NoError(t, err)
	require.Equal(t, []history.AckResult{history.AckRecorded}, changed, "a second thought is another entry")
	for _, one := range []struct {
		says string
		want history.AckResult
	}{
		{"late", history.AckKnown}, {"gone", history.AckRecorded}, {"", history.AckRecorded}, {"", history.AckKnown}, {"gone", history.AckRecorded},
	} {
		ack := history.Acknowledgement{Notification: p1, Outcome: history.AckProcessed}
		if one.says != "" {
			ack.Outcome, ack.Code = history.AckRefused, one.says
		}
		got, err := f.log.Acknowledge(ctx, "itp", []history.Acknowledgement{ack})
		require.NoError(t, err)
		require.Equal(t, []history.AckResult{one.want}, got, "%+v", one)
	}
	last := one[string](f.bench, "SELECT facts::text FROM entry WHERE kind = $1 AND resource_id = 'p1' ORDER BY xid DESC LIMIT 1", history.FactAcknowledged)
	require.Contains(t, last, `"code":"gone"`, "the last word is the newest entry")

	require.Equal(t, notice.Delivered, f.record(p1).State, "it changes nothing else")
	require.Len(t, f.record(p1).Attempts, 1)
	timeline, err := f.log.Timeline(ctx, notice.Key{Kind: ofb.PixPayment, ID: "p1"})
	require.NoError(t, err)
	require.Zero(t, timeline.Integrity.FailedCount)
	f.seal()
	f.fold()
	s, _ := f.read("itp")
	require.Equal(t, figures.Tally{history.AckProcessed: 2, history.AckRefused: 4}, s.Acks, "each entry counts: what was said, not notifications")
	s, _ = f.read("other")
	require.Empty(t, s.Acks)
	require.Zero(t, f.rebuild().Differ)
}
