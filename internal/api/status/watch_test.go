package status_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/notice"
)

// counted is a feed that counts what it is asked; grown is the transaction that announces something to everybody, 0: none.
type counted struct {
	reads, looks atomic.Int64
	grown        atomic.Int64
	away         atomic.Bool
}

type awayError struct{}

func (awayError) Error() string   { return "the database is away" }
func (awayError) Transient() bool { return true }

func (c *counted) Feed(_ context.Context, q history.FeedQuery) (history.FeedPage, error) {
	c.reads.Add(1)
	page := history.FeedPage{Next: q.After, Through: 100 + c.grown.Load()}
	if c.grown.Load() > 0 {
		page.Records = []history.Record{{Notification: notice.Notification{ID: notice.ID(uuid.New()), Kind: 2}}}
	}
	return page, nil
}

func (c *counted) FeedNews(context.Context, int64) (history.FeedNews, error) {
	c.looks.Add(1)
	if c.away.Load() {
		return history.FeedNews{}, awayError{}
	}
	news := history.FeedNews{Through: 100 + c.grown.Load()}
	if c.grown.Load() > 0 {
		news.Announced = []notice.ClientID{clientAlfa}
	}
	return news, nil
}

func (*counted) CursorKey(context.Context) ([]byte, error) { return make([]byte, 32), nil }

// waiters puts n long polls at once and returns the number of answers by status, when the last has come.
func waiters(public *status.Public, state *tls.ConnectionState, n int, target string) map[int]int {
	out := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			w, _ := try(public, state, http.MethodGet, target, http.Header{"Authorization": {"Bearer good"}, "X-Fapi-Interaction-Id": {uuid.NewString()}})
			mu.Lock()
			defer mu.Unlock()
			out[w.Code]++
		})
	}
	all.Wait()
	return out
}

// waitingRoom is a listener before a counted feed, with room for as many long polls.
func waitingRoom(t *testing.T, room int) (*status.Public, *counted, *tls.ConnectionState) {
	t.Helper()
	feed := &counted{}
	t.Cleanup(func() { time.Sleep(time.Second) }) // virtual: the watch sees that nobody waits, and ends
	public, state := rebuilt(t, func(c *status.PublicConfig, _ *stub) {
		c.Limits.Waiting, c.Limits.ClientWaiting = room, room
		c.Limits.InFlight, c.Limits.ClientInFlight, c.Limits.ClientConnections = 1<<20, 1<<20, 1<<20
		c.Extension = &status.Extension{Feed: feed}
	})
	return public, feed, state
}

// TestIdleLongPollsCostTheDatabaseOneLookARoundHoweverManyThereAre counts statements in virtual time.
func TestIdleLongPollsCostTheDatabaseOneLookARoundHoweverManyThereAre(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, feed, state := waitingRoom(t, 2000)
		require.Equal(t, map[int]int{http.StatusNoContent: 1000}, waiters(public, state, 1000, events+"?wait=30"))
		require.LessOrEqual(t, feed.looks.Load(), int64(101), "one look each 300 ms in 30 s")
		require.GreaterOrEqual(t, feed.looks.Load(), int64(99))
		require.LessOrEqual(t, feed.reads.Load(), int64(1000))

		time.Sleep(time.Second) // virtual: the watch sees that nobody waits
		looks := feed.looks.Load()
		time.Sleep(time.Hour)
		require.Equal(t, looks, feed.looks.Load(), "while nobody waits nothing is asked")

		first, again := make(chan map[int]int), make(chan map[int]int)
		go func() { first <- waiters(public, state, 1, events+"?wait=30") }()
		time.Sleep(10 * time.Second)
		reads := feed.reads.Load()
		go func() { again <- waiters(public, state, 1000, events+"?wait=10") }()
		require.Equal(t, map[int]int{http.StatusNoContent: 1000}, <-again)
		require.Equal(t, reads, feed.reads.Load(), "nothing was read: it was known that nothing follows")
		<-first
	})
}

func TestEveryWaiterOfAFeedThatHasGrownIsAnswered(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, feed, state := waitingRoom(t, 100)
		answers := make(chan map[int]int)
		began := time.Now()
		go func() { answers <- waiters(public, state, 50, events+"?wait=30") }()
		time.Sleep(5 * time.Second)
		feed.grown.Store(1)
		require.Equal(t, map[int]int{http.StatusOK: 50}, <-answers)
		require.LessOrEqual(t, time.Since(began), 5*time.Second+300*time.Millisecond)
	})
}

func TestLongPollsBeyondTheirLimitAreShedAndHoldUpNobody(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, _, state := waitingRoom(t, 10)
		answers := make(chan map[int]int)
		go func() { answers <- waiters(public, state, 15, events+"?wait=30") }()
		synctest.Wait()
		w, _ := try(public, state, http.MethodGet, anyPayment, http.Header{"Authorization": {"Bearer good"}, "X-Fapi-Interaction-Id": {uuid.NewString()}})
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, map[int]int{http.StatusNoContent: 10, 529: 5}, <-answers)
	})
}

func TestALongPollDoesNotSayThatThereIsNothingWhileTheDatabaseIsAway(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, feed, state := waitingRoom(t, 10)
		feed.away.Store(true)
		require.Equal(t, map[int]int{http.StatusServiceUnavailable: 3}, waiters(public, state, 3, events+"?wait=5"))
	})
}

func TestLongPollsEndWhenTheServerShutsDown(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, _, state := waitingRoom(t, 10)
		server := public.Server(&tls.Config{MinVersion: tls.VersionTLS12})
		answers := make(chan map[int]int)
		began := time.Now()
		go func() { answers <- waiters(public, state, 5, events+"?wait=30") }()
		synctest.Wait()
		require.NoError(t, server.Shutdown(t.Context()))
		require.Equal(t, map[int]int{http.StatusNoContent: 5}, <-answers)
		require.Zero(t, time.Since(began))
	})
}

func TestALongPollEndsWithItsCaller(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, _, state := waitingRoom(t, 10)
		ctx, leave := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, events+"?wait=30", nil)
		r.TLS, r.RequestURI = state, events+"?wait=30"
		r.Header = http.Header{"Authorization": {"Bearer good"}, "X-Fapi-Interaction-Id": {uuid.NewString()}}
		ended := make(chan struct{})
		began := time.Now()
		go func() { public.ServeHTTP(httptest.NewRecorder(), r); close(ended) }()
		synctest.Wait()
		leave()
		<-ended
		require.Zero(t, time.Since(began))
	})
}
