package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// linesOf are the JSON lines that a log wrote.
func linesOf(t *testing.T, text string) (out []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		out = append(out, m)
	}
	return out
}

func TestAnOutageIsThreeLinesAMinuteAndHowManyMoreThereWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.New(NewLimitedLog(slog.NewJSONHandler(&text, nil)))
		of := log.With("replica", "a")
		for n := range 238 {
			of.Warn("shared commit will be tried again", "changes", n, "error", errors.New("no connection"))
		}
		of.Warn("attempt failed", "client", "alfa")
		of.Warn("attempt failed", "client", "beta")
		require.Len(t, linesOf(t, text.String()), 5, "three of one kind, and one of each initiator")

		text.Reset()
		time.Sleep(limitedWithin)
		of.Info("started", "took", 1500*time.Millisecond)
		lines := linesOf(t, text.String())
		require.Len(t, lines, 2)
		require.Equal(t, "shared commit will be tried again", lines[0]["msg"])
		require.InDelta(t, 235, lines[0]["left_out"], 0)
		require.InDelta(t, 237, lines[0]["changes"], 0, "the last of them is the one that is shown")
		require.Equal(t, "no connection", lines[0]["error"])
		require.Equal(t, "a", lines[0]["replica"])
		require.Equal(t, "1.5s", lines[1]["took"])

		text.Reset()
		of.Warn("shared commit will be tried again", "changes", 1)
		require.Len(t, linesOf(t, text.String()), 1, "a new minute begins")
		for range 100 {
			of.Info("attempt")
		}
		require.Len(t, linesOf(t, text.String()), 101, "what is no warning is never left out")
	})
}

func TestEveryDurationOfALineHasItsUnit(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(NewLimitedLog(slog.NewJSONHandler(&text, nil))).With("every", time.Minute)
	members := []slog.Attr{slog.Duration("waited", 20*time.Millisecond), slog.Int("n", 3)}
	log.LogAttrs(t.Context(), slog.LevelInfo, "made", slog.Attr{Value: slog.GroupValue(members...)}, slog.Duration("took", 1500*time.Millisecond), slog.String("by", "alfa"))
	line := linesOf(t, text.String())[0]
	delete(line, "time")
	require.Equal(t, map[string]any{"level": "INFO", "msg": "made", "every": "1m0s", "waited": "20ms", "n": 3.0, "took": "1.5s", "by": "alfa"}, line)
	require.Equal(t, 20*time.Millisecond, members[0].Value.Duration(), "the caller's own stays")
}
