package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
)

// TestALockThatSomebodyElseHoldsIsNoErrorOfOurs: who asks for a state meanwhile is told to ask again (503), not that we
// are broken (500).
func TestALockThatSomebodyElseHoldsIsNoErrorOfOurs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.register("itp", "https://itp.example/hook")
	b.accept(payment("itp", "p", 1, "ACSC"))
	b.do("BEGIN")
	b.do("LOCK TABLE resource IN ACCESS EXCLUSIVE MODE")
	q := notice.Question{Kind: ofb.PixPayment, ID: "p", Client: "itp"}
	_, err := b.store.Read(t.Context(), q)
	require.ErrorIs(t, err, store.ErrUnavailable)
	b.do("ROLLBACK")
	_, err = b.store.Read(t.Context(), q)
	require.NoError(t, err)
}
