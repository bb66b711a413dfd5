package page

import (
	"fmt"
	"html/template"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// dash stands where there is nothing to show.
const dash = "–"

// formsOf are the functions of templates that write numbers and times as people of a language read them. Each takes a value or a
// pointer, and writes a dash for nil.
//
//	n 1204331            1.204.331
//	pct 0.99998          99,998 %
//	ms 64                64 ms           a duration in milliseconds
//	micros 19000         19 ms           a duration in microseconds
//	size 2048            2 KiB
//	clock AT             11:04:41,058    in Brasília
//	at AT                exact in Brasília, with UTC beside
//	ago AT               "há 3 min" with the exact time beside
//	day AT               28/11/2026      in Brasília
//	iso AT               2026-11-28T14:04:41.058000Z
//	or AT                the value, or a dash
func formsOf(l Lang) template.FuncMap {
	return template.FuncMap{
		"n":      func(v any) string { return whole(l, v) },
		"pct":    func(v any) string { return percent(l, v) },
		"ms":     func(v any) string { return Duration(l, time.Duration(number(v)*float64(time.Millisecond))) },
		"micros": func(v any) string { return Duration(l, time.Duration(number(v)*float64(time.Microsecond))) },
		"size":   func(v any) string { return bytesOf(l, number(v)) },
		"clock":  func(v any) string { return onTime(v, func(t time.Time) string { return Clock(l, t) }) },
		"day":    func(v any) string { return onTime(v, func(t time.Time) string { return day(l, t) }) },
		"iso":    func(v any) string { return onTime(v, iso) },
		"at":     func(v any) template.HTML { return exact(l, v) },
		"ago":    func(v any) template.HTML { return relative(l, v, time.Now()) },
		"or":     orDash,
	}
}

// deref follows a pointer; nil: there is nothing.
func deref(v any) any {
	r := reflect.ValueOf(v)
	for r.IsValid() && r.Kind() == reflect.Pointer {
		if r.IsNil() {
			return nil
		}
		r = r.Elem()
	}
	if !r.IsValid() {
		return nil
	}
	return r.Interface()
}

// plainText is a value as text; "" for nil.
func plainText(v any) string {
	if v = deref(v); v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func orDash(v any) string {
	if text := plainText(v); text != "" {
		return text
	}
	return dash
}

// number is a value as a number; NaN where it is none.
func number(v any) float64 {
	if v = deref(v); v == nil {
		return math.NaN()
	}
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return float64(r.Int())
	case r.CanUint():
		return float64(r.Uint())
	case r.CanFloat():
		return r.Float()
	}
	return math.NaN()
}

// decimal writes a number with a fixed number of decimals, as the language separates them.
func decimal(l Lang, v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "−", text[1:]
	}
	before, after, _ := strings.Cut(text, ".")
	thousands, point := ".", ","
	if l == English {
		thousands, point = ",", "."
	}
	var b strings.Builder
	for i, digit := range before {
		if i > 0 && (len(before)-i)%3 == 0 {
			b.WriteString(thousands)
		}
		b.WriteRune(digit)
	}
	if after == "" {
		return sign + b.String()
	}
	return sign + b.String() + point + after
}

// Whole writes a whole number for people.
func Whole(l Lang, n int64) string { return whole(l, n) }

func whole(l Lang, v any) string {
	f := number(v)
	if math.IsNaN(f) {
		return dash
	}
	return decimal(l, f, 0)
}

// percent writes a share of 1. A share that is not whole is never rounded to 0 or 100.
func percent(l Lang, v any) string {
	f := number(v) * 100
	if math.IsNaN(f) {
		return dash
	}
	decimals := 2
	if away := min(f, 100-f); away > 0 && away < 0.1 {
		decimals = 3
	}
	switch unit := math.Pow10(-decimals); {
	case f == math.Trunc(f):
		decimals = 0
	case f < 100 && f > 100-unit/2:
		return "> " + decimal(l, 100-unit, decimals) + " %"
	case f > 0 && f < unit/2:
		return "< " + decimal(l, unit, decimals) + " %"
	}
	return decimal(l, f, decimals) + " %"
}

// Duration writes a duration for people, to three digits.
func Duration(l Lang, d time.Duration) string {
	a := d
	if a < 0 {
		a = -a
	}
	switch {
	case a == math.MinInt64: // of a number that was none
		return dash
	case d == 0:
		return "0 s"
	case a < time.Millisecond:
		return decimal(l, float64(d)/float64(time.Microsecond), 0) + " µs"
	case a < time.Second:
		return decimal(l, float64(d)/float64(time.Millisecond), 0) + " ms"
	case a < 10*time.Second:
		return decimal(l, d.Seconds(), 2) + " s"
	case a < time.Minute:
		return decimal(l, d.Seconds(), 1) + " s"
	case a < time.Hour:
		return fmt.Sprintf("%s min %d s", decimal(l, math.Trunc(d.Minutes()), 0), int(a.Seconds())%60)
	case a < 48*time.Hour:
		return fmt.Sprintf("%s h %d min", decimal(l, math.Trunc(d.Hours()), 0), int(a.Minutes())%60)
	}
	return decimal(l, math.Trunc(d.Hours()/24), 0) + " d"
}

// Bytes writes a size for people, in units of 1,024.
func Bytes(l Lang, n int64) string { return bytesOf(l, float64(n)) }

func bytesOf(l Lang, v float64) string {
	if math.IsNaN(v) {
		return dash
	}
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < 1024 {
			return decimal(l, v, 0) + " " + unit
		}
		v /= 1024
	}
	return decimal(l, v, 1) + " TiB"
}

func onTime(v any, write func(time.Time) string) string {
	t, ok := deref(v).(time.Time)
	if !ok || t.IsZero() {
		return dash
	}
	return write(t)
}

func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// Clock is the time of day in Brasília, to the millisecond.
func Clock(l Lang, t time.Time) string {
	text := t.In(ofb.Brasilia).Format("15:04:05.000")
	if l == English {
		return text
	}
	return strings.Replace(text, ".", ",", 1)
}

// Day is the day in Brasília, with its year.
func Day(l Lang, t time.Time) string { return day(l, t) }

func day(l Lang, t time.Time) string {
	if l == English {
		return t.In(ofb.Brasilia).Format("2 Jan 2006")
	}
	return t.In(ofb.Brasilia).Format("02/01/2006")
}

// exactText is an instant in Brasília, with UTC beside it.
func exactText(l Lang, t time.Time) string {
	utc := t.UTC().Format("15:04:05.000")
	if l != English {
		utc = strings.Replace(utc, ".", ",", 1)
	}
	return day(l, t) + " " + Clock(l, t) + " Brasília · " + utc + " UTC"
}

func exact(l Lang, v any) template.HTML {
	t, ok := deref(v).(time.Time)
	if !ok || t.IsZero() {
		return dash
	}
	return template.HTML(`<time datetime="` + iso(t) + `">` + exactText(l, t) + `</time>`) //nolint:gosec // digits and our own words
}

// relative says how long ago an instant was, or in how long it will be, with the exact one beside it.
func relative(l Lang, v any, now time.Time) template.HTML {
	t, ok := deref(v).(time.Time)
	if !ok || t.IsZero() {
		return dash
	}
	return template.HTML(`<time datetime="` + iso(t) + `">` + Ago(l, t, now) + `</time> <span class="exact">` + exactText(l, t) + `</span>`) //nolint:gosec // digits and our own words
}

// Ago says how long before now an instant was, or how long after it.
func Ago(l Lang, t, now time.Time) string {
	d := now.Sub(t)
	past := d >= 0
	if !past {
		d = -d
	}
	var text string
	switch {
	case d < 2*time.Second && past:
		return map[Lang]string{Portuguese: "agora", English: "now"}[l]
	case d < time.Minute:
		text = fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		text = fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		text = fmt.Sprintf("%d h", int(d.Hours()))
	default:
		text = fmt.Sprintf(map[Lang]string{Portuguese: "%d dias", English: "%d days"}[l], int(d.Hours()/24))
	}
	switch {
	case l == English && past:
		return text + " ago"
	case l == English:
		return "in " + text
	case past:
		return "há " + text
	}
	return "em " + text
}

// Instant turns what a field of date and time holds, in Brasília's time, into an instant for the API. Another text is returned as it
// is, and the API says what is wrong with it.
func Instant(field string) string {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, field, ofb.Brasilia); err == nil {
			return t.UTC().Format(time.RFC3339)
		}
	}
	return field
}
