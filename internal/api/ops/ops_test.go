package ops

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// ask asks a path and returns status, body, and how long the answer took.
func ask(r *Readiness, path string) (status int, body string, took time.Duration) {
	began := time.Now()
	w := httptest.NewRecorder()
	Handler(r, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String(), time.Since(began)
}

func TestReadinessAnswersWithinASecondWhateverHangs(t *testing.T) { // cases S2
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		good := Condition{"good", func(context.Context) error { return nil }}
		bad := Condition{"bad", func(context.Context) error { return errors.New("is broken") }}
		patient := Condition{"patient", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		deaf := Condition{"deaf", func(context.Context) error { <-end; return nil }}
		for name, c := range map[string]struct {
			checks []Condition
			status int
			body   string
			took   time.Duration
		}{
			"nothing to ask":     {nil, 200, `{"status":"ok"}`, 0},
			"all is well":        {[]Condition{good, good}, 200, `{"status":"ok"}`, 0},
			"one is broken":      {[]Condition{good, bad}, 503, `{"status":"unavailable","reasons":["bad: is broken"]}`, 0},
			"one does not hear":  {[]Condition{deaf, good, bad}, 503, `{"status":"unavailable","reasons":["bad: is broken","deaf: no answer within 900ms"]}`, answerWithin},
			"everything at once": {[]Condition{deaf, bad, deaf, good}, 503, `{"status":"unavailable","reasons":["bad: is broken","deaf: no answer within 900ms","deaf: no answer within 900ms"]}`, answerWithin},
		} {
			r := &Readiness{Checks: c.checks}
			status, body, took := ask(r, "/readyz")
			require.Equal(t, c.status, status, name)
			require.JSONEq(t, c.body, body, name)
			require.Equal(t, c.took, took, name)
			status, _, took = ask(r, "/healthz")
			require.Equal(t, 200, status, "%s: liveness asks nobody", name)
			require.Zero(t, took)
		}
		status, body, took := ask(&Readiness{Checks: []Condition{patient}}, "/readyz")
		require.Equal(t, 503, status)
		require.Contains(t, body, "patient: ")
		require.Equal(t, askWithin, took)
		require.Contains(t, body, context.DeadlineExceeded.Error(), "its own reason is waited for")
		require.Less(t, answerWithin, time.Second)
		close(end)
	})
}

func TestADrainIsToldBeforeAnythingIsAsked(t *testing.T) {
	r := &Readiness{Checks: []Condition{{"never", func(context.Context) error { panic("asked") }}}, Notes: func() []string { return []string{"a note"} }}
	r.Drain()
	status, body, _ := ask(r, "/readyz")
	require.Equal(t, 503, status)
	require.JSONEq(t, `{"status":"unavailable","reasons":["shutdown: this replica is going away"],"notes":["a note"]}`, body)
}
