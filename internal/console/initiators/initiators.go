// Package initiators is the console's pages of the initiators: the list, who does not answer, and the scorecard of one with its acts.
package initiators

import (
	"embed"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/console/page"
)

//go:embed words.json *.html
var files embed.FS

// Section is the folder of these pages.
func Section() page.Section {
	return page.Section{
		Name: "initiators", Group: page.Operation, Path: "/initiators", Roles: []string{page.Operator, page.Auditor, page.Registrar}, Files: files,
		Routes: []page.PageRoute{
			{Method: http.MethodGet, Path: "/initiators", Handle: list},
			{Method: http.MethodGet, Path: "/polling", Roles: []string{page.Operator, page.Auditor}, Handle: polling},
			{Method: http.MethodGet, Path: "/initiators/{clientId}", Handle: one},
			{Method: http.MethodPost, Path: "/initiators/{clientId}/preflight", Roles: []string{page.Operator}, Handle: preflight},
			{Method: http.MethodPost, Path: "/initiators/{clientId}/end", Roles: []string{page.Registrar}, Handle: end},
		},
	}
}

// registeredInitiator is a registration.
type registeredInitiator struct {
	Brand, ClientID, OrganisationID, SoftwareID, Name string
	WebhookURIs                                       []string
	Push                                              bool
	UpdatedAt                                         time.Time
	Health                                            *briefHealth
}

// Key is the client id with the name of its brand before it, by which every page knows the client.
func (i registeredInitiator) Key() string { return brand.Key(brand.Prefix(i.Brand), i.ClientID) }

// briefHealth is how an initiator does, in short.
type briefHealth struct {
	Notifications, Delivered, Exhausted int64
	OnTimeShare                         *float64
	Down                                bool
	Failures                            int64
	Since, LastSuccessAt                *time.Time
}

// Condition is the word for how an initiator stands.
func (i registeredInitiator) Condition() string {
	switch {
	case !i.Push:
		return "no-push"
	case i.Health == nil || i.Health.Notifications == 0 && !i.Health.Down:
		return "quiet"
	case i.Health.Down:
		return "down"
	case i.Health.LastSuccessAt == nil:
		return "never"
	case i.Health.Failures > 0:
		return "failed"
	}
	return "well"
}

type initiatorsView struct {
	Text        string
	OnlyDown    bool
	Rows        []registeredInitiator
	Down        int64
	Since       *time.Time // when the figures begin; nil: there are none
	Unknown     int64      // changes of clients without a registration, in 24 hours
	First, Next string
}

// Cut tells whether deliveries fail to more initiators than the list of them has.
func (s initiatorsView) Cut() bool { return s.OnlyDown && s.Down > int64(len(s.Rows)) }

func list(v *page.Visit) error {
	q := v.Query()
	view := initiatorsView{Text: q.Get("text"), OnlyDown: q.Get("down") == "true"}
	call := url.Values{"limit": {"50"}}
	for name, value := range map[string]string{"q": view.Text, "cursor": q.Get("cursor")} {
		if value != "" {
			call.Set(name, value)
		}
	}
	figures := v.Has(page.Operator) || v.Has(page.Auditor)
	if figures {
		call.Set("figures", "24h")
	}
	if view.OnlyDown {
		call.Set("down", "true")
	}
	var answer struct {
		Initiators     []registeredInitiator
		NextCursor     string
		AsOf           page.FiguresBasis
		From           *time.Time
		Down           int64
		UnknownChanges int64
	}
	if err := v.API.Get("/internal/v1/initiators", call, &answer); err != nil {
		return err
	}
	view.Rows, view.Down, view.Unknown = answer.Initiators, answer.Down, answer.UnknownChanges
	if q.Has("cursor") {
		q.Del("cursor")
		view.First = "/initiators?" + q.Encode()
	}
	if answer.NextCursor != "" {
		q.Set("cursor", answer.NextCursor)
		view.Next = "/initiators?" + q.Encode()
	}
	if answer.From != nil {
		view.Since = new(answer.AsOf.Since(*answer.From))
	}
	return v.Show("list", page.View{Title: v.Text("title"), Data: view, AsOf: answer.AsOf})
}

// shownPercentiles of durations in microseconds.
type shownPercentiles struct {
	Count                           int64
	P50Micros, P95Micros, P99Micros *int64
}

// scorecard is what the figures of a period say.
type scorecard struct {
	Notifications int64
	First         struct {
		Judged, OnTime, Late, LateOurs, Unknown int64
		OnTimeShare                             *float64
		Causes                                  map[string]int64
		SinceEvent                              shownPercentiles
	}
	Answer   shownPercentiles
	Outcomes map[string]map[string]int64
	Closed   map[string]int64
	Echo     map[string]int64
	Fetched  int64
	Ignored  *int64
	Manual   struct { // operators' resends, which Outcomes does not count
		Outcomes map[string]int64
	}
	Acks  map[string]int64 // what the initiator said of notifications, by outcome
	Polls struct {
		Total                              int64
		BeforePush, AfterPush, WithoutPush *int64
	}
}

// Arrived is how many notifications an attempt of a number delivered.
func (s scorecard) Arrived(number string) int64 {
	return s.Outcomes[number]["delivered"] + s.Outcomes[number]["delivered-nonconformant"]
}

// ArrivedShare is their share of all that ended; nil: none ended.
func (s scorecard) ArrivedShare(number string) *float64 { return share(s.Arrived(number), s.ended()) }

// GivenUpShare is the share that was given up.
func (s scorecard) GivenUpShare() *float64 { return share(s.Closed["exhausted"], s.ended()) }

func (s scorecard) ended() int64 {
	n := s.Closed["exhausted"]
	for _, number := range []string{"1", "2", "3"} {
		n += s.Arrived(number)
	}
	return n
}

// IgnoredShare is the share of what was delivered and never asked for; nil: it is not counted.
func (s scorecard) IgnoredShare() *float64 {
	if s.Ignored == nil {
		return nil
	}
	return share(*s.Ignored, s.Closed["delivered"])
}

// PerPayment is how often the initiator asks for each notification that it received.
func (s scorecard) PerPayment() *float64 {
	if s.Polls.AfterPush == nil {
		return nil
	}
	return share(*s.Polls.AfterPush, s.Closed["delivered"])
}

func share(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	f := float64(part) / float64(whole)
	return &f
}

// receiverDemand is one demand of the rule on a receiver: how often attempts show whether it was met, and how often it was not.
type receiverDemand struct {
	Word         string
	Cases, Count int64
}

// Verdict is the word for how the demand was met; where no attempt shows it, nothing is known.
func (d receiverDemand) Verdict() string {
	switch d.Count {
	case 0:
		if d.Cases == 0 {
			return "unknown"
		}
		return "met"
	case d.Cases:
		return "never"
	}
	return "not"
}

// Demands are the demands on the receiver, each with the attempts that show whether it was met: an attempt that got no connection says
// nothing of answers. Resends are attempts like others here. One that timed out may have waited at any stage, and shows that alone.
func (s scorecard) Demands() []receiverDemand {
	count := func(outcomes ...string) (n int64) {
		for _, attempts := range s.Outcomes {
			for _, o := range outcomes {
				n += attempts[o]
			}
		}
		for _, o := range outcomes {
			n += s.Manual.Outcomes[o]
		}
		return n
	}
	conform, refused := count("delivered"), count("refused", "redirected")
	answered := conform + count("delivered-nonconformant") + refused
	noHTTP, noTLS, noConnection, late := count("protocol-error"), count("tls-error"), count("connect-error", "blocked-address"), count("timeout")
	noEcho := s.Echo["missing"] + s.Echo["different"]
	return []receiverDemand{
		{"conforms", answered, answered - conform},
		{"echo", s.Echo["match"] + noEcho, noEcho},
		{"accepts", answered, refused},
		{"answers", answered + late, late},
		{"reachable", answered + noHTTP + noTLS + noConnection, noConnection},
		{"trusted", answered + noHTTP + noTLS, noTLS},
		{"http", answered + noHTTP, noHTTP},
	}
}

type healthWindow struct {
	Window   string
	From, To time.Time
	Figures  scorecard
}

type initiatorHealth struct {
	AsOf      page.FiguresBasis
	Initiator *registeredInitiator
	Windows   []healthWindow
	Contact   *struct {
		Failures                            int64
		Since, LastFailureAt, LastSuccessAt *time.Time
		LastOutcome                         string
	}
	Down  bool
	Queue struct {
		Waiting, InFlight, LateNow, OldestSeconds int64
	}
	Certificates []struct {
		Subject, Serial, Issuer string
		NotAfter                *time.Time
		DaysLeft                int
		SeenAt                  *time.Time
		Problem                 *string `json:"wrong"` // why the handshake failed
	}
}

// Since is when the longest window begins, or what the log has of it; zero: there is none.
func (h initiatorHealth) Since() time.Time {
	if n := len(h.Windows); n > 0 {
		return h.AsOf.Since(h.Windows[n-1].From)
	}
	return time.Time{}
}

// Last is the figures of the longest window.
func (h initiatorHealth) Last() scorecard {
	if n := len(h.Windows); n > 0 {
		return h.Windows[n-1].Figures
	}
	return scorecard{}
}

// triedStep is one step of a preflight.
type triedStep struct {
	OK              bool
	Problem         *string // as the network or the handshake said it, in English
	Title, Seen     string  // these and the ones below are in the language of the page
	Meaning, Advice *string
}

// Said is the problem, where it tells more than its meaning.
func (s triedStep) Said() string {
	if s.Problem == nil || s.Meaning != nil && *s.Meaning == *s.Problem {
		return ""
	}
	return *s.Problem
}

type triedAddress struct {
	WebhookURI string
	StartedAt  time.Time
	TookMillis int64
	OK         bool
	Verdict    string
	Steps      []triedStep
}

type initiatorView struct {
	ID        string
	Health    *initiatorHealth
	Initiator *registeredInitiator
	Tried     *triedAddress
	Why       string // key of the words: why it does not answer; "": it does, or nothing is known
}

// Name is what people call the initiator.
func (o initiatorView) Name() string {
	if o.Initiator != nil && strings.TrimSpace(o.Initiator.Name) != "" {
		return o.Initiator.Name
	}
	return o.ID
}

func one(v *page.Visit) error { return show(v, nil) }

func show(v *page.Visit, tried *triedAddress) error {
	view := initiatorView{ID: v.Param("clientId"), Tried: tried}
	if v.Has(page.Operator) || v.Has(page.Auditor) {
		if err := v.API.Get(page.Path("/internal/v1/initiators/%s/health", view.ID), nil, &view.Health); err != nil {
			return err
		}
		view.Initiator = view.Health.Initiator
	} else if err := v.API.Get(page.Path("/internal/v1/initiators/%s", view.ID), nil, &view.Initiator); err != nil {
		return err
	}
	if view.Health != nil && view.Health.Down && view.Health.Contact != nil {
		view.Why = "why.other"
		if key := "why." + view.Health.Contact.LastOutcome; v.Text(key) != key {
			view.Why = key
		}
	}
	shown := page.View{Title: view.Name(), Data: view, Crumb: &page.Link{Path: "/initiators", Text: v.Text("title")}}
	if view.Health != nil {
		shown.AsOf = view.Health.AsOf
	}
	return v.Show("one", shown)
}

// preflight tries an address now, and shows the steps above the scorecard.
func preflight(v *page.Visit) error {
	var asked any
	if uri := v.Form("uri"); uri != "" {
		asked = map[string]string{"webhookUri": uri}
	}
	var tried triedAddress
	if _, err := v.API.Do(http.MethodPost, page.Path("/internal/v1/initiators/%s/preflight", v.Param("clientId")), asked, &tried); err != nil {
		return err
	}
	return show(v, &tried)
}

// end removes the registration.
func end(v *page.Visit) error {
	if _, err := v.API.Do(http.MethodDelete, page.Path("/internal/v1/initiators/%s", v.Param("clientId")), nil, nil); err != nil {
		return err
	}
	return v.Done("/initiators", "end")
}
