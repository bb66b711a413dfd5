package status

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

const (
	maxSelf   = 2000 // characters of links.self (status-apis §1.7)
	maxListed = 5000 // items of one list; it has no pages, so what is longer must be asked for in pieces
)

// ask makes of a request what the store is asked, or says what is wrong with it. What is wrong is said only after the
// client is known, so the question is answered with who is asking either way.
func (p *Public) ask(x *api.Exchange, op *operation) (question notice.Question, self string, wrong error) {
	q := queryOf(x)
	question = notice.Question{Client: q.poll.Client}
	if q.noScope {
		return question, "", because(refForbidden, "no scope for this")
	}
	if wrong = judgeForm(x.R); wrong != nil {
		return question, "", wrong
	}
	self = q.brand.BaseURL + x.R.RequestURI
	if len(self) > maxSelf {
		return question, "", because(refParameter, "address is too long")
	}
	values, err := url.ParseQuery(x.R.URL.RawQuery)
	if err != nil {
		return question, "", because(refParameter, "query cannot be read")
	}
	id := x.Segment("id")
	if op.kind == ofb.RecurringConsent && op.under != 0 {
		if id, wrong = one(values, "recurringConsentId"); wrong != nil {
			return question, "", wrong
		}
		if id == "" {
			return question, "", because(refMissing, "no recurringConsentId")
		}
	}
	if err := op.kind.CheckID(id); err != nil {
		return question, "", because(refParameter, "id is malformed")
	}
	question.Kind, question.ID, question.Elsewhere = op.kind, brand.Key(q.brand.Key, id), q.brand.elsewhere(id)
	q.poll.Kind, q.poll.ResourceID = op.kind, question.ID
	if op.under == 0 {
		return question, self, nil
	}
	keep, wrong := filter(op, values)
	if wrong != nil {
		return question, "", wrong
	}
	question.Under, question.Keep, question.Most = op.under, keep, maxListed
	return question, self, nil
}

// judgeForm judges what is not about any one resource: the form of the address, a body, and what would be accepted.
func judgeForm(r *http.Request) error {
	if isPath(r) && hasBody(r) {
		return refBody
	}
	return judgeHead(r)
}

// isPath tells a path from an absolute address, which belongs to proxies (cases H6).
func isPath(r *http.Request) bool { return r.URL.Host == "" && strings.HasPrefix(r.RequestURI, "/") }

// judgeHead judges the form of the address and what would be accepted.
func judgeHead(r *http.Request) error {
	switch {
	case !isPath(r):
		return because(refParameter, "address is not a path")
	case !acceptsJWT(r.Header):
		return refAccept
	}
	return nil
}

// hasBody tells a request that carries a body. A Content-Type alone harms nobody.
func hasBody(r *http.Request) bool { return r.ContentLength != 0 || len(r.TransferEncoding) > 0 }

// served are the media ranges that a signed answer satisfies. One who asks for JSON gets the JWT too (status-apis §1.5).
var served = []string{"application/jwt", "*/*", "application/*", "application/json", "application/*+json"}

// acceptsJWT judges Accept and Accept-Charset; without them everything is accepted.
func acceptsJWT(h http.Header) bool {
	if charsets := h.Values("Accept-Charset"); len(charsets) > 0 && !slices.ContainsFunc(elements(charsets), isUTF8) {
		return false
	}
	ranges := elements(h.Values("Accept"))
	return len(ranges) == 0 || slices.ContainsFunc(ranges, func(s string) bool {
		name, params, err := mime.ParseMediaType(s)
		charset := params["charset"]
		return err == nil && slices.Contains(served, name) && wanted(params["q"]) && (charset == "" || strings.EqualFold(charset, "utf-8"))
	})
}

func isUTF8(s string) bool {
	name, q, _ := strings.Cut(s, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	_, weight, _ := strings.Cut(q, "=")
	return (name == "utf-8" || name == "*") && wanted(strings.TrimSpace(weight))
}

// elements splits the values of a header that is a list.
func elements(values []string) []string {
	var out []string
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.TrimSpace(e); e != "" {
				out = append(out, e)
			}
		}
	}
	return out
}

// wanted tells a weight from a refusal: q=0 means "not this" (RFC 9110 §12.4.2).
func wanted(weight string) bool {
	if weight == "" {
		return true
	}
	q, err := strconv.ParseFloat(weight, 64)
	return err == nil && q > 0
}

// hasParameter looks for a parameter without decoding more than its name.
func hasParameter(rawQuery, name string) bool {
	for pair := range strings.FieldsFuncSeq(rawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		key, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(key); err == nil && strings.EqualFold(decoded, name) {
			return true
		}
	}
	return false
}

// knownParameters names those of the parameters that mean something to us.
func knownParameters(rawQuery string) []string {
	var found []string
	for _, name := range []string{"startDate", "endDate", "recurringConsentId", "originalRecurringPaymentId", "after", "limit", "wait", "missed"} {
		if rawQuery != "" && hasParameter(rawQuery, name) {
			found = append(found, name)
		}
	}
	return found
}

// one is the value of a parameter that may stand once; "" when it is absent.
func one(values url.Values, name string) (string, error) {
	switch found := values[name]; len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	default:
		return "", because(refParameter, "parameter occurs twice")
	}
}

// dates are startDate and endDate, both inclusive (status-apis §3.3, §4.3).
var datePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

// date reads a date parameter; the form written compares as text.
func date(values url.Values, name string) (string, error) {
	text, err := one(values, name)
	if err != nil || text == "" && !values.Has(name) {
		return "", err
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil || !datePattern.MatchString(text) {
		return "", because(refParameter, "date is malformed")
	}
	return text, nil
}

// listed is what of a payment a filter looks at.
type listed struct {
	EndToEndID string `json:"endToEndId"`
	Date       string `json:"date"`
	ID         string `json:"recurringPaymentId"`
	Original   string `json:"originalRecurringPaymentId"`
	Created    string `json:"creationDateTime"`
}

// listedOf reads a payment. A member of another type, in a document that does not conform, is as if it were missing.
func listedOf(document []byte) (d listed, readable bool) {
	var wrongType *json.UnmarshalTypeError
	err := json.Unmarshal(document, &d)
	return d, err == nil || errors.As(err, &wrongType) && wrongType.Field != ""
}

// filter makes the test that a listed payment must pass; nil when nothing is filtered.
func filter(op *operation, values url.Values) (func([]byte) bool, error) {
	start, err := date(values, "startDate")
	if err != nil {
		return nil, err
	}
	end, err := date(values, "endDate")
	if err != nil {
		return nil, err
	}
	if start != "" && end != "" && start > end {
		return nil, because(refParameter, "startDate is after endDate")
	}
	original := ""
	if op.under == ofb.RecurringPayment && values.Has("originalRecurringPaymentId") {
		if original, err = one(values, "originalRecurringPaymentId"); err != nil {
			return nil, err
		}
		if ofb.RecurringPayment.CheckID(original) != nil {
			return nil, because(refParameter, "originalRecurringPaymentId is malformed")
		}
	}
	if start == "" && end == "" && original == "" {
		return nil, nil //nolint:nilnil // nothing is filtered, and nothing is wrong
	}
	return func(document []byte) bool {
		d, readable := listedOf(document)
		if !readable {
			return false
		}
		day := d.day(op.under)
		return (start == "" || day >= start) && (end == "" || day <= end) && (original == "" || d.ID == original || d.Original == original)
	}, nil
}

// day is the date that startDate and endDate are compared with: a recurring payment's own, or the day in Brasília of the
// settlement instant inside endToEndId, characters 10 to 21, in UTC (status-apis §3.3).
func (d listed) day(kind ofb.Kind) string {
	if kind == ofb.RecurringPayment {
		return d.Date
	}
	const from, to = 9, 21
	if len(d.EndToEndID) < to {
		return ""
	}
	at, err := time.Parse("200601021504", d.EndToEndID[from:to])
	if err != nil {
		return ""
	}
	return at.In(ofb.Brasilia).Format(time.DateOnly)
}
