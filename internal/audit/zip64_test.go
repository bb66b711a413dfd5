package audit_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/verifiers"
)

var le = binary.LittleEndian

// elsewhere stands in a ZIP file for a number that is in a block or a record of ZIP64.
const elsewhere = 1<<32 - 1

// long64 writes a bundle in the form of a file of 4 GiB or more (ZIP64): lengths, places and the end stand in blocks and records of their own.
// With repeated, each member's own description has its lengths before its content, in a block; else they follow it, as the product writes
// them. It returns also where the list of members begins, and where each member and its descriptor do.
func long64(t *testing.T, bundle []byte, repeated bool) (out []byte, list int, parts [][2]int) {
	t.Helper()
	var entries []byte
	count := uint64(0)
	for _, p := range unpack(t, bundle) {
		place, size, sum := uint64(len(out)), uint64(len(p.text)), crc32.ChecksumIEEE(p.text)
		flags, own, extra := uint16(8), make([]byte, 12), []byte(nil)
		sums := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, sum), elsewhere), elsewhere)
		at := place // as Go's writer has it: the list has the place, and the block has it again
		if repeated {
			flags, own, at = 0, sums, elsewhere
			extra = le.AppendUint64(le.AppendUint64([]byte{1, 0, 16, 0}, size), size)
		}
		head := func(sign uint32, more []byte, sums []byte) []byte {
			b := append(le.AppendUint32(nil, sign), more...)
			b = le.AppendUint16(le.AppendUint16(le.AppendUint16(b, 45), flags), 0)
			return le.AppendUint16(append(le.AppendUint32(b, 0), sums...), uint16(len(p.name)))
		}
		out = append(out, head(0x04034b50, nil, own)...)
		out = append(append(le.AppendUint16(out, uint16(len(extra))), p.name...), extra...)
		parts = append(parts, [2]int{int(place), len(out)})
		out = append(out, p.text...)
		if !repeated {
			parts = append(parts, [2]int{len(out), len(out) + 16})
			out = le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(out, 0x08074b50), sum), uint32(size)), uint32(size))
		}
		entries = append(entries, head(0x02014b50, []byte{45, 0}, sums)...)
		entries = append(le.AppendUint16(entries, 28), make([]byte, 10)...)
		entries = append(le.AppendUint32(entries, uint32(at)), p.name...)
		entries = le.AppendUint64(le.AppendUint64(le.AppendUint64(append(entries, 1, 0, 24, 0), size), size), place)
		count++
	}
	list = len(out)
	out = append(out, entries...)
	end := uint64(len(out))
	out = le.AppendUint64(le.AppendUint32(out, 0x06064b50), 44)
	out = append(le.AppendUint16(le.AppendUint16(out, 45), 45), make([]byte, 8)...)
	out = le.AppendUint64(le.AppendUint64(le.AppendUint64(le.AppendUint64(out, count), count), uint64(len(entries))), uint64(list))
	out = le.AppendUint32(le.AppendUint64(le.AppendUint32(le.AppendUint32(out, 0x07064b50), 0), end), 1)
	out = append(le.AppendUint32(out, 0x06054b50), 0, 0, 0, 0, 255, 255, 255, 255)
	return le.AppendUint16(le.AppendUint32(le.AppendUint32(out, elsewhere), elsewhere), 0), list, parts
}

// TestThreeVerifiersReadZIP64Alike: each byte of what describes the members and of the end is changed, and they accept the same files.
func TestThreeVerifiersReadZIP64Alike(t *testing.T) {
	python, browser := verifiers.Python(t), verifiers.Browser(t)
	l := makeLog(t, 4, 4)
	originals, files := []verifiers.Original{}, []verifiers.File{}
	for i, repeated := range []bool{false, true} {
		bundle, list, parts := long64(t, l.bundle(1), repeated)
		_, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
		require.NoError(t, err)
		originals, files = append(originals, verifiers.Original{Bytes: bundle}), append(files, verifiers.File{Of: i})
		for _, p := range append(parts[:4:4], [2]int{list, len(bundle)}) { // the first members speak for the others
			for at := p[0]; at < p[1]; at++ {
				files = append(files, verifiers.File{Of: i, Edits: []verifiers.Edit{{At: at, Gone: 1, New: []byte{bundle[at] ^ 1}}}})
			}
		}
	}
	plain := l.bundle(1)
	files = append(files, verifiers.File{Of: len(originals), Edits: []verifiers.Edit{{Gone: len(plain), New: located(plain)}}})
	originals = append(originals, verifiers.Original{Bytes: plain})
	byPython, byBrowser := python(t, publicPEM(t), originals, files), browser(t, publicPEM(t), originals, files)
	right := 0
	for i, f := range files {
		ours := accepted(verdictOf(t, originals[f.Of], verifiers.Apply(originals[f.Of].Bytes, f.Edits)))
		require.Equal(t, ours, accepted(byPython[i]), "python, original %d, %v", f.Of, f.Edits)
		require.Equal(t, ours, accepted(byBrowser[i]), "browser, original %d, %v", f.Of, f.Edits)
		if len(f.Edits) == 0 {
			require.True(t, strings.HasPrefix(ours, "genuine 1 of 4 "), ours)
		}
		if ours != "" {
			right++
		}
	}
	require.Empty(t, accepted(byPython[len(files)-1]), "a locator of ZIP64 in a file that is none")
	t.Logf("%d files, of which all three accept %d: dates, versions of the maker and attributes mean nothing", len(files), right)
}

// located is a bundle, not of the form of ZIP64, whose list ends with an end and a locator of ZIP64, in the extra field of the last member. They
// say what the real end says, so who looks for a locator in each file and who does not read the same here; in another file they would not.
func located(bundle []byte) []byte {
	end := len(bundle) - 22
	count, length, list := uint64(le.Uint16(bundle[end+10:])), le.Uint32(bundle[end+12:]), le.Uint32(bundle[end+16:])
	extra := append(le.AppendUint64([]byte("PK\x06\x06"), 44), make([]byte, 12)...)
	for _, n := range []uint64{count, count, uint64(length), uint64(list)} {
		extra = le.AppendUint64(extra, n)
	}
	extra = le.AppendUint32(le.AppendUint64(append(extra, 'P', 'K', 6, 7, 0, 0, 0, 0), uint64(end)), 1)
	last, out := int(list), bytes.Clone(bundle)
	for at := last; at < end; at += 46 + int(le.Uint16(out[at+28:])) + int(le.Uint16(out[at+30:])) {
		last = at
	}
	le.PutUint16(out[last+30:], uint16(len(extra)))
	le.PutUint32(out[end+12:], length+uint32(len(extra)))
	return append(append(bytes.Clone(out[:end]), extra...), out[end:]...)
}

// sparse is a file in which zeros take no room.
type sparse struct {
	*os.File

	zeros []byte
}

// Write implements io.Writer.
func (s *sparse) Write(p []byte) (int, error) {
	if len(p) == len(s.zeros) && bytes.Equal(p, s.zeros) {
		_, err := s.Seek(int64(len(p)), 1)
		return len(p), err
	}
	return s.File.Write(p)
}

// TestABundleOfMoreThanFourGigabytesIsVerified by the product and by docs/verify.py.
func TestABundleOfMoreThanFourGigabytesIsVerified(t *testing.T) {
	if os.Getenv("ARAUTO_LONG") == "" {
		t.Skip("ARAUTO_LONG is not set")
	}
	l := makeLog(t, 100, 16)
	file, err := os.Create(filepath.Join(t.TempDir(), "bundle.zip"))
	require.NoError(t, err)
	defer file.Close()
	to := &sparse{file, make([]byte, 1<<20)}
	archive, sum := zip.NewWriter(to), sha256.New()
	const pieces = 4<<10 + 1 // of a mebibyte
	w, err := archive.CreateHeader(&zip.FileHeader{Name: "zeros", Method: zip.Store})
	require.NoError(t, err)
	require.NoError(t, archive.Flush())
	for range pieces {
		_, _ = sum.Write(to.zeros)
		_, err = w.Write(to.zeros)
		require.NoError(t, err)
		require.NoError(t, archive.Flush())
	}
	for _, p := range unpack(t, l.bundle()) {
		if p.name == "manifest.json" {
			var m map[string]any
			require.NoError(t, json.Unmarshal(p.text, &m))
			m["files"] = append(m["files"].([]any), audit.ManifestFile{Name: "zeros", Bytes: pieces << 20, SHA256: hex.EncodeToString(sum.Sum(nil))})
			p.text, err = json.Marshal(m)
			require.NoError(t, err)
		}
		w, err := archive.CreateHeader(&zip.FileHeader{Name: p.name, Method: zip.Store})
		require.NoError(t, err)
		_, err = w.Write(p.text)
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	info, err := file.Stat()
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(4<<30))
	v, err := audit.VerifyBundle(file, info.Size(), l.signer.Public(), nil)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(v.String(), "ok 100 "))
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	key := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(key, publicPEM(t), 0o600))
	out, err := exec.CommandContext(t.Context(), python, "../../docs/verify.py", "--key", key, file.Name()).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, fmt.Sprintln(v), string(out))
}
