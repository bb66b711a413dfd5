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
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/notice"
)

// counted is a feed that counts what it is asked; grown is the transaction that announces something to everybody, 0: none.
type counted struct {
	reads, looks atomic.Int64
	grown        atomic.Int64
	away         atomic.Bool
	back         atomic.Bool // to an earlier transaction
	full         bool        // each page is, with nothing that may be shown

	registered atomic.Int64 // the transaction that changes the registration, 0: none
}

func (c *counted) through() int64 {
	if c.back.Load() {
		return 50 + c.grown.Load()
	}
	return 100 + c.grown.Load() + c.registered.Load()
}

type awayError struct{}

func (awayError) Error() string   { return "the database is away" }
func (awayError) Transient() bool { return true }

func (c *counted) Feed(_ context.Context, q history.FeedQuery) (history.FeedPage, error) {
	c.reads.Add(1)
	page := history.FeedPage{Next: q.After, Through: c.through()}
	if c.full {
		page.Next.XID++
		page.More = true
	}
	if c.grown.Load() > 0 {
		page.Records = []history.Record{{Notification: notice.Notification{ID: notice.ID(uuid.New()), Kind: 2}}}
	}
	return page, nil
}

func (c *counted) FeedNews(_ context.Context, from int64) (history.FeedNews, error) {
	c.looks.Add(1)
	if c.away.Load() {
		return history.FeedNews{}, awayError{}
	}
	news := history.FeedNews{Through: c.through()}
	if c.grown.Load() > 0 {
		news.Announced = []notice.ClientID{clientAlfa}
	}
	if news.Through > from && c.registered.Load() > 0 {
		news.Registered = []notice.ClientID{clientAlfa}
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

// TestLongPollsGoOnWhenTheDatabaseWasRestored: it counts transactions from an earlier one again.
func TestLongPollsGoOnWhenTheDatabaseWasRestored(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, feed, state := waitingRoom(t, 100)
		answers := make(chan map[int]int)
		go func() { answers <- waiters(public, state, 2, events+"?wait=30") }()
		time.Sleep(5 * time.Second) // virtual
		feed.back.Store(true)
		time.Sleep(time.Second)
		reads := feed.reads.Load()
		time.Sleep(5 * time.Second)
		require.Equal(t, reads, feed.reads.Load(), "they were read once more, and wait")
		feed.grown.Store(1)
		require.Equal(t, map[int]int{http.StatusOK: 2}, <-answers)
	})
}

// TestAFullPageOfWhichNothingMayBeShownIsAnsweredWithItsCursor: the caller would never come past it.
func TestAFullPageOfWhichNothingMayBeShownIsAnsweredWithItsCursor(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, feed, state := waitingRoom(t, 10)
		feed.full = true
		began := time.Now()
		require.Equal(t, map[int]int{http.StatusOK: 1}, waiters(public, state, 1, events+"?wait=30&limit=1"))
		require.Less(t, time.Since(began), time.Second)
	})
}

// leaver is a client that is registered until it is not, with a token that ends.
type leaver struct {
	*stub
	gone atomic.Bool
	ends time.Time
}

func (l *leaver) Read(ctx context.Context, q notice.Question) (notice.PollReading, error) {
	if l.gone.Load() {
		return notice.PollReading{}, nil
	}
	return l.stub.Read(ctx, q)
}

func (l *leaver) Verify(ctx context.Context, token string) (jws.AccessToken, error) {
	t, err := l.stub.Verify(ctx, token)
	t.ExpiresAt = l.ends
	return t, err
}

// TestAfterItsWaitALongPollIsJudgedAgain: a client that was removed, and a token that has ended, are told nothing.
func TestAfterItsWaitALongPollIsJudgedAgain(t *testing.T) {
	mtlstest.PKI(t)
	for name, c := range map[string]struct {
		ends time.Duration
		gone bool
		want int
	}{"as before": {time.Minute, false, http.StatusOK}, "removed": {time.Minute, true, http.StatusUnauthorized}, "ended": {4 * time.Second, false, http.StatusUnauthorized}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := &counted{}
				var l *leaver
				public, state := rebuilt(t, func(cfg *status.PublicConfig, s *stub) {
					l = &leaver{stub: s, ends: time.Now().Add(c.ends)}
					cfg.Resources, cfg.Tokens, cfg.Extension = l, l, &status.Extension{Feed: feed}
				})
				answers := make(chan map[int]int)
				go func() { answers <- waiters(public, state, 1, events+"?wait=30") }()
				time.Sleep(5 * time.Second) // virtual
				l.gone.Store(c.gone)
				feed.grown.Store(1)
				require.Equal(t, map[int]int{c.want: 1}, <-answers)
				time.Sleep(time.Second) // virtual: the watch sees that nobody waits, and ends
			})
		})
	}
}

// asked keeps the records and counts what is read of the caller, who is registered until it is not.
type asked struct {
	*kept
	reads atomic.Int64
	gone  atomic.Bool
	found atomic.Pointer[func()] // called between a read and its answer; nil: nothing
}

func (a *asked) Read(ctx context.Context, q notice.Question) (notice.PollReading, error) {
	a.reads.Add(1)
	if a.gone.Load() {
		return notice.PollReading{}, nil
	}
	reading, err := a.kept.Read(ctx, q)
	if found := a.found.Load(); found != nil {
		(*found)()
	}
	return reading, err
}

// patient is a listener before a counted feed, of which it keeps the records and counts the reads of the caller. With a neighbour somebody
// waits for another feed all the time.
func patient(t *testing.T, neighbour bool) (*status.Public, *counted, *asked, *tls.ConnectionState) {
	t.Helper()
	feed := &counted{}
	var a *asked
	public, state := rebuilt(t, func(c *status.PublicConfig, s *stub) {
		a = &asked{kept: &kept{stub: s}}
		c.Polls, c.Resources, c.Extension = a, a, &status.Extension{Feed: feed}
	})
	time.Sleep(100 * time.Millisecond) // virtual: looks and ends of waits come at different instants
	var leave atomic.Bool
	var all sync.WaitGroup
	if neighbour {
		all.Go(func() {
			for !leave.Load() && waiters(public, state, 1, events+"?wait=8&missed=true")[http.StatusNoContent] == 1 {
			}
		})
		time.Sleep(10 * time.Second) // virtual
	}
	t.Cleanup(func() {
		leave.Store(true)
		all.Wait()
		time.Sleep(time.Second) // virtual: the watch sees that nobody waits, and ends
	})
	return public, feed, a, state
}

// TestAClientThatComesBackIsNeitherReadNorRecordedEachTime: its record of each minute has the number of its long polls.
func TestAClientThatComesBackIsNeitherReadNorRecordedEachTime(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, feed, a, state := patient(t, false)
		ctx, stop := context.WithCancel(t.Context())
		var recorder sync.WaitGroup
		recorder.Go(func() {
			ticker := time.NewTicker(10 * time.Second)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
					assert.NoError(t, public.RecordRefused(ctx, false))
				case <-ctx.Done():
					return
				}
			}
		})
		for range 20 {
			began := time.Now()
			require.Equal(t, map[int]int{http.StatusNoContent: 1}, waiters(public, state, 1, events+"?wait=30"))
			require.LessOrEqual(t, time.Since(began), 30*time.Second)
			require.Greater(t, time.Since(began), 30*time.Second-300*time.Millisecond)
		}
		stop()
		recorder.Wait()
		require.NoError(t, public.RecordRefused(t.Context(), true))
		require.LessOrEqual(t, a.reads.Load(), int64(2), "the first poll began the watch, the second was read for it")
		require.Equal(t, int64(1), feed.reads.Load())
		records, stood := a.of(state)
		require.Equal(t, int64(20), stood)
		require.LessOrEqual(t, records, int64(11), "the first, and one for each of ten minutes")
		require.GreaterOrEqual(t, records, int64(9))
	})
}

// TestWaitsEndTogether: a thousand long polls do not wake the process a thousand times.
func TestWaitsEndTogether(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, _, state := waitingRoom(t, 2000)
		time.Sleep(100 * time.Millisecond) // virtual
		began := time.Now()
		var mu sync.Mutex
		var all sync.WaitGroup
		ends := map[time.Duration]int{}
		for n := range 1000 {
			all.Go(func() {
				time.Sleep(time.Duration(n) * 3 * time.Millisecond) // virtual
				at := time.Now()
				waiters(public, state, 1, events+"?wait=30")
				assert.LessOrEqual(t, time.Since(at), 30*time.Second)
				assert.Greater(t, time.Since(at), 30*time.Second-300*time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				ends[time.Since(began)]++
			})
		}
		all.Wait()
		require.LessOrEqual(t, len(ends), 11, "%v", ends)
		began = time.Now()
		waiters(public, state, 1, events+"?wait=1")
		require.Equal(t, time.Second, time.Since(began), "a short wait is not shortened")
	})
}

// TestAChangeOfARegistrationIsSeenByTheNextLook: what is remembered of a caller ends with it.
func TestAChangeOfARegistrationIsSeenByTheNextLook(t *testing.T) {
	mtlstest.PKI(t)
	for name, while := range map[string]bool{"between two polls": false, "while it is read": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				public, feed, a, state := patient(t, true)
				change := func() {
					a.gone.Store(true)
					feed.registered.Add(1)
					time.Sleep(time.Second) // virtual: a look
				}
				if while {
					feed.registered.Add(1)
					time.Sleep(time.Second) // virtual: a look, after which the caller must be read again
					a.found.Store(&change)
				}
				require.Equal(t, map[int]int{http.StatusNoContent: 1}, waiters(public, state, 1, events+"?wait=5"))
				if !while {
					reads := a.reads.Load()
					require.Equal(t, map[int]int{http.StatusNoContent: 1}, waiters(public, state, 1, events+"?wait=5"))
					require.Equal(t, reads, a.reads.Load(), "it was remembered")
					change()
				}
				require.Equal(t, map[int]int{http.StatusUnauthorized: 1}, waiters(public, state, 1, events+"?wait=5"))
			})
		})
	}
}
