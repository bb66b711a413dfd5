package main

import (
	"strings"
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

// TestAnArgumentOfACommandThatTakesNoneIsNoUnknownCommand: the flag that was meant is named where its value shows it, and the form
// of the command elsewhere.
func TestAnArgumentOfACommandThatTakesNoneIsNoUnknownCommand(t *testing.T) {
	n := 0
	for path, c := range everyCommand(t) {
		if c.HasSubCommands() || c.Args == nil || c.Args(c, []string{"nonsense.json"}) == nil {
			continue
		}
		n++
		got := call(t, time.Minute, nil, append(strings.Fields(path), "nonsense.json")...)
		require.Equal(t, usage, got.code, path)
		require.NotContains(t, got.errors, "unknown command", path)
		require.Contains(t, got.errors, `takes no argument, and "nonsense.json" is one`, path)
	}
	require.Greater(t, n, 15)
	for line, says := range map[string]string{
		"explain chg.json":                 `arauto: arauto explain takes no argument, and "chg.json" is one; write arauto explain (--change LINE | --source FILE [--table T] [--row JSON]); see arauto help`,
		"audit report --polling 2026-11":   `arauto: arauto audit report takes no argument, and "2026-11" is one; write --month 2026-11; see arauto help`,
		"audit report 2026-11-21":          `"2026-11-21" is one; write --day 2026-11-21;`,
		"audit breaches 2026-11":           `"2026-11" is one; write arauto audit breaches --from TIME --to TIME;`,
		"version 2":                        `arauto: arauto version takes no argument, and "2" is one; see arauto help`,
		"audit export --format jsonl here": `"here" is one; write arauto audit export --out FILE;`,
	} {
		got := call(t, time.Minute, nil, strings.Fields(line)...)
		require.Equal(t, usage, got.code, line)
		require.Contains(t, got.errors, says, line)
		require.Equal(t, 1, strings.Count(got.errors, "see arauto help"), line)
	}
}
