package figures

import (
	"cmp"
	"slices"
	"time"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// The constants of the method (docs/polling.md).
const (
	PushWindow   = time.Minute // status queries so soon after a push are the push's own
	longestGap   = time.Hour   // queries further apart are no cadence
	longestWatch = time.Hour   // a resource is taken as watched for at most so long
	leastGaps    = 20          // below so many gaps a cadence is not known
)

// PollingFact is one thing that matters to the figure of polling saved.
type PollingFact struct {
	At     time.Time
	Client notice.ClientID
	Key    notice.Key // of the resource
	What   PollingWhat
	Status ofb.Status // of a change, or as a query was shown
}

// PollingWhat names a PollingFact.
type PollingWhat uint8

// The facts.
const (
	PollingChange PollingWhat = iota // a change of the resource
	PollingPush                      // a notification about it was delivered
	PollingQuery                     // a status query showed it
)

// PollingSums are the status queries of one client in a period, and what pushes saved of them.
type PollingSums struct {
	Client    notice.ClientID `json:"clientId"`
	Resources int64           `json:"resources"` // that changed or were asked for
	Pushed    int64           `json:"pushed"`    // of these, with at least one delivered notification
	Pushes    int64           `json:"pushes"`    // delivered notifications
	Queries   int64           `json:"queries"`   // answered with the resource; each is in one of the next four

	Before int64           `json:"beforePush"`    // no push before
	Own    int64           `json:"withinAMinute"` // within PushWindow of a push
	Later  int64           `json:"later"`         // after that
	Final  int64           `json:"alreadyFinal"`  // an earlier query had shown the resource in a final state
	gaps   int64           // between queries of one resource without a push before
	gapped time.Duration   // their sum
	made   int64           // queries of resources with a push
	asked  int64           // queries of resources without one
	lives  map[int64]int64 // how many resources with a push lived so many whole seconds, from their first change to their last
}

// Cadence is how long the client waits between two queries of a resource of which no push has come. False: it asked too seldom in
// this period for that to be known.
func (s *PollingSums) Cadence() (time.Duration, bool) {
	if s.gaps < leastGaps || s.gapped <= 0 {
		return 0, false
	}
	return s.gapped / time.Duration(s.gaps), true
}

// PerUnpushed is how many queries a resource without a push had in the mean, those that nobody asked for included. False: there was none.
func (s *PollingSums) PerUnpushed() (float64, bool) {
	if s.Resources == s.Pushed {
		return 0, false
	}
	return float64(s.asked) / float64(s.Resources-s.Pushed), true
}

// Avoided estimates the queries that pushes saved of this client, by what another did without a push, or this one itself: it would have
// asked for each resource at that cadence while it lived, and not more often than the other asked for one in the mean. What it did ask is
// taken off. It is 0 where it asked more. False: the cadence, or the mean, is not known.
func (s *PollingSums) Avoided(by *PollingSums) (int64, bool) {
	cadence, known := by.Cadence()
	most, there := by.PerUnpushed()
	if !known || !there {
		return 0, false
	}
	sum := 0.0
	for seconds, n := range s.lives {
		sum += float64(n) * min(float64(seconds)/cadence.Seconds(), most)
	}
	return max(0, int64(sum)-s.made), true
}

// Add adds the sums of another client, for a sum over clients.
func (s *PollingSums) Add(more *PollingSums) {
	s.Resources, s.Pushed, s.Pushes, s.Queries = s.Resources+more.Resources, s.Pushed+more.Pushed, s.Pushes+more.Pushes, s.Queries+more.Queries
	s.Before, s.Own, s.Later, s.Final = s.Before+more.Before, s.Own+more.Own, s.Later+more.Later, s.Final+more.Final
	s.gaps, s.gapped, s.made, s.asked = s.gaps+more.gaps, s.gapped+more.gapped, s.made+more.made, s.asked+more.asked
	for seconds, n := range more.lives {
		s.lived(seconds, n)
	}
}

// lived counts resources with a push that lived so many seconds.
func (s *PollingSums) lived(seconds, n int64) {
	if s.lives == nil {
		s.lives = map[int64]int64{}
	}
	s.lives[seconds] += n
}

// Polling folds facts into sums by client. The facts of a resource come together, in the order of time. The zero value is ready.
type Polling struct {
	clients map[notice.ClientID]*PollingSums
	now     polledResource
}

// polledResource is one resource while its facts come.
type polledResource struct {
	client      notice.ClientID
	key         notice.Key
	first, last time.Time // of its changes
	push, query time.Time // the latest; zero: none
	queries     int64
	pushes      int64
	final       bool // a query has shown a final state
}

// Add takes the next fact.
func (p *Polling) Add(f PollingFact) {
	if f.Key != p.now.key || f.Client != p.now.client {
		p.close()
		p.now = polledResource{client: f.Client, key: f.Key}
	}
	w, s := &p.now, p.of(f.Client)
	switch f.What {
	case PollingChange:
		if w.first.IsZero() {
			w.first = f.At
		}
		w.last = f.At
	case PollingPush:
		w.push = f.At
		w.pushes++
	case PollingQuery:
		w.ask(f, s)
	}
}

// ask takes a status query.
func (w *polledResource) ask(f PollingFact, s *PollingSums) {
	s.Queries++
	w.queries++
	switch {
	case w.final:
		s.Final++
	case w.push.IsZero():
		s.Before++
		if gap := f.At.Sub(w.query); !w.query.IsZero() && gap <= longestGap {
			s.gaps++
			s.gapped += gap
		}
	case f.At.Sub(w.push) <= PushWindow:
		s.Own++
	default:
		s.Later++
	}
	w.query = f.At
	w.final = w.final || f.Key.Kind.Final(f.Status)
}

// close counts the resource whose facts have ended.
func (p *Polling) close() {
	w := &p.now
	if w.key.ID == "" {
		return
	}
	s := p.of(w.client)
	s.Resources++
	s.Pushes += w.pushes
	if w.pushes > 0 {
		s.Pushed++
		s.made += w.queries
		s.lived(int64(min(w.last.Sub(w.first), longestWatch)/time.Second), 1)
	} else {
		s.asked += w.queries
	}
	p.now = polledResource{}
}

func (p *Polling) of(client notice.ClientID) *PollingSums {
	if p.clients == nil {
		p.clients = map[notice.ClientID]*PollingSums{}
	}
	if p.clients[client] == nil {
		p.clients[client] = &PollingSums{Client: client}
	}
	return p.clients[client]
}

// PollingReport is the figure of a period.
type PollingReport struct {
	Clients []PollingClient `json:"clients"` // in the order of their ids
	Told    PollingSums     `json:"withPush"`
	Untold  PollingSums     `json:"withoutPush"` // clients to which no notification was delivered in the period
	// UntoldCadence is that of the clients without push, in milliseconds; nil: not known.
	UntoldCadence *int64 `json:"withoutPushCadenceMillis"`
	// Whole is since when the log has every entry: of before it, the report may lack some. Zero: nothing is sealed.
	Whole time.Time `json:"-"`
}

// PollingClient is the figure of one client.
type PollingClient struct {
	PollingSums
	Cadence *int64 `json:"cadenceMillis"` // its own; nil: not known
	// Avoided estimates the queries saved by what it did itself without a push; nil: that is not known.
	Avoided *int64 `json:"avoided"`
	// AvoidedAtOthers is the same by what the clients without push did; nil: that is not known.
	AvoidedAtOthers *int64 `json:"avoidedAtOthersCadence"`
}

// Report ends the folding.
func (p *Polling) Report() PollingReport {
	p.close()
	out := PollingReport{Clients: []PollingClient{}}
	for _, s := range p.clients {
		if s.Pushes > 0 {
			out.Told.Add(s)
		} else {
			out.Untold.Add(s)
		}
	}
	others, othersKnown := out.Untold.Cadence()
	out.UntoldCadence = millis(others, othersKnown)
	for _, s := range p.clients {
		one := PollingClient{PollingSums: *s}
		own, known := s.Cadence()
		one.Cadence = millis(own, known)
		if n, known := s.Avoided(s); known && s.Pushes > 0 {
			one.Avoided = &n
		}
		if n, known := s.Avoided(&out.Untold); known && s.Pushes > 0 {
			one.AvoidedAtOthers = &n
		}
		out.Clients = append(out.Clients, one)
	}
	slices.SortFunc(out.Clients, func(a, b PollingClient) int { return cmp.Compare(a.Client, b.Client) })
	return out
}

func millis(d time.Duration, known bool) *int64 {
	if !known {
		return nil
	}
	n := d.Milliseconds()
	return &n
}
