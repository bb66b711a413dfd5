package evidence

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/timing"
)

// TestWhatAReportDoesNotHaveIsSaidInWords: it said "causes of lateness: 0".
func TestWhatAReportDoesNotHaveIsSaidInWords(t *testing.T) {
	for lang, says := range map[string][]string{
		"pt": {"causas de atraso: nenhuma\n", "causas de atraso das tentativas 2 e 3: nenhuma\n", "estados: nenhum\n", "silêncios: nenhum\n"},
		"en": {"causes of lateness: none\n", "causes of lateness of attempts 2 and 3: none\n", "states: none\n", "silent: none\n"},
	} {
		var out bytes.Buffer
		require.NoError(t, NewBreachWriter(&out, "text", PaperFrom{Lang: lang}).End(&timing.ClockReport{Total: timing.NewTimingSummary()}))
		for _, says := range says {
			require.Contains(t, out.String(), says)
		}
	}
}
