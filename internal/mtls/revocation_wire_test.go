package mtls_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// listsOf writes the fresh lists of authorities and returns the files.
func listsOf(t *testing.T, authorities ...*certs.CA) []string {
	t.Helper()
	var files []string
	for _, ca := range authorities {
		der, err := mtlstest.PKI(t).FreshCRL(ca)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "list.crl")
		require.NoError(t, os.WriteFile(file, der, 0o600))
		files = append(files, file)
	}
	return files
}

func TestRevokedInitiatorsDoNotGetThrough(t *testing.T) {
	pki := mtlstest.PKI(t)
	bad := mtlstest.Leaf(t, pki.Spoil(alfa(t), certs.Revoked))
	r := newRevocation(t, mtls.RevocationOptions{CRLFiles: listsOf(t, pki.ClientCA)})
	g := openGate(t, r.Check)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := alfaConfig(t)
		c.MaxVersion = version
		_, err := g.get(c)
		require.NoError(t, err)
		c = mtlstest.InitiatorConfig(t, bad)
		c.MaxVersion = version
		_, err = g.get(c)
		require.Error(t, err)
	}
	require.EqualValues(t, 2, g.requests.Load())
}

func TestRevokedReceiversSeeNoByteOfTheRequest(t *testing.T) {
	pki := mtlstest.PKI(t)
	responder := httptest.NewServer(mtlstest.OCSPHandler(pki))
	defer responder.Close()
	good := mtlstest.Leaf(t, pki.InitiatorServer(certs.DefaultAlfa))
	bad := mtlstest.Leaf(t, pki.Spoil(pki.InitiatorServer(certs.DefaultAlfa), certs.Revoked))
	id, roots := mtlstest.HolderClient(t), mtlstest.Roots(t)
	var evidence []mtls.Evidence
	options := map[string]mtls.RevocationOptions{
		"by list":      {CRLFiles: listsOf(t, pki.ServerCA, pki.Root)},
		"by responder": {OCSP: true, OCSPResponder: responder.URL, HTTP: responder.Client()},
	}
	for name, o := range options {
		o.Observe = func(d mtls.RevocationDecision) { evidence = append(evidence, d.Evidence) }
		r := newRevocation(t, o)
		config := mtls.ClientConfig(id, roots, "localhost", r.Check)

		well := openReceiverWith(t, mtlstest.ReceiverConfig(t, good))
		_, err := post(well.addr, config)
		require.NoError(t, err, name)
		require.Positive(t, well.settle(t), name)

		badly := openReceiverWith(t, mtlstest.ReceiverConfig(t, bad))
		_, err = post(badly.addr, config)
		require.ErrorIs(t, err, mtls.ErrRevoked, name)
		require.Zero(t, badly.settle(t), name)
	}
	require.Contains(t, evidence, mtls.CRL)
	require.Contains(t, evidence, mtls.OCSPFetch)
}

func TestAStapledAnswerIsAskedForAndUsed(t *testing.T) {
	pki := mtlstest.PKI(t)
	leaf := mtlstest.Leaf(t, pki.InitiatorServer(certs.DefaultAlfa))
	now := time.Now()
	staple, err := mtlstest.OCSPResponse(pki, pki.ServerCA, leaf.Certificate, now.Add(-time.Minute), now.Add(time.Hour))
	require.NoError(t, err)
	server := mtlstest.ReceiverConfig(t, leaf)
	server.Certificates[0].OCSPStaple = staple
	var decisions []mtls.RevocationDecision
	r := newRevocation(t, mtls.RevocationOptions{
		OCSP: true, OCSPResponder: "http://127.0.0.1:1/", HTTP: &http.Client{Timeout: time.Second},
		Observe: func(d mtls.RevocationDecision) { decisions = append(decisions, d) },
	})
	receiver := openReceiverWith(t, server)
	_, err = post(receiver.addr, mtls.ClientConfig(mtlstest.HolderClient(t), mtlstest.Roots(t), "localhost", r.Check))
	require.NoError(t, err)
	require.Equal(t, mtls.Stapled, decisions[0].Evidence)
}
