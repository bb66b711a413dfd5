package intake

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestWhatGoesToQuarantineForASourceIsItsRecord keeps the case's id with the record: the same record is the same case,
// whatever line a mapping made of it.
func TestWhatGoesToQuarantineForASourceIsItsRecord(t *testing.T) {
	in := New(Config{Store: newMemory(), Schema: anySchema{}, NewID: counter()})
	line := []byte(`{"kind":"pix-payment","clientId":"itp","apiVersion":"v5","revision":7,"occurredAt":"2026-11-21T12:00:00Z","data":{"paymentId":"p1","status":"NEW"}}`)
	record := []byte(`{"record":1}`)
	keep := func() []byte { return record }
	kept, err := in.Read(line, Origin{Source: "core", Keep: keep})
	require.NoError(t, err)
	require.Equal(t, record, kept.Line)
	require.NotEmpty(t, kept.Problems)
	plain, err := in.Read(line, Origin{Source: "core"})
	require.NoError(t, err)
	require.Equal(t, line, plain.Line)
	require.NotEqual(t, plain.CaseID(), kept.CaseID())
	again, err := in.Read(append([]byte(" "), line...), Origin{Source: "core", Keep: keep})
	require.NoError(t, err)
	require.Equal(t, kept.CaseID(), again.CaseID())
}

func TestARejectedRecordWaitsForRoomAndIsQuarantinedInItsTurn(t *testing.T) {
	m := newMemory()
	in := New(Config{Store: m, Schema: anySchema{}, NewID: counter(), MaxInFlight: 1})
	bad := notice.Change{
		Kind: ofb.PixPayment, ResourceID: "p1", Revision: 3, Source: "core", Line: []byte("{}"),
		Problems: []notice.Problem{{Code: "mapping", Detail: "no id"}},
	}
	first, err := in.Reject(t.Context(), bad)
	require.NoError(t, err)
	full, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = in.Reject(full, bad)
	require.ErrorIs(t, err, context.DeadlineExceeded, "there is no room until the first is stored")

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { in.Run(ctx); close(ended) }()
	second, err := in.Reject(t.Context(), bad)
	require.NoError(t, err)
	for _, p := range []*Pending{first, second} {
		a, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, notice.Quarantined, a.Verdict)
		require.Equal(t, bad.Problems, a.Problems)
	}
	stop()
	<-ended
	_, err = in.Reject(t.Context(), bad)
	require.ErrorIs(t, err, ErrUnavailable)
	require.Equal(t, []notice.Verdict{notice.Quarantined, notice.Quarantined}, m.verdicts)
	bad.Problems = nil
	_, err = in.Reject(t.Context(), bad)
	require.Error(t, err)
}
