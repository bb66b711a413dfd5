package history

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Search says which entries of the history are wanted. Zero members restrict nothing.
type Search struct {
	Client       notice.ClientID
	Organisation string   // of every client that was ever registered under it
	Kind         ofb.Kind // of the resource
	ResourceID   string
	Notification notice.ID
	Change       notice.ID
	Interaction  notice.ID // of either kind: an attempt's, or a status query's
	Entries      []string  // kinds of entries, such as "attempt"; any of them
	Outcome      string
	Late         bool      // attempts of notifications whose first attempt started late
	From, To     time.Time // From ≤ at < To
	// Actor is a part of the subject of who read or acted, without regard to case. ParseSearch does not know it: it narrows a search
	// of entries that people caused and is no filter of an export.
	Actor string
}

// Names of a search's members in queries, exports and records. They are part of the audit format.
const (
	bySearchClient  = "clientId"
	bySearchOrg     = "organisationId"
	bySearchKind    = "kind"
	bySearchID      = "resourceId"
	bySearchNotice  = "notificationId"
	bySearchChange  = "changeId"
	bySearchInter   = "interactionId"
	bySearchEntries = "entry"
	bySearchOutcome = "outcome"
	bySearchLate    = "late"
	bySearchFrom    = "from"
	bySearchTo      = "to"
)

// BySearchActor is Search.Actor in queries and in records of readings.
const BySearchActor = "actor"

// SearchNames lists what ParseSearch knows.
func SearchNames() []string {
	return []string{
		bySearchClient, bySearchOrg, bySearchKind, bySearchID, bySearchNotice, bySearchChange, bySearchInter, bySearchEntries, bySearchOutcome,
		bySearchLate, bySearchFrom, bySearchTo,
	}
}

// InvalidSearch says which member of a search is wrong and what would be right. Detail repeats no value.
type InvalidSearch struct{ notice.Problem }

// Error is for the command line; callers with another tongue read Problem.
func (i *InvalidSearch) Error() string { return strings.TrimPrefix(i.Pointer, "/") + ": " + i.Detail }

// word is what an outcome or the kind of an entry looks like.
var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// maxEntries is how many kinds of entries one search may name.
const maxEntries = 16

// EntryKinds lists every kind of entry that this version writes, by name.
func EntryKinds() []string {
	return []string{
		FactAcknowledged, FactAdmin, FactAttempt, FactCancelled, FactChange, FactConflict, FactDecision, FactDuplicate, FactErasure, "hold", FactLateResult, "loss", "poll", FactQuarantined,
		FactUnheard, FactReconciliation, FactRefused, FactRegistered, FactRegistrationRefused, FactReload, FactResend, FactResult, "retention", FactStart, FactVerification,
	}
}

// outcomes lists the outcomes of entries about changes, attempts, polls and what became of them. Those of other kinds, acts
// and codes, are not listed: a search for one of them names the kind as well.
func outcomes() []string {
	return []string{
		string(notice.Applied), string(notice.Superseded), string(notice.Duplicate), string(notice.Conflicting), string(notice.Quarantined),
		string(notice.OutcomeDelivered), string(notice.OutcomeNonconformant), string(notice.OutcomeRefused), string(notice.OutcomeRedirected), string(notice.OutcomeTimeout), string(notice.OutcomeConnect),
		string(notice.OutcomeTLS), string(notice.OutcomeBlocked), string(notice.OutcomeProtocol), string(notice.OutcomeUnknown), RefusedUnavailable, RefusedBusy, RefusedBehind,
	}
}

// openOutcomes are the kinds of entries whose outcomes are acts or codes.
var openOutcomes = []string{FactAcknowledged, FactAdmin, FactCancelled, FactErasure, "hold", "loss", FactUnheard, FactReconciliation, FactRegistered, FactRegistrationRefused, FactReload, FactResend, "retention", FactStart, FactVerification}

// judgeOutcome refuses an outcome that no entry of the kinds wanted can have.
func (s *Search) judgeOutcome() *notice.Problem {
	if s.Outcome == "" || slices.Contains(outcomes(), s.Outcome) || httpStatus.MatchString(s.Outcome) ||
		slices.ContainsFunc(s.Entries, func(k string) bool { return slices.Contains(openOutcomes, k) }) {
		return nil
	}
	all := strings.Join(outcomes(), ", ")
	return &notice.Problem{
		Detail:   "must be an outcome of a change, an attempt or a poll, which are " + all + " and HTTP statuses such as 404; for outcomes of other entries, name their kind as well (entry)",
		DetailPT: "deve ser um resultado de mudança, tentativa ou consulta, que são " + all + " e status HTTP como 404; para resultados de outros registros, informe também o tipo (entry)",
	}
}

// httpStatus is the outcome of a poll.
var httpStatus = regexp.MustCompile(`^[1-5]\d\d$`)

// ParseSearch reads a search from its members as text, as Filter writes them. The error is an *InvalidSearch.
func ParseSearch(filter map[string]string) (Search, error) {
	var s Search
	for name, text := range filter {
		problem := s.set(name, text)
		if problem != nil {
			problem.Pointer, problem.Code = "/"+name, "invalid_parameter"
			return Search{}, &InvalidSearch{*problem}
		}
	}
	if problem := s.judgeOutcome(); problem != nil {
		problem.Pointer, problem.Code = "/"+bySearchOutcome, "invalid_parameter"
		return Search{}, &InvalidSearch{*problem}
	}
	if s.Kind != 0 && s.ResourceID != "" && s.Kind.CheckID(brand.ID(s.ResourceID)) != nil {
		return Search{}, &InvalidSearch{notice.Problem{Pointer: "/" + bySearchID, Code: "invalid_parameter", Detail: "not an id of this kind", DetailPT: "não é um id deste kind"}}
	}
	if !s.From.IsZero() && !s.To.IsZero() && s.To.Before(s.From) {
		return Search{}, &InvalidSearch{notice.Problem{Pointer: "/" + bySearchTo, Code: "invalid_parameter", Detail: "must not lie before from", DetailPT: "não pode ser anterior a from"}}
	}
	return s, nil
}

// set reads one member; the problem lacks its pointer.
func (s *Search) set(name, text string) *notice.Problem {
	switch name {
	case bySearchClient, bySearchOrg:
		id := text
		if name == bySearchClient && brand.Valid(string(brand.Of(text))) {
			id = brand.ID(text) // whether there is such a brand is judged by who has the settings
		}
		if !notice.ValidClientID(id) {
			if name == bySearchClient {
				return &notice.Problem{Detail: notice.ClientKeyRule, DetailPT: notice.ClientKeyRulePT}
			}
			return &notice.Problem{Detail: "1 to 255 printable ASCII characters without spaces", DetailPT: "1 a 255 caracteres ASCII visíveis, sem espaços"}
		}
		if name == bySearchOrg {
			s.Organisation = text
		} else {
			s.Client = notice.ClientID(text)
		}
	case bySearchKind:
		kind, err := ofb.ParseKind(text)
		if err != nil {
			return &notice.Problem{
				Detail:   "must be payment-consent, pix-payment, recurring-consent, recurring-payment or enrollment",
				DetailPT: "deve ser payment-consent, pix-payment, recurring-consent, recurring-payment ou enrollment",
			}
		}
		s.Kind = kind
	case bySearchID:
		if !slices.ContainsFunc(ofb.Kinds(), func(k ofb.Kind) bool { return k.CheckID(brand.ID(text)) == nil }) {
			return &notice.Problem{Detail: "not an id of a payment, consent or enrolment", DetailPT: "não é um id de pagamento, consentimento ou vínculo"}
		}
		s.ResourceID = text
	case bySearchNotice, bySearchChange, bySearchInter:
		id, err := notice.ParseID(text)
		if err != nil || id.IsZero() {
			return &notice.Problem{Detail: "must be a UUID", DetailPT: "deve ser um UUID"}
		}
		*map[string]*notice.ID{bySearchNotice: &s.Notification, bySearchChange: &s.Change, bySearchInter: &s.Interaction}[name] = id
	case bySearchFrom, bySearchTo:
		t, problem := searchTime(text)
		if problem != nil {
			return problem
		}
		*map[string]*time.Time{bySearchFrom: &s.From, bySearchTo: &s.To}[name] = t
	default:
		return s.setWord(name, text)
	}
	return nil
}

func (s *Search) setWord(name, text string) *notice.Problem {
	switch name {
	case bySearchEntries:
		kinds := strings.Split(text, ",")
		if len(kinds) > maxEntries || slices.ContainsFunc(kinds, func(k string) bool { return !word.MatchString(k) }) {
			return &notice.Problem{
				Detail:   fmt.Sprintf("must be kinds of entries such as change, attempt, result, poll, with commas between, at most %d", maxEntries),
				DetailPT: fmt.Sprintf("devem ser tipos de registro como change, attempt, result, poll, separados por vírgulas, no máximo %d", maxEntries),
			}
		}
		for _, k := range kinds {
			if !slices.Contains(EntryKinds(), k) {
				all := strings.Join(EntryKinds(), ", ")
				return &notice.Problem{Detail: "must be kinds of entries, which are " + all, DetailPT: "devem ser tipos de registro, que são " + all}
			}
		}
		slices.Sort(kinds)
		s.Entries = slices.Compact(kinds)
	case bySearchOutcome:
		if !word.MatchString(text) {
			return &notice.Problem{Detail: "must be an outcome such as delivered, refused, applied or 404", DetailPT: "deve ser um resultado como delivered, refused, applied ou 404"}
		}
		s.Outcome = text
	case bySearchLate:
		if text != "true" {
			return &notice.Problem{Detail: "must be true, or left out", DetailPT: "deve ser true, ou omitido"}
		}
		s.Late = true
	default:
		return &notice.Problem{Detail: "is not known here", DetailPT: "não é conhecido aqui"}
	}
	return nil
}

// searchTime reads an instant, rounded up to the microsecond: entries have no finer parts, so comparisons stay exact.
func searchTime(text string) (time.Time, *notice.Problem) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || len(text) > 64 || t.UTC().Year() < 1970 || t.UTC().Year() > 9999 {
		return time.Time{}, &notice.Problem{
			Detail:   "must be an instant as in RFC 3339, such as 2026-11-21T12:00:00Z; in a query a + is written %2B",
			DetailPT: "deve ser um instante conforme a RFC 3339, como 2026-11-21T12:00:00Z; na query um + é escrito %2B",
		}
	}
	return t.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond), nil
}

// ActorKinds are the kinds of entries that may be searched by actor: those that people and systems cause by reading and acting. They
// are rare beside changes, attempts, results and polls, so that such a search reads few entries.
func ActorKinds() []string {
	return []string{FactAdmin, "hold", FactRegistered, FactRegistrationRefused, FactResend}
}

// Filter is the search as text by member, which ParseSearch reads but for the actor; empty for the whole log.
func (s Search) Filter() map[string]string {
	id := func(i notice.ID) string {
		if i.IsZero() {
			return ""
		}
		return i.String()
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	out := map[string]string{
		bySearchClient: string(s.Client), bySearchOrg: s.Organisation, bySearchID: s.ResourceID, bySearchNotice: id(s.Notification),
		bySearchChange: id(s.Change), bySearchInter: id(s.Interaction), bySearchEntries: strings.Join(s.Entries, ","), bySearchOutcome: s.Outcome,
		bySearchFrom: at(s.From), bySearchTo: at(s.To),
	}
	if s.Kind != 0 {
		out[bySearchKind] = s.Kind.String()
	}
	if s.Late {
		out[bySearchLate] = "true"
	}
	if s.Actor != "" {
		out[BySearchActor] = s.Actor
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

// Narrow tells whether an id is given of which there are a handful of entries, whatever the time.
func (s Search) Narrow() bool {
	return s.ResourceID != "" || !s.Notification.IsZero() || !s.Change.IsZero() || !s.Interaction.IsZero()
}
