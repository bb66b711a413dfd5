package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// How a record is made of entries, whether they tell all (Fact) or what its times rest on (Brief).

// standing is where an entry stands in a record: in the order of numbers, those without one at the end, and an attempt before its result.
type standing struct {
	number int
	kind   string
	at     time.Time
}

// compare orders entries as they stand.
func (s standing) compare(other standing) int {
	rank := func(number int) int {
		if number == 0 {
			return notice.MaxAttempts + 1
		}
		return number
	}
	return cmp.Or(cmp.Compare(rank(s.number), rank(other.number)), cmp.Compare(s.kind, other.kind), s.at.Compare(other.at))
}

// announces tells whether an entry made a notification.
func announces(kind string, notification notice.ID) bool {
	return !notification.IsZero() && (kind == FactChange || kind == FactDecision || kind == FactResend)
}

// begins tells whether the entry of a kind with an interaction id records the beginning of an attempt.
func begins(kind string, interaction notice.ID) bool {
	return kind == FactAttempt || kind == FactChange && !interaction.IsZero()
}

// firstAttempt is attempt 1 as the entry of a change records it.
func firstAttempt(at time.Time, interaction notice.ID) []AttemptRecord {
	return []AttemptRecord{{Number: 1, Interaction: interaction, ScheduledAt: at.UTC(), StartedAt: at.UTC()}}
}

// attemptTold is what an attempt's entry tells.
type attemptTold struct {
	scheduledAt time.Time
	held        notice.Delay
	heldFor     time.Duration
}

func (f *AttemptFacts) told() attemptTold {
	return attemptTold{f.ScheduledAt.UTC(), f.Held, Micros(f.HeldUS).Duration()}
}

// endTold is what the entry of an attempt's end tells.
type endTold struct {
	endedAt time.Time
	echo    notice.Echo
	rescued bool
	offsets Offsets
}

func (f *endedFacts) told() endTold {
	return endTold{f.EndedAt.UTC(), f.Echo, f.Detail == LostDetail, f.offsets()}
}

// closed notes the state that an entry closes the notification in; "": it does not.
func (r *Record) closed(state notice.State) {
	if state == "" {
		return
	}
	r.State = state
	if state == notice.Cancelled {
		r.CancelReason = RegistrationEnded
	}
}

// began adds an attempt.
func (r *Record) began(number int, at time.Time, told attemptTold) *AttemptRecord {
	r.Attempts = append(r.Attempts, AttemptRecord{
		Number: number, ScheduledAt: told.scheduledAt, StartedAt: at.UTC(), Held: told.held, HeldFor: told.heldFor,
	})
	return &r.Attempts[len(r.Attempts)-1]
}

// ended notes the end of an attempt; nil: its beginning is not known.
func (r *Record) ended(number int, at time.Time, outcome notice.Outcome, told endTold) *AttemptRecord {
	i := slices.IndexFunc(r.Attempts, func(a AttemptRecord) bool { return a.Number == number })
	if i < 0 {
		return nil
	}
	a := &r.Attempts[i]
	a.Outcome, a.EndedAt, a.StoredAt = outcome, told.endedAt, at.UTC()
	a.Echo, a.Rescued, a.Offsets = told.echo, told.rescued, told.offsets
	return a
}
