package certs

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
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

// Revoke puts a certificate into every list and OCSP answer made from now on.
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

// OCSPResponse is the authority's signed answer about a certificate it issued, for a responder or for stapling.
func (p *PKI) OCSPResponse(ca *CA, cert *x509.Certificate, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	return p.ocspResponse(ca, cert.SerialNumber, crypto.SHA1, thisUpdate, nextUpdate)
}

// OCSPResponseBy is the answer "good" signed by another certificate that is embedded in it. Only one that carries
// the usage OCSPSigning may be believed.
func (p *PKI) OCSPResponseBy(signer Leaf, cert *x509.Certificate, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	der, err := ocsp.CreateResponse(signer.Issuer.Certificate, signer.Certificate, ocsp.Response{
		Status: ocsp.Good, SerialNumber: cert.SerialNumber, Certificate: signer.Certificate,
		ThisUpdate: thisUpdate, NextUpdate: nextUpdate,
	}, signer.Key)
	if err != nil {
		return nil, fmt.Errorf("make a delegated OCSP response: %w", err)
	}
	return der, nil
}

// OCSPSigner is the profile of a responder to which the authority delegated.
func (p *PKI) OCSPSigner(ca *CA) Profile {
	s := p.profile(WebSSL, p.opts.Holder, "ocsp.example.com", ca)
	s.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	return s
}

func (p *PKI) ocspResponse(ca *CA, serial *big.Int, hash crypto.Hash, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	answer := ocsp.Response{
		Status: ocsp.Unknown, SerialNumber: serial, IssuerHash: hash, ThisUpdate: thisUpdate, NextUpdate: nextUpdate,
	}
	key := string(ca.Certificate.RawSubject) + serial.String()
	p.mu.Lock()
	if p.known[key] {
		answer.Status = ocsp.Good
	}
	if at, ok := p.revoked[key]; ok {
		answer.Status, answer.RevokedAt, answer.RevocationReason = ocsp.Revoked, at, ocsp.KeyCompromise
	}
	p.mu.Unlock()
	der, err := ocsp.CreateResponse(ca.Certificate, ca.Certificate, answer, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("make an OCSP response: %w", err)
	}
	return der, nil
}

// OCSPHandler is a responder (RFC 6960, GET and POST) for everything the PKI issued, with answers that are good for
// an hour from the moment of asking.
func (p *PKI) OCSPHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := ocsp.MalformedRequestErrorResponse
		if request, err := readOCSPRequest(r); err == nil {
			answer = p.answerOCSP(request)
		}
		w.Header().Set("Content-Type", "application/ocsp-response")
		_, _ = w.Write(answer) // a client that went away is its own problem
	})
}

func readOCSPRequest(r *http.Request) (*ocsp.Request, error) {
	if r.Method == http.MethodPost {
		der, err := io.ReadAll(io.LimitReader(r.Body, 16<<10))
		if err != nil {
			return nil, err
		}
		return ocsp.ParseRequest(der)
	}
	escaped := r.URL.EscapedPath()
	text, err := url.PathUnescape(escaped[strings.LastIndexByte(escaped, '/')+1:])
	if err != nil {
		return nil, err
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return ocsp.ParseRequest(der)
}

func (p *PKI) answerOCSP(request *ocsp.Request) []byte {
	for _, ca := range []*CA{p.Root, p.ClientCA, p.ServerCA, p.SealCA} {
		if !bytes.Equal(request.IssuerKeyHash, keyHash(ca, request.HashAlgorithm)) {
			continue
		}
		now := time.Now()
		der, err := p.ocspResponse(ca, request.SerialNumber, request.HashAlgorithm, now.Add(-time.Minute), now.Add(time.Hour))
		if err != nil {
			return ocsp.InternalErrorErrorResponse
		}
		return der
	}
	return ocsp.UnauthorizedErrorResponse
}

// keyHash is the hash of the authority's public key as RFC 6960 §4.1.1 wants it: of the bit string, without its tag.
func keyHash(ca *CA, hash crypto.Hash) []byte {
	h := hash.New()
	_, _ = h.Write(x509.MarshalPKCS1PublicKey(&ca.Key.PublicKey)) // a hash's Write never fails
	return h.Sum(nil)
}
