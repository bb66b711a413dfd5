package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/mtls"
)

// handshakeFailure says in one line why a handshake failed.
func handshakeFailure(err error) string {
	var record tls.RecordHeaderError
	var op *net.OpError
	text := strings.TrimPrefix(err.Error(), "tls: ")
	unverified, certificates := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.As(err, &record):
		return fmt.Sprintf("the receiver does not speak TLS (%s)", text)
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Sprintf("the receiver ended the handshake: %s", strings.TrimPrefix(op.Err.Error(), "tls: "))
	case errors.Is(err, io.EOF):
		return "the receiver closed the connection during the handshake"
	case certificates && isUnknownAuthority(unverified):
		return strings.TrimPrefix(unknownAuthority(unverified.UnverifiedCertificates).Error(), notAccepted)
	}
	return text
}

func isUnknownAuthority(e *tls.CertificateVerificationError) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](e.Err)
	return unknown && len(e.UnverifiedCertificates) > 0 && !strings.Contains(e.Err.Error(), "insecure algorithm") // which says it all
}

// unknownAuthority tells apart why certificates lead to none of our authorities: the receiver's own is self-signed, it came without the
// certificate of its issuer, the chain has a gap, or it ends at an authority that is not ours.
func unknownAuthority(shown []*x509.Certificate) *stepTrouble {
	leaf, others := shown[0], shown[1:]
	top := leaf
	for range others {
		at := slices.IndexFunc(others, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, top.RawIssuer) })
		if at < 0 || selfIssued(top) {
			break
		}
		top = others[at]
	}
	switch {
	case selfIssued(leaf):
		return troubleSelfSigned.of()
	case selfIssued(top):
		return troubleForeignRoot.of(mtls.Subject(top))
	case len(others) == 0:
		return troubleAlone.of(mtls.Issuer(leaf))
	case top == leaf:
		return troubleOtherIssuers.of(mtls.Issuer(leaf))
	}
	return troubleGap.of(mtls.Issuer(top))
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// askedTooLate tells the end of a connection on which the receiver asked for our certificate only after it had read the request. Apache
// does so where client certificates are demanded for a location only.
func askedTooLate(broken error) bool {
	return broken != nil && strings.Contains(broken.Error(), "no renegotiation")
}

// inTheHandshake is what a receiver must change that does not ask for our certificate in the handshake.
const inTheHandshake = "it must demand our certificate in the handshake (Apache: SSLVerifyClient for the whole virtual host, not for a location)"

// offered compares the authorities of client certificates that a receiver named in the handshake with the issuers of ours, and returns
// what could be seen. The error means that ours was issued by none of them, so that the receiver will hardly accept it.
func offered(authorities [][]byte, ours []*x509.Certificate) (seen sentence, err error) {
	if len(authorities) == 0 {
		return seenNoAuthorities, nil
	}
	for _, c := range ours {
		if slices.ContainsFunc(authorities, func(name []byte) bool { return bytes.Equal(name, c.RawIssuer) }) {
			return seenAmong.with(mtls.Issuer(c), len(authorities)), nil
		}
	}
	return seenOthers, troubleNotAmong.of(len(authorities), escape(nameOf(authorities[0])), mtls.Issuer(ours[0]))
}

// nameOf prints a distinguished name.
func nameOf(raw []byte) string {
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &sequence); err != nil || len(rest) > 0 {
		return "no name that can be read"
	}
	return sequence.String()
}
