package conformance

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
)

// Deployment names a gateway that runs already, and everything that the suite's role needs before it. Files of tokens and statements
// are read again at each use, so that the bank's own tools may renew them.
type Deployment struct {
	Internal      string // base address of the internal API, http or https
	InternalCA    string // PEM file; "": the system's authorities
	InternalToken string // file with a bearer token of the roles ingest and registrar

	Public     string // host:port of the status endpoints
	PublicCA   string // PEM file; "": the system's authorities
	PublicName string // in the certificate; "": the host of Public
	Keys       string // JWKS file with the keys that sign answers

	OrganisationID        string // of the holder
	AuthorisationServerID string // of the holder, in enrolment notifications

	Client           string // registered for the suite; "" in development: one for each module
	Certificate, Key string // the initiator's BRCAC, PEM files; organisation and software are read from it
	AccessToken      string // file with an access token of Client
	Statement        string // file with its software statement; "": none is sent, which development profiles allow

	Listen                       string // address of the receiver, host:port
	Base                         string // the webhook address that the statement lists; "" in development: that of Listen
	ServerCertificate, ServerKey string // of the receiver, PEM files
	ClientCA                     string // authorities of the holder's certificate, PEM file

	PKI, Initiator string // folder of a development PKI that replaces files, tokens and statements, and which initiator of it
}

// Open starts the receiver and connects the suite. The caller closes it.
func (d Deployment) Open() (s *Suite, end func(), err error) {
	development, err := d.develop()
	if err != nil {
		return nil, nil, err
	}
	if err := d.complete(); err != nil {
		return nil, nil, err
	}
	identity, who, err := d.identity()
	if err != nil {
		return nil, nil, err
	}
	receiver, err := d.receiver()
	if err != nil {
		return nil, nil, err
	}
	bearer := func() (string, error) { return word(d.InternalToken) }
	if development != nil && d.InternalToken == "" {
		bearer = development.bearer
	}
	gateway, err := d.gateway(identity, who, bearer)
	if err != nil {
		receiver.Close()
		return nil, nil, err
	}
	if development != nil {
		development.sign(gateway, mtls.Thumbprint(identity.Leaf))
	}
	s = &Suite{
		Holder: gateway, Receiver: receiver, Base: cmp.Or(d.Base, receiver.BaseURI("")), OrganisationID: gateway.OrganisationID, SoftwareID: gateway.SoftwareID,
		AuthorisationServerID: d.AuthorisationServerID, Client: d.Client,
	}
	return s, func() { gateway.Asker.Close(); receiver.Close() }, nil
}

// OpenStatus connects an initiator to the status endpoints alone. Only what these need must be named. The caller closes it.
func (d Deployment) OpenStatus() (ask func(context.Context, Query) (stage.Reading, error), end func(), err error) {
	development, err := d.develop()
	if err != nil {
		return nil, nil, err
	}
	err = d.named([]need{
		{"--public", d.Public},
		{"--holder-keys", d.Keys},
		{"--organisation-id", d.OrganisationID},
		{"--cert", d.Certificate},
		{"--key", d.Key},
		{"--access-token", d.AccessToken},
	})
	if err != nil {
		return nil, nil, err
	}
	identity, who, err := d.identity()
	if err != nil {
		return nil, nil, err
	}
	g := &Gateway{Public: d.Public, OrganisationID: who.OrganisationID, SoftwareID: who.SoftwareID, Token: d.token}
	if g.Asker, err = d.asker(identity, who); err != nil {
		return nil, nil, err
	}
	if development != nil && d.AccessToken == "" {
		development.sign(g, mtls.Thumbprint(identity.Leaf))
	}
	return g.Ask, g.Asker.Close, nil
}

// identity reads the initiator's certificate, and who it is.
func (d *Deployment) identity() (tls.Certificate, mtls.Caller, error) {
	identity, err := tls.LoadX509KeyPair(d.Certificate, d.Key)
	if err != nil {
		return identity, mtls.Caller{}, fmt.Errorf("--cert: %w", err)
	}
	who, err := mtls.CallerOf(identity.Leaf)
	if err != nil {
		return identity, who, fmt.Errorf("--cert: %w", err)
	}
	return identity, who, nil
}

func (d *Deployment) token(string) (string, error) { return word(d.AccessToken) }

// ErrIncomplete says that something is not named.
var ErrIncomplete = errors.New("is not set")

// complete reports the first thing that is missing.
func (d *Deployment) complete() error {
	return d.named([]need{
		{"--internal", d.Internal},
		{"--internal-token", d.InternalToken},
		{"--public", d.Public},
		{"--holder-keys", d.Keys},
		{"--organisation-id", d.OrganisationID},
		{"--cert", d.Certificate},
		{"--key", d.Key},
		{"--access-token", d.AccessToken},
		{"--base-uri", d.Base},
		{"--server-cert", d.ServerCertificate},
		{"--server-key", d.ServerKey},
		{"--client-ca", d.ClientCA},
		{"--client", d.Client},
	})
}

// need is a flag that must have a value.
type need struct{ flag, value string }

// named reports the first flag that has no value. A development PKI replaces some.
func (d *Deployment) named(needs []need) error {
	for _, one := range needs {
		mayMiss := d.PKI != "" && (one.flag == "--internal-token" || one.flag == "--access-token" || one.flag == "--base-uri" || one.flag == "--client")
		if one.value == "" && !mayMiss {
			return fmt.Errorf("%s %w; name it, or a development PKI with --pki", one.flag, ErrIncomplete)
		}
	}
	return nil
}

func (d *Deployment) receiver() (*standin.Initiator, error) {
	server, err := tls.LoadX509KeyPair(d.ServerCertificate, d.ServerKey)
	if err != nil {
		return nil, fmt.Errorf("--server-cert: %w", err)
	}
	clients, err := pool(d.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %w", err)
	}
	return standin.Start(standin.Options{Addr: d.Listen, Certificate: server, ClientCAs: clients})
}

// gateway is the holder of this deployment.
func (d *Deployment) gateway(identity tls.Certificate, who mtls.Caller, bearer func() (string, error)) (*Gateway, error) {
	internal, err := pool(d.InternalCA)
	if err != nil {
		return nil, fmt.Errorf("--internal-ca: %w", err)
	}
	asker, err := d.asker(identity, who)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: internal}, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	g := &Gateway{
		Core:   stage.NewCore(strings.TrimSuffix(d.Internal, "/"), bearer, &http.Client{Timeout: 30 * time.Second, Transport: transport}),
		Asker:  asker,
		Public: d.Public, OrganisationID: who.OrganisationID, SoftwareID: who.SoftwareID, Name: "conformance",
		Token: d.token,
		Statement: func([]string) (string, error) {
			if d.Statement == "" {
				return "", nil
			}
			return word(d.Statement)
		},
	}
	return g, nil
}

// asker asks the status endpoints of this deployment.
func (d *Deployment) asker(identity tls.Certificate, who mtls.Caller) (*stage.Asker, error) {
	public, err := pool(d.PublicCA)
	if err != nil {
		return nil, fmt.Errorf("--public-ca: %w", err)
	}
	keys, err := readKeys(d.Keys)
	if err != nil {
		return nil, fmt.Errorf("--holder-keys: %w", err)
	}
	return stage.NewAsker(stage.AskerConfig{
		Certificate: identity, Roots: public, ServerName: d.PublicName, Holder: d.OrganisationID, Organisation: who.OrganisationID,
		Key: func(kid string) *rsa.PublicKey { return keys[kid] },
	}), nil
}

// word reads a file that holds one word.
func word(file string) (string, error) {
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

// pool reads authorities; nil without a file.
func pool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil stands for the system's authorities
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return authorities, nil
}

// readKeys reads the RSA keys of a JWKS file, by kid. This side verifies with the standard library alone.
func readKeys(file string) (map[string]*rsa.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%s is no JWKS: %w", file, err)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		n, errN := base64.RawURLEncoding.DecodeString(k.N)
		e, errE := base64.RawURLEncoding.DecodeString(k.E)
		if errN != nil || errE != nil || len(n) == 0 || len(e) == 0 || len(e) > 4 {
			continue // no RSA key
		}
		keys[k.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no RSA key", file)
	}
	return keys, nil
}

// development signs what a bank's own systems sign, with the keys of a development PKI.
type development struct {
	tokens, directory, internal *rsa.PrivateKey
	manifest                    certs.FolderManifest
}

// develop fills what is not named from a development PKI; nil without one.
func (d *Deployment) develop() (*development, error) {
	if d.PKI == "" {
		return nil, nil //nolint:nilnil // no PKI, nothing to sign with
	}
	at := func(name string) string { return filepath.Join(d.PKI, filepath.FromSlash(name)) }
	who := "initiators/" + cmp.Or(d.Initiator, certs.DefaultAlfa.Name) + "/"
	d.Certificate, d.Key = cmp.Or(d.Certificate, at(who+"brcac.pem")), cmp.Or(d.Key, at(who+"brcac.key"))
	d.ServerCertificate, d.ServerKey = cmp.Or(d.ServerCertificate, at(who+"server.pem")), cmp.Or(d.ServerKey, at(who+"server.key"))
	d.ClientCA, d.PublicCA = cmp.Or(d.ClientCA, at("trust/clients.pem")), cmp.Or(d.PublicCA, at("trust/roots.pem"))
	d.Keys, d.PublicName = cmp.Or(d.Keys, at("holder/jwks.json")), cmp.Or(d.PublicName, "localhost")
	d.AuthorisationServerID = cmp.Or(d.AuthorisationServerID, stage.AuthorisationServerID)
	text, err := os.ReadFile(at("pki.json"))
	if err != nil {
		return nil, fmt.Errorf("--pki: %w", err)
	}
	out := &development{}
	if err := json.Unmarshal(text, &out.manifest); err != nil {
		return nil, fmt.Errorf("--pki: %w", err)
	}
	d.OrganisationID = cmp.Or(d.OrganisationID, out.manifest.OrganisationID)
	for name, key := range map[string]**rsa.PrivateKey{"tokens/tokens.key": &out.tokens, "directory/directory.key": &out.directory, "internal/internal.key": &out.internal} {
		if *key, err = mtls.LoadKey(at(name)); err != nil {
			return nil, fmt.Errorf("--pki: %w", err)
		}
	}
	return out, nil
}

// bearer signs a token of the bank's own.
func (v *development) bearer() (string, error) {
	return stage.BankToken(v.internal, v.manifest.InternalKID, "conformance", "ingest", "registrar")
}

// sign has tokens and statements signed with the keys of the PKI. The names of issuers and audiences are those of the demo.
func (v *development) sign(g *Gateway, thumbprint string) {
	g.Token = func(client string) (string, error) {
		return stage.AccessToken(v.tokens, v.manifest.TokensKID, client, thumbprint)
	}
	g.Statement = func(uris []string) (string, error) {
		return jws.Issue(v.directory, v.manifest.DirectoryKID, map[string]any{
			"iss": "development directory", "iat": time.Now().Unix(), "jti": uuid.NewString(), "org_id": g.OrganisationID, "software_id": g.SoftwareID,
			"software_api_webhook_uris": uris,
		})
	}
}
