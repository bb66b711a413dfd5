package bank

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestASearchThatIsTooWideNamesThePageOfExports: people of compliance read it in the console, and know no path of this API.
func TestASearchThatIsTooWideNamesThePageOfExports(t *testing.T) {
	for _, p := range tooWideSearch().Problems {
		require.Contains(t, p.Detail, "page Exports")
		require.Contains(t, p.DetailPT, "página Exportações")
		require.NotContains(t, p.Detail+p.DetailPT, "/internal/")
	}
	require.NotEmpty(t, tooWideSearch().Problems)
}
