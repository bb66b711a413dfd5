package timing

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/history"
)

// TestAPercentileOfDelaysIsAnUpperBoundWithinFivePercent compares with sorting.
func TestAPercentileOfDelaysIsAnUpperBoundWithinFivePercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(1, 9e11), 1, 200).Draw(t, "values")
		var s Spread
		for _, v := range values {
			s.Add(history.Micros(v))
		}
		slices.Sort(values)
		p := s.Percentiles()
		for _, c := range []struct {
			share float64
			got   *history.Micros
		}{{0.5, p.P50}, {0.95, p.P95}, {0.99, p.P99}, {1, p.Max}} {
			want := values[int(math.Ceil(float64(len(values))*c.share))-1]
			if got := int64(*c.got); got < want || float64(got) > 1.05*float64(want)+1 || want <= 1_500_000 && got > 1_500_000 {
				t.Fatalf("%v of %v is %d, and should be %d", c.share, values, got, want)
			}
		}
		if int64(s.Max()) != values[len(values)-1] {
			t.Fatalf("the maximum of %v is %d", values, s.Max())
		}
	})
}

func TestADistributionOfNothingHasNoPercentile(t *testing.T) {
	require.Equal(t, Percentiles{}, (&Spread{}).Percentiles())
	text, err := json.Marshal(Spread{})
	require.NoError(t, err)
	require.JSONEq(t, `{"count":0,"p50Micros":0,"p95Micros":0,"p99Micros":0,"maxMicros":0}`, string(text))
}
