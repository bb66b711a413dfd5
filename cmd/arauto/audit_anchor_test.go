package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// TestRubbishInTheAnchorFileIsToldAndEveryGenuineCheckpointIsCompared: by the program and by the second verifier, in the same
// words. A file without anything genuine stays wrong use.
func TestRubbishInTheAnchorFileIsToldAndEveryGenuineCheckpointIsCompared(t *testing.T) {
	t.Parallel()
	p := openProven(t, 30)
	p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 30)")
	p.seal()
	code, out := p.run("audit", "export", "--database-url", p.url, "--out", p.file("log.jsonl"))
	require.Equal(t, done, code, out)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("there is no python3: docs/verify.py is not compared")
	}
	tell := func(exit int, args ...string) string {
		t.Helper()
		code, out := p.verify(slices.Concat([]string{p.file("log.jsonl")}, args)...)
		require.Equal(t, exit, code, out)
		if python != "" && exit != usage {
			cmd := exec.CommandContext(t.Context(), python, slices.Concat([]string{"../../docs/verify.py", "--key", p.file("log.pub.pem"), p.file("log.jsonl")}, args)...)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			text, _ := cmd.Output()
			require.Equal(t, exit, cmd.ProcessState.ExitCode(), errs.String())
			require.Equal(t, notesIn(out), notesIn(errs.String()))
			if exit == done {
				require.Contains(t, out, string(text))
			}
		}
		return out
	}
	read := func(size int) string {
		text, err := os.ReadFile(p.anchor("one.txt", size))
		require.NoError(t, err)
		return string(text)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	foreign, err := audit.NewSigner(private).Sign(audit.Checkpoint{Size: 60})
	require.NoError(t, err)
	older, newer := read(30), read(60)
	forged := strings.Replace(older, "\n30\n", "\n31\n", 1)
	anchors := p.file("checkpoints.txt")
	put := func(parts ...string) {
		require.NoError(t, os.WriteFile(anchors, []byte(strings.Join(parts, "")), 0o600))
	}

	put("\xff\xfe\n", older, "garbage\nmore", newer, forged, string(foreign), "\n", newer[:70], "\n", newer, "end")
	for _, args := range [][]string{{"--anchors", anchors}, {"--anchors", anchors, "--anchors", anchors}} {
		out := tell(done, args...)
		require.Len(t, notesIn(out), 6*len(args)/2)
		for _, what := range []string{"line 10: 12 bytes in 2 lines are passed over: it is no checkpoint", "that is not signed with its key", "a checkpoint of another log, arauto/", "that breaks off", "3 bytes in 1 lines"} {
			require.Contains(t, out, what)
		}
	}
	code, out = p.verify("--database-url", p.url, "--anchors", anchors)
	require.Equal(t, done, code, out)
	require.Len(t, notesIn(out), 6)

	// What is genuine is compared, also behind rubbish: a checkpoint that contradicts the log.
	wrong, err := p.key.Sign(audit.Checkpoint{Size: 45, At: 1})
	require.NoError(t, err)
	put(older, "garbage\n", string(wrong), "\n")
	out = tell(failed, "--anchors", anchors)
	require.Contains(t, out, "BAD seq=30 ")
	require.Len(t, notesIn(out), 1)

	for name, text := range map[string]string{"rubbish": "garbage\nmore", "forged": forged, "of another log": string(foreign), "empty": ""} {
		put(text)
		out := tell(usage, "--anchors", anchors)
		require.Contains(t, out, "it has no checkpoint of this log", name)
		if python != "" {
			err := exec.CommandContext(t.Context(), python, "../../docs/verify.py", "--key", p.file("log.pub.pem"), p.file("log.jsonl"), "--anchors", anchors).Run()
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit) && exit.ExitCode() == usage, name)
		}
	}
}

func notesIn(text string) (out []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "note: --anchors: ") {
			out = append(out, line)
		}
	}
	return out
}
