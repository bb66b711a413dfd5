package verifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThePolicyOfThePageNamesItsOwnCode: the page runs and asks for nothing but what its policy names by its hash.
func TestThePolicyOfThePageNamesItsOwnCode(t *testing.T) {
	for tag, source := range map[string]string{"script": "script-src", "style": "style-src"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllSubmatch(Page, -1)
		require.Len(t, found, 1)
		sum := sha256.Sum256(found[0][1])
		require.Contains(t, string(Page), source+" 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", "docs/verifier/csp.sh writes it")
	}
	require.Contains(t, string(Page), `content="default-src 'none'; script-src 'sha256-`)
	require.NotRegexp(t, `https?://`, string(Page), "it names no address")
	require.Less(t, bytes.Count(Page, []byte("\n")), 1500)
}
