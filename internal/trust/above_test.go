package trust

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/mtls"
)

// TestAnAuthorityAboveTheIssuingOnesIsTold: public.client_ca with a root in it lets in whatever is issued below the root, and nothing said so.
func TestAnAuthorityAboveTheIssuingOnesIsTold(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	var serial int64
	issue := func(name string, by *x509.Certificate) *x509.Certificate {
		serial++
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		if by == nil {
			by = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), key)
		require.NoError(t, err)
		made, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return made
	}
	root := issue("root", nil)
	middle := issue("middle", root)
	issuing := issue("issuing", middle)
	for name, c := range map[string]struct {
		file []*x509.Certificate
		told []string
	}{
		"issuing alone":    {[]*x509.Certificate{issuing}, nil},
		"the root alone":   {[]*x509.Certificate{root}, []string{"CN=root"}},
		"one that signed":  {[]*x509.Certificate{issuing, middle}, []string{"CN=middle"}},
		"the whole ladder": {[]*x509.Certificate{root, middle, issuing}, []string{"CN=root", "CN=middle"}},
	} {
		t.Run(name, func(t *testing.T) {
			var text, log bytes.Buffer
			for _, one := range c.file {
				require.NoError(t, pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: one.Raw}))
			}
			file := filepath.Join(t.TempDir(), "clients.pem")
			require.NoError(t, os.WriteFile(file, text.Bytes(), 0o600))
			trusted := newTrust(&config.Config{}, slog.New(slog.NewTextHandler(&log, nil)), nil)
			trusted.Callers.Authorities, err = mtls.LoadAnchors(file)
			require.NoError(t, err)
			lines := trusted.aboveLines()
			trusted.tellAbove()
			require.Len(t, lines, len(c.told))
			for i, subject := range c.told {
				require.Contains(t, lines[i], "public.client_ca: "+subject+" signed itself or another of the file; name the authorities that issue")
				require.Contains(t, log.String(), "subject="+`"`+subject+`"`)
			}
			require.Equal(t, len(c.told), bytes.Count(log.Bytes(), []byte("level=WARN")))
		})
	}
}
