package gateway

import (
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/ofb"
)

// side is one of two brands as its peers see it.
type side struct {
	name, host, kid, server string
	is                      certs.Organisation
	tokens                  *certs.NamedKey
	seal                    *rsa.PrivateKey
}

// brandHouse is a house of two brands: ouro, the original one, and prata.
type brandHouse struct {
	*house
	ouro, prata *side
}

// openBrands starts one. The BRCAC of prata is valid for so long.
func openBrands(t *testing.T, prataFor time.Duration, settings ...string) *brandHouse {
	t.Helper()
	h := &brandHouse{house: &house{t: t, dir: t.TempDir(), url: storetest.Database(t), pki: mtlstest.PKI(t), log: newJournal()}}
	h.ouro = &side{name: "ouro", host: "api.ouro.example.com", kid: "ouro-1", server: "as-ouro", is: certs.DefaultHolder, tokens: h.pki.Tokens, seal: h.pki.Directory.Key}
	h.prata = &side{
		name: "prata", host: "api.prata.example.com", kid: "prata-1", server: "as-prata", tokens: h.pki.Internal, seal: h.pki.Tokens.Key,
		is: certs.Organisation{ID: "0c9be7d4-1f52-4a8f-9d1e-6b7a58c3e2f0", Name: "Banco Prata SA", CNPJ: "55666777000130"},
	}
	writePKI(t, filepath.Join(h.dir, "pki"))
	h.set = &stage.Stage{Dir: h.dir, PKI: h.pki, Database: h.url}
	for _, s := range []*side{h.ouro, h.prata} {
		h.write(s.name+"-server", h.leaf(h.pki.Server(s.is, s.host)))
		h.write(s.name+"-brcac", h.leaf(h.brcac(s)))
	}
	file := filepath.Join(h.dir, "arauto.yaml")
	require.NoError(t, os.WriteFile(file, []byte("brands:\n"+h.item(h.ouro, "tokens", "directory", "true")+h.item(h.prata, "internal", "tokens", "false")), 0o600))
	moved := []string{
		"ARAUTO_PUBLIC_BASE_URL=", "ARAUTO_PUBLIC_TLS_", "ARAUTO_ORGANISATION_ID=", "ARAUTO_AUTHORISATION_SERVER_ID=", "ARAUTO_SIGNING_", "ARAUTO_TOKENS_", "ARAUTO_WEBHOOK_TLS_",
	}
	environ := slices.DeleteFunc(append(append(h.set.Environment(), "ARAUTO_REPLICA=test"), settings...), func(s string) bool {
		return slices.ContainsFunc(moved, func(prefix string) bool { return strings.HasPrefix(s, prefix) })
	})
	cfg, err := config.Read(file, environ)
	require.NoError(t, err)
	if prataFor > 0 {
		p := h.brcac(h.prata)
		p.NotAfter = time.Now().Add(prataFor)
		h.write("prata-brcac", h.leaf(p))
	}
	h.g, err = New(t.Context(), cfg, "test", slog.New(slog.NewJSONHandler(h.log, nil)))
	require.NoError(t, err)
	h.g.watchEvery = lookEvery
	t.Cleanup(func() { _ = h.g.Stop() })
	require.NoError(t, h.g.Start(t.Context()))
	h.core, err = h.set.Core(&stage.Replica{Internal: h.g.Addr("internal")})
	require.NoError(t, err)
	h.ready()
	return h
}

// brcac is the profile of the certificate that a brand shows to receivers.
func (h *brandHouse) brcac(s *side) certs.Profile {
	p := h.pki.HolderBRCAC()
	p.Organisation, p.CommonName, p.DNSNames = s.is, s.host, []string{s.host}
	return p
}

// write puts a certificate and its key into the folder of the test, as a rotation does.
func (h *brandHouse) write(name string, leaf certs.Leaf) {
	h.t.Helper()
	at := filepath.Join(h.dir, name)
	require.NoError(h.t, leaf.WriteFiles(at+".pem", at+".key"))
}

// item is the brand in the settings' file; tokens and directory are folders of the PKI whose key sets it believes.
func (h *brandHouse) item(s *side, tokens, directory, original string) string {
	seal := map[string]string{"ouro": "directory/directory.key", "prata": "tokens/tokens.key"}[s.name]
	return fmt.Sprintf(`  - name: %[1]s
    original: %[2]s
    holder: {organisation_id: %[3]s, authorisation_server_id: %[4]s}
    public: {base_url: "https://%[5]s", tls_cert: %[6]s/%[1]s-server.pem, tls_key: %[6]s/%[1]s-server.key}
    signing: {key: %[7]s, kid: %[8]s}
    tokens: {issuer: https://as.%[1]s.example.com, audience: %[1]s, jwks: %[9]s}
    directory: {jwks: %[10]s}
    webhook: {tls_cert: %[6]s/%[1]s-brcac.pem, tls_key: %[6]s/%[1]s-brcac.key}
`, s.name, original, s.is.ID, s.server, s.host, h.dir, h.file(seal), s.kid, h.file(tokens+"/jwks.json"), h.file(directory+"/jwks.json"))
}

// registerAt registers an initiator at a brand without a statement, which development allows.
func (h *brandHouse) registerAt(s *side, is certs.Participant, uri string) {
	h.t.Helper()
	require.NoError(h.t, h.core.Register(h.t.Context(), is.Name, stage.Registration{
		Brand: s.name, OrganisationID: is.Organisation.ID, SoftwareID: is.SoftwareID, Name: is.Organisation.Name, WebhookURIs: []string{uri},
	}))
}

// payment hands in a payment of a client at a brand.
func (h *brandHouse) payment(s *side, is certs.Participant, id string, state ofb.Status) (stage.Accepted, error) {
	return h.core.Change(h.t.Context(), stage.Change{
		Brand: s.name, Kind: ofb.PixPayment.String(), ClientID: is.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
		Data: openapitest.Document(ofb.PixPayment, "v5", state, id),
	})
}

// at is an initiator that asks one brand.
func (h *brandHouse) at(s *side, is certs.Participant) *poller {
	h.t.Helper()
	return h.pollerWith(is, h.leaf(h.pki.InitiatorBRCAC(is)), func(c *tls.Config) { c.ServerName = s.host })
}

// token is one of a brand's authorization server for a client.
func (h *brandHouse) token(s *side, p *poller, client string) string {
	h.t.Helper()
	now := time.Now()
	text, err := jws.Issue(s.tokens.Key, s.tokens.KID, map[string]any{
		"iss": "https://as." + s.name + ".example.com", "aud": s.name, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": uuid.NewString(),
		"client_id": client, "scope": "payments", "grant_type": "client_credentials", "cnf": map[string]any{"x5t#S256": mtls.Thumbprint(p.leaf.Certificate)},
	})
	require.NoError(h.t, err)
	return text
}

// told is what a signed answer says.
type told struct {
	jwt.RegisteredClaims

	Data struct {
		PaymentID, Status string
	}
	Links struct{ Self string }
}

// ask asks a brand for a payment, and verifies the answer with the brand's key.
func (h *brandHouse) ask(s *side, p *poller, id string) (int, told, string) {
	h.t.Helper()
	status, state, body, err := p.getWith(h.token(s, p, p.is.Name), id)
	require.NoError(h.t, err)
	require.Contains(h.t, state.PeerCertificates[0].DNSNames, s.host)
	var out told
	if status == http.StatusOK {
		token, err := jwt.ParseWithClaims(body, &out, func(*jwt.Token) (any, error) { return s.seal.Public(), nil }, jwt.WithValidMethods([]string{"PS256"}))
		require.NoError(h.t, err, "signed with the brand's key")
		require.Equal(h.t, s.kid, token.Header["kid"])
		require.Equal(h.t, s.is.ID, out.Issuer)
		require.Equal(h.t, "https://"+s.host+"/open-banking/payments/v5/pix/payments/"+id, out.Links.Self)
	}
	return status, out, body
}

// consent hands in a consent and so many payments under it.
func (h *brandHouse) consent(s *side, is certs.Participant, id string, payments int) {
	h.t.Helper()
	change := stage.Change{Brand: s.name, Kind: ofb.PaymentConsent.String(), ClientID: is.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC()}
	change.Data = openapitest.Document(ofb.PaymentConsent, "v5", ofb.Consumed, id)
	_, err := h.core.Change(h.t.Context(), change)
	require.NoError(h.t, err)
	for range payments {
		change.Kind, change.Data = ofb.PixPayment.String(), openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, uuid.NewString(), openapitest.UnderConsent(id))
		_, err := h.core.Change(h.t.Context(), change)
		require.NoError(h.t, err)
	}
}

// read asks a brand for a path of the payments API, and returns the data of a signed answer.
func (h *brandHouse) read(s *side, p *poller, path string) (status int, data any) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "https://"+h.g.Addr("public")+"/open-banking/payments/v5"+path, nil)
	require.NoError(h.t, err)
	r.Header.Set("Authorization", "Bearer "+h.token(s, p, p.is.Name))
	r.Header.Set("x-fapi-interaction-id", uuid.NewString())
	res, err := p.client.Do(r)
	require.NoError(h.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	claims := jwt.MapClaims{}
	if res.StatusCode == http.StatusOK {
		_, err = jwt.ParseWithClaims(string(text), claims, func(*jwt.Token) (any, error) { return s.seal.Public(), nil })
		require.NoError(h.t, err)
		require.Equal(h.t, s.is.ID, claims["iss"])
	}
	return res.StatusCode, claims["data"]
}

// refusalOf is the code of an error and what else of its body does not change from call to call.
func refusalOf(t *testing.T, body string) string {
	t.Helper()
	var e struct {
		Errors []struct{ Code, Title, Detail string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &e), body)
	require.Len(t, e.Errors, 1)
	return fmt.Sprint(e.Errors[0])
}

// TestTwoBrandsOfOneDeploymentAreTwoHolders has one initiator at both brands, with the same client id and the same ids of resources.
func TestTwoBrandsOfOneDeploymentAreTwoHolders(t *testing.T) {
	t.Parallel()
	h := openBrands(t, 0, "ARAUTO_EXTENSION_ENABLED=true")
	alfa, other := certs.DefaultAlfa, certs.DefaultBeta
	receiver, err := standin.Start(standin.Options{Certificate: h.leaf(h.pki.InitiatorServer(alfa)).TLS(), ClientCAs: mtlstest.ClientCAs(t).Pool()})
	require.NoError(t, err)
	t.Cleanup(receiver.Close)
	sides := []*side{h.ouro, h.prata}
	for _, s := range sides {
		h.registerAt(s, alfa, receiver.BaseURI("/"+s.name))
		h.registerAt(s, other, receiver.BaseURI("/other"))
	}

	id, alone := uuid.NewString(), uuid.NewString()
	states := map[*side]ofb.Status{h.ouro: ofb.ACSC, h.prata: ofb.RJCT}
	for _, s := range sides {
		accepted, err := h.payment(s, alfa, id, states[s])
		require.NoError(t, err)
		require.Equal(t, "delivered", h.settled(accepted, 1).State)
	}
	_, err = h.payment(h.ouro, alfa, alone, ofb.ACSC)
	require.NoError(t, err)

	t.Run("each notification goes to the brand's registration under the brand's certificate, and names the bare id", func(t *testing.T) {
		for _, s := range sides {
			requests, err := receiver.Wait(t.Context(), 1, func(r *standin.Request) bool {
				return strings.HasPrefix(r.Target, "/"+s.name+"/") && strings.HasSuffix(r.Target, "/"+id)
			})
			require.NoError(t, err)
			require.Len(t, requests, 1)
			require.Equal(t, []string{s.host}, requests[0].TLS.PeerCertificates[0].DNSNames)
		}
	})
	t.Run("enrolments name the brand's authorisation server", func(t *testing.T) {
		for _, s := range sides {
			urn := "urn:banco:" + uuid.NewString()
			accepted, err := h.core.Change(t.Context(), stage.Change{
				Brand: s.name, Kind: ofb.Enrollment.String(), ClientID: alfa.Name, APIVersion: "v2", Revision: 1, OccurredAt: time.Now().UTC(),
				Data: openapitest.Document(ofb.Enrollment, "v2", ofb.Rejected, urn),
			})
			require.NoError(t, err)
			require.Len(t, accepted.Notifications, 1)
			requests, err := receiver.Wait(t.Context(), 1, func(r *standin.Request) bool { return strings.HasSuffix(r.Target, "/"+urn) })
			require.NoError(t, err)
			require.Equal(t, s.server, requests[0].Get(ofb.HeaderAuthorisationServerID))
		}
	})
	t.Run("each status query is answered by the brand that the handshake asked for", func(t *testing.T) {
		for _, s := range sides {
			status, answer, body := h.ask(s, h.at(s, alfa), id)
			require.Equal(t, http.StatusOK, status, body)
			require.Equal(t, id, answer.Data.PaymentID)
			require.Equal(t, string(states[s]), answer.Data.Status)
		}
	})
	t.Run("another brand's resource is another client's", func(t *testing.T) {
		status, _, body := h.ask(h.prata, h.at(h.prata, alfa), alone)
		require.Equal(t, http.StatusBadRequest, status)
		foreign, _, foreignBody := h.ask(h.ouro, h.at(h.ouro, other), alone)
		require.Equal(t, foreign, status)
		require.Equal(t, refusalOf(t, foreignBody), refusalOf(t, body))
		unknown, _, _ := h.ask(h.prata, h.at(h.prata, alfa), uuid.NewString())
		require.Equal(t, http.StatusNotFound, unknown)
	})
	t.Run("one consent id at both brands is two consents with their own payments", func(t *testing.T) {
		consent, ouros := "urn:banco:"+uuid.NewString(), "urn:banco:"+uuid.NewString()
		h.consent(h.ouro, alfa, consent, 2)
		h.consent(h.prata, alfa, consent, 1)
		h.consent(h.ouro, alfa, ouros, 1)
		for s, items := range map[*side]int{h.ouro: 2, h.prata: 1} {
			status, data := h.read(s, h.at(s, alfa), "/consents/"+consent+"/pix/payments")
			require.Equal(t, http.StatusOK, status)
			require.Len(t, data, items)
			status, _ = h.read(s, h.at(s, alfa), "/consents/"+consent)
			require.Equal(t, http.StatusOK, status)
		}
		shared := "urn:banco:" + uuid.NewString() // ouro is told payments under it alone, and prata the consent
		_, err := h.core.Change(t.Context(), stage.Change{
			Brand: "ouro", Kind: ofb.PixPayment.String(), ClientID: alfa.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
			Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, uuid.NewString(), openapitest.UnderConsent(shared)),
		})
		require.NoError(t, err)
		h.consent(h.prata, alfa, shared, 0)
		status, data := h.read(h.ouro, h.at(h.ouro, alfa), "/consents/"+shared+"/pix/payments")
		require.Equal(t, http.StatusOK, status, "what another brand has changes no list")
		require.Len(t, data, 1)
		for _, path := range []string{"/consents/" + ouros, "/consents/" + ouros + "/pix/payments"} {
			status, _ := h.read(h.prata, h.at(h.prata, alfa), path)
			require.Equal(t, http.StatusBadRequest, status, path)
		}
	})
	t.Run("a token of another brand, or one whose client looks like another brand's, is refused", func(t *testing.T) {
		p := h.at(h.prata, alfa)
		status, _, _, err := p.getWith(h.token(h.ouro, p, alfa.Name), id)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status)
		q := h.at(h.ouro, alfa)
		status, _, _, err = q.getWith(h.token(h.ouro, q, "prata "+alfa.Name), id)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status)
	})
	t.Run("a name that no brand has gets no handshake", func(t *testing.T) {
		for _, name := range []string{"api.cobre.example.com", ""} {
			p := h.pollerWith(alfa, h.leaf(h.pki.InitiatorBRCAC(alfa)), func(c *tls.Config) { c.ServerName = name })
			_, _, _, err := p.getWith("x", id)
			require.ErrorContains(t, err, "unrecognized name", name)
		}
		h.until("the refusals are logged", func() bool { return len(h.log.lines("handshake refused", "no brand has the server name")) == 2 })
	})
	t.Run("the extension shows each brand's own, with bare ids", func(t *testing.T) {
		for _, s := range sides {
			p := h.at(s, alfa)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.g.Addr("public")+"/arauto/v1/events", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+h.token(s, p, alfa.Name))
			r.Header.Set("x-fapi-interaction-id", uuid.NewString())
			res, err := p.client.Do(r)
			require.NoError(t, err)
			defer res.Body.Close()
			require.Equal(t, http.StatusOK, res.StatusCode)
			var feed struct {
				jwt.RegisteredClaims

				Data struct{ Events []struct{ ResourceID string } }
			}
			raw, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			_, err = jwt.ParseWithClaims(string(raw), &feed, func(*jwt.Token) (any, error) { return s.seal.Public(), nil })
			require.NoError(t, err)
			var ids []string
			for _, e := range feed.Data.Events {
				require.NotContains(t, e.ResourceID, " ")
				ids = append(ids, e.ResourceID)
			}
			require.Contains(t, ids, id)
			require.Equal(t, s == h.ouro, slices.Contains(ids, alone))
		}
	})
	t.Run("a change must name its brand, and a brand that there is", func(t *testing.T) {
		for name, code := range map[string]string{"": "required", "cobre": "enum", "Cobre": "pattern"} {
			_, err := h.payment(&side{name: name}, alfa, uuid.NewString(), ofb.ACSC)
			require.ErrorContains(t, err, "422")
			require.ErrorContains(t, err, `"/brand"`)
			require.ErrorContains(t, err, code)
		}
		err := h.core.Register(t.Context(), alfa.Name, stage.Registration{Brand: "cobre", OrganisationID: "o", SoftwareID: "s", Name: "n"})
		require.ErrorContains(t, err, "brand is not known; name one of ouro, prata")
	})
	t.Run("each brand believes its own Directory", func(t *testing.T) {
		uri := []string{receiver.BaseURI("/ouro")}
		statement, err := h.set.Statement(alfa.Organisation.ID, alfa.SoftwareID, uri)
		require.NoError(t, err)
		r := stage.Registration{
			Brand: "prata", OrganisationID: alfa.Organisation.ID, SoftwareID: alfa.SoftwareID, Name: alfa.Organisation.Name, WebhookURIs: uri, SoftwareStatement: statement,
		}
		require.ErrorContains(t, h.core.Register(t.Context(), alfa.Name, r), "invalid_software_statement")
		r.Brand = "ouro"
		require.NoError(t, h.core.Register(t.Context(), alfa.Name, r))
	})
	t.Run("a client id that looks like a key is none, and ending a registration names its brand", func(t *testing.T) {
		r := stage.Registration{Brand: "ouro", OrganisationID: "o", SoftwareID: "s", Name: "n"}
		require.ErrorContains(t, h.core.Register(t.Context(), "prata alfa", r), "two brands")
		require.ErrorContains(t, h.core.Register(t.Context(), "cobre alfa", r), "without spaces")
		require.ErrorContains(t, h.core.Call(t.Context(), http.MethodDelete, "/internal/v1/initiators/"+alfa.Name, nil, nil), "brand is missing")
	})
	t.Run("a registration is read at its brand", func(t *testing.T) {
		for path, uri := range map[string]string{
			alfa.Name: receiver.BaseURI("/ouro"), alfa.Name + "?brand=ouro": receiver.BaseURI("/ouro"), alfa.Name + "?brand=prata": receiver.BaseURI("/prata"), "prata%20" + alfa.Name: receiver.BaseURI("/prata"),
		} {
			var got struct {
				Brand, ClientID string
				WebhookURIs     []string
			}
			require.NoError(t, h.core.Call(t.Context(), http.MethodGet, "/internal/v1/initiators/"+path, nil, &got))
			require.Equal(t, alfa.Name, got.ClientID)
			require.Equal(t, []string{uri}, got.WebhookURIs)
		}
		require.Error(t, h.core.Call(t.Context(), http.MethodGet, "/internal/v1/initiators/"+alfa.Name+"?brand=cobre", nil, nil))
	})
	t.Run("one log has both, apart by their keys", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), h.url)
		require.NoError(t, err)
		defer conn.Close(t.Context())
		rows, err := conn.Query(t.Context(), "SELECT client_id || '|' || resource_id FROM arauto.entry WHERE kind = 'change' AND resource_id LIKE '%' || $1 ORDER BY 1", id)
		require.NoError(t, err)
		keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.Equal(t, []string{"alfa|" + id, "prata alfa|prata " + id}, keys)
	})
	t.Run("an id is found at every brand that has it", func(t *testing.T) {
		var found struct {
			Hits []struct{ ResourceID, ClientID string }
		}
		require.NoError(t, h.core.Call(t.Context(), http.MethodGet, "/internal/v1/find?q="+id, nil, &found))
		var keys []string
		for _, hit := range found.Hits {
			keys = append(keys, hit.ClientID+"|"+hit.ResourceID)
		}
		require.ElementsMatch(t, []string{"alfa|" + id, "prata alfa|prata " + id}, keys)
		require.NoError(t, h.core.Call(t.Context(), http.MethodGet, "/internal/v1/resources/pix-payment/prata%20"+id, nil, nil))
	})
	t.Run("no mix-up while both certificates rotate", func(t *testing.T) { h.rotate(t, receiver, sides) })
}

// rotate replaces both brands' certificates while both notify, and holds every request against the brand of its path.
func (h *brandHouse) rotate(t *testing.T, receiver *standin.Initiator, sides []*side) {
	t.Helper()
	before := len(receiver.Requests())
	const each = 40
	for n := range each {
		for _, s := range sides {
			if n%10 == 5 {
				h.write(s.name+"-brcac", h.leaf(h.brcac(s)))
			}
			_, err := h.payment(s, certs.DefaultAlfa, uuid.NewString(), ofb.ACSC)
			require.NoError(t, err)
		}
	}
	_, err := receiver.Wait(t.Context(), before+each*len(sides), func(*standin.Request) bool { return true })
	require.NoError(t, err)
	for _, r := range receiver.Requests() {
		for _, s := range sides {
			if strings.HasPrefix(r.Target, "/"+s.name+"/") {
				require.Equal(t, []string{s.host}, r.TLS.PeerCertificates[0].DNSNames, r.Target)
			}
		}
	}
}

// TestAnExpiredBrandDelaysNoOther lets the BRCAC of one brand run out.
func TestAnExpiredBrandDelaysNoOther(t *testing.T) {
	t.Parallel()
	h := openBrands(t, 10*time.Second)
	receivers := map[*side]*standin.Initiator{}
	for _, s := range []*side{h.ouro, h.prata} {
		r, err := standin.Start(standin.Options{Certificate: h.leaf(h.pki.InitiatorServer(certs.DefaultAlfa)).TLS(), ClientCAs: mtlstest.ClientCAs(t).Pool()})
		require.NoError(t, err)
		t.Cleanup(r.Close)
		receivers[s] = r
		h.registerAt(s, certs.DefaultAlfa, r.BaseURI("/"+s.name))
	}
	own := h.g.trust.Brands[1].Client
	h.until("the end of the certificate", func() bool { return time.Now().After(own.Current().Leaf.NotAfter) })

	late, err := h.payment(h.prata, certs.DefaultAlfa, uuid.NewString(), ofb.ACSC)
	require.NoError(t, err)
	fine, err := h.payment(h.ouro, certs.DefaultAlfa, uuid.NewString(), ofb.ACSC)
	require.NoError(t, err)
	n := h.settled(fine, 1)
	require.Equal(t, "delivered", n.State, detail(n))
	require.Len(t, n.Attempts, 1)
	n = h.settled(late, 1)
	require.Equal(t, "unknown", *n.Attempts[0].Outcome)
	require.Contains(t, detail(n), "our own certificate has expired")
	require.Zero(t, receivers[h.prata].Connections(), "nothing was tried under another brand's certificate")

	require.Contains(t, h.ops("/readyz"), "brand prata: not ready")
	h.until("readiness, since the other brand works", func() bool {
		res, err := http.Get("http://" + h.g.Addr("ops") + "/readyz")
		require.NoError(t, err)
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// TestBrandsThatTheSettingsLackKeepServeFromStarting starts on a database that has registrations of another brand.
func TestBrandsThatTheSettingsLackKeepServeFromStarting(t *testing.T) {
	t.Parallel()
	h := openBrands(t, 0)
	h.registerAt(h.prata, certs.DefaultAlfa, "https://127.0.0.1:1/x")
	cfg := *h.g.cfg
	cfg.Brands = cfg.Brands[:1]
	cfg.StateDir = t.TempDir()
	g, err := New(t.Context(), &cfg, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Stop() })
	require.ErrorContains(t, g.Start(t.Context()), "brands: the database has registrations of prata")
}
