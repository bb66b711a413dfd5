package watch

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePageOfMappingsIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/watching.md")
	require.NoError(t, err)
	page := string(text)
	_, block, found := strings.Cut(page, "```yaml\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	m := mustParse(t, block)
	require.Equal(t, []string{"payments"}, m.Tables())

	for _, name := range functionNames {
		require.Regexp(t, "`"+name+"[`(]", page, "the function %s is not told", name)
	}
	for _, key := range append(append(changeKeys, registrationKeys...), reserved...) {
		require.Contains(t, page, "`"+key, "the key %s is not told", key)
	}
	for _, code := range []string{
		codeUnreadable, codeSchema, codeColumn, codeMissing, codeExpression, codeJoin, codeID, codeClient, codeStatus, codeInstant, codeRevision, codeLarge,
	} {
		require.Contains(t, page, "`"+code+"`", "the code %s is not told", code)
	}
}
