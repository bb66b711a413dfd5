package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// attempt makes one claimed attempt and hands its outcome to the loop, whatever happens.
func (l *loop) attempt(done *result) {
	defer func() {
		if done.Result.Outcome == "" {
			done.Result = unsent("the sender did not return")
		}
		if done.Result.EndedAt.IsZero() {
			done.Result.EndedAt = time.Now()
		}
		select {
		case l.sendDone <- done:
		case <-l.gone:
		}
	}()
	done.Result = l.send(done.Attempt)
}

// send makes the attempt unless it is too late for it, and turns whatever goes wrong on our side into a result.
func (l *loop) send(a notice.Attempt) (result notice.Result) {
	begun := time.Now()
	if begun.Sub(a.ClaimedAt)+l.cfg.Timeout > l.cfg.Lease {
		return unsent("not sent: the claim took too long to leave room for an attempt within its lease")
	}
	if l.sends.Err() != nil {
		return unsent("not sent: " + errShutdown.Error())
	}
	ctx := until{l.sends, begun.Add(l.cfg.Timeout)}
	defer func() {
		if p := recover(); p != nil {
			l.panicked("attempt", p, "notification", a.Notification, "number", a.Number, "interaction", a.Interaction)
			result = notice.Result{Outcome: notice.OutcomeUnknown, Detail: "panic in the sender", Elapsed: time.Since(begun)}
		}
	}()
	result, err := l.sender.Send(ctx, a)
	switch {
	case err != nil:
		result = unsent("not sent: " + err.Error())
	case result.Outcome == "":
		result.Outcome, result.Detail = notice.OutcomeUnknown, "the sender gave no outcome"
	case errors.Is(context.Cause(ctx), errShutdown) && result.HTTPStatus == 0:
		// We cut it off; what it looked like to the sender is not the receiver's doing.
		result.Outcome, result.Detail = notice.OutcomeUnknown, "cut off: "+errShutdown.Error()
	}
	if result.Elapsed == 0 {
		result.Elapsed = time.Since(begun)
	}
	return result
}

// until is a context with a deadline that its receiver keeps: no timer ends it, as each attempt would need one. A context that is derived from it
// with a later deadline has no timer either: the standard library takes it that this one ends sooner.
type until struct {
	context.Context
	deadline time.Time
}

// Deadline is by when the attempt is to end.
func (u until) Deadline() (time.Time, bool) { return u.deadline, true }

// unsent is the result of an attempt of which nothing was sent, or of which nobody knows. Its number is used (D-8).
func unsent(why string) notice.Result {
	return notice.Result{Outcome: notice.OutcomeUnknown, Detail: clip(why)}
}

// clip escapes what is not plain text and keeps 256 characters, as Result.Detail promises.
func clip(s string) string {
	quoted := strconv.QuoteToASCII(s[:min(len(s), 256)])
	quoted = quoted[1 : len(quoted)-1]
	return quoted[:min(len(quoted), 256)]
}

// account writes the one line that tells an attempt's story, once its outcome is stored. It holds no personal data.
func (l *loop) account(s *notice.Settlement) {
	ctx, a, r := context.Background(), &s.Attempt, &s.Result
	if l.log.Enabled(ctx, slog.LevelInfo) {
		l.log.LogAttrs(ctx, slog.LevelInfo, "attempt", slog.Attr{Value: slog.GroupValue(story(a, r)...)}) // without a name: its members are the line's own
	}
	if r.Outcome.Success() || !l.log.Enabled(ctx, slog.LevelWarn) {
		return
	}
	message := "attempt failed"
	if s.GivesUp() {
		message = "notification given up"
	}
	l.log.Warn(message, "client", string(a.Client), "notification", a.Notification.String(), "number", a.Number, "kind", a.Kind.String(), //nolint:sloglint // one of two constants
		"resource", a.ResourceID, "outcome", string(r.Outcome), "status", r.HTTPStatus)
}

// story is what the line of an attempt tells.
func story(a *notice.Attempt, r *notice.Result) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("notification", a.Notification.String()),
		slog.Int("number", a.Number),
		slog.String("interaction", a.Interaction.String()),
		slog.String("client", string(a.Client)),
		slog.String("kind", a.Kind.String()),
		slog.String("resource", a.ResourceID),
		slog.String("outcome", string(r.Outcome)),
		slog.Int("status", r.HTTPStatus),
		slog.String("stage", stage(r)),
		slog.Int64("elapsed_ms", r.Elapsed.Milliseconds()),
		slog.Int64("delay_ms", a.StartedAt.Sub(a.ScheduledAt).Milliseconds()),
		slog.Bool("late", a.Late),
	}
	if a.Manual {
		attrs = append(attrs, slog.Bool("manual", true))
	}
	if r.Detail != "" {
		attrs = append(attrs, slog.String("detail", r.Detail))
	}
	return attrs
}

// stage names how far an attempt came.
func stage(r *notice.Result) string {
	switch {
	case r.HTTPStatus != 0 || r.Answered > 0:
		return "answered"
	case r.FirstByteOut > 0:
		return "sent"
	case r.Handshaken > 0 || r.Reused:
		return "connected"
	case r.Dialled > 0:
		return "dialled"
	default:
		return "none"
	}
}
