package standin_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(t *testing.T) standin.Options {
	t.Helper()
	return standin.Options{
		Certificate: mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorServer(certs.DefaultAlfa)).TLS(),
		ClientCAs:   mtlstest.ClientCAs(t).Pool(),
	}
}

func start(t *testing.T) *standin.Initiator {
	t.Helper()
	i, err := standin.Start(options(t))
	require.NoError(t, err)
	t.Cleanup(i.Close)
	return i
}

// dial connects as the holder, or as nobody.
func dial(t *testing.T, addr string, withCertificate bool) (*tls.Conn, error) {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: mtlstest.Roots(t).Pool(), ServerName: "localhost"}
	if withCertificate {
		config.Certificates = []tls.Certificate{mtlstest.Leaf(t, mtlstest.PKI(t).HolderBRCAC()).TLS()}
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*tls.Conn), nil
}

const sample = "POST /kong3/%s?q=%%2f HTTP/1.1\r\nHost: itp\r\nx-Webhook-interaction-id: id-1\r\nX-Odd:  a b \r\nContent-Length: 4\r\n\r\nbody"

// post sends a sample request and reads what comes until the receiver has nothing more to say.
func post(t *testing.T, conn *tls.Conn, id string) *http.Response {
	t.Helper()
	_, err := fmt.Fprintf(conn, sample, id)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp
}

func TestAGoodInitiatorAcceptsAndRemembersEveryByte(t *testing.T) {
	i := start(t)
	conn, err := dial(t, i.Addr(), true)
	require.NoError(t, err)
	before := time.Now()
	for n := range 3 {
		resp := post(t, conn, fmt.Sprint(n))
		require.Equal(t, 202, resp.StatusCode)
		require.Equal(t, "id-1", resp.Header.Get("x-webhook-interaction-id"))
	}
	got, err := i.Wait(t.Context(), 3, nil)
	require.NoError(t, err)
	first := got[0]
	require.Equal(t, strings.TrimSuffix(fmt.Sprintf(sample, "0"), "body"), string(first.Head))
	require.Equal(t, "POST /kong3/0?q=%2f HTTP/1.1", first.Line)
	require.Equal(t, "/kong3/0?q=%2f", first.Target)
	require.Equal(t, []standin.Field{{"Host", "itp"}, {"x-Webhook-interaction-id", "id-1"}, {"X-Odd", "a b"}, {"Content-Length", "4"}}, first.Header)
	require.Equal(t, "body", string(first.Body))
	require.Equal(t, "id-1", first.Interaction)
	require.Contains(t, first.PeerSubject, "CN=")
	require.Equal(t, conn.LocalAddr().String(), first.Remote)
	require.True(t, first.At.After(before) && !got[1].At.Before(first.At))
	require.Equal(t, 1, i.Connections())
	require.NoError(t, i.Handshakes()[0].Err)
}

func TestWithoutAClientCertificateThereIsNoRequest(t *testing.T) {
	i := start(t)
	conn, err := dial(t, i.Addr(), false)
	if err == nil { // TLS 1.3 tells after the handshake
		_, err = conn.Read(make([]byte, 1))
	}
	require.Error(t, err)
	all, err := i.WaitHandshake(t.Context(), 1)
	require.NoError(t, err)
	require.Error(t, all[0].Err)
	require.Empty(t, i.Requests())
}

func TestAScriptIsFollowedPerResource(t *testing.T) {
	i := start(t)
	i.Answer("", standin.Refuse(500))
	i.Answer("pay-1", standin.Refuse(503), standin.Refuse(429), standin.Accept)
	i.Answer("pay-12", standin.Answer{Status: 200, Echo: standin.NotEchoed, Body: "x"})
	conn, err := dial(t, i.Addr(), true)
	require.NoError(t, err)
	for _, c := range []struct {
		id   string
		want int
	}{{"pay-1", 503}, {"pay-2", 500}, {"pay-1", 429}, {"pay-12", 200}, {"pay-1", 202}, {"pay-1", 202}, {"pay-12", 200}} {
		require.Equal(t, c.want, post(t, conn, c.id).StatusCode, c.id)
	}
	got, err := i.Wait(t.Context(), 2, standin.For("pay-12"))
	require.NoError(t, err)
	require.Len(t, got, 2)
}

func TestWaitEndsWithItsContextAndSaysWhatCame(t *testing.T) {
	i := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := i.Wait(ctx, 1, nil)
	require.ErrorContains(t, err, "wait for 1 requests")
	require.ErrorContains(t, err, "0 came")
}

func TestItCanBreakAConnectionAtEveryStage(t *testing.T) {
	i := start(t)
	i.Connect(
		standin.Connection{Reset: true},
		standin.Connection{Garbage: []byte("SSH-2.0-x\r\n")},
		standin.Connection{MaxVersion: tls.VersionTLS11},
	)
	for range 3 {
		_, err := dial(t, i.Addr(), true)
		require.Error(t, err)
	}
	for _, answer := range []standin.Answer{
		{End: standin.HangUp}, {End: standin.ResetUp}, {Raw: []byte("HTTP/1.1 2"), End: standin.Close}, {Raw: []byte("HTTP/1.1 2"), End: standin.Reset},
	} {
		i.Answer("", answer)
		conn, err := dial(t, i.Addr(), true)
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, sample, "x")
		require.NoError(t, err)
		_, err = http.ReadResponse(bufio.NewReader(conn), nil)
		require.Error(t, err)
	}
}

func TestAStalledAnswerStopsWhereItIsTold(t *testing.T) {
	i := start(t)
	for stall, want := range map[standin.Point]string{
		standin.InStatusLine: "HTTP/1.1 2",
		standin.InHeaders:    "HTTP/1.1 202 Accepted\r\nx-webhook-interaction-id: id-1\r\nContent-Length: 4",
		standin.AtBody:       "HTTP/1.1 202 Accepted\r\nx-webhook-interaction-id: id-1\r\nContent-Length: 4\r\n\r\n",
	} {
		i.Answer("", standin.Answer{Stall: stall, Body: "body"})
		conn, err := dial(t, i.Addr(), true)
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, sample, "x")
		require.NoError(t, err)
		got := make([]byte, len(want))
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = conn.Read(got)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
	}
}

func TestAnEndpointForLoadAcceptsAndCounts(t *testing.T) {
	arrivals := make(chan standin.Arrival, 1)
	l, err := standin.StartLoad(options(t), func(a standin.Arrival) { arrivals <- a })
	require.NoError(t, err)
	defer l.Close()
	conn, err := dial(t, fmt.Sprintf("127.0.0.1:%d", l.Port()), true)
	require.NoError(t, err)
	resp := post(t, conn, "pay-1")
	require.Equal(t, 202, resp.StatusCode)
	require.Equal(t, "id-1", resp.Header.Get("x-webhook-interaction-id"))
	got := <-arrivals
	require.Equal(t, "/kong3/pay-1?q=%2f", got.Target)
	require.Equal(t, "id-1", got.Interaction)
	require.EqualValues(t, 1, l.Count())
}

func TestTheNameServerAnswersAsTold(t *testing.T) {
	dns, err := standin.StartDNS(map[string][]netip.Addr{"itp.example.com": {netip.MustParseAddr("192.0.2.7")}})
	require.NoError(t, err)
	defer dns.Close()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", dns.Addr())
	}}
	got, err := r.LookupNetIP(t.Context(), "ip4", "itp.example.com.")
	require.NoError(t, err)
	require.Equal(t, "192.0.2.7", got[0].String())
	dns.Set("itp.example.com", netip.MustParseAddr("::1"))
	got, err = r.LookupNetIP(t.Context(), "ip6", "itp.example.com.")
	require.NoError(t, err)
	require.Equal(t, "::1", got[0].String())
	_, err = r.LookupNetIP(t.Context(), "ip", "nowhere.example.com.")
	var missing *net.DNSError
	require.ErrorAs(t, err, &missing)
	require.True(t, missing.IsNotFound)
	require.NotZero(t, dns.Asked("nowhere.example.com"))
}
