package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
)

// walk probes and tells the name of the last step, and what was wrong with it.
func walk(t *testing.T, s *Sender, base string) (StepName, error) {
	t.Helper()
	steps := s.Probe(t.Context(), base)
	for _, step := range steps[:len(steps)-1] {
		require.NoError(t, step.Err, step.Name)
		require.NotEmpty(t, step.Detail)
	}
	last := steps[len(steps)-1]
	return last.Name, last.Err
}

func TestAReadyEndpointPassesEveryStepAndGetsNoRequest(t *testing.T) {
	t.Parallel()
	i := newInitiator(t)
	steps := newSender(t).Probe(t.Context(), i.BaseURI("/hook"))
	require.Len(t, steps, 5)
	for _, step := range steps {
		require.NoError(t, step.Err, step.Name)
	}
	require.Contains(t, steps[3].Detail, "TLS 1.3")
	require.NotContains(t, steps[1].Detail, "::ffff:", "an IPv4 address is shown as one")
	_, err := i.WaitHandshake(t.Context(), 1)
	require.NoError(t, err)
	require.Empty(t, i.Requests())
	require.NoError(t, i.WaitOpen(t.Context(), 0), "nothing is left open")
}

func TestAProbeEndsAtTheFirstStepThatDoesNotHold(t *testing.T) {
	i := newInitiator(t)
	for base, want := range map[string]StepName{
		"http://localhost:1/":     StepAddress,
		"https://localhost":       StepConnection,
		"https://no.such.invalid": StepResolution,
		"https://10.0.0.1":        StepAddress,
		"https://[::1]:0/":        StepAddress,
		i.BaseURI("/trailing/"):   StepAddress,
		strings.Replace(i.BaseURI(""), "localhost", "localhost.", 1): StepAddress,
	} {
		name, err := walk(t, newSender(t), base)
		require.Equal(t, want, name, base)
		require.Error(t, err, base)
	}
	require.Zero(t, i.Connections())
}

func TestAProbeNamesWhatIsWrongWithAHandshake(t *testing.T) {
	t.Parallel()
	pki := mtlstest.PKI(t)
	t.Run("certificate", func(t *testing.T) {
		t.Parallel()
		i := newInitiator(t)
		leaf := mtlstest.Leaf(t, pki.Spoil(pki.Server(certs.DefaultAlfa.Organisation), certs.Expired)).TLS()
		i.Connect(standin.Connection{Certificate: &leaf, Always: true})
		name, err := walk(t, newSender(t), i.BaseURI(""))
		require.Equal(t, StepCertificate, name)
		require.ErrorContains(t, err, "expired")
	})
	t.Run("revoked", func(t *testing.T) {
		t.Parallel()
		s := newSender(t, func(c *Config) {
			c.Checks = []mtls.Check{func(tls.ConnectionState) error { return fmt.Errorf("revoked: %w", mtls.ErrPeer) }}
		})
		name, err := walk(t, s, newInitiator(t).BaseURI(""))
		require.Equal(t, StepCertificate, name)
		require.ErrorIs(t, err, mtls.ErrPeer)
	})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		with := func(t *testing.T, change func(*tls.Config)) string {
			t.Helper()
			config := &tls.Config{
				Certificates: []tls.Certificate{serverCertificate(t).TLS()}, MinVersion: version, MaxVersion: version, ClientAuth: tls.RequireAndVerifyClientCert,
			}
			change(config)
			return newInitiator(t, func(o *standin.Options) { o.TLS = config }).BaseURI("")
		}
		t.Run(tls.VersionName(version)+", ours is not asked for", func(t *testing.T) {
			t.Parallel()
			name, err := walk(t, newSender(t), with(t, func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }))
			require.Equal(t, StepOurs, name)
			require.ErrorContains(t, err, "did not ask for it")
		})
		t.Run(tls.VersionName(version)+", it trusts another authority", func(t *testing.T) {
			t.Parallel()
			pool := x509.NewCertPool()
			pool.AddCert(pki.SealCA.Certificate)
			name, err := walk(t, newSender(t), with(t, func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAnyClientCert, pool })) // as nginx: it complains later
			require.Equal(t, StepOurs, name)
			require.ErrorContains(t, err, "names 1 authorities of client certificates")
			require.ErrorContains(t, err, "the issuer of ours is not among them")
			require.ErrorContains(t, err, mtls.Issuer(mtlstest.Leaf(t, pki.HolderBRCAC()).Certificate))
		})
		t.Run(tls.VersionName(version)+", it trusts the authority above our issuer", func(t *testing.T) {
			t.Parallel()
			pool := x509.NewCertPool()
			pool.AddCert(pki.Root.Certificate)
			steps := newSender(t).Probe(t.Context(), with(t, func(c *tls.Config) { c.ClientCAs = pool }))
			require.NoError(t, steps[len(steps)-1].Err, "our intermediate leads to it")
			require.Contains(t, steps[len(steps)-1].Detail, "is among the 1 authorities that the receiver names")
		})
		t.Run(tls.VersionName(version)+", it names no authority", func(t *testing.T) {
			t.Parallel()
			steps := newSender(t).Probe(t.Context(), with(t, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }))
			require.NoError(t, steps[len(steps)-1].Err)
			require.Contains(t, steps[len(steps)-1].Detail, "shows only with a request", "what could not be tested is said")
		})
		t.Run(tls.VersionName(version)+", ours is refused", func(t *testing.T) {
			t.Parallel()
			name, err := walk(t, newSender(t), with(t, func(c *tls.Config) { c.ClientCAs = x509.NewCertPool() }))
			require.Contains(t, []StepName{StepOurs, StepCertificate}, name, "TLS 1.2 tells within the handshake")
			require.Error(t, err)
		})
	}
}

// TestAProbeWithoutACertificateSeesWhetherOneIsDemanded tries receivers that demand one, only ask for one, do not ask, and show a bad one.
func TestAProbeWithoutACertificateSeesWhetherOneIsDemanded(t *testing.T) {
	t.Parallel()
	pki := mtlstest.PKI(t)
	good := mtlstest.Leaf(t, pki.Server(certs.DefaultAlfa.Organisation)).TLS()
	expired := mtlstest.Leaf(t, pki.Spoil(pki.Server(certs.DefaultAlfa.Organisation), certs.Expired)).TLS()
	anonymous := newSender(t, func(c *Config) { c.Identity, c.Anonymous = nil, true })
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name     string
			auth     tls.ClientAuthType
			show     tls.Certificate
			last     StepName
			says     string
			untested bool
		}{
			{"demanded", tls.RequireAndVerifyClientCert, good, StepOurs, "", true},
			{"asked for", tls.RequestClientCert, good, StepOurs, "went on without one", false},
			{"not asked for", tls.NoClientCert, good, StepOurs, "did not ask", false},
			{"bad", tls.RequireAndVerifyClientCert, expired, StepCertificate, "expired", false},
		} {
			t.Run(fmt.Sprintf("%s %s", tls.VersionName(version), c.name), func(t *testing.T) {
				t.Parallel()
				listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
					MinVersion: version, MaxVersion: version, ClientAuth: c.auth, ClientCAs: mtlstest.ClientCAs(t).Pool(), Certificates: []tls.Certificate{c.show},
				})
				require.NoError(t, err)
				t.Cleanup(func() { _ = listener.Close() })
				go func() {
					for {
						conn, err := listener.Accept()
						if err != nil {
							return
						}
						go func() { // until the probe leaves
							defer conn.Close()
							_, _ = conn.Read(make([]byte, 1))
						}()
					}
				}()
				_, port, err := net.SplitHostPort(listener.Addr().String())
				require.NoError(t, err)
				steps := anonymous.Probe(t.Context(), "https://localhost:"+port)
				last := steps[len(steps)-1]
				require.Equal(t, c.last, last.Name, "%v", last.Err)
				require.Equal(t, c.untested, last.Untested)
				if c.says == "" {
					require.NoError(t, last.Err)
					return
				}
				require.ErrorContains(t, last.Err, c.says)
			})
		}
	}
}
