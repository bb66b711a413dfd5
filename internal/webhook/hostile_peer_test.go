package webhook

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
)

// forge signs a certificate that no profile of the development PKI can describe. spoil changes one for localhost and
// 127.0.0.1 that is in order.
func forge(t *testing.T, issuer *certs.CA, key *rsa.PrivateKey, spoil func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	spoil(template)
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.Key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// forgeCA signs an authority below the root that receivers are trusted by.
func forgeCA(t *testing.T, key *rsa.PrivateKey, spoil func(*x509.Certificate)) *certs.CA {
	t.Helper()
	return &certs.CA{Key: key, Certificate: forge(t, mtlstest.PKI(t).Root, key, func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames, c.IPAddresses, c.ExtKeyUsage = "Forged CA", nil, nil, nil
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		spoil(c)
	})}
}

// TestNoFlawOfAServerCertificateIsOverlooked is case I2 beyond the flaws that the development PKI makes by itself.
func TestNoFlawOfAServerCertificateIsOverlooked(t *testing.T) {
	pki := mtlstest.PKI(t)
	strong := serverCertificate(t).Key
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // the flaw that is tested
	require.NoError(t, err)
	in := func(*x509.Certificate) {}
	sha1 := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	narrow := func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"localhost"}
	}
	for name, c := range map[string]struct {
		ca    *certs.CA // nil: the PKI's own
		key   *rsa.PrivateKey
		spoil func(*x509.Certificate)
		host  string
		why   string // "": nothing is wrong
	}{
		"nothing":                         {nil, strong, in, "localhost", ""},
		"nothing, by address":             {nil, strong, in, "127.0.0.1", ""},
		"nothing, within its authority":   {forgeCA(t, strong, narrow), strong, in, "localhost", ""},
		"signed with SHA-1":               {nil, strong, sha1, "localhost", "SHA1-RSA"},
		"its authority signed with SHA-1": {forgeCA(t, strong, sha1), strong, in, "localhost", "SHA1-RSA"},
		"a key of 1024 bits":              {nil, weak, in, "localhost", "1024 bits"},
		"an authority of 1024 bits":       {forgeCA(t, weak, in), strong, in, "localhost", "1024 bits"},
		"the name as common name alone": {nil, strong, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = nil, nil
		}, "localhost", "Common Name"},
		"another address": {nil, strong, func(c *x509.Certificate) {
			c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)}
		}, "127.0.0.1", "127.0.0.2"},
		"the address as a name": {nil, strong, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"127.0.0.1"}, nil
		}, "127.0.0.1", "IP SANs"},
		"a name its authority is not permitted": {forgeCA(t, strong, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.com"}
		}), strong, in, "localhost", "not permitted"},
		"a name its authority is denied": {forgeCA(t, strong, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.ExcludedDNSDomains = true, []string{"localhost"}
		}), strong, in, "localhost", "excluded"},
		"an address its authority is not permitted": {forgeCA(t, strong, func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedIPRanges = true, []*net.IPNet{{IP: net.IPv4(10, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}}
		}), strong, in, "localhost", "not permitted"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" over "+tls.VersionName(version), func(t *testing.T) {
				shown := tls.Certificate{PrivateKey: c.key}
				if c.ca == nil {
					shown.Certificate = [][]byte{forge(t, pki.ServerCA, c.key, c.spoil).Raw, pki.ServerCA.Certificate.Raw}
				} else {
					shown.Certificate = [][]byte{forge(t, c.ca, c.key, c.spoil).Raw, c.ca.Certificate.Raw}
				}
				i, s := newInitiator(t), newSender(t)
				i.Connect(standin.Connection{Certificate: &shown, MaxVersion: version, Always: true})
				r := send(t, s, "https://"+net.JoinHostPort(c.host, strconv.Itoa(i.Port())))
				if c.why == "" {
					require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
					return
				}
				require.Equal(t, notice.OutcomeTLS, r.Outcome, r.Detail)
				require.Contains(t, r.Detail, c.why)
				requireShowable(t, r.Detail)
				require.Zero(t, r.FirstByteOut)
				handshakes, err := i.WaitHandshake(soon(t), 1)
				require.NoError(t, err)
				require.Error(t, handshakes[0].Err, "the receiver saw no end of the handshake, so nothing could follow it")
				require.Empty(t, i.Requests())
			})
		}
	}
}

// TestHTTP2IsNeitherOfferedNorSpoken is case I7.
func TestHTTP2IsNeitherOfferedNorSpoken(t *testing.T) {
	t.Run("a receiver of h2 alone", func(t *testing.T) {
		offered := make(chan []string, 1)
		i := newInitiator(t, func(o *standin.Options) {
			o.TLS = &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{o.Certificate},
				// Given "h2", package tls would fall back to HTTP/1.1; under another name it refuses as such receivers do.
				NextProtos: []string{"h2 alone"},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: o.ClientCAs,
				GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					offered <- hello.SupportedProtos
					return nil, nil // this very configuration
				},
			}
		})
		r := send(t, newSender(t), i.BaseURI(""))
		require.Equal(t, notice.OutcomeTLS, r.Outcome, r.Detail)
		require.Zero(t, r.FirstByteOut)
		require.Equal(t, []string{"http/1.1"}, <-offered)
		require.Empty(t, i.Requests())
	})
	const (
		settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00" // SETTINGS_MAX_FRAME_SIZE 0
		goAway   = "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"
		reset    = "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"
		more     = "\x00\x00\x04\x09\x00\x00\x00\x00\x01abcd" // CONTINUATION without an end
	)
	for name, answer := range map[string]standin.Answer{
		"its settings unasked":     {Raw: []byte(settings)},
		"endless GOAWAY":           {Flood: standin.Repeat(settings, goAway, 1<<20)},
		"endless RST_STREAM":       {Flood: standin.Repeat(settings, reset, 1<<20)},
		"endless CONTINUATION":     {Flood: standin.Repeat(settings, more, 1<<20)},
		"a preface, and an answer": {Raw: []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + ok202 + echo + empty + "\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			i.Answer("", answer)
			r := send(t, s, i.BaseURI(""))
			require.Contains(t, []notice.Outcome{notice.OutcomeProtocol, notice.OutcomeTimeout}, r.Outcome, r.Detail)
			requireShowable(t, r.Detail)
			require.Less(t, r.Elapsed, 15*time.Second)
			require.NoError(t, i.WaitOpen(soon(t), 0))
			require.Len(t, i.Requests(), 1)
			require.True(t, strings.HasSuffix(i.Requests()[0].Line, " HTTP/1.1"))
		})
	}
}

// proxied tells the child process of the test below that it is the one.
const proxied = "ARAUTO_TEST_PROXY"

// TestProxiesOfTheEnvironmentAreNotUsed is case K3. The settings are read once in a process, so the sending is done in
// another one, which starts with them.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	if proxy := os.Getenv(proxied); proxy != "" {
		sendPastTheProxy(t, proxy)
		return
	}
	canary, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = canary.Close() })
	at := canary.Addr().String()
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
	require.NoError(t, canary.SetDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = canary.Accept()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody came to the proxy")
}

func sendPastTheProxy(t *testing.T, proxy string) {
	t.Helper()
	const host = "webhook.alfa.example.com" // a name: proxies are never used for this machine's own
	names, err := standin.StartDNS(map[string][]netip.Addr{host: {netip.MustParseAddr("127.0.0.1")}})
	require.NoError(t, err)
	t.Cleanup(names.Close)
	i := newInitiator(t, func(o *standin.Options) { o.Certificate = serverCertificate(t, host).TLS() })
	s := newSender(t, func(c *Config) { c.Resolver = names.Addr() })
	base := "https://" + net.JoinHostPort(host, strconv.Itoa(i.Port()))

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base, nil)
	require.NoError(t, err)
	would, err := http.ProxyFromEnvironment(r)
	require.NoError(t, err)
	require.Equal(t, proxy, would.Host, "a client that asks the environment would go there")

	result := send(t, s, base)
	require.Equal(t, notice.OutcomeDelivered, result.Outcome, result.Detail)
	require.Len(t, i.Requests(), 1)
}
