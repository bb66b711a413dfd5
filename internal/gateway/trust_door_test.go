package gateway

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/mtls"
)

// TestOnlyTheConfiguredProxyMaySayWhoseCertificateItIs is cases H7 on a whole gateway.
func TestOnlyTheConfiguredProxyMaySayWhoseCertificateItIs(t *testing.T) {
	bank, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err)
	edge, err := bank.Issue(bank.HolderBRCAC())
	require.NoError(t, err)
	other, err := bank.Issue(bank.HolderBRCAC())
	require.NoError(t, err)
	h := openAs(t, func(h *house) []string {
		require.NoError(t, os.WriteFile(h.file("trust/proxy.pem"), certs.CertPEM(bank.ClientCA.Certificate), 0o600))
		return []string{"ARAUTO_PUBLIC_PROXY_CA=" + h.file("trust/proxy.pem"), "ARAUTO_PUBLIC_PROXY_FINGERPRINTS=" + mtls.Fingerprint(edge.Certificate)}
	})
	h.initiator(certs.DefaultAlfa)
	h.initiator(certs.DefaultBeta)
	id, _ := h.change(certs.DefaultAlfa)
	alfa, beta := h.poller(certs.DefaultAlfa), h.poller(certs.DefaultBeta)
	claim := func(leaf certs.Leaf) string {
		return ":" + base64.StdEncoding.EncodeToString(leaf.Certificate.Raw) + ":"
	}
	ask := func(p *poller, headers ...string) int {
		t.Helper()
		status, _, _, err := p.get(id, headers...)
		require.NoError(t, err)
		return status
	}
	require.Equal(t, http.StatusOK, ask(alfa), "directly, as before")

	// through makes a request with alfa's token on a connection that shows somebody's certificate.
	through := func(leaf certs.Leaf) *poller {
		p := h.pollerWith(certs.DefaultAlfa, leaf, func(*tls.Config) {})
		p.leaf = alfa.leaf // to which the token is bound
		return p
	}
	proxy := through(edge)
	require.Equal(t, http.StatusOK, ask(proxy, "Client-Cert", claim(alfa.leaf)), "RFC 9440")
	require.Equal(t, http.StatusOK, ask(proxy, "client-cert", claim(alfa.leaf)), "in any case of letters")
	require.Equal(t, http.StatusUnauthorized, ask(proxy), "the proxy itself is no initiator")
	require.Equal(t, http.StatusUnauthorized, ask(proxy, "Client-Cert", claim(beta.leaf)), "the token is bound to alfa's")
	require.Equal(t, http.StatusUnauthorized, ask(proxy, "Client-Cert", claim(alfa.leaf), "Client-Cert", claim(alfa.leaf)), "two are none")
	require.Equal(t, http.StatusUnauthorized, ask(proxy, "X-SSL-Cert", claim(alfa.leaf)), "another header says nothing")
	spoilt := h.leaf(h.pki.Spoil(h.pki.InitiatorBRCAC(certs.DefaultAlfa), certs.OtherCA))
	require.Equal(t, http.StatusUnauthorized, ask(proxy, "Client-Cert", claim(spoilt)))
	require.NotEmpty(t, h.log.lines("certificate from the proxy refused", "does not verify"))

	thief := through(beta.leaf)
	require.Equal(t, http.StatusUnauthorized, ask(thief, "Client-Cert", claim(alfa.leaf)), "another initiator with a stolen token")
	require.Equal(t, http.StatusOK, ask(alfa, "Client-Cert", claim(beta.leaf)), "the header of a direct client is not read")
	_, _, _, err = through(other).get(id, "Client-Cert", claim(alfa.leaf))
	require.Error(t, err, "another certificate of the proxy's authority does not get through the handshake")

	polls := h.entries("poll")
	require.NotEmpty(t, polls)
	shown := map[string]bool{}
	for _, p := range polls {
		fingerprint, _ := p["certificateFingerprint"].(string)
		shown[fingerprint] = true
		source, _ := p["source"].(string)
		require.True(t, strings.HasPrefix(source, "127.0.0.1:"), "the socket's address: %v", p)
	}
	require.True(t, shown[mtls.Fingerprint(alfa.leaf.Certificate)])
	require.False(t, shown[mtls.Fingerprint(edge.Certificate)], "never in the proxy's name")
}

func TestSettingsOfTrustAreJudgedWithKeyReasonAndCure(t *testing.T) {
	for setting, want := range map[string]string{
		"ARAUTO_PUBLIC_PROXY_CA=/x":           "public.proxy_fingerprints (ARAUTO_PUBLIC_PROXY_FINGERPRINTS)",
		"ARAUTO_PUBLIC_PROXY_SUBJECT_ORG=x":   "public.proxy_ca (ARAUTO_PUBLIC_PROXY_CA)",
		"ARAUTO_PUBLIC_SOFT_FAIL=30m":         "public.soft_fail (ARAUTO_PUBLIC_SOFT_FAIL): is 30m0s",
		"ARAUTO_WEBHOOK_SOFT_FAIL=25h":        "webhook.soft_fail (ARAUTO_WEBHOOK_SOFT_FAIL): is 25h0m0s",
		"ARAUTO_WEBHOOK_CRL_TTL=1m":           "webhook.crl_ttl",
		"ARAUTO_WEBHOOK_CRL_REFRESH=48h":      "webhook.crl_refresh",
		"ARAUTO_PUBLIC_OCSP_TTL=25h":          "public.ocsp_ttl",
		"ARAUTO_PUBLIC_OCSP_RESPONDER=http:x": "public.ocsp_responder",
	} {
		c, err := config.Read("", []string{setting})
		require.NoError(t, err)
		require.ErrorContains(t, c.Check(), want, setting)
	}
	c, err := config.Read("", nil)
	require.NoError(t, err)
	for _, key := range []string{"crl_ttl", "soft_fail", "proxy"} {
		require.NotContains(t, c.Check().Error(), key, "defaults are in order")
	}
	file := t.TempDir() + "/arauto.yaml"
	require.NoError(t, os.WriteFile(file, []byte("public:\n  crl: [a.crl]\n  soft_fail: 2h\nwebhook:\n  crl: [b.crl]\n  ocsp: true\n"), 0o600))
	c, err = config.Read(file, []string{"ARAUTO_WEBHOOK_CRL_TTL=6h"})
	require.NoError(t, err)
	origin := map[string]string{}
	for _, e := range c.Effective() {
		origin[e.Key] = e.Env + " " + e.Value + " " + e.Origin
	}
	require.Equal(t, "ARAUTO_PUBLIC_SOFT_FAIL 2h0m0s file", origin["public.soft_fail"])
	require.Equal(t, "ARAUTO_WEBHOOK_CRL_TTL 6h0m0s environment", origin["webhook.crl_ttl"])
	require.Equal(t, "ARAUTO_WEBHOOK_SOFT_FAIL 1h0m0s default", origin["webhook.soft_fail"])
	require.Equal(t, "ARAUTO_WEBHOOK_CRL b.crl file", origin["webhook.crl"])
}
