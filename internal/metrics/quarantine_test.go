package metrics

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestASourceWithoutCasesHasNoSeries measures three times: what was closed in between is no longer shown.
func TestASourceWithoutCasesHasNoSeries(t *testing.T) {
	m := New("test")
	shown := func() (lines []string) {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		for line := range strings.Lines(w.Body.String()) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "arauto_quarantine_"); ok {
				lines = append(lines, rest)
			}
		}
		return lines
	}
	require.Equal(t, []string{"oldest_seconds 0"}, shown())
	m.MeasureQuarantine([]notice.CaseCount{
		{Source: "api", State: notice.CaseNonconforming, Cases: 5, Oldest: 900 * time.Hour},
		{Source: "api", State: notice.CaseOpen, Cases: 2, Bytes: 300, Oldest: time.Hour},
		{Source: "core", State: notice.CaseOpen, Cases: 1, Bytes: 100, Oldest: 2 * time.Hour},
	})
	require.Equal(t, []string{
		`bytes{source="api"} 300`, `bytes{source="core"} 100`,
		`cases{source="api",state="nonconforming"} 5`, `cases{source="api",state="open"} 2`, `cases{source="core",state="open"} 1`, "oldest_seconds 7200",
	}, shown(), "what was told waits for nobody")
	m.MeasureQuarantine([]notice.CaseCount{{Source: "api", State: notice.CaseNonconforming, Cases: 4, Oldest: 900 * time.Hour}})
	require.Equal(t, []string{`cases{source="api",state="nonconforming"} 4`, "oldest_seconds 0"}, shown())
	m.MeasureQuarantine(nil)
	require.Equal(t, []string{"oldest_seconds 0"}, shown())

	var all sync.WaitGroup
	for i := range 4 { // measured by several at once, no series is left behind
		all.Go(func() {
			for range 200 {
				m.MeasureQuarantine([]notice.CaseCount{{Source: strconv.Itoa(i), State: notice.CaseOpen, Cases: 1}})
			}
		})
	}
	all.Wait()
	m.MeasureQuarantine(nil)
	require.Equal(t, []string{"oldest_seconds 0"}, shown())
}
