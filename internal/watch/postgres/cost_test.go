package postgres

import (
	"strings"
	"testing"

	"github.com/arauto/arauto/internal/lab/cost"
)

func TestAValueCostsNoMoreThanItsSizeAllows(t *testing.T) {
	for name, text := range map[string]func(n int) string{
		"items":        func(n int) string { return "{" + strings.Repeat("1,", n) + "1}" },
		"nested":       func(n int) string { return strings.Repeat("{", n) + strings.Repeat("}", n) },
		"nested lists": func(n int) string { return "{" + strings.Repeat("{{1}},", n) + "{{1}}}" },
		"open":         func(n int) string { return strings.Repeat("{", n) },
		"quoted":       func(n int) string { return `{"` + strings.Repeat(`\"`, n) + `"}` },
		"digits":       func(n int) string { return strings.Repeat("9", n) },
		"an exponent":  func(n int) string { return "1e" + strings.Repeat("9", n) },
		"hexadecimal":  func(n int) string { return `\x` + strings.Repeat("ab", n) },
		"a document": func(n int) string {
			return `{"a":` + strings.Repeat(`[{"b":1},`, n) + "1" + strings.Repeat("]", n) + "}"
		},
		"a long instant": func(n int) string { return "2026-11-22 03:25:01." + strings.Repeat("1", n) + "+00" },
	} {
		for k := textual; k <= binary; k++ {
			single, list := &form{kind: k}, &form{kind: array, comma: ',', element: &form{kind: k}}
			cost.Linear(t, 1000, func(n int) []byte { return []byte(text(n)) }, func(b []byte) {
				single.value(b)
				list.value(b)
			})
			if t.Failed() {
				t.Fatalf("%s as form %d", name, k)
			}
		}
	}
}
