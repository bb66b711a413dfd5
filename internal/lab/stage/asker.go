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
	"github.com/arauto/arauto/internal/ofb"
)

// Asker asks for the status of resources as an initiator does: with its own certificate and tokens bound to it. It
// verifies answers by the standard library alone.
type Asker struct {
	AskerConfig
	stage  *Stage // nil: not one of a stage
	thumb  string
	client *http.Client
}

// AskerConfig is what an initiator needs to ask and to verify.
type AskerConfig struct {
	Certificate  tls.Certificate                 // that it shows
	Roots        *x509.CertPool                  // nil: those of the system
	ServerName   string                          // that the certificate of the status endpoints must have; "": that of the address
	Holder       string                          // organisation id in iss; "": any
	Organisation string                          // organisation id in aud
	Key          func(kid string) *rsa.PublicKey // of the holder's signature; nil: there is none of this id
}

// NewAsker makes an initiator ready to ask a gateway that this program did not start.
func NewAsker(c AskerConfig) *Asker {
	return &Asker{AskerConfig: c, client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c.Certificate}, RootCAs: c.Roots, ServerName: c.ServerName,
	}}}}
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
	a := NewAsker(AskerConfig{
		Certificate: certificate, Roots: roots, ServerName: "localhost", Holder: s.PKI.Options().Holder.ID, Organisation: facts.Organisation.ID,
		Key: func(string) *rsa.PublicKey { return &seal.PublicKey },
	})
	a.stage, a.thumb = s, mtls.Thumbprint(leaf)
	return a, nil
}

// TokenLife is how long an initiator's access token is good for: the most the rules allow.
const TokenLife = 15 * time.Minute

// Token makes an access token for a client of this initiator.
func (a *Asker) Token(client string) (string, error) {
	return AccessToken(a.stage.PKI.Tokens.Key, a.stage.PKI.Tokens.KID, client, a.thumb)
}

// AccessToken makes an access token for a client, bound to the certificate with a thumbprint.
func AccessToken(key *rsa.PrivateKey, kid, client, thumbprint string) (string, error) {
	now := time.Now()
	return jws.Issue(key, kid, map[string]any{
		"iss": TokensIssuer, "aud": TokensAudience, "iat": now.Unix(), "exp": now.Add(TokenLife).Unix(), "jti": uuid.NewString(),
		"client_id": client, "scope": "payments recurring-payments", "grant_type": "client_credentials",
		"cnf": map[string]string{"x5t#S256": thumbprint},
	})
}

// statusPaths are the paths of the status endpoints, without version and id.
var statusPaths = map[ofb.Kind][2]string{
	ofb.PaymentConsent:   {"payments", "consents"},
	ofb.PixPayment:       {"payments", "pix/payments"},
	ofb.RecurringConsent: {"automatic-payments", "recurring-consents"},
	ofb.RecurringPayment: {"automatic-payments", "pix/recurring-payments"},
	ofb.Enrollment:       {"enrollments", "enrollments"},
}

// StatusPath is where a resource is asked for; the id stands as it is given. It does not ask the product for its routes.
func StatusPath(kind ofb.Kind, version, id string) string {
	at := statusPaths[kind]
	return "/open-banking/" + at[0] + "/" + version + "/" + at[1] + "/" + id
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
	Shown   string         // the names in the server's certificate

	KID, Issuer, Self string // of the signature, in iss and in links.self
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
	reading, err := a.verify(string(body))
	reading.Version = res.Header.Get("x-v")
	if res.TLS != nil {
		reading.Shown = strings.Join(res.TLS.PeerCertificates[0].DNSNames, " ")
	}
	return reading, err
}

// NewInteraction makes an interaction id.
func NewInteraction() string { return uuid.NewString() }

// ErrAnswer means that an answer is not what the rules say it must be.
var ErrAnswer = errors.New("the answer is wrong")

// answerTolerance is how far iat may be from the clock of the reader (security §6, S6).
const answerTolerance = time.Minute

// verify checks header, signature, issuer, audience and age of a signed answer with nothing but crypto/rsa.
func (a *Asker) verify(compact string) (Reading, error) {
	part := strings.Split(compact, ".")
	if len(part) != 3 {
		return Reading{}, fmt.Errorf("%w: not a compact JWS", ErrAnswer)
	}
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		return Reading{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	header, err := base64.RawURLEncoding.DecodeString(part[0])
	if err != nil {
		return Reading{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var signed struct{ Alg, Kid, Typ string }
	if err := json.Unmarshal(header, &signed); err != nil {
		return Reading{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if signed.Alg != "PS256" || signed.Typ != "JWT" {
		return Reading{}, fmt.Errorf("%w: alg is %.20q and typ %.20q; they must be PS256 and JWT", ErrAnswer, signed.Alg, signed.Typ)
	}
	key := a.Key(signed.Kid)
	if key == nil {
		return Reading{}, fmt.Errorf("%w: there is no key %.80q", ErrAnswer, signed.Kid)
	}
	digest := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if err := rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		return Reading{}, fmt.Errorf("%w: its signature does not verify: %w", ErrAnswer, err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return Reading{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		IssuedAt int64  `json:"iat"`
		ID       string `json:"jti"`
		Data     any    `json:"data"`
		Links    struct {
			Self string `json:"self"`
		} `json:"links"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Reading{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if a.Holder != "" && claims.Issuer != a.Holder || claims.Audience != a.Organisation {
		return Reading{}, fmt.Errorf("%w: signed for somebody else", ErrAnswer)
	}
	if err := uuid.Validate(claims.ID); err != nil {
		return Reading{}, fmt.Errorf("%w: jti is %.60q, no UUID", ErrAnswer, claims.ID)
	}
	if at := time.Unix(claims.IssuedAt, 0); time.Since(at).Abs() > answerTolerance {
		return Reading{}, fmt.Errorf("%w: iat is %s, more than %s from the clock of this machine", ErrAnswer, at.UTC().Format(time.RFC3339), answerTolerance)
	}
	data, _ := claims.Data.(map[string]any)
	return Reading{Data: data, KID: signed.Kid, Issuer: claims.Issuer, Self: claims.Links.Self}, nil
}

// Close ends idle connections.
func (a *Asker) Close() { a.client.CloseIdleConnections() }
