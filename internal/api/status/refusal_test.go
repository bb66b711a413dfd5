package status_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
)

// withToken asks with another token.
func withToken(token string) func(*http.Request) { return with("Authorization", "Bearer "+token) }

func set(name string, value any) func(map[string]any) {
	return func(c map[string]any) { c[name] = value }
}

func drop(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }

// lives ends a token so many seconds after it was issued.
func lives(seconds int64) func(map[string]any) {
	return func(c map[string]any) { c["exp"] = c["iat"].(int64) + seconds }
}

// TestABadTokenIsRefused is case J1 and J2, against a resource that the token would open if it were good.
func TestABadTokenIsRefused(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	now := time.Now()
	public, err := x509.MarshalPKIXPublicKey(&mtlstest.PKI(t).Tokens.Key.PublicKey)
	require.NoError(t, err)
	foreign := mtlstest.PKI(t).Internal

	token := func(edit ...func(map[string]any)) func(*http.Request) { return withToken(d.alfa.token(edit...)) }
	for name, bad := range map[string]func(*http.Request){
		"no header":             without("Authorization"),
		"another scheme":        with("Authorization", "Basic YTpi"),
		"empty":                 with("Authorization", "Bearer "),
		"two headers":           func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		"not a JWT":             withToken("abc"),
		"64 KiB":                withToken(strings.Repeat("a", 64<<10)),
		"expired":               token(set("iat", now.Add(-20*time.Minute).Unix()), set("exp", now.Add(-10*time.Minute).Unix())),
		"not yet valid":         token(set("iat", now.Add(5*time.Minute).Unix()), set("exp", now.Add(15*time.Minute).Unix())),
		"wrong issuer":          token(set("iss", "https://auth.outro.example.com")),
		"wrong audience":        token(set("aud", "https://outro.example.com")),
		"lives 299 s":           token(lives(299)),
		"lives 901 s":           token(lives(901)),
		"no jti":                token(drop("jti")),
		"no client":             token(drop("client_id")),
		"no grant":              token(drop("grant_type")),
		"authorization code":    token(set("grant_type", "authorization_code")),
		"not bound":             token(drop("cnf")),
		"bound to another":      token(set("cnf", map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(make([]byte, 32))})),
		"unknown kid":           withToken(issue(t, foreign, "nobody", d.alfa)),
		"foreign key, our kid":  withToken(issue(t, foreign, mtlstest.PKI(t).Tokens.KID, d.alfa)),
		"alg none":              withToken(forged(t, `{"alg":"none","kid":"`+mtlstest.PKI(t).Tokens.KID+`"}`, d.alfa, nil)),
		"HS256 with public key": withToken(forged(t, `{"alg":"HS256","kid":"`+mtlstest.PKI(t).Tokens.KID+`"}`, d.alfa, public)),
		"jku":                   withToken(forged(t, `{"alg":"PS256","kid":"x","jku":"https://127.0.0.1:1/keys"}`, d.alfa, nil)),
		"in the query": func(r *http.Request) {
			r.URL.RawQuery = "access_token=" + d.alfa.token()
			r.Header.Del("Authorization")
		},
		"in both": func(r *http.Request) { r.URL.RawQuery = "Access%5Ftoken=x" },
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			d.requireRefused(d.alfa.get(path, bad), http.StatusUnauthorized, "UNAUTHORIZED", id)
		})
	}
	d.t = t
	d.requireRefused(d.alfa.get(path, token(set("scope", "openid consents"))), http.StatusForbidden, "FORBIDDEN", id)
	d.requireRefused(d.alfa.get(path, token(set("scope", "recurring-payments"))), http.StatusForbidden, "FORBIDDEN", id)
	d.open(d.alfa.get(path, token(set("scope", "openid payments")))) // the desk would have answered
}

func issue(t *testing.T, key *certs.NamedKey, kid string, p *poller) string {
	t.Helper()
	token, err := jws.Issue(key.Key, kid, claimsOf(t, p))
	require.NoError(t, err)
	return token
}

func claimsOf(t *testing.T, p *poller) map[string]any {
	t.Helper()
	var c map[string]any
	require.NoError(t, json.Unmarshal(unbase64(t, strings.Split(p.token(), ".")[1]), &c))
	return c
}

func forged(t *testing.T, header string, p *poller, key []byte) string {
	t.Helper()
	claims, err := json.Marshal(claimsOf(t, p))
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(claims) + "." +
		base64.RawURLEncoding.EncodeToString(key)
}

// TestAReplayedTokenIsRefusedOnAnotherCertificate: stolen with its own software's identity, and with another's.
func TestAReplayedTokenIsRefusedOnAnotherCertificate(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	stolen := d.alfa.token()
	d.requireRefused(d.beta.get(path, withToken(stolen)), http.StatusUnauthorized, "UNAUTHORIZED")
	renewed := newPoller(t, d, clientAlfa, certs.DefaultAlfa) // same identity, another certificate
	d.requireRefused(renewed.get(path, withToken(stolen)), http.StatusUnauthorized, "UNAUTHORIZED")
	d.open(renewed.get(path))
}

// TestARememberedTokenEndsWithItsRegistration: a token that was accepted is refused by the first query after its client's registration
// ended, and it never serves on another certificate.
func TestARememberedTokenEndsWithItsRegistration(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path, token := "/open-banking/payments/v4/pix/payments/"+id, d.alfa.token()
	for range 2 {
		d.open(d.alfa.get(path, withToken(token)))
		d.requireRefused(d.beta.get(path, withToken(token)), http.StatusUnauthorized, "UNAUTHORIZED", id)
	}
	require.NoError(t, d.store.DeleteInitiator(t.Context(), clientAlfa, "test"))
	d.requireRefused(d.alfa.get(path, withToken(token)), http.StatusUnauthorized, "INVALID_CLIENT", id)
	d.register(d.alfa)
	d.open(d.alfa.get(path, withToken(token)))
}

// TestACertificateThatIsNotTheClientsIsRefused is the part of case H2 that a handshake cannot see.
func TestACertificateThatIsNotTheClientsIsRefused(t *testing.T) {
	d := openDesk(t).register(desk0Alfa)
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id

	d.requireRefused(d.beta.get(path), http.StatusUnauthorized, "INVALID_CLIENT", id) // no registration
	impostor := newPoller(t, d, clientAlfa, certs.DefaultBeta)                        // alfa's name, beta's certificate
	d.requireRefused(impostor.get(path), http.StatusUnauthorized, "INVALID_CLIENT", id)
	other := certs.DefaultAlfa
	other.SoftwareID = uuid.NewString() // alfa's organisation, other software
	d.requireRefused(newPoller(t, d, clientAlfa, other).get(path), http.StatusUnauthorized, "INVALID_CLIENT", id)
	profile := mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa)
	profile.SoftwareID = ""
	nameless := pollerWith(t, d, clientAlfa, certs.DefaultAlfa, mtlstest.Leaf(t, profile))
	d.requireRefused(nameless.get(path), http.StatusUnauthorized, "INVALID_CLIENT", id)

	stranger := mtlstest.Leaf(t, mtlstest.PKI(t).Spoil(mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa), certs.WrongOrganisation))
	d.requireRefused(pollerWith(t, d, clientAlfa, certs.DefaultAlfa, stranger).get(path), http.StatusUnauthorized, "INVALID_CLIENT", id)
	profile = mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa)
	profile.OldStyle, profile.ReverseOrder = true, true
	old := pollerWith(t, d, clientAlfa, certs.DefaultAlfa, mtlstest.Leaf(t, profile))
	d.open(old.get(path)) // organisation in OU, attributes in the other order

	require.NoError(t, d.store.DeleteInitiator(t.Context(), clientAlfa, "test"))
	d.requireRefused(d.alfa.get(path), http.StatusUnauthorized, "INVALID_CLIENT", id)
}

// desk0Alfa registers as alfa without a poller of its own.
var desk0Alfa = &poller{client: clientAlfa, is: certs.DefaultAlfa}

func TestACertificateTheListenerDoesNotKnowGetsNoAnswer(t *testing.T) {
	d := openDesk(t).both()
	pki := mtlstest.PKI(t)
	spoiled := map[string]certs.Profile{"server's": pki.InitiatorServer(certs.DefaultAlfa)}
	for _, defect := range certs.Defects() {
		switch defect {
		case certs.Revoked, certs.WrongOrganisation, certs.WrongName, certs.CommonNameOnly:
			continue // package mtls's, the test above, and a client's DNS name is nobody's concern
		}
		spoiled[string(defect)] = pki.Spoil(pki.InitiatorBRCAC(certs.DefaultAlfa), defect)
	}
	for name, profile := range spoiled {
		p := pollerWith(t, d, clientAlfa, certs.DefaultAlfa, mtlstest.Leaf(t, profile))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+d.addr+"/", nil)
		require.NoError(t, err)
		_, err = p.http.Do(r)
		require.Error(t, err, name)
	}
}

// TestTheInteractionIDIsEchoedOrGenerated is case J3.
func TestTheInteractionIDIsEchoedOrGenerated(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	const name = "x-fapi-interaction-id"

	d.requireRefused(d.alfa.get(path, without(name)), http.StatusBadRequest, "PARAMETRO_NAO_INFORMADO")
	d.requireRefused(d.alfa.get(path, with(name, "")), http.StatusBadRequest, "PARAMETRO_NAO_INFORMADO")
	for _, bad := range []string{"abc", strings.Repeat("f", 10<<10), uuid.NewString() + "x", "{" + uuid.NewString() + "}", "<script>alert(1)</script>"} {
		a := d.alfa.get(path, with(name, bad))
		d.requireRefused(a, http.StatusBadRequest, "PARAMETRO_INVALIDO", bad)
		require.NotEqual(t, bad, a.header.Get(name))
	}
	twice := func(r *http.Request) { r.Header.Add(name, uuid.NewString()) }
	d.requireRefused(d.alfa.get(path, twice), http.StatusBadRequest, "PARAMETRO_INVALIDO")

	upper := strings.ToUpper(uuid.Must(uuid.NewV7()).String()) // any version, either case
	require.Equal(t, upper, d.alfa.get(path, with(name, upper)).header.Get(name))
	for _, elsewhere := range []string{"/", "/open-banking/payments/v5", "/open-banking/payments/v3/consents/urn:a:b", "/healthz"} {
		sent := uuid.NewString()
		a := d.alfa.get(elsewhere, with(name, sent), without("Authorization"))
		d.requireRefused(a, http.StatusNotFound, "NOT_FOUND")
		require.Equal(t, sent, a.header.Get(name))
		d.requireRefused(d.alfa.get(elsewhere, without(name)), http.StatusNotFound, "NOT_FOUND")
	}
	a := d.alfa.get(path, with(name, upper), withToken("bad"))
	d.requireRefused(a, http.StatusUnauthorized, "UNAUTHORIZED")
	require.Equal(t, upper, a.header.Get(name))

	for _, e := range d.entries() {
		require.NotEmpty(t, e.interaction, "every poll is found by an interaction id")
	}
}

// TestChecksComeInTheOrderOfTheRules holds each check against all that come after it: a request with every fault from one
// on is refused for the first (status-apis §1.6).
func TestChecksComeInTheOrderOfTheRules(t *testing.T) {
	d := openDesk(t).both()
	foreign, document := sample(ofb.PixPayment, "v5", ofb.ACSC, 1)
	d.accept(clientBeta, ofb.PixPayment, "v5", 1, document)
	mine, document := sample(ofb.PixPayment, "v5", ofb.ACSC, 2)
	d.accept(clientAlfa, ofb.PixPayment, "v5", 1, document)
	const payments = "/open-banking/payments/v4/pix/payments/"
	noScope := withToken(d.alfa.token(set("scope", "openid")))
	impostor := newPoller(t, d, clientAlfa, certs.DefaultBeta)
	impostorNoScope := withToken(impostor.token(set("scope", "openid")))

	d.requireRefused(impostor.get(payments+"bad_id", without("x-fapi-interaction-id"), withToken("bad")), 400, "PARAMETRO_NAO_INFORMADO")
	d.requireRefused(impostor.get(payments+"bad_id", withToken("bad")), 401, "UNAUTHORIZED")
	d.requireRefused(impostor.get(payments+"bad_id", impostorNoScope), 401, "INVALID_CLIENT")
	d.requireRefused(d.alfa.get(payments+"bad_id", noScope), 403, "FORBIDDEN")
	d.requireRefused(d.alfa.get(payments+foreign, noScope), 403, "FORBIDDEN")
	d.requireRefused(d.alfa.get(payments+"bad_id"), 400, "PARAMETRO_INVALIDO")
	d.requireRefused(d.alfa.get(payments+openapitest.SampleID(ofb.PixPayment, 99)), 404, "NOT_FOUND")
	d.requireRefused(d.alfa.get(payments+foreign), 400, "PARAMETRO_INVALIDO", foreign)
	d.requireRefused(d.alfa.get(payments+mine), 400, "PARAMETRO_INVALIDO", mine) // created in v5, asked through v4
	d.open(d.alfa.get(strings.Replace(payments, "v4", "v5", 1) + mine))

	reasons := map[string]int{}
	for _, e := range d.entries() {
		reasons[e.facts.Reason]++
	}
	require.Equal(t, 1, reasons["another client's resource"], "%v", reasons)
	require.Equal(t, 1, reasons["created under a newer version"], "%v", reasons)
}

func TestWhatIsAcceptedIsAJWT(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	for _, good := range []string{
		"", "application/jwt", "application/jwt; charset=utf-8", "application/jwt;charset=UTF-8", "*/*", "application/*", "application/json",
		"application/json, application/*+json, */*", "text/html, application/jwt;q=0.1", "APPLICATION/JWT",
	} {
		d.open(d.alfa.get(path, func(r *http.Request) { r.Header["Accept"] = []string{good} }))
	}
	d.open(d.alfa.get(path, with("Content-Type", "application/json")))
	for _, bad := range []string{"text/html", "application/xml", "application/jwt;q=0", "application/jwt; charset=iso-8859-1", "jwt", "*/*;q=0.0, text/plain"} {
		d.requireRefused(d.alfa.get(path, with("Accept", bad)), http.StatusNotAcceptable, "NOT_ACCEPTABLE")
	}
	d.requireRefused(d.alfa.get(path, with("Accept-Charset", "iso-8859-1")), http.StatusNotAcceptable, "NOT_ACCEPTABLE")
	d.open(d.alfa.get(path, with("Accept-Charset", "iso-8859-1, utf-8;q=0.5")))
}

func TestOnlyGETIsKnown(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
		a := d.alfa.get(path, func(r *http.Request) { r.Method = method })
		d.requireRefused(a, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
		require.Equal(t, "GET", a.header.Get("Allow"))
	}
	a := d.alfa.get(path, func(r *http.Request) { r.Method = http.MethodHead })
	require.Equal(t, http.StatusMethodNotAllowed, a.status)
	require.Empty(t, a.body)
	d.open(d.alfa.get(path, with("X-HTTP-Method-Override", "DELETE"))) // says nothing to us
}

// TestPathsAreReadOnceAndAsTheyAre is case H6 as far as it reaches a handler, and H7.
func TestPathsAreReadOnceAndAsTheyAre(t *testing.T) {
	d := openDesk(t).both()
	const odd = "urn:banco:a/b?c#d(e)+f%41,g;h=i@j$k!l*m'n"
	d.accept(clientAlfa, ofb.PaymentConsent, "v4", 1, openapitest.Document(ofb.PaymentConsent, "v4", ofb.Rejected, odd))
	once := "/open-banking/payments/v4/consents/" + ofb.EscapeID(odd)
	s := d.open(d.alfa.get(once))
	require.Contains(t, string(s.Data), "a/b?c#d")
	require.Equal(t, statusBase+once, s.Links["self"])
	twice := strings.ReplaceAll(once, "%", "%25")
	d.requireRefused(d.alfa.raw(twice), http.StatusNotFound, "NOT_FOUND") // decoded once it is another id

	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	for path, status := range map[string]int{
		"/open-banking/payments/v4/pix/payments/..;/" + id:                               404,
		"/open-banking/payments/v4/pix/payments/../payments/" + id:                       404,
		"/open-banking/payments/v4/pix/payments/%2e%2e%2fpayments%2f" + id:               400,
		"/open-banking//payments/v4/pix/payments/" + id:                                  404,
		"/open-banking/payments/v4/pix/payments/" + id + "/":                             404,
		"/open-banking/payments/V4/pix/payments/" + id:                                   404,
		"/open-banking/payments/v4/pix/payments/" + id + "%00":                           400,
		"/open-banking/payments/v4/pix/payments/" + id + "%0d%0aX:%20y":                  400,
		"/open-banking/payments/v4/pix/payments/'%20OR%201=1--":                          400,
		"/open-banking/payments/v4/pix/payments/%E2%80%AE" + id:                          400,
		"/open-banking/payments/v4/pix/payments/" + strings.Repeat("a", 101):             400,
		"/open-banking/payments/v4/consents/" + strings.Repeat("a", 300):                 400,
		"/open-banking/payments/v4/pix/payments/" + id + "?a=%zz":                        400,
		"/open-banking/payments/v4/pix/payments/" + id + "?a;b":                          400,
		"/open-banking/payments/v4/pix/payments/" + id + "?" + strings.Repeat("x", 2000): 400,
	} {
		code := map[int]string{400: "PARAMETRO_INVALIDO", 404: "NOT_FOUND"}[status]
		d.requireRefused(d.alfa.raw(path), status, code, "OR 1=1")
	}
	d.requireRefused(d.alfa.raw("http://outro.example.com/open-banking/payments/v4/pix/payments/"+id), 400, "PARAMETRO_INVALIDO")
	a := d.alfa.raw("/open-banking/payments/v4/pix/payments/"+id, "Host: outro.example.com", "X-Forwarded-Host: x", "X-SSL-Cert: y",
		"X-Real-IP: 10.1.1.1", "X-Forwarded-For: 10.1.1.1")
	require.Equal(t, statusBase+"/open-banking/payments/v4/pix/payments/"+id, d.open(a).Links["self"])
	entries := d.entries()
	require.Contains(t, entries[len(entries)-1].facts.Source, "127.0.0.1:", "the socket's address, not a header's")
}

// raw sends a request line as it is, which Go's client would not.
func (p *poller) raw(target string, lines ...string) answer {
	p.t.Helper()
	conn, err := tls.Dial("tcp", p.d.addr, mtlstest.InitiatorConfig(p.t, p.leaf))
	require.NoError(p.t, err)
	defer conn.Close()
	host := "Host: api.banco.example.com\r\n"
	for _, l := range lines {
		if strings.HasPrefix(l, "Host:") {
			host = ""
		}
	}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\n%sAuthorization: Bearer %s\r\nx-fapi-interaction-id: %s\r\n%s\r\n", target, host, p.token(),
		uuid.NewString(), strings.Join(append(lines, ""), "\r\n"))
	require.NoError(p.t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(p.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return answer{response.StatusCode, response.Header, body}
}

// TestARequestWithABodyIsRefusedAndItsConnectionEnds: whatever follows on the connection is not parsed (cases H6).
func TestARequestWithABodyIsRefusedAndItsConnectionEnds(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v4", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, document)
	path := "/open-banking/payments/v4/pix/payments/" + id
	smuggled := "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, framing := range map[string]string{
		"length":           fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
		"CL.TE":            fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", len(smuggled)+5, smuggled),
		"chunked":          "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + smuggled,
		"TE.TE":            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
		"two lengths":      "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello" + smuggled,
		"length with sign": "Content-Length: +3\r\n\r\nabc" + smuggled,
	} {
		conn, err := tls.Dial("tcp", d.addr, mtlstest.InitiatorConfig(t, d.alfa.leaf))
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nx-fapi-interaction-id: %s\r\n%s", path, d.alfa.token(),
			uuid.NewString(), framing)
		require.NoError(t, err)
		in := bufio.NewReader(conn)
		response, err := http.ReadResponse(in, nil)
		require.NoError(t, err, name)
		_, err = io.ReadAll(response.Body)
		require.NoError(t, err, name)
		require.Contains(t, []int{400, 415, 501}, response.StatusCode, name)
		_, err = http.ReadResponse(in, nil)
		require.Error(t, err, "%s: a second answer on the same connection", name)
		conn.Close()
	}
}

func TestWithoutAVerifierOnDutyTheAnswerIs503(t *testing.T) {
	d := openDesk(t, func(c *status.PublicConfig, _ *spool.Config) { c.Tokens = offDuty{} }).both()
	a := d.alfa.get("/open-banking/payments/v4/pix/payments/" + openapitest.SampleID(ofb.PixPayment, 1))
	d.requireRefused(a, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

// TestAnErasedDocumentIsAnsweredAsAnUnknownId: its owner gets 404, a stranger 400 as before, and lists are without it.
func TestAnErasedDocumentIsAnsweredAsAnUnknownId(t *testing.T) {
	d := openDesk(t).both()
	id, document := sample(ofb.PixPayment, "v5", ofb.ACSC, 1)
	d.accept(clientAlfa, ofb.PixPayment, "v5", 1, document)
	path := "/open-banking/payments/v5/pix/payments/" + id
	d.open(d.alfa.get(path))
	conn, err := pgx.Connect(t.Context(), d.url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "UPDATE arauto.resource SET document = '' WHERE id = $1", id)
	require.NoError(t, err)
	d.requireRefused(d.alfa.get(path), http.StatusNotFound, "NOT_FOUND")
	d.requireRefused(d.beta.get(path), http.StatusBadRequest, "PARAMETRO_INVALIDO")
	entries := d.entries()
	require.Equal(t, "404", entries[1].outcome, "the refusal is a poll on record")
}
