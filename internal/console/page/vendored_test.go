package page

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVendoredFilesAreThoseOfTheirRelease holds htmx.min.js 2.0.11 against the SHA-256 of dist/htmx.min.js in npm's package.
func TestVendoredFilesAreThoseOfTheirRelease(t *testing.T) {
	content, err := fs.ReadFile(assets, "assets/htmx.min.js")
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	require.Equal(t, "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717", hex.EncodeToString(sum[:]))
	licence, err := fs.ReadFile(assets, "assets/htmx.LICENSE")
	require.NoError(t, err)
	require.Contains(t, string(licence), "Zero-Clause BSD")
}
