package stage

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
)

// Asker asks for the status of resources as an initiator does: with its own certificate and tokens bound to it. It
// verifies answers by the standard library alone.
type Asker struct {
	facts  certs.Participant
	stage  *Stage
	thumb  string
	client *http.Client
	key    *rsa.PublicKey
}

// Asker makes an initiator ready to ask. The certificate is the one it shows.
func (s *Stage) Asker(facts certs.Participant, certificate tls.Certificate) (*Asker, error) {
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %s: %w", facts.Name, err)
	}
	seal, err := mtls.LoadKey(s.path("pki", "holder", "brseal.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.PKI.Root.Certificate)
	return &Asker{
		facts: facts, stage: s, thumb: mtls.Thumbprint(leaf), key: &seal.PublicKey,
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, RootCAs: roots, ServerName: "localhost",
		}}},
	}, nil
}

// TokenLife is how long an initiator's access token is good for: the most the rules allow.
const TokenLife = 15 * time.Minute

// Token makes an access token for a client of this initiator.
func (a *Asker) Token(client string) (string, error) {
	now := time.Now()
	return jws.Issue(a.stage.PKI.Tokens.Key, a.stage.PKI.Tokens.KID, map[string]any{
		"iss": TokensIssuer, "aud": TokensAudience, "iat": now.Unix(), "exp": now.Add(TokenLife).Unix(), "jti": uuid.NewString(),
		"client_id": client, "scope": "payments recurring-payments", "grant_type": "client_credentials",
		"cnf": map[string]string{"x5t#S256": a.thumb},
	})
}

// Ask puts one status query, named by an interaction id that is new (NewInteraction), to the public listener at address
// (host:port), and returns the state shown. An answer that is not 200 is a *Refusal; any other error means that no
// answer came, or one that does not verify.
func (a *Asker) Ask(ctx context.Context, address, token, interaction, path string) (state string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+path, http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("x-fapi-interaction-id", interaction)
	res, err := a.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", err
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return "", &Refusal{Status: res.StatusCode, Body: string(body)}
	case !strings.HasPrefix(res.Header.Get("Content-Type"), "application/jwt"):
		return "", fmt.Errorf("%w: of type %s", ErrAnswer, res.Header.Get("Content-Type"))
	case res.Header.Get("x-fapi-interaction-id") != interaction:
		return "", fmt.Errorf("%w: to another question than %s", ErrAnswer, interaction)
	}
	return a.verify(string(body))
}

// NewInteraction makes an interaction id.
func NewInteraction() string { return uuid.NewString() }

// ErrAnswer means that an answer is not what the rules say it must be.
var ErrAnswer = errors.New("the answer is wrong")

// verify checks signature, issuer and audience of a signed answer with nothing but crypto/rsa.
func (a *Asker) verify(compact string) (string, error) {
	part := strings.Split(compact, ".")
	if len(part) != 3 {
		return "", fmt.Errorf("%w: not a compact JWS", ErrAnswer)
	}
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	digest := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if err := rsa.VerifyPSS(a.key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		return "", fmt.Errorf("%w: its signature does not verify: %w", ErrAnswer, err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Data     struct {
			Status string `json:"status"`
		} `json:"data"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if claims.Issuer != a.stage.PKI.Options().Holder.ID || claims.Audience != a.facts.Organisation.ID {
		return "", fmt.Errorf("%w: signed for somebody else", ErrAnswer)
	}
	return claims.Data.Status, nil
}

// Close ends idle connections.
func (a *Asker) Close() { a.client.CloseIdleConnections() }
