package jws_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/cost"
)

const (
	issuer   = "https://as.banco.example"
	audience = "arauto"
)

func bearerClaims() map[string]any {
	return map[string]any{
		"iss": issuer, "aud": audience, "sub": "core-payments", "iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix(),
		"roles": []string{"ingest", "operator"},
	}
}

func accessClaims() map[string]any {
	sum := sha256.Sum256([]byte("a certificate"))
	return map[string]any{
		"iss": issuer, "aud": audience, "iat": noon.Unix(), "exp": noon.Add(10 * time.Minute).Unix(), "jti": "b2c0e9f6-1111-4222-8333-444444444444",
		"client_id": "itp-1", "scope": "openid payments", "grant_type": "client_credentials",
		"cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
	}
}

func statementClaims() map[string]any {
	return map[string]any{
		"iss": "Open Banking Open Banking Brasil prod SSA issuer", "iat": noon.Unix(), "software_id": "sw-1", "org_id": "org-1",
		"software_api_webhook_uris": []string{"https://b.example/x", "https://a.example"},
		"software_roles":            []string{"PISP"}, "software_client_name": "ITP",
	}
}

// judge verifies a token of one of the three kinds, so that rules common to all are tested on all.
type judge struct {
	name   string
	claims func() map[string]any
	verify func(keys *jws.KeySet, token string) error
	limit  int
}

func judges() []judge {
	return []judge{
		{"bearer", bearerClaims, func(keys *jws.KeySet, token string) error {
			v := jws.BearerVerifier{Keys: keys, Issuer: issuer, Audience: audience, Now: at(noon)}
			_, err := v.Verify(token)
			return err
		}, 8 << 10},
		{"access token", accessClaims, verifyAccess, 2041},
		{"statement", statementClaims, func(keys *jws.KeySet, token string) error {
			v := jws.StatementVerifier{Keys: keys, Now: at(noon)}
			_, err := v.Verify(token)
			return err
		}, 64 << 10},
	}
}

func verifyAccess(keys *jws.KeySet, token string) error {
	v := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, Now: at(noon)}
	_, err := v.Verify(nil, token) //nolint:staticcheck // a context is not looked at
	return err
}

func TestWhatComesInAValidTokenIsRead(t *testing.T) {
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})

	bearer := jws.BearerVerifier{Keys: keys, Issuer: issuer, Audience: audience, Now: at(noon)}
	principal, err := bearer.Verify(issue(t, keyOne(), "k1", with(bearerClaims(), map[string]any{"aud": []string{"other", audience}})))
	require.NoError(t, err)
	require.Equal(t, jws.Principal{Subject: "core-payments", Roles: []string{"ingest", "operator"}}, principal)
	require.True(t, principal.Has("operator"))
	require.False(t, principal.Has("auditor"))

	access := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, Now: at(noon)}
	text := issue(t, keyOne(), "k1", accessClaims())
	token, err := access.Verify(t.Context(), text)
	require.NoError(t, err)
	require.Equal(t, jws.AccessToken{
		ClientID: "itp-1", Scopes: []string{"openid", "payments"}, Thumbprint: sha256.Sum256([]byte("a certificate")),
		ID: "b2c0e9f6-1111-4222-8333-444444444444", IssuedAt: noon, ExpiresAt: noon.Add(10 * time.Minute), Hash: sha256.Sum256([]byte(text)),
	}, token)
	require.True(t, token.HasScope("payments"))
	require.False(t, token.HasScope("pay"))

	statements := jws.StatementVerifier{Keys: keys, Now: at(noon)}
	text = issue(t, keyOne(), "k1", statementClaims())
	statement, err := statements.Verify(text)
	require.NoError(t, err)
	require.Equal(t, jws.Statement{
		SoftwareID: "sw-1", OrganisationID: "org-1", WebhookURIs: []string{"https://b.example/x", "https://a.example"},
		IssuedAt: noon, Digest: sha256.Sum256([]byte(text)),
	}, statement)
	statement, err = statements.Verify(issue(t, keyOne(), "k1", with(statementClaims(), map[string]any{"software_api_webhook_uris": nil})))
	require.NoError(t, err)
	require.Nil(t, statement.WebhookURIs)
}

func TestTokensThatBringTheirOwnKeyAreRefusedAndNothingIsFetched(t *testing.T) {
	var fetched atomic.Int32
	canary := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer canary.Close()
	der := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&keyTwo().PublicKey))
	jwk := string(setOf(t, map[string]*rsa.PrivateKey{"k1": keyTwo()}))
	jwk = strings.TrimSuffix(strings.TrimPrefix(jwk, `{"keys":[`), `]}`)
	for member, value := range map[string]string{
		"jku": `"` + canary.URL + `/jwks"`, "x5u": `"` + canary.URL + `/cert"`, "x5c": `["` + der + `"]`, "jwk": jwk,
		"jkw": jwk, "crit": `["exp"]`, "b64": `false`, "zip": `"DEF"`,
	} {
		for _, signedBy := range []*rsa.PrivateKey{keyOne(), keyTwo()} { // the set's own key does not make it good
			for _, j := range judges() {
				token := compact(t, fmt.Sprintf(`{"alg":"PS256","kid":"k1","typ":"JWT",%q:%s}`, member, value), j.claims(), pss(t, signedBy))
				err := j.verify(fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()}), token)
				refusedFor(t, err, jws.Header, member, token, canary.URL)
			}
		}
	}
	require.Zero(t, fetched.Load())
}

func pss(t testing.TB, key *rsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		require.NoError(t, err)
		return signature
	}
}

func pkcs1(t testing.TB, key *rsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		require.NoError(t, err)
		return signature
	}
}

func TestHeadersAndSignaturesThatAreRefusedInEveryKindOfToken(t *testing.T) {
	none := func(string) []byte { return nil }
	public, err := x509.MarshalPKIXPublicKey(&keyOne().PublicKey)
	require.NoError(t, err)
	withPublicKey := func(input string) []byte {
		mac := hmac.New(sha256.New, public)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	ps512 := func(input string) []byte {
		sum := sha512.Sum512([]byte(input))
		signature, err := rsa.SignPSS(rand.Reader, keyOne(), crypto.SHA512, sum[:], nil)
		require.NoError(t, err)
		return signature
	}
	one, two := pss(t, keyOne()), pss(t, keyTwo())
	bad := []struct {
		name   string
		header string
		sign   func(string) []byte
		code   jws.Code
		claim  string
	}{
		{"alg none", `{"alg":"none","kid":"k1"}`, none, jws.Algorithm, "alg"},
		{"alg None", `{"alg":"None","kid":"k1"}`, none, jws.Algorithm, "alg"},
		{"HS256 with the public key", `{"alg":"HS256","kid":"k1"}`, withPublicKey, jws.Algorithm, "alg"},
		{"PS512", `{"alg":"PS512","kid":"k1"}`, ps512, jws.Algorithm, "alg"},
		{"ES256", `{"alg":"ES256","kid":"k1"}`, one, jws.Algorithm, "alg"},
		{"unknown alg", `{"alg":"XX","kid":"k1"}`, one, jws.Algorithm, "alg"},
		{"alg missing", `{"kid":"k1"}`, one, jws.Algorithm, "alg"},
		{"alg not a string", `{"alg":["PS256"],"kid":"k1"}`, one, jws.Algorithm, "alg"},
		{"kid missing", `{"alg":"PS256"}`, one, jws.Header, "kid"},
		{"kid empty", `{"alg":"PS256","kid":""}`, one, jws.Header, "kid"},
		{"kid a number", `{"alg":"PS256","kid":1}`, one, jws.Header, "kid"},
		{"kid long", `{"alg":"PS256","kid":"` + strings.Repeat("k", 256) + `"}`, one, jws.Header, "kid"},
		{"kid unknown", `{"alg":"PS256","kid":"k2"}`, one, jws.UnknownKey, "kid"},
		{"kid that climbs", `{"alg":"PS256","kid":"../../etc/passwd"}`, one, jws.UnknownKey, "kid"},
		{"another's signature", `{"alg":"PS256","kid":"k1"}`, two, jws.Signature, ""},
		{"no signature", `{"alg":"PS256","kid":"k1"}`, none, jws.Signature, ""},
		{"PKCS#1 signature under PS256", `{"alg":"PS256","kid":"k1"}`, pkcs1(t, keyOne()), jws.Signature, ""},
		{"header null", `null`, one, jws.Algorithm, "alg"},
		{"header an array", `["PS256"]`, one, jws.Malformed, ""},
		{"header not JSON", `alg=PS256`, one, jws.Malformed, ""},
	}
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	for _, j := range judges() {
		require.NoError(t, j.verify(keys, compact(t, `{"alg":"PS256","kid":"k1"}`, j.claims(), one)), "the good one: %s", j.name)
		for _, b := range bad {
			t.Run(j.name+": "+b.name, func(t *testing.T) {
				token := compact(t, b.header, j.claims(), b.sign)
				refusedFor(t, j.verify(keys, token), b.code, b.claim, token)
			})
		}
	}
}

func TestTextsThatAreNoTokenAreRefused(t *testing.T) {
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	for _, j := range judges() {
		good := issue(t, keyOne(), "k1", j.claims())
		parts := strings.Split(good, ".")
		for name, token := range map[string]string{
			"empty": "", "dots": "..", "two parts": parts[0] + "." + parts[1], "four parts": good + ".x", "five parts, as JWE": good + ".x.y",
			"padding": parts[0] + "." + parts[1] + "." + parts[2] + "==", "standard alphabet": parts[0] + "." + parts[1] + ".+/+/",
			"space before": " " + good, "newline after": good + "\n", "newline within": parts[0] + "\r\n." + parts[1] + "." + parts[2], "Bearer twice": "Bearer " + good, "claims an array": parts[0] + ".W10." + parts[2],
			"claims not JSON": parts[0] + ".e30x." + parts[2], "null bytes": "\x00\x00.\x00.\x00",
		} {
			t.Run(j.name+": "+name, func(t *testing.T) {
				refusedFor(t, j.verify(keys, token), jws.Malformed, "")
			})
		}
		t.Run(j.name+": claims exchanged", func(t *testing.T) {
			other := strings.Split(issue(t, keyOne(), "k1", with(j.claims(), map[string]any{"extra": "x"})), ".")
			refusedFor(t, j.verify(keys, parts[0]+"."+other[1]+"."+parts[2]), jws.Signature, "")
		})
		t.Run(j.name+": too long", func(t *testing.T) {
			refusedFor(t, j.verify(keys, strings.Repeat("a", j.limit+1)), jws.TooLong, "")
			refusedFor(t, j.verify(keys, strings.Repeat("a", j.limit)), jws.Malformed, "")
			refusedFor(t, j.verify(keys, issue(t, keyOne(), "k1", with(j.claims(), map[string]any{"pad": strings.Repeat("x", 64<<10)}))), jws.TooLong, "")
		})
	}
}

func TestRS256IsForTheBanksOwnTokensAlone(t *testing.T) {
	for _, j := range judges() {
		token := compact(t, `{"alg":"RS256","kid":"k1"}`, j.claims(), pkcs1(t, keyOne()))
		set := setWith(t, keyOne(), `"kid":"k1","use":"sig"`)
		err := j.verify(set, token)
		if j.name == "bearer" {
			require.NoError(t, err)
			refusedFor(t, j.verify(setWith(t, keyOne(), `"kid":"k1","alg":"PS256"`), token), jws.Algorithm, "alg", token)
		} else {
			refusedFor(t, err, jws.Algorithm, "alg", token)
		}
		ps := compact(t, `{"alg":"PS256","kid":"k1"}`, j.claims(), pss(t, keyOne()))
		refusedFor(t, j.verify(setWith(t, keyOne(), `"kid":"k1","alg":"RS256"`), ps), jws.Algorithm, "alg", ps)
	}
}

// claimCase is one change of good claims and what must come of it; code "" means accepted.
type claimCase struct {
	name   string
	change map[string]any
	code   jws.Code
	claim  string
}

func seconds(d time.Duration) int64 { return noon.Add(d).Unix() }

func TestClaimsOfBearerTokens(t *testing.T) {
	runClaims(t, judges()[0], []claimCase{
		{"iss missing", map[string]any{"iss": nil}, jws.Missing, "iss"},
		{"iss another", map[string]any{"iss": issuer + "/"}, jws.Wrong, "iss"},
		{"iss a list", map[string]any{"iss": []string{issuer}}, jws.Wrong, "iss"},
		{"aud missing", map[string]any{"aud": nil}, jws.Missing, "aud"},
		{"aud another", map[string]any{"aud": "arautox"}, jws.Wrong, "aud"},
		{"aud list without ours", map[string]any{"aud": []string{"x"}}, jws.Wrong, "aud"},
		{"aud empty list", map[string]any{"aud": []string{}}, jws.Wrong, "aud"},
		{"aud list with a number", map[string]any{"aud": []any{audience, 1}}, jws.Wrong, "aud"},
		{"aud list with ours", map[string]any{"aud": []string{"x", audience}}, "", ""},
		{"sub missing", map[string]any{"sub": nil}, jws.Missing, "sub"},
		{"sub empty", map[string]any{"sub": ""}, jws.Wrong, "sub"},
		{"sub with a line break", map[string]any{"sub": "a\nb"}, jws.Wrong, "sub"},
		{"sub long", map[string]any{"sub": strings.Repeat("s", 256)}, jws.Wrong, "sub"},
		{"iat missing", map[string]any{"iat": nil}, jws.Missing, "iat"},
		{"iat a string", map[string]any{"iat": "now"}, jws.Wrong, "iat"},
		{"iat negative", map[string]any{"iat": -1}, jws.Wrong, "iat"},
		{"iat 60 s ahead", map[string]any{"iat": seconds(60 * time.Second)}, "", ""},
		{"iat 61 s ahead", map[string]any{"iat": seconds(61 * time.Second)}, jws.NotYetValid, "iat"},
		{"exp missing", map[string]any{"exp": nil}, jws.Missing, "exp"},
		{"exp huge", map[string]any{"exp": 1e300}, jws.Wrong, "exp"},
		{"exp 24 h after iat", map[string]any{"exp": seconds(24 * time.Hour)}, "", ""},
		{"exp more than 24 h after iat", map[string]any{"exp": seconds(24*time.Hour + time.Second)}, jws.Lifetime, "exp"},
		{"exp before iat", map[string]any{"exp": seconds(-time.Second)}, jws.Lifetime, "exp"},
		{"expired for 59 s", map[string]any{"iat": seconds(-time.Hour), "exp": seconds(-59 * time.Second)}, "", ""},
		{"expired for 60 s", map[string]any{"iat": seconds(-time.Hour), "exp": seconds(-60 * time.Second)}, jws.Expired, "exp"},
		{"nbf ahead", map[string]any{"nbf": seconds(61 * time.Second)}, jws.NotYetValid, "nbf"},
		{"nbf within leeway", map[string]any{"nbf": seconds(60 * time.Second)}, "", ""},
		{"nbf a string", map[string]any{"nbf": "x"}, jws.Wrong, "nbf"},
		{"roles missing", map[string]any{"roles": nil}, jws.Missing, "roles"},
		{"roles a string", map[string]any{"roles": "ingest operator"}, jws.Wrong, "roles"},
		{"roles with a number", map[string]any{"roles": []any{"ingest", 7}}, jws.Wrong, "roles"},
		{"roles empty", map[string]any{"roles": []string{}}, "", ""},
		{"exp under another spelling", map[string]any{"exp": nil, "EXP": seconds(time.Hour)}, jws.Missing, "exp"},
	})
}

func TestClaimsOfAccessTokens(t *testing.T) {
	cnf := func(v any) map[string]any { return map[string]any{"cnf": map[string]any{"x5t#S256": v}} }
	sum := sha256.Sum256([]byte("x"))
	runClaims(t, judges()[1], []claimCase{
		{"iss another", map[string]any{"iss": "https://evil.example"}, jws.Wrong, "iss"},
		{"aud another", map[string]any{"aud": "x"}, jws.Wrong, "aud"},
		{"exp missing", map[string]any{"exp": nil}, jws.Missing, "exp"},
		{"iat missing", map[string]any{"iat": nil}, jws.Missing, "iat"},
		{"life of 299 s", map[string]any{"exp": seconds(299 * time.Second)}, jws.Lifetime, "exp"},
		{"life of 300 s", map[string]any{"exp": seconds(300 * time.Second)}, "", ""},
		{"life of 900 s", map[string]any{"exp": seconds(900 * time.Second)}, "", ""},
		{"life of 901 s", map[string]any{"exp": seconds(901 * time.Second)}, jws.Lifetime, "exp"},
		{"expired", map[string]any{"iat": seconds(-11 * time.Minute), "exp": seconds(-61 * time.Second)}, jws.Expired, "exp"},
		{"not yet valid", map[string]any{"iat": seconds(2 * time.Minute)}, jws.NotYetValid, "iat"},
		{"jti missing", map[string]any{"jti": nil}, jws.Missing, "jti"},
		{"client_id missing", map[string]any{"client_id": nil}, jws.Missing, "client_id"},
		{"client_id empty", map[string]any{"client_id": ""}, jws.Wrong, "client_id"},
		{"scope missing", map[string]any{"scope": nil}, jws.Missing, "scope"},
		{"scope a list", map[string]any{"scope": []string{"payments"}}, "", ""},
		{"scope an empty list", map[string]any{"scope": []string{}}, jws.Wrong, "scope"},
		{"scope a list with a number", map[string]any{"scope": []any{"payments", 1}}, jws.Wrong, "scope"},
		{"scope a list with a space", map[string]any{"scope": []string{"openid payments"}}, jws.Wrong, "scope"},
		{"scope of a consent", map[string]any{"scope": "openid recurring-consent:urn:bank:C1 recurring-payments"}, jws.Wrong, "scope"},
		{"grant missing", map[string]any{"grant_type": nil}, jws.Missing, "grant_type"},
		{"grant bound to a consent", map[string]any{"grant_type": "authorization_code"}, jws.Wrong, "grant_type"},
		{"cnf missing", map[string]any{"cnf": nil}, jws.Missing, "cnf.x5t#S256"},
		{"cnf a string", map[string]any{"cnf": "x"}, jws.Missing, "cnf.x5t#S256"},
		{"cnf of another kind", map[string]any{"cnf": map[string]any{"jkt": "x"}}, jws.Missing, "cnf.x5t#S256"},
		{"thumbprint empty", cnf(""), jws.Wrong, "cnf.x5t#S256"},
		{"thumbprint null", cnf(nil), jws.Wrong, "cnf.x5t#S256"},
		{"thumbprint with padding", cnf(base64.URLEncoding.EncodeToString(sum[:])), jws.Wrong, "cnf.x5t#S256"},
		{"thumbprint with a line break", cnf(base64.RawURLEncoding.EncodeToString(sum[:]) + "\n"), jws.Wrong, "cnf.x5t#S256"},
		{"thumbprint in hex", cnf(fmt.Sprintf("%x", sum)), jws.Wrong, "cnf.x5t#S256"},
		{"thumbprint by SHA-1", cnf(base64.RawURLEncoding.EncodeToString(sum[:20])), jws.Wrong, "cnf.x5t#S256"},
	})
}

func TestTheGrantMayStandInAnotherClaim(t *testing.T) {
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	v := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, GrantClaim: "gty", Now: at(noon)}
	_, err := v.Verify(t.Context(), issue(t, keyOne(), "k1", with(accessClaims(), map[string]any{"grant_type": nil, "gty": "client_credentials"})))
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), issue(t, keyOne(), "k1", accessClaims()))
	refusedFor(t, err, jws.Missing, "gty")
}

func TestClaimsOfSoftwareStatements(t *testing.T) {
	runClaims(t, judges()[2], []claimCase{
		{"iat missing", map[string]any{"iat": nil}, jws.Missing, "iat"},
		{"5 min old", map[string]any{"iat": seconds(-5 * time.Minute)}, "", ""},
		{"older than 5 min", map[string]any{"iat": seconds(-5*time.Minute - time.Second)}, jws.TooOld, "iat"},
		{"60 s ahead", map[string]any{"iat": seconds(time.Minute)}, "", ""},
		{"61 s ahead", map[string]any{"iat": seconds(61 * time.Second)}, jws.NotYetValid, "iat"},
		{"expired", map[string]any{"exp": seconds(-time.Minute)}, jws.Expired, "exp"},
		{"software_id missing", map[string]any{"software_id": nil}, jws.Missing, "software_id"},
		{"software_id a number", map[string]any{"software_id": 5}, jws.Wrong, "software_id"},
		{"org_id missing", map[string]any{"org_id": nil}, jws.Missing, "org_id"},
		{"iss missing, not configured", map[string]any{"iss": nil}, "", ""},
		{"URIs a string", map[string]any{"software_api_webhook_uris": "https://a.example"}, jws.Wrong, "software_api_webhook_uris"},
		{"URIs with null", map[string]any{"software_api_webhook_uris": []any{nil}}, jws.Wrong, "software_api_webhook_uris"},
		{"unknown claims of any type", map[string]any{"software_flags": map[string]any{"a": []int{1}}}, "", ""},
	})
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	v := jws.StatementVerifier{Keys: keys, Issuer: "the Directory", Now: at(noon)}
	_, err := v.Verify(issue(t, keyOne(), "k1", statementClaims()))
	refusedFor(t, err, jws.Wrong, "iss")
	_, err = v.Verify(issue(t, keyOne(), "k1", with(statementClaims(), map[string]any{"iss": "the Directory"})))
	require.NoError(t, err)
}

func runClaims(t *testing.T, j judge, cases []claimCase) {
	t.Helper()
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			token := issue(t, keyOne(), "k1", with(j.claims(), c.change))
			err := j.verify(keys, token)
			if c.code == "" {
				require.NoError(t, err)
				return
			}
			refusedFor(t, err, c.code, c.claim, token, "evil")
		})
	}
}

// FuzzToken feeds headers and claims that are rightly signed, and the text as it is: nothing may panic, and nothing but
// the good token may pass.
func FuzzToken(f *testing.F) {
	keys := fixed(f, map[string]*rsa.PrivateKey{"k1": keyOne()})
	for _, j := range judges() {
		token := issue(f, keyOne(), "k1", j.claims())
		parts := strings.Split(token, ".")
		header, _ := base64.RawURLEncoding.DecodeString(parts[0])
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		f.Add(string(header), string(payload), token)
	}
	f.Add(`{"alg":"none"}`, `{"iat":1e308,"exp":-1}`, "..")
	f.Add(`{"alg":"PS256","kid":"k1","crit":[]}`, `[[[[`, "e30.e30.")
	f.Fuzz(func(t *testing.T, header, payload, text string) {
		sign := pss(t, keyOne())
		encode := base64.RawURLEncoding.EncodeToString
		input := encode([]byte(header)) + "." + encode([]byte(payload))
		token := input + "." + encode(sign(input))
		for _, j := range judges() {
			require.Empty(t, cost.Parser.Within(len(token), func() { _ = j.verify(keys, token) }))
			if err := j.verify(keys, "x"+text); err == nil {
				t.Fatalf("%s: a text with something before it passes", j.name)
			}
		}
		if _, err := jws.Verify(input+".", keys); err == nil {
			t.Fatal("no signature passes")
		}
	})
}
