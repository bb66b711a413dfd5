package mtls_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// epoch is where synctest's clock begins, and so the PKI of these tests.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var virtual = sync.OnceValues(func() (*certs.PKI, error) {
	return certs.New(certs.Options{Now: epoch, SharedLeafKey: true, NewKey: keystock.New, OCSPURL: "http://ocsp.example.com/"})
})

func virtualPKI(t *testing.T) *certs.PKI {
	t.Helper()
	pki, err := virtual()
	require.NoError(t, err)
	return pki
}

// network stands in for responders and publishers, in memory: what it is told to answer, by host.
type network struct {
	mu    sync.Mutex
	hosts map[string]http.Handler
	calls int
}

func (n *network) set(host string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = map[string]http.Handler{}
	}
	n.hosts[host] = h
}

func (n *network) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	h := n.hosts[r.URL.Host]
	n.calls++
	n.mu.Unlock()
	if h == nil {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (n *network) client() *http.Client { return &http.Client{Transport: n} }

// slow answers after a while.
func slow(d time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			h.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

func bytesHandler(content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
}

// connected is what a handshake with the certificate leads to.
func connected(leaf certs.Leaf, chain ...*certs.CA) tls.ConnectionState {
	verified := []*x509.Certificate{leaf.Certificate}
	for _, ca := range chain {
		verified = append(verified, ca.Certificate)
	}
	return tls.ConnectionState{PeerCertificates: verified[:1], VerifiedChains: [][]*x509.Certificate{verified}}
}

func issue(t *testing.T, pki *certs.PKI, p certs.Profile) certs.Leaf {
	t.Helper()
	leaf, err := pki.Issue(p)
	require.NoError(t, err)
	return leaf
}

func crl(t *testing.T, pki *certs.PKI, ca *certs.CA, from, to time.Duration) []byte {
	t.Helper()
	der, err := pki.CRL(ca, epoch.Add(from), epoch.Add(to))
	require.NoError(t, err)
	return der
}

func newRevocation(t *testing.T, o mtls.RevocationOptions) *mtls.Revocation {
	t.Helper()
	r, err := mtls.NewRevocation(o)
	require.NoError(t, err)
	return r
}

// last judges and returns the decision on the leaf.
func last(t *testing.T, r *mtls.Revocation, cs tls.ConnectionState) mtls.RevocationDecision {
	t.Helper()
	d, err := r.Judge(cs)
	require.NotEmpty(t, d)
	if d[0].Verdict == mtls.Good {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, mtls.ErrPeer)
	}
	return d[0]
}

func TestResponderDownThenListExpiredThenBothBack(t *testing.T) { // cases H3
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	bad := issue(t, pki, pki.Spoil(pki.InitiatorBRCAC(certs.DefaultAlfa), certs.Revoked))
	file := filepath.Join(t.TempDir(), "clients.crl")
	require.NoError(t, os.WriteFile(file, crl(t, pki, pki.ClientCA, -time.Minute, 2*time.Hour), 0o600))
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		var seen []mtls.RevocationDecision
		r := newRevocation(t, mtls.RevocationOptions{
			CRLFiles: []string{file}, OCSP: true, HTTP: net.client(),
			Observe: func(d mtls.RevocationDecision) { seen = append(seen, d) },
		})
		good, revoked := connected(leaf, pki.ClientCA), connected(bad, pki.ClientCA)

		d := last(t, r, good)
		require.Equal(t, mtls.CRL, d.Evidence)
		require.True(t, d.Fallback)
		require.Contains(t, d.Reason, "connection refused")
		require.Equal(t, file, d.Source)
		require.Equal(t, epoch.Add(2*time.Hour), d.ValidUntil)
		require.Equal(t, leaf.Certificate.SerialNumber.Text(16), d.Serial)
		require.Equal(t, []mtls.RevocationDecision{d}, seen, "every decision is reported")
		d = last(t, r, revoked)
		require.Equal(t, mtls.Revoked, d.Verdict)
		require.ErrorIs(t, r.Check(revoked), mtls.ErrRevoked)

		<-time.After(2 * time.Hour) // the list ends: the window opens
		d = last(t, r, good)
		require.Equal(t, mtls.StaleCRL, d.Evidence)
		require.Equal(t, mtls.Good, d.Verdict)
		require.True(t, d.Fallback)
		require.Equal(t, mtls.Revoked, last(t, r, revoked).Verdict)

		<-time.After(mtls.MinSoftFail - time.Nanosecond)
		require.Equal(t, mtls.Good, last(t, r, good).Verdict, "the whole window")
		<-time.After(time.Nanosecond)
		d = last(t, r, good)
		require.Equal(t, mtls.Refused, d.Verdict)
		require.Equal(t, mtls.NoEvidence, d.Evidence)
		require.ErrorIs(t, r.Check(good), mtls.ErrNoEvidence)

		net.set("ocsp.example.com", mtlstest.OCSPHandler(pki))
		<-time.After(time.Minute)
		d = last(t, r, good)
		require.Equal(t, mtls.OCSPFetch, d.Evidence)
		require.False(t, d.Fallback)
		require.NoError(t, os.WriteFile(file, crl(t, pki, pki.ClientCA, 3*time.Hour, 9*time.Hour), 0o600))
		changed, err := r.Reload()
		require.NoError(t, err)
		require.True(t, changed)
		net.set("ocsp.example.com", nil)
		<-time.After(2 * time.Hour)
		require.Equal(t, mtls.CRL, last(t, r, good).Evidence)
	})
}

func TestASlowResponderAddsTwoHundredMillisecondsAtMostOnceAndItsAnswerIsStillUsed(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	other := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultBeta))
	file := filepath.Join(t.TempDir(), "clients.crl")
	require.NoError(t, os.WriteFile(file, crl(t, pki, pki.ClientCA, -time.Minute, 24*time.Hour), 0o600))
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		net.set("ocsp.example.com", slow(5*time.Second, mtlstest.OCSPHandler(pki)))
		r := newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{file}, OCSP: true, HTTP: net.client()})

		d := last(t, r, connected(leaf, pki.ClientCA))
		require.Equal(t, mtls.CRL, d.Evidence)
		require.Equal(t, 200*time.Millisecond, d.Took)
		d = last(t, r, connected(other, pki.ClientCA))
		require.Equal(t, mtls.CRL, d.Evidence)
		require.Zero(t, d.Took, "a responder that failed a moment ago is not waited for")

		<-time.After(5 * time.Second)
		d = last(t, r, connected(leaf, pki.ClientCA))
		require.Equal(t, mtls.OCSPCache, d.Evidence, "the answer that nobody waited for")
		require.Zero(t, d.Took)
	})
}

func TestWithoutListsTheResponderIsWaitedForAndItsSilenceRefuses(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	bad := issue(t, pki, pki.Spoil(pki.InitiatorBRCAC(certs.DefaultAlfa), certs.Revoked))
	stranger := leaf
	copied := *leaf.Certificate
	copied.SerialNumber = big.NewInt(4711)
	stranger.Certificate = &copied
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		r := newRevocation(t, mtls.RevocationOptions{OCSP: true, HTTP: net.client()})
		state := connected(leaf, pki.ClientCA)

		net.set("ocsp.example.com", slow(time.Minute, mtlstest.OCSPHandler(pki)))
		d := last(t, r, state)
		require.Equal(t, mtls.Refused, d.Verdict)
		require.Equal(t, 3*time.Second, d.Took)
		require.Contains(t, d.Reason, "did not answer")
		<-time.After(10 * time.Second) // the question that goes on has its own end

		net.set("ocsp.example.com", slow(2*time.Second, mtlstest.OCSPHandler(pki)))
		require.Equal(t, mtls.OCSPFetch, last(t, r, state).Evidence)
		require.Equal(t, mtls.Revoked, last(t, r, connected(bad, pki.ClientCA)).Verdict)
		d = last(t, r, connected(stranger, pki.ClientCA))
		require.Equal(t, mtls.Refused, d.Verdict)
		require.Contains(t, d.Reason, "does not know")

		for what, handler := range map[string]http.Handler{
			"garbage":         bytesHandler([]byte("hello")),
			"an error status": http.NotFoundHandler(),
			"endless":         bytesHandler(make([]byte, 1<<20)),
		} {
			net.set("ocsp.example.com", handler)
			d := last(t, r, connected(issue(t, pki, pki.InitiatorBRCAC(certs.DefaultBeta)), pki.ClientCA))
			require.Equal(t, mtls.Refused, d.Verdict, what)
		}
	})
}

func TestAnswersAreRememberedRenewedAndForgotten(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		net.set("ocsp.example.com", mtlstest.OCSPHandler(pki))
		r := newRevocation(t, mtls.RevocationOptions{OCSP: true, HTTP: net.client(), OCSPTTL: 20 * time.Minute})
		state := connected(leaf, pki.ClientCA)
		require.Equal(t, mtls.OCSPFetch, last(t, r, state).Evidence)
		for range 100 {
			require.Equal(t, mtls.OCSPCache, last(t, r, state).Evidence)
		}
		require.Equal(t, 1, net.asked())

		<-time.After(11 * time.Minute) // past half of its life: it is renewed behind the handshake's back
		require.Equal(t, mtls.OCSPCache, last(t, r, state).Evidence)
		synctest.Wait()
		require.Equal(t, 2, net.asked())
		<-time.After(19 * time.Minute)
		require.Equal(t, mtls.OCSPCache, last(t, r, state).Evidence)
		synctest.Wait()

		net.set("ocsp.example.com", nil)
		<-time.After(20 * time.Minute) // the TTL, though the answer itself is good for an hour
		d := last(t, r, state)
		require.Equal(t, mtls.StaleOCSP, d.Evidence)
		require.True(t, d.Fallback)
		<-time.After(time.Hour)
		require.Equal(t, mtls.Refused, last(t, r, state).Verdict)
	})
}

func TestManyHandshakesOfOneCertificateAskOnce(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		net.set("ocsp.example.com", slow(time.Second, mtlstest.OCSPHandler(pki)))
		r := newRevocation(t, mtls.RevocationOptions{OCSP: true, HTTP: net.client()})
		var handshakes sync.WaitGroup
		for range 50 {
			handshakes.Go(func() {
				if err := r.Check(connected(leaf, pki.ClientCA)); err != nil {
					t.Error(err)
				}
			})
		}
		handshakes.Wait()
		require.Equal(t, 1, net.asked())
	})
}

func TestOnlyTheIssuerOrItsDelegateMayAnswer(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	delegate := issue(t, pki, pki.OCSPSigner(pki.ClientCA))
	old := pki.OCSPSigner(pki.ClientCA)
	old.NotAfter = epoch.Add(-time.Minute)
	impostors := map[string]certs.Leaf{
		"another customer of the issuer":   issue(t, pki, pki.InitiatorBRCAC(certs.DefaultBeta)),
		"a delegate of another authority":  issue(t, pki, pki.OCSPSigner(pki.ServerCA)),
		"a delegate that is out of date":   issue(t, pki, old),
		"the certificate that is asked of": leaf,
	}
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		r := newRevocation(t, mtls.RevocationOptions{OCSP: true, HTTP: net.client()})
		for name, signer := range impostors {
			der, err := mtlstest.OCSPResponseBy(signer, leaf.Certificate, epoch, epoch.Add(time.Hour))
			require.NoError(t, err)
			net.set("ocsp.example.com", bytesHandler(der))
			require.Equal(t, mtls.Refused, last(t, r, connected(leaf, pki.ClientCA)).Verdict, name)
		}
		der, err := mtlstest.OCSPResponseBy(delegate, leaf.Certificate, epoch, epoch.Add(time.Hour))
		require.NoError(t, err)
		net.set("ocsp.example.com", bytesHandler(der))
		require.Equal(t, mtls.OCSPFetch, last(t, r, connected(leaf, pki.ClientCA)).Evidence)
	})
}

func TestExpiredAndPostdatedAnswersAreNoEvidence(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		r := newRevocation(t, mtls.RevocationOptions{OCSP: true, HTTP: net.client()})
		for name, interval := range map[string][2]time.Duration{
			"expired":   {-2 * time.Hour, -time.Second},
			"postdated": {2 * time.Minute, time.Hour},
		} {
			der, err := mtlstest.OCSPResponse(pki, pki.ClientCA, leaf.Certificate, epoch.Add(interval[0]), epoch.Add(interval[1]))
			require.NoError(t, err)
			net.set("ocsp.example.com", bytesHandler(der))
			require.Equal(t, mtls.Refused, last(t, r, connected(leaf, pki.ClientCA)).Verdict, name)
		}
	})
}

func TestStaplesServeUntilSomethingNewerIsKnown(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorServer(certs.DefaultAlfa))
	answer := func(from, to time.Duration) []byte {
		der, err := mtlstest.OCSPResponse(pki, pki.ServerCA, leaf.Certificate, epoch.Add(from), epoch.Add(to))
		require.NoError(t, err)
		return der
	}
	good, stale := answer(-time.Minute, 4*time.Hour), answer(-2*time.Hour, -time.Hour)
	pki.Revoke(leaf.Certificate)
	revoked := answer(time.Hour, 6*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		r := newRevocation(t, mtls.RevocationOptions{OCSP: true, HTTP: net.client()})
		state := connected(leaf, pki.ServerCA, pki.Root)

		state.OCSPResponse = stale
		require.Equal(t, mtls.Refused, last(t, r, state).Verdict, "an expired staple is no evidence")
		require.Equal(t, 1, net.asked(), "and the responder is asked instead")
		state.OCSPResponse = good
		require.Equal(t, mtls.Stapled, last(t, r, state).Evidence)
		require.Equal(t, 1, net.asked(), "a good one spares the question")

		<-time.After(90 * time.Minute)
		net.set("ocsp.example.com", bytesHandler(revoked))
		state.OCSPResponse = nil
		require.Equal(t, mtls.Revoked, last(t, r, state).Verdict)
		state.OCSPResponse = good
		require.Equal(t, mtls.Revoked, last(t, r, state).Verdict, "what was said before does not undo it")
	})
}

func TestAListThatKnowsMoreThanAnOlderAnswerDecides(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	file := filepath.Join(t.TempDir(), "clients.crl")
	require.NoError(t, os.WriteFile(file, crl(t, pki, pki.ClientCA, -time.Hour, 24*time.Hour), 0o600))
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		net.set("ocsp.example.com", mtlstest.OCSPHandler(pki))
		r := newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{file}, OCSP: true, HTTP: net.client()})
		state := connected(leaf, pki.ClientCA)
		require.Equal(t, mtls.OCSPFetch, last(t, r, state).Evidence)
		pki.Revoke(leaf.Certificate)
		require.Equal(t, mtls.Good, last(t, r, state).Verdict, "the remembered answer still serves")
		<-time.After(time.Minute)
		require.NoError(t, os.WriteFile(file, crl(t, pki, pki.ClientCA, time.Minute, 24*time.Hour), 0o600))
		_, err := r.Reload()
		require.NoError(t, err)
		d := last(t, r, state)
		require.Equal(t, mtls.Revoked, d.Verdict)
		require.Equal(t, mtls.CRL, d.Evidence)
	})
}

// special is a list by an authority's name, signed by any key, with extensions.
func special(t *testing.T, named *certs.CA, key *rsa.PrivateKey, from time.Duration, extensions ...pkix.Extension) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: epoch.Add(from), NextUpdate: epoch.AddDate(0, 1, 0), ExtraExtensions: extensions,
	}, named.Certificate, key)
	require.NoError(t, err)
	return der
}

// Scopes of a list, as its issuing distribution point says them (RFC 5280 §5.2.5).
type (
	onlyLeaves struct {
		Yes bool `asn1:"tag:1"`
	}
	onlyAuthorities struct {
		Yes bool `asn1:"tag:2"`
	}
	indirect struct {
		Yes bool `asn1:"tag:4"`
	}
)

func TestListsThatAreNotTheIssuersOrNotWholeAreNoEvidence(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	dir := t.TempDir()
	file := filepath.Join(dir, "clients.crl")
	critical := func(id asn1.ObjectIdentifier, value any) pkix.Extension {
		der, err := asn1.Marshal(value)
		require.NoError(t, err)
		return pkix.Extension{Id: id, Critical: true, Value: der}
	}
	scope := asn1.ObjectIdentifier{2, 5, 29, 28}
	synctest.Test(t, func(t *testing.T) {
		for name, content := range map[string][]byte{
			"a delta":           special(t, pki.ClientCA, pki.ClientCA.Key, 0, critical(asn1.ObjectIdentifier{2, 5, 29, 27}, 1)),
			"of authorities":    special(t, pki.ClientCA, pki.ClientCA.Key, 0, critical(scope, onlyAuthorities{true})),
			"indirect":          special(t, pki.ClientCA, pki.ClientCA.Key, 0, critical(scope, indirect{true})),
			"not a list at all": []byte("hello"),
			"a certificate":     certs.CertPEM(leaf.Certificate),
			"empty":             {},
			"half of a second":  slices.Concat(block("X509 CRL", crl(t, pki, pki.ClientCA, 0, time.Hour)), block("X509 CRL", crl(t, pki, pki.ServerCA, 0, time.Hour))[:300]),
		} {
			require.NoError(t, os.WriteFile(file, content, 0o600))
			_, err := mtls.NewRevocation(mtls.RevocationOptions{CRLFiles: []string{file}})
			var at *mtls.FileError
			require.ErrorAs(t, err, &at, name)
			require.Equal(t, file, at.File)
		}
		for name, content := range map[string][]byte{
			"signed by another":    special(t, pki.ClientCA, pki.ServerCA.Key, 0),
			"of another name":      special(t, pki.ServerCA, pki.ClientCA.Key, 0), // two authorities may share a key
			"of another authority": crl(t, pki, pki.ServerCA, 0, time.Hour),
			"from the future":      crl(t, pki, pki.ClientCA, time.Hour, 2*time.Hour),
		} {
			require.NoError(t, os.WriteFile(file, content, 0o600))
			r := newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{file}})
			require.Equal(t, mtls.Refused, last(t, r, connected(leaf, pki.ClientCA)).Verdict, name)
		}
		require.NoError(t, os.WriteFile(file, special(t, pki.ClientCA, pki.ClientCA.Key, 0, critical(scope, onlyLeaves{true})), 0o600))
		r := newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{file}})
		require.Equal(t, mtls.CRL, last(t, r, connected(leaf, pki.ClientCA)).Evidence, "leaves only is what leaves need")
	})
}

func TestAProvenListIsNotReplacedByAForgedOrAnOlderOne(t *testing.T) {
	pki := virtualPKI(t)
	bad := issue(t, pki, pki.Spoil(pki.InitiatorBRCAC(certs.DefaultAlfa), certs.Revoked))
	file := filepath.Join(t.TempDir(), "clients.crl")
	proper := crl(t, pki, pki.ClientCA, 0, 24*time.Hour)
	require.NoError(t, os.WriteFile(file, proper, 0o600))
	synctest.Test(t, func(t *testing.T) {
		r := newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{file}})
		require.False(t, r.Lists()[0].Proven)
		require.Equal(t, mtls.Revoked, last(t, r, connected(bad, pki.ClientCA)).Verdict)
		require.True(t, r.Lists()[0].Proven)
		for _, content := range [][]byte{
			special(t, pki.ClientCA, pki.ServerCA.Key, time.Minute), // names nobody, signed by somebody else
			special(t, pki.ClientCA, pki.ClientCA.Key, -time.Hour),  // names nobody, from before
			[]byte("torn"),
		} {
			require.NoError(t, os.WriteFile(file, content, 0o600))
			changed, err := r.Reload()
			require.Error(t, err)
			require.False(t, changed)
			require.Equal(t, mtls.Revoked, last(t, r, connected(bad, pki.ClientCA)).Verdict)
		}
		lists := r.Lists()
		require.Len(t, lists, 1)
		require.Equal(t, epoch.Add(24*time.Hour), lists[0].NextUpdate)
		require.Contains(t, lists[0].Issuer, "Issuing CA V10")
		require.Positive(t, lists[0].Entries)
	})
}

func TestIntermediatesAreJudgedOnceTheirIssuersListIsKnown(t *testing.T) {
	pki, err := certs.New(certs.Options{Now: epoch, SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err)
	leaf := issue(t, pki, pki.InitiatorServer(certs.DefaultAlfa))
	dir := t.TempDir()
	servers, roots := filepath.Join(dir, "servers.crl"), filepath.Join(dir, "roots.crl")
	require.NoError(t, os.WriteFile(servers, crl(t, pki, pki.ServerCA, 0, 24*time.Hour), 0o600))
	require.NoError(t, os.WriteFile(roots, crl(t, pki, pki.Root, 0, 2*time.Hour), 0o600))
	pki.Revoke(pki.ServerCA.Certificate)
	revoking := crl(t, pki, pki.Root, time.Minute, 2*time.Hour)
	state := connected(leaf, pki.ServerCA, pki.Root)
	synctest.Test(t, func(t *testing.T) {
		r := newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{servers}})
		d, err := r.Judge(state)
		require.NoError(t, err)
		require.Len(t, d, 2)
		require.Equal(t, mtls.Unchecked, d[1].Verdict)

		r = newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{servers, roots}})
		d, err = r.Judge(state)
		require.NoError(t, err)
		require.Equal(t, mtls.CRL, d[1].Evidence)
		<-time.After(3*time.Hour + time.Minute)
		require.ErrorIs(t, r.Check(state), mtls.ErrNoEvidence, "a root's list that ended long ago does not switch the check off")
		require.NoError(t, os.WriteFile(roots, revoking, 0o600))
		r = newRevocation(t, mtls.RevocationOptions{CRLFiles: []string{servers, roots}, SoftFail: 2 * time.Hour})
		require.ErrorIs(t, r.Check(state), mtls.ErrRevoked)
	})
}

func TestListsAreFetchedAtOnceRegularlyAndSoonAfterAFailure(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	first, second := crl(t, pki, pki.ClientCA, -time.Minute, time.Hour), crl(t, pki, pki.ClientCA, 10*time.Minute, 3*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		net.set("crl.example.com", bytesHandler(first))
		var told journal
		pass := told.after
		r := newRevocation(t, mtls.RevocationOptions{
			CRLURLs: []string{"http://crl.example.com/v10.crl"}, HTTP: net.client(), Events: told.note,
		})
		require.Equal(t, mtls.Refused, last(t, r, connected(leaf, pki.ClientCA)).Verdict, "nothing is known yet")
		go r.Run(t.Context())
		news := pass(0)
		require.Len(t, news, 1)
		require.NoError(t, news[0].Err)
		require.Equal(t, mtls.CRL, last(t, r, connected(leaf, pki.ClientCA)).Evidence)
		require.Empty(t, pass(15*time.Minute), "the same list is no news")
		require.Equal(t, 2, net.asked())

		net.set("crl.example.com", nil)
		news = pass(20 * time.Minute)
		require.Len(t, news, 1, "one report per reason")
		require.ErrorContains(t, news[0].Err, "connection refused")
		net.set("crl.example.com", bytesHandler(second))
		news = pass(time.Minute)
		require.Len(t, news, 1, "it is asked again a minute after a failure")
		require.NoError(t, news[0].Err)
		require.Equal(t, epoch.Add(3*time.Hour), r.Lists()[0].NextUpdate)
		net.set("crl.example.com", nil)
		require.ErrorContains(t, r.Refresh(t.Context()), "http://crl.example.com/v10.crl")
	})
}

func TestListsNotOfferedForTooLongStopServing(t *testing.T) {
	pki := virtualPKI(t)
	leaf := issue(t, pki, pki.InitiatorBRCAC(certs.DefaultAlfa))
	der := crl(t, pki, pki.ClientCA, 0, 30*24*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		net.set("crl.example.com", bytesHandler(der))
		r := newRevocation(t, mtls.RevocationOptions{CRLURLs: []string{"http://crl.example.com/"}, HTTP: net.client(), CRLTTL: 6 * time.Hour})
		require.NoError(t, r.Refresh(t.Context()))
		<-time.After(5 * time.Hour)
		require.NoError(t, r.Refresh(t.Context()))
		<-time.After(5 * time.Hour)
		require.Equal(t, mtls.CRL, last(t, r, connected(leaf, pki.ClientCA)).Evidence)
		<-time.After(time.Hour)
		require.Equal(t, mtls.StaleCRL, last(t, r, connected(leaf, pki.ClientCA)).Evidence, "an explicit TTL (webhook §7.4)")
	})
}

func TestFetchedListsOutliveARestartAndTheirTimeGoesOn(t *testing.T) { // webhook §7.4: an authority's outage is no excuse
	pki := mtlstest.PKI(t)
	leaf := mtlstest.Leaf(t, pki.InitiatorBRCAC(certs.DefaultAlfa))
	der, err := pki.CRL(pki.ClientCA, time.Now().Add(-7*time.Hour), time.Now().Add(24*time.Hour))
	require.NoError(t, err)
	net := &network{}
	net.set("crl.example.com", bytesHandler(der))
	o := mtls.RevocationOptions{CRLURLs: []string{"http://crl.example.com/"}, HTTP: net.client(), CRLTTL: 6 * time.Hour, Keep: filepath.Join(t.TempDir(), "lists")}
	start := func() *mtls.Revocation {
		r, err := mtls.NewRevocation(o)
		require.NoError(t, err)
		return r
	}
	first := start()
	require.Equal(t, mtls.Refused, last(t, first, connected(leaf, pki.ClientCA)).Verdict)
	require.NoError(t, first.Refresh(t.Context()))
	require.NoError(t, first.Refresh(t.Context()), "the same again")
	net.set("crl.example.com", nil)
	again := start()
	require.Error(t, again.Refresh(t.Context()))
	require.Equal(t, mtls.CRL, last(t, again, connected(leaf, pki.ClientCA)).Evidence)
	files, err := filepath.Glob(filepath.Join(o.Keep, "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	before := time.Now().Add(-6*time.Hour - 30*time.Minute)
	require.NoError(t, os.Chtimes(files[0], before, before))
	require.Equal(t, mtls.StaleCRL, last(t, start(), connected(leaf, pki.ClientCA)).Evidence, "a restart does not make it younger")
	require.NoError(t, os.WriteFile(files[0], []byte("half a li"), 0o600))
	require.Equal(t, mtls.Refused, last(t, start(), connected(leaf, pki.ClientCA)).Verdict, "what is broken is nothing")
}

func TestRevocationOptionsAreJudgedAtStart(t *testing.T) {
	client := &http.Client{}
	for want, o := range map[string]mtls.RevocationOptions{
		"no source":        {},
		"soft-fail window": {OCSP: true, HTTP: client, SoftFail: time.Minute},
		"between 1h":       {OCSP: true, HTTP: client, SoftFail: 48 * time.Hour},
		"HTTP client":      {OCSP: true},
		"not an http":      {CRLURLs: []string{"ldap://x/"}, HTTP: client},
		"cannot be read":   {CRLFiles: []string{"nowhere.crl"}},
	} {
		_, err := mtls.NewRevocation(o)
		require.ErrorContains(t, err, want)
	}
}

func FuzzRevocationList(f *testing.F) {
	pki, err := virtual()
	require.NoError(f, err)
	der, err := pki.FreshCRL(pki.ClientCA)
	require.NoError(f, err)
	f.Add(der)
	f.Add([]byte("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		require.Empty(t, cost.Parser.Within(len(content), func() { _, _ = mtls.ParseCRLs(content) }))
		n, err := mtls.ParseCRLs(content)
		if err == nil && n == 0 {
			t.Fatal("neither a list nor an error")
		}
		if again, err2 := mtls.ParseCRLs(bytes.Clone(content)); again != n || (err == nil) != (err2 == nil) {
			t.Fatal("read twice, understood differently")
		}
	})
}
