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
	r, err := a.Read(ctx, Query{address, token, interaction, path})
	state, _ = r.Data["status"].(string)
	return state, err
}

// Query is one status query: where it goes, with which token, under which interaction id, and for what.
type Query struct{ Address, Token, Interaction, Path string }

// Reading is the verified answer to a status query.
type Reading struct {
	Data    map[string]any // the resource; nil for a list
	Version string         // header x-v
}

// Read is Ask with the whole answer.
func (a *Asker) Read(ctx context.Context, q Query) (Reading, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+q.Address+q.Path, http.NoBody)
	if err != nil {
		return Reading{}, err
	}
	req.Header.Set("Authorization", "Bearer "+q.Token)
	req.Header.Set("x-fapi-interaction-id", q.Interaction)
	res, err := a.client.Do(req)
	if err != nil {
		return Reading{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return Reading{}, err
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return Reading{}, &Refusal{Status: res.StatusCode, Body: string(body)}
	case !strings.HasPrefix(res.Header.Get("Content-Type"), "application/jwt"):
		return Reading{}, fmt.Errorf("%w: of type %s", ErrAnswer, res.Header.Get("Content-Type"))
	case res.Header.Get("x-fapi-interaction-id") != q.Interaction:
		return Reading{}, fmt.Errorf("%w: to another question than %s", ErrAnswer, q.Interaction)
	}
	data, err := a.verify(string(body))
	return Reading{data, res.Header.Get("x-v")}, err
}

// NewInteraction makes an interaction id.
func NewInteraction() string { return uuid.NewString() }

// ErrAnswer means that an answer is not what the rules say it must be.
var ErrAnswer = errors.New("the answer is wrong")

// verify checks signature, issuer and audience of a signed answer with nothing but crypto/rsa.
func (a *Asker) verify(compact string) (map[string]any, error) {
	part := strings.Split(compact, ".")
	if len(part) != 3 {
		return nil, fmt.Errorf("%w: not a compact JWS", ErrAnswer)
	}
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	digest := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if err := rsa.VerifyPSS(a.key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		return nil, fmt.Errorf("%w: its signature does not verify: %w", ErrAnswer, err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Data     any    `json:"data"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if claims.Issuer != a.stage.PKI.Options().Holder.ID || claims.Audience != a.facts.Organisation.ID {
		return nil, fmt.Errorf("%w: signed for somebody else", ErrAnswer)
	}
	data, _ := claims.Data.(map[string]any)
	return data, nil
}

// Close ends idle connections.
func (a *Asker) Close() { a.client.CloseIdleConnections() }
