package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// timeFlag reads a flag that holds an instant, or a date alone, which is a whole day in UTC: its beginning, or with end the
// beginning of the next day. "" is a zero time.
func timeFlag(flag, text string, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return day, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, wrongUse("%s: %q is not a date or time; write it as 2026-11-21 or 2026-11-21T12:00:00Z", flag, text)
	}
	return t.UTC(), nil
}

// periodFlags gives a command the flags --from and --to; an absent one is zero.
func periodFlags(c *cobra.Command) func() (from, to time.Time, err error) {
	texts := [2]*string{
		c.Flags().String("from", "", "from this date or time on, inclusive (RFC 3339; a date begins at 00:00 UTC)"),
		c.Flags().String("to", "", "up to this time, exclusive (RFC 3339), or through this date (UTC)"),
	}
	return func() (from, to time.Time, err error) {
		for n, at := range []*time.Time{&from, &to} {
			if *at, err = timeFlag([2]string{"--from", "--to"}[n], *texts[n], n == 1); err != nil {
				return from, to, err
			}
		}
		return from, to, checkPeriod(from, to)
	}
}

// checkPeriod refuses a period in which nothing can have happened, before anything is connected to. Zero times are not given.
func checkPeriod(from, to time.Time) error {
	_, problem := history.LookedAt(from, to, time.Now())
	return wrongPeriod(from, to, problem)
}

// wrongPeriod says on the command line what is wrong with a period; nil for no problem.
func wrongPeriod(from, to time.Time, problem *notice.Problem) error {
	switch {
	case problem == nil:
		return nil
	case to.IsZero():
		return wrongUse("--%s: %s: it is %s", strings.TrimPrefix(problem.Pointer, "/"), problem.Detail, utc(from))
	}
	return wrongUse("--%s: %s: it is %s … %s", strings.TrimPrefix(problem.Pointer, "/"), problem.Detail, utc(from), utc(to))
}

// begun refuses a day or a month that begins in the future; flag is what names it.
func begun(flag string, from, now time.Time) error {
	if problem := history.Begun(from, now); problem != nil {
		return wrongUse("%s: %s: it begins at %s", flag, problem.Detail, utc(from))
	}
	return nil
}

// databaseClock tells the time by the clock of the database; *auditlog.Inspector and *auditlog.LogReader do.
type databaseClock interface {
	Now(ctx context.Context) (time.Time, error)
}

// lookedAt is where a period ends that was read just now, by the clock of the database, which dates the entries (see history.LookedAt).
func lookedAt(ctx context.Context, db databaseClock, from, to time.Time) (time.Time, error) {
	now, err := db.Now(ctx)
	if err != nil {
		return to, err
	}
	end, problem := history.LookedAt(from, to, now)
	return end, wrongPeriod(from, to, problem)
}

// lackingWords say of a period that the log does not have all of it.
var lackingWords = map[string]string{
	"pt": "nota: o log não tem todos os registros de antes de %s; o que falta não está aqui\n",
	"en": "note: the log does not have every entry from before %s; what is missing is not here\n",
}

// tellLacking says since when the log has every entry, where that is later than the beginning of a period. Zero: nothing is sealed.
func tellLacking(w world, begin, whole time.Time, lang string) {
	if whole.After(begin) {
		fmt.Fprintf(w.stderr, lackingWords[lang], utc(whole))
	}
}

// unfinishedWords say of a day or a month that it is not over.
var unfinishedWords = map[string]string{
	"pt": "nota: o período só termina em %s; o que há aqui vai até %s\n",
	"en": "note: the period ends at %s; this covers it up to %s\n",
}

// tellUnfinished says how far a report goes of a day or a month that was not over when it began.
func tellUnfinished(w world, end, now time.Time, lang string) {
	if end.After(now) {
		fmt.Fprintf(w.stderr, unfinishedWords[lang], utc(end), utc(now))
	}
}
