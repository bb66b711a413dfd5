package watch

import (
	"strings"
	"testing"

	"github.com/arauto/arauto/internal/lab/cost"
)

func TestAnEnvelopeCostsNoMoreThanItsSizeAllows(t *testing.T) {
	for name, line := range map[string]func(n int) string{
		"values": func(n int) string {
			return `{"source":"core","table":"t","values":{"a":[` + strings.Repeat("[],", n) + `1]}}`
		},
		"missing": func(n int) string {
			return `{"source":"core","table":"t","missing":[` + strings.Repeat(`"a",`, n) + `"a"],"values":{}}`
		},
		"unknown": func(n int) string { return `{"x":` + strings.Repeat("[", n) },
		"a key": func(n int) string {
			return `{"source":"core","table":"t","key":"` + strings.Repeat(`\"`, n) + `","values":{}}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			cost.Linear(t, 2000, func(n int) []byte { return []byte(line(n)) }, func(b []byte) { _, _ = ParseEnvelope(b) })
		})
	}
}
