package zoo_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/zoo"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// front runs a program as a proxy of the bank's before an address, and returns its own.
func front(t *testing.T, p zoo.Program, f zoo.Front) string {
	t.Helper()
	pki := mtlstest.PKI(t)
	files := mtlstest.Write(t, mtlstest.Leaf(t, pki.HolderServer()))
	f.Roots = mtlstest.AnchorsFile(t, pki.Root)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := p.Start(ctx, zoo.Options{
		Dir: t.TempDir(), Certificate: files.Cert, Key: files.Key, ClientCAs: mtlstest.AnchorsFile(t, pki.ClientCA, pki.Root), KeepAlive: idleLimit, Front: &f,
	})
	require.NoError(t, err)
	t.Cleanup(r.Stop)
	return fmt.Sprintf("https://localhost:%d/", r.Port)
}

// query asks as an initiator, and returns status and body. Each query has a connection of its own.
func query(t *testing.T, address string, leaf certs.Leaf) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: mtlstest.InitiatorConfig(t, leaf), DisableKeepAlives: true}, Timeout: time.Minute}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	r.Header.Set("X-SSL-Client-Cert", "what the client itself says")
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

// TestRealProxiesHandOnTheCertificateThatTheirPresetReads runs each proxy as docs/operations/running.md says, and with a form of
// another preset.
func TestRealProxiesHandOnTheCertificateThatTheirPresetReads(t *testing.T) {
	for name, c := range map[string]struct {
		proxy         zoo.Receiver
		preset, value string
		wrong         string // what the error says; "": the certificate is read
	}{
		"nginx":               {zoo.Nginx, "nginx", "$ssl_client_escaped_cert", ""},
		"nginx, folded lines": {zoo.Nginx, "nginx", "$ssl_client_cert", ""},
		"nginx, the subject":  {zoo.Nginx, "nginx", "$ssl_client_s_dn", "a subject, which is no certificate"},
		"nginx as haproxy":    {zoo.Nginx, "haproxy", "$ssl_client_escaped_cert", "the form is PEM with percent escapes"},
		"haproxy":             {zoo.HAProxy, "haproxy", "%[ssl_c_der,base64]", ""},
		"haproxy as rfc9440":  {zoo.HAProxy, "rfc9440", "%[ssl_c_der,base64]", "or set public.proxy_preset to haproxy"},
		"haproxy, RFC 9440":   {zoo.HAProxy, "rfc9440", ":%[ssl_c_der,base64]:", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := program(t, c.proxy)
			own, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
			require.NoError(t, err)
			leaf := mtlstest.Leaf(t, own.HolderBRCAC())
			proxy, err := mtls.LoadProxy(mtls.ProxyOptions{
				Authorities: []string{mtlstest.AnchorsFile(t, own.ClientCA)}, Fingerprints: []string{mtls.Fingerprint(leaf.Certificate)},
				Preset: c.preset, Header: "X-SSL-Client-Cert",
			})
			require.NoError(t, err)
			callers := &mtls.Callers{Authorities: mtlstest.ClientCAs(t), Proxy: proxy}
			us := mtlstest.Serve(t, callers.ServerConfig(mtlstest.HolderServer(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				state, err := callers.Unwrap(*r.TLS, r.Header)
				if err != nil {
					http.Error(w, err.Error(), http.StatusTeapot)
					return
				}
				_, _ = io.WriteString(w, mtls.Fingerprint(state.PeerCertificates[0]))
			}))
			files := mtlstest.Write(t, leaf)
			initiator := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa))
			status, body := query(t, front(t, p, zoo.Front{Upstream: us, Certificate: files.Cert, Key: files.Key, Value: c.value}), initiator)
			if c.wrong != "" {
				require.Equal(t, http.StatusTeapot, status, body)
				require.Contains(t, body, c.wrong)
				return
			}
			require.Equal(t, http.StatusOK, status, body)
			require.Equal(t, mtls.Fingerprint(initiator.Certificate), body)
		})
	}
}

// TestARealBalancerNamesTheSource: HAProxy leaves TLS alone and sends the PROXY protocol, version 2.
func TestARealBalancerNamesTheSource(t *testing.T) {
	p := program(t, zoo.HAProxy)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	upstream := make(chan string, 8)
	counted := acceptNotes{inner, upstream}
	l := mtls.Listen(mtls.BehindBalancers(counted, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}), mtls.ServerConfig(mtlstest.HolderServer(t), mtlstest.ClientCAs(t)), nil)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-ended })

	address := front(t, p, zoo.Front{Upstream: inner.Addr().String()})
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa))
	ours := ""
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, network, to string) (net.Conn, error) {
		c, err := (&tls.Dialer{Config: mtlstest.InitiatorConfig(t, leaf)}).DialContext(ctx, network, to)
		if err == nil {
			ours = c.LocalAddr().String()
		}
		return c, err
	}}}
	answer, err := client.Get(address)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, ours, string(body), "the source that the server sees is the initiator's own socket")
	for len(upstream) > 0 {
		require.False(t, strings.HasPrefix(<-upstream, ours), "the connection itself came from the balancer")
	}
}

// acceptNotes notes the peers of accepted sockets.
type acceptNotes struct {
	net.Listener
	peers chan string
}

func (a acceptNotes) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err == nil {
		select {
		case a.peers <- c.RemoteAddr().String():
		default:
		}
	}
	return c, err
}

// TestApacheThatDemandsACertificateForALocationOnlyIsExplained: it asks after it has read the request, which TLS 1.2 calls
// renegotiation, and which TLS 1.3 has only for clients that offer it.
func TestApacheThatDemandsACertificateForALocationOnlyIsExplained(t *testing.T) {
	p := program(t, zoo.Apache)
	pki := mtlstest.PKI(t)
	files := mtlstest.Write(t, mtlstest.Leaf(t, pki.Server(certs.DefaultAlfa.Organisation)))
	backend := startBackend(t)
	for version, c := range map[string]struct {
		outcome notice.Outcome
		says    string
	}{
		"TLSv1.2": {notice.OutcomeTLS, "asked for our certificate only after the request"},
		"TLSv1.3": {notice.OutcomeRefused, "the receiver did not ask for our certificate"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		r, err := p.Start(ctx, zoo.Options{
			Dir: t.TempDir(), Certificate: files.Cert, Key: files.Key, ClientCAs: mtlstest.AnchorsFile(t, pki.ClientCA, pki.Root),
			KeepAlive: idleLimit, Backend: backend.Addr, PerLocation: version,
		})
		cancel()
		require.NoError(t, err)
		t.Cleanup(r.Stop)
		got := send(t, newSender(t, newClosings()), r.Base(zoo.Good))
		require.Equal(t, c.outcome, got.Outcome, "%s: %s", version, got.Detail)
		require.Contains(t, got.Detail, c.says, version)
		require.Contains(t, got.Detail, "SSLVerifyClient for the whole virtual host", version)
	}
}
