package bank

import (
	"strings"
	"testing"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/cost"
)

func TestASearchCostsNoMoreThanItsSizeAllows(t *testing.T) {
	for name, query := range map[string]func(n int) string{
		"unknown parameters": func(n int) string { return strings.Repeat("a=1&", n) },
		"one parameter":      func(n int) string { return strings.Repeat("clientId=a&", n) },
		"escapes":            func(n int) string { return "clientId=" + strings.Repeat("%41", n) },
		"bad escapes":        func(n int) string { return strings.Repeat("%zz&", n) },
		"a cursor":           func(n int) string { return "cursor=" + strings.Repeat("A", n) },
		"an instant":         func(n int) string { return "from=2026-11-01T00:00:00." + strings.Repeat("0", n) + "Z" },
		"a limit":            func(n int) string { return "limit=" + strings.Repeat("9", n) },
		"separators":         func(n int) string { return strings.Repeat("&;=", n) },
	} {
		t.Run(name, func(t *testing.T) {
			cost.Linear(t, 1000, query, func(q string) {
				_, _, _ = searchOf(q, now, brand.List{})
				_, _ = openCursor([]byte("key"), history.Filter{}, q)
			})
		})
	}
}
