package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// result begins a Result with everything that is known whatever the outcome.
func (a *attempt) result() notice.Result {
	now := time.Now()
	r := notice.Result{URL: a.url, Elapsed: now.Sub(a.start), EndedAt: now}
	x := a.exchange
	if x == nil {
		return r
	}
	c := x.conn
	r.Shown = c.shown
	r.TLS, r.Reused, r.LocalAddr, r.RemoteAddr = &c.facts, x.reused, c.local, c.remote
	if !x.reused && !c.began.Before(a.start) {
		r.Dialled, r.Handshaken = c.dialled.Sub(a.start), c.handshaken.Sub(a.start)
	}
	r.FirstByteOut, r.Answered = x.firstOut, x.firstIn
	return r
}

// withReplaced adds to the detail that a dead connection was replaced before anything was written to it.
func (a *attempt) withReplaced(detail string) string {
	const replaced = "the receiver had ended a kept connection; another took its place before anything was sent"
	switch {
	case !a.replaced:
		return detail
	case detail == "":
		return replaced
	}
	return escape(detail + "; " + replaced)
}

// broke tells that an attempt failed because of its connection, after something was sent.
func (x *exchange) broke(outcome notice.Outcome) bool {
	return x.firstOut != 0 && (outcome == notice.OutcomeConnect || outcome == notice.OutcomeTimeout || outcome == notice.OutcomeTLS)
}

// answered is the result when final headers came.
func (a *attempt) answered() notice.Result {
	r, answer := a.result(), &a.exchange.answer
	r.HTTPStatus, r.Echo = answer.status, answer.echo
	if r.Echo == notice.NoEcho {
		r.Echo = notice.EchoMissing
	}
	r.Outcome, r.Detail = judgeStatus(&answer.headers, r.Echo)
	if answer.status == 400 && wantsCertificate(answer.start) {
		r.Detail = "400: the receiver says that it got no client certificate it accepts; " +
			"it finished the handshake all the same (as nginx does)"
	}
	if (answer.status == 401 || answer.status == 403) && a.exchange.conn.facts.OwnSerial == "" {
		r.Detail = escape(r.Detail + "; the receiver did not ask for our certificate: " + inTheHandshake)
	}
	r.Detail = a.withReplaced(r.Detail)
	return r
}

// judgeStatus is the table of webhook §3 with D-1: 202 is success; another 2xx, or an answer without our id, ends the
// chain too but is noted; a redirection is an error and never followed.
func judgeStatus(h *headers, echo notice.Echo) (notice.Outcome, string) {
	switch {
	case h.status == 202 && echo == notice.EchoMatch:
		return notice.OutcomeDelivered, ""
	case h.status == 202:
		return notice.OutcomeNonconformant, "202, interaction id " + string(echo)
	case h.status < 300:
		return notice.OutcomeNonconformant, escape(fmt.Sprintf("%s instead of 202", h.reason))
	case h.status < 400:
		return notice.OutcomeRedirected, escape(fmt.Sprintf("%s, to %s", h.reason, h.location))
	default:
		return notice.OutcomeRefused, escape(h.reason)
	}
}

// wantsCertificate recognises what nginx answers when a client certificate is missing or not accepted and the check
// was made optional in the handshake.
func wantsCertificate(body []byte) bool {
	return bytes.Contains(body, []byte("No required SSL certificate was sent")) ||
		bytes.Contains(body, []byte("The SSL certificate error"))
}

// failed turns an error of the round trip into a result, or into an error when no attempt was made: the lease was over, our
// own certificate had expired, or the caller gave up before anything was sent.
func (a *attempt) failed(ctx context.Context, err error) (notice.Result, error) {
	r := a.result()
	if errors.Is(err, mtls.ErrOwnExpired) || errors.Is(err, ErrLease) {
		return notice.Result{}, fmt.Errorf("send for %s: %w", a.notice.Notification, err)
	}
	wrong, isFault := errors.AsType[fault](err)
	switch {
	case isFault:
		r.Outcome, r.Detail = notice.OutcomeProtocol, escape(wrong.Error())
	case gaveUp(ctx) && !a.sent():
		return notice.Result{}, fmt.Errorf("send for %s: %w", a.notice.Notification, context.Cause(ctx))
	case gaveUp(ctx):
		r.Outcome, r.Detail = notice.OutcomeUnknown, "stopped while waiting for the answer"
	case errors.Is(err, context.DeadlineExceeded) || !r.EndedAt.Before(a.deadline):
		r.Outcome = notice.OutcomeTimeout
		r.Detail = fmt.Sprintf("no final headers within %s; stage: %s", a.deadline.Sub(a.start).Round(10*time.Millisecond), a.reached())
	case a.exchange == nil:
		r.Outcome, r.Detail = classifyDial(err)
		if dial, ok := errors.AsType[*dialError](err); ok && dial.shown != nil {
			shown := *dial.shown
			shown.Wrong, r.Shown = r.Detail, &shown
		}
	default:
		r.Outcome, r.Detail = classifyExchange(a.exchange, err)
	}
	r.Detail = a.withReplaced(r.Detail)
	return r, nil
}

// gaveUp tells that the caller cancelled. A deadline of the caller's that passes first is a timeout like our own.
func gaveUp(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// classifyDial names the outcome of an attempt that got no connection.
func classifyDial(err error) (notice.Outcome, string) {
	if refusal, ok := errors.AsType[*AddressRefusal](err); ok {
		return notice.OutcomeBlocked, escape(refusal.reason.en)
	}
	dial, ok := errors.AsType[*dialError](err)
	if !ok {
		return notice.OutcomeConnect, escape(err.Error())
	}
	if dial.at == stageTLS {
		return notice.OutcomeTLS, escape("tls: " + handshakeFailure(dial.err))
	}
	return notice.OutcomeConnect, escape(dial.Error())
}

// classifyExchange names the outcome of an attempt that had a connection and got no answer.
func classifyExchange(x *exchange, err error) (notice.Outcome, string) {
	broken := x.conn.broken
	switch {
	case askedTooLate(broken):
		return notice.OutcomeTLS, "tls: the receiver asked for our certificate only after the request, which no client may allow (renegotiation): " + inTheHandshake
	case broken != nil && peerAlert(broken):
		return notice.OutcomeTLS, escape("tls: after the handshake, " + handshakeFailure(broken))
	case x.firstIn == 0 || broken != nil:
		return notice.OutcomeConnect, escape(describeBreak(x, broken, err))
	default:
		return notice.OutcomeProtocol, escape(err.Error())
	}
}

// describeBreak says how a connection ended before the answer was complete.
func describeBreak(x *exchange, broken, err error) string {
	if broken == nil {
		broken = err
	}
	how := broken.Error()
	switch {
	case errors.Is(broken, io.EOF), errors.Is(broken, io.ErrUnexpectedEOF), errors.Is(broken, net.ErrClosed):
		how = "the receiver closed the connection"
	case errors.Is(broken, syscall.ECONNRESET), errors.Is(broken, syscall.EPIPE):
		how = "the receiver reset the connection"
	}
	switch {
	case x.firstIn != 0:
		return how + " in the middle of the headers"
	case x.conn.facts.OwnSerial != "" && !x.reused && x.conn.facts.Version == tls.VersionName(tls.VersionTLS13):
		return how + " before it answered; it may not have accepted our certificate"
	}
	return how + " before it answered"
}
