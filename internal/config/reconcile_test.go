package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTimeOfReconciliationIsHoursAndMinutes(t *testing.T) {
	p := &Problems{}
	cfg := Standard()
	cfg.Reconcile.At = "3h30"
	cfg.checkLists(p)
	require.Len(t, p.List, 1)
}
