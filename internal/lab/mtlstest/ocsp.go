package mtlstest

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arauto/arauto/certs"
	"golang.org/x/crypto/ocsp"
)

// OCSPResponse is the authority's signed answer about a certificate it issued, for a responder or for stapling.
func OCSPResponse(p *certs.PKI, ca *certs.CA, cert *x509.Certificate, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	return ocspResponse(p, ca, cert.SerialNumber, crypto.SHA1, thisUpdate, nextUpdate)
}

// OCSPResponseBy is the answer "good" signed by another certificate that is embedded in it. Only one that carries
// the usage OCSPSigning may be believed.
func OCSPResponseBy(signer certs.Leaf, cert *x509.Certificate, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	der, err := ocsp.CreateResponse(signer.Issuer.Certificate, signer.Certificate, ocsp.Response{
		Status: ocsp.Good, SerialNumber: cert.SerialNumber, Certificate: signer.Certificate,
		ThisUpdate: thisUpdate, NextUpdate: nextUpdate,
	}, signer.Key)
	if err != nil {
		return nil, fmt.Errorf("make a delegated OCSP response: %w", err)
	}
	return der, nil
}

func ocspResponse(p *certs.PKI, ca *certs.CA, serial *big.Int, hash crypto.Hash, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	answer := ocsp.Response{
		Status: ocsp.Unknown, SerialNumber: serial, IssuerHash: hash, ThisUpdate: thisUpdate, NextUpdate: nextUpdate,
	}
	issued, revoked := p.Status(ca, serial)
	if issued {
		answer.Status = ocsp.Good
	}
	if !revoked.IsZero() {
		answer.Status, answer.RevokedAt, answer.RevocationReason = ocsp.Revoked, revoked, ocsp.KeyCompromise
	}
	der, err := ocsp.CreateResponse(ca.Certificate, ca.Certificate, answer, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("make an OCSP response: %w", err)
	}
	return der, nil
}

// OCSPHandler is a responder (RFC 6960, GET and POST) for everything the PKI issued, with answers that are good for
// an hour from the moment of asking.
func OCSPHandler(p *certs.PKI) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := ocsp.MalformedRequestErrorResponse
		if request, err := readOCSPRequest(r); err == nil {
			answer = answerOCSP(p, request)
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

func answerOCSP(p *certs.PKI, request *ocsp.Request) []byte {
	for _, ca := range []*certs.CA{p.Root, p.ClientCA, p.ServerCA, p.SealCA} {
		if !bytes.Equal(request.IssuerKeyHash, keyHash(ca, request.HashAlgorithm)) {
			continue
		}
		now := time.Now()
		der, err := ocspResponse(p, ca, request.SerialNumber, request.HashAlgorithm, now.Add(-time.Minute), now.Add(time.Hour))
		if err != nil {
			return ocsp.InternalErrorErrorResponse
		}
		return der
	}
	return ocsp.UnauthorizedErrorResponse
}

// keyHash is the hash of the authority's public key as RFC 6960 §4.1.1 wants it: of the bit string, without its tag.
func keyHash(ca *certs.CA, hash crypto.Hash) []byte {
	h := hash.New()
	_, _ = h.Write(x509.MarshalPKCS1PublicKey(&ca.Key.PublicKey)) // a hash's Write never fails
	return h.Sum(nil)
}
