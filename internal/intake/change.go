package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// ahead is how far in the future occurredAt may lie (contract "On time, late"): clocks differ a little.
const ahead = 60 * time.Second

// Origin is the source of a change; both members go into its entry.
type Origin struct {
	Source     string    // "api", or a source's name
	Actor      string    // who handed it in, such as a token's subject
	Address    string    // address and port it came from; "" where it came over no connection of ours
	Quarantine notice.ID // the case being applied, zero otherwise
	FirstAt    time.Time // the first receipt of that case, by the database's clock; zero otherwise
	// CommittedAt is when the origin of a followed source committed it, by the origin's clock; zero: unknown, or it is no source.
	CommittedAt time.Time
	// Keep gives what goes to quarantine instead of the line: the record a source made it from. It is asked for only if the
	// change goes there, and gives the same bytes whenever it is asked; nil: the line.
	Keep func() []byte
}

// rfc3339 refuses what time.Parse takes beyond the RFC: an hour of one digit, a comma, offsets of a day.
var rfc3339 = regexp.MustCompile(`^[^T]{10}T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// changeReader turns the members of a line into a change, gathering what is wrong with it.
type changeReader struct {
	m        *members
	brands   brand.List
	of       brand.Prefix // of the change, in keys
	stray    bool         // it has no brand of ours
	problems []notice.Problem
}

func (r *changeReader) wrong(pointer, code, en, pt string) {
	r.problems = append(r.problems, notice.Problem{Pointer: pointer, Code: code, Detail: en, DetailPT: pt})
}

// text reads a string member.
func (r *changeReader) text(name string, required bool) (string, bool) {
	value, there := r.m.values[name]
	if !there {
		if required {
			r.wrong("/"+name, "required", name+" is missing", name+" está ausente")
		}
		return "", false
	}
	s, ok := value.(string)
	if !ok {
		r.wrong("/"+name, "type", name+" must be a string", name+" deve ser um texto")
		return "", false
	}
	return s, true
}

// instant reads an RFC 3339 member; original is what was written.
func (r *changeReader) instant(name string, required bool) (t time.Time, original string, ok bool) {
	s, ok := r.text(name, required)
	if !ok {
		return time.Time{}, "", false
	}
	upper := strings.ToUpper(s) // RFC 3339 §5.6: t and z may be lower case
	t, err := time.Parse(time.RFC3339Nano, upper)
	// Our own zero, which means "none", lies in year 1.
	if err != nil || !rfc3339.MatchString(upper) || t.UTC().Year() < 2 || t.UTC().Year() > 9999 || len(s) > 64 {
		r.wrong("/"+name, "format", name+" must be an instant as in RFC 3339, such as 2026-11-21T12:00:00.123Z",
			name+" deve ser um instante conforme a RFC 3339, como 2026-11-21T12:00:00.123Z")
		return time.Time{}, "", false
	}
	return t.UTC().Truncate(time.Microsecond), s, true
}

// read builds the change. What is wrong with it stands in Problems; only the wall clock of now is used.
func (in *Intake) read(line []byte, m *members, from Origin, now time.Time) *notice.Change {
	r := &changeReader{m: m, brands: in.cfg.Brands}
	if from.Keep != nil {
		line = nil
	}
	c := &notice.Change{
		ID: in.cfg.NewID(), Source: from.Source, Actor: from.Actor, Address: from.Address, Quarantine: from.Quarantine, Line: line, Document: m.raw, Cause: ofb.Holder,
		ReceivedAt: now, FirstAt: from.FirstAt, CommittedAt: from.CommittedAt,
	}
	r.identity(c)
	r.revision(c)
	r.times(c, now)
	if s, ok := r.text("cause", false); ok {
		switch cause := ofb.Cause(s); cause {
		case ofb.Holder, ofb.Initiator, ofb.FirstLoad:
			c.Cause = cause
		default:
			r.wrong("/cause", "enum", "cause must be holder, initiator or snapshot", "cause deve ser holder, initiator ou snapshot")
		}
	}
	in.readData(r, c)
	if r.stray { // it must not look like a change of another brand
		c.Client, c.ResourceID, c.ConsentID = "", "", ""
	}
	c.Problems = r.problems
	if len(c.Problems) > 0 && from.Keep != nil {
		c.Line = from.Keep()
	}
	return c
}

// brand reads which brand the change is of. Where brands have names, a change without one of them has no keys.
func (r *changeReader) brand() {
	name, there := r.text("brand", false)
	switch _, sent := r.m.values["brand"]; {
	case sent && !there: // it is no text, and that is said
	case there && !brand.Valid(name):
		r.wrong("/brand", "pattern", "brand must have 1 to 32 of a-z, 0-9 and -", "brand deve ter de 1 a 32 caracteres entre a-z, 0-9 e -")
	default:
		of, wrong := r.brands.Resolve(name)
		if r.of = of; wrong == nil {
			return
		}
		r.wrong("/brand", wrong.Code, wrong.Detail, wrong.DetailPT)
	}
	r.stray = r.brands.Several()
}

// identity reads kind, owner and version.
func (r *changeReader) identity(c *notice.Change) {
	r.brand()
	if s, ok := r.text("kind", true); ok {
		kind, err := ofb.ParseKind(s)
		if err != nil {
			r.wrong("/kind", "enum", "kind must be payment-consent, pix-payment, recurring-consent, recurring-payment or enrollment",
				"kind deve ser payment-consent, pix-payment, recurring-consent, recurring-payment ou enrollment")
		}
		c.Kind = kind
	}
	if s, ok := r.text("clientId", true); ok {
		if !notice.ValidClientID(s) {
			r.wrong("/clientId", "format", "clientId must have 1 to 255 printable ASCII characters without spaces",
				"clientId deve ter de 1 a 255 caracteres ASCII visíveis, sem espaços")
		} else {
			c.Client = brand.Key(r.of, notice.ClientID(s))
		}
	}
	if s, ok := r.text("apiVersion", true); ok {
		if slices.Contains(c.Kind.Versions(), s) {
			c.APIVersion = s
		} else if c.Kind != 0 {
			r.wrong("/apiVersion", "enum", "this kind has no such API version: v4 or v5 for payments, v2 for the others",
				"esta versão não existe para este kind: v4 ou v5 para pagamentos, v2 para os demais")
		}
	}
}

func (r *changeReader) revision(c *notice.Change) {
	value, there := r.m.values["revision"]
	if !there {
		r.wrong("/revision", "required", "revision is missing", "revision está ausente")
		return
	}
	n, ok := value.(json.Number)
	if !ok {
		r.wrong("/revision", "type", "revision must be an integer above 0", "revision deve ser um inteiro maior que 0")
		return
	}
	v, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || v <= 0 {
		r.wrong("/revision", "range", "revision must be an integer from 1 to 9223372036854775807", "revision deve ser um inteiro de 1 a 9223372036854775807")
		return
	}
	c.Revision = v
}

// times reads when it happened and how long the first attempt must wait (contract "On time, late", "notBefore").
func (r *changeReader) times(c *notice.Change, now time.Time) {
	at, original, ok := r.instant("occurredAt", true)
	if ok {
		c.OccurredAt, c.Original = at, original
		if at.After(now.Add(ahead)) {
			r.wrong("/occurredAt", "future", "occurredAt lies more than 60 s in the future: check the clocks",
				"occurredAt está mais de 60 s no futuro: verifique os relógios")
		}
	}
	hold, _, ok := r.instant("notBefore", false)
	if ok {
		if latest := now.Add(notice.FirstWithin); hold.After(latest) { // the core's clock may be ahead
			hold = latest
		}
		if latest := c.OccurredAt.Add(notice.FirstWithin); !c.OccurredAt.IsZero() && hold.After(latest) {
			hold = latest
		}
		c.NotBefore = hold
	}
}

// soughtText is a text that may be an end-to-end id (32 characters) or a CNPJ (14), or else "".
func soughtText(text string) string {
	if len(text) > 64 {
		return ""
	}
	return text
}

// readData reads the document: its id, its state, and whether it is what the API may return.
func (in *Intake) readData(r *changeReader, c *notice.Change) {
	if r.m.data == nil {
		if _, there := r.m.values["data"]; there {
			r.wrong("/data", "type", "data must be an object", "data deve ser um objeto")
		} else {
			r.wrong("/data", "required", "data is missing", "data está ausente")
		}
		return
	}
	if c.Kind == 0 {
		return
	}
	member := c.Kind.IDMember()
	if id, ok := r.m.data[member].(string); ok {
		if err := c.Kind.CheckID(id); err == nil {
			c.ResourceID = brand.Key(r.of, id)
		}
	}
	var schema []notice.Problem
	if c.APIVersion != "" { // else there is no schema to ask, and that is said already
		schema = in.cfg.Schema.Check(c.Kind, c.APIVersion, r.m.data)
	}
	c.State = ofb.StateOf(c.Kind, r.m.data)
	if _, err := c.Kind.ParseStatus(string(c.State.Status)); err != nil {
		c.State.Status = ""
	}
	switch {
	case in.cfg.TellNonconforming && len(r.problems) == 0 && c.ResourceID != "" && c.State.Status != "":
		c.Nonconforming = schema
	case len(schema) > 0:
		r.problems = append(r.problems, schema...)
	default:
		r.needed(c)
	}
	c.State.Watched = digests(c, c.State.Watched)
	c.Unread = unread(c.Kind, c.Nonconforming, c.State.Watched)
	if timer, ok := ofb.NextTimer(c.Kind, r.m.data); ok && slices.Contains(in.cfg.Timers, c.Kind) {
		c.Timer = &timer
	}
	r.consent(c)
	if history.HitTypeOf(c.Kind) == history.HitPayment {
		endToEnd, cnpj := history.SoughtOf(r.m.data)
		c.EndToEnd, c.CNPJ = soughtText(endToEnd), soughtText(cnpj)
	}
}

// consent reads the id of the consent that a payment belongs to. It is searched for, so what is no id of a consent counts as missing.
func (r *changeReader) consent(c *notice.Change) {
	of := map[ofb.Kind]ofb.Kind{ofb.PixPayment: ofb.PaymentConsent, ofb.RecurringPayment: ofb.RecurringConsent}[c.Kind]
	if of == 0 {
		return
	}
	id, _ := r.m.data[of.IDMember()].(string)
	if len(c.Nonconforming) == 0 || of.CheckID(id) == nil { // else its schema has judged it
		c.ConsentID = brand.Key(r.of, id)
	}
}

// unread lists the watched members, by pointer inside data, of which a document that does not conform tells no value that could be
// compared: a problem lies at the member or below it, or above it where the document does not have the member.
func unread(kind ofb.Kind, problems []notice.Problem, values map[string]string) (out []string) {
	if len(problems) == 0 {
		return nil
	}
	for _, pointer := range kind.Watches() {
		_, there := values[pointer]
		if slices.ContainsFunc(problems, func(p notice.Problem) bool {
			at, within := strings.CutPrefix(p.Pointer, "/data")
			return within && (at == pointer || strings.HasPrefix(at, pointer+"/") || !there && strings.HasPrefix(pointer, at+"/"))
		}) {
			out = append(out, pointer)
		}
	}
	return out
}

// needed names the members without which there is nothing to announce: the id and the state.
func (r *changeReader) needed(c *notice.Change) {
	member := c.Kind.IDMember()
	if c.ResourceID == "" {
		r.wrong("/data/"+member, "pattern", member+" is missing or not an id of this kind", member+" está ausente ou não é um id deste kind")
	}
	if c.State.Status == "" {
		r.wrong("/data/status", "enum", "status is missing or not a state of this kind", "status está ausente ou não é um estado deste kind")
	}
}

// digests replaces watched values, which are limits in money, by digests bound to the resource and the field: judging
// only asks whether they are the same.
func digests(c *notice.Change, watched map[string]string) map[string]string {
	out := make(map[string]string, len(watched))
	for pointer, value := range watched {
		h := sha256.Sum256([]byte(c.Kind.String() + "\x00" + c.ResourceID + "\x00" + pointer + "\x00" + value))
		out[pointer] = hex.EncodeToString(h[:12])
	}
	return out
}
