package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnUnknownKeyIsToldWithoutTheNamesOfOurTypes(t *testing.T) {
	for text, want := range map[string]string{
		"unheard_of: 1\n":                      "field unheard_of not found among the settings; see arauto help settings",
		"log:\n  anchor_s3:\n    buckett: x\n": "field buckett not found among the settings; did you mean bucket? see arauto help settings",
		"hodler: {}\n":                         "field hodler not found among the settings; did you mean holder? see arauto help settings",
		"log:\n  tls_key: x\n":                 "field tls_key not found among the settings; it belongs to another group: see arauto help settings",
	} {
		file := filepath.Join(t.TempDir(), "arauto.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := Read(file, nil)
		require.ErrorContains(t, err, want)
	}
}
