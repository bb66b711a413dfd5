package stage

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/mtls"
)

// Brand is one of several brands of a stage, with all that must never be another one's.
type Brand struct {
	Name     string
	Original bool
	Host     string // of its status endpoints
	KID      string // of its signing key
	Server   string // id of its authorisation server
	Is       certs.Organisation

	tokens *certs.NamedKey
	seal   *certs.NamedKey
	files  map[string]string // of its certificates and keys, by name

	mu      sync.Mutex
	serials []string // of the certificates that receivers were or are shown, hexadecimal
}

// Owns reports whether a certificate for receivers with a serial number, hexadecimal, was issued to the brand.
func (b *Brand) Owns(serial string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.serials, serial)
}

// File is where the brand's certificate "server" or "brcac" is; its key has the same name and ends with .key.
func (b *Brand) File(name string) string { return b.files[name] + ".pem" }

// BaseURL is what links of its answers begin with.
func (b *Brand) BaseURL() string { return "https://" + b.Host }

// ofBrands are the settings that stand in the brands and no longer at the top.
var ofBrands = []string{
	"ARAUTO_PUBLIC_BASE_URL=", "ARAUTO_PUBLIC_TLS_", "ARAUTO_ORGANISATION_ID=", "ARAUTO_AUTHORISATION_SERVER_ID=", "ARAUTO_SIGNING_", "ARAUTO_TOKENS_",
	"ARAUTO_WEBHOOK_TLS_",
}

// TwoBrands makes ouro, the original brand, and prata, writes their certificates and keys, and has every replica that starts from now on serve
// them. Command must start the product with the arguments it is given and no others.
func (s *Stage) TwoBrands() (ouro, prata *Brand, err error) {
	ouro = &Brand{Name: "ouro", Original: true, Host: "api.ouro.example.com", KID: "ouro-1", Server: "as-ouro", Is: s.PKI.Options().Holder, tokens: s.PKI.Tokens, seal: s.PKI.Directory}
	prata = &Brand{
		Name: "prata", Host: "api.prata.example.com", KID: "prata-1", Server: "as-prata", tokens: s.PKI.Internal, seal: s.PKI.Tokens,
		Is: certs.Organisation{ID: "0c9be7d4-1f52-4a8f-9d1e-6b7a58c3e2f0", Name: "Banco Prata SA", CNPJ: "55666777000130"},
	}
	ouro.files = map[string]string{"seal": s.path("pki", "directory", "directory.key"), "tokens": s.path("pki", "tokens", "jwks.json"), "directory": s.path("pki", "directory", "jwks.json")}
	prata.files = map[string]string{"seal": s.path("pki", "tokens", "tokens.key"), "tokens": s.path("pki", "internal", "jwks.json"), "directory": s.path("pki", "tokens", "jwks.json")}
	text := "brands:\n"
	for _, b := range []*Brand{ouro, prata} {
		if err := s.certify(b); err != nil {
			return nil, nil, err
		}
		text += b.item()
	}
	s.brandFile = s.path("brands.yaml")
	if err := os.WriteFile(s.brandFile, []byte(text), 0o600); err != nil {
		return nil, nil, fmt.Errorf("write the brands: %w", err)
	}
	return ouro, prata, nil
}

// certify issues and writes what a brand shows to initiators and to receivers.
func (s *Stage) certify(b *Brand) error {
	shown := s.PKI.HolderBRCAC()
	shown.Organisation, shown.CommonName, shown.DNSNames = b.Is, b.Host, []string{b.Host}
	leaves, err := s.PKI.IssueAll(s.PKI.Server(b.Is, b.Host), shown)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.serials = append(b.serials, leaves[1].Certificate.SerialNumber.Text(16))
	b.mu.Unlock()
	for i, name := range []string{"server", "brcac"} {
		at := s.path(b.Name + "-" + name)
		if err := leaves[i].WriteFiles(at+".pem", at+".key"); err != nil {
			return err
		}
		b.files[name] = at
	}
	return nil
}

// Renew gives a brand new certificates and keys, where the replicas read them.
func (s *Stage) Renew(b *Brand) error { return s.certify(b) }

// item is the brand in the settings' file.
func (b *Brand) item() string {
	return fmt.Sprintf(`  - name: %s
    original: %t
    holder: {organisation_id: %s, authorisation_server_id: %s}
    public: {base_url: %q, tls_cert: %[6]s.pem, tls_key: %[6]s.key}
    signing: {key: %s, kid: %s}
    tokens: {issuer: https://as.%[1]s.example.com, audience: %[1]s, jwks: %[9]s}
    directory: {jwks: %[10]s}
    webhook: {tls_cert: %[11]s.pem, tls_key: %[11]s.key}
`, b.Name, b.Original, b.Is.ID, b.Server, b.BaseURL(), b.files["server"], b.files["seal"], b.KID, b.files["tokens"], b.files["directory"], b.files["brcac"])
}

// withBrands takes out of an environment what belongs to a brand.
func (s *Stage) withBrands(environment []string) []string {
	if s.brandFile == "" {
		return environment
	}
	return slices.DeleteFunc(environment, func(setting string) bool {
		return slices.ContainsFunc(ofBrands, func(prefix string) bool { return strings.HasPrefix(setting, prefix) })
	})
}

// BrandAsker is one initiator that asks one of several brands, and writes down whatever it is answered.
type BrandAsker struct {
	*Asker

	of     *Brand
	client string
}

// AskBrand makes an initiator ready to ask a brand, by its server name. It takes a signature of any of the brands: BrandRecord.Check judges
// which one it was.
func (s *Stage) AskBrand(of *Brand, all []*Brand, facts certs.Participant, certificate tls.Certificate) (*BrandAsker, error) {
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %s: %w", facts.Name, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.PKI.Root.Certificate)
	a := NewAsker(AskerConfig{
		Certificate: certificate, Roots: roots, ServerName: of.Host, Organisation: facts.Organisation.ID,
		Key: func(kid string) *rsa.PublicKey {
			for _, b := range all {
				if b.KID == kid {
					return &b.seal.Key.PublicKey
				}
			}
			return nil
		},
	})
	a.stage, a.thumb = s, mtls.Thumbprint(leaf)
	return &BrandAsker{a, of, facts.Name}, nil
}

// Token makes an access token of the brand for a client of this initiator.
func (a *BrandAsker) Token(client string) (string, error) {
	now := time.Now()
	return jws.Issue(a.of.tokens.Key, a.of.tokens.KID, map[string]any{
		"iss": "https://as." + a.of.Name + ".example.com", "aud": a.of.Name, "iat": now.Unix(), "exp": now.Add(TokenLife).Unix(), "jti": NewInteraction(),
		"client_id": client, "scope": "payments recurring-payments", "grant_type": "client_credentials", "cnf": map[string]string{"x5t#S256": a.thumb},
	})
}

// Ask puts one status query to a replica. answered is false when nothing came that could be judged: no answer, or 503 or 504.
func (a *BrandAsker) Ask(ctx context.Context, replica *Replica, path string) (got BrandAnswer, answered bool, err error) {
	token, err := a.Token(a.client)
	if err != nil {
		return got, false, err
	}
	got = BrandAnswer{Brand: a.of, Client: a.client, Path: path, At: time.Now(), Interaction: NewInteraction()}
	reading, err := a.Read(ctx, Query{replica.Public, token, got.Interaction, path})
	var refusal *Refusal
	var other x509.HostnameError
	switch {
	case errors.As(err, &other):
		got.Shown = strings.Join(other.Certificate.DNSNames, " ")
	case errors.As(err, &refusal):
		got.Status = refusal.Status
		return got, refusal.Status < http.StatusInternalServerError, nil
	case errors.Is(err, ErrAnswer):
		got.Problem = err.Error()
	case err != nil:
		return got, false, nil //nolint:nilerr // no answer came, as of a replica that is killed
	default:
		got.Status, got.KID, got.Issuer, got.Self = http.StatusOK, reading.KID, reading.Issuer, reading.Self
		got.Shown, _, _ = strings.Cut(reading.Shown, " ") // localhost follows
		got.State, _ = reading.Data["status"].(string)
	}
	return got, true, nil
}
