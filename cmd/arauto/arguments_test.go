package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
)

// TestMissingArgumentsAreToldInTheLanguageThatIsAskedFor: the library would tell them in English.
func TestMissingArgumentsAreToldInTheLanguageThatIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		says string
		args []string
	}{
		{"trigger: name a KIND and at most one STATUS; there are 0 arguments", []string{"trigger"}},
		{"trigger: informe KIND e no máximo um STATUS; o número de valores informados é 3", []string{"trigger", "--lang", "pt", "a", "b", "c"}},
		{"poll: name one ID; there are 0 arguments", []string{"poll"}},
		{"poll: informe um ID; o número de valores informados é 0", []string{"poll", "--lang", "pt"}},
		{"poll: the ID is empty", []string{"poll", "  "}},
		{"poll: o ID está vazio", []string{"poll", "", "--lang", "pt"}},
	} {
		got := call(t, time.Minute, nil, c.args...)
		require.Equal(t, usage, got.code, "%q", c.args)
		require.Contains(t, got.errors, c.says)
	}
}

// TestAFolderThatHoldsAPKINamesTheFlagThatReplacesIt, and keeps its keys.
func TestAFolderThatHoldsAPKINamesTheFlagThatReplacesIt(t *testing.T) {
	p, err := pki()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, p.Write(dir, certs.Content{}))
	got := call(t, time.Minute, nil, "certs", dir)
	require.Equal(t, failed, got.code)
	require.Contains(t, got.errors, dir+": there is a development PKI already; choose another folder, or replace it with --overwrite")
}
