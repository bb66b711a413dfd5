package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/failure"
)

func TestEveryRefusalThatPeopleAreToldHasBothLanguages(t *testing.T) {
	for _, err := range []error{
		ErrNoPush, ErrNotOver, ErrResent, ErrOtherHold, ErrRequests, ErrRequestsOfOne, ErrOwnRequest, ErrRequestOver, ErrCarriedOut, ErrReconciling, ErrExports,
	} {
		text, is := failure.Conflict(err)
		require.True(t, is)
		require.NotEmpty(t, failure.Portuguese(err), text)
		require.NotEqual(t, text, failure.Portuguese(err))
	}
}
