package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/arauto/arauto/internal/mtls"
)

// Public is what the owner of the endpoint may see of a step: what was seen, and the problem in words of ours, "" where the step holds. It
// names no address outside of the public internet, none of ours, and no server of the bank's.
func (s *ProbeStep) Public() (detail, problem string) {
	detail = s.Detail
	switch s.Name {
	case StepResolution:
		detail = publicOnly(s.addrs)
	case StepConnection:
		if len(s.addrs) > 0 && publicOnly(s.addrs) == "" {
			detail = "connected"
		}
	}
	if s.Err == nil {
		return detail, ""
	}
	switch s.Name {
	case StepResolution:
		return detail, publicResolution(s.Err)
	case StepConnection:
		return detail, publicConnection(s.Err)
	case StepCertificate:
		return detail, publicHandshake(s.Err)
	case StepOurs:
		if ofSocket(s.Err) {
			return detail, "the connection broke after the handshake"
		}
	}
	return detail, s.Err.Error() // a text of ours
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

func publicResolution(err error) string {
	dns, known := errors.AsType[*net.DNSError](err)
	switch {
	case known && dns.IsNotFound:
		return "the name has no address"
	case late(err):
		return "the name did not resolve in time"
	}
	return "the name does not resolve; its name servers answer with an error, or not at all"
}

func publicConnection(err error) string {
	refusal, refused := errors.AsType[*AddressRefusal](err)
	switch {
	case refused && refusal.Code == "port":
		return refusal.Reason
	case refused:
		return "the name leads to no address of the public internet"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the address refuses connections at this port"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the address cannot be reached"
	case late(err):
		return "no connection in time; a firewall may drop what comes from us"
	}
	return "the connection was not made"
}

func publicHandshake(err error) string {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, mtls.ErrOwnExpired):
		return "the holder's own certificate cannot be used now"
	case late(err):
		return "the handshake did not end in time"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the receiver reset the connection during the handshake"
	case errors.Is(err, io.EOF):
		return "the receiver closed the connection during the handshake"
	case record:
		return "the receiver does not speak TLS"
	case ofSocket(err):
		return "the connection broke during the handshake"
	}
	if certificate, wrong := errors.AsType[*tls.CertificateVerificationError](err); wrong {
		return "the certificate is not accepted: " + handshakeFailure(certificate)
	}
	if errors.Is(err, mtls.ErrPeer) {
		return "the certificate does not pass the checks of profile and revocation"
	}
	if alert, sent := errors.AsType[*net.OpError](err); sent {
		return fmt.Sprintf("the receiver ended the handshake: %s", strings.TrimPrefix(alert.Err.Error(), "tls: "))
	}
	return "the handshake failed; version, cipher suite or key of the endpoint do not fit"
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
