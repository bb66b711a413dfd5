package evidence

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/timing"
)

// TestWhatAReportDoesNotHaveIsSaidInWords: it said "causes of lateness: 0".
func TestWhatAReportDoesNotHaveIsSaidInWords(t *testing.T) {
	for lang, says := range map[string][]string{
		"pt": {"causas de atraso: nenhuma\n", "causas de atraso das tentativas 2 e 3: nenhuma\n", "estados: nenhum\n", "mudanças sem aviso: nenhuma\n"},
		"en": {"causes of lateness: none\n", "causes of lateness of attempts 2 and 3: none\n", "states: none\n", "silent: none\n"},
	} {
		var out bytes.Buffer
		require.NoError(t, NewBreachWriter(&out, "text", PaperFrom{Lang: lang}).End(&timing.ClockReport{Total: timing.NewTimingSummary()}))
		for _, says := range says {
			require.Contains(t, out.String(), says)
		}
	}
}

// TestAReportSaysWhereTheLogBegins: on a month of before, or one that was removed, it said that nothing was late.
func TestAReportSaysWhereTheLogBegins(t *testing.T) {
	month := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	for lang, says := range map[string]string{
		"pt": "O log não tem todos os registros de antes de 2026-11-16 03:00:00,000 UTC · 16/11/2026", "en": "The log does not have every entry from before 2026-11-16 03:00:00.000 UTC",
	} {
		for whole, there := range map[time.Time]bool{{}: false, month: false, month.AddDate(0, 0, 15): true} {
			report := &timing.ClockReport{From: history.Moment{Time: month}, To: history.Moment{Time: month.AddDate(0, 1, 0)}, WholeSince: history.Moment{Time: whole}, Total: timing.NewTimingSummary()}
			var text, machines, paper bytes.Buffer
			require.NoError(t, NewBreachWriter(&text, "text", PaperFrom{Lang: lang}).End(report))
			require.Equal(t, there, strings.Contains(text.String(), says), text.String())
			require.NoError(t, NewBreachWriter(&machines, "json", PaperFrom{Lang: lang}).End(report))
			require.Equal(t, there, strings.Contains(machines.String(), `"wholeSince":"2026-11-16T03:00:00`), machines.String())
			require.NoError(t, NewBreachWriter(&paper, "pdf", PaperFrom{Lang: lang, Version: "1"}).End(report))
		}
	}
}
