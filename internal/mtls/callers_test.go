package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// bank is a PKI of the bank's own for its proxy, which initiators have nothing to do with.
func bank(t *testing.T) *certs.PKI {
	t.Helper()
	pki, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err)
	return pki
}

// proxied are callers with a proxy whose certificate the bank issued.
func proxied(t *testing.T, pki *certs.PKI, o mtls.ProxyOptions) *mtls.Callers {
	t.Helper()
	o.Authorities = []string{mtlstest.AnchorsFile(t, pki.ClientCA)}
	p, err := mtls.LoadProxy(o)
	require.NoError(t, err)
	return &mtls.Callers{Authorities: mtlstest.ClientCAs(t), Proxy: p}
}

// shaken is the connection that a handshake with this leaf leaves behind on our side.
func shaken(t *testing.T, leaf certs.Leaf) tls.ConnectionState {
	t.Helper()
	return tls.ConnectionState{PeerCertificates: leaf.Chain(), VerifiedChains: [][]*x509.Certificate{{leaf.Certificate, leaf.Issuer.Certificate}}}
}

func rfc9440(leaf certs.Leaf) string {
	return ":" + base64.StdEncoding.EncodeToString(leaf.Certificate.Raw) + ":"
}

func escaped(leaf certs.Leaf) string {
	return url.PathEscape(string(certs.CertPEM(leaf.Certificate)))
}

func TestOnlyTheProxySpeaksForAnotherAndOnlyWithACertificateThatWouldPassItself(t *testing.T) { // cases H7, security §4.6
	pki := bank(t)
	proxy := issue(t, pki, pki.HolderBRCAC())
	callers := proxied(t, pki, mtls.ProxyOptions{Fingerprints: []string{strings.ToUpper(mtls.Fingerprint(proxy.Certificate))}})
	initiator := mtlstest.Leaf(t, alfa(t))
	ask := func(peer certs.Leaf, values ...string) (tls.ConnectionState, http.Header, error) {
		h := http.Header{"Client-Cert": values, "Accept": {"*/*"}}
		cs, err := callers.Unwrap(shaken(t, peer), h)
		require.NotContains(t, h, "Client-Cert", "nothing behind may read it, regardless of its sender")
		require.Contains(t, h, "Accept")
		return cs, h, err
	}
	for _, form := range []string{rfc9440(initiator), escaped(initiator)} {
		for range 2 { // the second is remembered
			cs, _, err := ask(proxy, form)
			require.NoError(t, err)
			require.True(t, cs.PeerCertificates[0].Equal(initiator.Certificate))
			require.Len(t, cs.VerifiedChains, 1)
		}
	}

	stranger := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultBeta))
	cs, _, err := ask(stranger, rfc9440(initiator))
	require.NoError(t, err)
	require.True(t, cs.PeerCertificates[0].Equal(stranger.Certificate), "a direct client's header changes nothing")
	other := issue(t, pki, pki.HolderBRCAC())
	cs, _, _ = ask(other, rfc9440(initiator))
	require.False(t, cs.PeerCertificates[0].Equal(initiator.Certificate), "another certificate of the proxy's authority is not the proxy")
	require.Error(t, callers.Judge(shaken(t, other)), "and is not let in")
	require.NoError(t, callers.Judge(shaken(t, proxy)))
	require.NoError(t, callers.Judge(shaken(t, initiator)))

	good := rfc9440(initiator)
	spoilt := func(d certs.Defect) string { return rfc9440(mtlstest.Leaf(t, mtlstest.PKI(t).Spoil(alfa(t), d))) }
	for name, values := range map[string][]string{
		"nothing": nil, "empty": {""}, "two": {good, good}, "no colons": {good[1 : len(good)-1]}, "one colon": {good[:len(good)-1]},
		"not base64": {":@@@@:"}, "not a certificate": {":AAAA:"}, "plain text": {"CN=alfa"}, "endless": {":" + strings.Repeat("A", 20<<10) + ":"},
		"two in PEM": {escaped(initiator) + escaped(initiator)}, "text before PEM": {"x%0A" + escaped(initiator)}, "broken escape": {"%zz"},
		"a key":        {url.PathEscape(string(initiator.KeyPEM()))},
		"of the proxy": {rfc9440(proxy)}, "expired": {spoilt(certs.Expired)}, "not yet valid": {spoilt(certs.NotYetValid)},
		"another authority": {spoilt(certs.OtherCA)}, "self-signed": {spoilt(certs.SelfSigned)}, "for servers": {spoilt(certs.WrongPurpose)}, "weak": {spoilt(certs.WeakKey)},
	} {
		cs, _, err := ask(proxy, values...)
		require.ErrorIs(t, err, mtls.ErrPeer, name)
		require.Empty(t, cs.PeerCertificates, "%s: never the proxy's own", name)
		require.Empty(t, cs.VerifiedChains, name)
	}
}

func TestARevocationReachesCertificatesBehindTheProxyAtOnce(t *testing.T) {
	own := bank(t)
	proxy := issue(t, own, own.HolderBRCAC())
	pki := mtlstest.PKI(t)
	initiator := mtlstest.Leaf(t, alfa(t))
	file := listsOf(t, pki.ClientCA)[0]
	callers := proxied(t, own, mtls.ProxyOptions{Organisation: proxy.Certificate.Subject.Organization[0]})
	callers.Revocation = newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{file}})
	ask := func() error {
		_, err := callers.Unwrap(shaken(t, proxy), http.Header{"Client-Cert": {rfc9440(initiator)}})
		return err
	}
	require.NoError(t, ask())
	require.NoError(t, ask())
	pki.Revoke(initiator.Certificate)
	require.NoError(t, ask(), "no list says so yet")
	der, err := pki.CRL(pki.ClientCA, time.Now(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, der, 0o600))
	changed, err := callers.Revocation.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	require.ErrorIs(t, ask(), mtls.ErrRevoked, "what was remembered is judged anew")
	require.ErrorIs(t, callers.Judge(shaken(t, initiator)), mtls.ErrRevoked, "as is a connection of its own")
}

func TestAProxyOfTheInitiatorsOwnAuthorityIsNone(t *testing.T) {
	pki := mtlstest.PKI(t)
	initiator := mtlstest.Leaf(t, alfa(t))
	p, err := mtls.LoadProxy(mtls.ProxyOptions{
		Authorities: []string{mtlstest.AnchorsFile(t, pki.ClientCA)}, Organisation: initiator.Certificate.Subject.Organization[0],
	})
	require.NoError(t, err)
	callers := &mtls.Callers{Authorities: mtlstest.ClientCAs(t), Proxy: p}
	require.False(t, callers.IsProxy(shaken(t, initiator)), "an initiator could otherwise be the proxy by its name")
}

func TestTheProxyGetsThroughTheHandshakeAndItsAuthoritysOtherCertificatesDoNot(t *testing.T) {
	own := bank(t)
	proxy, other := issue(t, own, own.HolderBRCAC()), issue(t, own, own.HolderBRCAC())
	callers := proxied(t, own, mtls.ProxyOptions{Fingerprints: []string{mtls.Fingerprint(proxy.Certificate)}})
	addr := mtlstest.Serve(t, callers.ServerConfig(mtlstest.HolderServer(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !callers.IsProxy(*r.TLS) {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	get := func(leaf certs.Leaf) (int, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: mtlstest.InitiatorConfig(t, leaf), DisableKeepAlives: true}}
		r, err := client.Get("https://" + addr)
		if err != nil {
			return 0, err
		}
		return r.StatusCode, r.Body.Close()
	}
	status, err := get(proxy)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	status, err = get(mtlstest.Leaf(t, alfa(t)))
	require.NoError(t, err, "initiators come directly as before")
	require.Equal(t, http.StatusTeapot, status)
	_, err = get(other)
	require.Error(t, err)
}

func TestSettingsOfTheProxyAreJudged(t *testing.T) {
	file := mtlstest.AnchorsFile(t, mtlstest.PKI(t).ClientCA)
	for want, o := range map[string]mtls.ProxyOptions{
		"give its fingerprint":   {Authorities: []string{file}},
		"64 hexadecimal digits":  {Authorities: []string{file}, Fingerprints: []string{"abcd"}},
		"not a name of a header": {Authorities: []string{file}, Organisation: "x", Header: "Client Cert"},
		"no file":                {Organisation: "x"},
		"cannot be read":         {Authorities: []string{filepath.Join(t.TempDir(), "none.pem")}, Organisation: "x"},
	} {
		_, err := mtls.LoadProxy(o)
		require.ErrorContains(t, err, want)
	}
}

func TestRenewedAnchorsAreTheSameOfAnotherGeneration(t *testing.T) {
	a := mtlstest.Roots(t)
	before, pool := a.Generation(), a.Pool()
	a.Renew()
	require.Equal(t, before+1, a.Generation())
	require.Same(t, pool, a.Pool())
	changed, err := a.Reload()
	require.NoError(t, err)
	require.False(t, changed, "the files are still the ones in force")
}
