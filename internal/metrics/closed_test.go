package metrics

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/webhook"
)

// A counter that is born with its first event shows no increase: each reason exists at 0.
func TestEveryReasonForClosingAConnectionIsCountedFromZero(t *testing.T) {
	m := New("test")
	figures := func() map[string]float64 {
		families, err := m.Registry.Gather()
		require.NoError(t, err)
		got := map[string]float64{}
		for _, f := range families {
			if f.GetName() == "arauto_webhook_connections_closed_total" {
				for _, metric := range f.GetMetric() {
					got[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
				}
			}
		}
		return got
	}
	want := map[string]float64{}
	for _, why := range webhook.CloseReasons() {
		want[string(why)] = 0
	}
	require.Len(t, want, 8)
	require.Equal(t, want, figures())
	m.Closed(webhook.ClosedMoved)
	want["moved"] = 1
	require.Equal(t, want, figures())
}
