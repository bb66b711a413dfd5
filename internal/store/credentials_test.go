package store

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/mtlstest"
)

// TestAClientCertificateThatRotatesIsReadAgainForEachSession replaces the files that the URL names, for every host of it.
func TestAClientCertificateThatRotatesIsReadAgainForEachSession(t *testing.T) {
	pki := mtlstest.PKI(t)
	first, second := mtlstest.Leaf(t, pki.HolderBRCAC()), mtlstest.Leaf(t, pki.HolderServer())
	files := mtlstest.Write(t, first)
	query := url.Values{"sslmode": {"require"}, "sslcert": {files.Cert}, "sslkey": {files.Key}}
	o := Options{URL: "postgres://arauto_serve@db1.bank.example,db2.bank.example:5433/arauto?" + query.Encode()}
	cfg, err := pgx.ParseConfig(o.URL)
	require.NoError(t, err)

	shown := func() (all []string) {
		c := cfg.Copy()
		require.NoError(t, freshCredentials(o)(t.Context(), c))
		hosts := append([]*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
		for _, one := range hosts {
			leaf, err := x509.ParseCertificate(one.TLSConfig.Certificates[0].Certificate[0])
			require.NoError(t, err)
			all = append(all, one.Host+" "+leaf.SerialNumber.String())
		}
		return all
	}
	of := func(pemText []byte) string {
		block, _ := pem.Decode(pemText)
		leaf, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		return leaf.SerialNumber.String()
	}
	require.Equal(t, []string{"db1.bank.example " + of(first.CertPEM()), "db2.bank.example " + of(first.CertPEM())}, shown())
	files.Replace(t, second)
	require.Equal(t, []string{"db1.bank.example " + of(second.CertPEM()), "db2.bank.example " + of(second.CertPEM())}, shown())

	require.NoError(t, os.Remove(files.Key))
	err = freshCredentials(o)(t.Context(), cfg.Copy())
	require.ErrorIs(t, err, ErrUnavailable, "it is waited for, as a password is")
	require.Equal(t, CauseCredentials, CauseOf(err))
	require.ErrorContains(t, err, files.Key)

	_, err = Open(t.Context(), Options{URL: "postgres://a@h/d?sslmode=verify-full&sslrootcert=" + url.QueryEscape(filepath.Join(t.TempDir(), "absent.pem"))})
	require.ErrorContains(t, err, "absent.pem: no such file")
	require.NotErrorIs(t, err, ErrURL)
}
