package trust

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// canary is a server on this machine that nobody should reach. It counts connections.
type canary struct {
	*httptest.Server
	reached atomic.Int32
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	c := &canary{Server: httptest.NewUnstartedServer(http.NotFoundHandler())}
	c.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.reached.Add(1)
		}
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

func (c *canary) port() string {
	_, port, _ := net.SplitHostPort(c.Listener.Addr().String())
	return port
}

// fetchList reads a revocation list as the gateway does.
func fetchList(t *testing.T, cfg *config.Config, address string) error {
	t.Helper()
	fetcher := newFetcher(cfg)
	defer fetcher.CloseIdleConnections()
	r, err := mtls.NewRevocation(mtls.RevocationOptions{CRLURLs: []string{address}, HTTP: fetcher})
	require.NoError(t, err)
	return r.Refresh(t.Context())
}

// fetchKeys reads a key set as the gateway does.
func fetchKeys(t *testing.T, cfg *config.Config, address string) error {
	t.Helper()
	fetcher := newFetcher(cfg)
	defer fetcher.CloseIdleConnections()
	set, err := jws.OpenKeySet(jws.KeySetConfig{Location: address, Client: fetcher})
	require.NoError(t, err)
	return set.Reload(t.Context())
}

// TestNoFetchedAddressLeadsInside is case K6: what a production gateway reads by itself is guarded like what it sends.
func TestNoFetchedAddressLeadsInside(t *testing.T) {
	inside := newCanary(t)
	ports := "ARAUTO_WEBHOOK_ALLOW_PORTS=443," + inside.port() // so that the port is no reason
	cfg, err := config.Read("", []string{ports})
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00::1"} {
		at := net.JoinHostPort(host, inside.port())
		require.ErrorContains(t, fetchList(t, cfg, "http://"+at+"/list.crl"), "is not a public address", at)
		require.ErrorContains(t, fetchList(t, cfg, "https://"+at+"/list.crl"), "is not a public address", at)
		require.ErrorContains(t, fetchKeys(t, cfg, "https://"+at+"/jwks"), "is not a public address", at)
	}
	require.Zero(t, inside.reached.Load())

	// With the development allow-list, the same ways lead there; connections are accepted in their order, so this also
	// shows that none was waiting.
	cfg, err = config.Read("", []string{ports, "ARAUTO_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8"})
	require.NoError(t, err)
	require.Error(t, fetchList(t, cfg, inside.URL+"/list.crl"))
	require.EqualValues(t, 1, inside.reached.Load())
	require.Error(t, fetchKeys(t, cfg, "https://"+inside.Listener.Addr().String()+"/jwks"))
	require.EqualValues(t, 2, inside.reached.Load())

	// Even there no redirection is followed.
	away := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusFound))
	defer away.Close()
	require.Error(t, fetchList(t, cfg, away.URL+"/list.crl"))
	require.EqualValues(t, 2, inside.reached.Load())
}

// proxied tells the child process of the test below that it is the one.
const proxied = "ARAUTO_TEST_PROXY"

// TestTheFetcherUsesNoProxyOfTheEnvironment is case K3. The settings are read once in a process, so the fetching is done
// in another one, which starts with them.
func TestTheFetcherUsesNoProxyOfTheEnvironment(t *testing.T) {
	if proxy := os.Getenv(proxied); proxy != "" {
		fetchPastTheProxy(t, proxy)
		return
	}
	proxy := newCanary(t)
	at := proxy.Listener.Addr().String()
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	child.Env = append(os.Environ(), proxied+"="+at, "NO_PROXY=", "no_proxy=")
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		child.Env = append(child.Env, name+"=http://"+at, strings.ToLower(name)+"=http://"+at)
	}
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	require.EqualValues(t, 1, proxy.reached.Load(), "by the client that asks the environment, and nobody else")
}

func fetchPastTheProxy(t *testing.T, proxy string) {
	t.Helper()
	// Proxies are never used for this machine's own addresses. This one is for documentation; the guard refuses it, where
	// a proxy would be asked for it. The allow-list lets the proxy itself be dialled.
	const host = "192.0.2.1"
	cfg, err := config.Read("", []string{"ARAUTO_PROFILE=development", "ARAUTO_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8"})
	require.NoError(t, err)
	require.ErrorContains(t, fetchList(t, cfg, "http://"+host+"/list.crl"), "is not a public address")
	require.ErrorContains(t, fetchList(t, cfg, "https://"+host+"/list.crl"), "is not a public address")
	require.ErrorContains(t, fetchKeys(t, cfg, "https://"+host+"/jwks"), "is not a public address")

	asker, err := (&Trust{Roots: mtlstest.Roots(t)}).newAsker(&Brand{Client: mtlstest.HolderClient(t), BrandSettings: cfg.EachBrand()[0]})
	require.NoError(t, err)
	transport, ok := asker.Transport.(*http.Transport)
	require.True(t, ok)
	require.Nil(t, transport.Proxy, "nor does the client for introspection, whose address may be any")

	careless := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer careless.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/list.crl", nil)
	require.NoError(t, err)
	would, err := http.ProxyFromEnvironment(r)
	require.NoError(t, err)
	require.Equal(t, proxy, would.Host)
	res, err := careless.RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusNotFound, res.StatusCode, "the proxy's own answer")
}
