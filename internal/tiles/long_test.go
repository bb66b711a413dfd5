package tiles

import (
	"crypto/ed25519"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// numbers is a published log of numbers, whose tiles of leaves are made when they are asked for.
type numbers struct{ note []byte }

func (n *numbers) leaf(i int64) audit.Hash {
	return audit.Leaf(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func (n *numbers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, width := strings.TrimPrefix(r.URL.Path, "/"), int64(256)
	if path == Checkpoint {
		_, _ = w.Write(n.note)
		return
	}
	if before, after, partial := strings.Cut(path, ".p/"); partial {
		path = before
		width, _ = strconv.ParseInt(after, 10, 64)
	}
	index, err := strconv.ParseInt(strings.NewReplacer("x", "", "/", "").Replace(strings.TrimPrefix(path, "tile/0/")), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	hashes := make([]audit.Hash, width)
	for i := range hashes {
		hashes[i] = n.leaf(index<<8 + int64(i))
	}
	_, _ = w.Write(audit.MarshalTile(hashes))
}

// TestTenMillionEntriesAreMirrored within 10 min and 100 MiB, the log's own side included.
func TestTenMillionEntriesAreMirrored(t *testing.T) {
	if os.Getenv("ARAUTO_LONG") == "" {
		t.Skip("ARAUTO_LONG is not set")
	}
	const size = 10_000_000
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	l := &sealedLog{t: t, key: audit.NewSigner(private)}
	n, tree := &numbers{}, &audit.Range{}
	for i := range int64(size) {
		tree.Append(n.leaf(i), nil)
	}
	n.note, err = l.key.Sign(audit.Checkpoint{Size: size, Root: tree.Root(), At: audit.At(time.Now())})
	require.NoError(t, err)
	server := httptest.NewServer(n)
	defer server.Close()
	began := time.Now()
	done, err := l.mirror(&Site{URL: server.URL, Client: server.Client()}, t.TempDir()).Round(t.Context())
	took := time.Since(began)
	require.NoError(t, err)
	require.Equal(t, tree.Root(), done.Root)
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	peak, err := strconv.Atoi(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(status))[1])
	require.NoError(t, err)
	t.Logf("%d entries in %s, peak memory of the process %d MiB", size, took, peak>>10)
	require.Less(t, took, 10*time.Minute)
	require.Less(t, peak>>10, 100)
}
