package certs

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

func revocationKey(cert *x509.Certificate) string {
	return string(cert.RawIssuer) + cert.SerialNumber.String()
}

func (p *PKI) remember(cert *x509.Certificate, revoked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[revocationKey(cert)] = true
	if revoked {
		p.revoked[revocationKey(cert)] = p.now.Add(-time.Minute)
	}
}

// Revoke puts a certificate into every list made from now on; Status tells of it at once.
func (p *PKI) Revoke(cert *x509.Certificate) { p.remember(cert, true) }

// CRL is the authority's list in DER, good from thisUpdate until nextUpdate; a list in the past is a stale one.
func (p *PKI) CRL(ca *CA, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	var entries []x509.RevocationListEntry
	p.mu.Lock()
	for key, at := range p.revoked {
		serial, ok := strings.CutPrefix(key, string(ca.Certificate.RawSubject))
		if !ok {
			continue
		}
		n, _ := new(big.Int).SetString(serial, 10)
		entries = append(entries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: at, ReasonCode: ocsp.KeyCompromise})
	}
	p.mu.Unlock()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:                    big.NewInt(thisUpdate.UnixNano()), // grows with time
		ThisUpdate:                thisUpdate,
		NextUpdate:                nextUpdate,
		RevokedCertificateEntries: entries,
		SignatureAlgorithm:        x509.SHA256WithRSA,
	}, ca.Certificate, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("make a revocation list: %w", err)
	}
	return der, nil
}

// FreshCRL is the authority's list, good from a minute before the PKI's instant for a day.
func (p *PKI) FreshCRL(ca *CA) ([]byte, error) {
	return p.CRL(ca, p.now.Add(-time.Minute), p.now.AddDate(0, 0, 1))
}

// OCSPSigner is the profile of a responder to which the authority delegated.
func (p *PKI) OCSPSigner(ca *CA) Profile {
	s := p.profile(WebSSL, p.opts.Holder, "ocsp.example.com", ca)
	s.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	return s
}

// Status tells what the PKI knows of a certificate of an authority: whether it issued it, and when it was revoked; zero: it
// was not.
func (p *PKI) Status(ca *CA, serial *big.Int) (issued bool, revoked time.Time) {
	key := string(ca.Certificate.RawSubject) + serial.String()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[key], p.revoked[key]
}
