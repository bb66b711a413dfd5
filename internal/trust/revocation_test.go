package trust

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// reloads hands on what it is told.
type reloads struct {
	Observer
	told chan Reload
}

func (r reloads) Reloaded(one Reload)                  { r.told <- one }
func (reloads) Judged(string, mtls.RevocationDecision) {}
func (reloads) Renewed()                               {}

// TestWhatMayBeSecretInAnAddressOfRevocationIsNotShown: pages, metrics, /readyz and the log took it from here, whole. Two addresses that look alike are
// told apart.
func TestWhatMayBeSecretInAnAddressOfRevocationIsNotShown(t *testing.T) {
	pki := mtlstest.PKI(t)
	der, err := pki.FreshCRL(pki.ClientCA)
	require.NoError(t, err)
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("key") != "s3cr3t-1" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = w.Write(der)
	}))
	address, away := authority.URL+"/list.crl", "http://127.0.0.1:1/list.crl"
	settings := &config.RevocationSettings{
		CRL: []string{address + "?key=s3cr3t-1", address + "?key=s3cr3t-2", away + "?key=s3cr3t-3"}, OCSP: true, OCSPResponder: authority.URL + "/ocsp?key=s3cr3t-4",
		CRLTTL: time.Hour, CRLRefresh: time.Hour, OCSPTTL: time.Hour, SoftFail: time.Hour,
	}
	var log bytes.Buffer
	seen := reloads{told: make(chan Reload, 10)}
	tr := &Trust{cfg: config.Standard(), log: slog.New(slog.NewJSONHandler(&log, nil)), observer: seen, fetcher: authority.Client(), Callers: &mtls.Callers{}}
	t.Cleanup(authority.Close)
	tr.cfg.StateDir = t.TempDir()
	tr.Callers.Revocation, err = tr.newRevocation(settings, calling)
	require.NoError(t, err)
	tr.FetchLists(t.Context())
	shown := []string{address + "?xxxxx", address + "?xxxxx (2)", away + "?xxxxx"}
	var named []string
	for _, l := range tr.RevocationLists() {
		named = append(named, l.Source)
	}
	require.ElementsMatch(t, shown, named, "each address has a name of its own, for the metric")

	leaf := mtlstest.Leaf(t, pki.InitiatorBRCAC(certs.DefaultAlfa))
	_, err = tr.Callers.Revocation.Judge(tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf.Certificate, pki.ClientCA.Certificate}}})
	require.NoError(t, err)
	require.Contains(t, log.String(), "revocation list not fetched")
	require.Contains(t, log.String(), "ask the OCSP responder "+authority.URL+"/ocsp?xxxxx: it answered 403", "a fallback names the responder")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { tr.RefreshLists(ctx) })
	var reloaded []string
	for range 2 { // of the first there is no news
		one := <-seen.told
		require.Contains(t, one.Err.Error(), one.Source)
		reloaded = append(reloaded, one.Source, one.Err.Error(), fmt.Sprint(one.InForce))
	}
	cancel()
	running.Wait()
	require.Contains(t, reloaded, shown[1])
	require.Contains(t, reloaded[2], shown[0], "what is in force")
	for _, text := range append(reloaded, log.String(), strings.Join(named, " ")) {
		require.NotContains(t, text, "s3cr3t")
	}
}
