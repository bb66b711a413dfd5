package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/tiles"
)

// TestTheLogIsPublishedAndMirrored by the commands, and a database that was written anew is noticed by both.
func TestTheLogIsPublishedAndMirrored(t *testing.T) {
	p := openProven(t, 300)
	published, copied := p.file("published"), p.file("copied")
	log := audit.VerifierKey(p.key.Public())
	code, out := p.run("audit", "tiles", "--out", published, "--database-url", p.url, "--entries")
	require.Equal(t, done, code, out)
	require.Contains(t, out, "the log of 300 entries, 300 of them new")
	mirror := []string{"mirror", "--from", published, "--out", copied, "--log", log, "--entries", "--once"}
	code, out = p.run(mirror...)
	require.Equal(t, done, code, out)
	require.Regexp(t, `^ok 300 [A-Za-z0-9+/]{43}=\n$`, out)
	bundle := filepath.Join(copied, "tile", "entries", "001.p", "44")
	require.NoError(t, os.WriteFile(bundle, []byte("damaged"), 0o600))
	code, out = p.run(mirror...)
	require.Equal(t, done, code, out)
	require.Contains(t, out, "note: tile/entries/001.p/44 was damaged in the copy, and was fetched again\n")
	require.NoError(t, os.Remove(bundle))
	code, out = p.run(mirror...)
	require.Equal(t, done, code, out)
	require.Contains(t, out, "note: 1 bundles of entries were missing in the copy, and were fetched\n")
	require.FileExists(t, bundle)
	unlock, err := tiles.Lock(copied)
	require.NoError(t, err)
	code, out = p.run(mirror...)
	require.Equal(t, usage, code, out)
	require.Contains(t, out, "another process has the folder "+copied)
	unlock()
	p.seal() // the export was recorded
	code, out = p.run("audit", "tiles", "--out", published, "--database-url", p.url)
	require.Equal(t, done, code, out)
	require.Contains(t, out, "1 of them new")

	ctx, cancel := context.WithCancel(t.Context())
	following := &lines{grown: make(chan struct{}, 1)}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, world{nil, following, io.Discard}, []string{"mirror", "--from", published, "--out", copied, "--log", log, "--every", "1s"})
	}()
	following.until(t, `ok (301) `)
	cancel()
	require.Equal(t, done, <-ended)

	p.exec("INSERT INTO arauto.entry (id, kind, facts) VALUES (gen_random_uuid(), 'change', '{}')")
	p.seal()
	other, err := p.key.Sign(audit.Checkpoint{Size: 301, At: 1})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(published, "checkpoint"), other, 0o600))
	code, out = p.run(mirror...)
	require.Equal(t, failed, code, out)
	require.Regexp(t, `^BAD seq=301 the log does not extend this copy of it: `, out)

	ctx, cancel = context.WithCancel(t.Context())
	following = &lines{grown: make(chan struct{}, 1)}
	go func() {
		ended <- run(ctx, world{nil, following, io.Discard}, []string{"mirror", "--from", published, "--out", copied, "--log", log, "--metrics-addr", "127.0.0.1:0"})
	}()
	address := following.until(t, `metrics on (\S+)`)
	following.until(t, `(BAD) seq=301`)
	site := &tiles.Site{URL: strings.TrimSuffix(address, "/metrics"), Client: &http.Client{}}
	text, err := site.Get(t.Context(), "metrics", 1<<20)
	require.NoError(t, err)
	require.Contains(t, string(text), "\narauto_mirror_fork 1\n", "it stays, so that the alarm rings")
	cancel()
	require.Equal(t, failed, <-ended)
	code, out = p.run("audit", "tiles", "--out", published, "--database-url", p.url)
	require.Equal(t, failed, code, out)
	require.Contains(t, out, "does not extend this copy")
	for want, args := range map[string][]string{
		"--out is not set": {"mirror", "--from", "x", "--log", log}, "not the verifier key": {"mirror", "--from", "x", "--out", "y", "--log", "z"}, "is too short": append(append([]string{}, mirror...), "--every", "1ms"),
		"is the published log itself": {"mirror", "--from", published, "--out", published + "/.", "--log", log},
		"over https only":             {"mirror", "--from", "http://127.0.0.1:1", "--out", "y", "--log", log, "--token-file", p.file("log.pub.pem")},
	} {
		code, out := p.run(args...)
		require.Equal(t, usage, code, out)
		require.Contains(t, out, want)
	}
}
