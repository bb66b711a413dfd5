package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
)

// TestServiceGoesOnWhileNobodyTakesTheLog is case S7 with a real process: its log goes into a pipe that is full, and then
// into one that nobody holds any more. Changes are taken and status pages answered all the same; the first loses nothing,
// and what the second loses is counted.
func TestServiceGoesOnWhileNobodyTakesTheLog(t *testing.T) {
	t.Parallel()
	h := open(t, stage.Options{})
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	defer reader.Close()
	cmd := product("serve")
	cmd.Env = append(append(cmd.Env, h.Environment()...), "ARAUTO_REPLICA=mute")
	cmd.Stdout = writer
	require.NoError(t, cmd.Start())
	require.NoError(t, writer.Close())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill(); <-ended }()

	log := json.NewDecoder(reader)
	at := map[string]string{}
	for len(at) < 3 {
		var line struct{ Msg, Listener, Address string }
		require.NoError(t, log.Decode(&line))
		if line.Msg == "listening" {
			at[line.Listener] = line.Address
		}
	}
	mute := &stage.Replica{Name: "mute", Internal: at["internal"], Public: at["public"], Ops: at["ops"]}
	require.NoError(t, mute.WaitReady(t.Context()))
	core, err := h.Core(mute)
	require.NoError(t, err)

	ask := func() { // what is refused, and has its line
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at["internal"]+"/internal/v1/notifications", nil)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	}
	serves := func(id string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		answer, err := core.Change(ctx, payment("good", id, 1, ofb.ACSC))
		require.NoError(t, err)
		require.Equal(t, "applied", answer.Outcome)
	}
	const lines = 1000 // of more than 200 bytes each: a pipe holds 64 KiB
	for range lines {
		ask()
	}
	serves("while-full")
	lost := func() (n int) {
		text, err := mute.Metrics(t.Context())
		require.NoError(t, err)
		m := regexp.MustCompile(`(?m)^arauto_log_lines_lost_total (\d+)`).FindStringSubmatch(text)
		require.NotNil(t, m)
		n, err = strconv.Atoi(m[1])
		require.NoError(t, err)
		return n
	}
	require.Zero(t, lost())

	for seen := 0; seen < lines; { // the reader is back: each line is there, and whole
		var line struct {
			Msg    string
			Status int
		}
		require.NoError(t, log.Decode(&line))
		if line.Msg == "request" && line.Status == http.StatusUnauthorized {
			seen++
		}
	}
	require.NoError(t, reader.Close())
	require.Eventually(t, func() bool { ask(); return lost() > 0 }, patience, 20*time.Millisecond)
	serves("while-gone")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-ended:
		require.NoError(t, err)
		ended <- nil
	case <-time.After(patience):
		t.Fatal("it did not end")
	}
}
