package gateway

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/mtls"
)

// attacker opens connections to the public listener and gives them up with the test. Nothing it reads or writes lasts
// longer than fifteen seconds, so that a server which lets it stay is found out.
type attacker struct {
	h    *house
	leaf certs.Leaf
}

func (a attacker) raw() net.Conn {
	a.h.t.Helper()
	conn, err := new(net.Dialer).DialContext(a.h.t.Context(), "tcp", a.h.g.Addr("public"))
	require.NoError(a.h.t, err)
	a.h.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(a.h.t, conn.SetDeadline(time.Now().Add(15*time.Second)))
	return conn
}

// shaken has made its handshake over conn.
func (a attacker) shaken(conn net.Conn, adjust func(*tls.Config)) *tls.Conn {
	a.h.t.Helper()
	config := mtlstest.InitiatorConfig(a.h.t, a.leaf)
	adjust(config)
	secured := tls.Client(conn, config)
	require.NoError(a.h.t, secured.HandshakeContext(a.h.t.Context()))
	return secured
}

// drip sends a byte a second until the connection has ended or done is closed.
func drip(done <-chan struct{}, to io.Writer, text string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		if _, err := io.WriteString(to, text[n%len(text):n%len(text)+1]); err != nil {
			return
		}
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// mute sends what is written first, the hello, and swallows the rest.
type mute struct {
	net.Conn
	spoken bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.spoken {
		return len(p), nil
	}
	m.spoken = true
	return m.Conn.Write(p)
}

// TestSlowClientsAreLetGoWithinTenSecondsAndHinderNobody is case H4: headers that never end and handshakes that stop
// half-way, many at once, while a good client asks.
func TestSlowClientsAreLetGoWithinTenSecondsAndHinderNobody(t *testing.T) {
	const limit = 10 * time.Second
	h := open(t)
	h.initiator(certs.DefaultAlfa)
	id, _ := h.change(certs.DefaultAlfa)
	good := h.poller(certs.DefaultAlfa)
	bad := attacker{h, h.leaf(h.pki.InitiatorBRCAC(certs.DefaultBeta))}

	var slow sync.WaitGroup
	var mu sync.Mutex
	stayed := map[string][]time.Duration{}
	watch := func(name string, conn net.Conn, begin func(done <-chan struct{})) {
		began := time.Now()
		slow.Go(func() {
			done := make(chan struct{})
			var writer sync.WaitGroup
			if begin != nil {
				writer.Go(func() { begin(done) })
			}
			_, _ = io.Copy(io.Discard, conn) // until the server ends it
			took := time.Since(began)
			close(done)
			writer.Wait()
			mu.Lock()
			defer mu.Unlock()
			stayed[name] = append(stayed[name], took)
		})
	}
	const each = 12
	for range each {
		header := bad.shaken(bad.raw(), func(*tls.Config) {})
		watch("a header of a byte a second", header, func(done <-chan struct{}) {
			drip(done, header, "GET /open-banking/payments/v5/consents/urn:x:1 HTTP/1.1\r\nHost: x\r\nX: a\r\n")
		})
		watch("a handshake without a word", bad.raw(), nil)
		hello := bad.raw()
		watch("a hello of a byte a second", hello, func(done <-chan struct{}) {
			drip(done, hello, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("x", 32))
		})
		half := bad.raw()
		_ = bad.shaken(&mute{Conn: half}, func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })
		watch("half a handshake", half, nil)
	}

	ended := make(chan struct{})
	go func() { slow.Wait(); close(ended) }()
	var took []time.Duration
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for over := false; !over; {
		asked := time.Now()
		status, _, body, err := good.get(id)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, body)
		took = append(took, time.Since(asked))
		select {
		case <-ended:
			over = true
		case <-tick.C:
		}
	}
	slices.Sort(took)
	p95 := took[len(took)*95/100]
	require.Less(t, p95, 1500*time.Millisecond)
	require.Len(t, stayed, 4)
	for name, times := range stayed {
		require.Len(t, times, each)
		require.Less(t, slices.Max(times), limit+time.Second, name)
		t.Logf("%s: let go after %s to %s", name, slices.Min(times), slices.Max(times))
	}
	t.Logf("%d good queries meanwhile, p95 %s", len(took), p95)
}

// TestSilentConnectionsOfOneAddressTakeRoomFromThatAddressAlone: the setting reaches the listener, and what made room is counted.
func TestSilentConnectionsOfOneAddressTakeRoomFromThatAddressAlone(t *testing.T) {
	h := open(t, "ARAUTO_PUBLIC_HANDSHAKES_PER_ADDRESS=4")
	h.initiator(certs.DefaultAlfa)
	id, _ := h.change(certs.DefaultAlfa)
	silent := attacker{h, certs.Leaf{}}
	for range 12 {
		silent.raw()
	}
	h.until("made room", func() bool { return h.metric(`arauto_connections_refused_total{listener="public"}`) >= 8 })
	status, _, body, err := h.poller(certs.DefaultAlfa).get(id)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, body)
}

// rekeying writes records of TLS 1.3 by hand over a connection whose handshake package tls has made, to send what it
// never sends: updates of its keys, as many as it likes (RFC 8446 §4.6.3).
type rekeying struct {
	t      *testing.T
	to     net.Conn
	hash   func() hash.Hash
	size   int // of the key
	seal   func(key []byte) (cipher.AEAD, error)
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	sent   uint64 // records under this key
}

// takeOver goes on where the handshake ended; log is the key log of the handshake.
func takeOver(t *testing.T, to net.Conn, suite uint16, log string) *rekeying {
	t.Helper()
	r := &rekeying{t: t, to: to, hash: sha256.New, size: 32, seal: sealAES}
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
		r.size = 16
	case tls.TLS_AES_256_GCM_SHA384:
		r.hash = sha512.New384
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		r.seal = chacha20poly1305.New
	default:
		require.Fail(t, "a suite that is not of TLS 1.3", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(log) {
		if fields := strings.Fields(line); fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(fields[2])
			require.NoError(t, err)
			r.use(secret)
			return r
		}
	}
	require.Fail(t, "no secret in the key log")
	return nil
}

func sealAES(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// derive is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func (r *rekeying) derive(label string, length int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(append(info, byte(len("tls13 "+label))), "tls13 "+label...)
	out, err := hkdf.Expand(r.hash, r.secret, string(append(info, 0)), length)
	require.NoError(r.t, err)
	return out
}

func (r *rekeying) use(secret []byte) {
	r.secret, r.sent = secret, 0
	r.iv = r.derive("iv", 12)
	var err error
	r.aead, err = r.seal(r.derive("key", r.size))
	require.NoError(r.t, err)
}

// record sends one (RFC 8446 §5.2).
func (r *rekeying) record(kind byte, content string) error {
	inner := append([]byte(content), kind)
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(inner)+r.aead.Overhead()))
	nonce := binary.BigEndian.AppendUint64(make([]byte, 4), r.sent)
	for i := range nonce {
		nonce[i] ^= r.iv[i]
	}
	r.sent++
	_, err := r.to.Write(r.aead.Seal(header, nonce, inner, header))
	return err
}

// update sends a KeyUpdate and takes the next key; answer "\x01" asks the peer for an update of its own, "\x00" does not.
func (r *rekeying) update(answer string) error {
	err := r.record(22, "\x18\x00\x00\x01"+answer)
	r.use(r.derive("traffic upd", r.hash().Size()))
	return err
}

// TestAFloodOfKeyUpdatesIsLetGo is the rest of case H4.
func TestAFloodOfKeyUpdatesIsLetGo(t *testing.T) {
	h := open(t)
	h.initiator(certs.DefaultAlfa)
	id, _ := h.change(certs.DefaultAlfa)
	good := h.poller(certs.DefaultAlfa)
	bad := attacker{h, h.leaf(h.pki.InitiatorBRCAC(certs.DefaultBeta))}
	for name, answer := range map[string]string{"that ask for nothing": "\x00", "that ask for ours": "\x01"} {
		t.Run(name, func(t *testing.T) {
			conn := bad.raw()
			var log strings.Builder
			secured := bad.shaken(conn, func(c *tls.Config) { c.MinVersion, c.KeyLogWriter = tls.VersionTLS13, &log })
			r := takeOver(t, conn, secured.ConnectionState().CipherSuite, log.String())

			// A few are in order, which also shows that we make them well: the server understands what comes after them.
			for range 3 {
				require.NoError(t, r.update(answer))
			}
			require.NoError(t, r.record(23, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			res, err := http.ReadResponse(bufio.NewReader(secured), nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusNotFound, res.StatusCode)

			began := time.Now()
			sent := 0
			for ; sent < 1_000_000 && err == nil; sent++ {
				err = r.update(answer)
			}
			require.Error(t, err, "the server goes on reading them")
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection stays open")
			require.Less(t, time.Since(began), 5*time.Second)
			t.Logf("ended after %d updates were handed over, %s", sent, time.Since(began))
			status, _, body, err := good.get(id)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status, body)
		})
	}
}

// TestNoHeaderOfADirectClientSaysWhoItIs is case H7 on a gateway without a proxy.
func TestNoHeaderOfADirectClientSaysWhoItIs(t *testing.T) {
	h := open(t)
	h.initiator(certs.DefaultAlfa)
	h.initiator(certs.DefaultBeta)
	id, _ := h.change(certs.DefaultAlfa)
	alfa, beta := h.poller(certs.DefaultAlfa), h.poller(certs.DefaultBeta)
	thief := h.pollerWith(certs.DefaultAlfa, beta.leaf, func(*tls.Config) {})
	thief.leaf = alfa.leaf // to which the token is bound
	const forged = "203.0.113.7"
	claims := func(leaf certs.Leaf) []string {
		der := base64.StdEncoding.EncodeToString(leaf.Certificate.Raw)
		pem := url.QueryEscape(string(certs.CertPEM(leaf.Certificate)))
		return []string{
			"X-SSL-Cert", pem, "X-SSL-Client-Cert", pem, "X-Client-Cert", der, "Client-Cert", ":" + der + ":", "Client-Cert-Chain", ":" + der + ":",
			"X-Forwarded-Client-Cert", "Hash=" + mtls.Fingerprint(leaf.Certificate) + `;Cert="` + pem + `"`, "X-SSL-Client-Verify", "SUCCESS",
			"X-Real-IP", forged, "X-Forwarded-For", forged, "Forwarded", "for=" + forged, "True-Client-IP", forged,
		}
	}
	var sockets []string
	for _, p := range []*poller{alfa, thief} {
		transport, ok := p.client.Transport.(*http.Transport)
		require.True(t, ok)
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				sockets = append(sockets, conn.LocalAddr().String())
			}
			return conn, err
		}
	}

	status, _, body, err := alfa.get(id, claims(beta.leaf)...)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, body)
	status, _, body, err = thief.get(id, claims(alfa.leaf)...)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, status, body)

	polls := h.entries("poll")
	require.Len(t, polls, 2)
	require.Len(t, sockets, 2)
	for n, shown := range []certs.Leaf{alfa.leaf, beta.leaf} {
		require.Equal(t, sockets[n], polls[n]["source"])
		require.Equal(t, mtls.Fingerprint(shown.Certificate), polls[n]["certificateFingerprint"])
	}
	require.Empty(t, h.log.lines(forged))
	for _, socket := range sockets {
		require.NotEmpty(t, h.log.lines(socket), "the log shows the socket's address and port")
	}
}
