package gateway

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/witness"
)

// TestAReplicaAsksItsWitnesses: a whole gateway seals, its witness vouches, and the metrics say so.
func TestAReplicaAsksItsWitnesses(t *testing.T) {
	h := openAs(t, func(h *house) []string {
		dir := h.t.TempDir()
		public, private, err := ed25519.GenerateKey(nil)
		require.NoError(h.t, err)
		text, err := audit.MarshalPrivate(private)
		require.NoError(h.t, err)
		require.NoError(h.t, os.WriteFile(filepath.Join(dir, "log.key"), text, 0o600))
		log, err := audit.ParseLogKey(audit.VerifierKey(public))
		require.NoError(h.t, err)
		_, own, err := ed25519.GenerateKey(nil)
		require.NoError(h.t, err)
		self, err := audit.NewWitnessKey("audit.example", own.Public())
		require.NoError(h.t, err)
		require.NoError(h.t, witness.Init(filepath.Join(dir, "state"), self))
		require.NoError(h.t, witness.AddLog(filepath.Join(dir, "state"), log))
		w, err := witness.Open(witness.Options{Name: self.Name, Key: own, Logs: []audit.LogKey{log}, State: filepath.Join(dir, "state"), Log: slog.New(slog.DiscardHandler)})
		require.NoError(h.t, err)
		h.t.Cleanup(func() { _ = w.Close() })
		server := httptest.NewServer(w.Handler())
		h.t.Cleanup(server.Close)
		policy := fmt.Sprintf("log %s\nwitness audit %s %s\nquorum audit\n", log, self, server.URL)
		require.NoError(h.t, os.WriteFile(filepath.Join(dir, "policy.txt"), []byte(policy), 0o600))
		return []string{"ARAUTO_LOG_KEY=" + filepath.Join(dir, "log.key"), "ARAUTO_LOG_WITNESSES=" + filepath.Join(dir, "policy.txt")}
	})
	h.initiator(certs.DefaultBeta)
	h.above("arauto_log_witnessed_size", 0)
	require.Positive(t, h.metric(`arauto_log_witness_time_seconds{witness="audit"}`))
	require.Zero(t, h.metric(`arauto_log_witness_failures_total{witness="audit"}`))
	require.Zero(t, h.metric("arauto_log_witness_refusals_total"))
}
