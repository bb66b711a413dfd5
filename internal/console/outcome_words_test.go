package console

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/timing"
)

// TestAnOutcomeHasOneNameOnEveryPageAndInEveryDocument: a dossier said "fim desconhecido" of what its page calls "desfecho desconhecido", "pendente" of
// what is "em curso" there, and the scorecard had words of its own.
func TestAnOutcomeHasOneNameOnEveryPageAndInEveryDocument(t *testing.T) {
	english := map[string]string{}
	for _, s := range sections() {
		text, err := fs.ReadFile(s.Files, "words.json")
		require.NoError(t, err)
		var words map[string][2]string
		require.NoError(t, json.Unmarshal(text, &words))
		for _, outcome := range notice.Outcomes() {
			both, there := words["outcome."+string(outcome)]
			if !there {
				continue
			}
			require.Equal(t, timing.OutcomeWord(outcome, "pt"), both[0], "%s %s", s.Name, outcome)
			if english[string(outcome)] == "" {
				english[string(outcome)] = both[1]
			}
			require.Equal(t, english[string(outcome)], both[1], "%s %s", s.Name, outcome)
		}
	}
	require.Len(t, english, len(notice.Outcomes()))
	sheet, err := page.NewSheet(nil)
	require.NoError(t, err)
	for _, l := range page.Langs() {
		for _, state := range []notice.State{notice.Pending, notice.Delivered, notice.Exhausted, notice.Cancelled} {
			require.Regexp(t, "^"+sheet.Text(l, "state."+string(state))+"(,|$)", timing.StateWord(state, string(l)))
		}
	}
}
