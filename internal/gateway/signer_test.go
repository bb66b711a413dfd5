package gateway

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/alarms"
	"github.com/arauto/arauto/internal/metrics"
	"github.com/arauto/arauto/internal/seal"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// softHSM is SoftHSM with the two keys, and the example signer in front of it.
type softHSM struct {
	t      *testing.T
	dir    string
	env    []string
	public map[string][]byte // by label, PEM
}

// openSoftHSM makes a token with an Ed25519 and an RSA key. Without SoftHSM the test is skipped, unless ARAUTO_REQUIRE_SOFTHSM=1.
func openSoftHSM(t *testing.T) *softHSM {
	t.Helper()
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	for _, program := range []string{"softhsm2-util", "pkcs11-tool", "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("ARAUTO_REQUIRE_SOFTHSM") == "1" {
				t.Fatal("there is no " + program + ", and ARAUTO_REQUIRE_SOFTHSM=1")
			}
			t.Skip("there is no " + program + "; Debian has SoftHSM in the packages softhsm2 and opensc")
		}
	}
	dir, err := os.MkdirTemp("", "hs") //nolint:usetesting // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &softHSM{t: t, dir: dir, env: append(os.Environ(), "SOFTHSM2_CONF="+filepath.Join(dir, "conf")), public: map[string][]byte{}}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tokens"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "conf"), []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pin"), []byte("1234\n"), 0o600))
	h.run("", "softhsm2-util", "--init-token", "--free", "--label", "arauto", "--pin", "1234", "--so-pin", "12345678")
	for i, key := range [][2]string{{"log", "EC:edwards25519"}, {"brseal", "rsa:2048"}} {
		h.run("", "pkcs11-tool", "--module", module, "--login", "--pin", "1234", "--keypairgen", "--key-type", key[1], "--label", key[0], "--id", "0"+string(rune('1'+i)))
	}
	text := h.run("", h.program(), "-token", "arauto", "-pin-file", filepath.Join(dir, "pin"), "-list")
	for _, part := range strings.Split(text, "# ")[1:] {
		label, rest, _ := strings.Cut(part, ",")
		_, block, _ := strings.Cut(rest, "\n")
		h.public[label] = []byte(block)
		require.NoError(t, os.WriteFile(h.file(label), []byte(block), 0o600))
	}
	require.Len(t, h.public, 2)
	return h
}

// signerProgram is the example signer, built once for the process. TestMain removes it.
var signerProgram struct {
	sync.Once
	dir string
}

func (h *softHSM) program() string {
	h.t.Helper()
	signerProgram.Do(func() {
		dir, err := os.MkdirTemp("", "signer")
		require.NoError(h.t, err)
		signerProgram.dir = dir
		h.run("../lab/pkcs11signer", "go", "build", "-mod=readonly", "-o", filepath.Join(dir, "signer"), ".")
	})
	return filepath.Join(signerProgram.dir, "signer")
}

func (h *softHSM) file(label string) string { return filepath.Join(h.dir, label+".pub.pem") }
func (h *softHSM) socket() string           { return filepath.Join(h.dir, "s") }

func (h *softHSM) run(dir, program string, args ...string) string {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), program, args...)
	cmd.Dir, cmd.Env = dir, h.env
	out, err := cmd.CombinedOutput()
	require.NoError(h.t, err, "%s: %s", program, out)
	return string(out)
}

// start starts the signer; stop ends it.
func (h *softHSM) start() (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	cmd := exec.CommandContext(ctx, h.program(), "-token", "arauto", "-pin-file", filepath.Join(h.dir, "pin"), "-socket", h.socket())
	cmd.Env = h.env
	require.NoError(h.t, cmd.Start())
	stop = func() { cancel(); _ = cmd.Wait() }
	h.t.Cleanup(stop)
	require.Eventually(h.t, func() bool {
		conn, err := (&net.Dialer{}).DialContext(h.t.Context(), "unix", h.socket())
		return err == nil && conn.Close() == nil
	}, 20*time.Second, 5*time.Millisecond, "the signer serves its socket")
	return stop
}

// rsaKey reads a public half.
func rsaKey(t *testing.T, text []byte) *rsa.PublicKey {
	t.Helper()
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	return key.(*rsa.PublicKey)
}

// TestBothKeysStayInASecurityModule: SoftHSM signs answers and checkpoints. While its signer is away the gateway starts, changes come and
// initiators are told; queries get 503, entries wait for their seal, and both go on by themselves afterwards.
func TestBothKeysStayInASecurityModule(t *testing.T) {
	t.Parallel()
	hsm := openSoftHSM(t)
	h := openAs(t, func(*house) []string {
		return []string{
			"ARAUTO_LOG_SIGNER=" + hsm.socket(), "ARAUTO_LOG_KEY=" + hsm.file("log"),
			"ARAUTO_SIGNING_SIGNER=" + hsm.socket(), "ARAUTO_SIGNING_KEY=" + hsm.file("brseal"), "ARAUTO_SIGNING_KID=hsm", "ARAUTO_SIGNING_PUBLISHED=",
		}
	})
	beta := certs.DefaultBeta
	h.initiator(beta)
	poll := h.poller(beta)
	id, answer := h.change(beta)
	require.Equal(t, "delivered", *h.settled(answer, 1).Attempts[0].Outcome, "without a signer initiators are told")
	status, _, body, err := poll.get(id)
	require.NoError(t, err)
	require.Equal(t, 503, status, body)
	h.until("the failures are counted", func() bool {
		return h.metric(`arauto_signer_failures_total{key="answers"}`) > 0 && h.metric(`arauto_signer_failures_total{key="log"}`) > 0
	})
	h.until("they are noted", func() bool { return strings.Contains(h.ops("/readyz"), "signer of the key log: no signature since") })
	away := func() (keys []string) {
		for _, x := range h.g.troubles(time.Now().Add(signerAwayAfter)) {
			if x.Kind == history.EventSignerAway {
				keys = append(keys, x.Subject)
			}
		}
		return keys
	}
	require.Equal(t, []string{"answers", "log"}, away(), "operators are told of both")
	require.Zero(t, h.metric("arauto_log_size"))
	require.NotEmpty(t, h.log.lines("signer does not sign", hsm.socket()))

	stop := hsm.start()
	h.above("arauto_log_size", 0)
	status, _, body, err = poll.get(id)
	require.NoError(t, err)
	require.Equal(t, 200, status, body)
	require.True(t, signedBy(t, body, rsaKey(t, hsm.public["brseal"])))
	h.until("the note is gone", func() bool { return !strings.Contains(h.ops("/readyz"), "signer of the key") })
	require.NotEmpty(t, h.log.lines("signer signs again"))
	require.Empty(t, away())
	require.Positive(t, h.metric(`arauto_signer_seconds_count{key="log"}`))

	stop()
	later, answer := h.change(beta)
	require.Equal(t, "delivered", *h.settled(answer, 1).Attempts[0].Outcome)
	status, _, _, err = poll.get(later)
	require.NoError(t, err)
	require.Equal(t, 503, status)
	hsm.start()
	status, _, body, err = poll.get(later)
	require.NoError(t, err)
	require.Equal(t, 200, status, "a signer that is there again is asked at once")
	require.True(t, signedBy(t, body, rsaKey(t, hsm.public["brseal"])))
	public, err := audit.ParsePublic(hsm.public["log"])
	require.NoError(t, err)
	entries := int64(len(h.entries("change")))
	require.EqualValues(t, 2, entries)
	h.until("everything is sealed", func() bool {
		v, err := auditlog.Verify(t.Context(), h.url, public, nil)
		return err == nil && v.Entries >= int64(h.metric("arauto_log_size")) && v.Entries > 0 && h.sealed(later)
	})
	polled := h.entries("poll")
	require.GreaterOrEqual(t, len(polled), 4, "also queries that were not answered are recorded")
}

// sealed tells whether every entry of a resource has its position in the log.
func (h *house) sealed(resource string) bool {
	h.t.Helper()
	conn := h.owner()
	defer conn.Close(context.WithoutCancel(h.t.Context()))
	var left int
	require.NoError(h.t, conn.QueryRow(h.t.Context(), "SELECT count(*) FROM arauto.entry e WHERE resource_id = $1 AND NOT EXISTS (SELECT FROM arauto.log_position p WHERE p.id = e.id)", resource).Scan(&left))
	return left == 0
}

// TestOperatorsAreToldOfASignerThatStaysAwayForAMinute, and not of one that misses a signature.
func TestOperatorsAreToldOfASignerThatStaysAwayForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &signerStates{metrics: metrics.New("test"), log: slog.New(slog.DiscardHandler)}
		require.Empty(t, s.away(time.Now()))
		s.signed("answers gold", time.Millisecond, errors.New("it did not answer within 5s"))
		time.Sleep(signerAwayAfter - time.Nanosecond)
		require.Empty(t, s.away(time.Now()), "a minute is not over")
		s.signed("answers gold", time.Millisecond, errors.New("connection refused"))
		s.signed("log", time.Millisecond, errors.New("it did not answer within 5s"))
		time.Sleep(time.Nanosecond)
		gold := history.Sighting{Kind: history.EventSignerAway, Subject: "answers gold", Detail: "connection refused"}
		require.Equal(t, []history.Sighting{gold}, s.away(time.Now()), "the other key has failed for less")
		time.Sleep(signerAwayAfter)
		require.Len(t, s.away(time.Now()), 2)
		s.signed("answers gold", time.Millisecond, nil)
		require.Len(t, s.away(time.Now()), 1)
		s.signed("answers gold", time.Millisecond, errors.New("connection refused"))
		require.Len(t, s.away(time.Now()), 1, "its minute begins anew")
	})
}

// TestCheckTriesTheSigners, and says when everybody may ask them.
func TestCheckTriesTheSigners(t *testing.T) {
	hsm := openSoftHSM(t)
	cfg := config.Standard()
	cfg.Log.Signer, cfg.Log.Key = hsm.socket(), hsm.file("log")
	require.Contains(t, strings.Join(seal.Findings(t.Context(), cfg), "\n"), "WARNING log.signer: the signer does not sign: socket "+hsm.socket())
	hsm.start()
	require.Contains(t, strings.Join(seal.Findings(t.Context(), cfg), "\n"), "log.signer: it signs, in ")
	require.NoError(t, os.Chmod(hsm.socket(), 0o666))
	require.Contains(t, strings.Join(seal.Findings(t.Context(), cfg), "\n"), "WARNING log.signer: every user of this machine can ask")
}

func TestTheAlarmOfASignerRings(t *testing.T) {
	bench := alarms.New(t, rulesFile)
	m := metrics.New("test")
	m.BearSigner(keyLog, time.Now())
	m.SignerAnswered(keyLog, time.Millisecond, nil)
	well := alarms.Gather(t, m.Registry)
	hangs := metrics.New("test")
	hangs.BearSigner(keyLog, time.Now().Add(-61*time.Second))
	hangs.SignerAnswered(keyLog, 5*time.Second, context.DeadlineExceeded)
	bench.Rings(t, "ArautoSignerNotSigning", map[string]string{"key": "log", "instance": "a", "job": "arauto"}, well, alarms.Gather(t, hangs.Registry))
	require.NotContains(t, alarms.Gather(t, metrics.New("test").Registry).Text, "arauto_signer_ok_time_seconds{", "a key in a file has no series")
}
