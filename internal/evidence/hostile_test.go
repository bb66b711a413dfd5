package evidence

import (
	"bytes"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
)

// paperWith is a PDF with attachments.
func paperWith(t *testing.T, contents ...[]byte) []byte {
	t.Helper()
	s := newSheets("t", "f", PaperFrom{Lang: "en"}, time.Unix(0, 0))
	for i, content := range contents {
		s.attach(fmt.Sprint(i), "about", content)
	}
	pdf, err := s.finish()
	require.NoError(t, err)
	return pdf
}

// TestAHostilePDFIsRefusedBeforeItFillsTheMemory: attachments are compressed, so a short file may unfold to a very long one.
func TestAHostilePDFIsRefusedBeforeItFillsTheMemory(t *testing.T) {
	long := bytes.Repeat([]byte{' '}, 10<<20)
	pdf := paperWith(t, long, long, long)
	require.Less(t, len(pdf), 1<<20)
	files, err := attachmentsWithin(pdf, 31<<20)
	require.NoError(t, err)
	require.Len(t, files, 4)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = attachmentsWithin(pdf, 5<<20)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, audit.ErrTooLong)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
	_, err = attachmentsWithin(pdf, 25<<20)
	require.ErrorIs(t, err, audit.ErrTooLong, "the bound is that of all attachments together")
	_, err = VerifyFile(bytes.NewReader(pdf), int64(len(pdf)), nil, nil, 5<<20)
	require.ErrorIs(t, err, audit.ErrTooLong)
	_, err = VerifyFile(bytes.NewReader(pdf), int64(len(pdf)), nil, nil, 10)
	require.ErrorIs(t, err, audit.ErrTooLong, "the file itself is too long")

	_, err = attachmentsOf(paperWith(t, make([][]byte, attachmentsMost)...))
	require.ErrorIs(t, err, errNotOurs, "with its sums it has more attachments than any of ours")
}

// TestAPDFWhoseTablePointsBeforeTheFileIsRefused: positions in the table are digits, and what is read there may have a sign.
func TestAPDFWhoseTablePointsBeforeTheFileIsRefused(t *testing.T) {
	pdf := paperWith(t, []byte("text"))
	entry := regexp.MustCompile(`(?m)^\d{10} 00000 n`)
	require.True(t, entry.Match(pdf))
	for _, position := range []string{"-000000009", "-999999999", "+999999999", "9999999999"} {
		_, err := attachmentsOf(entry.ReplaceAll(pdf, []byte(position+" 00000 n")))
		require.ErrorIs(t, err, errNotOurs, position)
	}
}

// TestEntriesThatADossierNamesAreComparedAndNotKept: a dossier may name any number.
func TestEntriesThatADossierNamesAreComparedAndNotKept(t *testing.T) {
	leaf := audit.Leaf([]byte("x"))
	e := namedEntries{leaves: []audit.SeqLeaf{{Seq: 3, Hash: leaf, At: "2026", Kind: "change"}}}
	same := fmt.Sprintf(`{"seq":3,"leaf":%q,"at":"2026","kind":"change"}`, leaf.String())
	require.NoError(t, e.UnmarshalJSON([]byte("["+same+"]")))
	require.Equal(t, 1, e.n)
	require.Nil(t, e.other)

	many := []byte("[" + same + strings.Repeat(",{}", 300_000) + "]")
	require.NoError(t, e.UnmarshalJSON(many))
	require.Equal(t, 300_001, e.n)
	require.Nil(t, e.other)

	require.NoError(t, e.UnmarshalJSON([]byte(`[{"seq":4}]`)))
	require.Equal(t, int64(4), *e.other)
	for _, text := range []string{`{}`, `null`, `[1]`} {
		require.Error(t, e.UnmarshalJSON([]byte(text)), text)
	}
}
