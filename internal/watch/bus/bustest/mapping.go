package bustest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
)

// Decode reads settings from a mapping file of a type, as production does: block is what stands below the type's name.
func Decode(t *testing.T, kind, block string, into any) error {
	t.Helper()
	m, err := watch.ParseMapping("core.yaml", []byte("source: core\ntype: "+kind+"\n"+kind+":\n"+block+`
tables:
  payments:
    kind: initiator
    client: _key
    name: name
    organisationId: organisation
    softwareId: software
    webhookUris: uris
`))
	require.NoError(t, err)
	return m.Settings(into)
}
