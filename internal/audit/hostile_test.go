package audit_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// packed is a member of a ZIP file that somebody makes.
type packed struct {
	name   string
	text   []byte
	method uint16
}

func unpack(t *testing.T, bundle []byte) (out []packed) {
	t.Helper()
	from, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	require.NoError(t, err)
	for _, f := range from.File {
		r, err := f.Open()
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		out = append(out, packed{f.Name, text, zip.Store})
	}
	return out
}

func pack(t *testing.T, all []packed) []byte {
	t.Helper()
	var out bytes.Buffer
	to := zip.NewWriter(&out)
	for _, p := range all {
		w, err := to.CreateHeader(&zip.FileHeader{Name: p.name, Method: p.method})
		require.NoError(t, err)
		_, err = w.Write(p.text)
		require.NoError(t, err)
	}
	require.NoError(t, to.Close())
	return out.Bytes()
}

// TestAHostileBundleIsRefusedBeforeItFillsTheMemory: a ZIP file of a few kilobytes may unfold to gigabytes, list any number of
// members, or have two of one name, of which each program reads another.
func TestAHostileBundleIsRefusedBeforeItFillsTheMemory(t *testing.T) {
	l := makeLog(t, 20, 10)
	whole := l.bundle()
	change := func(name string, do func(*packed)) []byte {
		all := unpack(t, whole)
		for i := range all {
			if all[i].name == name {
				do(&all[i])
			}
		}
		return pack(t, all)
	}
	manifest := func(do func(*audit.Manifest)) []byte {
		return change("manifest.json", func(p *packed) {
			var m audit.Manifest
			require.NoError(t, json.Unmarshal(p.text, &m))
			do(&m)
			var err error
			p.text, err = json.Marshal(m)
			require.NoError(t, err)
		})
	}
	blanks := func(n int) []byte { return bytes.Repeat([]byte{' '}, n) }
	members := unpack(t, whole)
	for i := range 20_000 {
		members = append(members, packed{fmt.Sprintf("%s-%d", strings.Repeat("x", 100), i), nil, zip.Store})
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"a member that unfolds to 32 MiB": {
			change("manifest.json", func(p *packed) { p.text, p.method = append(p.text, blanks(32<<20)...), zip.Deflate }), "unfold to more than 16 times",
		},
		"a long manifest":        {change("manifest.json", func(p *packed) { p.text = append(p.text, blanks(2<<20)...) }), "no manifest of the format"},
		"a list of many members": {pack(t, members), "not a ZIP file, or broken"},
		"two of one name":        {pack(t, append(unpack(t, whole), packed{"entries.jsonl", nil, zip.Store})), `two members "entries.jsonl"`},
		"a sum that is asked for again and again": {
			manifest(func(m *audit.Manifest) { m.Files = append(m.Files, m.Files[0]) }), "speaks of entries.jsonl twice",
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := verifyText(l, c.file)
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, "BAD seq=0", name)
		require.ErrorContains(t, err, c.want, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), name)
	}
	_, err := verifyText(l, pack(t, unpack(t, whole)))
	require.NoError(t, err)
	_, err = verifyText(l, manifest(func(*audit.Manifest) {}))
	require.NoError(t, err)
}

// TestAMemberThatIsTooLongForTheCallerIsNoFault: the file may be genuine, and another program may verify it.
func TestAMemberThatIsTooLongForTheCallerIsNoFault(t *testing.T) {
	l := makeLog(t, 20, 10)
	whole := l.bundle()
	verify := func(most int64) error {
		_, err := audit.VerifyBundleWithin(bytes.NewReader(whole), int64(len(whole)), l.signer.Public(), nil, most)
		return err
	}
	require.ErrorIs(t, verify(100), audit.ErrTooLong)
	require.NoError(t, verify(100<<10))
}
