package main

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
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/stage"
)

// poller asks for the status of a resource as an initiator does: with its own certificate and a token bound to it.
type poller struct {
	facts  certs.Initiator
	client *http.Client
	token  string
	base   string // https://host:port of the public listener
	key    *rsa.PublicKey
	iss    string
}

// poller makes alfa or beta ready to ask, and leaves what curl needs in the PKI's folder.
func (d *demo) poller(facts certs.Initiator) (*poller, error) {
	folder := filepath.Join(d.stage.Dir, "pki", "initiators", facts.Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brcac.pem"), filepath.Join(folder, "brcac.key"))
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	now := time.Now()
	token, err := jws.Issue(d.stage.PKI.Tokens.Key, d.stage.PKI.Tokens.KID, map[string]any{
		"iss": stage.TokensIssuer, "aud": stage.TokensAudience, "iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(), "jti": newUUID(),
		"client_id": facts.Name, "scope": "payments recurring-payments", "grant_type": "client_credentials",
		"cnf": map[string]string{"x5t#S256": mtls.Thumbprint(leaf)},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, "token"), []byte(token), 0o600); err != nil {
		return nil, err
	}
	seal, err := mtls.LoadKey(filepath.Join(d.stage.Dir, "pki", "holder", "brseal.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(d.stage.PKI.Root.Certificate)
	return &poller{
		facts: facts, token: token, base: "https://" + d.replica.Public, key: &seal.PublicKey, iss: d.stage.PKI.Options().Holder.ID,
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "localhost",
		}}},
	}, nil
}

// poll asks once and verifies the answer by the standard library alone. It returns the status shown.
func (p *poller) poll(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return "", err
	}
	interaction := newUUID()
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("x-fapi-interaction-id", interaction)
	res, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/jwt") || res.Header.Get("x-fapi-interaction-id") != interaction {
		return "", fmt.Errorf("answered %d %s: %.300s", res.StatusCode, res.Header.Get("Content-Type"), body)
	}
	return p.verify(string(body))
}

// verify checks signature, issuer and audience of a signed answer with nothing but crypto/rsa.
func (p *poller) verify(compact string) (string, error) {
	part := strings.Split(compact, ".")
	if len(part) != 3 {
		return "", errors.New("the answer is not a compact JWS")
	}
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if err := rsa.VerifyPSS(p.key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		return "", fmt.Errorf("the signature of the answer does not verify: %w", err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return "", err
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Data     struct {
			Status string `json:"status"`
		} `json:"data"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", err
	}
	if claims.Issuer != p.iss || claims.Audience != p.facts.Organisation.ID {
		return "", errors.New("the answer is signed for somebody else")
	}
	return claims.Data.Status, nil
}
