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

// TestAPercentileOfDelaysIsAnUpperBoundWithinFivePercent compares with sorting. None is above the maximum, which is exact.
func TestAPercentileOfDelaysIsAnUpperBoundWithinFivePercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(-5, 9e13), 1, 200).Draw(t, "values")
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
			if got := int64(*c.got); got < want || want < 9e11 && float64(got) > 1.05*float64(max(want, 0))+1 || want <= 1_500_000 && got > 1_500_000 {
				t.Fatalf("%v of %v is %d, and should be %d", c.share, values, got, want)
			}
		}
		if int64(*p.Max) != values[len(values)-1] || *p.P50 > *p.P95 || *p.P95 > *p.P99 || *p.P99 > *p.Max {
			t.Fatalf("of %v: %d, %d, %d, and the maximum is %d", values, *p.P50, *p.P95, *p.P99, *p.Max)
		}
	})
}

// TestNoPercentileOfAReportIsAboveItsMaximum: its JSON had a p99 of 4.08 s and a maximum of 4 s.
func TestNoPercentileOfAReportIsAboveItsMaximum(t *testing.T) {
	var s Spread
	s.Add(4_000_000)
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"count":1,"p50Micros":4000000,"p95Micros":4000000,"p99Micros":4000000,"maxMicros":4000000}`, string(text))
	s.AddBucket(BucketOf(5_000_000), 1)
	require.GreaterOrEqual(t, *s.Percentiles().Max, history.Micros(5_000_000), "of one duration its bucket alone is known")
}

func TestADistributionOfNothingHasNoPercentile(t *testing.T) {
	require.Equal(t, Percentiles{}, (&Spread{}).Percentiles())
	text, err := json.Marshal(Spread{})
	require.NoError(t, err)
	require.JSONEq(t, `{"count":0,"p50Micros":0,"p95Micros":0,"p99Micros":0,"maxMicros":0}`, string(text))
}
