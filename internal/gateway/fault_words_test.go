package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/store"
)

func TestEachCauseOfAFaultOfTheDatabaseHasItsCureInBothLanguages(t *testing.T) {
	for _, cause := range append(store.Causes(), store.CauseRecord) {
		require.NotEmpty(t, cause.CurePT(), cause)
		require.NotEqual(t, cause.Cure(), cause.CurePT(), cause)
	}
	for _, act := range store.FaultActs() {
		require.NotEmpty(t, actsPT[act], act)
	}
	require.Len(t, actsPT, len(store.FaultActs()))
}
