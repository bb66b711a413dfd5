package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestALogThatWasSetBackGoesOnByASignedStatementAndEveryVerifierTellsIt: the runbook of docs/operations/log.md, with the
// commands in it.
func TestALogThatWasSetBackGoesOnByASignedStatementAndEveryVerifierTellsIt(t *testing.T) {
	p := openProven(t, 0)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p.key = audit.NewSigner(private)
	text, err := audit.MarshalPrivate(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.file("log.key"), text, 0o600))
	public, err := audit.MarshalPublic(p.key.Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.file("log.pub.pem"), public, 0o600))
	p.exec("SET session_replication_role = replica; DELETE FROM arauto.log_key; SET session_replication_role = origin")
	code, out := p.run("audit", "register", p.file("log.pub.pem"), "--database-url", p.url)
	require.Equal(t, done, code, out)
	for range 2 {
		p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 30)")
		p.seal()
	}
	anchors := p.anchor("checkpoints.txt", 30, 60)
	head, err := os.ReadFile(anchors)
	require.NoError(t, err)
	published, err := audit.OpenCheckpoints(head, p.key.Public())
	require.NoError(t, err)
	for _, sql := range []string{"DELETE FROM entry WHERE id IN (SELECT id FROM log_position WHERE seq >= 30)", "DELETE FROM log_position WHERE seq >= 30", "DELETE FROM log_checkpoint WHERE size > 30"} {
		p.asOwner(sql)
	}
	p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 5)")
	_, err = p.auditlog.Seal(t.Context(), p.key, auditlog.PublishedHead{Checkpoint: published[1], Where: "the anchor file"})
	require.ErrorIs(t, err, store.ErrSetBack)
	code, out = p.verify("--database-url", p.url, "--anchors", anchors)
	require.Equal(t, failed, code)
	require.Contains(t, out, "BAD seq=30 the end is cut off: 60 entries were signed")

	// Somebody added to the anchor file: the runbook goes on, and tells it.
	require.NoError(t, os.WriteFile(anchors, append(head, "garbage\nmore"...), 0o600))
	const passed = "checkpoints.txt: line 17: 12 bytes in 2 lines are passed over: it is no checkpoint\n"

	loss := []string{"audit", "loss", "--database-url", p.url, "--key", p.file("log.key"), "--anchors", anchors, "--by", "Ana", "--reason", "restored to 12:00"}
	code, out = p.run(loss[:len(loss)-2]...)
	require.Equal(t, usage, code, out)
	code, out = p.run(loss...)
	require.Equal(t, done, code, out)
	require.Contains(t, out, "loss: the positions 30 to 59 as they were published are lost: restored to 12:00 (stated by Ana at ")
	require.Contains(t, out, passed)
	code, out = p.run(loss...)
	require.Equal(t, failed, code)
	require.Contains(t, out, "there is no loss to state")

	p.seal()
	p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 50)")
	p.seal()
	code, out = p.verify("--database-url", p.url, "--anchors", anchors)
	require.Equal(t, done, code, out)
	require.Contains(t, out, "note: the positions 30 to 59 as they were published are lost: restored to 12:00")
	require.Contains(t, out, passed)
	require.Contains(t, out, "ok 86 ")
	code, out = p.run("audit", "export", "--database-url", p.url, "--format", "bundle", "--out", p.file("log.zip"))
	require.Equal(t, done, code, out)
	code, out = p.verify(p.file("log.zip"), "--anchors", anchors)
	require.Equal(t, done, code, out)
	require.Contains(t, out, "note: the positions 30 to 59")
	if python, err := exec.LookPath("python3"); err == nil {
		text, err := exec.CommandContext(t.Context(), python, "../../docs/verify.py", "--key", p.file("log.pub.pem"), "--anchors", anchors, p.file("log.zip")).CombinedOutput()
		require.NoError(t, err, string(text))
		require.Contains(t, string(text), "note: the positions 30 to 59")
		require.Contains(t, string(text), passed)
	}
}
