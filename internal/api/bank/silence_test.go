package bank

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

// stopped is a database whose processes are stopped: what is asked of it ends with its context.
type stopped struct {
	registrations
	*shelf

	until time.Time // then it answers again
}

func (s stopped) wait(ctx context.Context) error {
	end := time.NewTimer(time.Until(s.until))
	defer end.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-end.C:
		return nil
	}
}

func (s stopped) Put(ctx context.Context, c notice.ClientID, _ registry.Request, _ string) (notice.Initiator, bool, error) {
	return notice.Initiator{Client: c}, true, s.wait(ctx)
}

func (s stopped) Get(ctx context.Context, c notice.ClientID) (notice.Initiator, error) {
	return notice.Initiator{Client: c}, s.wait(ctx)
}

func (s stopped) Judge(ctx context.Context, _ notice.ClientID, _ registry.Request, _ string) error {
	return s.wait(ctx)
}

func (s stopped) OpenCaseIDs(ctx context.Context, _ notice.CaseFilter, _ int) ([]notice.ID, error) {
	return nil, s.wait(ctx)
}

// TestADatabaseThatAnswersNothingFailsACallWithinThreeSeconds is F5, of acts and of reads.
func TestADatabaseThatAnswersNothingFailsACallWithinThreeSeconds(t *testing.T) {
	ask := func(t *testing.T, answers bool, method, path, body string) (status int, text string, took time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s := stopped{registrations{&shelf{}}, &shelf{}, time.Now().Add(8 * time.Second)}
			in := NewInternal(InternalConfig{Tokens: tokens{}, History: s.shelf, Initiators: s, Quarantine: s, Readings: s.shelf, Answers: func(ctx context.Context) error {
				if answers {
					return nil
				}
				return s.wait(ctx)
			}})
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer registrar+operator")
			if body != "" {
				r.Header.Set("Content-Type", typeJSON)
			}
			w := httptest.NewRecorder()
			began := time.Now()
			in.ServeHTTP(w, r)
			status, text, took = w.Code, w.Body.String(), time.Since(began)
			in.Drain()
		})
		return status, text, took
	}
	for _, call := range [][3]string{
		{"PUT", "/internal/v1/initiators/four", `{"name":"x"}`},
		{"GET", "/internal/v1/initiators/four", ""},
		{"POST", "/internal/v1/quarantine/dismiss", `{"filter":{"clientId":"itp"},"reason":"x"}`},
	} {
		status, text, took := ask(t, false, call[0], call[1], call[2])
		require.Equal(t, 503, status, call)
		require.Contains(t, text, "the outcome is unknown and a retry is safe")
		require.LessOrEqual(t, took, 3*time.Second, call)
		status, text, took = ask(t, true, call[0], call[1], call[2])
		require.Less(t, status, 300, text)
		require.Equal(t, 8*time.Second, took, "it is slow, and answers")
	}
}
