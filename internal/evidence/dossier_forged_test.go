package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/verifiers"
	"github.com/arauto/arauto/internal/uuid"
)

// paperDossier is a dossier of two entries, and the log's public key. change may alter dossier.json; the sums agree with what it makes.
func paperDossier(t *testing.T, change func(text string) string) (pdf []byte, public ed25519.PublicKey) {
	t.Helper()
	signer := audit.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	public = signer.Public()
	var tree audit.Range
	var lines [][]byte
	var leaves []audit.Hash
	var file dossierFile
	for i, kind := range []string{"change", "result"} {
		resource, of := "p-3", int16(2)
		e := audit.Entry{
			ID: uuid.UUID{15: byte(i)}, At: audit.At(time.Date(2026, 11, 21, 12, i, 0, 0, time.UTC)), XID: int64(700 + i), Kind: kind,
			ResourceKind: &of, ResourceID: &resource, Facts: fmt.Sprintf(`{"n":%d}`, i),
		}
		record := e.AppendRecord(nil, int64(i))
		leaf := audit.Leaf(record)
		tree.Append(leaf, nil)
		lines, leaves = append(lines, audit.AppendLine(nil, record, leaf)), append(leaves, leaf)
		file.Entries = append(file.Entries, entryFile{Seq: int64(i), Leaf: leaf.String(), At: e.At.String(), Kind: kind})
	}
	head := audit.Checkpoint{Size: 2, Root: tree.Root(), At: audit.At(time.Date(2026, 11, 21, 12, 5, 0, 0, time.UTC))}
	note, err := signer.Sign(head)
	require.NoError(t, err)
	var bundle bytes.Buffer
	b := audit.NewBundle(&bundle, public, head, map[string]string{"resourceId": "p-3"}, "test")
	for _, line := range lines {
		require.NoError(t, b.Entry(line))
	}
	require.NoError(t, b.Proof(0, leaves[1:]))
	require.NoError(t, b.Proof(1, leaves[:1]))
	require.NoError(t, b.Close([][]byte{note}))
	file.Format, file.ID, file.Kind, file.Log, file.Size, file.Root, file.SealedAt = DossierFormat, "p-3", "pix-payment", audit.Origin(public), 2, head.Root.String(), head.At.String()
	text, err := json.Marshal(file)
	require.NoError(t, err)
	key, err := audit.MarshalPublic(public)
	require.NoError(t, err)
	s := newSheets("t", "f", PaperFrom{Lang: "en"}, time.Unix(0, 0))
	s.attach(attachedDossier, "about", []byte(change(string(text))))
	s.attach(attachedBundle, "about", bundle.Bytes())
	s.attach(attachedCheckpoint, "about", note)
	s.attach(attachedKey, "about", key)
	pdf, err = s.finish()
	require.NoError(t, err)
	return pdf, public
}

// TestADossierThatSaysAnotherThanItsBundleIsRefused: the machine-readable dossier is not signed, so a person who passes it on can write another
// one and make the sums agree. What it repeats of the entries is compared, name for name, by the product and by the verifier in a browser.
func TestADossierThatSaysAnotherThanItsBundleIsRefused(t *testing.T) {
	browser := verifiers.Browser(t)
	swap := func(old, now string) func(string) string {
		return func(text string) string {
			require.Contains(t, text, old)
			return strings.Replace(text, old, now, 1)
		}
	}
	cases := map[string]struct {
		change func(string) string
		right  bool
	}{
		"genuine":                    {func(text string) string { return text }, true},
		"a member that nobody knows": {swap(`{"format"`, `{"new":1,"format"`), true},
		"an entry at another time":   {swap(`"at":"2026-11-21T12:01:00`, `"at":"2026-11-21T12:00:00`), false},
		"an entry of another kind":   {swap(`"kind":"result"`, `"kind":"attempt"`), false},
		"an entry without a time":    {swap(`"at":"2026-11-21T12:01:00.000000Z",`, ``), false},
		"another resource":           {swap(`"id":"p-3"`, `"id":"p-4"`), false},
		"another kind of resource":   {swap(`"kind":"pix-payment"`, `"kind":"enrollment"`), false},
		"sealed at another time":     {swap(`"sealedAt":"2026-11-21T12:05`, `"sealedAt":"2026-11-21T12:01`), false},
		"other entries beside the right": {func(text string) string {
			return strings.Replace(strings.Replace(text, `"entries":`, `"Entries":`, 1), `{"format"`, `{"entries":[],"format"`, 1)
		}, false},
		"another position beside the right": {swap(`{"seq":1,`, `{"seq":5,"Seq":1,`), false},
		"another size beside the right":     {swap(`"size":2`, `"size":3,"SIZE":2`), false},
	}
	names, originals, files := []string{}, []verifiers.Original{}, []verifiers.File{}
	var public ed25519.PublicKey
	for name, c := range cases {
		var pdf []byte
		pdf, public = paperDossier(t, c.change)
		names, originals, files = append(names, name), append(originals, verifiers.Original{Bytes: pdf}), append(files, verifiers.File{Of: len(originals)})
	}
	key, err := audit.MarshalPublic(public)
	require.NoError(t, err)
	byBrowser := browser(t, key, originals, files)
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			verdict, err := VerifyPDF(originals[i].Bytes, public, nil)
			ours := verdict.String()
			if err != nil {
				ours = err.Error()
			}
			for by, line := range map[string]string{"product": ours, "browser": byBrowser[i]} {
				require.Equal(t, cases[name].right, strings.HasPrefix(line, "genuine 2 of 2 "), "%s: %s", by, line)
				require.True(t, cases[name].right || strings.HasPrefix(line, "BAD seq="), "%s: %s", by, line)
			}
		})
	}
}
