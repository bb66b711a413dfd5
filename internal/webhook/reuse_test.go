package webhook

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/zoo"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

const movedName = "itp.example.com"

func movedBase(port int) string { return "https://" + net.JoinHostPort(movedName, fmt.Sprint(port)) }

func newRelay(t *testing.T, addr, to string, delay time.Duration) *zoo.Relay {
	t.Helper()
	r, err := zoo.StartRelay(t.Context(), addr, to, delay)
	require.NoError(t, err)
	t.Cleanup(r.Stop)
	return r
}

// named makes a stand-in that shows a certificate for movedName and listens on another loopback address.
func named(t *testing.T, addr string) func(*standin.Options) {
	return func(o *standin.Options) {
		o.Addr, o.Certificate = addr, serverCertificate(t, movedName).TLS()
	}
}

// burst makes the sender open about so many connections at once.
func burst(t *testing.T, s *Sender, i *standin.Initiator, base string, n int) {
	t.Helper()
	i.Answer("", standin.Answer{Delay: 300 * time.Millisecond})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			r, err := s.Send(t.Context(), newAttempt(base))
			if err != nil || r.Outcome != notice.OutcomeDelivered {
				t.Errorf("%v %v", r, err)
			}
		})
	}
	all.Wait()
	i.Answer("", standin.Accept)
	require.Greater(t, i.Open(), 1)
}

// One attempt is spent on a receiver that fails over without a word, and not one for each connection that was open.
func TestAFaultEndsTheIdleConnectionsOfItsEndpoint(t *testing.T) {
	t.Parallel()
	old := newInitiator(t, named(t, "127.0.0.11:0"))
	r := newRelay(t, "127.0.0.12:0", old.Addr(), 0)
	healthy := newInitiator(t, named(t, fmt.Sprintf("127.0.0.13:%d", r.Port())))
	dns := newDNS(t, map[string][]netip.Addr{movedName: addrs("127.0.0.12")})
	o := new(counter)
	s := newSender(t, within(2*time.Second), func(c *Config) { c.Resolver, c.Observer = dns.Addr(), o })
	base := movedBase(r.Port())
	burst(t, s, old, base, 12)
	r.Freeze()
	dns.Set(movedName, addrs("127.0.0.13")...)

	first := send(t, s, base)
	require.Equal(t, notice.OutcomeTimeout, first.Outcome, "nothing tells it from a slow receiver")
	require.True(t, first.Reused)
	second := send(t, s, base)
	require.Equal(t, notice.OutcomeDelivered, second.Outcome, second.Detail)
	require.False(t, second.Reused)
	require.Len(t, healthy.Requests(), 1)
	o.waitOpen(t, 1)
	require.Positive(t, o.count(ClosedFault))
}

// When both addresses of a name accept connections and one then says nothing, the next attempt tries the other.
func TestAnAddressThatFailedIsTriedAfterTheOthers(t *testing.T) {
	t.Parallel()
	silent := newInitiator(t, named(t, "127.0.0.14:0"))
	silent.Connect(standin.Connection{StallHello: true})
	healthy := newInitiator(t, named(t, fmt.Sprintf("127.0.0.15:%d", silent.Port())))
	dns := newDNS(t, map[string][]netip.Addr{movedName: addrs("127.0.0.14", "127.0.0.15")})
	o := new(counter)
	s := newSender(t, within(2*time.Second), func(c *Config) { c.Resolver, c.Observer = dns.Addr(), o })
	base := movedBase(silent.Port())
	require.Equal(t, notice.OutcomeTimeout, send(t, s, base).Outcome)
	o.wait(t, "a dial that failed", func() bool { return len(o.dialled) > 0 }) // the attempt does not wait for its end
	r := send(t, s, base)
	require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
	require.Len(t, healthy.Requests(), 1)
}

// After a name moved, the old receiver is not used any more although it still answers.
func TestAConnectionToAnAddressThatTheNameLeftIsNotUsed(t *testing.T) {
	t.Parallel()
	old := newInitiator(t, named(t, "127.0.0.16:0"))
	fresh := newInitiator(t, named(t, fmt.Sprintf("127.0.0.17:%d", old.Port())))
	dns := newDNS(t, map[string][]netip.Addr{movedName: addrs("127.0.0.16")})
	o := new(counter)
	s := newSender(t, func(c *Config) { c.Resolver, c.Observer = dns.Addr(), o })
	s.keep.resolve = 300 * time.Millisecond
	base := movedBase(old.Port())
	require.Equal(t, notice.OutcomeDelivered, send(t, s, base).Outcome)
	dns.Set(movedName, addrs("127.0.0.17")...)
	moved := time.Now()
	last := moved
	for len(fresh.Requests()) == 0 {
		require.Less(t, last.Sub(moved), time.Minute, "the old receiver is used for ever")
		last = time.Now()
		require.Equal(t, notice.OutcomeDelivered, send(t, s, base).Outcome)
	}
	o.waitOpen(t, 1) // the old one may be ended beside the attempts
	require.Equal(t, 1, o.count(ClosedMoved))
	n := len(old.Requests())
	require.Equal(t, notice.OutcomeDelivered, send(t, s, base).Outcome)
	require.Len(t, old.Requests(), n)
}

func TestAConnectionIsReplacedWhenItIsOldOrIdleTooLong(t *testing.T) {
	t.Parallel()
	for why, limits := range map[CloseReason]keepLimits{
		ClosedAge:  {idle: time.Hour, age: 300 * time.Millisecond, resolve: time.Hour, body: time.Minute},
		ClosedIdle: {idle: 300 * time.Millisecond, age: time.Hour, resolve: time.Hour, body: time.Minute},
	} {
		o := new(counter)
		i, s := newInitiator(t), newSender(t, func(c *Config) { c.Observer = o })
		s.keep = limits
		require.False(t, send(t, s, i.BaseURI("")).Reused)
		o.waitOpen(t, 0) // it closes by itself
		require.Equal(t, 1, o.count(why), "%s: %v", why, o.closed)
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeDelivered, r.Outcome)
		require.Empty(t, r.Detail, "nothing was dead")
		require.False(t, r.Reused)
	}
}

// idleServer answers 202 and ends connections that are idle for so long, as the standard library's server does.
func idleServer(t *testing.T, idle time.Duration, header string) string {
	t.Helper()
	server := &http.Server{
		IdleTimeout: idle, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if header != "" {
				w.Header().Set("Keep-Alive", header)
			}
			w.Header().Set(ofb.HeaderInteractionID, r.Header.Get(ofb.HeaderInteractionID))
			w.WriteHeader(http.StatusAccepted)
		}),
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{serverCertificate(t).TLS()}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"http/1.1"},
	})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return listener.Addr().String()
}

// The receiver's end of an idle connection takes 150 ms to arrive, and our request as long: an attempt within the last
// 300 ms before the receiver's limit would be lost.
func TestNoAttemptIsSpentOnAConnectionThatItsReceiverIsAboutToEnd(t *testing.T) {
	t.Parallel()
	const limit, gap, delay = time.Second, 850 * time.Millisecond, 150 * time.Millisecond
	for name, header := range map[string]string{"announced": "timeout=1", "learned": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelay(t, "127.0.0.1:0", idleServer(t, limit, header), delay)
			o := new(counter)
			s := newSender(t, func(c *Config) { c.Observer = o })
			base := fmt.Sprintf("https://localhost:%d", r.Port())
			require.Equal(t, notice.OutcomeDelivered, send(t, s, base).Outcome)
			if header == "" {
				o.waitOpen(t, 0) // the first time nobody knows when the receiver ends it
				require.Equal(t, 1, o.count(ClosedReceiver))
				require.Equal(t, notice.OutcomeDelivered, send(t, s, base).Outcome)
			}
			for range 3 {
				<-time.After(gap) // it is the time between two attempts that is tried
				r := send(t, s, base)
				require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
			}
			require.Positive(t, o.count(ClosedKeepAlive))
		})
	}
}

// addressList is a resolver that answers with a list.
type addressList []netip.Addr

// LookupNetIP implements resolver.
func (l addressList) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return l, nil
}

func TestALiveAddressAmongManyDeadOnesIsReached(t *testing.T) {
	t.Parallel()
	live := newInitiator(t, named(t, "127.0.0.9:0"))
	base := movedBase(live.Port())
	var refusing, private, silent []netip.Addr
	for n := range 8 {
		refusing = append(refusing, netip.AddrFrom4([4]byte{127, 0, 0, byte(21 + n)}))
		private = append(private, netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + n)}))
	}
	for n := range 12 { // a listener whose queue is full answers no handshake of TCP
		silent = append(silent, fullListener(t, fmt.Sprintf("127.0.0.%d:%d", 41+n, live.Port())))
	}
	for name, dead := range map[string][]netip.Addr{"refused": refusing, "forbidden": private, "silent": silent} {
		s := newSender(t, within(8*time.Second))
		s.resolver = append(addressList(dead), netip.MustParseAddr("127.0.0.9"))
		r := send(t, s, base)
		require.Equal(t, notice.OutcomeDelivered, r.Outcome, "%s: %s", name, r.Detail)
	}
}

// A kept connection may end in the very moment in which it is chosen: nothing was written, so another is taken, and the
// record says so.
func TestAConnectionThatEndsAsItIsChosenIsReplacedWithinTheAttempt(t *testing.T) {
	t.Parallel()
	for name, notice := range map[string]func(*conn){
		"noticed by the kernel": func(c *conn) {
			require.Eventually(t, func() bool { return c.socket.peek() == peekedEnd }, time.Minute, time.Millisecond)
		},
		"noticed by nobody yet": func(c *conn) { // it is there; the connection has not looked
			other := &socket{Conn: c.socket.Conn}
			require.Eventually(t, func() bool { return other.peek() == peekedEnd }, time.Minute, time.Millisecond)
		},
	} {
		i, s := newInitiator(t), newSender(t)
		send(t, s, i.BaseURI(""))
		var once sync.Once
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			once.Do(func() {
				i.Disconnect()
				require.NoError(t, i.WaitOpen(soon(t), 0))
				notice(info.Conn.(*conn))
			})
		}})
		r, err := s.Send(ctx, newAttempt(i.BaseURI("")))
		require.NoError(t, err)
		require.Equal(t, "delivered", string(r.Outcome), "%s: %s", name, r.Detail)
		require.False(t, r.Reused)
		require.Contains(t, r.Detail, "another took its place before anything was sent", name)
		require.Len(t, i.Requests(), 2)
	}
}

func TestAPeekSeesTheEndAndTakesNothing(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	raw, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer raw.Close()
	peer, err := listener.Accept()
	require.NoError(t, err)
	s := &socket{Conn: raw}
	require.Equal(t, peekedNothing, s.peek())
	_, err = peer.Write([]byte("x"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.peek() == peekedBytes }, time.Minute, time.Millisecond)
	b := make([]byte, 1)
	_, err = io.ReadFull(s, b)
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
	read := make(chan error)
	go func() { _, err := s.Read(b); read <- err }()
	require.Equal(t, peekedNothing, s.peek(), "a parked reader is no obstacle")
	require.NoError(t, peer.Close())
	require.ErrorIs(t, <-read, io.EOF)
	require.Equal(t, peekedEnd, s.peek())
	_, err = s.Write([]byte("abc"))
	require.NoError(t, err)
	require.Equal(t, int64(3), s.out.Load())
}

// After a byte of the request was written there is no second try, whatever the connection.
func TestAnAttemptIsNotRepeatedAfterItsFirstByte(t *testing.T) {
	t.Parallel()
	for _, end := range []standin.End{standin.HangUp, standin.ResetUp} {
		i, s := newInitiator(t), newSender(t)
		send(t, s, i.BaseURI(""))
		i.Answer("", standin.Answer{End: end}, standin.Accept)
		r := send(t, s, i.BaseURI(""))
		require.Equal(t, notice.OutcomeConnect, r.Outcome)
		require.True(t, r.Reused)
		require.NotContains(t, r.Detail, "another took its place")
		require.Len(t, i.Requests(), 2)
	}
}

// fullListener makes an address silent: its listener's queue is full, so that the kernel drops what asks to connect.
func fullListener(t *testing.T, at string) netip.Addr {
	t.Helper()
	where := netip.MustParseAddrPort(at)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(where.Port()), Addr: where.Addr().As4()}))
	require.NoError(t, syscall.Listen(fd, 0))
	full := false
	for !full { // each connection takes a place; the first that gets none shows that the queue is full
		c, err := net.DialTimeout("tcp", at, 200*time.Millisecond)
		if full = err != nil; !full {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return where.Addr()
}
