package timing

import (
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// Period says which notifications are wanted: From ≤ decision < To, and those after a position, oldest first.
type Period struct {
	From, To time.Time
	Client   notice.ClientID // "": all
	After    history.Position
}

// ClockReport is the account of a period: totals, by initiator, and why changes were not told.
type ClockReport struct {
	From     history.Moment                     `json:"from"`
	To       history.Moment                     `json:"to"`
	Total    *TimingSummary                     `json:"total"`
	ByClient map[notice.ClientID]*TimingSummary `json:"byClient"`
	Silent   map[string]int64                   `json:"silent"` // changes that were not told, by reason

	// WholeSince is since when the log has every entry: it began then, or what is older was removed. Of before it the report may lack some.
	WholeSince history.Moment `json:"wholeSince"`

	Integrity history.Integrity `json:"integrity"` // of the entries that the notifications rest on; those of silent changes are not compared
}

// TimingSummary adds up the clock proofs of a period. Its size does not grow with their number.
type TimingSummary struct {
	Notifications int64                  `json:"notifications"`
	Manual        int64                  `json:"manual"` // operators' resends, which have no schedule
	States        map[notice.State]int64 `json:"states"`

	OnTime       int64                  `json:"onTime"`       // first attempts within 1.5 s of the event
	Late         int64                  `json:"late"`         // first attempts later than that, or overdue and not started
	LateOurs     int64                  `json:"lateOurs"`     // those later than 1.5 s from the change's first receipt, whatever we answered then
	Waiting      int64                  `json:"waiting"`      // not started, and still in time
	Unknown      int64                  `json:"unknown"`      // an entry they rest on is not what was sealed, or is missing: counted neither on time nor late
	LateBy       map[notice.Delay]int64 `json:"lateBy"`       // by cause, of either kind of late
	SinceEvent   Spread                 `json:"sinceEvent"`   // how soon first attempts started
	SinceReceipt Spread                 `json:"sinceReceipt"` // the same from the change's first receipt

	Retries       int64                  `json:"retries"` // second and third attempts
	RetriesOnTime int64                  `json:"retriesOnTime"`
	RetriesLate   int64                  `json:"retriesLate"`
	RetriesEarly  int64                  `json:"retriesEarly"`
	RetriesBy     map[notice.Delay]int64 `json:"retriesLateBy"`
}

// NewTimingSummary starts at nothing.
func NewTimingSummary() *TimingSummary {
	return &TimingSummary{States: map[notice.State]int64{}, LateBy: map[notice.Delay]int64{}, RetriesBy: map[notice.Delay]int64{}}
}

// Add counts one notification.
func (t *TimingSummary) Add(p *Timing) {
	t.Notifications++
	t.States[p.State]++
	if p.Manual {
		t.Manual++
		return
	}
	if p.Tampered {
		t.Unknown++
		return
	}
	switch p.First.FromEvent {
	case OnTime:
		t.OnTime++
	case TooLate:
		t.Late++
	case NotYet:
		t.Waiting++
	}
	if p.First.FromReceipt == TooLate {
		t.LateOurs++
	}
	if p.First.Late() {
		t.LateBy[p.First.Cause]++
	}
	if len(p.Attempts) > 0 {
		t.SinceEvent.Add(p.First.SinceEvent)
		t.SinceReceipt.Add(p.First.SinceReceipt)
	}
	for i := 1; i < len(p.Attempts); i++ {
		t.retry(&p.Attempts[i])
	}
}

func (t *TimingSummary) retry(a *AttemptTiming) {
	t.Retries++
	switch a.Gap {
	case OnTime:
		t.RetriesOnTime++
	case TooLate:
		t.RetriesLate++
		t.RetriesBy[a.Cause]++
	case TooEarly:
		t.RetriesEarly++
	}
}

// LateClient counts the late first attempts of one client in a period.
type LateClient struct {
	Client notice.ClientID `json:"clientId"`
	Late   int64           `json:"late"`
}
