package certs_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
)

var shared = sync.OnceValues(func() (*certs.PKI, error) { return certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New}) })

func pki(t *testing.T) *certs.PKI {
	t.Helper()
	p, err := shared()
	require.NoError(t, err)
	return p
}

func issue(t *testing.T, profile certs.Profile) certs.Leaf {
	t.Helper()
	leaf, err := pki(t).Issue(profile)
	require.NoError(t, err)
	return leaf
}

// attributes reads a name as encoded: OID, string type and text of each attribute, in order.
func attributes(t *testing.T, raw []byte) [][3]any {
	t.Helper()
	var name []asn1.RawValue
	rest, err := asn1.Unmarshal(raw, &name)
	require.NoError(t, err)
	require.Empty(t, rest)
	var out [][3]any
	for _, set := range name {
		var a struct {
			OID   asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		rest, err := asn1.Unmarshal(set.Bytes, &a)
		require.NoError(t, err)
		require.Empty(t, rest, "one attribute per RDN")
		out = append(out, [3]any{a.OID.String(), a.Value.Tag, string(a.Value.Bytes)})
	}
	return out
}

func TestBRCACFollowsTheProfile(t *testing.T) {
	o := certs.DefaultAlfa.Organisation
	cert := issue(t, pki(t).InitiatorBRCAC(certs.DefaultAlfa)).Certificate
	const text, utf8 = asn1.TagPrintableString, asn1.TagUTF8String
	want := [][3]any{
		{"2.5.4.15", utf8, "Private Organization"},
		{"1.3.6.1.4.1.311.60.2.1.3", text, "BR"},
		{"2.5.4.5", text, o.CNPJ},
		{"2.5.4.6", text, "BR"},
		{"2.5.4.10", utf8, o.Name},
		{"2.5.4.8", utf8, "SP"},
		{"2.5.4.7", utf8, "Sao Paulo"},
		{"2.5.4.97", utf8, "OFBBR-" + o.ID},
		{"0.9.2342.19200300.100.1.1", utf8, certs.DefaultAlfa.SoftwareID},
		{"2.5.4.3", utf8, "webhook.alfa.example.com"},
	}
	require.Equal(t, want, attributes(t, cert.RawSubject), "security §4.2, in the order whose RFC 4514 text begins with CN")

	require.Equal(t, x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment, cert.KeyUsage)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
	require.Equal(t, []string{"webhook.alfa.example.com"}, cert.DNSNames)
	require.True(t, cert.BasicConstraintsValid)
	require.False(t, cert.IsCA)
	require.Equal(t, x509.SHA256WithRSA, cert.SignatureAlgorithm)
	require.Equal(t, 2048, cert.PublicKey.(*rsa.PublicKey).N.BitLen())
	for _, e := range cert.Extensions {
		require.Equal(t, e.Id.String() == "2.5.29.15" || e.Id.String() == "2.5.29.19", e.Critical, e.Id.String())
	}

	profile := pki(t).InitiatorBRCAC(certs.DefaultAlfa)
	profile.OldStyle, profile.ReverseOrder = true, true
	old := attributes(t, issue(t, profile).Certificate.RawSubject)
	require.Equal(t, [3]any{"2.5.4.11", utf8, o.ID}, old[2])
	require.Equal(t, want[0], old[9])
}

func TestBRSEALFollowsTheProfile(t *testing.T) {
	cert := issue(t, pki(t).HolderSeal()).Certificate
	var oids []string
	for _, a := range attributes(t, cert.RawSubject) {
		oids = append(oids, a[0].(string))
		if a[0] == "0.9.2342.19200300.100.1.1" {
			require.Equal(t, certs.DefaultHolder.ID, a[2], "the organisation, under the OID that is the software in a BRCAC")
		}
	}
	require.Equal(t, []string{"2.5.4.6", "2.5.4.10", "2.5.4.11", "2.5.4.11", "2.5.4.11", "0.9.2342.19200300.100.1.1", "2.5.4.3"}, oids)
	require.Equal(t, x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment, cert.KeyUsage)
	require.Empty(t, cert.ExtKeyUsage)

	i := indexOf(cert.Extensions, "2.5.29.17")
	require.GreaterOrEqual(t, i, 0)
	var names []asn1.RawValue
	_, err := asn1.Unmarshal(cert.Extensions[i].Value, &names)
	require.NoError(t, err)
	var others []string
	for _, n := range names {
		require.Equal(t, 0, n.Tag, "otherName")
		var oid asn1.ObjectIdentifier
		_, err := asn1.Unmarshal(n.Bytes, &oid)
		require.NoError(t, err)
		others = append(others, oid.String())
	}
	require.Equal(t, []string{"2.16.76.1.3.2", "2.16.76.1.3.3", "2.16.76.1.3.4", "2.16.76.1.3.7"}, others)
}

func indexOf(extensions []pkix.Extension, oid string) int {
	for i, e := range extensions {
		if e.Id.String() == oid {
			return i
		}
	}
	return -1
}

func pool(cas ...*certs.CA) *x509.CertPool {
	p := x509.NewCertPool()
	for _, ca := range cas {
		p.AddCert(ca.Certificate)
	}
	return p
}

func TestCertificatesVerifyForTheirPurposeOnly(t *testing.T) {
	p := pki(t)
	client, server := issue(t, p.HolderBRCAC()), issue(t, p.HolderServer())
	for _, leaf := range []certs.Leaf{client, server} {
		require.Len(t, leaf.Chain(), 2)
		require.NoError(t, leaf.Chain()[0].CheckSignatureFrom(leaf.Chain()[1]))
	}
	verify := func(leaf certs.Leaf, anchors *x509.CertPool, usage x509.ExtKeyUsage, name string) error {
		between := x509.NewCertPool()
		for _, c := range leaf.Chain()[1:] {
			between.AddCert(c)
		}
		_, err := leaf.Certificate.Verify(x509.VerifyOptions{
			Roots: anchors, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}, DNSName: name, CurrentTime: p.Now(),
		})
		return err
	}
	require.NoError(t, verify(client, pool(p.ClientCA), x509.ExtKeyUsageClientAuth, ""))
	require.NoError(t, verify(server, pool(p.Root), x509.ExtKeyUsageServerAuth, "localhost"))
	require.NoError(t, verify(server, pool(p.Root), x509.ExtKeyUsageServerAuth, "api.banco.example.com"))
	require.NoError(t, verify(server, pool(p.Root), x509.ExtKeyUsageServerAuth, "127.0.0.1"))
	require.Error(t, verify(client, pool(p.ClientCA), x509.ExtKeyUsageServerAuth, ""))
	require.Error(t, verify(client, pool(p.ServerCA), x509.ExtKeyUsageClientAuth, ""), "the issuing authorities are told apart")

	for _, defect := range []certs.Defect{
		certs.Expired, certs.NotYetValid, certs.WrongPurpose, certs.WrongName, certs.OtherCA, certs.SelfSigned, certs.CommonNameOnly,
	} {
		leaf := issue(t, p.Spoil(p.HolderServer(), defect))
		require.Error(t, verify(leaf, pool(p.Root), x509.ExtKeyUsageServerAuth, "localhost"), defect)
	}
	weak := issue(t, p.Spoil(p.HolderServer(), certs.WeakKey))
	require.Equal(t, 1024, weak.Certificate.PublicKey.(*rsa.PublicKey).N.BitLen())
	stranger := issue(t, p.Spoil(p.InitiatorBRCAC(certs.DefaultAlfa), certs.WrongOrganisation))
	require.NoError(t, verify(stranger, pool(p.ClientCA), x509.ExtKeyUsageClientAuth, ""), "TLS cannot see that one")
	require.NotContains(t, string(stranger.Certificate.RawSubject), certs.DefaultAlfa.Organisation.ID)
}

func TestListsAndResponderSayWhatWasRevoked(t *testing.T) {
	p := pki(t)
	good := issue(t, p.InitiatorBRCAC(certs.DefaultAlfa)).Certificate
	bad := issue(t, p.Spoil(p.InitiatorBRCAC(certs.DefaultAlfa), certs.Revoked)).Certificate
	der, err := p.FreshCRL(p.ClientCA)
	require.NoError(t, err)
	list, err := x509.ParseRevocationList(der)
	require.NoError(t, err)
	require.NoError(t, list.CheckSignatureFrom(p.ClientCA.Certificate))
	listed := map[string]bool{}
	for _, e := range list.RevokedCertificateEntries {
		listed[e.SerialNumber.String()] = true
	}
	require.True(t, listed[bad.SerialNumber.String()])
	require.False(t, listed[good.SerialNumber.String()])

	responder := httptest.NewServer(mtlstest.OCSPHandler(p))
	defer responder.Close()
	unknown := *good
	unknown.SerialNumber = big.NewInt(99)
	for _, get := range []bool{false, true} {
		for status, cert := range map[int]*x509.Certificate{ocsp.Good: good, ocsp.Revoked: bad, ocsp.Unknown: &unknown} {
			question, err := ocsp.CreateRequest(cert, p.ClientCA.Certificate, nil)
			require.NoError(t, err)
			var response *http.Response
			if get {
				response, err = http.Get(responder.URL + "/" + base64.URLEncoding.EncodeToString(question))
				if bytes.ContainsAny([]byte(base64.StdEncoding.EncodeToString(question)), "+/") {
					response.Body.Close()
					continue // RFC 6960 escapes those; POST has covered them
				}
			} else {
				response, err = http.Post(responder.URL, "application/ocsp-request", bytes.NewReader(question))
			}
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			require.NoError(t, err)
			answer, err := ocsp.ParseResponseForCert(body, cert, p.ClientCA.Certificate)
			require.NoError(t, err)
			require.Equal(t, status, answer.Status)
		}
	}
}

func TestWriteMakesWhatTheSettingsExpect(t *testing.T) {
	p := pki(t)
	dir := filepath.Join(t.TempDir(), "pki")
	require.NoError(t, p.Write(dir, certs.Content{Bad: true}))
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return content
	}
	pairs := []string{"holder/server", "holder/brcac", "holder/brseal", "initiators/alfa/brcac", "initiators/beta/server", "bad/client-expired", "bad/server-weak-key"}
	for _, pair := range pairs {
		_, err := tls.X509KeyPair(read(pair+".pem"), read(pair+".key"))
		require.NoError(t, err, pair)
		block, rest := pem.Decode(read(pair + ".key"))
		require.Equal(t, "PRIVATE KEY", block.Type)
		require.Empty(t, rest)
	}
	require.Equal(t, certs.CertPEM(p.ClientCA.Certificate), read("trust/clients.pem"), "issuing authorities and nothing above them")
	require.Equal(t, certs.CertPEM(p.Root.Certificate), read("trust/roots.pem"))
	for _, name := range []string{"directory", "tokens", "internal", "holder"} {
		var set struct {
			Keys []struct{ Kty, Kid, Alg, Use, N, E string }
		}
		require.NoError(t, json.Unmarshal(read(name+"/jwks.json"), &set))
		require.Len(t, set.Keys, 1)
		require.Equal(t, "PS256", set.Keys[0].Alg)
		require.NotEmpty(t, set.Keys[0].Kid)
		require.Equal(t, "AQAB", set.Keys[0].E)
		n, err := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
		require.NoError(t, err)
		require.Len(t, n, 256)
	}
	require.NotContains(t, string(read("directory/jwks.json")), `"d"`)
	for _, list := range []string{"clients", "clients-stale", "servers", "root"} {
		block, _ := pem.Decode(read("crl/" + list + ".crl"))
		_, err := x509.ParseRevocationList(block.Bytes)
		require.NoError(t, err)
	}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		require.NoError(t, err)
		if filepath.Ext(path) == ".key" {
			require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), path)
		}
		require.NotEqual(t, ".new", filepath.Ext(path))
		return nil
	}))
	var manifest certs.FolderManifest
	require.NoError(t, json.Unmarshal(read("pki.json"), &manifest))
	require.True(t, manifest.DevelopmentOnly)
	require.Equal(t, certs.DefaultHolder.ID, manifest.OrganisationID)
	require.Len(t, manifest.Initiators, 2)

	before := read("holder/brcac.pem")
	require.ErrorIs(t, p.Write(dir, certs.Content{}), certs.ErrExists)
	require.Equal(t, before, read("holder/brcac.pem"))
	require.NoError(t, p.Write(dir, certs.Content{Overwrite: true}))
	require.NotEqual(t, before, read("holder/brcac.pem"))
}

func TestNamesThatCouldLeaveTheFolderAreRefused(t *testing.T) {
	for _, name := range []string{"../evil", "", "a/b", "a b", "."} {
		_, err := certs.New(certs.Options{Initiators: []certs.Participant{{Name: name}}})
		require.ErrorContains(t, err, "names a folder")
	}
}

func TestEveryKeyIsItsOwnUnlessSharedForTests(t *testing.T) {
	p, err := certs.New(certs.Options{Now: time.Now()})
	require.NoError(t, err)
	leaves, err := p.IssueAll(p.HolderServer(), p.HolderBRCAC())
	require.NoError(t, err)
	require.False(t, leaves[0].Key.Equal(leaves[1].Key))
	require.False(t, p.Directory.Key.Equal(p.Tokens.Key))
	require.True(t, issue(t, pki(t).HolderServer()).Key.Equal(issue(t, pki(t).HolderBRCAC()).Key))
}
