package bank

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// Bounds of one search (L6).
const (
	limitMax     = 1000
	limitDefault = 100
	rangeMax     = 31 * 24 * time.Hour
)

// parameters reads a query string strictly: only known names, each once, none empty.
func parameters(raw string, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalid("", "invalid_query", "the query string is not well formed; a + must be written %2B",
			"a query string está malformada; um + deve ser escrito %2B")
	}
	out := make(map[string]string, len(values))
	for name, v := range values {
		switch {
		case !slices.Contains(known, name):
			return nil, unknownParameter(name, known)
		case len(v) != 1 || v[0] == "":
			return nil, wrong(name, "must be given once, with a value", "deve ser informado uma vez, com um valor")
		}
		out[name] = v[0]
	}
	return out, nil
}

// unknownParameter is a 400 that names what is not known, and what is.
func unknownParameter(name string, known []string) *api.APIError {
	name = strconv.QuoteToASCII(cutText(name))
	if len(known) == 0 {
		return invalid("", "unknown_parameter", "parameter "+name+" is not known here; this path takes none",
			"o parâmetro "+name+" não é conhecido aqui; este caminho não aceita parâmetros")
	}
	return invalid("", "unknown_parameter", "parameter "+name+" is not known here; only these are: "+strings.Join(known, ", "),
		"o parâmetro "+name+" não é conhecido aqui; só estes são: "+strings.Join(known, ", "))
}

// plain refuses every query parameter but those that are known.
func plain(handle func(*api.Exchange) error, known ...string) func(*api.Exchange) error {
	return func(x *api.Exchange) error {
		if x.R.URL.RawQuery != "" {
			if _, err := parameters(x.R.URL.RawQuery, known...); err != nil {
				return err
			}
		}
		return handle(x)
	}
}

// wrong is a 400 about a query parameter.
func wrong(name, en, pt string) *api.APIError {
	return invalid("/"+name, "invalid_parameter", name+": "+en, name+": "+pt)
}

var notificationParameters = []string{"clientId", "kind", "resourceId", "interactionId", "state", "late", "outcome", "from", "to", "limit", "cursor"}

// searchOf reads what to search for; the cursor is left to openCursor.
func searchOf(raw string, now time.Time, brands brand.List) (f history.Filter, cursor string, err error) {
	p, err := parameters(raw, notificationParameters...)
	if err != nil {
		return f, "", err
	}
	if f.Limit, err = limitOf(p); err != nil {
		return f, "", err
	}
	if err := whatOf(&f, p, brands); err != nil {
		return f, "", err
	}
	if err := whenOf(&f, p, now); err != nil {
		return f, "", err
	}
	return f, p["cursor"], nil
}

// limitOf reads how many are wanted at once.
func limitOf(p map[string]string) (int, error) {
	s, there := p["limit"]
	if !there {
		return limitDefault, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > limitMax || s != strconv.Itoa(n) {
		return 0, wrong("limit", fmt.Sprintf("must be a number from 1 to %d", limitMax), fmt.Sprintf("deve ser um número de 1 a %d", limitMax))
	}
	return n, nil
}

// whatOf reads whose, which and in which state.
func whatOf(f *history.Filter, p map[string]string, brands brand.List) error {
	if s, there := p["clientId"]; there {
		if !notice.ValidClientKey(brands, s) {
			return wrong("clientId", "must have "+notice.ClientKeyRule, "deve ter "+notice.ClientKeyRulePT)
		}
		f.Client = notice.ClientID(s)
	}
	if s, there := p["kind"]; there {
		kind, err := ofb.ParseKind(s)
		if err != nil {
			return wrong("kind", "must be "+kindsEN, "deve ser "+kindsPT)
		}
		f.Kind = kind
	}
	if s, there := p["resourceId"]; there {
		if !slices.ContainsFunc(ofb.Kinds(), func(k ofb.Kind) bool { return (f.Kind == 0 || f.Kind == k) && notice.ValidResourceKey(brands, k, s) }) {
			return wrong("resourceId", "must be an id of this kind", "deve ser um id deste kind")
		}
		f.ResourceID = s
	}
	if s, there := p["interactionId"]; there {
		id, err := notice.ParseID(s)
		if err != nil {
			return wrong("interactionId", "must be a UUID", "deve ser um UUID")
		}
		f.Interaction = id
	}
	if s, there := p["state"]; there {
		f.State = notice.State(s)
		if !slices.Contains([]notice.State{notice.Pending, notice.Delivered, notice.Exhausted, notice.Cancelled}, f.State) {
			return wrong("state", "must be pending, delivered, exhausted or cancelled", "deve ser pending, delivered, exhausted ou cancelled")
		}
	}
	return outcomeOf(f, p)
}

// outcomeOf reads how it went.
func outcomeOf(f *history.Filter, p map[string]string) error {
	if s, there := p["late"]; there {
		if f.Late = true; s != "true" {
			return wrong("late", "must be true, or left out", "deve ser true, ou omitido")
		}
	}
	if s, there := p["outcome"]; there {
		if f.Outcome = notice.Outcome(s); !slices.Contains(notice.Outcomes(), f.Outcome) {
			all := make([]string, 0, 10)
			for _, o := range notice.Outcomes() {
				all = append(all, string(o))
			}
			return wrong("outcome", "must be the outcome of an attempt: "+strings.Join(all, ", "), "deve ser o resultado de uma tentativa: "+strings.Join(all, ", "))
		}
	}
	return nil
}

// rangeOf reads the range of time.
func rangeOf(f *history.Filter, p map[string]string) (err error) {
	if f.From, err = instantOf(p, "from"); err != nil {
		return err
	}
	if f.To, err = instantOf(p, "to"); err != nil {
		return err
	}
	if !f.To.IsZero() && f.To.Before(f.From) {
		return wrong("to", "must not be before from", "não pode ser anterior a from")
	}
	return nil
}

// whenOf reads the range of time of a search. One that is too wide is refused unless something else narrows the search (L6).
func whenOf(f *history.Filter, p map[string]string, now time.Time) error {
	if err := rangeOf(f, p); err != nil || f.From.IsZero() {
		return err
	}
	until := f.To
	if until.IsZero() {
		until = now
	}
	if f.Client == "" && f.ResourceID == "" && f.Interaction.IsZero() && until.Sub(f.From) > rangeMax {
		return wrong("from", "a period longer than 31 days needs clientId, resourceId or interactionId; add one, or ask month by month",
			"um período com mais de 31 dias exige clientId, resourceId ou interactionId; informe um deles, ou consulte mês a mês")
	}
	return nil
}

// instantOf reads an instant, rounded up to the microsecond: createdAt has no finer parts, so comparisons stay exact.
func instantOf(p map[string]string, name string) (time.Time, error) {
	s, there := p[name]
	if !there {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || len(s) > 64 || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return time.Time{}, wrong(name, "must be an instant as in RFC 3339, such as 2026-11-21T12:00:00Z; a + must be written %2B",
			"deve ser um instante conforme a RFC 3339, como 2026-11-21T12:00:00Z; um + deve ser escrito %2B")
	}
	return t.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond), nil
}
