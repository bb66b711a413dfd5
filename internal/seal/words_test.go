package seal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAFailureOfOursHasWordsInPortugueseAndOneOfOthersHasNone: what an anchor or a witness met was English in both languages.
func TestAFailureOfOursHasWordsInPortugueseAndOneOfOthersHasNone(t *testing.T) {
	answered := (&reply{status: 403, body: []byte("<Error><Code>AccessDenied</Code><Message>No</Message></Error>")}).error()
	require.EqualError(t, answered, "the object store answered 403 AccessDenied: No")
	for _, c := range []struct {
		err  error
		text string
		pt   string
	}{
		{fmt.Errorf("anchor object-store: %w", answered), "anchor object-store: the object store answered 403 AccessDenied: No", "o armazenamento de objetos respondeu 403 AccessDenied: No"},
		{fmt.Errorf("%w (asked for its retention, %w)", errUnlocked, answered), "", "o armazenamento de objetos não guardou o checkpoint sob Object Lock como pedido"},
		{troubled("it answered %d", "ela respondeu %d", 500), "it answered 500", "ela respondeu 500"},
		{errors.New("dial tcp 192.0.2.1:443: connect: connection refused"), "", ""},
	} {
		got := failureOf(c.err)
		require.Equal(t, c.pt, got.pt)
		if c.text != "" {
			require.Equal(t, c.text, got.text)
		}
	}
	contradicts := troubled("%v: it vouched for %d entries", "%[2]d registros", errContradicts, 7).as(errContradicts)
	require.ErrorIs(t, contradicts, errContradicts)
	require.NotErrorIs(t, troubled("x", "y"), errContradicts)
}
