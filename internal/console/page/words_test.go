package page

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestANumberHasItsSingularWhereTheWordsHaveOne(t *testing.T) {
	sheet, err := NewSheet(fstest.MapFS{
		"words.json": {Data: []byte(`{"changes": ["%s mudanças de %s", "%s changes of %s"], "changes.one": ["%s mudança de %s", "%s change of %s"], "left": ["faltam %s", "%s left"]}`)},
		"page.html":  {Data: []byte(`{{define "p"}}{{tn "changes" .Data "alfa"}}{{end}}`)},
	})
	require.NoError(t, err)
	one := int64(1)
	require.Equal(t, "1 mudança de alfa", sheet.Counted(Portuguese, "changes", &one, "alfa"))
	require.Equal(t, "1.200 mudanças de alfa", sheet.Counted(Portuguese, "changes", 1200, "alfa"))
	require.Equal(t, "0 changes of alfa", sheet.Counted(English, "changes", 0, "alfa"))
	require.Equal(t, "faltam 1", sheet.Counted(Portuguese, "left", 1))
	require.Equal(t, "– mudanças de alfa", sheet.Counted(Portuguese, "changes", (*int64)(nil), "alfa"), "what is not known is no singular")
}
