package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
)

// periodNeeds is what a command with a period needs besides.
func periodNeeds(t *testing.T, path string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x")
	return map[string][]string{
		"audit export":       {"--out", file},
		"audit completeness": {"--client", "itp", "--out", file},
	}[path]
}

// TestNoCommandFindsNothingInAPeriodThatIsNone: a mistyped time was read as "no difference", as an empty export that is valid, and
// as a complete account of nothing, each with exit code 0.
func TestNoCommandFindsNothingInAPeriodThatIsNone(t *testing.T) {
	nowhere := []string{"ARAUTO_DATABASE_URL=postgres://127.0.0.1:1/x"}
	tomorrow := time.Now().AddDate(0, 0, 1).UTC()
	refused := func(line []string, flag string) {
		t.Helper()
		got := call(t, time.Minute, nowhere, line...)
		require.Equal(t, usage, got.code, "%q: %s%s", line, got.out, got.errors)
		require.Contains(t, got.errors, flag+": ", line)
		require.Empty(t, got.out, line)
	}
	n := 0
	for path, c := range everyCommand(t) {
		if c.Flags().Lookup("from") == nil || path == "mirror" { // its --from is an address
			continue
		}
		n++
		line := func(from, to string) []string {
			return append(append(strings.Fields(path), periodNeeds(t, path)...), "--from", from, "--to", to)
		}
		refused(line("2026-11-02T00:00:00Z", "2026-11-01T00:00:00Z"), "--to")
		refused(line("2026-11-03", "2026-11-01"), "--to")
		refused(line(tomorrow.Format(time.RFC3339), tomorrow.AddDate(1, 0, 0).Format(time.RFC3339)), "--from")
		refused(line(tomorrow.Format(time.DateOnly), tomorrow.AddDate(1, 0, 0).Format(time.DateOnly)), "--from")
		if path != "audit proof" { // it names two checkpoints, which may be the same
			refused(line("2026-11-02", "2026-11-01"), "--to")
			refused(line("2026-11-01T00:00:00Z", "2026-10-31"), "--to")
			refused(line("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"), "--to")
		}
	}
	require.GreaterOrEqual(t, n, 5)
	for _, alone := range []string{"audit reconcile", "audit export", "audit proof"} {
		refused(append(append(strings.Fields(alone), periodNeeds(t, alone)...), "--from", "9000-01-01"), "--from")
	}
	later := time.Now().In(ofb.Brasilia).AddDate(0, 1, 1)
	refused([]string{"audit", "report", "--organisation", "x", "--day", later.Format(time.DateOnly)}, "--day")
	refused([]string{"audit", "report", "--polling", "--month", later.Format("2006-01")}, "--month")
}

// TestAReportSaysHowFarItGoes: a reconciliation without --to claimed a minute of the future, and one through today the whole day.
func TestAReportSaysHowFarItGoes(t *testing.T) {
	j := openJudged(t)
	j.late("itp")
	today := time.Now().UTC().Format(time.DateOnly)
	for _, args := range [][]string{{}, {"--from", "2026-01-01"}, {"--from", "2026-01-01", "--to", today}, {"--to", "9000-01-01"}} {
		began := time.Now().Add(-time.Millisecond)
		code, out, errs := j.run(append([]string{"reconcile", "--lang", "en"}, args...)...)
		require.NotEqual(t, usage, code, errs)
		account := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
		_, account, found := strings.Cut(account, " to ")
		require.True(t, found, out)
		end, _, _ := strings.Cut(account, ": ")
		at, err := time.Parse(time.RFC3339Nano, end)
		require.NoError(t, err, out)
		require.WithinRange(t, at, began, time.Now(), "%q looked at the history up to now", args)
		require.Contains(t, account, "3 entries looked at")
	}
	_, out, errs := j.run("breaches", "--from", "2026-01-01", "--to", "9000-01-01", "--format", "json")
	require.Contains(t, out, `"late":1`, errs)
	require.NotContains(t, out, "9000")
	var filter string
	require.NoError(t, j.owner.QueryRow(t.Context(), "SELECT facts->'filter'->>'to' FROM arauto.entry WHERE outcome = 'breaches'").Scan(&filter))
	at, err := time.Parse(time.RFC3339Nano, filter)
	require.NoError(t, err)
	require.False(t, at.After(time.Now()))

	now := time.Now().In(ofb.Brasilia)
	_, _, errs = j.run("report", "--day", now.Format(time.DateOnly))
	require.Contains(t, errs, "note: the period ends at ")
	_, _, errs = j.run("report", "--polling", "--lang", "pt", "--month", now.Format("2006-01"))
	require.Contains(t, errs, "nota: o período só termina em ")
	_, _, errs = j.run("report", "--day", "2026-01-01")
	require.NotContains(t, errs, "the period ends")
	require.NotContains(t, errs, "every entry")

	_, err = j.owner.Exec(t.Context(), "INSERT INTO arauto.log_position (seq, xid, id, at, leaf) SELECT 0, xid, id, at, sha256('') FROM arauto.entry ORDER BY at LIMIT 1")
	require.NoError(t, err)
	for _, args := range [][]string{{"report", "--polling", "--lang", "en", "--month", "2026-01"}, {"report", "--day", "2026-01-01"}, {"breaches", "--lang", "en", "--from", "2026-01-01", "--to", "2026-01-31", "--format", "csv"}} {
		_, _, errs = j.run(args...)
		require.Contains(t, errs, "note: the log does not have every entry from before ", args)
	}
	_, _, errs = j.run("report", "--polling", "--month", "2026-01")
	require.Contains(t, errs, "nota: o log não tem todos os registros de antes de ")
}
