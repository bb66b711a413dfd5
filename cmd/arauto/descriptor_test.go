package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// limited starts the product with so many open files at most.
func limited(files int) func(args ...string) *exec.Cmd {
	return func(args ...string) *exec.Cmd {
		cmd := product(args...)
		cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files)}, cmd.Args...)
		cmd.Path = "/bin/sh"
		return cmd
	}
}

// TestAReplicaShortOfDescriptorsKeepsDelivering is case E7: with 256 open files at most, under load, while somebody holds
// all the connections it can have. Newcomers are told 503, attempts go on, the platform is answered, and what was let go
// serves again.
func TestAReplicaShortOfDescriptorsKeepsDelivering(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Settings: unhurried, Command: limited(256)})
	h.refusesTooFew()
	h.handIn("before")
	stop := h.feed("short", 100*time.Millisecond)
	defer stop()
	f := &flood{t: t}
	defer f.release()
	f.hold(100, h.replica.Public, h.replica.Ops)
	internal := "http://" + h.replica.Internal + "/internal/v1/changes"
	for began, answered := time.Now(), 0; answered != http.StatusServiceUnavailable; {
		f.hold(1, h.replica.Internal)
		var advice string
		if answered, advice = f.ask(internal); answered == http.StatusServiceUnavailable {
			require.Equal(t, "1", advice)
		}
		require.Less(t, time.Since(began), patience, "no newcomer is told 503")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := h.good.Wait(ctx, len(h.good.Requests())+5, nil) // the core's own connection lives on, and so do those to the initiators
	require.NoError(t, err, "nothing is delivered any more")
	f.hold(100, h.replica.Internal, h.replica.Public, h.replica.Ops)
	figures, err := h.replica.Metrics(t.Context())
	require.NoError(t, err, "the platform is answered whatever is held")
	for _, listener := range []string{"internal", "public", "ops"} {
		require.Regexp(t, `(?m)^arauto_connections_refused_total\{listener="`+listener+`"\} [1-9]`, figures)
	}
	f.release()
	h.handIn("after")
	stop()
	report := h.reconcile()
	require.Greater(t, report.Acknowledged, 5)
	require.Zero(t, report.UnknownOutcomes)
	all, err := h.core.Load().Notifications(t.Context(), url.Values{})
	require.NoError(t, err)
	for _, n := range all {
		for _, a := range n.Attempts {
			if a.Detail != nil {
				require.NotContains(t, *a.Detail, "too many open files", "an attempt was spent on our own want of descriptors")
			}
		}
	}
	log, err := os.ReadFile(filepath.Join(h.Dir, h.replica.Name+".log"))
	require.NoError(t, err)
	require.NotContains(t, string(log), "too many open files")
}

// refusesTooFew starts with fewer files than can serve, or than the slots need: exit code 2, and what to raise.
func (h *house) refusesTooFew() {
	h.t.Helper()
	for _, c := range []struct {
		files          int
		setting, reads string
	}{
		{150, "ARAUTO_DISPATCH_SLOTS=0", "open files: the limit is 150; raise it (ulimit -n, LimitNOFILE=) to 192 or more"},
		{256, "ARAUTO_DISPATCH_SLOTS=100", "dispatch.slots (ARAUTO_DISPATCH_SLOTS): is 100, and a limit of 256 open files affords 64"},
	} {
		cmd := limited(c.files)("serve")
		cmd.Env = append(append(cmd.Environ(), h.Environment()...), c.setting)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(h.t, err, &exit)
		require.Equal(h.t, usage, exit.ExitCode(), "%s", out)
		require.Contains(h.t, string(out), c.reads)
	}
}

// flood holds connections that say nothing.
type flood struct {
	t    *testing.T
	held []net.Conn
}

// hold adds so many to each address, however many of them the other side keeps.
func (f *flood) hold(n int, addresses ...string) {
	f.t.Helper()
	for _, address := range addresses {
		for range n {
			c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(f.t.Context(), "tcp", address)
			if err == nil { // else it was closed before it was seen to be open
				f.held = append(f.held, c)
			}
		}
	}
}

func (f *flood) release() {
	for _, c := range f.held {
		_ = c.Close()
	}
	f.held = nil
}

// ask makes a request on a connection of its own; 0: the connection was closed.
func (f *flood) ask(address string) (status int, retryAfter string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("{}"))
	require.NoError(f.t, err)
	r.Close = true
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Header.Get("Retry-After")
}

// handIn hands in a change until it is stored.
func (h *house) handIn(id string) {
	h.t.Helper()
	c := payment("good", id, 1, ofb.ACSC)
	require.Eventually(h.t, func() bool {
		ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
		defer cancel()
		a, err := h.core.Load().Change(ctx, c)
		require.NoError(h.t, h.ledger.Note(c, a, err))
		return err == nil
	}, patience, 50*time.Millisecond)
}
