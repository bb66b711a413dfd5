package status

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// answerClaims is the body of an answer (status-apis §1.5, §1.7). Its members are written in this order; data is the document
// value for value.
type answerClaims struct {
	Data  json.RawMessage `json:"data"`
	Links links           `json:"links"`
	Meta  meta            `json:"meta"`
	Iss   string          `json:"iss"`
	Aud   string          `json:"aud"`
	Iat   int64           `json:"iat"`
	JTI   string          `json:"jti"`
}

type links struct {
	Self string `json:"self"`
}

type meta struct {
	RequestDateTime string `json:"requestDateTime"`
}

// get answers one status query: who is asking, whether it may be asked, what the answer is, the record, the answer.
func (p *Public) get(x *api.Exchange, op *operation, version string) error {
	q := queryOf(x)
	q.poll.Facts.Operation, q.poll.Facts.APIVersion = op.name, version
	if err := p.cfg.Polls.Ready(); err != nil {
		return fmt.Errorf("%w: %w", errUnrecordable, err)
	}
	question, self, wrong := p.ask(x, op)
	ctx, cancel := context.WithTimeout(x.R.Context(), readWithin)
	defer cancel()
	known, err := p.cfg.Resources.Read(ctx, question)
	if err != nil {
		return err
	}
	if known.Initiator == nil || !q.caller.Is(known.Initiator.OrganisationID, known.Initiator.SoftwareID) {
		return because(refClient, "certificate is not the registered client's")
	}
	if wrong != nil {
		return wrong
	}
	data, err := p.show(q, op, version, &known)
	if err != nil {
		return err
	}
	// x-v is required in payments 5.0.0 and in automatic payments, and harmless elsewhere (status-apis §1.4).
	return p.answer(x, data, self, known.Initiator.OrganisationID, p.cfg.Versions.Full(op.api, version))
}

// errUnrecordable is the 503 of a query whose record could not be kept.
var errUnrecordable error = passingError("the query cannot be recorded")

type passingError string

func (e passingError) Error() string { return string(e) }

// Transient says that the same may succeed later.
func (passingError) Transient() bool { return true }

// show makes the data of the answer: existence, ownership, version, in this order (status-apis §1.6).
func (p *Public) show(q *query, op *operation, version string, known *notice.PollReading) (json.RawMessage, error) {
	if op.under != 0 {
		return p.showList(q, op, version, known)
	}
	switch {
	case !known.Found:
		return nil, because(refNotFound, "unknown id")
	case !known.Mine:
		return nil, because(refParameter, "another client's resource")
	case len(known.Stored.Document) == 0:
		return nil, because(refNotFound, "its document was erased after its retention time")
	}
	document, status, err := p.due(q, known)
	if err != nil {
		return nil, err
	}
	document, err = p.through(op.kind, known.Stored.APIVersion, version, document)
	if errors.Is(err, openapi.ErrNotReadable) {
		return nil, because(refParameter, "created under a newer version")
	}
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", op.kind, err)
	}
	if err := p.checkOutgoing(op.kind, version, document); err != nil {
		return nil, err
	}
	q.poll.Facts.Status = status
	return document, nil
}

// through makes of a document what a query through a version answers. One that cannot be rewritten, because it does not conform to the
// schema of its own version, is shown as it is: its state is true, and the initiator was told to ask for it.
func (p *Public) through(kind ofb.Kind, from, version string, document []byte) ([]byte, error) {
	rewritten, err := openapi.Upgrade(kind, from, version, document)
	if err == nil {
		rewritten, err = openapi.Within(p.cfg.Versions, kind, version, rewritten)
	}
	if err == nil || errors.Is(err, openapi.ErrNotReadable) {
		return rewritten, err
	}
	if _, unreadable := decodeDocument(document); unreadable != nil {
		return nil, err
	}
	return document, nil
}

// due applies the deadlines of the rules as of the database's clock (design, "Timers"): what the timer will store a
// moment later, or is storing now.
func (p *Public) due(q *query, known *notice.PollReading) (document []byte, status ofb.Status, err error) {
	s := known.Stored
	if !slices.Contains(p.cfg.Timers, s.Kind) || s.Kind.Final(s.Status) {
		return s.Document, s.Status, nil
	}
	data, err := decodeDocument(s.Document)
	if err != nil {
		return nil, "", fmt.Errorf("read the stored %s: %w", s.Kind, err)
	}
	fired, document, err := ofb.Due(s.Kind, s.Document, data, known.Now)
	if err != nil {
		return nil, "", fmt.Errorf("apply the deadline of a %s: %w", s.Kind, err)
	}
	status = s.Status
	for _, timer := range fired {
		status, q.poll.Facts.Timer = timer.To, timer.Rule
	}
	return document, status, nil
}

// showList makes a list of payments. Its consent's owner is judged first (status-apis §1.2); where the core never told
// us the consent, its payments tell whose it is, and without any the answer is 404.
func (p *Public) showList(q *query, op *operation, version string, known *notice.PollReading) (json.RawMessage, error) {
	switch {
	case known.Found && !known.Mine, !known.Found && !known.Known && known.Foreign:
		return nil, because(refParameter, "another client's consent")
	case !known.Found && !known.Known:
		return nil, because(refNotFound, "unknown consent")
	case known.Found && older(op.kind, version, known.Stored.APIVersion):
		return nil, because(refParameter, "consent created under a newer version")
	case len(known.Listed) > maxListed:
		return nil, because(refParameter, "list is too long")
	}
	type item struct {
		created, id string
		text        json.RawMessage
	}
	items := make([]item, 0, len(known.Listed))
	for _, s := range known.Listed {
		if older(s.Kind, version, s.APIVersion) {
			return nil, because(refParameter, "payment created under a newer version")
		}
		document, err := openapi.Within(p.cfg.Versions, s.Kind, version, s.Document)
		if err != nil { // it does not conform
			document = s.Document
		}
		text, err := openapi.ListItem(s.Kind, document)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.Kind, err)
		}
		d, readable := listedOf(s.Document)
		if !readable {
			return nil, fmt.Errorf("list %s: stored document is not as it must be", s.Kind)
		}
		items = append(items, item{d.Created, s.ID, text})
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.id, b.id)) })
	q.poll.Facts.Items = len(items)
	out := []byte{'['}
	for i, one := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, one.text...)
	}
	return append(out, ']'), nil
}

// older tells that the version asked through is older than the one that created the resource (status-apis §3.4 rule 4).
func older(kind ofb.Kind, asked, created string) bool {
	versions := kind.Versions()
	return slices.Index(versions, asked) < slices.Index(versions, created)
}

func decodeDocument(document []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var data map[string]any
	err := decoder.Decode(&data)
	return data, err
}

// checkOutgoing holds a document against the schema of the version it goes out under, when that is wanted.
func (p *Public) checkOutgoing(kind ofb.Kind, version string, document []byte) error {
	if p.cfg.Outgoing == nil {
		return nil
	}
	data, err := decodeDocument(document)
	if err != nil {
		return fmt.Errorf("check an outgoing %s: %w", kind, err)
	}
	if problems := p.cfg.Outgoing.Check(kind, version, data); len(problems) > 0 {
		return fmt.Errorf("an outgoing %s of %s does not fit its schema: %s at %s", kind, version, problems[0].Code, problems[0].Pointer)
	}
	return nil
}

// answer signs, records and sends, in this order: a jti is in the record before anybody sees it.
func (p *Public) answer(x *api.Exchange, data json.RawMessage, self, audience, fullVersion string) error {
	q := queryOf(x)
	signer, err := q.brand.Keys.Active()
	if err != nil {
		return err
	}
	now, jti := time.Now(), uuid.NewString()
	body, err := signer.Sign(answerClaims{
		Data: data, Links: links{self}, Meta: meta{requestTime(now)},
		Iss: q.brand.OrganisationID, Aud: audience, Iat: now.Unix(), JTI: jti,
	})
	if err != nil {
		return err
	}
	f := &q.poll.Facts
	f.JTI, f.KID = jti, signer.KID()
	if err := p.keep(x.R.Context(), x, http.StatusOK, body); err != nil {
		f.JTI, f.KID, f.Status, f.Items, f.Timer = "", "", "", 0, "" // nothing was shown
		return fmt.Errorf("%w: %w", errUnrecordable, err)
	}
	p.observer.Polled(q.poll.Kind, http.StatusOK, "")
	noteQuery(x, http.StatusOK, "")
	h := x.W.Header()
	h.Set(interactionHeader, q.id)
	h.Set("x-v", fullVersion)
	h.Set("Content-Type", "application/jwt")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.W.WriteHeader(http.StatusOK)
	_, _ = x.W.Write(body) // a caller who is gone is no concern of ours
	return nil
}

// keep makes the record of a query durable.
func (p *Public) keep(ctx context.Context, x *api.Exchange, status int, body []byte) error {
	q := queryOf(x)
	q.describe(x, status, body)
	return p.cfg.Polls.Record(ctx, q.poll)
}

// describe completes the record of a query by its answer.
func (q *query) describe(x *api.Exchange, status int, body []byte) {
	f := &q.poll.Facts
	f.HTTPStatus, f.DurationUS = status, time.Since(q.poll.At).Microseconds()
	if f.Operation == "" { // refused before it was looked at
		f.Operation, f.APIVersion = operationOf(x.Route)
	}
	if m := api.KnownMethod(x.R.Method); m != http.MethodGet {
		f.Method = m
	}
	sum := sha256.Sum256(body)
	f.Digest = hex.EncodeToString(sum[:])
}

// keepRefusal records a refusal, which must not fail because the caller's time is up. Those of a limit, and those before a
// token was accepted, are recorded one by one within a budget; the others are counted.
func (p *Public) keepRefusal(x *api.Exchange, r *queryError, reason string, body []byte) bool {
	q := queryOf(x)
	q.poll.Facts.Code, q.poll.Facts.Reason = r.code, reason
	q.describe(x, r.status, body)
	apart := "" // the number of those that were not recorded must not mix status queries with others
	if q.poll.Facts.OfExtension() {
		apart = notice.ExtensionPrefix
	}
	switch {
	case r.status == statusOverload:
		if p.refused.hold(apart+"limit "+keyOf(q.caller), budgetLimited, &q.poll, time.Now()) {
			p.observer.Unrecorded(r.status)
			return false
		}
	case r.status < http.StatusInternalServerError && q.token.ClientID == "":
		if p.refused.hold(apart+r.code+" "+q.poll.Facts.Fingerprint, budgetNameless, &q.poll, time.Now()) {
			return true
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.R.Context()), time.Second)
	defer cancel()
	if err := p.cfg.Polls.Record(ctx, q.poll); err != nil {
		p.observer.Unrecorded(r.status)
		x.Log.Warn("refused query not recorded", "status", r.status, "error", err)
		return false
	}
	return true
}

// noteQuery adds to the access log what names a query in a ticket: ids and names, no value out of a document and no
// value of the query string.
func noteQuery(x *api.Exchange, status int, code string) {
	q := queryOf(x)
	f := &q.poll.Facts
	x.Notes = append(x.Notes,
		slog.String("interaction_id", q.poll.Interaction.String()), slog.String("client_id", string(q.poll.Client)),
		slog.String("organisation_id", f.Organisation), slog.String("software_id", f.Software), slog.String("certificate_serial", f.Certificate),
		slog.String("token_hash", f.TokenHash), slog.String("kind", q.poll.Kind.String()), slog.String("resource_id", q.poll.ResourceID),
		slog.Any("parameters", knownParameters(x.R.URL.RawQuery)),
	)
	if status == http.StatusOK || status == http.StatusNoContent {
		x.Notes = append(x.Notes, slog.String("state", string(f.Status)), slog.String("jti", f.JTI), slog.String("kid", f.KID))
	} else {
		x.Notes = append(x.Notes, slog.String("code", code), slog.String("reason", f.Reason))
	}
}
