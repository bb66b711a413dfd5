package webhook

import (
	"crypto/tls"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
)

// TestWhatIsMissingInAChainIsTold: a missing intermediate, a self-signed certificate and a foreign authority have different cures.
func TestWhatIsMissingInAChainIsTold(t *testing.T) {
	pki := mtlstest.PKI(t)
	leaf := mtlstest.Leaf(t, pki.Server(certs.DefaultAlfa.Organisation))
	selfSigned := mtlstest.Leaf(t, pki.Spoil(pki.Server(certs.DefaultAlfa.Organisation), certs.SelfSigned))
	other, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err)
	foreign := mtlstest.Leaf(t, other.Server(certs.DefaultAlfa.Organisation))
	require.NotEqual(t, leaf.Issuer.Certificate.RawSubject, pki.Root.Certificate.RawSubject, "there is an intermediate")
	for name, c := range map[string]struct {
		shown tls.Certificate
		says  string
	}{
		"the intermediate is missing": {tls.Certificate{Certificate: [][]byte{leaf.Certificate.Raw}, PrivateKey: leaf.Key}, "sent its own certificate alone; it must send its intermediate too"},
		"self-signed":                 {selfSigned.TLS(), "it is self-signed"},
		"another intermediate": {
			tls.Certificate{Certificate: [][]byte{leaf.Certificate.Raw, pki.SealCA.Certificate.Raw}, PrivateKey: leaf.Key},
			"none of the certificates that the receiver sent with its own is its issuer's",
		},
		"a foreign authority, the root sent": {
			tls.Certificate{Certificate: [][]byte{foreign.Certificate.Raw, foreign.Issuer.Certificate.Raw, other.Root.Certificate.Raw}, PrivateKey: foreign.Key},
			"which is not in webhook.root_ca",
		},
		"a foreign authority": {
			tls.Certificate{Certificate: [][]byte{foreign.Certificate.Raw, foreign.Issuer.Certificate.Raw}, PrivateKey: foreign.Key},
			"did not send the certificate of the next issuer, or it is none of ours",
		},
	} {
		t.Run(name, func(t *testing.T) {
			i, s := newInitiator(t), newSender(t)
			i.Connect(standin.Connection{Certificate: &c.shown, Always: true})
			r := send(t, s, i.BaseURI(""))
			require.Equal(t, notice.OutcomeTLS, r.Outcome)
			require.Contains(t, r.Detail, "tls: certificate signed by unknown authority: ")
			require.Contains(t, r.Detail, c.says)
			requireShowable(t, r.Detail)
			require.Equal(t, r.Detail, r.Shown.Wrong)
		})
	}
}

// TestAReceiverThatNeverAsksForOurCertificateIsTold: Apache answers 403 in TLS 1.3 where it wants one for a location only.
func TestAReceiverThatNeverAsksForOurCertificateIsTold(t *testing.T) {
	i := newInitiator(t, func(o *standin.Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{serverCertificate(t).TLS()}, MinVersion: tls.VersionTLS13, ClientAuth: tls.NoClientCert}
	})
	i.Answer("", standin.Refuse(http.StatusForbidden))
	r := send(t, newSender(t), i.BaseURI(""))
	require.Equal(t, notice.OutcomeRefused, r.Outcome)
	require.Contains(t, r.Detail, "403 Forbidden; the receiver did not ask for our certificate")
	require.Contains(t, r.Detail, "SSLVerifyClient for the whole virtual host")

	asking := newInitiator(t)
	asking.Answer("", standin.Refuse(http.StatusForbidden))
	require.Equal(t, "403 Forbidden", send(t, newSender(t), asking.BaseURI("")).Detail, "one that asked refuses for another reason")
}

func TestAReceiverThatAsksAfterTheRequestIsTold(t *testing.T) {
	x := &exchange{conn: &conn{broken: errors.New("local error: tls: no renegotiation"), facts: notice.TLSFacts{Version: tls.VersionName(tls.VersionTLS12)}}}
	outcome, detail := classifyExchange(x, x.conn.broken)
	require.Equal(t, notice.OutcomeTLS, outcome)
	require.Contains(t, detail, "asked for our certificate only after the request")
	require.Contains(t, detail, "not for a location")
}

func TestTheAuthoritiesThatAReceiverNamesAreCompared(t *testing.T) {
	pki := mtlstest.PKI(t)
	chain := mtlstest.Leaf(t, pki.HolderBRCAC()).Chain()
	seen, err := offered(nil, chain)
	require.NoError(t, err)
	require.Contains(t, seen.en, "names no authorities")
	seen, err = offered([][]byte{pki.SealCA.Certificate.RawSubject, chain[0].RawIssuer}, chain)
	require.NoError(t, err)
	require.Contains(t, seen.en, mtls.Issuer(chain[0])+" is among the 2 authorities")
	_, err = offered([][]byte{{0x30, 0x05}}, chain)
	require.ErrorContains(t, err, "no name that can be read")
}
