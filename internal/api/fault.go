package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
)

// APIError is an error as a caller of the internal API sees it (contract, "Errors of the internal API").
type APIError struct {
	Status     int    // of HTTP
	Code       string // of the contract, such as not_found
	Text       string
	TextPT     string           // Text in Portuguese; "": there is none
	Problems   []notice.Problem // on 400 and 422 alone
	Quarantine notice.ID        // the case a refused change was kept as
	Allow      string           // methods, on 405
	Challenge  string           // on 401 and 403 (RFC 6750 §3)
}

// TextIn is the text for a caller who prefers Portuguese, or for another one.
func (f *APIError) TextIn(portuguese bool) string {
	if portuguese && f.TextPT != "" {
		return f.TextPT
	}
	return f.Text
}

// Error is for the log.
func (f *APIError) Error() string { return f.Code + ": " + f.Text }

var (
	errNoPath = &APIError{Status: http.StatusNotFound, Code: "not_found", Text: "unknown path", TextPT: "caminho desconhecido"}
	// ErrInternal is the answer to an error that is not known. Its cause goes to the log.
	ErrInternal = &APIError{
		Status: http.StatusInternalServerError, Code: "internal",
		Text:   "internal error; the gateway's log has the cause under the id in x-request-id",
		TextPT: "erro interno; o log do gateway tem a causa sob o id em x-request-id",
	}
)

// Prefers tells whether a caller prefers a language, such as pt: the first of Accept-Language counts, weights are not compared.
func Prefers(r *http.Request, language string) bool {
	first, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ",")
	tag, _, _ := strings.Cut(first, ";")
	tag = strings.ToLower(strings.TrimSpace(tag))
	return tag == language || strings.HasPrefix(tag, language+"-")
}

// RetryAfter is what a 503 advises, in seconds.
const RetryAfter = "1"

// Unavailable tells an error that passes by itself: of our database or keys, or of a call that took too long or was given
// up. Both listeners answer it with 503.
func Unavailable(err error) bool {
	return failure.Transient(err) || errors.Is(err, jws.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
