package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnUnknownKeyIsToldWithoutTheNamesOfOurTypes(t *testing.T) {
	for text, key := range map[string]string{"unheard_of: 1\n": "unheard_of", "log:\n  anchor_s3:\n    buckett: x\n": "buckett"} {
		file := filepath.Join(t.TempDir(), "arauto.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := Read(file, nil)
		require.ErrorContains(t, err, "field "+key+" not found among the settings")
	}
}
