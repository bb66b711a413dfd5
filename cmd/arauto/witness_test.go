package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// running is a witness as its command runs it.
type running struct {
	vkey, addr string
	stop       func() int
}

// witness starts `arauto witness` with a key and a folder of the test.
func (p *proven) witness(more ...string) *running {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	p.t.Cleanup(cancel)
	out := &lines{grown: make(chan struct{}, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, world{nil, out, io.Discard}, append([]string{
			"witness", "--name", "audit.example/w1", "--key", p.file("witness.key"), "--state", p.file("witness"),
			"--addr", "127.0.0.1:0", "--log", audit.VerifierKey(p.key.Public()),
		}, more...))
	}()
	w := &running{vkey: out.until(p.t, `for policies: (\S+)\n`), addr: "http://" + out.until(p.t, `listening on (\S+)\n`)}
	w.stop = func() int { cancel(); return <-code }
	return w
}

func (p *proven) makeWitnessKey() {
	p.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(p.t, err)
	text, err := audit.MarshalPrivate(key)
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(p.file("witness.key"), text, 0o600))
}

// TestAWitnessVouchesAndBothVerifiersTellUntilWhen plays the internal audit: its witness vouches for 30 of 60 entries, the witness is
// restarted, and both verifiers say so by a policy.
func TestAWitnessVouchesAndBothVerifiersTellUntilWhen(t *testing.T) {
	p := openProven(t, 30)
	p.makeWitnessKey()
	w := p.witness("--init")
	note, err := os.ReadFile(p.anchor("one.txt", 30))
	require.NoError(t, err)
	note = append(bytes.TrimRight(note, "\n"), '\n')
	ask := func(r audit.CosignRequest) (int, []byte) {
		resp, err := http.Post(w.addr+"/add-checkpoint", "", bytes.NewReader(r.Marshal()))
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, text
	}
	status, line := ask(audit.CosignRequest{Checkpoint: note})
	require.Equal(t, http.StatusOK, status, string(line))
	require.Equal(t, done, w.stop())
	w = p.witness()
	status, size := ask(audit.CosignRequest{Checkpoint: note})
	require.Equal(t, http.StatusConflict, status, "it remembers")
	require.Equal(t, "30\n", string(size))
	require.Equal(t, done, w.stop())

	p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 30)")
	p.seal()
	code, out := p.run("audit", "export", "--database-url", p.url, "--out", p.file("log.zip"))
	require.Equal(t, done, code, out)
	require.NoError(t, os.WriteFile(p.file("cosigned.txt"), append(append(note, line...), '\n'), 0o600))
	require.NoError(t, os.WriteFile(p.file("policy.txt"), []byte("witness audit "+w.vkey+"\nquorum audit\n"), 0o600))
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("there is no python3: docs/verify.py is not compared")
	}
	tell := func(exit int, want string, args ...string) {
		t.Helper()
		code, out := p.verify(args...)
		require.Equal(t, exit, code, out)
		require.Contains(t, out, want)
		if python == "" || args[0] == "--database-url" {
			return
		}
		text, _ := exec.CommandContext(t.Context(), python, append([]string{"../../docs/verify.py", "--key", p.file("log.pub.pem")}, args...)...).CombinedOutput()
		require.ElementsMatch(t, strings.Split(out, "\n"), strings.Split(string(text), "\n"))
	}
	tell(done, "note: witness audit vouched for the first 30 entries until ", p.file("log.zip"), "--policy", p.file("policy.txt"), "--anchors", p.file("cosigned.txt"))
	tell(done, "note: nobody vouched for the last 30 entries\n", p.file("log.zip"), "--policy", p.file("policy.txt"), "--anchors", p.file("cosigned.txt"))
	tell(failed, "BAD seq=30 nobody vouched for the last 30 entries: the witnesses vouched until ", p.file("log.zip"), "--policy", p.file("policy.txt"), "--anchors", p.file("cosigned.txt"), "--witnessed-within", "0s")
	code, out = p.verify(p.file("log.zip"), "--policy", p.file("policy.txt"), "--witnessed-within", "-1s")
	require.Equal(t, usage, code, out)
	tell(done, "note: nobody vouched for the last 30 entries\n", "--database-url", p.url, "--policy", p.file("policy.txt"), "--anchors", p.file("cosigned.txt"))
	tell(failed, "BAD seq=0 no checkpoint of it has the cosignatures", p.file("log.zip"), "--policy", p.file("policy.txt"))
	code, out = p.verify(p.file("log.zip"), "--policy", p.file("witness.key"))
	require.Equal(t, usage, code, out)
}

func TestAWitnessIsRefusedWithTheReasonAndTheCure(t *testing.T) {
	p := openProven(t, 1)
	p.makeWitnessKey()
	log := audit.VerifierKey(p.key.Public())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	good := []string{"--name", "w", "--key", p.file("witness.key"), "--state", p.file("state"), "--log", log}
	for want, args := range map[string][]string{
		"--log is not set":       good[:6],
		"begins one with --init": good,
		"is not on loopback":     append(append([]string{}, good...), "--init", "--state", p.file("other"), "--addr", "0.0.0.0:0"),
		"not the verifier key":   append(append([]string{}, good[:6]...), "--log", "x"),
		"has spaces or a plus":   append([]string{"--name", "a b"}, good[2:]...),
		"address already in use": append(append([]string{}, good...), "--init", "--addr", taken.Addr().String()),
		"--key":                  append(append([]string{}, good...), "--key", p.file("absent")),
	} {
		code, out := p.run(append([]string{"witness"}, args...)...)
		require.Equal(t, usage, code, out)
		require.Contains(t, out, want)
	}
	require.NoDirExists(t, p.file("state"), "no folder is begun that the next --init would refuse")
}
