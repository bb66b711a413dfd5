package history

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// TestWhichChangeMadeItsResource: not a late one below all others, which has no state before it either.
func TestWhichChangeMadeItsResource(t *testing.T) {
	for _, c := range []struct {
		kind, facts string
		outcome     notice.Verdict
		first       bool
	}{
		{FactChange, `{"system":"a 1"}`, notice.Applied, true},
		{FactChange, `{"system":"a 1","from":"RCVD"}`, notice.Applied, false},
		{FactChange, `{"system":"a 1"}`, notice.Superseded, false},
		{FactDecision, `{"system":"a 1"}`, notice.Applied, false},
	} {
		e := entryOfFact(&Fact{ID: notice.ID{1}, Kind: c.kind, Client: "itp", ResourceKind: ofb.PixPayment, ResourceID: "p", Outcome: notice.Outcome(c.outcome), Facts: []byte(c.facts)})
		b, err := BriefOf(&e, &SharedWords{})
		require.NoError(t, err)
		require.Equal(t, c.first, b.First, "%+v", c)
	}
}
