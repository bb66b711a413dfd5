package bank

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/notice"
)

// unstored is an intake that notes which lines were refused without being submitted, and which requests without being read.
type unstored struct {
	*intake.Intake
	mu     sync.Mutex
	lines  []string
	unread []string
}

func (u *unstored) Unstored(line []byte, from intake.Origin) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lines = append(u.lines, string(bytes.TrimSpace(line))+" from "+from.Actor)
}

func (u *unstored) note(why string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unread = append(u.unread, why)
}

func (u *unstored) seen() (lines, unread []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.lines), slices.Clone(u.unread)
}

func noting(u *unstored) func(*InternalConfig) {
	return func(c *InternalConfig) {
		u.Intake, _ = c.Changes.(*intake.Intake)
		c.Changes, c.Unread = u, u.note
	}
}

func TestLinesAfterTheFirst503LeaveATraceAsFarAsTheyAreRead(t *testing.T) {
	u := &unstored{}
	w := newWorld(t, noting(u))
	w.memory.fail = func(*notice.Change) error { return passing{io.ErrUnexpectedEOF} }
	f := w.open()
	f.send(payment("p1", 1, "ACSC") + "\n")
	require.EqualValues(t, 503, f.next()["status"])
	f.send(payment("p2", 1, "ACSC") + "\n" + payment("p3", 1, "ACSC") + "\n")
	for range 2 {
		require.EqualValues(t, 503, f.next()["status"])
	}
	f.finish()
	f.ends()
	lines, unread := u.seen()
	require.Equal(t, []string{payment("p2", 1, "ACSC") + " from who-ingest", payment("p3", 1, "ACSC") + " from who-ingest"}, lines, "the first was submitted, and intake knows of it")
	require.Empty(t, unread)
}

func TestARequestWithChangesThatIsRefusedUnreadIsRemembered(t *testing.T) {
	u := &unstored{}
	w := newWorld(t, noting(u))
	require.Equal(t, 503, w.ask("POST", changesPath, "nokeys", payment("p1", 1, "ACSC")).status)
	require.Equal(t, 401, w.ask("POST", changesPath, "bad", payment("p1", 1, "ACSC")).status)
	require.Equal(t, 503, w.ask("GET", "/internal/v1/quarantine", "nokeys", "").status)
	require.Equal(t, 400, w.ask("POST", changesPath, "ingest", "{broken").status)
	w.memory.fail = func(*notice.Change) error { return passing{io.ErrUnexpectedEOF} }
	require.Equal(t, 503, w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC")).status)
	_, unread := u.seen()
	require.Equal(t, []string{"unread"}, unread, "intake was handed the last one, and knows which change it was")
	w.api.Drain()
	late := w.open()
	require.Equal(t, http.StatusServiceUnavailable, late.head.StatusCode, fmt.Sprint(late.head.Header))
	_, unread = u.seen()
	require.Equal(t, []string{"unread", "draining"}, unread)
}
