package main

import (
	"context"
	"net"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/stage"
)

// TestAReplicaShortOfDescriptorsKeepsDelivering is case E7: with 256 open files at most, under load, while somebody holds
// more connections to it than it can have.
func TestAReplicaShortOfDescriptorsKeepsDelivering(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{Settings: unhurried, Command: func(args ...string) *exec.Cmd {
		cmd := product(args...)
		cmd.Args = append([]string{"sh", "-c", `ulimit -n 256; exec "$0" "$@"`}, cmd.Args...)
		cmd.Path = "/bin/sh"
		return cmd
	}})
	before := h.handIn("before")
	stop := h.feed("short", 100*time.Millisecond)
	defer stop()
	var held []net.Conn
	release := func() {
		for _, c := range held {
			_ = c.Close()
		}
		held = nil
	}
	defer release()
	for _, address := range []string{h.replica.Internal, h.replica.Public, h.replica.Ops} {
		for range 100 {
			c, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				break // refused, as it may be
			}
			held = append(held, c)
		}
	}
	t.Logf("%d connections held", len(held))
	pause(t, 5*time.Second)
	release()
	after := h.handIn("after")
	t.Logf("a change was answered within %s before, and %s after the connections were let go", before, after)
	stop()
	report := h.reconcile()
	require.Greater(t, report.Acknowledged, 20)
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
}

// handIn tells how long it takes until a change is stored, with as many tries as it takes.
func (h *house) handIn(id string) time.Duration {
	h.t.Helper()
	began, c := time.Now(), payment("good", id, 1, ofb.ACSC)
	for {
		ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
		a, err := h.core.Load().Change(ctx, c)
		cancel()
		require.NoError(h.t, h.ledger.Note(c, a, err))
		if err == nil {
			return time.Since(began)
		}
		require.Less(h.t, time.Since(began), 20*time.Second, err)
	}
}
