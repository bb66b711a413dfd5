package webhook

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

func TestABadServerCertificateGetsNoByteOfTheRequest(t *testing.T) {
	pki := mtlstest.PKI(t)
	good := pki.Server(certs.DefaultAlfa.Organisation)
	for _, defect := range []certs.Defect{
		certs.Expired, certs.NotYetValid, certs.WrongPurpose, certs.WrongName, certs.OtherCA, certs.SelfSigned, certs.CommonNameOnly, certs.WeakKey,
	} {
		t.Run(string(defect), func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			leaf := mtlstest.Leaf(t, pki.Spoil(good, defect)).TLS()
			i.Connect(standin.Connection{Certificate: &leaf, Always: true})
			base := i.BaseURI("")
			if defect == certs.WrongName || defect == certs.CommonNameOnly {
				base = strings.Replace(base, "localhost", "127.0.0.1", 1)
			}
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeTLS, r.Outcome, r.Detail)
			require.True(t, strings.HasPrefix(r.Detail, "tls: "), r.Detail)
			requireShowable(t, r.Detail)
			require.NotNil(t, r.Shown, "what was shown is known")
			require.Equal(t, r.Detail, r.Shown.Wrong)
			require.NotEmpty(t, r.Shown.Serial)
			require.NotEmpty(t, r.Shown.Issuer)
			require.Equal(t, defect == certs.Expired, r.Shown.NotAfter.Before(time.Now()))
			require.Nil(t, r.TLS)
			require.Equal(t, notice.OutcomeTLS, send(t, s, base).Outcome, "and by address")
			require.Zero(t, r.FirstByteOut)
			require.NotZero(t, r.Elapsed)
			require.Empty(t, i.Requests())
		})
	}
	t.Run("only the address in its names", func(t *testing.T) {
		i, s := newInitiator(t), newSender(t)
		profile := good
		profile.DNSNames, profile.IPs = []string{"other.example.com"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		leaf := mtlstest.Leaf(t, profile).TLS()
		i.Connect(standin.Connection{Certificate: &leaf, Always: true})
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeTLS, r.Outcome, r.Detail)
		require.Empty(t, i.Requests())
	})
}

func TestARevocationCheckIsPartOfTheHandshake(t *testing.T) {
	i := newInitiator(t)
	s := newSender(t, func(c *Config) {
		c.Checks = []mtls.Check{func(tls.ConnectionState) error { return fmt.Errorf("revoked: %w", mtls.ErrPeer) }}
	})
	r := send(t, s, i.BaseURI(""))
	require.Equal(t, notice.OutcomeTLS, r.Outcome)
	require.Contains(t, r.Detail, "revoked")
	require.Empty(t, i.Requests())
}

func TestOurCertificateIsShownWithItsChain(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	r := send(t, s, i.BaseURI(""))
	require.Equal(t, r.TLS.PeerSerial, r.Shown.Serial)
	require.Empty(t, r.Shown.Wrong)
	got := i.Requests()[0]
	require.Equal(t, s.holders[""].identity.Current().Leaf.Raw, got.TLS.PeerCertificates[0].Raw)
	require.GreaterOrEqual(t, len(got.TLS.PeerCertificates), 2, "the intermediate comes along")
	require.False(t, got.TLS.DidResume)
}

func TestAReceiverThatAsksForNoCertificateSeesNone(t *testing.T) {
	i := newInitiator(t, func(o *standin.Options) {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{o.Certificate}}
	})
	r := send(t, newSender(t), i.BaseURI(""))
	require.Equal(t, notice.OutcomeDelivered, r.Outcome)
	require.Empty(t, r.TLS.OwnSerial)
	require.Empty(t, i.Requests()[0].PeerSubject)
}

func TestAReceiverThatRefusesOurCertificateIsATLSError(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			i := newInitiator(t, func(o *standin.Options) {
				o.ClientCAs = mtlstest.Anchors(t, mtlstest.PKI(t).SealCA).Pool() // another authority
			})
			i.Connect(standin.Connection{MaxVersion: version, Always: true})
			s := newSender(t)
			for range 40 { // in TLS 1.3 the refusal races with our request
				r := send(t, s, i.BaseURI(""))
				require.Equal(t, notice.OutcomeTLS, r.Outcome, r.Detail)
				require.Contains(t, r.Detail, "the receiver ended the handshake")
			}
			require.Empty(t, i.Requests())
		})
	}
}

func TestOnlyTLSOfTheProfileIsSpoken(t *testing.T) {
	for name, behaviour := range map[string]standin.Connection{
		"TLS 1.0":                     {MaxVersion: tls.VersionTLS10},
		"TLS 1.1":                     {MaxVersion: tls.VersionTLS11},
		"another protocol only":       {NextProtos: []string{"spdy/3"}},
		"an HTTP answer":              {Garbage: []byte("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")},
		"rubbish":                     {Garbage: []byte("\x1b[2J<script>\r\n\u202e\x00")},
		"nothing and closed":          {Garbage: []byte{}},
		"an ALPN name with an escape": {NextProtos: []string{"\x1b[31m\r\n<script>"}},
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			behaviour.Always = true
			i.Connect(behaviour)
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeTLS, r.Outcome, r.Detail)
			requireShowable(t, r.Detail)
			require.Zero(t, r.FirstByteOut)
			require.Empty(t, i.Requests())
		})
	}
	t.Run("reset", func(t *testing.T) {
		i, s := newInitiator(t), newSender(t)
		i.Connect(standin.Connection{Reset: true, Always: true})
		r := send(t, s, i.BaseURI(""))
		// The reset may come before the connection was seen to be there.
		require.Contains(t, []notice.Outcome{notice.OutcomeTLS, notice.OutcomeConnect}, r.Outcome, r.Detail)
		require.Zero(t, r.FirstByteOut)
	})
	t.Run("plain HTTP", func(t *testing.T) {
		t.Parallel()
		i := newInitiator(t, func(o *standin.Options) { o.Plain = true })
		r := send(t, newSender(t, within(time.Second)), i.BaseURI(""))
		require.Contains(t, []notice.Outcome{notice.OutcomeTLS, notice.OutcomeTimeout}, r.Outcome, r.Detail)
		require.Zero(t, r.FirstByteOut)
		require.Empty(t, i.Requests(), "nothing is sent in clear")
	})
}

func TestAHostileSubjectIsStoredEscaped(t *testing.T) {
	i, s := newInitiator(t), newSender(t)
	profile := mtlstest.PKI(t).Server(certs.Organisation{
		ID: certs.DefaultAlfa.Organisation.ID, Name: "Alfa\r\n\x1b[31m<script>alert(1)</script>\u202e", CNPJ: certs.DefaultAlfa.Organisation.CNPJ,
	})
	leaf := mtlstest.Leaf(t, profile).TLS()
	i.Connect(standin.Connection{Certificate: &leaf})
	r := send(t, s, i.BaseURI(""))
	require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
	requireShowable(t, r.TLS.PeerSubject)
	require.Contains(t, r.TLS.PeerSubject, `3Cscript`)
	require.Contains(t, r.TLS.PeerSubject, `1B`)
	require.NotContains(t, r.TLS.PeerSubject, certs.DefaultAlfa.Organisation.CNPJ)
}

func TestAnAttemptIsNotMadeWithAnExpiredCertificate(t *testing.T) {
	t.Parallel()
	profile := mtlstest.PKI(t).HolderBRCAC()
	profile.NotAfter = time.Now().Add(2 * time.Second).Truncate(time.Second)
	identity := mtlstest.Identity(t, profile, mtls.AsClient)
	i := newInitiator(t)
	s := newSender(t, func(c *Config) { c.Identity = identity })
	<-time.After(time.Until(profile.NotAfter.Add(10 * time.Millisecond)))
	_, err := s.Send(t.Context(), newAttempt(i.BaseURI("")))
	require.ErrorIs(t, err, mtls.ErrOwnExpired)
	require.Zero(t, i.Connections())
}
