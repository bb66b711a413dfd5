package sandbox

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
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
	signed  *jws.KeySet // of initiators' signed requests; nil: their signatures are not verified

	mu    sync.Mutex
	given map[string]*given // by client and idempotency key
}

// given is the answer to a POST. One with an idempotency key is remembered from its beginning.
type given struct {
	body string        // of the request
	done chan struct{} // closed when the rest is there

	err    error // the request was refused
	status int
	answer []byte
	signed bool
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
	}
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

// admit judges certificate and token, and returns the client.
func (h *holderAPI) admit(r *http.Request, scope string) (*client, error) {
	caller, err := h.who(r)
	if err != nil {
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
	case r.Header.Get("x-fapi-interaction-id") == "":
		return nil, refused(http.StatusBadRequest, "PARAMETRO_NAO_INFORMADO", "the header x-fapi-interaction-id is missing")
	}
	return c, nil
}

// post answers the creation of one resource, or of several payments.
func (h *holderAPI) post(w http.ResponseWriter, r *http.Request, op creation) {
	c, err := h.admit(r, op.scope)
	var body []byte
	if err == nil {
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
			err = refused(http.StatusBadRequest, "PARAMETRO_INVALIDO", "the body cannot be read: %v", err)
		}
	}
	w.Header().Set("x-fapi-interaction-id", r.Header.Get("x-fapi-interaction-id"))
	if err != nil {
		answerProblem(w, err)
		return
	}
	made, first := h.claim(c, r.Header.Get("x-idempotency-key"), string(body))
	if !first {
		select {
		case <-made.done:
		case <-r.Context().Done():
			return
		}
		switch {
		case made.body != string(body):
			answerProblem(w, refused(http.StatusUnprocessableEntity, "ERRO_IDEMPOTENCIA", "x-idempotency-key was used for another request"))
		case made.err != nil:
			answerProblem(w, made.err)
		default:
			write(w, made)
		}
		return
	}
	begin, err := h.make(r, c, op, made)
	if made.err = err; err != nil {
		h.release(c, r.Header.Get("x-idempotency-key"))
	}
	close(made.done)
	if err != nil {
		answerProblem(w, err)
		return
	}
	write(w, made)
	begin()
}

// claim finds what a client's request with an idempotency key was given. first: nothing, and the caller gives it now; others wait for it.
func (h *holderAPI) claim(c *client, key, body string) (made *given, first bool) {
	made = &given{body: body, done: make(chan struct{})}
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

// make creates what a body asks for, all of it or nothing, and writes the answer into made. begin starts the stories that begin after the
// answer.
func (h *holderAPI) make(r *http.Request, c *client, op creation, made *given) (begin func(), err error) {
	asked, list, signed, err := h.read(r, op.kind, []byte(made.body))
	if err != nil {
		return nil, err
	}
	births, err := h.judge(c, op.kind, r.PathValue("version"), asked)
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
	if !list {
		data = documents[0]
	}
	now := time.Now()
	answer := map[string]any{
		"data": data, "links": map[string]string{"self": stage.BaseURL + r.URL.Path}, "meta": map[string]string{"requestDateTime": now.UTC().Format(time.RFC3339)},
	}
	if signed {
		answer["iss"], answer["aud"], answer["iat"], answer["jti"] = h.stage.PKI.Options().Holder.ID, c.Registration.OrganisationID, now.Unix(), uuid.NewString()
		compact, err := h.seal(answer)
		if err != nil {
			return nil, err
		}
		made.answer = []byte(compact)
	} else if made.answer, err = json.Marshal(answer); err != nil {
		return nil, err
	}
	made.status, made.signed = http.StatusCreated, signed
	return func() {
		for _, later := range stories {
			later()
		}
	}, nil
}

// read reads the resources that a body asks for; list says that data is a list, as that of payments is.
func (h *holderAPI) read(r *http.Request, kind ofb.Kind, body []byte) (asked []map[string]any, list, signed bool, err error) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/jwt":
		if body, err = h.opened(strings.TrimSpace(string(body))); err != nil {
			return nil, false, true, refused(http.StatusBadRequest, "PARAMETRO_INVALIDO", "the signed body cannot be read: %v", err)
		}
		signed = true
	case "application/json":
	default:
		return nil, false, false, refused(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/jwt or application/json")
	}
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if err = json.Unmarshal(body, &envelope); err == nil {
		if list = strings.HasPrefix(strings.TrimSpace(string(envelope.Data)), "["); list {
			err = json.Unmarshal(envelope.Data, &asked)
		} else {
			var one map[string]any
			err = json.Unmarshal(envelope.Data, &one)
			asked = []map[string]any{one}
		}
	}
	switch {
	case err != nil:
		return nil, list, signed, refused(http.StatusBadRequest, "PARAMETRO_INVALIDO", "the body is not {\"data\":…}: %v", err)
	case len(asked) == 0 || len(asked) > 60 || asked[0] == nil:
		return nil, list, signed, refused(http.StatusUnprocessableEntity, "PARAMETRO_NAO_INFORMADO", "data must hold one resource, or 1 to 60 payments")
	}
	for _, one := range asked {
		if name := unknownMember(kind, one); name != "" {
			return nil, list, signed, refused(http.StatusUnprocessableEntity, "PARAMETRO_INVALIDO", "data.%s is not a member of this POST", name)
		}
	}
	return asked, list, signed, nil
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

// answerProblem writes an error as the APIs do.
func answerProblem(w http.ResponseWriter, err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = refused(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "%v", err)
	}
	answerJSON(w, p.status, map[string]any{
		"errors": []map[string]string{{"code": p.code, "title": p.title, "detail": p.detail}},
		"meta":   map[string]string{"requestDateTime": time.Now().UTC().Format(time.RFC3339)},
	})
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller has gone
}

// write writes the answer of a creation.
func write(w http.ResponseWriter, g *given) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if g.signed {
		w.Header().Set("Content-Type", "application/jwt")
	}
	w.WriteHeader(g.status)
	if _, err := w.Write(g.answer); err == nil {
		_ = http.NewResponseController(w).Flush()
	}
}
