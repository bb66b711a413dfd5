package seal

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// sshAgent starts OpenSSH's agent at a socket and gives it a key.
func sshAgent(t *testing.T, socket string, key ed25519.PrivateKey) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, "ssh-agent", "-D", "-a", socket)
	require.NoError(t, cmd.Start())
	stop = func() { cancel(); _ = cmd.Wait(); _ = os.Remove(socket) }
	t.Cleanup(stop)
	require.Eventually(t, func() bool { conn, err := net.Dial("unix", socket); return err == nil && conn.Close() == nil }, 10*time.Second, time.Millisecond)
	block, err := ssh.MarshalPrivateKey(key, "log")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	add := exec.CommandContext(t.Context(), "ssh-add", "-q", file)
	add.Env = []string{"SSH_AUTH_SOCK=" + socket}
	out, err := add.CombinedOutput()
	require.NoError(t, err, string(out))
	return stop
}

// TestTheKeyOfTheLogStaysInAnAgent: OpenSSH's agent signs the checkpoints. While it is away nothing is sealed, and a later
// one goes on.
func TestTheKeyOfTheLogStaysInAnAgent(t *testing.T) {
	if _, err := exec.LookPath("ssh-agent"); err != nil {
		t.Skip("OpenSSH's ssh-agent is not installed")
	}
	p := openProof(t)
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	require.NoError(t, auditlog.RegisterLogKey(t.Context(), p.url, public))
	text, err := audit.MarshalPublic(public)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "ag") //nolint:usetesting // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := config.Standard()
	cfg.Profile, cfg.StateDir, cfg.Log.Agent, cfg.Log.Key = config.Development, t.TempDir(), filepath.Join(dir, "s"), filepath.Join(dir, "log.pub.pem")
	require.NoError(t, os.WriteFile(cfg.Log.Key, text, 0o600))
	stop := sshAgent(t, cfg.Log.Agent, private)
	s := p.must(New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures()))
	p.write(5)
	p.sealed(s, 5)
	stop()
	p.write(5)
	require.ErrorContains(t, s.round(t.Context()), "the agent of the log's key does not answer")
	require.InDelta(t, 5, p.value(s, "size"), 0)
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	stop = sshAgent(t, cfg.Log.Agent, other)
	require.ErrorContains(t, s.round(t.Context()), "did not sign", "an agent with another key")
	stop()
	sshAgent(t, cfg.Log.Agent, private)
	p.sealed(s, 10)
	verdict, err := auditlog.Verify(t.Context(), p.url, public, nil)
	require.NoError(t, err)
	require.Equal(t, int64(10), verdict.Entries)

	key, err := audit.MarshalPrivate(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cfg.Log.Key, key, 0o600))
	_, err = New(cfg, p.auditlog, slog.New(slog.DiscardHandler), newFigures())
	require.ErrorContains(t, err, "it names the public half")
}
