package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/verifiers"
)

// TestADossierIsVerifiedInABrowser: the verifier in a browser reads a dossier as PDF, and refuses one in which any attachment is changed.
func TestADossierIsVerifiedInABrowser(t *testing.T) {
	t.Parallel()
	browser := verifiers.Browser(t)
	p := openProven(t, 0)
	p.tries(time.Now().Add(-time.Hour).Truncate(time.Second), true, .02)
	p.seal()
	file, key := p.file("dossier.pdf"), p.file("log.pub.pem")
	code, out := p.run("audit", "dossier", "p-3", "--database-url", p.url, "--format", "pdf", "--out", file)
	require.Equal(t, done, code, out)
	pdf, err := os.ReadFile(file)
	require.NoError(t, err)
	public, err := os.ReadFile(key)
	require.NoError(t, err)
	_, want := p.run("audit", "verify", "--key", key, file)
	files := []verifiers.File{{}}
	for at := 0; ; {
		i := bytes.Index(pdf[at:], []byte("/Type /EmbeddedFile "))
		if i < 0 {
			break
		}
		at += i
		at += bytes.Index(pdf[at:], []byte("stream\n")) + len("stream\n")
		for _, where := range []int{3, 9, 20} { // byte 2 has unused bits where deflate stores a block as it is
			files = append(files, verifiers.File{Edits: []verifiers.Edit{{At: at + where, Gone: 1, New: []byte{pdf[at+where] ^ 0x20}}}})
		}
	}
	require.Greater(t, len(files), 12)
	report := p.file("report.pdf")
	code, out = p.run("audit", "breaches", "--database-url", p.url, "--from", time.Now().Add(-2*time.Hour).Format(time.RFC3339), "--to", time.Now().Format(time.RFC3339), "--format", "pdf", "--out", report)
	require.Equal(t, done, code, out)
	paper, err := os.ReadFile(report)
	require.NoError(t, err)
	files = append(files, verifiers.File{Of: 1})
	lines := browser(t, public, []verifiers.Original{{Bytes: pdf}, {Bytes: paper}}, files)
	require.Empty(t, lines[len(lines)-1], "a report proves nothing and is not judged")
	lines = lines[:len(lines)-1]
	require.Contains(t, want, lines[0])
	require.True(t, strings.HasPrefix(lines[0], "genuine "), lines[0])
	for i, line := range lines[1:] {
		require.True(t, strings.HasPrefix(line, "BAD seq="), "%d: %s", i, line)
	}
}
