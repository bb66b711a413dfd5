package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// InterruptedError is the error of what was cancelled while it was set up. Err is what could not be put away; nil: nothing is left of it.
type InterruptedError struct{ Err error }

// Error says so in one line.
func (e *InterruptedError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("interrupted; not everything could be put away: %v", e.Err)
	}
	return "interrupted; nothing is left behind"
}

// Unwrap is Err.
func (e *InterruptedError) Unwrap() error { return e.Err }

// signalLate is how long the same signal may take to cancel a context: a terminal sends it to all processes of a group, and one that ended by it may be
// noticed before.
const signalLate = time.Second

// Interrupted ends what was being set up because of err, by end, which is told whether ctx was cancelled. If it was, it returns an *InterruptedError
// without err, which would say only in which call that was noticed; else it joins both errors.
func Interrupted(ctx context.Context, err error, end func(interrupted bool) error) error {
	if _, exited := errors.AsType[*exec.ExitError](err); exited || errors.Is(err, io.EOF) { // a process of ours ended
		select {
		case <-ctx.Done():
		case <-time.After(signalLate):
		}
	}
	interrupted := errors.Is(ctx.Err(), context.Canceled)
	closing := end(interrupted)
	if interrupted {
		if inner, is := errors.AsType[*InterruptedError](err); is {
			closing = errors.Join(inner.Err, closing)
		}
		return &InterruptedError{closing}
	}
	return errors.Join(err, closing)
}

// abandon ends what Open began. Nobody looks into a folder of a stage that was interrupted, so that one goes even if it was to be kept.
func (s *Stage) abandon(ctx context.Context, err error) error {
	return Interrupted(ctx, err, func(interrupted bool) error {
		s.options.Keep = s.options.Keep && !interrupted
		return s.Close()
	})
}

// Discard is Close, and removes the folder of a stage that made it also if it was to be kept.
func (s *Stage) Discard() error {
	s.options.Keep = false
	return s.Close()
}

// Part is a part of a stage that runs by itself.
type Part string

// The parts.
const (
	PartDatabase Part = "database"
	PartGateway  Part = "gateway"
)

// EndedError says that a part ended while it was needed.
type EndedError struct {
	Part Part
	Log  string // its file
	Err  error  // how it ended; nil: unknown, or in order
}

// Error says so in one line.
func (e *EndedError) Error() string {
	text := fmt.Sprintf("the %s has ended by itself", e.Part)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

// Unwrap is Err.
func (e *EndedError) Unwrap() error { return e.Err }

// AwaitEnd waits until ctx ends, and returns nil; or until the database or a replica ends by itself before, and returns an *EndedError. A
// server that is not ours is not looked after.
func (s *Stage) AwaitEnd(ctx context.Context, r *Replica) error {
	var ended *EndedError
	select {
	case <-ctx.Done():
		return nil
	case <-s.Server.Ended():
		ended = &EndedError{Part: PartDatabase, Log: s.Server.LogFile()}
	case <-r.Exited():
		ended = &EndedError{Part: PartGateway, Log: r.log.Name(), Err: r.Err()}
	}
	select {
	case <-ctx.Done(): // a signal to all of them: what ended was asked to
		return nil
	default:
		return ended
	}
}
