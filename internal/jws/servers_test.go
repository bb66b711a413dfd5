package jws_test

import (
	"context"
	"crypto/rsa"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/jws"
)

// serversPage is the page whose table the tests hold to what is verified here.
const serversPage = "../../docs/operations/tokens.md"

// issued is a token of client_credentials, as a server writes it once it is set up as the page says.
type issued struct {
	server string
	claims map[string]any // what differs from a token with every claim; nil: there is none
	grant  jws.GrantProof

	consent map[string]any // what differs again in a token of the same server that a person's consent led to
	claim   string         // which makes it be refused
}

// servers are the servers of the page that no test runs. Each is put together from its vendor's documentation.
var servers = []issued{
	{
		server: "Keycloak 26", grant: jws.GrantByClaim,
		claims:  map[string]any{"sub": "f0a77b46-3f2c-45ae-a1d2-cfe3be01a7f8", "azp": "itp-1", "typ": "Bearer"},
		consent: map[string]any{"grant_type": nil, "sub": "8b1f8a4e-0c55-4d9b-8c55-0cdd0bd6a001", "sid": "s-1"}, claim: "grant_type",
	},
	{
		server: "Ory Hydra 2", grant: jws.GrantBySubject,
		claims:  map[string]any{"grant_type": nil, "sub": "itp-1", "aud": []string{audience}, "ext": map[string]any{}},
		consent: map[string]any{"sub": "a person"}, claim: "sub",
	},
	{
		server: "Spring Authorization Server 1.5", grant: jws.GrantByClaim,
		claims:  map[string]any{"sub": "itp-1", "scope": []string{"openid", "payments"}, "nbf": noon.Unix()},
		consent: map[string]any{"sub": "a person", "grant_type": "authorization_code"}, claim: "grant_type",
	},
	{
		server: "Duende IdentityServer 7", grant: jws.GrantByClaim,
		claims:  map[string]any{"scope": []string{"openid", "payments"}, "nbf": noon.Unix()},
		consent: map[string]any{"sub": "a person", "grant_type": nil}, claim: "grant_type",
	},
	{
		server: "the ecosystem's public mock bank", grant: jws.GrantBySubject,
		claims:  map[string]any{"grant_type": nil, "sub": "itp-1"},
		consent: map[string]any{"sub": "a person", "scope": "openid recurring-consent:urn:bank:C1 recurring-payments"}, claim: "scope",
	},
}

func TestTokensAsServersIssueThemAreAcceptedWithTheSettingsOfThePage(t *testing.T) {
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	for _, s := range servers {
		t.Run(s.server, func(t *testing.T) {
			requireRow(t, s.server, s.grant, "documentation")
			v := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, Grant: s.grant, Now: at(noon)}
			good := with(accessClaims(), s.claims)
			token, err := v.Verify(t.Context(), issue(t, keyOne(), "k1", good))
			require.NoError(t, err)
			require.Equal(t, "itp-1", token.ClientID)
			require.Equal(t, []string{"openid", "payments"}, token.Scopes)

			_, err = v.Verify(t.Context(), issue(t, keyOne(), "k1", with(good, s.consent)))
			var refusal *jws.Refusal
			require.ErrorAs(t, err, &refusal)
			refusedFor(t, err, refusal.Code, s.claim)
		})
	}
}

// requireRow finds a server's row of the page, with the setting and the basis that a test shows.
func requireRow(t *testing.T, server string, grant jws.GrantProof, basis string) {
	t.Helper()
	page, err := os.ReadFile(serversPage)
	require.NoError(t, err)
	row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(server) + ` \|.*$`).FindString(string(page))
	require.NotEmpty(t, row, "%s has no row for %s", serversPage, server)
	require.True(t, strings.HasSuffix(row, "| `"+string(grant)+"` | "+basis+" |"), row)
}

func TestEveryRowOfThePageOfServersIsHeldByATest(t *testing.T) {
	page, err := os.ReadFile(serversPage)
	require.NoError(t, err)
	tested := map[string]bool{nodeProvider: true, goProvider: true}
	for _, s := range servers {
		tested[s.server] = true
	}
	_, table, found := strings.Cut(string(page), "| server |")
	require.True(t, found)
	for _, row := range strings.Split(table, "\n")[2:] {
		if cells := strings.Split(row, " | "); len(cells) > 1 {
			require.True(t, tested[strings.TrimPrefix(cells[0], "| ")], "no test holds the row %s", row)
		}
	}
}

func TestHowAGrantIsKnown(t *testing.T) {
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	for _, c := range []struct {
		name   string
		grant  jws.GrantProof
		change map[string]any
		code   jws.Code
		claim  string
	}{
		{"claim", jws.GrantByClaim, nil, "", ""},
		{"claim missing, though the subject is the client", jws.GrantByClaim, map[string]any{"grant_type": nil, "sub": "itp-1"}, jws.Missing, "grant_type"},
		{"subject", jws.GrantBySubject, map[string]any{"grant_type": nil, "sub": "itp-1"}, "", ""},
		{"subject missing", jws.GrantBySubject, map[string]any{"grant_type": nil}, jws.Missing, "sub"},
		{"subject missing, though a claim says it", jws.GrantBySubject, nil, jws.Missing, "sub"},
		{"subject a person", jws.GrantBySubject, map[string]any{"grant_type": nil, "sub": "ana"}, jws.Wrong, "sub"},
		{"subject in another case", jws.GrantBySubject, map[string]any{"grant_type": nil, "sub": "ITP-1"}, jws.Wrong, "sub"},
		{"subject the client, another grant", jws.GrantBySubject, map[string]any{"grant_type": "authorization_code", "sub": "itp-1"}, jws.Wrong, "grant_type"},
		{"subject the client, bound to a consent", jws.GrantBySubject, map[string]any{"sub": "itp-1", "scope": "consent:urn:bank:C1 payments"}, jws.Wrong, "scope"},
		{"unchecked", jws.GrantUnchecked, map[string]any{"grant_type": nil, "sub": "ana"}, "", ""},
		{"unchecked, another grant", jws.GrantUnchecked, map[string]any{"grant_type": "refresh_token"}, jws.Wrong, "grant_type"},
		{"unchecked, the grant a number", jws.GrantUnchecked, map[string]any{"grant_type": 1}, jws.Wrong, "grant_type"},
		{"unchecked, bound to a consent in a list", jws.GrantUnchecked, map[string]any{"scope": []string{"payments", "enrollment:urn:bank:E1"}}, jws.Wrong, "scope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, Grant: c.grant, Now: at(noon)}
			_, err := v.Verify(t.Context(), issue(t, keyOne(), "k1", with(accessClaims(), c.change)))
			if c.code == "" {
				require.NoError(t, err)
				return
			}
			refusedFor(t, err, c.code, c.claim)
		})
	}
}

func TestAnotherGrantIsRefusedWhicheverClaimNamesIt(t *testing.T) {
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	v := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, GrantClaim: "gty", Now: at(noon)}
	_, err := v.Verify(t.Context(), issue(t, keyOne(), "k1", with(accessClaims(), map[string]any{"grant_type": "authorization_code", "gty": "client_credentials"})))
	refusedFor(t, err, jws.Wrong, "grant_type")
}

// TestIntrospectionMayTellTheGrantOfASignedToken: signature and claims are verified here, the server adds what only it knows.
func TestIntrospectionMayTellTheGrantOfASignedToken(t *testing.T) {
	keys := fixed(t, map[string]*rsa.PrivateKey{"k1": keyOne()})
	signed := issue(t, keyOne(), "k1", with(accessClaims(), map[string]any{"grant_type": nil}))
	for _, c := range []struct {
		name   string
		answer map[string]any
		code   jws.Code
		claim  string
	}{
		{"by claim", map[string]any{"active": true, "grant_type": "client_credentials"}, "", ""},
		{"by subject", map[string]any{"active": true, "sub": "itp-1", "client_id": "itp-1"}, "", ""},
		{"by neither", map[string]any{"active": true, "client_id": "itp-1"}, jws.Missing, "sub"},
		{"a person", map[string]any{"active": true, "sub": "ana", "client_id": "itp-1"}, jws.Wrong, "sub"},
		{"another grant", map[string]any{"active": true, "grant_type": "authorization_code", "sub": "itp-1", "client_id": "itp-1"}, jws.Wrong, "grant_type"},
		{"another client", map[string]any{"active": true, "grant_type": "client_credentials", "client_id": "itp-2"}, jws.Wrong, "client_id"},
		{"revoked", map[string]any{"active": false}, jws.Inactive, ""},
		{"another issuer", map[string]any{"active": true, "grant_type": "client_credentials", "iss": "x"}, jws.Wrong, "iss"},
	} {
		t.Run(c.name, func(t *testing.T) {
			as := &authority{answer: c.answer}
			v := jws.AccessVerifier{
				Keys: keys, Issuer: issuer, Audience: audience, Grant: jws.GrantByIntrospection, Now: at(noon),
				Asker: as.asker(t, jws.GrantByIntrospection, true),
			}
			token, err := v.Verify(t.Context(), signed)
			if c.code != "" {
				refusedFor(t, err, c.code, c.claim, signed)
				return
			}
			require.NoError(t, err)
			require.Equal(t, noon, token.IssuedAt, "the claims are the token's own")
			_, err = v.Verify(t.Context(), signed[:len(signed)-4]+"AAAA")
			refusedFor(t, err, jws.Signature, "")
			require.EqualValues(t, 1, as.asked.Load(), "a forged token is not asked about, a known answer serves")
		})
	}

	as := &authority{status: 500}
	v := jws.AccessVerifier{Keys: keys, Issuer: issuer, Audience: audience, Grant: jws.GrantByIntrospection, Now: at(noon), Asker: as.asker(t, jws.GrantByIntrospection, true)}
	_, err := v.Verify(t.Context(), signed)
	require.ErrorIs(t, err, jws.ErrUnavailable, "nobody is to blame but us")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Verify(ended, signed)
	require.ErrorIs(t, err, jws.ErrUnavailable)
}

// TestAnOpaqueTokenOfAServerThatNamesNoGrant is judged by the subject of the answer.
func TestAnOpaqueTokenOfAServerThatNamesNoGrant(t *testing.T) {
	for _, grant := range []jws.GrantProof{jws.GrantBySubject, jws.GrantByIntrospection} {
		as := &authority{answer: with(active(), map[string]any{"grant_type": nil, "sub": "itp-1"})}
		_, err := as.asker(t, grant, false).Verify(t.Context(), "opaque")
		require.NoError(t, err)
		as.say(with(active(), map[string]any{"grant_type": nil, "sub": "ana"}))
		_, err = as.asker(t, grant, false).Verify(t.Context(), "opaque")
		refusedFor(t, err, jws.Wrong, "sub")
	}
}
