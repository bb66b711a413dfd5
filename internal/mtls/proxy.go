package mtls

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// ProxyOptions name the bank's own proxy that ends the initiators' TLS before us. Authorities, and at least one of
// Fingerprints and Organisation, are required; where both are given, both must hold.
type ProxyOptions struct {
	Authorities  []string // files: who issued the proxy's client certificate, itself
	Fingerprints []string // SHA-256 of its certificate in hexadecimal, with or without colons; several for a rollover
	Organisation string   // the O of its subject, exactly
	Header       string   // in which it hands on the initiator's certificate; "": Client-Cert (RFC 9440)
}

// ClientCertHeader is the header of RFC 9440.
const ClientCertHeader = "Client-Cert"

// Proxy is the one peer that may state another's certificate. It must have verified that the initiator holds the
// key, and must overwrite a header that the initiator sent.
type Proxy struct {
	authorities  *Anchors
	fingerprints []string
	organisation string
	header       string // canonical
}

// LoadProxy reads the authorities and checks the other options; the error names the wrong one.
func LoadProxy(o ProxyOptions) (*Proxy, error) {
	p := &Proxy{organisation: o.Organisation, header: textproto.CanonicalMIMEHeaderKey(o.Header)}
	if o.Header == "" {
		p.header = ClientCertHeader
	}
	if !isID(p.header) || strings.ContainsAny(p.header, ":,;\"()") {
		return nil, fmt.Errorf("%.40q is not a name of a header", o.Header)
	}
	for _, f := range o.Fingerprints {
		plain := strings.ToLower(strings.ReplaceAll(f, ":", ""))
		if len(plain) != 64 || strings.Trim(plain, "0123456789abcdef") != "" {
			return nil, fmt.Errorf("%.80q is no SHA-256 fingerprint: write 64 hexadecimal digits", f)
		}
		p.fingerprints = append(p.fingerprints, plain)
	}
	if len(p.fingerprints) == 0 && p.organisation == "" {
		return nil, errors.New("the proxy's certificate is not identified; give its fingerprint or its organisation")
	}
	var err error
	p.authorities, err = LoadAnchors(o.Authorities...)
	return p, err
}

// Authorities returns the authorities of the proxy's own certificate, which Watch can reload.
func (p *Proxy) Authorities() *Anchors { return p.authorities }

// names says whether this is the certificate that was named.
func (p *Proxy) names(cert *x509.Certificate) bool {
	if len(p.fingerprints) > 0 && !slices.Contains(p.fingerprints, Fingerprint(cert)) {
		return false
	}
	return p.organisation == "" || slices.Equal(cert.Subject.Organization, []string{p.organisation})
}

// maxPresentedText bounds the header: a BRCAC has some 2 KiB, escaped less than three times as much.
const maxPresentedText = 16 << 10

// readPresented reads the one value of the header: a byte sequence of RFC 9440 (base64 between colons), or PEM with
// percent escapes, as nginx writes it. More than one certificate is refused, since nobody could say whose it is.
func readPresented(values []string) (*x509.Certificate, error) {
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return nil, errors.New("the proxy sent no certificate")
	case len(values) > 1:
		return nil, errors.New("there is more than one")
	case len(values[0]) > maxPresentedText:
		return nil, fmt.Errorf("it is longer than %d bytes", maxPresentedText)
	}
	der, err := presentedDER(values[0])
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("the certificate cannot be parsed")
	}
	return cert, nil
}

func presentedDER(text string) ([]byte, error) {
	if inner, ok := strings.CutPrefix(text, ":"); ok {
		inner, ok = strings.CutSuffix(inner, ":")
		der, err := base64.StdEncoding.Strict().DecodeString(inner)
		if !ok || err != nil {
			return nil, errors.New("it is not a byte sequence of RFC 8941: base64 between two colons")
		}
		return der, nil
	}
	plain, err := url.PathUnescape(text) // a plus sign is one, as in base64
	if err != nil {
		return nil, errors.New("its percent escapes are broken")
	}
	block, rest := pem.Decode([]byte(plain))
	if block == nil || !strings.HasPrefix(plain, "-----BEGIN CERTIFICATE-----") || strings.TrimSpace(string(rest)) != "" || len(block.Headers) > 0 {
		return nil, errors.New("it is neither base64 between colons (RFC 9440) nor one PEM certificate with percent escapes")
	}
	return block.Bytes, nil
}
