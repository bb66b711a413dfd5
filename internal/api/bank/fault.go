package bank

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
)

var (
	errNotFound    = &api.APIError{Status: http.StatusNotFound, Code: "not_found", Text: "resource not found", TextPT: "recurso não encontrado"}
	errUnknownKind = &api.APIError{
		Status: http.StatusNotFound, Code: "not_found",
		Text: "no kind has this name; the kinds are " + kindsEN, TextPT: "nenhum tipo tem este nome; os tipos são " + kindsPT,
	}
	errUnavailable = &api.APIError{
		Status: http.StatusServiceUnavailable, Code: "unavailable",
		Text:   "temporarily unavailable; the outcome is unknown and a retry is safe",
		TextPT: "indisponível por ora; o resultado não é conhecido, e repetir é seguro",
	}
	errBusy = &api.APIError{
		Status: http.StatusServiceUnavailable, Code: "unavailable", Text: "too many changes wait to be stored; retry in a second",
		TextPT: "mudanças demais esperam para ser gravadas; repita em um segundo",
	}
	errDamaged = &api.APIError{
		Status: http.StatusInternalServerError, Code: "log_damaged",
		Text:   "a stored entry differs from the sealed log and is not shown; run arauto audit verify",
		TextPT: "um registro gravado difere do histórico selado e não é mostrado; rode arauto audit verify",
	}
	errTooLarge = &api.APIError{
		Status: http.StatusRequestEntityTooLarge, Code: "too_large",
		Text:   "the body or line is too large; send at most " + strconv.Itoa(intake.MaxLine) + " bytes",
		TextPT: "o corpo ou a linha é grande demais; envie no máximo " + strconv.Itoa(intake.MaxLine) + " bytes",
	}
)

// The kinds of resources, as a caller names them.
const (
	kindsEN = "payment-consent, pix-payment, recurring-consent, recurring-payment or enrollment"
	kindsPT = "payment-consent, pix-payment, recurring-consent, recurring-payment ou enrollment"
)

// invalid is a 400 with what is wrong where.
func invalid(pointer, code, en, pt string) *api.APIError {
	return &api.APIError{
		Status: http.StatusBadRequest, Code: "invalid_request", Text: en, TextPT: pt,
		Problems: []notice.Problem{{Pointer: pointer, Code: code, Detail: en, DetailPT: pt}},
	}
}

func conflict(en, pt string) *api.APIError {
	return &api.APIError{Status: http.StatusConflict, Code: "conflict", Text: en, TextPT: pt}
}

// faultOf is the one place that maps an error to a status and a code. What it does not know is a 500.
func faultOf(err error) *api.APIError {
	var known *api.APIError
	var line *intake.LineError
	var damage *audit.Fault
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &line):
		if line.Code == intake.TooLarge {
			return errTooLarge
		}
		return invalid(line.Pointer, line.Code, line.Detail, line.DetailPT)
	case errors.As(err, &damage):
		return errDamaged
	case errors.Is(err, intake.ErrBusy):
		return errBusy
	case errors.Is(err, intake.ErrUnavailable), errors.Is(err, jws.ErrUnavailable), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled):
		return errUnavailable
	}
	// Other packages' errors are known by what they say of themselves, so that this one need not know the packages.
	text, contradicts := failure.Conflict(err)
	switch {
	case failure.Damaged(err):
		return errDamaged
	case contradicts:
		return conflict(text, failure.Portuguese(err))
	case failure.NotFound(err):
		return errNotFound
	case api.Unavailable(err):
		return errUnavailable
	}
	return api.ErrInternal
}

// refuse answers with an error, in JSON.
func refuse(x *api.Exchange, err error) {
	f := faultOf(err)
	switch f {
	case api.ErrInternal, errDamaged:
		x.Log.Error("request failed", "route", x.Route, "error", err)
	case errUnavailable:
		x.Log.Warn("request refused: temporarily unavailable", "route", x.Route, "error", err)
	}
	if x.W.Status != 0 {
		x.Cut()
		return
	}
	h := x.W.Header()
	h.Set("Content-Type", "application/json")
	if f.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", api.RetryAfter)
	}
	if f.Allow != "" {
		h.Set("Allow", f.Allow)
	}
	if f.Challenge != "" {
		h.Set("WWW-Authenticate", f.Challenge)
	}
	x.Unread()
	body := appendFault(nil, f, 0, wantsPortuguese(x.R))
	if isCarriedOut(x.R.Context()) && f.TextPT != "" {
		body = append(appendText(append(body[:len(body)-1], `,"error_description_pt":`...), f.TextPT), '}')
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.W.WriteHeader(f.Status)
	_, _ = x.W.Write(body) // a caller who is gone is no concern of ours
}

// appendFault writes an error as one JSON object; line is the line of a stream it is about, 0 for none.
func appendFault(dst []byte, f *api.APIError, line int, portuguese bool) []byte {
	dst = append(dst, '{')
	if line > 0 {
		dst = appendLine(dst, line, f.Status)
		dst = append(dst, ',')
	}
	dst = appendText(append(dst, `"error":`...), f.Code)
	dst = appendText(append(dst, `,"error_description":`...), f.TextIn(portuguese))
	if f.Status == http.StatusBadRequest || f.Status == http.StatusUnprocessableEntity {
		dst = appendProblems(append(dst, `,"errors":`...), f.Problems, portuguese)
	}
	if !f.Quarantine.IsZero() {
		dst = append(append(append(dst, `,"quarantineId":"`...), f.Quarantine.String()...), '"')
	}
	return append(dst, '}')
}

func appendProblems(dst []byte, problems []notice.Problem, portuguese bool) []byte {
	dst = append(dst, '[')
	for i, p := range problemsOf(problems, portuguese) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"pointer":`...), p.Pointer)
		dst = appendText(append(dst, `,"code":`...), p.Code)
		dst = appendText(append(dst, `,"detail":`...), p.Detail)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendLine(dst []byte, line, status int) []byte {
	dst = strconv.AppendInt(append(dst, `"line":`...), int64(line), 10)
	return strconv.AppendInt(append(dst, `,"status":`...), int64(status), 10)
}

// appendText writes a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendText(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // its error says that something was replaced, which is what we want
	return dst
}

// wantsPortuguese tells whether the caller prefers Portuguese: its first language counts, weights are not compared.
func wantsPortuguese(r *http.Request) bool { return api.Prefers(r, "pt") }

// wantsEnglish tells whether the caller prefers English, in the same way. Documents for people are Portuguese otherwise.
func wantsEnglish(r *http.Request) bool { return api.Prefers(r, "en") }
