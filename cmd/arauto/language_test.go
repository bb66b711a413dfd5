package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
)

// TestDocumentsOfAuditCommandsArePortugueseUnlessAsked: one rule for all of them, whatever the environment's language is.
func TestDocumentsOfAuditCommandsArePortugueseUnlessAsked(t *testing.T) {
	n := 0
	for path, c := range everyCommand(t) {
		flag := c.Flags().Lookup("lang")
		if flag == nil || !strings.HasPrefix(path, "audit ") && path != "conformance" {
			continue
		}
		n++
		require.Equal(t, "pt", flag.DefValue, path)
	}
	require.Equal(t, 5, n, "dossier, breaches, reconcile, report and conformance")
}

// TestTheReportOfPollingIsPortugueseAndItsCSVKeepsItsColumns: programs read the columns by name.
func TestTheReportOfPollingIsPortugueseAndItsCSVKeepsItsColumns(t *testing.T) {
	t.Parallel()
	j := openJudged(t)
	month := time.Now().In(ofb.Brasilia).Format("2006-01")
	for args, want := range map[string]string{
		"": "iniciadora", "--lang en": "initiator", "--format csv": "initiator", "--format csv --lang pt": "iniciadora",
	} {
		code, out, errs := j.run(append([]string{"report", "--polling", "--month", month}, strings.Fields(args)...)...)
		require.Equal(t, done, code, errs)
		require.True(t, strings.HasPrefix(strings.TrimPrefix(out, "\ufeff"), want), "%s: %s", args, out)
	}
}
