package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
)

// fault is an error as a caller sees it (contract, "Errors of the internal API").
type fault struct {
	status     int
	code       string
	text       string
	problems   []notice.Problem // on 400 and 422 alone
	quarantine notice.ID        // the case a refused change was kept as
	allow      string           // methods, on 405
	challenge  string           // on 401 and 403 (RFC 6750 §3)
}

// Error is for the log.
func (f *fault) Error() string { return f.code + ": " + f.text }

var (
	errNoPath   = &fault{status: http.StatusNotFound, code: "not_found", text: "unknown path"}
	errNotFound = &fault{status: http.StatusNotFound, code: "not_found", text: "resource not found"}
	errInternal = &fault{
		status: http.StatusInternalServerError, code: "internal",
		text: "internal error; the gateway's log has the cause under the id in x-request-id",
	}
	errUnavailable = &fault{
		status: http.StatusServiceUnavailable, code: "unavailable",
		text: "temporarily unavailable; the outcome is unknown and a retry is safe",
	}
	errBusy = &fault{
		status: http.StatusServiceUnavailable, code: "unavailable", text: "too many changes wait to be stored; retry in a second",
	}
	errDamaged = &fault{
		status: http.StatusInternalServerError, code: "log_damaged",
		text: "a stored entry differs from the sealed log and is not shown; run arauto audit verify",
	}
	errTooLarge = &fault{
		status: http.StatusRequestEntityTooLarge, code: "too_large",
		text: "the body or line is too large; send at most " + strconv.Itoa(intake.MaxLine) + " bytes",
	}
)

// retryAfter is what a 503 advises, in seconds.
const retryAfter = "1"

// invalid is a 400 with what is wrong where.
func invalid(pointer, code, en, pt string) *fault {
	return &fault{
		status: http.StatusBadRequest, code: "invalid_request", text: en,
		problems: []notice.Problem{{Pointer: pointer, Code: code, Detail: en, DetailPT: pt}},
	}
}

func conflict(text string) *fault {
	return &fault{status: http.StatusConflict, code: "conflict", text: text}
}

// faultOf is the one place that maps an error to a status and a code. What it does not know is a 500.
func faultOf(err error) *fault {
	var known *fault
	var line *intake.LineError
	var damage *audit.Fault
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &line):
		if line.TooLarge {
			return errTooLarge
		}
		return invalid(line.Pointer, line.Code, line.Detail, "")
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
		return conflict(text)
	case failure.NotFound(err):
		return errNotFound
	case unavailable(err):
		return errUnavailable
	}
	return errInternal
}

// unavailable tells an error that passes by itself: of our database or keys, or of a call that took too long or was given
// up. Both listeners answer it with 503.
func unavailable(err error) bool {
	return failure.Transient(err) || errors.Is(err, jws.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// refuse answers with an error, in JSON.
func refuse(x *exchange, err error) {
	f := faultOf(err)
	switch f {
	case errInternal, errDamaged:
		x.log.Error("request failed", "route", x.route, "error", err)
	case errUnavailable:
		x.log.Warn("request refused: temporarily unavailable", "route", x.route, "error", err)
	}
	if x.w.status != 0 {
		x.cut()
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	if f.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
	if f.allow != "" {
		h.Set("Allow", f.allow)
	}
	if f.challenge != "" {
		h.Set("WWW-Authenticate", f.challenge)
	}
	x.unread()
	body := appendFault(nil, f, 0, wantsPortuguese(x.r))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(f.status)
	_, _ = x.w.Write(body) // a caller who is gone is no concern of ours
}

// appendFault writes an error as one JSON object; line is the line of a stream it is about, 0 for none.
func appendFault(dst []byte, f *fault, line int, portuguese bool) []byte {
	dst = append(dst, '{')
	if line > 0 {
		dst = appendLine(dst, line, f.status)
		dst = append(dst, ',')
	}
	dst = appendText(append(dst, `"error":`...), f.code)
	dst = appendText(append(dst, `,"error_description":`...), f.text)
	if f.status == http.StatusBadRequest || f.status == http.StatusUnprocessableEntity {
		dst = append(dst, `,"errors":[`...)
		for i, p := range f.problems {
			if i > 0 {
				dst = append(dst, ',')
			}
			detail := p.Detail
			if portuguese && p.DetailPT != "" {
				detail = p.DetailPT
			}
			dst = appendText(append(dst, `{"pointer":`...), p.Pointer)
			dst = appendText(append(dst, `,"code":`...), p.Code)
			dst = appendText(append(dst, `,"detail":`...), detail)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	if !f.quarantine.IsZero() {
		dst = append(append(append(dst, `,"quarantineId":"`...), f.quarantine.String()...), '"')
	}
	return append(dst, '}')
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
func wantsPortuguese(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ",")
	tag, _, _ := strings.Cut(first, ";")
	tag = strings.ToLower(strings.TrimSpace(tag))
	return tag == "pt" || strings.HasPrefix(tag, "pt-")
}
