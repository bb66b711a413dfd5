package audit_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/lab/verifiers"
)

// TestAReceiptChangedByOneBitIsAcceptedByNoVerifier changes each bit of each byte of a proof for the product, and one bit of each fourth
// byte for docs/verify.py and for the verifier in a browser; with ARAUTO_LONG=1 these have each bit, too.
func TestAReceiptChangedByOneBitIsAcceptedByNoVerifier(t *testing.T) {
	l := makeLog(t, 12, 5)
	l.secret = true
	proof := l.proof(7).Marshal()
	var all, some []verifiers.File
	for at, b := range proof {
		for bit := range 8 {
			f := verifiers.File{Edits: []verifiers.Edit{{At: at, Gone: 1, New: []byte{b ^ 1<<bit}}}}
			all = append(all, f)
			if at%4 == 0 && bit == at/4%8 || os.Getenv("ARAUTO_LONG") != "" {
				some = append(some, f)
			}
		}
	}
	product := func(_ testing.TB, _ []byte, originals []verifiers.Original, files []verifiers.File) (lines []string) {
		public := audit.NewSigner(key()).Public()
		for _, f := range files {
			v, err := audit.VerifyProof(verifiers.Apply(originals[f.Of].Bytes, f.Edits), public)
			if err != nil {
				lines = append(lines, err.Error())
				continue
			}
			lines = append(lines, v.String())
		}
		return lines
	}
	for _, of := range []struct {
		name  string
		open  func(testing.TB) verifiers.Verifier
		files []verifiers.File
	}{
		{"the product", func(testing.TB) verifiers.Verifier { return product }, all},
		{"verify.py", verifiers.Python, some},
		{"the browser", verifiers.Browser, some},
	} {
		t.Run(of.name, func(t *testing.T) {
			files := append([]verifiers.File{{}}, of.files...)
			lines := of.open(t)(t, publicPEM(t), []verifiers.Original{{Bytes: bytes.Clone(proof)}}, files)
			require.Len(t, lines, len(files))
			require.NotEmpty(t, accepted(lines[0]), "as it is: %s", lines[0])
			for i, line := range lines[1:] {
				e := files[i+1].Edits[0]
				require.Empty(t, accepted(line), "byte %d, %q, changed to %q", e.At, proof[e.At], e.New)
			}
			t.Logf("%d changed receipts of %d bytes, none accepted", len(of.files), len(proof))
		})
	}
}
