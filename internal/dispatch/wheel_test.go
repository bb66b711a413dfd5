package dispatch

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAWheelRemembersEveryTickOnceUntilItPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &wheel{}
		var model []int64
		now := rapid.Int64Range(0, 1<<40).Draw(t, "now")
		w.clear(now)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "add") {
				n := now + rapid.Int64Range(-5, wheelTicks+5).Draw(t, "ahead")
				w.add(n)
				if n > now && n <= now+wheelTicks && !slices.Contains(model, n) {
					model = append(model, n)
				}
			} else {
				now += rapid.OneOf(rapid.Int64Range(0, 70), rapid.Int64Range(0, 2*wheelTicks)).Draw(t, "pass")
				w.clear(now)
				model = slices.DeleteFunc(model, func(n int64) bool { return n <= now })
			}
			n, ok := w.next()
			require.Equal(t, len(model) > 0, ok)
			if ok {
				require.Equal(t, slices.Min(model), n)
			}
		}
	})
}
