package mtls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// gate is a public listener that counts the requests which got through.
type gate struct {
	addr     string
	id       *mtls.Identity
	files    mtlstest.Files
	anchors  *mtls.Anchors
	requests atomic.Int64
}

func openGate(t *testing.T, checks ...mtls.Check) *gate {
	t.Helper()
	g := &gate{anchors: mtlstest.ClientCAs(t)}
	g.files = mtlstest.Write(t, mtlstest.Leaf(t, mtlstest.PKI(t).HolderServer()))
	var err error
	g.id, err = mtls.LoadIdentity(g.files.Cert, g.files.Key, mtls.AsServer)
	require.NoError(t, err)
	g.addr = mtlstest.Serve(t, mtls.ServerConfig(g.id, g.anchors, checks...), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.requests.Add(1)
		fmt.Fprintln(w, r.TLS.PeerCertificates[0].SerialNumber)
	}))
	return g
}

// get makes one request on a connection of its own; a TLS 1.3 client learns only then that it was refused.
func (g *gate) get(config *tls.Config) (*tls.ConnectionState, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("https://" + g.addr + "/")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.TLS, err
}

func alfa(t *testing.T) certs.Profile { return mtlstest.PKI(t).InitiatorBRCAC(certs.DefaultAlfa) }

func alfaConfig(t *testing.T) *tls.Config {
	return mtlstest.InitiatorConfig(t, mtlstest.Leaf(t, alfa(t)))
}

func TestPublicListenerSpeaksExactlyTheProfile(t *testing.T) {
	g := openGate(t)
	good := alfaConfig(t)

	for _, suite := range []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384} {
		c := good.Clone()
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite}
		state, err := g.get(c)
		require.NoError(t, err)
		require.Equal(t, suite, state.CipherSuite)
		require.Equal(t, uint16(tls.VersionTLS12), state.Version)
	}
	state, err := g.get(good)
	require.NoError(t, err)
	require.Equal(t, uint16(tls.VersionTLS13), state.Version, "TLS 1.3 is preferred when the client has it (D-7)")
	require.EqualValues(t, 3, g.requests.Load())

	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		c := good.Clone()
		c.MinVersion, c.MaxVersion = version, version
		_, err := g.get(c)
		require.ErrorContains(t, err, "protocol version", "version %x", version)
	}
	offered := map[uint16]bool{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: true, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: true}
	refused := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if offered[suite.ID] || suite.SupportedVersions[0] == tls.VersionTLS13 {
			continue
		}
		c := good.Clone()
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
		_, err := g.get(c)
		require.Error(t, err, suite.Name)
		refused++
	}
	require.Greater(t, refused, 10)
	require.EqualValues(t, 3, g.requests.Load(), "nobody else got through")
}

func TestNeitherDirectionResumesASession(t *testing.T) {
	g := openGate(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := alfaConfig(t)
		c.MaxVersion = version
		c.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		for range 3 {
			state, err := g.get(c)
			require.NoError(t, err)
			require.False(t, state.DidResume, "version %x", version)
		}
	}
	// A receiver that would resume is not asked to.
	seen := make(chan bool, 6)
	receiver := mtlstest.ReceiverConfig(t, mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorServer(certs.DefaultAlfa)))
	addr := mtlstest.Serve(t, receiver, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.TLS.DidResume }))
	id, roots := mtlstest.HolderClient(t), mtlstest.Roots(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := mtls.ClientConfig(id, roots, "localhost")
		c.MaxVersion = version
		for range 3 {
			_, err := post(addr, c)
			require.NoError(t, err)
			require.False(t, <-seen)
		}
	}
}

func TestListenerRefusesClientsThatAreNotApprovedParticipants(t *testing.T) {
	g, pki := openGate(t), mtlstest.PKI(t)
	_, err := g.get(alfaConfig(t))
	require.NoError(t, err)

	under := pki.Server(certs.DefaultAlfa.Organisation, "web.example.com").From(pki.ClientCA)
	profiles := map[string]certs.Profile{
		"a server's purpose":             pki.Spoil(alfa(t), certs.WrongPurpose),
		"expired":                        pki.Spoil(alfa(t), certs.Expired),
		"not yet valid":                  pki.Spoil(alfa(t), certs.NotYetValid),
		"another root":                   pki.Spoil(alfa(t), certs.OtherCA),
		"self-signed":                    pki.Spoil(alfa(t), certs.SelfSigned),
		"weak key":                       pki.Spoil(alfa(t), certs.WeakKey),
		"another authority of the root":  alfa(t).From(pki.ServerCA),
		"server of the right authority":  under,
		"the signature profile, no uses": pki.HolderSeal().From(pki.ClientCA),
	}
	for name, profile := range profiles {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c := mtlstest.InitiatorConfig(t, mtlstest.Leaf(t, profile))
			c.MaxVersion = version
			_, err := g.get(c)
			require.Error(t, err, "%s, version %x", name, version)
		}
	}
	none := alfaConfig(t)
	none.GetClientCertificate = nil
	_, err = g.get(none)
	require.ErrorContains(t, err, "certificate required")
	require.EqualValues(t, 1, g.requests.Load())
}

func TestOnlyAnAnchorItselfMayHaveIssuedAClientCertificate(t *testing.T) {
	pki := mtlstest.PKI(t)
	tooHigh := mtlstest.Anchors(t, pki.Root)
	var requests atomic.Int64
	addr := mtlstest.Serve(t, mtls.ServerConfig(mtlstest.HolderServer(t), tooHigh),
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	_, err := (&gate{addr: addr}).get(alfaConfig(t))
	require.Error(t, err, "with the root as anchor every authority below it would be approved")
	require.Zero(t, requests.Load())
}

func TestChecksDecideAfterVerificationInBothDirections(t *testing.T) {
	no := errors.New("not today")
	var asked atomic.Int64
	g := openGate(t, func(cs tls.ConnectionState) error {
		asked.Add(1)
		if len(cs.VerifiedChains) == 0 {
			return errors.New("asked before verification")
		}
		return no
	})
	_, err := g.get(alfaConfig(t))
	require.ErrorContains(t, err, "bad certificate")
	require.EqualValues(t, 1, asked.Load())
	_, err = g.get(mtlstest.InitiatorConfig(t, mtlstest.Leaf(t, mtlstest.PKI(t).Spoil(alfa(t), certs.Expired))))
	require.Error(t, err)
	require.EqualValues(t, 1, asked.Load(), "what does not verify is not asked about")

	r := openReceiver(t, mtlstest.PKI(t).InitiatorServer(certs.DefaultAlfa))
	_, err = post(r.addr, mtls.ClientConfig(mtlstest.HolderClient(t), mtlstest.Roots(t), "localhost", func(tls.ConnectionState) error { return no }))
	require.ErrorIs(t, err, no)
	require.Zero(t, r.settle(t))
}

func TestServerRotatesUnderRunningConnections(t *testing.T) {
	g := openGate(t)
	config := alfaConfig(t)
	before := g.id.Current().Leaf.SerialNumber

	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	kept := &http.Client{Transport: transport}
	serial := func() string {
		response, err := kept.Get("https://" + g.addr + "/")
		require.NoError(t, err)
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		return response.TLS.PeerCertificates[0].SerialNumber.String()
	}
	require.Equal(t, before.String(), serial())

	renewed := mtlstest.Leaf(t, mtlstest.PKI(t).HolderServer())
	g.files.Replace(t, renewed)
	changed, err := g.id.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	require.EqualValues(t, 2, g.id.Generation())

	require.Equal(t, before.String(), serial(), "a running connection goes on")
	state, err := g.get(config)
	require.NoError(t, err)
	require.Equal(t, renewed.Certificate.SerialNumber, state.PeerCertificates[0].SerialNumber, "a new one shows the new certificate")
	require.Len(t, state.PeerCertificates, 2, "leaf and intermediate are sent (T7)")
}

func TestAnAuthorityTakenOffTheListIsRefusedAtTheNextHandshake(t *testing.T) {
	pki := mtlstest.PKI(t)
	file := mtlstest.AnchorsFile(t, pki.ClientCA)
	anchors, err := mtls.LoadAnchors(file)
	require.NoError(t, err)
	addr := mtlstest.Serve(t, mtls.ServerConfig(mtlstest.HolderServer(t), anchors), http.NotFoundHandler())
	g := &gate{addr: addr}
	_, err = g.get(alfaConfig(t))
	require.NoError(t, err)

	mtlstest.WriteAnchors(t, file, pki.SealCA)
	changed, err := anchors.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	_, err = g.get(alfaConfig(t))
	require.Error(t, err)
}

func TestInternalListenerAsksForNoCertificate(t *testing.T) {
	addr := mtlstest.Serve(t, mtls.InternalServerConfig(mtlstest.HolderServer(t)), http.NotFoundHandler())
	c := alfaConfig(t)
	c.GetClientCertificate = nil
	_, err := (&gate{addr: addr}).get(c)
	require.NoError(t, err)
	c.MaxVersion = tls.VersionTLS11
	c.MinVersion = tls.VersionTLS10
	_, err = (&gate{addr: addr}).get(c)
	require.Error(t, err)
}

// receiver is a webhook endpoint below HTTP: it counts bytes of the application.
type receiver struct {
	addr   string
	bytes  atomic.Int64
	shaken atomic.Int64
	ended  chan struct{} // one per connection
}

func openReceiver(t *testing.T, profile certs.Profile) *receiver {
	t.Helper()
	return openReceiverWith(t, mtlstest.ReceiverConfig(t, mtlstest.Leaf(t, profile)))
}

func openReceiverWith(t *testing.T, config *tls.Config) *receiver {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	r := &receiver{addr: listener.Addr().String(), ended: make(chan struct{}, 64)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(conn.(*tls.Conn))
		}
	}()
	return r
}

func (r *receiver) serve(conn *tls.Conn) {
	defer func() { r.ended <- struct{}{} }()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if conn.Handshake() == nil {
		r.shaken.Add(1)
	}
	buffer := make([]byte, 1024)
	n, _ := conn.Read(buffer) // after a failed handshake this fails at once
	r.bytes.Add(int64(n))
	if n > 0 {
		fmt.Fprint(conn, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
}

// settle waits for the end of one connection and returns the request bytes seen so far.
func (r *receiver) settle(t *testing.T) int64 {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the receiver's connection did not end")
	}
	return r.bytes.Load()
}

func post(addr string, config *tls.Config) (*http.Response, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	response, err := client.Post("https://"+addr+"/", "application/json", http.NoBody)
	if err == nil {
		response.Body.Close()
	}
	return response, err
}

func TestReceiversWithBadCertificatesSeeNoByteOfTheRequest(t *testing.T) {
	pki, id, roots := mtlstest.PKI(t), mtlstest.HolderClient(t), mtlstest.Roots(t)
	good := pki.InitiatorServer(certs.DefaultAlfa)
	r := openReceiver(t, good)
	_, err := post(r.addr, mtls.ClientConfig(id, roots, "localhost"))
	require.NoError(t, err)
	require.Positive(t, r.settle(t))

	byAddress := openReceiver(t, good)
	_, err = post(byAddress.addr, mtls.ClientConfig(id, roots, ""))
	require.NoError(t, err, "an address is good when the certificate names it (contract, loopback receivers)")

	for _, defect := range []certs.Defect{
		certs.Expired, certs.NotYetValid, certs.WrongPurpose, certs.WrongName, certs.OtherCA, certs.SelfSigned,
		certs.CommonNameOnly, certs.WeakKey,
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			r := openReceiver(t, pki.Spoil(good, defect))
			c := mtls.ClientConfig(id, roots, "localhost")
			c.MaxVersion = version
			_, err := post(r.addr, c)
			require.Error(t, err, "%s, version %x", defect, version)
			require.Zero(t, r.settle(t), "%s, version %x: bytes of the request", defect, version)
			require.Zero(t, r.shaken.Load(), "%s, version %x: our certificate was shown", defect, version)
		}
	}
}

func TestReceiversThatSpeakAnotherProfileAreRefused(t *testing.T) {
	id, roots := mtlstest.HolderClient(t), mtlstest.Roots(t)
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorServer(certs.DefaultAlfa))
	spoil := map[string]func(*tls.Config){
		"TLS 1.1": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"CBC": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}
		},
		"leaf only": func(c *tls.Config) { c.Certificates[0].Certificate = c.Certificates[0].Certificate[:1] },
	}
	for name, change := range spoil {
		config := mtlstest.ReceiverConfig(t, leaf)
		change(config)
		r := openReceiverWith(t, config)
		_, err := post(r.addr, mtls.ClientConfig(id, roots, "localhost"))
		require.Error(t, err, name)
		require.Zero(t, r.settle(t), name)
	}
}

func TestHTTP2IsNeverAgreedOn(t *testing.T) {
	config := mtlstest.ReceiverConfig(t, mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorServer(certs.DefaultAlfa)))
	config.NextProtos = []string{"h2", "http/1.1"}
	agreed := make(chan string, 1)
	addr := mtlstest.Serve(t, config, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { agreed <- r.TLS.NegotiatedProtocol }))
	_, err := post(addr, mtls.ClientConfig(mtlstest.HolderClient(t), mtlstest.Roots(t), "localhost"))
	require.NoError(t, err)
	require.Equal(t, "http/1.1", <-agreed)

	g := openGate(t)
	c := alfaConfig(t)
	c.NextProtos = []string{"h2", "http/1.1"}
	state, err := g.get(c)
	require.NoError(t, err)
	require.Equal(t, "http/1.1", state.NegotiatedProtocol)
}

func TestOurCertificateIsSentWithItsChainWhateverTheReceiverLists(t *testing.T) {
	pki := mtlstest.PKI(t)
	config := mtlstest.ReceiverConfig(t, mtlstest.Leaf(t, pki.InitiatorServer(certs.DefaultAlfa)))
	// The list of acceptable authorities names a stranger; the receiver judges by itself all the same.
	config.ClientAuth = tls.RequireAnyClientCert
	config.ClientCAs = mtlstest.Anchors(t, pki.SealCA).Pool()
	shown := make(chan int, 1)
	id := mtlstest.HolderClient(t)
	addr := mtlstest.Serve(t, config, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if !r.TLS.PeerCertificates[0].Equal(id.Current().Leaf) {
			t.Error("another certificate was shown")
		}
		shown <- len(r.TLS.PeerCertificates)
	}))
	_, err := post(addr, mtls.ClientConfig(id, mtlstest.Roots(t), "localhost"))
	require.NoError(t, err)
	require.Equal(t, 2, <-shown)
}

func TestAnExpiredIdentityIsNotEvenShown(t *testing.T) {
	id := mtlstest.HolderClient(t)
	r := openReceiver(t, mtlstest.PKI(t).InitiatorServer(certs.DefaultAlfa))
	config := mtls.ClientConfig(id, mtlstest.Roots(t), "localhost")
	id.SetClock(func() time.Time { return time.Now().AddDate(2, 0, 0) })
	_, err := post(r.addr, config)
	require.ErrorIs(t, err, mtls.ErrOwnExpired)
	require.Zero(t, r.settle(t))
}

func TestAnAnchorRemovedIsRefusedByConfigurationsMadeBefore(t *testing.T) {
	pki := mtlstest.PKI(t)
	file := mtlstest.AnchorsFile(t, pki.Root)
	roots, err := mtls.LoadAnchors(file)
	require.NoError(t, err)
	r := openReceiver(t, pki.InitiatorServer(certs.DefaultAlfa))
	config := mtls.ClientConfig(mtlstest.HolderClient(t), roots, "localhost")
	_, err = post(r.addr, config)
	require.NoError(t, err)
	sent := r.settle(t)

	mtlstest.WriteAnchors(t, file, pki.SealCA)
	_, err = roots.Reload()
	require.NoError(t, err)
	require.EqualValues(t, 2, roots.Generation())
	_, err = post(r.addr, config)
	require.ErrorIs(t, err, mtls.ErrPeer)
	require.Equal(t, sent, r.settle(t))
}

func TestPublicConfigBelievesItsRootsOnly(t *testing.T) {
	pki := mtlstest.PKI(t)
	leaf := mtlstest.Leaf(t, pki.InitiatorServer(certs.DefaultAlfa))
	addr := mtlstest.Serve(t, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{leaf.TLS()}}, http.NotFoundHandler())
	dial := func(c *tls.Config) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		conn, err := (&tls.Dialer{NetDialer: &net.Dialer{}, Config: c}).DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	}
	require.NoError(t, dial(mtls.PublicConfig(mtlstest.Roots(t))))
	require.Error(t, dial(mtls.PublicConfig(nil)), "the system does not know the development root")
}

// TestConnectionsHoldOurCopyOfTheirAuthority looks at what a connection keeps: of the authority that every client sends, not a copy each.
func TestConnectionsHoldOurCopyOfTheirAuthority(t *testing.T) {
	anchors := mtlstest.ClientCAs(t)
	shown := make(chan []*x509.Certificate, 1)
	addr := mtlstest.Serve(t, mtls.ServerConfig(mtlstest.HolderServer(t), anchors), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		shown <- r.TLS.PeerCertificates
	}))
	_, err := (&gate{addr: addr}).get(alfaConfig(t))
	require.NoError(t, err)
	held := <-shown
	require.Len(t, held, 2, "the client's own certificate and its authority")
	require.Same(t, anchors.Certificates()[0], held[1])
}
