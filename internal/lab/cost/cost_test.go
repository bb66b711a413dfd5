package cost

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var sink [][]byte

// TestQuadraticCostIsFound keeps the instrument honest: it must fail what it is made to fail.
func TestQuadraticCostIsFound(t *testing.T) {
	quadratic := func(input []byte) {
		for i := range input {
			kept := make([]byte, i)
			sink = append(sink[:0], kept)
		}
	}
	budget := Budget{Bytes: 1 << 12, BytesPerByte: 64, Time: 1e9}
	require.Empty(t, budget.Within(64, func() { quadratic(make([]byte, 64)) }))
	require.Contains(t, budget.Within(4096, func() { quadratic(make([]byte, 4096)) }), "allocated")

	inner := &testing.T{}
	Linear(inner, 1024, func(n int) []byte { return make([]byte, n) }, quadratic)
	require.True(t, inner.Failed())

	Linear(t, 1024, func(n int) []byte { return make([]byte, n) }, func(input []byte) {
		sink = sink[:0]
		for range input {
			sink = append(sink, make([]byte, 16))
		}
	})
}
