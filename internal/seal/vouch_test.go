package seal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/internal/witness"
)

// logKey makes the key of a log in a file, registered, and returns the file and the key as witnesses take it.
func (p *proof) logKey() (string, audit.LogKey) {
	p.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(p.t, err)
	text, err := audit.MarshalPrivate(key)
	require.NoError(p.t, err)
	name := filepath.Join(p.t.TempDir(), "log.key")
	require.NoError(p.t, os.WriteFile(name, text, 0o600))
	public, _ := key.Public().(ed25519.PublicKey)
	require.NoError(p.t, auditlog.RegisterLogKey(p.t.Context(), p.url, public))
	log, err := audit.ParseLogKey(audit.VerifierKey(public))
	require.NoError(p.t, err)
	return name, log
}

// asked is a witness that a test runs, and its line of a policy.
type asked struct {
	*witness.Witness

	line string
}

func (p *proof) witness(name string, log audit.LogKey) *asked {
	p.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(p.t, err)
	self, err := audit.NewWitnessKey(name+".example", key.Public())
	require.NoError(p.t, err)
	dir := filepath.Join(p.t.TempDir(), "state")
	require.NoError(p.t, witness.Init(dir, self))
	require.NoError(p.t, witness.AddLog(dir, log))
	w, err := witness.Open(witness.Options{Name: self.Name, Key: key, Logs: []audit.LogKey{log}, State: dir, Log: slog.New(slog.DiscardHandler)})
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = w.Close() })
	server := httptest.NewServer(w.Handler())
	p.t.Cleanup(server.Close)
	return &asked{w, fmt.Sprintf("witness %s %s %s\n", name, self, server.URL)}
}

// witnessed is a sealer with a policy.
func (p *proof) witnessed(key, policy string) *Sealer {
	p.t.Helper()
	cfg := config.Standard()
	cfg.Profile, cfg.StateDir, cfg.Log.Key = config.Development, p.t.TempDir(), key
	cfg.Log.Witnesses = filepath.Join(cfg.StateDir, "policy.txt")
	require.NoError(p.t, os.WriteFile(cfg.Log.Witnesses, []byte(policy), 0o600))
	s := p.must(New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures()))
	p.t.Cleanup(s.witnesses.client.CloseIdleConnections)
	return s
}

// TestWitnessesVouchAndAnchorsGetTheirCosignatures: proofs, exports and anchors then have a checkpoint that fulfils the policy.
func TestWitnessesVouchAndAnchorsGetTheirCosignatures(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	a, b := p.witness("a", log), p.witness("b", log)
	policy := a.line + b.line + "group both all a b\nquorum both\n"
	s := p.witnessed(key, policy)
	p.write(5)
	p.sealed(s, 5)
	_, err := p.auditlog.OpenLog(t.Context(), auditlog.NewestCosigned)
	require.ErrorContains(t, err, "no witness vouched")
	require.NoError(t, s.vouchRound(t.Context()))
	require.InDelta(t, 5, p.value(s, "witnessed_size"), 0)
	require.InDelta(t, time.Now().Unix(), p.value(s, "witnessed_time_seconds"), 60)
	require.InDelta(t, time.Now().Unix(), p.value(s, "witness_time_seconds", "b"), 60)

	p.write(300)
	p.sealed(s, 305)
	require.False(t, s.witnesses.due(s.newest.Load()), "within a minute they are not asked again")
	s.witnesses.now = func() time.Time { return time.Now().Add(2 * vouchEvery) }
	require.NoError(t, s.vouchRound(t.Context()), "with a proof of growth")
	require.InDelta(t, 305, p.value(s, "witnessed_size"), 0)
	require.Zero(t, p.value(s, "witness_failures_total", "a"))

	more, err := s.witnesses.carriers[0].carry(t.Context(), s.witnesses.newest.Load())
	require.NoError(t, err)
	require.True(t, more)
	text, err := os.ReadFile(s.cfg.AnchorFile())
	require.NoError(t, err)
	file := audit.ReadAnchorFile(text, s.key.Public())
	require.Len(t, file.Cosigned, 1)
	parsed, err := audit.ParsePolicy([]byte(policy))
	require.NoError(t, err)
	p.write(1)
	p.sealed(s, 306)
	verdict, err := auditlog.Verify(t.Context(), p.url, s.key.Public(), file.Checkpoints)
	require.NoError(t, err)
	require.NoError(t, parsed.Confirm(&verdict, file.Cosigned, s.key.Public()))
	require.Equal(t, int64(305), verdict.Witnessed)
	stored, err := auditlog.CosignedOf(t.Context(), p.url, nil)
	require.NoError(t, err)
	require.Len(t, stored.Notes, 2)
	require.NoError(t, parsed.Confirm(&verdict, stored.Notes, s.key.Public()))

	x, err := p.auditlog.OpenLog(t.Context(), auditlog.NewestCosigned)
	require.NoError(t, err)
	defer x.Close(t.Context())
	require.Equal(t, int64(305), x.Checkpoint.Size)
	said, err := parsed.Cosignatures(x.Note, s.key.Public())
	require.NoError(t, err)
	require.Len(t, said, 2)

	again := p.witnessed(key, policy) // a replica that starts, and whose witnesses know more than it remembers
	p.sealed(again, 306)
	require.NoError(t, again.vouchRound(t.Context()))
	require.InDelta(t, 305, p.value(again, "witnessed_size"), 0, "what another replica asked for counts")
	again.ask(t.Context(), parsed.Witnesses[0], *again.newest.Load())
	require.Zero(t, p.value(again, "witness_failures_total", "a"), "it learns the size from the witness")
}

// TestAWitnessThatHangsDelaysNeitherSealingNorAnotherWitness: one witness never answers.
func TestAWitnessThatHangsDelaysNeitherSealingNorAnotherWitness(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	good, slow := p.witness("good", log), p.witness("slow", log)
	came, release := make(chan struct{}, 10), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(release)
	s := p.witnessed(key, good.line+fmt.Sprintf("witness slow %s %s\nquorum good\n", slow.Self(), hanging.URL))
	p.write(5)
	p.sealed(s, 5)
	ended := make(chan error, 1)
	go func() { ended <- s.vouchRound(t.Context()) }()
	<-came
	rounds := func(from int) time.Duration {
		began := time.Now()
		for n := 1; n <= 20; n++ {
			p.write(1)
			p.sealed(s, from+n)
		}
		return time.Since(began) / 20
	}
	hung := rounds(5)
	require.Eventually(t, func() bool {
		stored, err := p.auditlog.Cosigned(t.Context(), nil, 1)
		return err == nil && len(stored.Notes) == 1
	}, 5*time.Second, time.Millisecond, "the other one has vouched")
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(2 * anchorTimeout):
		t.Fatal("a request ends after 5 s")
	}
	require.InDelta(t, 1, p.value(s, "witness_failures_total", "slow"), 0)
	require.Zero(t, p.value(s, "witness_refusals_total", "slow"))
	require.InDelta(t, 5, p.value(s, "witnessed_size"), 0)
	t.Logf("one entry written and sealed: %s while the witness hangs, %s when none is asked", hung, rounds(25))
}

// TestALogThatWasSetBackIsRefusedByItsWitnessAndNotSealedOn: the replica is new, and no anchor tells it of the past; the witness does.
func TestALogThatWasSetBackIsRefusedByItsWitnessAndNotSealedOn(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	a := p.witness("a", log)
	policy := a.line + "quorum a\n"
	s := p.witnessed(key, policy)
	p.write(5)
	p.sealed(s, 5)
	p.write(5)
	p.sealed(s, 10)
	require.NoError(t, s.vouchRound(t.Context()))
	_, err := p.owner.Exec(t.Context(), `SET session_replication_role = replica; SET search_path = arauto;
DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq >= 5); DELETE FROM log_position WHERE seq >= 5; DELETE FROM log_checkpoint WHERE size > 5;
DELETE FROM log_cosignature; SET session_replication_role = origin`)
	require.NoError(t, err)
	later := p.witnessed(key, policy)
	p.write(1)
	p.sealed(later, 6)
	began := time.Now()
	require.NoError(t, later.vouchRound(t.Context()))
	require.InDelta(t, 1, p.value(later, "witness_refusals_total", "a"), 0)
	p.write(1)
	err = later.round(t.Context())
	require.ErrorIs(t, err, store.ErrSetBack)
	require.ErrorContains(t, err, "the witness a has a checkpoint of 10 entries")
	t.Logf("noticed %s after the witness was asked", time.Since(began))
	require.Zero(t, p.value(later, "witnessed_size"))
}

// TestRowsThatWereAddedSpoilNeitherExportsNorTheAsking: what arauto_app may write is refused by its form, or passed over by its signature.
func TestRowsThatWereAddedSpoilNeitherExportsNorTheAsking(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	a, stranger := p.witness("a", log), p.witness("stranger", log)
	s := p.witnessed(key, a.line+"quorum a\n")
	var told bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&told, nil))
	p.write(5)
	p.sealed(s, 5)
	require.NoError(t, s.vouchRound(t.Context()))
	p.write(5)
	p.sealed(s, 10)
	add := func(size int64, witness, line string) error {
		_, err := p.owner.Exec(t.Context(), "INSERT INTO arauto.log_cosignature VALUES ($1, $2, now(), $3)", size, witness, line)
		return err
	}
	good, err := p.auditlog.Checkpoint(t.Context(), 5)
	require.NoError(t, err)
	said, err := s.witnesses.policy.Cosignatures(good.Note, s.key.Public())
	require.NoError(t, err)
	line := string(said[0].Line)
	self := a.Self().String()
	for name, row := range map[string]struct {
		size          int64
		witness, line string
	}{
		"no such checkpoint": {7, self, line}, "no key": {5, "x", line}, "junk": {5, self, "junk"}, "two lines": {5, self, line + line},
		"no line feed": {5, self, strings.TrimSuffix(line, "\n")}, "another name": {5, stranger.Self().String(), line},
	} {
		require.Error(t, add(row.size, row.witness, row.line), name)
	}
	bad := strings.Replace(line, "==\n", "", 1)
	bad = bad[:len(bad)-8] + "AAAAAAAA==\n"
	for size := range 2 {
		require.NoError(t, add(int64(5+5*size), self, bad), "the form cannot tell it")
		require.NoError(t, add(int64(5+5*size), stranger.Self().String(), strings.Replace(bad, "a.example", "stranger.example", 1)))
	}

	for size, names := range map[int64]int{5: 1, 10: 0, 0: 0, auditlog.NewestCosigned: 1} {
		x, err := p.auditlog.OpenLog(t.Context(), size)
		require.NoError(t, err, size)
		said, err := s.witnesses.policy.Cosignatures(x.Note, s.key.Public())
		require.NoError(t, err, size)
		require.Len(t, said, names, size)
		all, err := x.Checkpoints(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(good.Note), string(all[0]))
		x.Close(t.Context())
	}
	again := p.witnessed(key, a.line+"quorum a\n")
	again.log = s.log
	p.sealed(again, 10)
	require.NoError(t, again.vouchRound(t.Context()))
	require.InDelta(t, 5, p.value(again, "witnessed_size"), 0, "what the witness said before still counts")
	require.Contains(t, told.String(), "cosignatures were tampered with")
	again.witnesses.now = func() time.Time { return time.Now().Add(2 * vouchEvery) }
	require.NoError(t, again.vouchRound(t.Context()))
	require.InDelta(t, 10, p.value(again, "witnessed_size"), 0)
	stored, err := auditlog.CosignedOf(t.Context(), p.url, again.witnesses.policy.Keys())
	require.NoError(t, err)
	require.Len(t, stored.Notes, 2)
	require.Equal(t, 4, stored.Forged)
}

// ahead is a witness whose clock is ahead; it answers every request, as the first for it.
func (p *proof) ahead(name string, by func() time.Duration) (line string) {
	p.t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(p.t, err)
	self, err := audit.NewWitnessKey(name+".example", public)
	require.NoError(p.t, err)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q, err := audit.ParseCosignRequest(body)
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		line, err := self.Cosign(q.Checkpoint, key, time.Now().Add(by()))
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = out.Write(line)
	}))
	p.t.Cleanup(server.Close)
	return fmt.Sprintf("witness %s %s %s\n", name, self, server.URL)
}

// TestAWitnessWhoseClockIsAheadNeitherStopsTheAskingNorCounts: more than 5 min ahead it counts for nothing; less does not delay the asking.
func TestAWitnessWhoseClockIsAheadNeitherStopsTheAskingNorCounts(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	var by time.Duration
	fast, good := p.ahead("fast", func() time.Duration { return by }), p.witness("good", log)
	s := p.witnessed(key, fast+good.line+"group one any fast good\nquorum one\n")
	p.write(5)
	p.sealed(s, 5)
	by = time.Hour
	require.NoError(t, s.vouchRound(t.Context()))
	require.InDelta(t, 1, p.value(s, "witness_failures_total", "fast"), 0)
	require.Zero(t, p.value(s, "witness_refusals_total", "fast"))
	require.InDelta(t, time.Now().Unix(), p.value(s, "witnessed_time_seconds"), 60)
	require.InDelta(t, time.Now().Unix(), p.value(s, "witness_time_seconds", "good"), 60)

	ofFast := s.witnesses.policy.Witnesses[0]
	_, text, err := s.witnesses.post(t.Context(), ofFast, audit.CosignRequest{Checkpoint: s.newest.Load().note})
	require.NoError(t, err)
	c, err := ofFast.ReadCosignature(s.newest.Load().note, string(text))
	require.NoError(t, err)
	c.At = time.Now() // a row that lies about the time of its line
	require.NoError(t, p.auditlog.KeepCosignature(t.Context(), 5, c))
	require.NoError(t, s.readQuorum(t.Context()))
	require.InDelta(t, time.Now().Unix(), p.value(s, "witnessed_time_seconds"), 60)

	by = 4 * time.Minute
	p.write(5)
	p.sealed(s, 10)
	s.witnesses.now = func() time.Time { return time.Now().Add(2 * vouchEvery) }
	require.NoError(t, s.vouchRound(t.Context()))
	require.InDelta(t, 10, p.value(s, "witnessed_size"), 0)
	p.write(5)
	p.sealed(s, 15)
	require.False(t, s.witnesses.due(s.newest.Load()))
	s.witnesses.now = func() time.Time { return time.Now().Add(3*vouchEvery + time.Second) }
	require.True(t, s.witnesses.due(s.newest.Load()), "a minute of our own clock has passed")
}

// TestAReplicaThatIsBehindAnotherDoesNotCallItsWitnessARefusal: the witness vouched for a checkpoint that only the other replica has seen.
func TestAReplicaThatIsBehindAnotherDoesNotCallItsWitnessARefusal(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	a := p.witness("a", log)
	policy := a.line + "quorum a\n"
	behind, ahead := p.witnessed(key, policy), p.witnessed(key, policy)
	p.write(5)
	p.sealed(behind, 5)
	p.write(2)
	p.sealed(ahead, 7)
	one := ahead.witnesses.policy.Witnesses[0]
	ahead.ask(t.Context(), one, *ahead.newest.Load())
	behind.ask(t.Context(), one, *behind.newest.Load())
	require.Zero(t, p.value(behind, "witness_failures_total", "a"))
	require.Zero(t, p.value(behind, "witness_refusals_total", "a"))
	require.Empty(t, behind.witnesses.published())
	p.sealed(behind, 7)
	behind.ask(t.Context(), one, *behind.newest.Load())
	require.Zero(t, p.value(behind, "witness_failures_total", "a"))

	err := behind.witnesses.contradicts(t.Context(), one, behind) // as after an answer 422
	require.ErrorContains(t, err, "although the log extends the 7 entries")
	require.NotErrorIs(t, err, errContradicts)
	require.Empty(t, behind.witnesses.published())
}

func TestAPolicyThatCannotBeUsedIsRefusedAtTheStart(t *testing.T) {
	p := openProof(t)
	key, log := p.logKey()
	a := p.witness("a", log)
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	public, _ := other.Public().(ed25519.PublicKey)
	for want, policy := range map[string]string{
		"no line `quorum NAME`":                a.line,
		"witness a has no https":               strings.Join(strings.Fields(a.line)[:3], " ") + "\nquorum a\n",
		"names other logs than":                "log " + audit.VerifierKey(public) + "\n" + a.line + "quorum a\n",
		"log.witnesses (ARAUTO_LOG_WITNESSES)": "quorum",
	} {
		cfg := config.Standard()
		cfg.Profile, cfg.StateDir, cfg.Log.Key = config.Development, t.TempDir(), key
		cfg.Log.Witnesses = filepath.Join(cfg.StateDir, "policy.txt")
		require.NoError(t, os.WriteFile(cfg.Log.Witnesses, []byte(policy), 0o600))
		_, err := New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures())
		require.ErrorContains(t, err, want)
	}
	cfg := config.Standard()
	cfg.StateDir, cfg.Log.Key, cfg.Log.Witnesses = t.TempDir(), key, filepath.Join(t.TempDir(), "absent")
	_, err = New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures())
	require.ErrorContains(t, err, "log.witnesses")
}

// requireLitewitness makes the test of a foreign witness fail rather than be skipped where its program is absent.
const requireLitewitness = "ARAUTO_REQUIRE_LITEWITNESS"

// addLog adds a log to the database of litewitness, as its own tool would.
const addLog = `import sqlite3, sys
d = sqlite3.connect(sys.argv[1])
d.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')", (sys.argv[2],))
d.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (sys.argv[2], sys.argv[3]))
d.commit()
`

// TestAForeignWitnessVouchesForOurLog runs litewitness of filippo.io/torchwood, whose key is held by an SSH agent of the test.
func TestAForeignWitnessVouchesForOurLog(t *testing.T) {
	program, err := exec.LookPath("litewitness")
	python, errPython := exec.LookPath("python3")
	if errors.Join(err, errPython) != nil {
		require.Empty(t, os.Getenv(requireLitewitness), "litewitness or python3 is not installed")
		t.Skip("litewitness or python3 is not installed (make litewitness)")
	}
	p := openProof(t)
	key, log := p.logKey()
	dir, err := os.MkdirTemp("", "lw") //nolint:usetesting // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	keys := agent.NewKeyring()
	require.NoError(t, keys.Add(agent.AddedKey{PrivateKey: private}))
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "agent"))
	require.NoError(t, err)
	served := make(chan struct{})
	t.Cleanup(func() { _ = socket.Close(); <-served })
	go func() {
		defer close(served)
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(keys, conn)
			_ = conn.Close()
		}
	}()
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	addr := port.For(t).Address()
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "-name", "lite.example/w", "-db", filepath.Join(dir, "db"), "-ssh-agent", socket.Addr().String(),
		"-listen", addr, "-key", ssh.FingerprintSHA256(signer.PublicKey()))
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	self, err := audit.NewWitnessKey("lite.example/w", private.Public())
	require.NoError(t, err)
	lines := bufio.NewScanner(said)
	vkey := ""
	for lines.Scan() && !strings.Contains(lines.Text(), "listening") {
		if found := regexp.MustCompile(`vkey=(\S+)`).FindStringSubmatch(lines.Text()); found != nil {
			vkey = found[1]
		}
	}
	require.Equal(t, self.String(), vkey, "both write the key of a witness alike")
	out, err := exec.CommandContext(t.Context(), python, "-c", addLog, filepath.Join(dir, "db"), log.Origin(), log.String()).CombinedOutput()
	require.NoError(t, err, string(out))

	s := p.witnessed(key, fmt.Sprintf("witness lite %s http://%s\nquorum lite\n", self, addr))
	up := func() bool { conn, err := net.Dial("tcp", addr); return err == nil && conn.Close() == nil }
	require.Eventually(t, up, 10*time.Second, time.Millisecond)
	for _, size := range []int{5, 6, 300} {
		p.write(size - int(p.value(s, "size")))
		p.sealed(s, size)
		s.witnesses.now = func() time.Time { return time.Now().Add(2 * vouchAgain) }
		require.NoError(t, s.vouchRound(t.Context()))
		require.InDelta(t, size, p.value(s, "witnessed_size"), 0)
	}
	require.Zero(t, p.value(s, "witness_failures_total", "lite"))
	again := p.witnessed(key, fmt.Sprintf("witness lite %s http://%s\nquorum lite\n", self, addr))
	p.sealed(again, 300)
	again.ask(t.Context(), again.witnesses.policy.Witnesses[0], *again.newest.Load())
	require.Zero(t, p.value(again, "witness_failures_total", "lite"), "it learns the size from the answer 409")
}
