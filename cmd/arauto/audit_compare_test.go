package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAuditorsWhoCompareTheirCheckpointsNoticeASplitView: who has the log's key and its database shows each of them another history. Two
// checkpoints of one size show it by themselves. For two sizes the auditors ask for the proof that the log only grew; whatever they get
// contradicts one of them.
func TestAuditorsWhoCompareTheirCheckpointsNoticeASplitView(t *testing.T) {
	p := openProven(t, 30)
	grow := func(n int, client string) {
		p.exec(fmt.Sprintf("INSERT INTO arauto.entry (id, kind, client_id, facts) SELECT gen_random_uuid(), 'change', '%s', '{}' FROM generate_series(1, %d)", client, n))
		p.seal()
	}
	proof := func(name string, from, to int) string {
		code, out := p.run("audit", "proof", "--database-url", p.url, "--from-size", fmt.Sprint(from), "--to-size", fmt.Sprint(to))
		require.Equal(t, done, code, out)
		require.NoError(t, os.WriteFile(p.file(name), []byte(out), 0o600))
		return p.file(name)
	}
	compare := func(exit int, want string, files ...string) {
		t.Helper()
		began := time.Now()
		code, out := p.run(append([]string{"audit", "compare", "--key", p.file("log.pub.pem")}, files...)...)
		took := time.Since(began)
		require.Equal(t, exit, code, out)
		require.Regexp(t, want, out)
		if strings.Contains(out, "two histories") {
			t.Logf("two histories noticed %s after the checkpoints were compared", took.Round(10*time.Microsecond))
		}
	}
	const root = `[A-Za-z0-9+/]{43}=\n$`
	grow(30, "first")
	first30, first60, honest := p.anchor("30.txt", 30), p.anchor("first-60.txt", 60), proof("honest.txt", 30, 60)
	compare(done, `^one history 60 `+root, first30, first60, honest)
	compare(done, `^one history 60 `+root, first60, first60)
	compare(failed, `^open 30 60\n$`, first30, first60)
	whole, err := os.ReadFile(first60)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		text string
		exit int
		want string
	}{
		"torn":                {string(whole) + string(whole[:len(whole)/2]), failed, `^unread 1\n`},
		"forged":              {strings.Replace(string(whole), "\n60\n", "\n61\n", 1) + string(whole), failed, `^unread 1\n`},
		"of another log, too": {"arauto/0123456789abcdef\n1\nAAAA\n\n— arauto/0123456789abcdef AAAA\n" + string(whole), done, `^one history 60 `},
	} {
		require.NoError(t, os.WriteFile(p.file(name), []byte(c.text), 0o600))
		compare(c.exit, c.want, first60, p.file(name))
	}

	p.exec(`SET session_replication_role = replica; SET search_path = arauto; DELETE FROM entry WHERE id NOT IN (SELECT id FROM log_position WHERE seq < 30);
DELETE FROM log_position WHERE seq >= 30; DELETE FROM log_checkpoint WHERE size > 30; SET session_replication_role = origin`)
	grow(30, "second")
	second60 := p.anchor("second-60.txt", 60)
	compare(failed, `^BAD seq=0 two histories: the log was signed over 60 entries at `, first60, second60)
	compare(failed, `^BAD seq=0 two histories: `, first30, second60, honest)
	grow(10, "second")
	second70 := p.anchor("second-70.txt", 70)
	compare(failed, `^open 60 70\n$`, first60, second70)
	grown := proof("grown.txt", 60, 70)
	compare(failed, `^BAD seq=0 two histories: `, first60, second70, grown)
	compare(done, `^one history 70 `+root, second60, second70, grown, proof("older.txt", 30, 60), first30)

	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("there is no python3: docs/verify.py is not compared")
	}
	for _, exit := range []int{failed, done} {
		anchors := map[int]string{failed: first60, done: second60}[exit]
		began := time.Now()
		code, out := p.verify(grown, "--anchors", anchors)
		took := time.Since(began)
		require.Equal(t, exit, code, out)
		if exit == failed {
			require.Contains(t, out, "BAD seq=0 two histories: ")
			t.Logf("noticed %s after the proof was verified with the checkpoint of the other auditor", took.Round(10*time.Microsecond))
		}
		if python != "" {
			cmd := exec.CommandContext(t.Context(), python, "../../docs/verify.py", "--key", p.file("log.pub.pem"), grown, "--anchors", anchors)
			text, _ := cmd.Output()
			require.Equal(t, exit, cmd.ProcessState.ExitCode())
			require.Equal(t, out, string(text))
		}
	}

	torn := p.file("torn.txt")
	text, err := os.ReadFile(grown)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	require.NoError(t, os.WriteFile(torn, []byte(strings.Join(append(lines[:1:1], lines[2:]...), "")), 0o600))
	compare(failed, `^BAD seq=0 the 60 entries signed at .* are not the first of the 70 `, torn)
	require.NoError(t, os.WriteFile(torn, text[:40], 0o600))
	compare(failed, `^BAD seq=0 .*torn.txt: not a proof of consistency`, torn)
	compare(usage, "FILE: .*log.pub.pem: it has no checkpoint of this log", p.file("log.pub.pem"))
	compare(usage, "FILE: open ", p.file("absent"))
}
