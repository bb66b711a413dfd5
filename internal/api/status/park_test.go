package status_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
)

// TestALongPollWaitsOutsideOfAllThatWasCalledToAnswerIt looks at the stacks of calls that wait: they have nothing of the router and of the
// handlers, and no other goroutine has.
func TestALongPollWaitsOutsideOfAllThatWasCalledToAnswerIt(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, _, state := waitingRoom(t, 10)
		answers := make(chan map[int]int)
		go func() { answers <- waiters(public, state, 3, events+"?wait=30") }()
		time.Sleep(time.Second) // virtual
		synctest.Wait()
		text := make([]byte, 1<<20)
		waiting := 0
		for stack := range strings.SplitSeq(string(text[:runtime.Stack(text, true)]), "\n\n") {
			if strings.Contains(stack, "(*wait).end") {
				waiting++
				require.NotContains(t, stack, "mux.")
				require.NotContains(t, stack, "getEvents")
			} else if strings.Contains(stack, "status.(*Public)") {
				require.NotContains(t, stack, "getEvents")
			}
		}
		require.Equal(t, 3, waiting)
		require.Equal(t, map[int]int{http.StatusNoContent: 3}, <-answers)
	})
}

// TestAPanicInAPartEndsTheConnectionAndNothingElse has a handler panic in the goroutine that a call has of its own.
func TestAPanicInAPartEndsTheConnectionAndNothingElse(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, _, _ := waitingRoom(t, 1)
		for _, thrown := range []any{http.ErrAbortHandler, "something else"} {
			apart := public.WaitOutside(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(thrown) }))
			r := httptest.NewRequest(http.MethodGet, events+"?wait=30", nil)
			require.PanicsWithValue(t, http.ErrAbortHandler, func() { apart.ServeHTTP(httptest.NewRecorder(), r) })
		}
	})
}

// TestAPollThatWaitedIsAnsweredOnceWithItsOwnInteraction has its headers taken away while it waits.
func TestAPollThatWaitedIsAnsweredOnceWithItsOwnInteraction(t *testing.T) {
	mtlstest.PKI(t)
	synctest.Test(t, func(t *testing.T) {
		public, feed, state := waitingRoom(t, 10)
		id := uuid.NewString()
		header := http.Header{"Authorization": {"Bearer good"}, "X-Fapi-Interaction-Id": {id}}
		answered := make(chan *httptest.ResponseRecorder)
		go func() {
			w, _ := try(public, state, http.MethodGet, events+"?wait=30", header)
			answered <- w
		}()
		time.Sleep(time.Second) // virtual
		feed.grown.Store(1)
		w := <-answered
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, id, w.Header().Get("X-Fapi-Interaction-Id"))
		require.Empty(t, header, "the token is kept while the call waits")
	})
}
