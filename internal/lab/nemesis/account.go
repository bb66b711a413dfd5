package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// account is what is told and what is remembered of the run.
type account struct {
	began time.Time
	out   io.Writer

	mu      sync.Mutex
	windows []*window
	wrong   []string

	neighbours neighbours

	tries, unanswered, acknowledged atomic.Int64 // of changes
	asked, unasked                  atomic.Int64 // status queries: all, and those that were not answered 200
}

// window is the time in which one fault was at work.
type window struct {
	fault    *fault
	detail   string
	from, to time.Time // to is zero while it lasts

	// How much of the load felt it: the sums of the account at its beginning, and then the growth until its end.
	tries, unanswered, asked, unasked int64
}

// grace is how long after its end a fault may still be felt: leases run out, backlogs are worked off.
const grace = 15 * time.Second

// say prints one line of the live account.
func (a *account) say(who, format string, args ...any) {
	a.print("%8.2f s  %-9s %s\n", time.Since(a.began).Seconds(), who, fmt.Sprintf(format, args...))
}

// print adds to the account as it is.
func (a *account) print(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.out, format, args...)
}

// fail notes something that must not be, and says it.
func (a *account) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.mu.Lock()
	a.wrong = append(a.wrong, text)
	many := len(a.wrong) > mostSaid
	a.mu.Unlock()
	if !many {
		a.say("WRONG", "%s", text)
	}
}

// mostSaid is how many wrong results are printed; all are in the file.
const mostSaid = 60

func (a *account) faults() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.wrong...)
}

// begin opens the window of a fault.
func (a *account) begin(f *fault, format string, args ...any) *window {
	w := &window{fault: f, detail: fmt.Sprintf(format, args...), from: time.Now()}
	w.tries, w.unanswered, w.asked, w.unasked = a.tries.Load(), a.unanswered.Load(), a.asked.Load(), a.unasked.Load()
	a.mu.Lock()
	a.windows = append(a.windows, w)
	a.mu.Unlock()
	a.say("fault", "%s: %s", f.name, w.detail)
	return w
}

// end closes the window.
func (a *account) end(w *window, format string, args ...any) {
	a.mu.Lock()
	w.to = time.Now()
	w.tries, w.unanswered = a.tries.Load()-w.tries, a.unanswered.Load()-w.unanswered
	w.asked, w.unasked = a.asked.Load()-w.asked, a.unasked.Load()-w.unasked
	a.mu.Unlock()
	a.say("healed", "%s after %.1f s%s; meanwhile %d of %d tries without an answer, %d of %d polls refused or unanswered",
		w.fault.name, w.to.Sub(w.from).Seconds(), prefixed(" ", fmt.Sprintf(format, args...)), w.unanswered, w.tries, w.unasked, w.asked)
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// around lists the windows that touch a time, or ended up to margin before it.
func (a *account) around(from, to time.Time, margin time.Duration) []*window {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*window
	for _, w := range a.windows {
		if w.from.Before(to) && (w.to.IsZero() || w.to.Add(margin).After(from)) {
			out = append(out, w)
		}
	}
	return out
}

// disturbed tells whether a fault that may be felt by everybody was at work, or shortly before, or whether somebody else
// used the machine.
func (a *account) disturbed(from, to time.Time) bool {
	if a.neighbours.between(from, to) {
		return true
	}
	for _, w := range a.around(from, to, grace) {
		if !w.fault.gentle {
			return true
		}
	}
	return false
}

// touched tells whether a fault of one of these names was at work, or shortly before.
func (a *account) touched(from, to time.Time, names ...string) bool {
	for _, w := range a.around(from, to, grace) {
		for _, name := range names {
			if w.fault.name == name {
				return true
			}
		}
	}
	return false
}

// timeline lists windows, one a line, by the seconds of the run.
func (a *account) timeline(windows []*window) string {
	var b strings.Builder
	for _, w := range windows {
		to := "lasts"
		if !w.to.IsZero() {
			to = fmt.Sprintf("%8.2f s", w.to.Sub(a.began).Seconds())
		}
		fmt.Fprintf(&b, "    %8.2f s to %s  %s: %s\n", w.from.Sub(a.began).Seconds(), to, w.fault.name, w.detail)
	}
	return b.String()
}
