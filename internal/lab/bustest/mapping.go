package bustest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/bus"
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

// Of lists the mapping's tables that a bus's names fill.
func Of(names bus.Tables) []string {
	var tables []string
	for _, name := range names.Names() {
		tables = append(tables, names.Table(name))
	}
	return tables
}

// Spoilt spoils good settings in one way after the other, and expects that what is wrong then names the text of the case.
// problems is the settings' own judgement for production.
func Spoilt[S any](t *testing.T, good S, problems func(s *S, production bool) []error, cases map[string]func(*S)) {
	t.Helper()
	for names, spoil := range cases {
		s := good
		spoil(&s)
		require.ErrorContains(t, errors.Join(problems(&s, true)...), names)
	}
}
