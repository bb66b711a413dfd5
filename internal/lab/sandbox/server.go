package sandbox

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// holderAPI is the side of the holder that the gateway does not have: tokens, and the creation of consents, payments and enrolments.
type holderAPI struct {
	bank    *bank
	clients map[string]*client
	access  *jws.AccessVerifier
	stage   *stage.Stage
	seal    func(claims map[string]any) (string, error)
	public  string      // address of the status endpoints
	signed  *jws.KeySet // of initiators' signed requests; nil: their signatures are not verified

	mu    sync.Mutex
	given map[string]*given // by client and idempotency key
}

// given is the answer to a POST. One with an idempotency key is remembered from its beginning.
type given struct {
	data string        // that was asked for
	done chan struct{} // closed when the rest is there

	err    error // the request was refused
	answer map[string]any
}

// rememberAtMost bounds the answers kept for idempotency keys.
const rememberAtMost = 10000

// creation is a POST that creates resources.
type creation struct {
	kind  ofb.Kind
	scope string
}

// handler routes the calls.
func (h *holderAPI) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", h.token)
	for path, c := range map[string]creation{
		"payments/{version}/consents":                         {ofb.PaymentConsent, "payments"},
		"payments/{version}/pix/payments":                     {ofb.PixPayment, "payments"},
		"automatic-payments/{version}/recurring-consents":     {ofb.RecurringConsent, "recurring-payments"},
		"automatic-payments/{version}/pix/recurring-payments": {ofb.RecurringPayment, "recurring-payments"},
		"enrollments/{version}/enrollments":                   {ofb.Enrollment, "payments"},
	} {
		mux.HandleFunc("POST /open-banking/"+path, func(w http.ResponseWriter, r *http.Request) { h.post(w, r, c) })
		mux.HandleFunc("/open-banking/"+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", http.MethodPost)
			h.elsewhere(w, r, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.elsewhere(w, r, http.StatusNotFound, "NOT_FOUND") })
	return mux
}

// problem is an answer that is an error of the API.
type problem struct {
	status              int
	code, title, detail string
}

func (p *problem) Error() string { return p.code + ": " + p.detail }

// refused makes an error of the API.
func refused(status int, code, format string, args ...any) *problem {
	return &problem{status, code, http.StatusText(status), fmt.Sprintf(format, args...)}
}

// who is the client whose certificate and, unless it asks for one, token these are.
func (h *holderAPI) who(r *http.Request) (mtls.Caller, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return mtls.Caller{}, refused(http.StatusUnauthorized, "INVALID_CLIENT", "there is no client certificate")
	}
	caller, err := mtls.CallerOf(r.TLS.PeerCertificates[0])
	if err != nil {
		return mtls.Caller{}, refused(http.StatusUnauthorized, "INVALID_CLIENT", "%v", err)
	}
	return caller, nil
}

// token answers a request for a token of client credentials. The certificate of the connection proves who asks.
func (h *holderAPI) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 §5.1
	refuse := func(status int, code, text string) {
		answerJSON(w, status, map[string]string{"error": code, "error_description": text})
	}
	caller, err := h.who(r)
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	id, grant := r.PostFormValue("client_id"), r.PostFormValue("grant_type")
	c := h.clients[id]
	switch {
	case err != nil:
		refuse(http.StatusUnauthorized, "invalid_client", err.Error())
	case grant != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type", "grant_type must be client_credentials")
	case c == nil || !caller.Is(c.Registration.OrganisationID, c.Registration.SoftwareID):
		refuse(http.StatusUnauthorized, "invalid_client", "client_id is not a client of the organisation and software in the certificate")
	default:
		now := time.Now()
		const scope = "payments recurring-payments"
		token, err := jws.Issue(h.stage.PKI.Tokens.Key, h.stage.PKI.Tokens.KID, map[string]any{
			"iss": stage.TokensIssuer, "aud": stage.TokensAudience, "iat": now.Unix(), "exp": now.Add(stage.TokenLife).Unix(), "jti": uuid.NewString(),
			"client_id": id, "scope": scope, "grant_type": grant, "cnf": map[string]string{"x5t#S256": caller.Thumbprint},
		})
		if err != nil {
			refuse(http.StatusInternalServerError, "server_error", err.Error())
			return
		}
		answerJSON(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(stage.TokenLife.Seconds()), "scope": scope})
	}
}

// admit judges certificate, interaction id and token, in this order, and returns the client.
func (h *holderAPI) admit(r *http.Request, scope string) (*client, error) {
	caller, err := h.who(r)
	if err != nil {
		return nil, err
	}
	if _, err := interactionOf(r); err != nil {
		return nil, err
	}
	text, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !is {
		return nil, refused(http.StatusUnauthorized, "UNAUTHORIZED", "the header Authorization has no bearer token")
	}
	token, err := h.access.Verify(r.Context(), text)
	if err != nil {
		return nil, refused(http.StatusUnauthorized, "UNAUTHORIZED", "%v", err)
	}
	c := h.clients[token.ClientID]
	switch {
	case base64.RawURLEncoding.EncodeToString(token.Thumbprint[:]) != caller.Thumbprint:
		return nil, refused(http.StatusUnauthorized, "UNAUTHORIZED", "the token is bound to another certificate")
	case c == nil || !caller.Is(c.Registration.OrganisationID, c.Registration.SoftwareID):
		return nil, refused(http.StatusUnauthorized, "INVALID_CLIENT", "the certificate is not that of the token's client")
	case !token.HasScope(scope):
		return nil, refused(http.StatusForbidden, "FORBIDDEN", "the token lacks the scope %s", scope)
	}
	return c, nil
}

// post answers the creation of one resource, or of several payments.
func (h *holderAPI) post(w http.ResponseWriter, r *http.Request, op creation) {
	a := newReply(h, w, r)
	var err error
	if a.client, err = h.admit(r, op.scope); err != nil {
		a.refuse(err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		a.refuse(refused(http.StatusBadRequest, "PARAMETRO_INVALIDO", "the body cannot be read: %v", err))
		return
	}
	asked, err := h.read(r, op.kind, body)
	if err != nil {
		a.refuse(err)
		return
	}
	made, first := h.claim(a.client, r.Header.Get("x-idempotency-key"), asked.data())
	if !first {
		select {
		case <-made.done:
		case <-r.Context().Done():
			return
		}
		switch {
		case made.data != asked.data():
			a.refuse(refused(http.StatusUnprocessableEntity, "ERRO_IDEMPOTENCIA", "data differs from that of the first request with this x-idempotency-key"))
		case made.err != nil:
			a.refuse(made.err)
		default:
			a.created(op.kind, made.answer)
		}
		return
	}
	begin, err := h.make(r, a.client, op, asked, made)
	if made.err = err; err != nil {
		h.release(a.client, r.Header.Get("x-idempotency-key"))
	}
	close(made.done)
	if err != nil {
		a.refuse(err)
		return
	}
	a.created(op.kind, made.answer)
	begin()
}

// demand is what a body asks for.
type demand struct {
	resources []map[string]any
	list      bool // data is a list, as that of payments is
}

// data is the same text for two bodies that ask for the same, whatever their spaces, the order of members, and the claims beside data.
func (d *demand) data() string {
	text, err := json.Marshal(d.resources)
	if err != nil {
		return "" // what was decoded always encodes
	}
	return strconv.FormatBool(d.list) + string(text)
}

// claim finds what a client's request with an idempotency key was given. first: nothing, and the caller gives it now; others wait for it.
func (h *holderAPI) claim(c *client, key, data string) (made *given, first bool) {
	made = &given{data: data, done: make(chan struct{})}
	if key == "" {
		return made, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if before, known := h.given[c.ID+" "+key]; known {
		return before, false
	}
	if len(h.given) >= rememberAtMost {
		clear(h.given)
	}
	h.given[c.ID+" "+key] = made
	return made, true
}

// release forgets a request that was refused: its key may be used again.
func (h *holderAPI) release(c *client, key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.given, c.ID+" "+key)
}

// make creates what is asked for, all of it or nothing, and writes the answer into made. begin starts the stories that begin after the
// answer.
func (h *holderAPI) make(r *http.Request, c *client, op creation, asked *demand, made *given) (begin func(), err error) {
	births, err := h.judge(c, op.kind, r.PathValue("version"), asked.resources)
	if err != nil {
		return nil, err
	}
	var stories []func()
	var documents []json.RawMessage
	for _, one := range births {
		document, later, err := h.create(r.Context(), one)
		if err != nil {
			return nil, err
		}
		documents, stories = append(documents, document), append(stories, later)
	}
	var data any = documents
	if !asked.list {
		data = documents[0]
	}
	made.answer = map[string]any{
		"data": data, "links": map[string]string{"self": stage.BaseURL + r.URL.Path}, "meta": map[string]string{"requestDateTime": time.Now().UTC().Format(time.RFC3339)},
	}
	return func() {
		for _, later := range stories {
			later()
		}
	}, nil
}

// read reads the resources that a body asks for.
func (h *holderAPI) read(r *http.Request, kind ofb.Kind, body []byte) (*demand, error) {
	var err error
	switch mediaOf(r) {
	case "application/jwt":
		if body, err = h.opened(strings.TrimSpace(string(body))); err != nil {
			return nil, refused(http.StatusBadRequest, "PARAMETRO_INVALIDO", "the signed body cannot be read: %v", err)
		}
	case "application/json":
	default:
		return nil, refused(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/jwt or application/json")
	}
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	d := &demand{}
	if err = json.Unmarshal(body, &envelope); err == nil {
		if d.list = strings.HasPrefix(strings.TrimSpace(string(envelope.Data)), "["); d.list {
			err = json.Unmarshal(envelope.Data, &d.resources)
		} else {
			var one map[string]any
			err = json.Unmarshal(envelope.Data, &one)
			d.resources = []map[string]any{one}
		}
	}
	switch {
	case err != nil:
		return nil, refused(http.StatusBadRequest, "PARAMETRO_INVALIDO", "the body is not {\"data\":…}: %v", err)
	case len(d.resources) == 0 || len(d.resources) > 60 || d.resources[0] == nil:
		return nil, refused(http.StatusUnprocessableEntity, "PARAMETRO_NAO_INFORMADO", "data must hold one resource, or 1 to 60 payments")
	}
	for _, one := range d.resources {
		if name := unknownMember(kind, one); name != "" {
			return nil, refused(http.StatusUnprocessableEntity, "PARAMETRO_INVALIDO", "data.%s is not a member of this POST", name)
		}
	}
	return d, nil
}

// opened returns the payload of a signed body, and verifies its signature where keys are known.
func (h *holderAPI) opened(compact string) ([]byte, error) {
	if h.signed != nil {
		if _, err := jws.Verify(compact, h.signed); err != nil {
			return nil, err
		}
	}
	part := strings.Split(compact, ".")
	if len(part) != 3 {
		return nil, errors.New("it is not a compact JWS")
	}
	return base64.RawURLEncoding.DecodeString(part[1])
}

// birth is a resource that a POST asks for, judged and not yet created.
type birth struct {
	r, consent *resource
	outcome    Outcome
	cents      int
}

// judge judges everything that a POST asks for, before any of it is created. What one alone asks for is left to the gateway's schema.
func (h *holderAPI) judge(c *client, kind ofb.Kind, version string, asked []map[string]any) ([]*birth, error) {
	if !slices.Contains(kind.Versions(), version) {
		return nil, refused(http.StatusNotFound, "NOT_FOUND", "there is no version %.20q; use %s", version, strings.Join(kind.Versions(), ", "))
	}
	births := make([]*birth, len(asked))
	for i, one := range asked {
		amount := amountOf(kind, one)
		if amount == "" && kind == ofb.Enrollment {
			amount = "0.00"
		}
		cents, err := centsOf(amount)
		if err != nil {
			return nil, refused(http.StatusUnprocessableEntity, "VALOR_INVALIDO", "%v", err)
		}
		r := newResource(kind, version, c.ID)
		r.asked, r.amount = one, amount
		consent, err := h.consentOf(c, r, one)
		if err != nil {
			return nil, err
		}
		births[i] = &birth{r, consent, ByCents(kind, cents), cents}
		r.follow(&births[i].outcome)
		if len(asked) == 1 {
			break
		}
		if err := bySchema(r); err != nil {
			return nil, err
		}
	}
	return births, nil
}

// loadSchemas reads the gateway's schemas once.
var loadSchemas = sync.OnceValues(func() (*openapi.Schemas, error) { return openapi.Load() })

// bySchema holds a resource that nobody knows yet against the gateway's schema.
func bySchema(r *resource) error {
	schemas, err := loadSchemas()
	if err != nil {
		return err
	}
	var data map[string]any
	if err := json.Unmarshal(r.document(), &data); err != nil {
		return err
	}
	if problems := schemas.Check(r.kind, r.version, data); len(problems) > 0 {
		p := &problems[0]
		return refused(http.StatusUnprocessableEntity, "PARAMETRO_INVALIDO", "%s: %s (%s)", p.Pointer, p.Detail, p.Code)
	}
	return nil
}

// create creates one resource and returns its document at its creation; later begins its story after the answer.
func (h *holderAPI) create(ctx context.Context, b *birth) (document json.RawMessage, later func(), err error) {
	r, consent, outcome := b.r, b.consent, b.outcome
	if err := h.bank.create(ctx, r, &b.cents); err != nil {
		return nil, nil, invalid(err)
	}
	r.mu.Lock()
	document = r.document()
	r.mu.Unlock()
	if !outcome.BeforeAnswer {
		return document, func() { h.bank.begin(r, consent, outcome, answerHold) }, nil
	}
	s := h.bank.begin(r, consent, outcome, 0)
	select {
	case <-s.done:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = h.bank.reached(limited, s, came)
	return document, func() {}, err
}

// consentOf finds the consent of a payment. It is consumed by the POST when it is one of payments.
func (h *holderAPI) consentOf(c *client, r *resource, asked map[string]any) (*resource, error) {
	name := map[ofb.Kind]string{ofb.PixPayment: "consentId", ofb.RecurringPayment: "recurringConsentId"}[r.kind]
	if name == "" {
		return nil, nil //nolint:nilnil // it is no payment
	}
	id, _ := asked[name].(string)
	of := h.bank.find(id)
	if of == nil || of.client != c.ID {
		return nil, refused(http.StatusUnprocessableEntity, "CONSENTIMENTO_INVALIDO", "data.%s names no consent of this client; the sandbox has no login that tells it", name)
	}
	of.mu.Lock()
	status := of.status
	of.mu.Unlock()
	if status != ofb.Authorised {
		return nil, refused(http.StatusUnprocessableEntity, "CONSENTIMENTO_INVALIDO", "the consent is %s; it must be AUTHORISED", status)
	}
	r.consent = id
	if of.kind != ofb.PaymentConsent {
		return nil, nil //nolint:nilnil // a recurring consent stays
	}
	return of, nil
}

// invalid is the gateway's judgement of a document as an error of the API.
func invalid(err error) error {
	var refusal *stage.Refusal
	if !errors.As(err, &refusal) || refusal.Status != http.StatusUnprocessableEntity {
		return err
	}
	var judged struct {
		Errors []struct{ Pointer, Code, Detail string }
	}
	if json.Unmarshal([]byte(refusal.Body), &judged) != nil || len(judged.Errors) == 0 {
		return err
	}
	first := judged.Errors[0]
	return refused(http.StatusUnprocessableEntity, "PARAMETRO_INVALIDO", "%s: %s (%s)", first.Pointer, first.Detail, first.Code)
}
