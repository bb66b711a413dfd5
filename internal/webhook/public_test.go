package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

func socketError(err error) error {
	return &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 4711}, Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 443}, Err: err}
}

func unverified(err error, shown ...*x509.Certificate) error {
	return &tls.CertificateVerificationError{UnverifiedCertificates: shown, Err: err}
}

func alertError(code tls.AlertError) error { return &net.OpError{Op: "remote error", Err: code} }

// brokenSteps has a step of each kind of trouble, with an error as the network or the handshake gives it.
func brokenSteps(t *testing.T) map[troubleKind]ProbeStep {
	t.Helper()
	cert := func(subject, issuer string) *x509.Certificate {
		return &x509.Certificate{RawSubject: []byte(subject), RawIssuer: []byte(issuer), Subject: pkix.Name{CommonName: subject}, Issuer: pkix.Name{CommonName: issuer}, DNSNames: []string{"a.example"}}
	}
	unknown := x509.UnknownAuthorityError{}
	past := &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute)}
	next := &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)}
	guard := NewGuard(nil, nil)
	_, malformed := parseBase("http://a.example")
	_, notAmong := offered([][]byte{{0x30, 0x05}}, []*x509.Certificate{cert("ours", "issuer")})
	broken := map[StepName]map[troubleKind]error{
		StepAddress: {troubleBrand: ErrBrand, troubleAddress: malformed, troublePort: guard.CheckHost("a.example", 8443)},
		StepResolution: {
			troubleNoName:     &net.DNSError{Err: "no such host", Name: "a.example", Server: "10.0.0.53:53", IsNotFound: true},
			troubleLateName:   &net.DNSError{Err: "i/o timeout", Name: "a.example", Server: "10.0.0.53:53", IsTimeout: true},
			troubleNameserver: &net.DNSError{Err: "server misbehaving", Server: "10.0.0.53:53"},
		},
		StepConnection: {
			troubleNotPublic: guard.Check(netip.MustParseAddrPort("10.1.2.3:443")), troubleRefused: socketError(os.NewSyscallError("connect", syscall.ECONNREFUSED)),
			troubleUnreachable: socketError(syscall.EHOSTUNREACH), troubleLate: socketError(os.ErrDeadlineExceeded), troubleConnection: socketError(syscall.EADDRNOTAVAIL),
		},
		StepCertificate: {
			troubleOwnExpired: fmt.Errorf("brcac.pem: %w", mtls.ErrOwnExpired), troubleLateHandshake: socketError(os.ErrDeadlineExceeded), troubleReset: socketError(syscall.ECONNRESET),
			troubleClosed: io.EOF, troubleNoTLS: tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, troubleBroke: socketError(syscall.ENOBUFS),
			troubleFit:        errors.New("tls: server selected unsupported protocol version 302"),
			troubleSelfSigned: unverified(unknown, cert("leaf", "leaf")), troubleForeignRoot: unverified(unknown, cert("leaf", "root"), cert("root", "root")),
			troubleAlone: unverified(unknown, cert("leaf", "issuer")), troubleOtherIssuers: unverified(unknown, cert("leaf", "issuer"), cert("other", "root")),
			troubleGap:     unverified(unknown, cert("leaf", "issuer"), cert("issuer", "root")),
			troubleExpired: unverified(x509.CertificateInvalidError{Cert: past, Reason: x509.Expired}), troubleNotYet: unverified(x509.CertificateInvalidError{Cert: next, Reason: x509.Expired}),
			troubleWrongName: unverified(x509.HostnameError{Certificate: cert("leaf", "issuer"), Host: "b.example"}), troublePurpose: unverified(x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}),
			troubleVerification: unverified(x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}),
			troubleKey:          fmt.Errorf("certificate 1: %w", mtls.ErrKey), troubleAuthority: mtls.ErrAuthority, troubleRevoked: fmt.Errorf("serial 1: %w: %w", mtls.ErrRevoked, mtls.ErrPeer),
			troubleNoEvidence: fmt.Errorf("list at http://10.0.0.80/crl: %w: %w", mtls.ErrNoEvidence, mtls.ErrPeer), troubleProfile: fmt.Errorf("list at http://10.0.0.80/crl: %w", mtls.ErrPeer),
			troubleAlertOurs: alertError(48), troubleAlertVersion: alertError(70), troubleAlertName: alertError(112), troubleAlert: alertError(47),
		},
		StepOurs: {
			troubleNotAsked: troubleNotAsked.of(), troubleNotDemanded: troubleNotDemanded.of(), troubleNotAmong: notAmong, troubleRefusedAfter: troubleRefusedAfter.of(sentence{"bad certificate", "certificado ruim"}),
			troubleClosedAfter: troubleClosedAfter.of(), troubleDataBefore: troubleDataBefore.of(),
			troubleBrokeAfter: fmt.Errorf("the connection broke after the handshake: %w", socketError(syscall.ETIMEDOUT)),
		},
	}
	all := map[troubleKind]ProbeStep{}
	for name, kinds := range broken {
		for kind, err := range kinds {
			require.Error(t, err, kind)
			all[kind] = newStep(name, err, seenAfter.with("1ms"))
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(troubles)), slices.Collect(maps.Keys(all)), "each kind is tried")
	return all
}

// TestEachKindOfTroubleHasASentenceAndAnAdviceInBothLanguages: a person who reads one of them must not meet the other, nor a text without a cure.
func TestEachKindOfTroubleHasASentenceAndAnAdviceInBothLanguages(t *testing.T) {
	for kind, s := range brokenSteps(t) {
		require.Equal(t, kind, s.trouble().kind, "%v", s.Err)
		en, pt := s.Words(false), s.Words(true)
		for _, w := range []StepWords{en, pt} {
			for _, text := range []string{w.Title, w.Seen, w.Problem, w.Advice} {
				require.NotEmpty(t, text, kind)
				require.NotContains(t, text, "%", kind)
			}
		}
		require.NotEqual(t, en.Title, pt.Title, kind)
		require.NotEqual(t, en.Seen, pt.Seen, kind)
		require.NotEqual(t, en.Problem, pt.Problem, kind)
		require.NotEqual(t, en.Advice, pt.Advice, kind)
		require.Contains(t, Verdict([]ProbeStep{s}, true), "NÃO está pronto ("+pt.Title+")")
	}
	held := newStep(StepConnection, nil, seenConnected)
	require.Equal(t, StepWords{Title: "conexão", Seen: "conectado"}, held.Words(true), "a step that holds needs no advice")
	untested := newStep(StepOurs, nil, seenUntested)
	untested.Untested = true
	require.Equal(t, []string{"pronto até onde foi testado", "ready: a notification would reach this address"}, []string{Verdict([]ProbeStep{held, untested}, true), Verdict([]ProbeStep{held}, false)})
}

// wrongAddresses are addresses that cannot be taken apart, each with what the refusal names, in English and in Portuguese.
var wrongAddresses = map[string][2]string{
	"":                                  {"no https://", "falta https://"},
	"itp.example/hook":                  {"no https://", "falta https://"},
	"//itp.example/hook":                {"no https://", "falta https://"},
	"https:/itp.example":                {"no https://", "falta https://"},
	"mailto:a":                          {"no https://", "falta https://"},
	"http://itp.example/hook":           {"begins with http://", "começa com http://"},
	"HTTPS://itp.example/hook":          {"lower case", "minúsculas"},
	"ftp://itp.example":                 {"begins with ftp://", "começa com ftp://"},
	"https://":                          {"no host", "falta o host"},
	"https:///hook":                     {"no host", "falta o host"},
	"https://:443/hook":                 {"no host", "falta o host"},
	"https://user@itp.example":          {"user information", "dados de usuário"},
	"https://user:secret@itp.example":   {"user information", "dados de usuário"},
	"https://itp.example/hook#a":        {"fragment", "fragmento"},
	"https://itp.example/hook?a=b":      {"query", "query"},
	"https://itp.example:0/hook":        {`"0"; it must be a number from 1 to 65535`, `"0"; deve ser um número de 1 a 65535`},
	"https://itp.example:70000/hook":    {`"70000"`, `"70000"`},
	"https://itp.example:0443/hook":     {`"0443"`, `"0443"`},
	"https://itp.example:-1/hook":       {`"-1"`, `"-1"`},
	"https://itp.example:https":         {`"https"`, `"https"`},
	"https://itp.example:/hook":         {"no port", "nenhuma porta"},
	"https://::1/hook":                  {"brackets", "colchetes"},
	"https://2001:db8::1":               {"brackets", "colchetes"},
	"https://[::1/hook":                 {"brackets", "colchetes"},
	"https://::1]/hook":                 {"brackets", "colchetes"},
	"https://[]/hook":                   {"brackets", "colchetes"},
	"https://[itp.example]/hook":        {"brackets", "colchetes"},
	"https://[::1%25eth0]/hook":         {"percent sign", "sinal de porcentagem"},
	"https://itp%2eexample/hook":        {"percent sign", "sinal de porcentagem"},
	"https://itp example/hook":          {"space", "espaço"},
	"https://itp.example/a hook":        {"space", "espaço"},
	" https://itp.example/hook":         {"space", "espaço"},
	"https://itp.example/hook\n":        {"control character", "caractere de controle"},
	"https://itp.example/\x7f":          {"control character", "caractere de controle"},
	"https://iniciação.example/hook":    {"outside of ASCII", "fora do ASCII"},
	"https://itp.example/aviso/não":     {"outside of ASCII", "fora do ASCII"},
	`https://itp.example\hook`:          {"no URL may contain", "nenhuma URL pode conter"},
	"https://{client}.itp.example/hook": {`"{"`, `"{"`},
	"https://itp.example/hook/":         {"ends with a slash", "termina com uma barra"},
	"https://itp.example//hook":         {"two slashes", "duas barras"},
}

// TestAWrongAddressIsRefusedWithWhatIsWrongAndNothingThatWasNotRead probes them: the refusal names the fault in one language, and shows no
// host, port or path that was never taken apart.
func TestAWrongAddressIsRefusedWithWhatIsWrongAndNothingThatWasNotRead(t *testing.T) {
	s := newSender(t)
	for base, names := range wrongAddresses {
		steps := s.Probe(t.Context(), base)
		require.Len(t, steps, 1, base)
		require.Equal(t, StepAddress, steps[0].Name)
		require.Error(t, steps[0].Err, base)
		require.Empty(t, steps[0].Detail, base)
		for i, portuguese := range []bool{false, true} {
			w := steps[0].Words(portuguese)
			require.Contains(t, w.Problem, names[i], base)
			require.Empty(t, w.Seen, base)
			require.NotEmpty(t, w.Advice)
		}
	}
	parsed := s.Probe(t.Context(), "https://8.8.8.8:8443/hook")
	require.Error(t, parsed[0].Err)
	require.Equal(t, `host 8.8.8.8, port 8443, path "/hook"`, parsed[0].Detail, "what was read is shown")
}

func TestAnAddressThatMustNotBeDialledIsToldInPortugueseToo(t *testing.T) {
	open := NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, nil)
	guard := NewGuard(nil, nil)
	var all []error
	for base := range wrongAddresses {
		_, err := parseBase(base)
		all = append(all, err)
	}
	for _, host := range []string{"", strings.Repeat("a.", 130) + "b", "a..b", strings.Repeat("a", 64) + ".b", "-a.b", "a_.b", "127.1", "localhost", "8.8.8.8"} {
		all = append(all, guard.CheckHost(host, DefaultPort))
	}
	for _, at := range []string{"10.0.0.1:443", "[fe80::1%eth0]:443", "8.8.8.8:80"} {
		all = append(all, guard.Check(netip.MustParseAddrPort(at)))
	}
	all = append(all, open.Check(netip.MustParseAddrPort("127.0.0.1:0")), guard.Check(netip.AddrPort{}), guard.Control("udp4", "8.8.8.8:443", nil), guard.Control("tcp4", "?", nil))
	for _, err := range all {
		require.Error(t, err)
		require.NotEmpty(t, failure.Portuguese(err), err)
		require.NotEqual(t, err.Error(), failure.Portuguese(err))
		require.NotContains(t, err.Error()+failure.Portuguese(err), "%!")
	}
}

// TestTheOwnerOfAnEndpointSeesNoAddressOfOurs: each error carries what the bank's own preflight shows, and the owner must not see.
func TestTheOwnerOfAnEndpointSeesNoAddressOfOurs(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::ffff:192.168.0.1")}
	for kind, s := range brokenSteps(t) {
		s.addrs = addrs
		if s.Name == StepResolution {
			s = newStep(s.Name, s.Err, seenAsIs.with("8.8.8.8, 10.1.2.3, 192.168.0.1"))
			s.addrs = addrs
		}
		for _, portuguese := range []bool{false, true} {
			w := s.Public(portuguese)
			for _, ours := range []string{"10.", "192.168", "4711"} {
				require.NotContains(t, w.Seen+w.Problem+w.Advice, ours, "%s: %s", kind, s.Err)
			}
		}
	}
	held := newStep(StepResolution, nil, seenAsIs.with("8.8.8.8, 10.1.2.3"))
	held.addrs = addrs[:2]
	require.Equal(t, StepWords{Title: "nome (DNS)", Seen: "8.8.8.8"}, held.Public(true))
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
			w := steps[k].Public(false)
			require.Equal(t, steps[k].Err == nil, w.Problem == "")
			all.WriteString(w.Seen + " " + w.Problem + " " + w.Advice + "\n")
		}
		require.NotContains(t, all.String(), "127.0.0.1", "%d", n)
		require.NotContains(t, all.String(), "::1", "%d", n)
		t.Log(all.String())
		if n == 1 {
			require.Contains(t, all.String(), "expired")
		}
	}
}

func TestADurationInAProbeHasTheDecimalSignOfItsLanguage(t *testing.T) {
	seen := seenAfter.with(1500 * time.Microsecond)
	require.Equal(t, "after 1.5ms", seen.en)
	require.Equal(t, "após 1,5ms", seen.pt)
}

// TestAnAddressThatConnectsSlowlyIsReadyAndSaidToBeSlow: it was said to be ready, and every first attempt to it was late.
func TestAnAddressThatConnectsSlowlyIsReadyAndSaidToBeSlow(t *testing.T) {
	steps := newSender(t).Probe(t.Context(), newInitiator(t).BaseURI("/hook"))
	require.Positive(t, steps[3].Reached)
	require.Equal(t, verdictReady.en, Verdict(steps, false))
	steps[3].Reached = notice.FirstWithin + 504*time.Millisecond
	require.Contains(t, Verdict(steps, false), "ready, but slow: connecting took 2.004s")
	require.Contains(t, Verdict(steps, true), "pronto, mas lento: conectar levou 2,004s")
	steps[4].Untested = true
	require.Contains(t, Verdict(steps, false), "but slow")
}
