package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// StepWords is what people are told of a step, in one language and in words of ours.
type StepWords struct {
	Title   string // of the step
	Seen    string // what was seen
	Problem string // why it does not hold; "" where it does
	Advice  string // what would be right; "" where it holds
}

// Words is what the bank is told of a step. It may name addresses of the bank's own network.
func (s *ProbeStep) Words(portuguese bool) StepWords {
	w := StepWords{Title: stepTitles[s.Name].in(portuguese), Seen: s.Detail}
	if portuguese && s.seen.pt != "" {
		w.Seen = s.seen.pt
	}
	if t := s.trouble(); t != nil {
		w.Problem, w.Advice = t.what.in(portuguese), t.advice.in(portuguese)
	}
	return w
}

// Public is what the owner of the endpoint may see of a step. It names no address outside of the public internet, none of ours, and no
// server of the bank's.
func (s *ProbeStep) Public(portuguese bool) StepWords {
	w := s.Words(portuguese)
	switch s.Name {
	case StepResolution:
		w.Seen = publicOnly(s.addrs)
	case StepConnection:
		if len(s.addrs) > 0 && publicOnly(s.addrs) == "" {
			w.Seen = seenConnected.in(portuguese)
		}
	}
	return w
}

// Verdict is what the steps of a probe say as a whole, in one language.
func Verdict(steps []ProbeStep, portuguese bool) string {
	verdict := verdictReady
	for i := range steps {
		switch s := &steps[i]; {
		case s.Err != nil:
			return verdictNotReady.with(stepTitles[s.Name]).in(portuguese)
		case s.Reached > notice.FirstWithin:
			verdict = verdictSlow.with(s.Reached)
		case s.Untested && verdict == verdictReady:
			verdict = verdictUntested
		}
	}
	return verdict.in(portuguese)
}

// trouble is why a step does not hold, in words of ours; nil where it does.
func (s *ProbeStep) trouble() *stepTrouble {
	if s.Err == nil {
		return nil
	}
	if told, is := errors.AsType[*stepTrouble](s.Err); is {
		return told
	}
	switch s.Name {
	case StepResolution:
		return resolutionTrouble(s.Err)
	case StepConnection:
		return connectionTrouble(s.Err)
	case StepCertificate:
		return handshakeTrouble(s.Err)
	case StepOurs:
		return troubleBrokeAfter.of()
	}
	refusal, refused := errors.AsType[*AddressRefusal](s.Err)
	switch {
	case refused && refusal.closed:
		return troublePort.of(refusal.reason)
	case refused:
		return troubleAddress.of(refusal.reason)
	}
	return troubleBrand.of()
}

// publicOnly lists the addresses of the public internet.
func publicOnly(addrs []netip.Addr) string {
	public := NewGuard(nil, nil)
	var out []string
	for _, a := range addrs {
		if a = a.Unmap(); public.Check(netip.AddrPortFrom(a, DefaultPort)) == nil {
			out = append(out, a.String())
		}
	}
	return strings.Join(out, ", ")
}

func resolutionTrouble(err error) *stepTrouble {
	dns, known := errors.AsType[*net.DNSError](err)
	switch {
	case known && dns.IsNotFound:
		return troubleNoName.of()
	case late(err):
		return troubleLateName.of()
	}
	return troubleNameserver.of()
}

func connectionTrouble(err error) *stepTrouble {
	refusal, refused := errors.AsType[*AddressRefusal](err)
	switch {
	case refused && refusal.closed:
		return troublePort.of(refusal.reason)
	case refused:
		return troubleNotPublic.of()
	case errors.Is(err, syscall.ECONNREFUSED):
		return troubleRefused.of()
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return troubleUnreachable.of()
	case late(err):
		return troubleLate.of()
	}
	return troubleConnection.of()
}

func handshakeTrouble(err error) *stepTrouble {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, mtls.ErrOwnExpired):
		return troubleOwnExpired.of()
	case late(err):
		return troubleLateHandshake.of()
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return troubleReset.of()
	case errors.Is(err, io.EOF):
		return troubleClosed.of()
	case record:
		return troubleNoTLS.of()
	case ofSocket(err):
		return troubleBroke.of()
	}
	if unverified, wrong := errors.AsType[*tls.CertificateVerificationError](err); wrong {
		return verificationTrouble(unverified)
	}
	if kind, name, sent := alertOf(err); sent {
		return kind.of(name)
	}
	switch {
	case errors.Is(err, mtls.ErrPurpose):
		return troublePurpose.of()
	case errors.Is(err, mtls.ErrKey):
		return troubleKey.of()
	case errors.Is(err, mtls.ErrAuthority):
		return troubleAuthority.of()
	case errors.Is(err, mtls.ErrRevoked):
		return troubleRevoked.of()
	case errors.Is(err, mtls.ErrNoEvidence):
		return troubleNoEvidence.of()
	case errors.Is(err, mtls.ErrPeer):
		return troubleProfile.of()
	}
	return troubleFit.of()
}

// verificationTrouble tells why the certificates of a receiver do not verify.
func verificationTrouble(unverified *tls.CertificateVerificationError) *stepTrouble {
	if isUnknownAuthority(unverified) {
		return unknownAuthority(unverified.UnverifiedCertificates)
	}
	if name, wrong := errors.AsType[x509.HostnameError](unverified.Err); wrong && name.Certificate != nil {
		return troubleWrongName.of(escape(name.Host), escape(strings.Join(name.Certificate.DNSNames, ", ")))
	}
	invalid, is := errors.AsType[x509.CertificateInvalidError](unverified.Err)
	switch {
	case is && invalid.Reason == x509.Expired && invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore):
		return troubleNotYet.of(escape(mtls.Subject(invalid.Cert)), instantUTC(invalid.Cert.NotBefore))
	case is && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return troubleExpired.of(escape(mtls.Subject(invalid.Cert)), instantUTC(invalid.Cert.NotAfter))
	case is && invalid.Reason == x509.IncompatibleUsage:
		return troublePurpose.of()
	}
	return troubleVerification.of(escape(handshakeFailure(unverified)))
}

func instantUTC(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// alerts are what a receiver may say when it ends a handshake, by code (RFC 8446 §6).
var alerts = map[tls.AlertError]struct {
	kind troubleKind
	pt   string
}{
	40:  {troubleAlertVersion, "falha no handshake"},
	42:  {troubleAlertOurs, "certificado ruim"},
	43:  {troubleAlertOurs, "tipo de certificado não suportado"},
	44:  {troubleAlertOurs, "certificado revogado"},
	45:  {troubleAlertOurs, "certificado vencido"},
	46:  {troubleAlertOurs, "certificado não aceito"},
	48:  {troubleAlertOurs, "autoridade certificadora desconhecida"},
	49:  {troubleAlertOurs, "acesso negado"},
	70:  {troubleAlertVersion, "versão do TLS não suportada"},
	71:  {troubleAlertVersion, "segurança insuficiente"},
	80:  {troubleAlert, "erro interno do receptor"},
	90:  {troubleAlert, "cancelado pelo receptor"},
	112: {troubleAlertName, "nome de host não reconhecido"},
	116: {troubleAlertOurs, "certificado de cliente exigido"},
}

// alertOf tells an alert of the receiver's: its kind and its name. In Portuguese the name in English stays beside it, as logs have it.
func alertOf(err error) (kind troubleKind, name sentence, sent bool) {
	op, is := errors.AsType[*net.OpError](err)
	if !is || op.Op != "remote error" {
		return "", sentence{}, false
	}
	text := strings.TrimPrefix(op.Err.Error(), "tls: ")
	for code, alert := range alerts { // the type of an alert is not exported, its text is
		if op.Err.Error() == code.Error() {
			return alert.kind, sentence{text, alert.pt + " (" + text + ")"}, true
		}
	}
	return troubleAlert, sentence{text, text}, true
}

// late tells that a time was over.
func late(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// ofSocket tells an error that names both ends of the connection; an alert of the receiver's does not.
func ofSocket(err error) bool {
	op, is := errors.AsType[*net.OpError](err)
	return is && op.Op != "remote error"
}
