package history

import (
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// LookedAt is where a period ends that is read at now: nothing is known of what lies ahead, so that a later end, and one that is not given,
// is now. It refuses a period in which nothing can have happened: that nothing was found would be read as "nothing is wrong", and a mistyped
// time is what made it. Zero times are not given. The problem points to from or to.
func LookedAt(from, to, now time.Time) (time.Time, *notice.Problem) {
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return to, &notice.Problem{
			Pointer: "/" + bySearchTo, Code: "invalid_parameter",
			Detail:   "must lie after from, for the period is empty; use a later end or an earlier beginning",
			DetailPT: "deve ser posterior a from, pois o período está vazio; use um fim posterior ou um início anterior",
		}
	}
	if problem := Begun(from, now); problem != nil {
		problem.Pointer = "/" + bySearchFrom
		return to, problem
	}
	if to.IsZero() || to.After(now) {
		to = now
	}
	return to, nil
}

// Begun refuses a period that has not begun at now; the problem lacks its pointer. A zero time is not given.
func Begun(from, now time.Time) *notice.Problem {
	if from.IsZero() || from.Before(now) {
		return nil
	}
	return &notice.Problem{
		Code: "invalid_parameter", Detail: "lies in the future, of which nothing is known yet; use an earlier time",
		DetailPT: "está no futuro, do qual nada se sabe ainda; use uma data anterior",
	}
}
