package webhook

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestAClaimWithoutRoomForAnAttemptIsNotSent(t *testing.T) {
	i, s := newInitiator(t), newSender(t) // timeout 10 s, lease 20 s
	a := newAttempt(i.BaseURI(""))
	a.ClaimedAt = time.Now().Add(-10*time.Second - time.Millisecond)
	_, err := s.Send(t.Context(), a)
	require.ErrorIs(t, err, ErrLease)
	require.Zero(t, i.Connections())

	a.ClaimedAt = time.Now().Add(-9 * time.Second)
	r, err := s.Send(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, notice.OutcomeDelivered, r.Outcome)
}

// prepared is an attempt that is about to begin, and its endpoint.
func prepared(t *testing.T, s *Sender, uri string) (*endpoint, *attempt) {
	t.Helper()
	base, err := parseBase(uri)
	require.NoError(t, err)
	e, err := s.endpoint("client-alfa", base, time.Now())
	require.NoError(t, err)
	a, err := s.newAttempt(newAttempt(uri))
	require.NoError(t, err)
	return e, a
}

// A replica may be stopped at any point between the claim and the write. Only the check at the write itself sees all
// of it, so it is tested with an attempt whose lease is over while everything above still believes in it.
func TestAReplicaThatWakesAfterItsLeaseSendsNothing(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	for _, warm := range []bool{false, true} {
		if warm {
			send(t, s, i.BaseURI(""))
		}
		before := len(i.Requests())
		e, a := prepared(t, s, i.BaseURI(""))
		a.leaseEnd = a.start.Add(-time.Millisecond)
		_, err := s.exchange(t.Context(), e, a)
		require.ErrorIs(t, err, ErrLease)
		require.Len(t, i.Requests(), before)
	}
}

func TestAnAttemptPastItsDeadlineWritesNothing(t *testing.T) {
	now := time.Now()
	a := &attempt{start: now, deadline: now.Add(10 * time.Second), leaseEnd: now.Add(20 * time.Second)}
	require.NoError(t, a.mayWrite(now))
	require.NoError(t, a.mayWrite(now.Add(10*time.Second-1)))
	require.Error(t, a.mayWrite(now.Add(10*time.Second)))
	require.NotErrorIs(t, a.mayWrite(now.Add(10*time.Second)), ErrLease)
	require.ErrorIs(t, a.mayWrite(now.Add(20*time.Second)), ErrLease)
}

// TestAPanicInAnExchangeForgetsTheContext: its end would find a connection that may be another attempt's by then.
func TestAPanicInAnExchangeForgetsTheContext(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	e, a := prepared(t, s, i.BaseURI(""))
	require.PanicsWithValue(t, "asked for its end", func() { _, _ = s.exchange(panicking{t.Context()}, e, a) })
	require.NotNil(t, a.exchange.release)
	require.False(t, a.exchange.release(), "it was released before")
}

// panicking is a context that panics when it is asked for its end, which an exchange does once it waits for that.
type panicking struct{ context.Context }

func (panicking) Err() error { panic("asked for its end") }
