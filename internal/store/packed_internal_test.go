package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
)

// TestTheDictionaryIsTheOneThatStoredDocumentsWerePackedWith: another one gets a file and a first byte of its own.
func TestTheDictionaryIsTheOneThatStoredDocumentsWerePackedWith(t *testing.T) {
	sum := sha256.Sum256(dictionary1)
	require.Equal(t, "e34f1b53cb0cb0dd06b6788628b4d7e8276a4fd1bf934110fa9ac80b23df82c8", hex.EncodeToString(sum[:]))
	stored, err := hex.DecodeString("013c007b32670108702d31157f18223a22414353432156150008183030313931227d")
	require.NoError(t, err)
	document, err := Unpack(stored)
	require.NoError(t, err, "what this version packed, every later one reads")
	require.Equal(t, `{"paymentId":"p-1","status":"ACSC","proxy":"99999999000191"}`, string(document))
}

// TestPackedDocumentsAreTheBytesThatWereSent: of each kind and state, and of texts that do not get shorter.
func TestPackedDocumentsAreTheBytesThatWereSent(t *testing.T) {
	texts := []string{"", "{}", `{"a":1}`, strings.Repeat(" ", 100) + "{}", string([]byte{0xff, 0x00, 0x7b}), strings.Repeat("x", 1<<20)}
	var plain, packed int
	for n, kind := range ofb.Kinds() {
		for _, version := range kind.Versions() {
			for _, status := range kind.Statuses() {
				text := string(openapitest.Document(kind, version, status, openapitest.SampleID(kind, n)))
				texts = append(texts, text)
				plain, packed = plain+len(text), packed+len(pack([]byte(text)))
			}
		}
	}
	columns := make([][]byte, len(texts)) // of one batch, so none is written over by the next
	for i, text := range texts {
		columns[i] = pack([]byte(text))
	}
	for i, text := range texts {
		column := columns[i]
		require.LessOrEqual(t, len(column), len(text))
		document, err := Unpack(column)
		require.NoError(t, err)
		require.Equal(t, text, string(document))
	}
	require.Less(t, packed, plain/3)
}

// TestAPackedDocumentThatWasDamagedIsNotRead: neither is memory taken for a length that it only names.
func TestAPackedDocumentThatWasDamagedIsNotRead(t *testing.T) {
	column := pack(openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, "p"))
	require.Equal(t, byte(packedBy1), column[0])
	for _, bad := range [][]byte{column[:1], column[:len(column)-1], {packedBy1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}} {
		document, err := Unpack(bad)
		require.ErrorContains(t, err, "damaged")
		require.Nil(t, document)
		var place []byte
		require.NoError(t, (*documentColumn)(&place).ScanBytes(bad))
		require.Equal(t, bad, place, "for its reader to judge")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, "p")))
	f.Add([]byte("{}"))
	f.Add([]byte{packedBy1})
	f.Fuzz(func(t *testing.T, column []byte) {
		if document, err := Unpack(column); err == nil && len(document) > maxDocument && column[0] == packedBy1 {
			t.Fatalf("%d bytes from %d", len(document), len(column))
		}
		if document, err := Unpack(pack(column)); len(column) > 0 && column[0] != packedBy1 && (err != nil || string(document) != string(column)) {
			t.Fatalf("%q came back as %q: %v", column, document, err)
		}
	})
}

// BenchmarkPack is what packing costs a change, and unpacking a status query.
func BenchmarkPack(b *testing.B) {
	document := openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, "p-001")
	column := pack(document)
	b.Run("pack", func(b *testing.B) {
		b.ReportMetric(float64(len(column)), "B-packed")
		b.ReportMetric(float64(len(document)), "B-plain")
		for b.Loop() {
			_ = pack(document)
		}
	})
	b.Run("unpack", func(b *testing.B) {
		for b.Loop() {
			if _, err := Unpack(column); err != nil {
				b.Fatal(err)
			}
		}
	})
}
