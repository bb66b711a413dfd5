package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/verifiers"
	"github.com/arauto/arauto/internal/store"
)

// TestWhatAReplicaRanWithIsExportedByKindAndVerified by the three verifiers; the log folds over it.
func TestWhatAReplicaRanWithIsExportedByKindAndVerified(t *testing.T) {
	t.Parallel()
	p := openProven(t, 3)
	for _, e := range []history.StartEntry{
		{Kind: history.FactStart, Outcome: "production", Facts: history.StartFacts{Replica: "a <&>", Settings: []history.StartSetting{{Key: "public.addr", Value: ":1"}}}},
		{Kind: history.FactReload, Outcome: history.ReloadRefused, Facts: history.ReloadFacts{Setting: "webhook.crl", Reason: "one line\nand another"}},
	} {
		e.ID = store.NewID()
		require.NoError(t, p.auditlog.RecordStartEntry(t.Context(), e))
	}
	p.seal()
	step, err := p.auditlog.Fold(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, step.Entries)
	key, err := os.ReadFile(p.file("log.pub.pem"))
	require.NoError(t, err)
	browser := verifiers.Browser(t)
	for file, c := range map[string]struct {
		says    string
		filters []string
	}{
		"all.zip":     {`^ok 5 `, nil},
		"ran.zip":     {`^genuine 2 of 5 `, []string{"--entry", "start,reload"}},
		"refused.zip": {`^genuine 1 of 5 `, []string{"--entry", "reload", "--outcome", "refused"}},
		"started.zip": {`^genuine 1 of 5 `, []string{"--entry", "start", "--outcome", "production"}},
	} {
		code, out := p.run(append([]string{"audit", "export", "--database-url", p.url, "--size", "5", "--out", p.file(file)}, c.filters...)...)
		require.Equal(t, done, code, out)
		code, out = p.verify(p.file(file))
		require.Equal(t, done, code, out)
		require.Regexp(t, `(?m)`+c.says, out)
		content, err := os.ReadFile(p.file(file))
		require.NoError(t, err)
		require.Regexp(t, c.says, browser(t, key, []verifiers.Original{{Bytes: content}}, []verifiers.File{{}})[0])
		if python, err := exec.LookPath("python3"); err == nil {
			text, err := exec.CommandContext(t.Context(), python, "../../docs/verify.py", "--key", p.file("log.pub.pem"), p.file(file)).CombinedOutput()
			require.NoError(t, err, string(text))
			require.Regexp(t, `(?m)`+c.says, string(text))
		}
	}
}
