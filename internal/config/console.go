package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// ConsoleSettings are the settings of the console, the pages for operators and compliance.
type ConsoleSettings struct {
	Addr    string `yaml:"addr" env:"ADDR"`
	BaseURL string `yaml:"base_url" env:"BASE_URL"`
	TLSCert string `yaml:"tls_cert" env:"TLS_CERT"`
	TLSKey  string `yaml:"tls_key" env:"TLS_KEY"`

	OIDC OpenIDSettings `yaml:"oidc" envPrefix:"OIDC_"`

	FourEyes []string `yaml:"four_eyes" env:"FOUR_EYES"`
}

// OpenIDSettings name the provider that signs people in to the console.
type OpenIDSettings struct {
	Issuer           string   `yaml:"issuer" env:"ISSUER"`
	ClientID         string   `yaml:"client_id" env:"CLIENT_ID"`
	ClientSecretFile string   `yaml:"client_secret_file" env:"CLIENT_SECRET_FILE"`
	Scopes           []string `yaml:"scopes" env:"SCOPES"`
	RolesClaim       string   `yaml:"roles_claim" env:"ROLES_CLAIM"`
	ACRValues        []string `yaml:"acr_values" env:"ACR_VALUES"`
}

func standardConsole() ConsoleSettings {
	return ConsoleSettings{OIDC: OpenIDSettings{Scopes: []string{"openid", "profile"}, RolesClaim: "roles"}}
}

// ByTLS tells whether browsers reach the console by TLS: at this process, or at a proxy before it.
func (s *ConsoleSettings) ByTLS() bool {
	u, err := url.Parse(s.BaseURL)
	return s.TLSCert != "" || err == nil && u.Scheme == "https"
}

// noActWaits is the value of console.four_eyes that empties the list also where the default has acts.
const noActWaits = "none"

// fourEyesActs are the acts that may wait for a second person (console, "Four eyes").
var fourEyesActs = []string{"resend", "quarantine", "hold", "registration", "source"}

// FourEyes lists the acts that wait until a second person approves them. Where console.four_eyes is not set, these are resend and
// hold in production, and none in development.
func (c *Config) FourEyes() []string {
	switch {
	case slices.Equal(c.Console.FourEyes, []string{noActWaits}):
		return nil
	case len(c.Console.FourEyes) > 0:
		return c.Console.FourEyes
	case c.Profile == Development:
		return nil
	}
	return []string{"resend", "hold"}
}

func (c *Config) checkConsole(p *Problems) {
	s := &c.Console
	for _, act := range s.FourEyes {
		if !slices.Contains(fourEyesActs, act) && len(c.Console.FourEyes) > 1 || !slices.Contains(append(fourEyesActs, noActWaits), act) {
			p.Add("console.four_eyes", "lists %q", "name acts: "+strings.Join(fourEyesActs, ", ")+", or none alone", act)
		}
	}
	if s.Addr == "" {
		return
	}
	checkAddress(p, "console.addr", s.Addr)
	if (s.TLSCert == "") != (s.TLSKey == "") {
		p.Add("console.tls_cert", "and console.tls_key go together", "set both or neither")
	}
	if host, _, err := net.SplitHostPort(s.Addr); err == nil && s.TLSCert == "" && !loopback(host) {
		p.Add("console.addr", "is %q without a certificate", "listen on 127.0.0.1, or set console.tls_cert and console.tls_key", s.Addr)
	}
	if s.BaseURL != "" && !webOrigin(s.BaseURL) {
		p.Add("console.base_url", "is %q", "write https:// and a host, such as https://arauto.bank.example, without a path; http:// is for loopback addresses", s.BaseURL)
	}
	if s.OIDC.Issuer == "" {
		if c.Profile == Production {
			p.Add("console.oidc.issuer", "is not set", "name the bank's OpenID provider; only profile: development signs people in by a link")
		}
		return
	}
	if !webURL(s.OIDC.Issuer) {
		p.Add("console.oidc.issuer", "is %q", "write the provider's https:// URL; http:// is for loopback addresses", s.OIDC.Issuer)
	}
	if s.OIDC.ClientID == "" {
		p.Add("console.oidc.client_id", "is not set", "name the console's client at the provider")
	}
	if !slices.Contains(s.OIDC.Scopes, "openid") {
		p.Add("console.oidc.scopes", "lacks openid", "add openid: without it the provider gives no ID token")
	}
	if s.OIDC.RolesClaim == "" {
		p.Add("console.oidc.roles_claim", "is empty", "name the claim that lists roles; the default is roles")
	}
	if s.BaseURL == "" {
		p.Add("console.base_url", "is not set", "write the address that browsers use: the provider sends people back to it")
	}
}

// webURL tells an absolute https URL, or an http URL of a loopback address.
func webURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" &&
		(u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

// webOrigin is webURL without a path.
func webOrigin(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && webURL(raw) && u.Path == ""
}
