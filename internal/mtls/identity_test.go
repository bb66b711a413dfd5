package mtls_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

func write(t *testing.T, file string, mode fs.FileMode, contents ...[]byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, bytes.Join(contents, nil), 0o600))
	require.NoError(t, os.Chmod(file, mode))
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestIdentityIsRefusedWithFileReasonAndCure(t *testing.T) {
	pki := mtlstest.PKI(t)
	leaf := mtlstest.Leaf(t, pki.HolderBRCAC())
	stranger, err := keystock.New(2048)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	curveDER, err := x509.MarshalPKCS8PrivateKey(curve)
	require.NoError(t, err)
	key := leaf.KeyPEM()
	cert := leaf.CertPEM()
	spoilt := func(d certs.Defect) certs.Leaf { return mtlstest.Leaf(t, pki.Spoil(pki.HolderBRCAC(), d)) }
	secret := string(bytes.Split(key, []byte("\n"))[3]) // a line of the key that no message may show

	cases := map[string]struct {
		cert, key []byte
		mode      fs.FileMode
		want      string
	}{
		"key readable by the group": {cert, key, 0o640, "mode 0640"},
		"key readable by all":       {cert, key, 0o644, "chmod 600"},
		"key writable twice":        {cert, key, 0o700, "mode 0700"},
		"encrypted key":             {cert, block("ENCRYPTED PRIVATE KEY", []byte("x")), 0o600, "encrypted"},
		"encrypted the old way":     {cert, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}}), 0o600, "encrypted"},
		"two keys":                  {cert, append(bytes.Clone(key), key...), 0o600, "more than one key"},
		"no key":                    {cert, []byte("hello"), 0o600, "no PEM key"},
		"a certificate as key":      {cert, cert[:bytes.Index(cert, []byte("-----END"))+len("-----END CERTIFICATE-----\n")], 0o600, "PEM block"},
		"a torn key":                {cert, block("PRIVATE KEY", []byte("x")), 0o600, "cannot be parsed"},
		"elliptic key":              {cert, block("PRIVATE KEY", curveDER), 0o600, "not RSA"},
		"another's key":             {cert, certs.KeyPEM(stranger), 0o600, "does not belong"},
		"weak key":                  {spoilt(certs.WeakKey).CertPEM(), spoilt(certs.WeakKey).KeyPEM(), 0o600, "1024 bits"},
		"expired":                   {spoilt(certs.Expired).CertPEM(), key, 0o600, "expired"},
		"not yet valid":             {spoilt(certs.NotYetValid).CertPEM(), key, 0o600, "not valid before"},
		"a server's certificate":    {mtlstest.Leaf(t, pki.HolderServer()).CertPEM(), key, 0o600, "not for clientAuth"},
		"chain in reverse":          {certs.CertPEM(pki.ClientCA.Certificate, leaf.Certificate), key, 0o600, "leaf first"},
		"another's intermediate":    {certs.CertPEM(leaf.Certificate, pki.ServerCA.Certificate), key, 0o600, "not issued by"},
		"key beside certificates":   {append(bytes.Clone(cert), key...), key, 0o600, "private key beside"},
		"no certificate":            {[]byte("hello"), key, 0o600, "no PEM certificate"},
		"a torn certificate":        {block("CERTIFICATE", []byte("x")), key, 0o600, "cannot be parsed"},
		"a request":                 {block("CERTIFICATE REQUEST", []byte("x")), key, 0o600, "PEM block"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
			write(t, certFile, 0o644, c.cert)
			write(t, keyFile, c.mode, c.key)
			_, err := mtls.LoadIdentity(certFile, keyFile, mtls.AsClient)
			var file *mtls.FileError
			require.ErrorAs(t, err, &file)
			require.ErrorContains(t, err, c.want)
			require.Contains(t, []string{certFile, keyFile}, file.File)
			require.NotEmpty(t, file.Cure)
			require.NotContains(t, err.Error(), secret)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestFilesThatCannotBeReadAreNamed(t *testing.T) {
	f := mtlstest.Write(t, mtlstest.Leaf(t, mtlstest.PKI(t).HolderBRCAC()))
	_, err := mtls.LoadIdentity(f.Cert+"x", f.Key)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, f.Cert+"x: cannot be read")
	_, err = mtls.LoadIdentity(f.Cert, "")
	require.ErrorContains(t, err, "no file name")
	_, err = mtls.LoadIdentity(filepath.Dir(f.Cert), f.Key)
	require.ErrorContains(t, err, "not a regular file")
	_, err = mtls.LoadAnchors()
	require.Error(t, err)
}

func TestKeysInEveryPermittedFormAreRead(t *testing.T) {
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).HolderBRCAC())
	file := filepath.Join(t.TempDir(), "k.pem")
	for _, content := range [][]byte{leaf.KeyPEM(), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(leaf.Key))} {
		for _, mode := range []fs.FileMode{0o600, 0o400} {
			_ = os.Remove(file)
			write(t, file, mode, content)
			key, err := mtls.LoadKey(file)
			require.NoError(t, err)
			require.True(t, key.Equal(leaf.Key))
		}
	}
}

func TestABrokenSuccessorIsRefusedAndTheOldOneKept(t *testing.T) {
	pki := mtlstest.PKI(t)
	old := mtlstest.Leaf(t, pki.HolderBRCAC())
	f := mtlstest.Write(t, old)
	id, err := mtls.LoadIdentity(f.Cert, f.Key, mtls.AsClient)
	require.NoError(t, err)
	changed, err := id.Reload()
	require.NoError(t, err)
	require.False(t, changed, "the same content is no change")

	other, err := keystock.New(2048)
	require.NoError(t, err)
	refused := func(want string) {
		t.Helper()
		changed, err := id.Reload()
		require.False(t, changed)
		require.ErrorContains(t, err, want)
		require.True(t, id.Current().Leaf.Equal(old.Certificate))
		require.EqualValues(t, 1, id.Generation())
	}
	require.NoError(t, os.WriteFile(f.Key, certs.KeyPEM(other), 0o600))
	refused("does not belong")
	f.Replace(t, mtlstest.Leaf(t, pki.Spoil(pki.HolderBRCAC(), certs.Expired)))
	refused("expired")
	require.NoError(t, os.WriteFile(f.Cert, old.CertPEM()[:100], 0o600))
	refused("certificate 1 is damaged")
	require.NoError(t, os.Remove(f.Key))
	refused("cannot be read")

	f.Replace(t, old)
	changed, err = id.Reload()
	require.NoError(t, err)
	require.False(t, changed, "back to what is in force")
	renewed := mtlstest.Leaf(t, pki.HolderBRCAC())
	f.Replace(t, renewed)
	changed, err = id.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	require.True(t, id.Current().Leaf.Equal(renewed.Certificate))
	require.EqualValues(t, 2, id.Generation())
}

func TestReadinessEndsBeforeTheCertificateDoes(t *testing.T) {
	pki := mtlstest.PKI(t)
	id := mtlstest.Identity(t, pki.ExpiringIn(pki.HolderBRCAC(), 8*24*time.Hour+time.Hour))
	end := id.Current().Leaf.NotAfter
	require.NoError(t, id.Ready(end.Add(-mtls.ReadyMargin)))
	require.ErrorIs(t, id.Ready(end.Add(-mtls.ReadyMargin+time.Second)), mtls.ErrOwnExpired)

	calendar := id.Expiries()
	require.Len(t, calendar, 2, "the leaf and its intermediate")
	require.Equal(t, end, calendar[0].NotAfter)
	require.Equal(t, 8, calendar[0].Days(pki.Now()))
	require.Equal(t, 0, calendar[0].Days(end.Add(-time.Hour)))
	require.Equal(t, -1, calendar[0].Days(end.Add(time.Second)))
	require.Equal(t, time.Hour, calendar[0].Left(end.Add(-time.Hour)))
	require.Contains(t, calendar[0].Subject, "organizationIdentifier=OFBBR-"+certs.DefaultHolder.ID)
	require.NotContains(t, calendar[0].Subject, certs.DefaultHolder.CNPJ)
	require.Len(t, mtlstest.Roots(t).Expiries(), 1)
}

func TestAnchorsAreAuthoritiesOnly(t *testing.T) {
	pki := mtlstest.PKI(t)
	leaf := mtlstest.Leaf(t, pki.HolderBRCAC())
	file := filepath.Join(t.TempDir(), "a.pem")

	write(t, file, 0o644, certs.CertPEM(pki.ClientCA.Certificate, leaf.Certificate))
	_, err := mtls.LoadAnchors(file)
	require.ErrorContains(t, err, "certificate 2 is not an authority's")

	write(t, file, 0o644, certs.CertPEM(pki.ClientCA.Certificate))
	second := mtlstest.AnchorsFile(t, pki.SealCA)
	anchors, err := mtls.LoadAnchors(file, second)
	require.NoError(t, err)
	require.Len(t, anchors.Certificates(), 2)

	write(t, file, 0o644, []byte("gone"))
	_, err = anchors.Reload()
	require.ErrorContains(t, err, file)
	require.Len(t, anchors.Certificates(), 2)
	require.EqualValues(t, 1, anchors.Generation())

	anchors.SetClock(func() time.Time { return time.Now().AddDate(30, 0, 0) })
	write(t, file, 0o644, certs.CertPEM(pki.ServerCA.Certificate))
	_, err = anchors.Reload()
	require.ErrorContains(t, err, "every authority in it has expired")
}

// TestAnAuthorityThatCannotBeUsedCostsNoOther: bundles hold authorities of every kind, and one must not keep the others out.
func TestAnAuthorityThatCannotBeUsedCostsNoOther(t *testing.T) {
	pki := mtlstest.PKI(t)
	brainpool, err := os.ReadFile("testdata/brainpool.crt") // a curve that Go does not know
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Raiz P-256"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, curve.Public(), curve)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "roots.pem")
	write(t, file, 0o644, slices.Concat(brainpool, certs.CertPEM(pki.ClientCA.Certificate), block("CERTIFICATE", der), certs.CertPEM(pki.SealCA.Certificate)))

	anchors, err := mtls.LoadAnchors(file)
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{pki.ClientCA.Certificate, pki.SealCA.Certificate}, anchors.Certificates())
	left := anchors.LeftOut()
	require.Len(t, left, 2)
	require.Equal(t, 1, left[0].Position)
	require.Contains(t, left[0].Subject, "CN=Raiz Brainpool")
	require.Contains(t, left[0].Reason, "curve")
	require.Equal(t, 3, left[1].Position)
	require.Contains(t, left[1].String(), "certificate 3 (CN=Raiz P-256) is left out: it has no RSA key of 2048 bits or more")

	write(t, file, 0o644, certs.CertPEM(pki.ClientCA.Certificate))
	changed, err := anchors.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	require.Empty(t, anchors.LeftOut())

	write(t, file, 0o644, brainpool)
	_, err = anchors.Reload()
	require.ErrorContains(t, err, "holds no authority that can be used")
	write(t, file, 0o644, slices.Concat(certs.CertPEM(pki.ClientCA.Certificate), block("CERTIFICATE", []byte("x"))))
	_, err = anchors.Reload()
	require.ErrorContains(t, err, "certificate 2 is damaged", "what is no certificate is no authority of a kind we do not know")
	require.Len(t, anchors.Certificates(), 1)
	whole, other := certs.CertPEM(pki.ClientCA.Certificate), certs.CertPEM(pki.SealCA.Certificate)
	for name, content := range map[string][]byte{
		"cut off at the end":     slices.Concat(whole, other[:len(other)-40]),
		"behind a mark of order": slices.Concat(whole, []byte("\ufeff"), other),
		"behind blanks":          slices.Concat(whole, []byte("  "), other),
		"only begun":             slices.Concat(whole, other[:len("-----BEGIN CERTIFICATE-----\n")+5]),
		"no base64, and last":    slices.Concat(whole, bytes.Replace(other, []byte("MII"), []byte("M?I"), 1)),
		"no base64, and before":  slices.Concat(whole, bytes.Replace(other, []byte("MII"), []byte("M?I"), 1), certs.CertPEM(pki.ServerCA.Certificate)),
	} {
		write(t, file, 0o644, content)
		_, err = anchors.Reload()
		require.ErrorContains(t, err, "certificate 2 is damaged", name)
		require.Len(t, anchors.Certificates(), 1, name)
	}
	write(t, file, 0o644, slices.Concat([]byte("# the seals -----BEGIN CERTIFICATE----- \r\n"), other, []byte("\n# text\n"), bytes.ReplaceAll(whole, []byte("\n"), []byte("\r\n"))))
	_, err = anchors.Reload()
	require.NoError(t, err, "text between blocks and other ends of lines are no damage")
	require.Len(t, anchors.Certificates(), 2)
}
