package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// TestTheLogsKeyIsReplacedAsTheManualSays runs the statements of docs/operations/log.md, and what stands around them.
func TestTheLogsKeyIsReplacedAsTheManualSays(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations/log.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(manual), "```sql\n")
	require.True(t, found)
	statements, _, found := strings.Cut(rest, "```")
	require.True(t, found)

	p := openTwice(t)
	lines := func(name string) string {
		code, out := p.run("audit", "export", "--database-url", p.url, "--format", "jsonl", "--out", p.file(name))
		require.Equal(t, done, code, out)
		text, err := os.ReadFile(p.file(name))
		require.NoError(t, err)
		return string(text)
	}
	code, out := p.run("audit", "export", "--database-url", p.url, "--out", p.file("old.zip"))
	require.Equal(t, done, code, out)
	old := lines("old.jsonl")
	require.NoError(t, os.Rename(p.file("log.pub.pem"), p.file("old.pub.pem")))

	p.exec(statements)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p.key = audit.NewSigner(private)
	public, err := audit.MarshalPublic(p.key.Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.file("log.pub.pem"), public, 0o600))
	code, out = p.run("audit", "register", p.file("log.pub.pem"), "--database-url", p.url)
	require.Equal(t, done, code, out)
	p.seal()

	code, out = p.verify("--database-url", p.url)
	require.Equal(t, done, code, out)
	again := lines("new.jsonl")
	require.True(t, strings.HasPrefix(again, old), "the new log begins as the old one was, byte for byte")
	require.Contains(t, again[len(old):], `"outcome":"log-key-replaced"`)
	require.Contains(t, again[len(old):], `\n600\n`, "with the old log's last checkpoint")
	code, out = p.run("audit", "verify", p.file("old.zip"), "--key", p.file("old.pub.pem"))
	require.Equal(t, done, code, out)
	require.Contains(t, out, "ok 600 ")
	_, err = p.owner.Exec(t.Context(), "DELETE FROM arauto.log_checkpoint")
	require.ErrorContains(t, err, "42501", "the triggers are back")
}
