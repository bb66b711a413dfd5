package watch

import (
	"strconv"
	"strings"
	"time"
)

// Instants that are possible (see occurredAt): the systems we read are younger than this century, and no clock is more
// than a minute ahead of the commit it belongs to.
const (
	oldest = 2000
	ahead  = 60 * time.Second
)

// layouts of what counts as an instant: RFC 3339, and what databases print.
var layouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07"}

// localLayouts are those of a time without zone, which is an instant only together with one.
var localLayouts = []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", time.DateOnly}

// parseInstant reads an instant. A time without zone is none: errZoneless.
func parseInstant(v any) (time.Time, error) {
	t, err := parseTime(v, layouts)
	if err != nil {
		if _, local := parseTime(v, localLayouts); local == nil {
			return t, errZoneless
		}
	}
	return t, err
}

func parseTime(v any, layouts []string) (time.Time, error) {
	s, ok := v.(string)
	if !ok || len(s) > 64 {
		return time.Time{}, errInstant
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
				break
			}
			return t, nil
		}
	}
	return time.Time{}, errInstant
}

const errInstant = badValue("an instant is RFC 3339 text, such as 2026-11-21T12:00:00Z")

// instantOf writes an instant as the APIs do: UTC, to the second. A time without zone takes one, as second argument; an
// instant that tells its own offset needs none, and none changes it.
func instantOf(args []any) (any, error) {
	t, err := parseInstant(args[0])
	if len(args) == 2 {
		name, _ := args[1].(string)
		zone, wrong := zoneOf(name)
		if wrong != nil {
			return nil, wrong
		}
		if shown, local := parseTime(args[0], localLayouts); local == nil {
			t, err = inZone(shown, zone)
		}
	}
	if err != nil {
		return nil, err
	}
	if t.Year() < 1 || t.Year() > 9999 {
		return nil, errInstant
	}
	return t.Format("2006-01-02T15:04:05Z"), nil
}

// dateOf writes the day of an instant, in UTC, or in a zone or at an offset such as "-03:00". Of a time without zone it
// writes the day it shows.
func dateOf(args []any) (any, error) {
	if shown, local := parseTime(args[0], localLayouts); local == nil && len(args) == 1 {
		return shown.Format(time.DateOnly), nil
	}
	t, err := parseInstant(args[0])
	if err != nil {
		return nil, err
	}
	if len(args) == 2 {
		name, _ := args[1].(string)
		zone, err := zoneOf(name)
		if err != nil {
			at, wrong := time.Parse("Z07:00", name)
			if wrong != nil {
				return nil, badValue(`date() takes a zone such as "America/Sao_Paulo", or an offset such as "-03:00"`)
			}
			zone = at.Location()
		}
		if t = t.In(zone); t.Year() < 1 || t.Year() > 9999 {
			return nil, errInstant
		}
	}
	return t.Format(time.DateOnly), nil
}

// fromUnix reads a count of units since 1970, as a number or its digits.
func fromUnix(unit time.Duration) func(any) (any, error) {
	return func(v any) (any, error) {
		t, err := toText(v)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(t.(string), ".0"), 10, 64)
		const year10000 = 253402300800
		if err != nil || n < 0 || n >= year10000*int64(time.Second/unit) {
			return nil, badValue("a count since 1970 is a whole number, not negative, before the year 10000")
		}
		if unit == time.Second {
			return time.Unix(n, 0).UTC().Format(time.RFC3339Nano), nil
		}
		return time.UnixMilli(n).UTC().Format(time.RFC3339Nano), nil
	}
}

// possible reports whether something can have happened then. No clock of ours is asked, so that the same row told later
// gives the same answer: what lies ahead is measured from the commit; where that is unknown, intake judges it.
func possible(t, committed time.Time) bool {
	return t.Year() >= oldest && (committed.IsZero() || !t.After(committed.Add(ahead)))
}
