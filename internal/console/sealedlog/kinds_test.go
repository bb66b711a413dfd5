package sealedlog

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/evidence"
)

// TestEveryKindOfFileHasItsWords: the answer to a file that was judged showed a name of ours for one of them.
func TestEveryKindOfFileHasItsWords(t *testing.T) {
	text, err := os.ReadFile("words.json")
	require.NoError(t, err)
	var words map[string][]string
	require.NoError(t, json.Unmarshal(text, &words))
	for _, kind := range []string{evidence.FileBundle, evidence.FilePaper, evidence.FileProof, evidence.FileConsistency, evidence.FileRecords, evidence.FileReport} {
		require.Len(t, words["k."+kind], 2, kind)
	}
}
