package webhook

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
)

func newDNS(t *testing.T, names map[string][]netip.Addr) *standin.DNS {
	t.Helper()
	dns, err := standin.StartDNS(names)
	require.NoError(t, err)
	t.Cleanup(dns.Close)
	return dns
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestTheConfiguredResolverIsTheOnlyOneAsked(t *testing.T) {
	dns := newDNS(t, map[string][]netip.Addr{"localhost": addrs("8.8.8.8", "2606:4700::1"), "v6.example": addrs("2606:4700::2"), "empty.example": nil})
	r := stubResolver{server: dns.Addr()}
	got, err := lookup(t.Context(), r, "localhost")
	require.NoError(t, err)
	require.Equal(t, addrs("8.8.8.8", "2606:4700::1"), got, "the hosts file is not consulted")
	got, err = lookup(t.Context(), r, "V6.Example")
	require.NoError(t, err)
	require.Equal(t, addrs("2606:4700::2"), got)
	for _, name := range []string{"nowhere.example", "empty.example"} {
		_, err = lookup(t.Context(), r, name)
		var dnsError *net.DNSError
		require.ErrorAs(t, err, &dnsError, name)
		require.True(t, dnsError.IsNotFound, name)
	}
	got, err = lookup(t.Context(), r, "[::1]")
	require.NoError(t, err)
	require.Equal(t, addrs("::1"), got, "an address stands for itself")
}

func TestANameIsLookedUpForEveryConnection(t *testing.T) {
	i, other := newInitiator(t), newInitiator(t, func(o *standin.Options) { o.Certificate = serverCertificate(t, "itp.example.com").TLS() })
	i.Close()
	dns := newDNS(t, map[string][]netip.Addr{"itp.example.com": addrs("127.0.0.1")})
	s := newSender(t, func(c *Config) { c.Resolver = dns.Addr() })
	base := strings.Replace(other.BaseURI(""), "localhost", "itp.example.com", 1)
	require.Equal(t, notice.OutcomeDelivered, send(t, s, base).Outcome)
	require.Equal(t, "itp.example.com", other.Requests()[0].TLS.ServerName)

	dns.Set("itp.example.com", addrs("10.0.0.1")...)
	s.Forget("client-alfa")
	require.Equal(t, notice.OutcomeBlocked, send(t, s, base).Outcome)
}

func TestEveryAddressOfANameIsTried(t *testing.T) {
	i := newInitiator(t, func(o *standin.Options) { o.Certificate = serverCertificate(t, "itp.example.com").TLS() })
	base := strings.Replace(i.BaseURI(""), "localhost", "itp.example.com", 1)
	for name, list := range map[string][]netip.Addr{
		"one that refuses, then the right one":  addrs("127.0.0.77", "127.0.0.1"),
		"forbidden ones, then the right one":    addrs("10.0.0.1", "192.168.0.1", "127.0.0.1"),
		"the right one first":                   addrs("127.0.0.1", "127.0.0.77", "127.0.0.78"),
		"the right one in the form of IPv6":     addrs("::ffff:127.0.0.1"),
		"several that refuse, and the last one": addrs("127.0.0.77", "127.0.0.78", "127.0.0.79", "127.0.0.1"),
	} {
		t.Run(name, func(t *testing.T) {
			dns := newDNS(t, map[string][]netip.Addr{"itp.example.com": list})
			s := newSender(t, func(c *Config) { c.Resolver = dns.Addr() })
			r := send(t, s, base)
			require.Equal(t, notice.OutcomeDelivered, r.Outcome, r.Detail)
			require.Less(t, r.Elapsed, 2*time.Second)
		})
	}
	dns := newDNS(t, map[string][]netip.Addr{"itp.example.com": addrs("127.0.0.77", "10.0.0.1", "127.0.0.78")})
	s := newSender(t, func(c *Config) { c.Resolver = dns.Addr() })
	r := send(t, s, base)
	require.Equal(t, notice.OutcomeConnect, r.Outcome)
	require.Contains(t, r.Detail, "refused")
}

func TestANameThatDoesNotExistIsAConnectError(t *testing.T) {
	dns := newDNS(t, nil)
	s := newSender(t, func(c *Config) { c.Resolver = dns.Addr() })
	r := send(t, s, "https://nowhere.example.com")
	require.Equal(t, notice.OutcomeConnect, r.Outcome)
	require.Contains(t, r.Detail, "dns: ")
	require.Contains(t, r.Detail, "no such name")
}

func TestALostQuestionIsAskedAgain(t *testing.T) {
	t.Parallel()
	dns := newDNS(t, map[string][]netip.Addr{"itp.example.com": addrs("8.8.8.8")})
	dns.Silence(true)
	go func() {
		if dns.WaitAsked(soon(t), "itp.example.com", 2) == nil {
			dns.Silence(false)
		}
	}()
	got, err := stubResolver{server: dns.Addr()}.LookupNetIP(soon(t), "ip", "itp.example.com")
	require.NoError(t, err)
	require.Equal(t, addrs("8.8.8.8"), got)
}

func TestATruncatedReplyIsAskedForAgainByTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	require.NoError(t, err)
	defer packets.Close()
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			buf[2] |= flagResponse | flagTruncated
			_, _ = packets.WriteTo(buf[:n], from)
		}
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			question := make([]byte, 2)
			_, _ = io.ReadFull(conn, question)
			question = make([]byte, binary.BigEndian.Uint16(question))
			_, _ = io.ReadFull(conn, question)
			reply := append([]byte(nil), question...)
			reply[2] |= flagResponse
			if kind := binary.BigEndian.Uint16(question[len(question)-4:]); kind == typeA {
				reply[7] = 1
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 8, 8, 4, 4)
			}
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			_ = conn.Close()
		}
	}()
	got, err := stubResolver{server: listener.Addr().String()}.LookupNetIP(soon(t), "ip", "itp.example.com")
	require.NoError(t, err)
	require.Equal(t, addrs("8.8.4.4"), got)
}

func TestAResolverThatIsNotThereIsAnError(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := stubResolver{server: "127.0.0.1:1"}.LookupNetIP(ctx, "ip", "itp.example.com")
	require.Error(t, err)
	require.NoError(t, ctx.Err())
}

func FuzzDNSReply(f *testing.F) {
	question, err := question("itp.example.com", typeA)
	require.NoError(f, err)
	reply := append([]byte(nil), question...)
	reply[2] |= flagResponse
	reply[7] = 1
	f.Add(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 8, 8, 4, 4), uint16(typeA))
	f.Add(append(reply, 1, 'a', 0, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16), uint16(typeAAAA))
	f.Fuzz(func(t *testing.T, reply []byte, kind uint16) {
		if len(reply) < len(question) || !answers(reply, question) {
			return
		}
		require.Empty(t, cost.Parser.Within(len(reply), func() { _, _ = addresses(reply, kind) }))
		list, err := addresses(reply, kind)
		if err == nil {
			for _, addr := range list {
				require.Equal(t, kind == typeA, addr.Is4())
			}
		}
	})
}
