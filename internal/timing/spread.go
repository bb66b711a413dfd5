package timing

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// growth is the ratio of the bounds of two neighbouring buckets of a distribution. Sums of the log are stored by bucket, so it is part of
// their form.
const growth = 1.05

var lnGrowth = math.Log(growth)

// Buckets bounds the number of buckets: the last one begins at about eleven days.
const Buckets = 566

// BucketOf is the bucket of a duration; what is not above 1 µs is in the first.
func BucketOf(d history.Micros) int {
	if d <= 1 {
		return 0
	}
	return min(Buckets-1, int(math.Ceil(math.Log(float64(d))/lnGrowth-1e-9)))
}

// boundOf is the longest duration in a bucket, rounded up.
func boundOf(bucket int) history.Micros {
	return history.Micros(math.Ceil(math.Pow(growth, float64(bucket))))
}

// Spread is a distribution of durations in bounded memory. Pages and reports take their percentiles from it alone, so that the same
// samples read the same everywhere, whether they were added one by one or by bucket; in the first case the longest is known exactly, and no
// percentile is above it. The zero value is empty.
type Spread struct {
	count   int64
	within  int64          // samples that are known to be at most notice.FirstWithin
	singly  int64          // samples added one by one
	most    history.Micros // the longest of them
	buckets map[int]int64
}

// Add counts the delay of a first attempt.
func (s *Spread) Add(d history.Micros) {
	if s.singly == 0 {
		s.most = d
	}
	s.singly, s.most = s.singly+1, max(s.most, d)
	if d.Duration() <= notice.FirstWithin {
		s.within++
	}
	s.AddBucket(BucketOf(d), 1)
}

// AddBucket counts n durations of a bucket.
func (s *Spread) AddBucket(bucket int, n int64) {
	if s.buckets == nil {
		s.buckets = map[int]int64{}
	}
	s.count += n
	s.buckets[bucket] += n
}

// KeptBy says how many of the durations are known to be at most notice.FirstWithin.
func (s *Spread) KeptBy(n int64) { s.within = n }

// Percentiles of durations, in microseconds, as upper bounds: a value is at most 5 % above the true one and never below it. One of a
// first attempt that was on time is never above 1.5 s. Where all samples were added one by one, Max is exact, and none is above it. All but Count
// are nil when there is no sample.
type Percentiles struct {
	Count int64           `json:"count"`
	P50   *history.Micros `json:"p50Micros"`
	P95   *history.Micros `json:"p95Micros"`
	P99   *history.Micros `json:"p99Micros"`
	Max   *history.Micros `json:"maxMicros"`
}

// Percentiles reads the distribution. It is the only way to a percentile.
func (s *Spread) Percentiles() Percentiles {
	if s.count == 0 {
		return Percentiles{}
	}
	order := slices.Sorted(maps.Keys(s.buckets))
	at := func(share float64) *history.Micros {
		rank := int64(math.Ceil(float64(s.count) * share)) // counted from 1 at the shortest
		bucket := order[len(order)-1]
		for left, i := rank, 0; i < len(order); i++ {
			if left -= s.buckets[order[i]]; left <= 0 {
				bucket = order[i]
				break
			}
		}
		v := boundOf(bucket)
		if s.singly == s.count && (v > s.most || bucket == Buckets-1) { // the last bucket has no end
			v = s.most
		}
		if limit := history.Micros(notice.FirstWithin.Microseconds()); v > limit && rank <= s.within {
			v = limit
		}
		return &v
	}
	return Percentiles{Count: s.count, P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: at(1)}
}

// Count is how many durations were added.
func (s *Spread) Count() int64 { return s.count }

// MarshalJSON writes Percentiles with 0 without a sample.
func (s Spread) MarshalJSON() ([]byte, error) {
	p := s.Percentiles()
	read := func(v *history.Micros) history.Micros {
		if v == nil {
			return 0
		}
		return *v
	}
	return json.Marshal(struct {
		Count int64          `json:"count"`
		P50   history.Micros `json:"p50Micros"`
		P95   history.Micros `json:"p95Micros"`
		P99   history.Micros `json:"p99Micros"`
		Max   history.Micros `json:"maxMicros"`
	}{s.count, read(p.P50), read(p.P95), read(p.P99), read(p.Max)})
}
