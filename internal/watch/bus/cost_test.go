package bus

import (
	"strings"
	"testing"

	"github.com/arauto/arauto/internal/lab/cost"
)

func TestAMessageCostsNoMoreThanItsSizeAllows(t *testing.T) {
	for name, body := range map[string]func(n int) string{
		"members": func(n int) string {
			var b strings.Builder
			for i := range n {
				b.WriteString(`"` + strings.Repeat("k", 1+i%7) + string(rune('a'+i%26)) + strings.Repeat("x", i/200) + `":1,`)
			}
			return "{" + b.String() + `"last":1}`
		},
		"a list":       func(n int) string { return `{"a":[` + strings.Repeat("1,", n) + `1]}` },
		"lists":        func(n int) string { return `{"a":[` + strings.Repeat("[[],[]],", n) + `1]}` },
		"open lists":   func(n int) string { return strings.Repeat("[", n) },
		"escapes":      func(n int) string { return `{"a":"` + strings.Repeat(`\u00e3`, n) + `"}` },
		"a long digit": func(n int) string { return `{"a":` + strings.Repeat("9", n) + `}` },
		"no UTF-8":     func(n int) string { return strings.Repeat("\xff", n) },
	} {
		t.Run(name, func(t *testing.T) {
			cost.Linear(t, 500, func(n int) []byte { return []byte(body(n)) }, func(b []byte) {
				Message{Table: "t", Key: b, Body: b, Headers: []Header{{"h", b}}}.Record()
			})
		})
	}
}
