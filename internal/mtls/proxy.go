package mtls

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// ProxyOptions name the bank's own proxy that ends the initiators' TLS before us. Authorities, and at least one of
// Fingerprints and Organisation, are required; where both are given, both must hold.
type ProxyOptions struct {
	Authorities  []string // files: who issued the proxy's client certificate, itself
	Fingerprints []string // SHA-256 of its certificate in hexadecimal, with or without colons; several for a rollover
	Organisation string   // the O of its subject, exactly
	Preset       string   // one of ProxyPresets: which header and form it uses; "": Client-Cert, as RFC 9440 or PEM with percent escapes
	Header       string   // another header than the preset's
}

// Proxy is the one peer that may state another's certificate. It must have verified that the initiator holds the
// key, and must overwrite a header that the initiator sent.
type Proxy struct {
	authorities  *Anchors
	fingerprints []string
	organisation string
	preset       preset
	header       string // canonical
}

// LoadProxy reads the authorities and checks the other options; the error names the wrong one.
func LoadProxy(o ProxyOptions) (*Proxy, error) {
	known, err := presetOf(o.Preset)
	if err != nil {
		return nil, err
	}
	p := &Proxy{organisation: o.Organisation, preset: known, header: textproto.CanonicalMIMEHeaderKey(cmp.Or(o.Header, known.header))}
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
