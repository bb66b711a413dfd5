// Package logging is the log of the process: JSON lines, of which one kind is written so many times a minute, behind a buffer
// that nobody waits for. What is evidence is in the history, never here.
package logging

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// What LimitedLog lets through.
const (
	limitedWithin = time.Minute // of one kind of line, counted from its first
	limitedLines  = 3           // so many of one kind
	limitedKinds  = 10_000      // kinds that are told apart; lines of further ones are written
)

// limitedBy are the attributes that tell kinds of lines apart, beside level and message.
var limitedBy = []string{"client", "source", "listener", "chore", "file", "direction", "partition", "in", "act", "anchor", "subject", "serial"}

// LimitedLog is a log an operator can live with in an outage: of lines at WARN and above that have the same message, and the
// same client, source or file, three a minute are written. A later line with the attribute left_out says how many were left
// out and since when; it is written with the next line of any kind. Lines below WARN are written as they come. Durations are
// written with their unit, such as "1.5s".
//
// The history is no part of this log: nothing that is evidence is left out.
type LimitedLog struct {
	to     slog.Handler
	attrs  string // of With: they tell kinds apart as well
	shared *limits
}

// limits are shared by all handlers that With made of one.
type limits struct {
	mu   sync.Mutex
	next time.Time // when the oldest kind ends
	of   map[string]*limitedKind
}

type limitedKind struct {
	since   time.Time
	written int
	leftOut int
	last    slog.Record // of the lines left out
	to      slog.Handler
}

// NewLimitedLog limits what goes to a handler.
func NewLimitedLog(to slog.Handler) *LimitedLog {
	return &LimitedLog{to: to, shared: &limits{of: map[string]*limitedKind{}}}
}

// Enabled implements slog.Handler.
func (l *LimitedLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.to.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (l *LimitedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	key, attrs := l.attrs, slices.Clone(attrs)
	for i := range attrs {
		key += tells(attrs[i])
		attrs[i] = withUnit(attrs[i])
	}
	return &LimitedLog{to: l.to.WithAttrs(attrs), attrs: key, shared: l.shared}
}

// WithGroup implements slog.Handler.
func (l *LimitedLog) WithGroup(name string) slog.Handler {
	return &LimitedLog{to: l.to.WithGroup(name), attrs: l.attrs + "\x00" + name, shared: l.shared}
}

// Handle implements slog.Handler.
func (l *LimitedLog) Handle(ctx context.Context, r slog.Record) error {
	write, over := l.judge(&r)
	for _, k := range over {
		_ = k.to.Handle(ctx, withUnits(k.account())) // the line at hand tells of the same trouble
	}
	if !write {
		return nil
	}
	return l.to.Handle(ctx, withUnits(r))
}

// judge tells whether a line is written, and takes the kinds whose minute is over and of which lines were left out.
func (l *LimitedLog) judge(r *slog.Record) (write bool, over []*limitedKind) {
	s := l.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.next.IsZero() && !r.Time.Before(s.next) {
		over = s.end(r.Time)
	}
	if r.Level < slog.LevelWarn {
		return true, over
	}
	key := l.kind(r)
	k := s.of[key]
	if k == nil {
		if len(s.of) >= limitedKinds {
			return true, over
		}
		k = &limitedKind{since: r.Time, to: l.to}
		s.of[key] = k
		if s.next.IsZero() {
			s.next = r.Time.Add(limitedWithin)
		}
	}
	if k.written < limitedLines {
		k.written++
		return true, over
	}
	k.leftOut, k.last = k.leftOut+1, r.Clone()
	return false, over
}

// end forgets the kinds whose minute is over and returns those of which lines were left out, the oldest first.
func (s *limits) end(now time.Time) (over []*limitedKind) {
	s.next = time.Time{}
	for key, k := range s.of {
		until := k.since.Add(limitedWithin)
		if now.Before(until) {
			if s.next.IsZero() || until.Before(s.next) {
				s.next = until
			}
			continue
		}
		delete(s.of, key)
		if k.leftOut > 0 {
			over = append(over, k)
		}
	}
	slices.SortFunc(over, func(a, b *limitedKind) int { return a.since.Compare(b.since) })
	return over
}

// account is the last line that was left out, with how many there were.
func (k *limitedKind) account() slog.Record {
	r := k.last
	r.AddAttrs(slog.Int("left_out", k.leftOut), slog.Time("left_out_since", k.since.UTC()))
	return r
}

// kind is what lines that are limited together have in common.
func (l *LimitedLog) kind(r *slog.Record) string {
	key := r.Level.String() + "\x00" + r.Message + l.attrs
	r.Attrs(func(a slog.Attr) bool {
		key += tells(a)
		return true
	})
	return key
}

// tells is what an attribute adds to the kind of a line.
func tells(a slog.Attr) string {
	if !slices.Contains(limitedBy, a.Key) {
		return ""
	}
	return "\x00" + a.Key + "=" + a.Value.String()
}

// withUnits is a line whose durations are texts with their unit, to the millisecond; slog would write bare numbers of nanoseconds. Almost no
// line has one, and a function that slog calls for each attribute would take a third of the time of a line.
func withUnits(r slog.Record) slog.Record {
	bare := false
	r.Attrs(func(a slog.Attr) bool {
		bare = hasDuration(a)
		return !bare
	})
	if !bare {
		return r
	}
	spelled := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		spelled.AddAttrs(withUnit(a))
		return true
	})
	return spelled
}

func hasDuration(a slog.Attr) bool {
	return a.Value.Kind() == slog.KindDuration || a.Value.Kind() == slog.KindGroup && slices.ContainsFunc(a.Value.Group(), hasDuration)
}

func withUnit(a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindDuration:
		return slog.String(a.Key, a.Value.Duration().Round(time.Millisecond).String())
	case slog.KindGroup:
		members := slices.Clone(a.Value.Group())
		for i := range members {
			members[i] = withUnit(members[i])
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(members...)}
	default:
		return a
	}
}

// NewLog makes the log of the process: JSON lines, limited as LimitedLog says.
func NewLog(out *LogWriter) *slog.Logger {
	return slog.New(NewLimitedLog(slog.NewJSONHandler(out, nil)))
}
