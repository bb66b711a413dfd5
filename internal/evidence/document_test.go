package evidence

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestADocumentIsTheSameBytesAndGivesItsAttachmentsBack: the attachments of what our writer made are read again, and the same
// calls give the same file.
func TestADocumentIsTheSameBytesAndGivesItsAttachmentsBack(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	contents := map[string][]byte{"a.json": []byte(`{"a":1}`), "with (brackets) \\ and ç.bin": bytes.Repeat([]byte{0, '\r', '\n', 255}, 5000), "empty": {}}
	write := func() []byte {
		s := newSheets("Dossiê p-1", "rodapé", PaperFrom{Lang: "pt", Version: "1"}, at)
		require.NoError(t, s.code(strings.Repeat("checkpoint ", 25), 100, 20, 46))
		s.table([]column{{"a", 30, "L"}, {"b", 100, "R"}}, [][]string{{"ação", strings.Repeat("long ", 400)}, {"\x00漢😀", "line\nline"}})
		for _, name := range []string{"a.json", "with (brackets) \\ and ç.bin", "empty"} {
			s.attach(name, "about", contents[name])
		}
		pdf, err := s.finish()
		require.NoError(t, err)
		return pdf
	}
	pdf := write()
	if again := write(); !bytes.Equal(pdf, again) {
		i := 0
		for i < min(len(pdf), len(again)) && pdf[i] == again[i] {
			i++
		}
		t.Errorf("the second file differs from byte %d on, after %q", i, pdf[max(0, i-200):i])
	}
	files, err := attachmentsOf(pdf)
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, f := range files[:3] {
		require.Equal(t, string(contents[f.name]), string(f.content), f.name)
	}
	require.Equal(t, attachedSums, files[3].name)
	require.Equal(t, sumsOf(files[:3]), files[3].content)
}

func TestAFileThatIsNotOursIsRefusedAndNeverGuessedAt(t *testing.T) {
	s := newSheets("t", "f", PaperFrom{Lang: "en"}, time.Unix(0, 0))
	s.attach("a", "a", []byte("text"))
	pdf, err := s.finish()
	require.NoError(t, err)
	for name, other := range map[string][]byte{
		"empty":            nil,
		"cut":              pdf[:len(pdf)-1],
		"a later revision": append(bytes.Clone(pdf), pdf...),
		"no table":         bytes.Replace(pdf, []byte("xref\n0 "), []byte("xreg\n0 "), 1),
		"no names":         bytes.Replace(pdf, []byte("/EmbeddedFiles"), []byte("/EmbeddedFilez"), 1),
		"another object":   bytes.Replace(pdf, []byte("/Type /Filespec"), []byte("/Type /Filezpec"), 1),
		"another stream":   bytes.Replace(pdf, []byte("/FlateDecode /Params"), []byte("/LZWDecode   /Params"), 1),
		"a longer one":     bytes.Replace(pdf, []byte("/Size 4 >>"), []byte("/Size 3 >>"), 1),
	} {
		if name == "cut" { // the last line feed may be missing
			other = pdf[:len(pdf)-9]
		}
		_, err := attachmentsOf(other)
		require.Error(t, err, name)
	}
	for i := 0; i < len(pdf); i += 7 { // nothing that is damaged makes it panic
		damaged := bytes.Clone(pdf)
		damaged[i] ^= 0x21
		_, _ = attachmentsOf(damaged)
	}
}

func TestWhatTheFontsLackIsWrittenByItsNumber(t *testing.T) {
	require.Equal(t, "ação – “ok” \\u6f22 \\u1f600 \\u0000\\u000d\nx", printable("ação – “ok” 漢 😀 \x00\r\nx"))
}

func TestDocumentsHaveTheSameWordsInBothLanguages(t *testing.T) {
	require.Len(t, paperWords["pt"], len(paperWords["en"]))
	for name, text := range paperWords["en"] {
		require.NotEmpty(t, text, name)
		require.NotEmpty(t, paperWords["pt"][name], name)
	}
}
