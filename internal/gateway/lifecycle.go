package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DrainTimeout is how long a replica may take to go away after it was asked to (contract, "Listeners": 20 s).
const DrainTimeout = 20 * time.Second

// closeWithin is the end of a drain, in which nothing is waited for and files and connections are closed.
const closeWithin = time.Second

// component is one named thing of a running gateway. What is nil is not needed.
type component struct {
	name  string
	start func(context.Context) error
	// stop waits for the end of the part, and returns a *LateError when the context ends before.
	stop func(context.Context) error
	// release acts at once, and is called however late it is.
	release func() error
}

// lifecycle lists the parts of a gateway in the order in which they start. They stop in the reverse order.
type lifecycle []component

// LateError names the parts that had not ended when the time of a drain was over, in the order in which parts stop.
type LateError struct{ Parts []string }

// Error names the parts.
func (e *LateError) Error() string { return "did not end in time: " + strings.Join(e.Parts, ", ") }

// start starts the parts. It returns the first error, and starts nothing after it.
func (l lifecycle) start(ctx context.Context) error {
	for _, p := range l {
		if p.start == nil {
			continue
		}
		if err := p.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop stops every part, also those that did not start, and returns within the given time; closeWithin of it is left to
// releases. The error joins what the parts returned, with one *LateError for all that did not end.
func (l lifecycle) stop(within time.Duration) error {
	all, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	work, cancel := context.WithTimeout(all, within-closeWithin)
	defer cancel()
	var late LateError
	var failed []error
	for _, p := range slices.Backward(l) {
		var err error
		if p.stop != nil {
			err = p.stop(work)
		}
		if p.release != nil {
			err = errors.Join(err, released(all, p))
		}
		var these *LateError
		if errors.As(err, &these) {
			late.Parts = append(late.Parts, these.Parts...)
		} else if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	if late.Parts != nil {
		failed = append(failed, &late)
	}
	return errors.Join(failed...)
}

// released calls a part's release, and leaves it alone when ctx ends before it returns.
func released(ctx context.Context, p component) error {
	var one loops
	var result error
	one.start(p.name, func() { result = p.release() })
	if err := one.wait(ctx); err != nil {
		return err
	}
	return result
}

// loop is a part that runs until a context of the gateway ends.
func loop(name string, run func()) component {
	var one loops
	return component{name: name, start: func(context.Context) error { one.start(name, run); return nil }, stop: one.wait}
}

// always makes of an act that cannot fail the release of a part.
func always(act func()) func() error {
	return func() error { act(); return nil }
}
