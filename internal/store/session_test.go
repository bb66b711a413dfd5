package store_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/history"
)

// TestASessionKeepsThePersonAndEndsAtEveryReplica: the names are those under which a person may have asked for an act.
func TestASessionKeepsThePersonAndEndsAtEveryReplica(t *testing.T) {
	b := newBench(t)
	other := replicaOf(t, b.url)
	ana := history.Person{Subject: "8f2c", Name: "Ana Lima", Roles: []string{"operator"}, Also: []string{"ana.lima", "ana@bank.example"}}
	require.NoError(t, b.store.OpenSession(t.Context(), "token", ana, nil))
	found, due, err := other.store.Session(t.Context(), "token", true)
	require.NoError(t, err)
	require.Equal(t, ana, found)
	require.False(t, due)
	require.True(t, found.Is("Ana.Lima"))
	require.False(t, found.Is("Ana Lima"), "the name for pages identifies nobody")
	require.Zero(t, one[int](b, "SELECT count(*)::int FROM console_session WHERE encode(token_sha256, 'escape') LIKE '%token%'"))

	require.NoError(t, b.store.OpenSession(t.Context(), "other", history.Person{Subject: "bia", Name: "Bia", Roles: []string{"auditor"}}, nil))
	renewal, err := b.store.EndSession(t.Context(), "token")
	require.NoError(t, err)
	require.Nil(t, renewal, "nothing renewed it")
	_, _, err = other.store.Session(t.Context(), "token", true)
	require.True(t, failure.NotFound(err), err)
	_, _, err = other.store.Session(t.Context(), "other", false)
	require.NoError(t, err, "a session of another token goes on")
}

// TestASessionIsRenewedOnceAMinute: by one request, however many come at once, also at two replicas.
func TestASessionIsRenewedOnceAMinute(t *testing.T) {
	b := newBench(t)
	other := replicaOf(t, b.url)
	ana := history.Person{Subject: "8f2c", Name: "Ana Lima", Roles: []string{"operator", "auditor"}}
	require.NoError(t, b.store.OpenSession(t.Context(), "token", ana, []byte("first")))
	require.NoError(t, b.store.OpenSession(t.Context(), "by link", ana, nil))
	takes := func() (taken []string) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 8 {
			w := b.world
			if i%2 == 1 {
				w = other
			}
			all.Go(func() {
				for _, token := range []string{"token", "by link", "nobody's"} {
					renewal, err := w.store.TakeRenewal(t.Context(), token)
					if err != nil {
						t.Error(err)
					}
					if renewal != nil {
						mu.Lock()
						taken = append(taken, string(renewal))
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		return taken
	}
	require.Empty(t, takes(), "it has just been opened")
	const aMinute = "UPDATE console_session SET asked_at = asked_at - interval '1 minute'"
	b.do(aMinute)
	require.Equal(t, []string{"first"}, takes())
	kept, err := other.store.RenewSession(t.Context(), "token", []string{"auditor"}, []byte("second"))
	require.NoError(t, err)
	require.True(t, kept)
	require.Empty(t, takes())
	b.do(aMinute)
	require.Equal(t, []string{"second"}, takes())
	found, due, err := b.store.Session(t.Context(), "token", true)
	require.NoError(t, err)
	require.Equal(t, []string{"auditor"}, found.Roles)
	require.False(t, due)
	b.do(aMinute)
	_, due, err = b.store.Session(t.Context(), "token", false)
	require.NoError(t, err)
	require.True(t, due)
	renewal, err := other.store.EndSession(t.Context(), "token")
	require.NoError(t, err)
	require.Equal(t, "second", string(renewal), "who ends the session can revoke it")
	kept, err = b.store.RenewSession(t.Context(), "token", []string{"auditor"}, []byte("third"))
	require.NoError(t, err)
	require.False(t, kept, "nobody keeps a token renewed after the end")
	renewal, err = b.store.EndSession(t.Context(), "token")
	require.NoError(t, err)
	require.Nil(t, renewal)
}

// TestALinkOpensOneSessionHoweverManyTakeItAtOnce: also at two replicas.
func TestALinkOpensOneSessionHoweverManyTakeItAtOnce(t *testing.T) {
	b := newBench(t)
	other := replicaOf(t, b.url)
	require.NoError(t, b.store.OfferLink(t.Context(), "secret", time.Minute))
	require.NoError(t, b.store.OfferLink(t.Context(), "late", -time.Second))
	var taken, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		w := b.world
		if i%2 == 1 {
			w = other
		}
		all.Go(func() {
			switch err := w.store.TakeLink(t.Context(), "secret"); {
			case err == nil:
				taken.Add(1)
			case failure.NotFound(err):
				refused.Add(1)
			}
		})
	}
	all.Wait()
	require.Equal(t, []int64{1, 7}, []int64{taken.Load(), refused.Load()})
	require.True(t, failure.NotFound(b.store.TakeLink(t.Context(), "late")))
}
