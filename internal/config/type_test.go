package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnUnknownKeyIsToldWithoutTheNamesOfOurTypes(t *testing.T) {
	for text, want := range map[string]string{
		"unheard_of: 1\n":                                            "field unheard_of not found among the settings; see arauto help settings",
		"log:\n  anchor_s3:\n    buckett: x\n":                       "field buckett not found among the settings; did you mean log.anchor_s3.bucket? see arauto help settings",
		"log:\n  kee: x\n":                                           "field kee not found among the settings; did you mean log.key? see arauto help settings",
		"signing:\n  keys: x\n":                                      "field keys not found among the settings; did you mean signing.key? see arauto help settings",
		"log: {key: x}\nsigning: {kyd: x}\n":                         "field kyd not found among the settings; did you mean signing.kid? see arauto help settings",
		"brands:\n  - name: a\n    public:\n      server_nam: [x]\n": "field server_nam not found among the settings; did you mean brands.public.server_names? see arauto help settings",
		"organisation_id: x\n":                                       "field organisation_id not found among the settings; did you mean holder.organisation_id? see arauto help settings",
		"public:\n  organization_id: x\n":                            "field organization_id not found among the settings; did you mean holder.organisation_id? see arauto help settings",
		"tls_kee: x\n":                                               "field tls_kee not found among the settings; did you mean tls_key of another group? see arauto help settings",
		"hodler: {}\n":                                               "field hodler not found among the settings; did you mean holder? see arauto help settings",
		"log:\n  tls_key: x\n":                                       "field tls_key not found among the settings; it belongs to another group: see arauto help settings",
	} {
		file := filepath.Join(t.TempDir(), "arauto.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := Read(file, nil)
		require.ErrorContains(t, err, want)
	}
}
