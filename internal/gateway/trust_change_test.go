package gateway

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/mtls"
)

// inForce is the longest that a change of certificates may take to be used (cases H5, I3).
const inForce = 60 * time.Second

// TestCertificatesChangeUnderLoadAndNothingFails replaces everything that is shown or believed, one after the other, on
// a gateway that is sending and answering (cases H5, I3, J5).
func TestCertificatesChangeUnderLoadAndNothingFails(t *testing.T) {
	h := openAs(t, func(h *house) []string {
		h.replace("crl/servers.crl", h.list(h.pki.ServerCA))
		h.replace("crl/clients.crl", h.list(h.pki.ClientCA))
		return []string{"ARAUTO_WEBHOOK_CRL=" + h.file("crl/servers.crl"), "ARAUTO_PUBLIC_CRL=" + h.file("crl/clients.crl")}
	})
	receiver := h.initiator(certs.DefaultAlfa)
	id, first := h.change(certs.DefaultAlfa)
	require.Equal(t, "delivered", h.settled(first, 1).State)
	poll := h.poller(certs.DefaultAlfa)
	load := h.load(certs.DefaultAlfa, poll, id)
	serial := func(state *tls.ConnectionState) string { return state.PeerCertificates[0].SerialNumber.Text(16) }
	arrived := func(what string, match func(*standin.Request) bool) standin.Request {
		t.Helper()
		found, err := receiver.Wait(t.Context(), 1, match)
		require.NoError(t, err, what)
		return found[0]
	}
	took := func(what string, since time.Time) {
		t.Helper()
		require.Less(t, time.Since(since), inForce, what)
		t.Logf("%s in force after %s", what, time.Since(since).Round(time.Millisecond))
	}

	// Our server certificate: the key goes first, so that a look between the two finds a pair that does not match.
	began := time.Now()
	profile := h.pki.HolderServer()
	profile.Key = newKey(t)
	next := h.leaf(profile)
	h.replace("holder/server.key", next.KeyPEM())
	h.until("the mismatch to be refused", func() bool { return len(h.log.lines("file refused", "does not belong to the key")) > 0 })
	h.replace("holder/server.pem", next.CertPEM())
	load.served("a handshake under the new server certificate", func(s *tls.ConnectionState) bool { return serial(s) == next.Certificate.SerialNumber.Text(16) })
	took("server certificate", began)

	// Our BRCAC: connections that stand under the old one are closed.
	began = time.Now()
	own := h.leaf(h.pki.HolderBRCAC())
	h.replace("holder/brcac.pem", own.CertPEM())
	now := arrived("a notification under the new BRCAC", func(r *standin.Request) bool { return serial(r.TLS) == own.Certificate.SerialNumber.Text(16) })
	took("BRCAC", began)
	for _, r := range receiver.Requests() {
		require.False(t, r.At.After(now.At.Add(time.Second)) && r.Connection < now.Connection, "an old connection went on being used")
	}

	// Our signing key.
	began = time.Now()
	key := newKey(t)
	h.replace("holder/brseal.key", certs.KeyPEM(key))
	h.until("an answer signed with the new key", func() bool {
		status, _, body, err := poll.get(id)
		return err == nil && status == http.StatusOK && signedBy(t, body, &key.PublicKey)
	})
	took("signing key", began)

	// Whom we believe, in both directions: an authority more, and the load goes on through it.
	began = time.Now()
	other, err := certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
	require.NoError(t, err)
	h.replace("trust/clients.pem", certs.CertPEM(h.pki.ClientCA.Certificate, other.ClientCA.Certificate))
	h.replace("trust/roots.pem", certs.CertPEM(h.pki.Root.Certificate, other.Root.Certificate))
	h.until("both anchors", func() bool {
		return len(h.g.trust.Callers.Authorities.Certificates()) == 2 && len(h.g.trust.Roots.Certificates()) == 2
	})
	took("anchors", began)

	// Revocation lists of both directions.
	began = time.Now()
	generation := h.g.trust.Roots.Generation()
	h.replace("crl/servers.crl", h.list(h.pki.ServerCA))
	h.replace("crl/clients.crl", h.list(h.pki.ClientCA))
	h.until("both lists", func() bool {
		return h.g.trust.Revocation.Generation() >= 2 && h.g.trust.Callers.Revocation.Generation() >= 2 && h.g.trust.Roots.Generation() > generation
	})
	took("revocation lists", began)
	after := len(receiver.Requests())
	_, err = receiver.Wait(t.Context(), after+20, nil)
	require.NoError(t, err)
	load.stop()
	require.GreaterOrEqual(t, h.metric(`arauto_file_reloads_total{result="in-force"}`), 6.0)
	require.GreaterOrEqual(t, h.metric(`arauto_file_reloads_total{result="refused"}`), 1.0)
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := keystock.New(2048)
	require.NoError(t, err)
	return key
}

// signedBy verifies PS256 without the product's code.
func signedBy(t *testing.T, token string, key *rsa.PublicKey) bool {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	return rsaVerify(key, []byte(parts[0]+"."+parts[1]), signature)
}

func TestSetsThatAreBrokenAreRefusedTheOldOnesKeptAndItIsSaid(t *testing.T) {
	h := open(t)
	receiver := h.initiator(certs.DefaultAlfa)
	poll := h.poller(certs.DefaultAlfa)
	works := func(what string) {
		t.Helper()
		id, a := h.change(certs.DefaultAlfa)
		n := h.settled(a, 1)
		require.Equal(t, "delivered", n.State, "%s: %s", what, detail(n))
		status, _, body, err := poll.get(id)
		require.NoError(t, err, what)
		require.Equal(t, http.StatusOK, status, "%s: %s", what, body)
	}
	works("before")
	expired := h.leaf(h.pki.Spoil(h.pki.HolderBRCAC(), certs.Expired))
	for name, content := range map[string][]byte{
		"holder/server.pem": []byte("-----BEGIN CERTIFICATE-----\nnot yet\n"),
		"holder/brcac.pem":  expired.CertPEM(),
		"holder/brseal.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: make([]byte, 3)}),
		"trust/clients.pem": h.leaf(h.pki.HolderServer()).CertPEM(),
		"trust/roots.pem":   nil,
	} {
		good, err := os.ReadFile(h.file(name))
		require.NoError(t, err)
		refused := h.metric(`arauto_file_reloads_total{result="refused"}`)
		h.replace(name, content)
		h.until(name+" to be refused", func() bool { return h.metric(`arauto_file_reloads_total{result="refused"}`) > refused })
		h.until("the refusal of "+name+" is logged", func() bool {
			return len(h.log.lines(`"level":"ERROR"`, "what was in force stays", name)) > 0
		})
		works(name)
		h.replace(name, good)
		h.until(name+" to be in order again", func() bool { return len(h.log.lines("file reloaded", name)) > 0 })
	}
	works("afterwards")
	require.NotContains(t, strings.Join(h.log.lines(), ""), "AAAA", "no content of a key file is logged")
	require.Positive(t, receiver.Connections())
}

func TestARevokedReceiverIsNeverSentToAndItsOpenConnectionIsClosed(t *testing.T) { // webhook §7.4, AT-12
	h := openAs(t, func(h *house) []string {
		h.replace("crl/servers.crl", h.list(h.pki.ServerCA))
		return []string{"ARAUTO_WEBHOOK_CRL=" + h.file("crl/servers.crl")}
	})
	leaf := h.leaf(h.pki.InitiatorServer(certs.DefaultBeta))
	receiver := h.initiatorWith(certs.DefaultBeta, leaf)
	_, a := h.change(certs.DefaultBeta)
	require.Equal(t, "delivered", h.settled(a, 1).State)
	require.Equal(t, 1, receiver.Open(), "the connection is kept for the next one")

	h.pki.Revoke(leaf.Certificate)
	h.replace("crl/servers.crl", h.list(h.pki.ServerCA))
	require.NoError(t, receiver.WaitOpen(t.Context(), 0), "closed without anybody having sent anything")
	_, a = h.change(certs.DefaultBeta)
	n := h.settled(a, 1)
	require.Equal(t, "pending", n.State)
	require.Equal(t, "tls-error", *n.Attempts[0].Outcome)
	require.Contains(t, detail(n), "revoked")
	require.Len(t, receiver.Requests(), 1, "nothing was sent to it")
	require.GreaterOrEqual(t, h.metric(`arauto_revocation_decisions_total{direction="receivers",evidence="crl",fallback="false",verdict="revoked"}`), 1.0)
	require.GreaterOrEqual(t, h.metric(`arauto_revocation_decisions_total{direction="receivers",evidence="crl",fallback="false",verdict="good"}`), 1.0)
	require.NotEmpty(t, h.log.lines("certificate revoked", `"direction":"receivers"`, leaf.Certificate.SerialNumber.Text(16)))
	require.Contains(t, h.ops("/readyz"), "servers.crl of receivers: good until", "lists are seen at readiness")
}

func TestARevokedCallersOpenConnectionIsEndedAndItsNextHandshakeRefused(t *testing.T) { // cases H3
	h := openAs(t, func(h *house) []string {
		h.replace("crl/clients.crl", h.list(h.pki.ClientCA))
		return []string{"ARAUTO_PUBLIC_CRL=" + h.file("crl/clients.crl")}
	})
	h.initiator(certs.DefaultAlfa)
	id, _ := h.change(certs.DefaultAlfa)
	good, bad := h.poller(certs.DefaultAlfa), h.poller(certs.DefaultAlfa)
	for _, p := range []*poller{good, bad, bad} {
		status, _, body, err := p.get(id)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, body)
	}
	generation := h.g.trust.Callers.Generation()
	h.pki.Revoke(bad.leaf.Certificate)
	h.replace("crl/clients.crl", h.list(h.pki.ClientCA))
	h.until("the list", func() bool { return h.g.trust.Callers.Generation() > generation })
	_, _, _, err := bad.get(id)
	require.Error(t, err, "on the connection that stood open")
	require.NotEmpty(t, h.log.lines("no longer accepted", "revoked", mtls.Fingerprint(bad.leaf.Certificate)))
	_, _, _, err = bad.get(id)
	require.Error(t, err)
	h.until("the refusal is logged", func() bool { return len(h.log.lines("handshake refused", "revoked")) > 0 })
	status, _, _, err := good.get(id)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
}

// TestARememberedTokenEndsWithItsCertificateAndItsKey: a token that was accepted is not verified anew for each query. It ends all the same with
// the first query after its certificate was revoked, and with the first one after its key was withdrawn.
func TestARememberedTokenEndsWithItsCertificateAndItsKey(t *testing.T) {
	h := openAs(t, func(h *house) []string {
		h.replace("crl/clients.crl", h.list(h.pki.ClientCA))
		return []string{"ARAUTO_PUBLIC_CRL=" + h.file("crl/clients.crl")}
	})
	h.initiator(certs.DefaultAlfa)
	id, _ := h.change(certs.DefaultAlfa)
	good, bad := h.poller(certs.DefaultAlfa), h.poller(certs.DefaultAlfa)
	goods, err := good.token()
	require.NoError(t, err)
	bads, err := bad.token()
	require.NoError(t, err)
	ok := func(p *poller, token string) {
		t.Helper()
		status, _, body, err := p.getWith(token, id)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, body)
	}
	for range 2 {
		ok(good, goods)
		ok(bad, bads)
	}
	generation := h.g.trust.Callers.Generation()
	h.pki.Revoke(bad.leaf.Certificate)
	h.replace("crl/clients.crl", h.list(h.pki.ClientCA))
	h.until("the list", func() bool { return h.g.trust.Callers.Generation() > generation })
	_, _, _, err = bad.getWith(bads, id)
	require.Error(t, err, "the certificate is revoked")
	ok(good, goods)

	other, err := keystock.New(2048)
	require.NoError(t, err)
	h.replace("tokens/jwks.json", certs.JWKS(&certs.NamedKey{KID: "another", Key: other}))
	h.until("the key set", func() bool {
		status, _, _, err := good.getWith(goods, id)
		require.NoError(t, err)
		return status == http.StatusUnauthorized
	})
}

func TestReadinessEndsBeforeOurCertificateDoes(t *testing.T) { // cases I4
	t.Parallel()
	h := open(t)
	soon := h.leaf(h.pki.ExpiringIn(h.pki.HolderBRCAC(), time.Since(h.pki.Now())+mtls.ReadyMargin+2*time.Second))
	h.replace("holder/brcac.key", soon.KeyPEM())
	h.replace("holder/brcac.pem", soon.CertPEM())
	h.until("the note", func() bool { return strings.Contains(h.ops("/readyz"), "webhook-client): 0 days left") })
	h.until("readiness to end", func() bool { return strings.Contains(h.ops("/readyz"), "certificates: ") })
	require.Contains(t, h.ops("/readyz"), `"status":"unavailable"`)
	h.until("the figure", func() bool { return h.metric(`arauto_certificate_days_left{role="webhook-client"}`) == 0 })
	next := h.leaf(h.pki.HolderBRCAC())
	h.replace("holder/brcac.pem", next.CertPEM())
	h.until("readiness to come back", func() bool { return strings.Contains(h.ops("/readyz"), `"status":"ok"`) })
}

// rsaVerify is PS256 by the standard library.
func rsaVerify(key *rsa.PublicKey, text, signature []byte) bool {
	return (&x509.Certificate{PublicKey: key, PublicKeyAlgorithm: x509.RSA}).CheckSignature(x509.SHA256WithRSAPSS, text, signature) == nil
}

func TestTheCalendarShowsOursAndWhatReceiversShowed(t *testing.T) {
	t.Parallel()
	h := open(t)
	leaf := h.leaf(h.pki.ExpiringIn(h.pki.InitiatorServer(certs.DefaultAlfa), time.Since(h.pki.Now())+5*24*time.Hour+time.Hour))
	h.initiatorWith(certs.DefaultAlfa, leaf)
	h.initiator(certs.DefaultBeta)
	for _, is := range []certs.Participant{certs.DefaultAlfa, certs.DefaultBeta} {
		_, a := h.change(is)
		require.Equal(t, "delivered", h.settled(a, 1).State)
	}
	var page struct {
		Certificates []struct {
			Role, Source, Serial string
			DaysLeft             int
		}
		Receivers []struct {
			ClientID, Serial string
			NotAfter         time.Time
			DaysLeft         int
		}
		RevocationLists []json.RawMessage
	}
	require.NoError(t, h.core.Call(t.Context(), http.MethodGet, "/internal/v1/certificates", nil, &page))
	roles := map[string]int{}
	for _, c := range page.Certificates {
		roles[c.Role]++
		require.Greater(t, c.DaysLeft, 300)
	}
	require.Equal(t, map[string]int{"public-server": 2, "webhook-client": 2, "caller-authority": 1, "receiver-authority": 1}, roles)
	require.Len(t, page.Receivers, 2)
	require.Equal(t, certs.DefaultAlfa.Name, page.Receivers[0].ClientID, "what ends first comes first")
	require.Equal(t, leaf.Certificate.SerialNumber.Text(16), page.Receivers[0].Serial)
	require.Equal(t, 5, page.Receivers[0].DaysLeft)
	require.NotNil(t, page.RevocationLists)
	h.until("the figures", func() bool { return h.metric(`arauto_receiver_certificates{within="7"}`) == 1 })
	require.Equal(t, 1.0, h.metric(`arauto_receiver_certificates{within="30"}`))
	require.Equal(t, 0.0, h.metric(`arauto_receiver_certificates{within="1"}`))
	require.NotContains(t, h.ops("/metrics"), `"alfa"`, "no client's name is a label")
}

// TestAConnectionIsMadeUnderTheStateOfItsHandshake: our certificate changes between the handshake of a connection and its first request, which
// is answered and ends it, so that the next one is made under the new certificate.
func TestAConnectionIsMadeUnderTheStateOfItsHandshake(t *testing.T) {
	h := openAs(t, func(*house) []string { return nil })
	h.initiator(certs.DefaultAlfa)
	id, _ := h.change(certs.DefaultAlfa)
	poll, next := h.poller(certs.DefaultAlfa), h.leaf(h.pki.HolderServer())
	shaken, changed := make(chan *tls.Conn), make(chan struct{})
	transport := poll.client.Transport.(*http.Transport)
	transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: transport.TLSClientConfig}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		shaken <- conn.(*tls.Conn)
		<-changed
		return conn, nil
	}
	type answer struct {
		status int
		err    error
	}
	answers := make(chan answer, 1)
	ask := func() {
		status, _, _, err := poll.get(id)
		answers <- answer{status, err}
	}
	dialled := func() *tls.Conn {
		select {
		case conn := <-shaken:
			return conn
		case a := <-answers:
			t.Fatalf("answered %v without a handshake", a)
			return nil
		}
	}
	go ask()
	first := dialled()
	h.replace("holder/server.pem", next.CertPEM())
	h.until("the new certificate", func() bool { return h.g.trust.Brands[0].Server.Generation() == 2 })
	close(changed)
	require.Equal(t, answer{status: http.StatusOK}, <-answers)
	go ask()
	second := dialled()
	require.Equal(t, answer{status: http.StatusOK}, <-answers)
	require.NotEqual(t, next.Certificate.SerialNumber, first.ConnectionState().PeerCertificates[0].SerialNumber)
	require.Equal(t, next.Certificate.SerialNumber, second.ConnectionState().PeerCertificates[0].SerialNumber)
	go ask()
	select {
	case <-shaken:
		t.Fatal("a connection of which nothing changed was ended")
	case a := <-answers:
		require.Equal(t, answer{status: http.StatusOK}, a)
	}
}
