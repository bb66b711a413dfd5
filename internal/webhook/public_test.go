package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
)

// TestTheOwnerOfAnEndpointSeesNoAddressOfOurs: each error carries what the bank's own preflight shows, and the owner must not see.
func TestTheOwnerOfAnEndpointSeesNoAddressOfOurs(t *testing.T) {
	socket := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 4711}, Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 443}, Err: err}
	}
	addrs := []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::ffff:192.168.0.1")}
	for want, s := range map[string]ProbeStep{
		"the name has no address":          {Name: StepResolution, Err: &net.DNSError{Err: "no such host", Name: "a.example", Server: "10.0.0.53:53", IsNotFound: true}},
		"the name did not resolve in time": {Name: StepResolution, Err: &net.DNSError{Err: "i/o timeout", Name: "a.example", Server: "10.0.0.53:53", IsTimeout: true}},
		"the name does not resolve; its name servers answer with an error, or not at all": {Name: StepResolution, Err: &net.DNSError{Err: "server misbehaving", Server: "10.0.0.53:53"}},
		"the name leads to no address of the public internet":                             {Name: StepConnection, Err: NewGuard(nil, nil).Check(netip.MustParseAddrPort("10.1.2.3:443"))},
		"the address refuses connections at this port":                                    {Name: StepConnection, Err: socket(os.NewSyscallError("connect", syscall.ECONNREFUSED))},
		"no connection in time; a firewall may drop what comes from us":                   {Name: StepConnection, Err: socket(os.ErrDeadlineExceeded)},
		"the address cannot be reached":                                                   {Name: StepConnection, Err: socket(syscall.EHOSTUNREACH)},
		"the connection was not made":                                                     {Name: StepConnection, Err: socket(syscall.EADDRNOTAVAIL)},
		"the handshake did not end in time":                                               {Name: StepCertificate, Err: socket(os.ErrDeadlineExceeded)},
		"the receiver reset the connection during the handshake":                          {Name: StepCertificate, Err: socket(syscall.ECONNRESET)},
		"the receiver closed the connection during the handshake":                         {Name: StepCertificate, Err: io.EOF},
		"the connection broke during the handshake":                                       {Name: StepCertificate, Err: socket(syscall.ENOBUFS)},
		"the certificate does not pass the checks of profile and revocation": {
			Name: StepCertificate, Err: fmt.Errorf("list at http://10.0.0.80/crl: %w", mtls.ErrPeer),
		},
		"the certificate is not accepted: failed to verify certificate: x509: certificate is not authorized to sign other certificates": {
			Name: StepCertificate, Err: &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}},
		},
		"the receiver ended the handshake: bad certificate": {Name: StepCertificate, Err: &net.OpError{Op: "remote error", Err: tls.AlertError(42)}},
		"the connection broke after the handshake":          {Name: StepOurs, Err: fmt.Errorf("the connection broke after the handshake: %w", socket(syscall.ETIMEDOUT))},
	} {
		s.addrs, s.Detail = addrs, "after 1ms"
		if s.Name == StepResolution {
			s.Detail = "8.8.8.8, 10.1.2.3, 192.168.0.1"
		}
		detail, problem := s.Public()
		require.Equal(t, want, problem, "%s: %s", s.Name, s.Err)
		for _, ours := range []string{"10.", "192.168", "4711"} {
			require.NotContains(t, detail+problem, ours, "%s: %s", s.Name, s.Err)
		}
	}
	held := ProbeStep{Name: StepResolution, Detail: "8.8.8.8, 10.1.2.3", addrs: addrs[:2]}
	detail, problem := held.Public()
	require.Equal(t, []string{"8.8.8.8", ""}, []string{detail, problem})
}

// TestAProbeTellsItsPublicTexts goes to an endpoint on this machine, which is no address of the public internet.
func TestAProbeTellsItsPublicTexts(t *testing.T) {
	t.Parallel()
	i := newInitiator(t)
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).Spoil(mtlstest.PKI(t).Server(certs.DefaultAlfa.Organisation), certs.Expired)).TLS()
	for n := range 3 {
		switch n {
		case 1:
			i = newInitiator(t)
			i.Connect(standin.Connection{Certificate: &leaf, Always: true})
		case 2:
			i.Close()
		}
		steps := newSender(t).Probe(t.Context(), i.BaseURI(""))
		var all strings.Builder
		for k := range steps {
			detail, problem := steps[k].Public()
			require.Equal(t, steps[k].Err == nil, problem == "")
			all.WriteString(detail + " " + problem + "\n")
		}
		require.NotContains(t, all.String(), "127.0.0.1", "%d", n)
		require.NotContains(t, all.String(), "::1", "%d", n)
		t.Log(all.String())
		if n == 1 {
			require.Contains(t, all.String(), "expired")
		}
	}
}
