package audit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachConditionOfCompletenessIsMetOrNotOrUnknown(t *testing.T) {
	states := func(complete bool, notes ...string) (out [5]string) {
		for i, c := range CompletenessConditions(complete, notes) {
			out[i] = c.State
		}
		return out
	}
	const met, not, open = ConditionMet, ConditionNotMet, ConditionUnknown
	require.Equal(t, [5]string{met, met, met, met, met}, states(true, "the bundle has every entry of a from b to c: the 1 that the filter finds, and the others in context.jsonl (positions 1 to 2)"))
	require.Equal(t, [5]string{open, open, not, open, open}, states(false, noteNoCounts), "a bundle without counts is not judged by its filter, nor are its entries compared with a number")
	require.Equal(t, [5]string{open, met, not, open, open}, states(false, noteNoWindows), "nothing was counted that the entries could be compared with")
	require.Equal(t, [5]string{met, met, met, not, not}, states(false, "entries before position 4 are not counted: begin the period later", noteNoEnd))
	require.Equal(t, [5]string{met, not, met, met, not}, states(false, noteClients, "entries from position 7 on are not counted yet, and the period may reach beyond it"))
	for _, notes := range [][]string{nil, {NoteMemory}, {"a note of another version"}} {
		require.Equal(t, [5]string{open, open, open, open, open}, states(false, notes...), "%q", notes)
	}
}
