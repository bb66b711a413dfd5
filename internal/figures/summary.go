package figures

import (
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

// Summary is what sums say, for pages and reports. A share or percentile without a sample is null.
type Summary struct {
	Changes       int64            `json:"changes"`       // applied, or kept as superseded
	Notifications int64            `json:"notifications"` // decided in the period; operators' resends are not among them
	Silent        map[string]int64 `json:"silent"`        // changes that were not told, by reason
	Refused       int64            `json:"refused"`       // changes that were answered 503, as far as they left a trace
	Quarantined   int64            `json:"quarantined"`
	Duplicates    int64            `json:"duplicates"`
	Conflicts     int64            `json:"conflicts"`

	First    First              `json:"first"`
	Retries  Retries            `json:"retries"`
	Answer   timing.Percentiles `json:"answer"`   // from the first byte of an attempt to the head of its answer
	Outcomes map[string]Tally   `json:"outcomes"` // of attempts 1, 2 and 3
	Closed   Tally              `json:"closed"`   // delivered, exhausted, cancelled
	Echo     Tally              `json:"echo"`     // match, missing, different
	Fetched  int64              `json:"fetched"`  // delivered notifications whose resource the client has asked for since
	Ignored  int64              `json:"ignored"`  // delivered and not asked for up to now
	Manual   Manual             `json:"manual"`   // operators' resends, which count nowhere else
	Acks     Tally              `json:"acks"`     // what initiators said of notifications: processed, refused
	Lost     int64              `json:"lost"`     // results whose notification is not in the log
	Polls    PollSums           `json:"polls"`
}

// Tally counts by word.
type Tally map[string]int64

// First judges first attempts: those whose end is recorded.
type First struct {
	Judged   int64    `json:"judged"`      // on time or late
	OnTime   int64    `json:"onTime"`      // within 1.5 s of the event
	Late     int64    `json:"late"`        // later than that
	LateOurs int64    `json:"lateOurs"`    // later than 1.5 s from the first receipt of their change
	Unknown  int64    `json:"unknown"`     // an entry they rest on is not what was sealed
	Share    *float64 `json:"onTimeShare"` // of those judged, 0 to 1
	Ours     *float64 `json:"onTimeShareOurs"`

	Causes       Tally              `json:"causes"`
	SinceEvent   timing.Percentiles `json:"sinceEvent"`
	SinceReceipt timing.Percentiles `json:"sinceReceipt"`
}

// Retries judges second and third attempts.
type Retries struct {
	OnTime int64 `json:"onTime"`
	Late   int64 `json:"late"`
	Early  int64 `json:"early"`
	Causes Tally `json:"causes"`
}

// Manual counts operators' resends.
type Manual struct {
	Notifications int64 `json:"notifications"`
	Outcomes      Tally `json:"outcomes"`
	Closed        Tally `json:"closed"`
}

// PollSums counts status queries.
type PollSums struct {
	Total        int64              `json:"total"` // recorded one by one, and suppressed
	ByStatus     Tally              `json:"byStatus"`
	Suppressed   int64              `json:"suppressed"`   // refused like one just before, and counted only
	Availability *float64           `json:"availability"` // share of those recorded that were answered without a server error (5xx), 0 to 1
	Duration     timing.Percentiles `json:"duration"`     // from reading the query to recording it
	Final        int64              `json:"final"`        // that were shown a final state
	Before       int64              `json:"beforePush"`   // while the newest notification about the resource was not delivered
	After        int64              `json:"afterPush"`    // while it was
	Without      int64              `json:"withoutPush"`  // no notification about the resource had been made
}

// Summary turns sums into what pages show.
func (s Sums) Summary() Summary {
	out := Summary{
		Changes: s[nameChanges], Notifications: s[nameNotifications], Silent: s.tally(nameSilent), Refused: s[nameEntry+"refused"],
		Quarantined: s[nameEntry+"quarantined"], Duplicates: s[nameEntry+"duplicate"], Conflicts: s[nameEntry+"conflict"],
		Answer: s.percentiles(histAnswer), Outcomes: map[string]Tally{}, Closed: s.tally(nameClosed), Echo: s.tally(nameEcho), Acks: s.tally(nameAck), Lost: s[nameLost], Fetched: s[nameFetched],
		Manual: Manual{Notifications: s[nameManual], Outcomes: s.tally(nameManualOutcome), Closed: s.tally(nameManualClosed)},
		Retries: Retries{
			OnTime: s[nameRetry+string(timing.OnTime)], Late: s[nameRetry+string(timing.TooLate)], Early: s[nameRetry+string(timing.TooEarly)],
			Causes: s.tally(nameRetryCause),
		},
		First: First{
			OnTime: s[nameFirst+string(timing.OnTime)], Late: s[nameFirst+string(timing.TooLate)], LateOurs: s[nameReceipt+string(timing.TooLate)],
			Unknown: s[nameFirst+string(timing.Unknown)], Causes: s.tally(nameCause),
			SinceEvent:   s.firstPercentiles(histEvent, s[nameFirst+string(timing.OnTime)]),
			SinceReceipt: s.firstPercentiles(histReceipt, s[nameReceipt+string(timing.OnTime)]),
		},
		Polls: PollSums{ByStatus: s.tally(namePoll), Suppressed: s[nameSuppressed], Duration: s.percentiles(histPoll), Final: s[nameFinal]},
	}
	for number := 1; number <= notice.MaxAttempts; number++ {
		out.Outcomes[strconv.Itoa(number)] = s.tally(nameOutcome + strconv.Itoa(number) + ".")
	}
	out.First.Judged = out.First.OnTime + out.First.Late
	out.First.Share = share(out.First.OnTime, out.First.Judged)
	out.First.Ours = share(out.First.Judged-out.First.LateOurs, out.First.Judged)
	p, fine := &out.Polls, int64(0)
	for status, n := range p.ByStatus {
		if p.Total += n; !strings.HasPrefix(status, "5") {
			fine += n
		}
	}
	p.Availability = share(fine, p.Total)
	p.Before, p.After, p.Without = s[nameBefore], s[nameAfter], s[nameWithout]
	out.Ignored = max(0, out.Closed["delivered"]-out.Fetched)
	p.Total += p.Suppressed
	return out
}

// tally reads the counters whose names begin alike, by the rest of the name.
func (s Sums) tally(prefix string) Tally {
	out := Tally{}
	for name, n := range s {
		if word, is := strings.CutPrefix(name, prefix); is && n != 0 {
			out[word] += n
		}
	}
	return out
}

// share is part of whole; nil when there is no whole.
func share(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	v := float64(part) / float64(whole)
	return &v
}

// Query selects sums: From ≤ start < To.
type Query struct {
	From, To time.Time
	Unit     time.Duration     // Daily, Hourly or Minutely; minutes are kept of all clients together, for two days
	Client   notice.ClientID   // "": all clients together
	Clients  []notice.ClientID // of each of these by itself, instead of Client; nil: of Client
	Kind     ofb.Kind          // 0: all

	// EachClient asks for the rows of each client by itself: Limit clients after a client, in the order of their ids.
	EachClient bool
	After      notice.ClientID
	Limit      int
}

// Ask is what one reading of figures wants; all of it is read at one instant.
type Ask struct {
	Queries  []Query
	Contact  notice.ClientID   // whose last attempts are wanted; "": nobody's
	Contacts []notice.ClientID // more of whom they are wanted
	Failing  int64             // clients with so many failures since their last success are wanted as well; 0: none
}

// Row is the sums of a key.
type Row struct {
	RowKey
	Sums Sums
}

// Reading answers an Ask.
type Reading struct {
	AsOf
	Rows     [][]Row           // of each query, in the order of their keys
	More     []notice.ClientID // of each query: the last client of a page that others follow, or ""
	Contacts map[notice.ClientID]Contact
}

// Total adds up rows.
func Total(rows []Row) Sums {
	out := Sums{}
	for i := range rows {
		out.Add(rows[i].Sums)
	}
	return out
}

// AsOf says how much of the log figures rest on.
type AsOf struct {
	At       time.Time // the latest instant of an entry that is counted, or of the reading when the tail is; zero: nothing is counted
	Position int64     // entries of the log that are folded into the sums
	Size     int64     // entries of the log
	Whole    time.Time // since then the log has every entry; of before it sums and lists may lack some. Zero: nothing is sealed
	Tail     *int64    // later entries that are counted too, read from the history itself, sealed or not; nil: they are too many
}
