package mtls

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// ocspPatience is how long a handshake waits for a responder when it has other evidence to fall back on.
	ocspPatience = 200 * time.Millisecond
	// ocspAlone is how long it waits when it has none: well within the limit of an attempt and of a handshake.
	ocspAlone = 3 * time.Second
	// ocspLimit ends a question that nobody waits for any more, but whose answer the next handshake can use.
	ocspLimit = 10 * time.Second
	// ocspRest is how long a responder that failed is not waited for by those who have other evidence.
	ocspRest = 30 * time.Second

	maxOCSPAnswer   = 64 << 10 // bytes
	maxOCSPAnswers  = 10_000   // remembered
	maxOCSPInFlight = 64       // questions at once
)

// ocspAnswer is a verified statement about one certificate.
type ocspAnswer struct {
	revoked    bool
	thisUpdate time.Time
	obtained   time.Time
	end        time.Time // of the answer, or of our patience with it
}

func ocspKey(cert *x509.Certificate) string {
	return string(cert.RawIssuer) + "\x00" + string(cert.SerialNumber.Bytes())
}

// readOCSP verifies an answer about cert. Its signature must be the issuer's, or that of somebody the issuer gave the
// purpose OCSPSigning and whose certificate is in date: the library checks the signatures alone, and would believe
// any certificate of that issuer.
func readOCSP(der []byte, cert, issuer *x509.Certificate, now time.Time, ttl time.Duration) (*ocspAnswer, error) {
	response, err := ocsp.ParseResponseForCert(der, cert, issuer)
	if err != nil {
		return nil, fmt.Errorf("the OCSP answer is unusable: %w", err)
	}
	if signer := response.Certificate; signer != nil && !signer.Equal(issuer) {
		if !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) || signer.IsCA {
			return nil, errors.New("the OCSP answer is signed by a certificate that may not sign answers")
		}
		if now.Before(signer.NotBefore) || now.After(signer.NotAfter) {
			return nil, errors.New("the certificate that signs OCSP answers has expired or is not valid yet")
		}
	}
	answer := &ocspAnswer{thisUpdate: response.ThisUpdate, obtained: now, end: now.Add(ttl)}
	if !response.NextUpdate.IsZero() {
		answer.end = earlier(answer.end, response.NextUpdate)
	}
	switch {
	case response.ThisUpdate.After(now.Add(clockSkew)):
		return nil, errors.New("the OCSP answer is from the future")
	case !now.Before(answer.end), response.NextUpdate.IsZero() && now.Sub(response.ThisUpdate) > ttl:
		return nil, errors.New("the OCSP answer has expired")
	}
	switch response.Status {
	case ocsp.Good:
	case ocsp.Revoked:
		answer.revoked = true
	default:
		return nil, errors.New("the OCSP responder does not know the certificate")
	}
	return answer, nil
}

// ocspClient asks responders and remembers what they said. Each certificate is asked about once at a time.
type ocspClient struct {
	http      *http.Client
	responder string // empty: the one the certificate names
	show      func(address string) string
	ttl       time.Duration
	keep      time.Duration // how long an answer is kept beyond its end, for the soft-fail window
	now       func() time.Time

	mu       sync.Mutex
	answers  map[string]*ocspAnswer
	asking   map[string]*ocspQuestion
	restTill map[string]time.Time // by responder
}

// ocspQuestion is one question under way.
type ocspQuestion struct {
	url    string
	done   chan struct{} // closed when answer and err are set
	answer *ocspAnswer
	err    error
}

// recall returns what is remembered about a certificate: an answer in force, or one that was and may serve the
// soft-fail window, or nil.
func (c *ocspClient) recall(cert *x509.Certificate) (answer *ocspAnswer, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer = c.answers[ocspKey(cert)]
	return answer, answer != nil && c.now().Before(answer.end)
}

// learn takes a stapled answer, and returns it or the newer one that is in force already: a peer whose certificate was
// revoked could go on stapling what was said before.
func (c *ocspClient) learn(cert *x509.Certificate, answer *ocspAnswer) *ocspAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := ocspKey(cert)
	c.remember(key, answer)
	return c.answers[key]
}

// ask returns a fresh answer. It waits for at most patience; the question goes on without it. With rested it does not
// turn to a responder that failed a moment ago.
func (c *ocspClient) ask(cert, issuer *x509.Certificate, patience time.Duration, rested bool) (*ocspAnswer, error) {
	question, err := c.begin(cert, issuer, rested)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-question.done:
		return question.answer, question.err
	case <-timer.C:
		c.mu.Lock()
		c.restTill[question.url] = c.now().Add(ocspRest)
		c.mu.Unlock()
		return nil, fmt.Errorf("the OCSP responder did not answer within %v", patience)
	}
}

// begin joins the question under way about this certificate, or starts one, and waits for nothing.
func (c *ocspClient) begin(cert, issuer *x509.Certificate, rested bool) (*ocspQuestion, error) {
	url := c.responder
	if url == "" {
		if len(cert.OCSPServer) == 0 {
			return nil, errors.New("the certificate names no OCSP responder")
		}
		url = cert.OCSPServer[0]
	}
	key := ocspKey(cert)
	c.mu.Lock()
	defer c.mu.Unlock()
	if rested && c.now().Before(c.restTill[url]) {
		return nil, errors.New("the OCSP responder failed a moment ago; it is not asked again yet")
	}
	if q := c.asking[key]; q != nil {
		return q, nil
	}
	if len(c.asking) >= maxOCSPInFlight {
		return nil, errors.New("too many OCSP questions are under way")
	}
	q := &ocspQuestion{url: url, done: make(chan struct{})}
	c.asking[key] = q
	go func() {
		q.answer, q.err = c.fetch(url, cert, issuer)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asking, key)
		if q.err == nil {
			delete(c.restTill, url)
			c.remember(key, q.answer)
		} else {
			c.restTill[url] = c.now().Add(ocspRest)
		}
		close(q.done)
	}()
	return q, nil
}

// remember is called with the lock held. An older statement never replaces a newer one that is in force. When there
// are too many, what nobody can use goes first.
func (c *ocspClient) remember(key string, answer *ocspAnswer) {
	if old := c.answers[key]; old != nil && old.thisUpdate.After(answer.thisUpdate) && c.now().Before(old.end) {
		return
	}
	if len(c.answers) >= maxOCSPAnswers {
		maps.DeleteFunc(c.answers, func(_ string, a *ocspAnswer) bool { return c.now().After(a.end.Add(c.keep)) })
		for k := range c.answers {
			if len(c.answers) < maxOCSPAnswers {
				break
			}
			delete(c.answers, k)
		}
	}
	c.answers[key] = answer
}

func (c *ocspClient) fetch(url string, cert, issuer *x509.Certificate) (*ocspAnswer, error) {
	question, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("make an OCSP question: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), ocspLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(question))
	if err != nil {
		return nil, fmt.Errorf("ask the OCSP responder %s: %w", c.show(url), withoutAddress(err))
	}
	request.Header.Set("Content-Type", "application/ocsp-request")
	request.Header.Set("Accept", "application/ocsp-response")
	der, err := fetchBody(c.http, request, maxOCSPAnswer)
	if err != nil {
		return nil, fmt.Errorf("ask the OCSP responder %s: %w", c.show(url), err)
	}
	return readOCSP(der, cert, issuer, c.now(), c.ttl)
}

// fetchBody reads a 200's body up to a limit. Its errors do not name the address.
func fetchBody(client *http.Client, request *http.Request, limit int64) ([]byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("it answered more than %d bytes", limit)
	}
	return body, nil
}
