package status

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
)

// queryError is an error as an initiator sees it: code, title and detail are constant and never repeat what was sent
// (contract, "Error codes"). The reason is for our record alone.
type queryError struct {
	status    int
	code      string
	title     string
	detail    string
	challenge string // WWW-Authenticate on 401 (RFC 6750 §3)
}

func (r *queryError) Error() string { return r.code }

// reasoned is a refusal with the reason for it.
type reasoned struct {
	*queryError
	reason string
	wait   time.Duration // until the same may be asked again; zero: not known
}

func (r reasoned) Unwrap() error { return r.queryError }

func (r reasoned) Error() string { return r.code + ": " + r.reason }

func because(r *queryError, reason string) error { return reasoned{r, reason, 0} }

// retryAfter is how long a refused caller is told to wait, in whole seconds: the time that is known, or what every 503 advises.
func retryAfter(err error) string {
	var why reasoned
	if !errors.As(err, &why) || why.wait <= 0 {
		return api.RetryAfter
	}
	return strconv.FormatInt(int64((why.wait+time.Second-1)/time.Second), 10)
}

const (
	challengeNone    = `Bearer realm="open-banking"`
	challengeInvalid = challengeNone + `, error="invalid_token"`

	// statusOverload is the code of the traffic rules, which net/http has no name for (status-apis §1.6).
	statusOverload = 529
)

// The refusals there are (status-apis §1.6, contract "Error codes"). Texts are Portuguese: initiators' engineers read
// them.
var (
	refParameter = &queryError{
		status: http.StatusBadRequest, code: "PARAMETRO_INVALIDO", title: "Parâmetro inválido.",
		detail: "Um parâmetro da requisição tem valor ou formato inválido, ou o recurso não pode ser consultado por este cliente ou nesta versão.",
	}
	refMissing = &queryError{
		status: http.StatusBadRequest, code: "PARAMETRO_NAO_INFORMADO", title: "Parâmetro não informado.",
		detail: "Um parâmetro obrigatório da requisição não foi informado.",
	}
	refToken = &queryError{
		status: http.StatusUnauthorized, code: "UNAUTHORIZED", title: "Não autorizado.",
		detail: "O token de acesso está ausente, é inválido, expirou ou não pertence ao certificado apresentado.", challenge: challengeInvalid,
	}
	refNoToken = &queryError{
		status: http.StatusUnauthorized, code: refToken.code, title: refToken.title, detail: refToken.detail, challenge: challengeNone,
	}
	refClient = &queryError{
		status: http.StatusUnauthorized, code: "INVALID_CLIENT", title: "Cliente inválido.",
		detail: "O certificado apresentado não corresponde ao cliente.", challenge: challengeInvalid,
	}
	refForbidden = &queryError{
		status: http.StatusForbidden, code: "FORBIDDEN", title: "Acesso negado.",
		detail: "O token de acesso não tem o escopo exigido.",
	}
	refNotFound = &queryError{
		status: http.StatusNotFound, code: "NOT_FOUND", title: "Não encontrado.",
		detail: "O recurso ou o caminho solicitado não existe.",
	}
	refMethod = &queryError{
		status: http.StatusMethodNotAllowed, code: "METHOD_NOT_ALLOWED", title: "Método não suportado.",
		detail: "O caminho solicitado aceita apenas o método GET.",
	}
	refMethodPost = &queryError{
		status: refMethod.status, code: refMethod.code, title: refMethod.title,
		detail: "O caminho solicitado aceita apenas o método POST.",
	}
	refAccept = &queryError{
		status: http.StatusNotAcceptable, code: "NOT_ACCEPTABLE", title: "Formato não suportado.",
		detail: "A resposta está disponível apenas como application/jwt em UTF-8.",
	}
	refBody = &queryError{
		status: http.StatusUnsupportedMediaType, code: "UNSUPPORTED_MEDIA_TYPE", title: "Formato não suportado.",
		detail: "A requisição não aceita corpo.",
	}
	refActBody = &queryError{
		status: refBody.status, code: refBody.code, title: refBody.title,
		detail: "O corpo da requisição deve ser application/json em UTF-8.",
	}
	refInternal = &queryError{
		status: http.StatusInternalServerError, code: "INTERNAL_SERVER_ERROR", title: "Erro interno.",
		detail: "Ocorreu um erro ao processar a requisição.",
	}
	refUnavailable = &queryError{
		status: http.StatusServiceUnavailable, code: "SERVICE_UNAVAILABLE", title: "Serviço indisponível.",
		detail: "A consulta não pode ser respondida agora; tente novamente em instantes.",
	}
	refTimeout = &queryError{
		status: http.StatusGatewayTimeout, code: "GATEWAY_TIMEOUT", title: "Tempo esgotado.",
		detail: "A consulta não foi respondida no tempo máximo permitido.",
	}
	refOverload = &queryError{
		status: statusOverload, code: "SITE_IS_OVERLOADED", title: "Limite de tráfego atingido.",
		detail: "O limite de requisições foi atingido; tente novamente em instantes.",
	}
)

// refusalFor is the one place that maps an error to what an initiator sees, with the reason for our record. What it does
// not know is a 500.
func refusalFor(ctx context.Context, err error) (r *queryError, reason string) {
	var withReason reasoned
	var known *queryError
	var framed *api.APIError
	switch {
	case errors.As(err, &withReason):
		return withReason.queryError, withReason.reason
	case errors.As(err, &known):
		return known, ""
	case errors.As(err, &framed): // of the frame that both listeners share
		switch framed.Status {
		case http.StatusNotFound:
			return refNotFound, "no such path"
		case http.StatusMethodNotAllowed:
			if framed.Allow == http.MethodPost {
				return refMethodPost, ""
			}
			return refMethod, ""
		}
		return refInternal, framed.Code
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return refTimeout, "the answer took too long"
	}
	if api.Unavailable(err) {
		return refUnavailable, "a part of ours is not available"
	}
	return refInternal, "internal error"
}

// refuse records a query that is not answered as asked, and answers with the error.
func (p *Public) refuse(x *api.Exchange, err error) {
	r, reason := refusalFor(x.R.Context(), err)
	switch r {
	case refInternal:
		x.Log.Error("query failed", "route", x.Route, "error", err)
	case refUnavailable, refTimeout:
		x.Log.Warn("query refused: temporarily unavailable", "route", x.Route, "error", err)
	}
	if x.W.Status != 0 {
		x.Cut()
		return
	}
	body := errorBody(r, time.Now())
	if !p.keepRefusal(x, r, reason, body) && r.status != statusOverload && r != refUnavailable {
		r = refUnavailable // what cannot be recorded is not done (D-3)
		body = errorBody(r, time.Now())
	}
	p.observer.Polled(queryOf(x).poll.Kind, r.status, r.code)
	noteQuery(x, r.status, r.code)
	h := x.W.Header()
	h.Set(interactionHeader, queryOf(x).id)
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.challenge != "" {
		h.Set("WWW-Authenticate", r.challenge)
	}
	switch r.status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet)
		if r == refMethodPost {
			h.Set("Allow", http.MethodPost)
		}
	case http.StatusServiceUnavailable, statusOverload:
		h.Set("Retry-After", retryAfter(err))
	}
	if hasBody(x.R) {
		h.Set("Connection", "close") // what follows on this connection was not asked for
	}
	x.W.WriteHeader(r.status)
	_, _ = x.W.Write(body) // a caller who is gone is no concern of ours
}

// errorBody is a ResponseError (status-apis §1.6), in plain JSON: no error of a GET is signed.
func errorBody(r *queryError, at time.Time) []byte {
	out := []byte(`{"errors":[{"code":`)
	out, _ = jsontext.AppendQuote(out, r.code)
	out, _ = jsontext.AppendQuote(append(out, `,"title":`...), r.title)
	out, _ = jsontext.AppendQuote(append(out, `,"detail":`...), r.detail)
	out = append(out, `}],"meta":{"requestDateTime":"`...)
	return append(append(out, requestTime(at)...), `"}}`...)
}
