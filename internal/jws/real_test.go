package jws_test

import (
	"bufio"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/npm"
	"github.com/arauto/arauto/internal/mtls"
)

// The two servers that run here, as the page names them.
const (
	nodeProvider = "node-oidc-provider 9"
	goProvider   = "zitadel/oidc 3 (library)"
)

// The client of both; its id and secret are those of the example storage.
const (
	tokenClient = "sid1"
	tokenSecret = "verysecret"
)

// tokenServer is a real authorization server that runs.
type tokenServer struct {
	issuer, token, keys string // addresses
}

// issueTo asks for a token of client_credentials, and returns it with the key set that the server publishes.
func (s *tokenServer) issueTo(t *testing.T, certificate string) (string, *jws.KeySet) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"payments"}, "client_id": {tokenClient}, "client_secret": {tokenSecret}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.token, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Client-Cert", certificate)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal(answerOf(t, r), &answer))
	require.NotEmpty(t, answer.AccessToken)
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, s.keys, nil)
	require.NoError(t, err)
	keys, err := jws.ParseKeySet(answerOf(t, r))
	require.NoError(t, err)
	return answer.AccessToken, jws.FixedKeySet(keys)
}

func answerOf(t *testing.T, r *http.Request) []byte {
	t.Helper()
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, "%s", body)
	return body
}

// requireFits verifies a token of a real server with the setting of its row, and that the default does not fit.
func requireFits(t *testing.T, row string, s *tokenServer) {
	t.Helper()
	requireRow(t, row, jws.GrantBySubject, "run")
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).HolderBRCAC())
	token, keys := s.issueTo(t, base64.StdEncoding.EncodeToString(leaf.Certificate.Raw))
	v := jws.AccessVerifier{Keys: keys, Issuer: s.issuer, Audience: audience, Grant: jws.GrantBySubject}
	read, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, tokenClient, read.ClientID)
	require.Equal(t, []string{"payments"}, read.Scopes)
	require.Equal(t, mtls.Thumbprint(leaf.Certificate), base64.RawURLEncoding.EncodeToString(read.Thumbprint[:]))
	require.Equal(t, 10*time.Minute, read.ExpiresAt.Sub(read.IssuedAt))

	v = jws.AccessVerifier{Keys: keys, Issuer: s.issuer, Audience: audience}
	_, err = v.Verify(t.Context(), token)
	refusedFor(t, err, jws.Missing, "grant_type", token)
}

// TestATokenOfNodeOIDCProviderFits runs the certified provider of the Node world, with tokens that it binds to certificates itself.
func TestATokenOfNodeOIDCProviderFits(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	folder, err := npm.Find(ctx, "oidc-provider", "9.5.2")
	if errors.Is(err, npm.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, "node", "testdata/oidc-provider.mjs", folder, tokenClient, tokenSecret, audience)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { cancel(); _ = cmd.Wait() }()
	issuer, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s", &said)
	issuer = strings.TrimSpace(issuer)
	requireFits(t, nodeProvider, &tokenServer{issuer, issuer + "/token", issuer + "/jwks"})
}

// TestATokenOfZitadelsLibraryFits runs the OpenID provider that the console's tests run, with a storage set up as the page says.
func TestATokenOfZitadelsLibraryFits(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	issuer := "http://" + l.Addr().String()
	s := &bankStorage{Storage: storage.NewStorage(storage.NewUserStore(issuer))}
	provider := exampleop.SetupServer(issuer, s, nil, false, op.WithAllowInsecure())
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		provider.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), certificateKey{}, r.Header.Get("X-Client-Cert"))))
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	requireFits(t, goProvider, &tokenServer{issuer, issuer + "/oauth/token", issuer + "/keys"})
}

// bankStorage is the example's storage as a bank sets it up.
type bankStorage struct{ *storage.Storage }

type certificateKey struct{}

// signingKey signs and verifies with PS256.
type signingKey struct{ key any }

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.PS256 }
func (k signingKey) Algorithm() jose.SignatureAlgorithm          { return jose.PS256 }
func (k signingKey) Use() string                                 { return "sig" }
func (k signingKey) Key() any                                    { return k.key }
func (k signingKey) ID() string                                  { return "as-1" }

func (bankStorage) SigningKey(context.Context) (op.SigningKey, error) {
	return signingKey{keyOne()}, nil
}

func (bankStorage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{signingKey{keyOne().Public().(*rsa.PublicKey)}}, nil
}

func (bankStorage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.PS256}, nil
}

// jwtClient gets access tokens that are JWTs.
type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s bankStorage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.Storage.ClientCredentials(ctx, id, secret)
	return jwtClient{c}, err
}

func (bankStorage) ClientCredentialsTokenRequest(_ context.Context, client string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: client, Audience: []string{audience}, Scopes: scopes}, nil
}

func (bankStorage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return "token-1", time.Now().Truncate(time.Second).Add(10 * time.Minute), nil
}

// GetPrivateClaimsFromScopes adds what the library does not write: the scope, and the certificate of the client.
func (bankStorage) GetPrivateClaimsFromScopes(ctx context.Context, _, _ string, scopes []string) (map[string]any, error) {
	der, err := base64.StdEncoding.DecodeString(ctx.Value(certificateKey{}).(string))
	sum := sha256.Sum256(der)
	return map[string]any{"scope": strings.Join(scopes, " "), "cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}}, err
}
