package mtls_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// The forms in which proxies write a certificate.
func bare(leaf certs.Leaf) string {
	return base64.StdEncoding.EncodeToString(leaf.Certificate.Raw)
}

func folded(leaf certs.Leaf, by string) string {
	return strings.ReplaceAll(strings.TrimSpace(string(certs.CertPEM(leaf.Certificate))), "\n", by)
}

func xfcc(leaf certs.Leaf) string {
	return `By=spiffe://bank/gateway;Hash=` + mtls.Fingerprint(leaf.Certificate) + `;Cert="` + escaped(leaf) + `";Subject="CN=alfa\", Inc; x,O=Alfa"`
}

func escapedChain(leaf certs.Leaf) string {
	return url.PathEscape(string(certs.CertPEM(leaf.Certificate, leaf.Issuer.Certificate)))
}

func bareChain(leaf certs.Leaf) string {
	return bare(leaf) + "," + base64.StdEncoding.EncodeToString(leaf.Issuer.Certificate.Raw)
}

// behind is a question to callers behind a proxy of a preset: what becomes of a value of its header.
func behind(t *testing.T, o mtls.ProxyOptions, header string) func(value string) (string, error) {
	t.Helper()
	own := bank(t)
	proxy := issue(t, own, own.HolderBRCAC())
	o.Fingerprints = []string{mtls.Fingerprint(proxy.Certificate)}
	callers := proxied(t, own, o)
	return func(value string) (string, error) {
		h := http.Header{}
		h.Set(header, value)
		cs, err := callers.Unwrap(shaken(t, proxy), h)
		require.Empty(t, h, "nothing behind may read it")
		if err != nil {
			require.ErrorIs(t, err, mtls.ErrPeer)
			require.Empty(t, cs.PeerCertificates)
			return "", err
		}
		return mtls.Fingerprint(cs.PeerCertificates[0]), nil
	}
}

func TestEveryPresetReadsWhatItsProxySends(t *testing.T) {
	initiator := mtlstest.Leaf(t, alfa(t))
	for name, c := range map[string]struct {
		preset, header, value string
	}{
		"RFC 9440":                  {"rfc9440", "Client-Cert", rfc9440(initiator)},
		"Envoy":                     {"envoy", "X-Forwarded-Client-Cert", xfcc(initiator)},
		"Envoy, the certificate":    {"envoy", "X-Forwarded-Client-Cert", `cert=` + escaped(initiator)},
		"nginx":                     {"nginx", "X-Ssl-Client-Cert", escaped(initiator)},
		"nginx, all that may be":    {"nginx", "X-Ssl-Client-Cert", strings.NewReplacer("+", "%2B", "=", "%3D").Replace(escaped(initiator))},
		"nginx, $ssl_client_cert":   {"nginx", "X-Ssl-Client-Cert", folded(initiator, " ")},
		"nginx, with tabs":          {"nginx", "X-Ssl-Client-Cert", folded(initiator, "\t")},
		"HAProxy":                   {"haproxy", "X-Ssl-Client-Cert", bare(initiator)},
		"Traefik":                   {"traefik", "X-Forwarded-Tls-Client-Cert", bare(initiator)},
		"Traefik, the chain":        {"traefik", "X-Forwarded-Tls-Client-Cert", bareChain(initiator)},
		"Traefik, an older one":     {"traefik", "X-Forwarded-Tls-Client-Cert", url.QueryEscape(bare(initiator))},
		"AWS":                       {"aws-alb", "X-Amzn-Mtls-Clientcert-Leaf", escaped(initiator)},
		"AWS, the chain":            {"aws-alb", "X-Amzn-Mtls-Clientcert-Leaf", escapedChain(initiator)},
		"without a preset":          {"", "Client-Cert", escaped(initiator)},
		"without a preset, the RFC": {"", "Client-Cert", rfc9440(initiator)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := behind(t, mtls.ProxyOptions{Preset: c.preset}, c.header)(c.value)
			require.NoError(t, err)
			require.Equal(t, mtls.Fingerprint(initiator.Certificate), got)
			got, err = behind(t, mtls.ProxyOptions{Preset: c.preset, Header: "x-bank-certificate"}, "X-Bank-Certificate")(c.value)
			require.NoError(t, err)
			require.Equal(t, mtls.Fingerprint(initiator.Certificate), got)
		})
	}
}

// TestAWrongFormIsNamedWithTheSettingThatGivesAGoodOne, and with the preset that reads it where there is one.
func TestAWrongFormIsNamedWithTheSettingThatGivesAGoodOne(t *testing.T) {
	initiator := mtlstest.Leaf(t, alfa(t))
	other := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultBeta))
	for name, c := range map[string]struct {
		preset, header, value string
		says                  []string
	}{
		"bare base64 for nginx": {"nginx", "X-Ssl-Client-Cert", bare(initiator), []string{"the form is base64 of DER", "expected is PEM with percent escapes", "$ssl_client_escaped_cert", "haproxy or traefik"}},
		"PEM for HAProxy":       {"haproxy", "X-Ssl-Client-Cert", escaped(initiator), []string{"the form is PEM with percent escapes", "%[ssl_c_der,base64]", "aws-alb or nginx"}},
		"XFCC for RFC 9440":     {"rfc9440", "Client-Cert", xfcc(initiator), []string{"the form is elements of XFCC", "public.proxy_preset to envoy"}},
		"RFC 9440 for Traefik":  {"traefik", "X-Forwarded-Tls-Client-Cert", rfc9440(initiator), []string{"between two colons", "passTLSClientCert", "rfc9440"}},
		"folded PEM, no preset": {"", "Client-Cert", folded(initiator, " "), []string{"instead of line breaks", "public.proxy_preset", "nginx"}},
		"a subject":             {"nginx", "X-Ssl-Client-Cert", "CN=alfa,O=Alfa", []string{"a subject, which is no certificate", "$ssl_client_escaped_cert"}},
		"a fingerprint":         {"haproxy", "X-Ssl-Client-Cert", mtls.Fingerprint(initiator.Certificate), []string{"a fingerprint, which is no certificate", "ssl_c_der"}},
		"base64 of PEM":         {"haproxy", "X-Ssl-Client-Cert", base64.StdEncoding.EncodeToString(certs.CertPEM(initiator.Certificate)), []string{"base64 of a PEM text", "ssl_c_der"}},
		"nothing":               {"nginx", "X-Ssl-Client-Cert", "", []string{"sent no certificate", "$ssl_client_escaped_cert"}},
		"XFCC without Cert":     {"envoy", "X-Forwarded-Client-Cert", "Hash=" + mtls.Fingerprint(initiator.Certificate) + `;Subject="CN=alfa"`, []string{"it has no Cert", "{cert: true}"}},
		"XFCC, a blank Cert":    {"envoy", "X-Forwarded-Client-Cert", `Hash=aa;Cert="%20"`, []string{"it is blank", "{cert: true}"}},
		"XFCC of two hops":      {"envoy", "X-Forwarded-Client-Cert", xfcc(other) + "," + xfcc(initiator), []string{"it has 2 elements", "SANITIZE_SET"}},
		"XFCC with Cert twice":  {"envoy", "X-Forwarded-Client-Cert", xfcc(other) + ";" + xfcc(initiator), []string{"it has Cert twice"}},
		"XFCC with open quotes": {"envoy", "X-Forwarded-Client-Cert", `Hash=aa;Cert="` + escaped(initiator), []string{"a quote is not closed"}},
		"two clients, Traefik":  {"traefik", "X-Forwarded-Tls-Client-Cert", bare(initiator) + "," + bare(other), []string{"certificate 2 is not an authority's"}},
		"a chain for nginx":     {"nginx", "X-Ssl-Client-Cert", escapedChain(initiator), []string{"more than one certificate"}},
		"cut base64":            {"haproxy", "X-Ssl-Client-Cert", bare(initiator)[:301], []string{"it is not base64"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := behind(t, mtls.ProxyOptions{Preset: c.preset}, c.header)(c.value)
			require.Error(t, err)
			for _, text := range c.says {
				require.ErrorContains(t, err, text)
			}
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), bare(initiator)[40:60], "the header is not repeated")
		})
	}
}

func TestAnUnknownPresetIsRefusedWithThoseThatThereAre(t *testing.T) {
	_, err := mtls.LoadProxy(mtls.ProxyOptions{Organisation: "x", Preset: "squid"})
	require.ErrorContains(t, err, `"squid" is no preset of a proxy; use one of aws-alb, envoy, haproxy, nginx, rfc9440, traefik`)
}

// FuzzPresented feeds headers of any form to every preset: nothing may panic, and nothing but a certificate may come out.
func FuzzPresented(f *testing.F) {
	for _, seed := range []string{":AAAA:", "-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----%0A", "-----BEGIN CERTIFICATE----- AAAA -----END CERTIFICATE-----", `Hash=a;Cert="%`, `Cert="%20"`, `By=\";Cert="x\""`, "MIIB,MIIC", "%zz", ","} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, preset := range append(mtls.ProxyPresets(), "") {
			cert, err := mtls.ReadPresented(preset, value)
			if (err == nil) != (cert != nil) {
				t.Fatalf("%s: %v and %v", preset, cert, err)
			}
		}
	})
}
