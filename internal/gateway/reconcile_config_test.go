package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTimeOfReconciliationIsHoursAndMinutes(t *testing.T) {
	p := &problems{}
	cfg := standard()
	cfg.Reconcile.At = "3h30"
	cfg.checkReconcile(p)
	require.Len(t, p.list, 1)
}
