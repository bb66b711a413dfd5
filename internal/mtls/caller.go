package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Object identifiers by which a certificate says whose it is (security §4.2). Names are compared by them, never by
// their text: a renewed certificate may print otherwise.
var (
	oidOrganisationID     = asn1.ObjectIdentifier{2, 5, 4, 97}
	oidOrganisationalUnit = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidUserID             = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
)

// Caller is the identity in a client certificate. Organisation and software come from the certificate alone;
// whether they are registered, and whether the token is bound to this certificate, is judged by package api
// (security §4.6).
type Caller struct {
	OrganisationID string // of the Directory, without the prefix OFBBR-
	SoftwareID     string // software statement id
	Serial         string // hexadecimal
	Issuer         string // see Subject, of the issuer
	Fingerprint    string // SHA-256 of the certificate in hexadecimal
	Thumbprint     string // the same in base64url: cnf.x5t#S256 of a bound token
	NotAfter       time.Time
}

// ErrNotBRCAC means that a certificate carries no identity of the ecosystem; it is wrapped with the attribute at fault.
var ErrNotBRCAC = errors.New("not a transport certificate of Open Finance Brasil")

// CallerOf reads the identity of a BRCAC by OID, in any order of its attributes. The organisation is in
// 2.5.4.97 as OFBBR-<id>; only a certificate without that attribute, as issued until 2022-08-31, may carry it in OU
// (2.5.4.11). An attribute that occurs twice is refused, because it is ambiguous.
func CallerOf(cert *x509.Certificate) (Caller, error) {
	organisation, err := organisationOf(cert)
	if err != nil {
		return Caller{}, err
	}
	software, err := single(cert, oidUserID, "UID")
	if err != nil {
		return Caller{}, err
	}
	if software == "" {
		return Caller{}, fmt.Errorf("no UID with the software statement id: %w", ErrNotBRCAC)
	}
	return Caller{
		OrganisationID: organisation,
		SoftwareID:     software,
		Serial:         serialText(cert),
		Issuer:         nameText(cert.Issuer.Names),
		Fingerprint:    Fingerprint(cert),
		Thumbprint:     Thumbprint(cert),
		NotAfter:       cert.NotAfter,
	}, nil
}

// Is reports whether the caller is this software of this organisation. Both are compared without regard to case, as
// the standard's name matching does (RFC 4517, caseIgnoreMatch); both are ASCII.
func (c Caller) Is(organisationID, softwareID string) bool {
	return strings.EqualFold(c.OrganisationID, organisationID) && strings.EqualFold(c.SoftwareID, softwareID)
}

func organisationOf(cert *x509.Certificate) (string, error) {
	text, err := single(cert, oidOrganisationID, "organizationIdentifier")
	if err != nil {
		return "", err
	}
	if text == "" {
		return organisationOfOldStyle(cert)
	}
	id, ok := strings.CutPrefix(text, "OFBBR-")
	if !ok || id == "" {
		return "", fmt.Errorf("organizationIdentifier is not OFBBR-<organisation id>: %w", ErrNotBRCAC)
	}
	return id, nil
}

// organisationOfOldStyle takes the only OU there is, or among several the only one that is a UUID, as organisation
// ids are: authorities add units of their own.
func organisationOfOldStyle(cert *x509.Certificate) (string, error) {
	units := attributes(cert, oidOrganisationalUnit)
	var candidates []string
	for _, u := range units {
		if text, ok := u.(string); ok && (uuid.MatchString(text) || len(units) == 1 && isID(text)) {
			candidates = append(candidates, text)
		}
	}
	switch len(candidates) {
	case 0:
		return "", fmt.Errorf("neither organizationIdentifier nor an OU with the organisation id: %w", ErrNotBRCAC)
	case 1:
		return candidates[0], nil
	default:
		return "", fmt.Errorf("several OUs could be the organisation id: %w", ErrNotBRCAC)
	}
}

// single is the value of an attribute that may occur at most once; "" when it is not there. Ids are visible ASCII of
// bounded length, so that they can be logged and compared; a value that is not is refused without being repeated.
func single(cert *x509.Certificate, oid asn1.ObjectIdentifier, name string) (string, error) {
	found := attributes(cert, oid)
	if len(found) == 0 {
		return "", nil
	}
	if len(found) > 1 {
		return "", fmt.Errorf("%s occurs %d times: %w", name, len(found), ErrNotBRCAC)
	}
	text, ok := found[0].(string)
	if !ok || !isID(text) {
		return "", fmt.Errorf("%s is not an identifier: %w", name, ErrNotBRCAC)
	}
	return text, nil
}

// attributes are all values of an attribute of the subject, in order.
func attributes(cert *x509.Certificate, oid asn1.ObjectIdentifier) []any {
	var out []any
	for _, a := range cert.Subject.Names {
		if a.Type.Equal(oid) {
			out = append(out, a.Value)
		}
	}
	return out
}

// maxID bounds an identifier; those of the Directory have 36 characters.
const maxID = 128

func isID(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

var uuid = regexp.MustCompile(`^[[:xdigit:]]{8}(-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12}$`)

// Thumbprint is x5t#S256 of RFC 8705 §3.1: base64url without padding of SHA-256 over the DER certificate.
func Thumbprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Fingerprint is the same hash in lower-case hexadecimal, as operators compare it.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

func serialText(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }
