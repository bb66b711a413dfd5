// Package lifecycle starts the named parts of a process in order, stops them in the reverse order, and names the parts that did
// not end in time.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// CloseWithin is the end of a drain, in which nothing is waited for and files and connections are closed.
const CloseWithin = time.Second

// Part is one named thing of a running process. What is nil is not needed.
type Part struct {
	Name  string
	Start func(context.Context) error
	// Stop waits for the end of the part, and returns a *LateError when the context ends before.
	Stop func(context.Context) error
	// Release acts at once, and is called however late it is.
	Release func() error
}

// Parts lists the parts of a process in the order in which they start. They stop in the reverse order.
type Parts []Part

// LateError names the parts that had not ended when the time of a drain was over, in the order in which parts stop.
type LateError struct{ Parts []string }

// Error names the parts.
func (e *LateError) Error() string { return "did not end in time: " + strings.Join(e.Parts, ", ") }

// Start starts the parts. It returns the first error, and starts nothing after it.
func (l Parts) Start(ctx context.Context) error {
	for _, p := range l {
		if p.Start == nil {
			continue
		}
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop stops every part, also those that did not start, and returns within the given time; CloseWithin of it is left to
// releases. The error joins what the parts returned, with one *LateError for all that did not end.
func (l Parts) Stop(within time.Duration) error {
	all, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	work, cancel := context.WithTimeout(all, within-CloseWithin)
	defer cancel()
	var late LateError
	var failed []error
	for _, p := range slices.Backward(l) {
		var err error
		if p.Stop != nil {
			err = p.Stop(work)
		}
		if p.Release != nil {
			err = errors.Join(err, released(all, p))
		}
		var these *LateError
		if errors.As(err, &these) {
			late.Parts = append(late.Parts, these.Parts...)
		} else if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.Name, err))
		}
	}
	if late.Parts != nil {
		failed = append(failed, &late)
	}
	return errors.Join(failed...)
}

// released calls a part's release, and leaves it alone when ctx ends before it returns.
func released(ctx context.Context, p Part) error {
	var one Loops
	var result error
	one.Start(p.Name, func() { result = p.Release() })
	if err := one.Wait(ctx); err != nil {
		return err
	}
	return result
}

// Loop is a part that runs until a context of its caller ends.
func Loop(name string, run func()) Part {
	var one Loops
	return Part{Name: name, Start: func(context.Context) error { one.Start(name, run); return nil }, Stop: one.Wait}
}

// Always makes of an act that cannot fail the release of a part.
func Always(act func()) func() error {
	return func() error { act(); return nil }
}
