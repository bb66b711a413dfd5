package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/mtls"
)

// RevocationSettings says how certificates of one direction are judged beyond their chain: public.… of initiators that ask,
// webhook.… of receivers. OCSP, when on, comes first and the lists are its fallback; without it the lists are asked
// alone; what remains is the soft-fail window (webhook §7.4). Without lists and OCSP nothing is judged.
type RevocationSettings struct {
	CRL           []string      `yaml:"crl" env:"CRL"`
	CRLTTL        time.Duration `yaml:"crl_ttl" env:"CRL_TTL"`
	CRLRefresh    time.Duration `yaml:"crl_refresh" env:"CRL_REFRESH"`
	OCSP          bool          `yaml:"ocsp" env:"OCSP"`
	OCSPResponder string        `yaml:"ocsp_responder" env:"OCSP_RESPONDER"`
	OCSPTTL       time.Duration `yaml:"ocsp_ttl" env:"OCSP_TTL"`
	SoftFail      time.Duration `yaml:"soft_fail" env:"SOFT_FAIL"`
}

// ProxySettings names the bank's own proxy that ends the initiators' TLS before us (security §4.6). Without its CA there is none,
// and no header says anything about certificates.
type ProxySettings struct {
	ProxyCA           string   `yaml:"proxy_ca" env:"CA"`
	ProxyFingerprints []string `yaml:"proxy_fingerprints" env:"FINGERPRINTS"`
	ProxySubjectOrg   string   `yaml:"proxy_subject_org" env:"SUBJECT_ORG"`
	ProxyPreset       string   `yaml:"proxy_preset" env:"PRESET"`
	ProxyHeader       string   `yaml:"proxy_header" env:"HEADER"`
	ProxyProtocol     []string `yaml:"proxy_protocol" env:"PROTOCOL"`
}

func standardRevocation() RevocationSettings {
	return RevocationSettings{CRLTTL: 24 * time.Hour, CRLRefresh: 15 * time.Minute, OCSPTTL: time.Hour, SoftFail: mtls.MinSoftFail}
}

// checkTrust judges the settings of revocation and of the proxy.
func (c *Config) checkTrust(p *Problems) {
	c.Public.RevocationSettings.check(p, "public.")
	c.Webhook.RevocationSettings.check(p, "webhook.")
	x := &c.Public.ProxySettings
	switch {
	case x.ProxyCA == "" && (len(x.ProxyFingerprints) > 0 || x.ProxySubjectOrg != "" || x.ProxyHeader != "" || x.ProxyPreset != ""):
		p.Add("public.proxy_ca", "is not set, but another setting of the proxy is", "name the authorities of the proxy's own certificate, or omit all settings of the proxy")
	case x.ProxyCA != "" && len(x.ProxyFingerprints) == 0 && x.ProxySubjectOrg == "":
		p.Add("public.proxy_fingerprints", "is not set, nor is public.proxy_subject_org", "set one of them: it names the proxy's certificate among those of public.proxy_ca")
	}
	if x.ProxyPreset != "" && !slices.Contains(mtls.ProxyPresets(), x.ProxyPreset) {
		p.Add("public.proxy_preset", "is %q", "use one of "+strings.Join(mtls.ProxyPresets(), ", "), x.ProxyPreset)
	}
	if _, err := x.Balancers(); err != nil {
		p.Add("public.proxy_protocol", "%v", "write CIDRs of balancers, such as 10.0.4.0/24", err)
	}
}

// Balancers parses the networks whose connections begin with the PROXY protocol. The error names what is not a CIDR; there is none
// once Check has passed.
func (x *ProxySettings) Balancers() ([]netip.Prefix, error) { return prefixes(x.ProxyProtocol) }

func (r *RevocationSettings) check(p *Problems, prefix string) {
	within := func(key string, value, least, most time.Duration, why string) {
		if value < least || value > most {
			p.Add(prefix+key, "is %s", "it must be from "+least.String()+" to "+most.String()+why, value)
		}
	}
	within("crl_ttl", r.CRLTTL, 5*time.Minute, 7*24*time.Hour, "")
	within("crl_refresh", r.CRLRefresh, time.Minute, 24*time.Hour, "")
	within("ocsp_ttl", r.OCSPTTL, time.Minute, 24*time.Hour, "")
	within("soft_fail", r.SoftFail, mtls.MinSoftFail, mtls.MaxSoftFail, ": a limited window of at least an hour")
	if r.CRLRefresh > r.CRLTTL {
		p.Add(prefix+"crl_refresh", "is longer than "+prefix+"crl_ttl", "use a shorter one: a list must be fetched before it expires")
	}
	for key, addresses := range map[string][]string{"crl": r.CRL, "ocsp_responder": {r.OCSPResponder}} {
		for _, address := range addresses {
			if u, err := url.Parse(address); err == nil && u.Host != "" && u.User != nil {
				p.Add(prefix+key, "names a URL with a user", "remove the user: evidence of revocation is public, and pages, metrics and logs show where it comes from")
			}
		}
	}
	if r.OCSPResponder != "" && !r.OCSP {
		p.Add(prefix+"ocsp_responder", "is set and "+prefix+"ocsp is not", "switch it on, or omit the responder")
	}
}
