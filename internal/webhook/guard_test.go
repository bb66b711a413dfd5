package webhook

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
)

// closedV4 and closedV6 are written down here from IANA's special-purpose address registries (as of 2026) and the
// multicast blocks, independently of the library the guard uses. Registry entries that IANA marks as globally reachable
// are closed too: no receiver lives there.
var (
	closedV4 = prefixes(`
		0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
		192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
		203.0.113.0/24 224.0.0.0/4 240.0.0.0/4`)
	openV6   = netip.MustParsePrefix("2000::/3") // global unicast; everything else is closed
	closedV6 = prefixes(`2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20`)
)

func prefixes(text string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range strings.Fields(text) {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// public is the oracle: what the tables say about an address.
func public(addr netip.Addr) bool {
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	if addr = addr.Unmap(); addr.Is4() {
		return !in(closedV4)
	}
	return addr.Zone() == "" && openV6.Contains(addr) && !in(closedV6)
}

func TestTheGuardAgreesWithTheRegistries(t *testing.T) {
	g := NewGuard(nil, nil)
	check := func(addr netip.Addr) {
		if got := g.Check(netip.AddrPortFrom(addr, 443)) == nil; got != public(addr) {
			require.Equal(t, public(addr), got, "%s", addr)
		}
	}
	for _, p := range slices.Concat(closedV4, closedV6, []netip.Prefix{openV6}) { // the edges
		last := lastOf(p)
		for _, addr := range []netip.Addr{p.Addr(), p.Addr().Prev(), last, last.Next()} {
			if addr.IsValid() {
				check(addr)
			}
		}
	}
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		var b [16]byte
		for i := 0; i < 16; i += 8 {
			v := random.Uint64()
			for j := range 8 {
				b[i+j] = byte(v >> (8 * j))
			}
		}
		check(netip.AddrFrom4([4]byte(b[:4])))
		check(netip.AddrFrom16(b))
		b[0] = 0x20 | b[0]&0x1f // inside 2000::/3
		check(netip.AddrFrom16(b))
		b[0], b[1] = 0x20, 0x01
		check(netip.AddrFrom16(b))
		mapped := netip.AddrFrom4([4]byte(b[12:])).As16()
		check(netip.AddrFrom16(mapped))
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// forbidden are the address forms of case K1, one inside each closed block and more.
var forbidden = strings.Fields(`
	127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1
	100.127.255.255 169.254.169.254 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255
	198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1
	::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b:1::1 fe80::1 fec0::1
	fc00::1 fd00:ec2::254 ff02::1 ff0e::1 2001:db8::1 2001::1 2001:10::1 2001:20::1 2002:7f00:1:: 2002:a00:1:: 3fff::1 100::1
	100:0:0:1::1 5f00::1 4000::1 1::1 2620:4f:8000::1`)

func TestForbiddenAddressesAreRefusedWhereverTheyComeFrom(t *testing.T) {
	canary := newInitiator(t)
	dns, err := standin.StartDNS(nil)
	require.NoError(t, err)
	t.Cleanup(dns.Close)
	// Were it not for the address, this guard would let the canary's port through.
	s := newSender(t, func(c *Config) {
		c.Guard = NewGuard(nil, []uint16{443, uint16(canary.Port())})
		c.Resolver = dns.Addr()
	})
	for _, text := range forbidden {
		addr := netip.MustParseAddr(text)
		require.Error(t, s.cfg.Guard.Check(netip.AddrPortFrom(addr, 443)), text)
		require.Error(t, s.cfg.Guard.Control(tcp(addr), netip.AddrPortFrom(addr, 443).String(), nil), text)
		require.Error(t, s.cfg.Guard.CheckHost(text, 443), text)

		// A name that answers with it, as after DNS rebinding.
		dns.Set("itp.example.com", addr)
		r := send(t, s, fmt.Sprintf("https://itp.example.com:%d", canary.Port()))
		require.Equal(t, notice.OutcomeBlocked, r.Outcome, "%s: %s", text, r.Detail)
		require.Contains(t, r.Detail, "is not a public address")
	}
	require.Zero(t, canary.Connections())
}

func tcp(addr netip.Addr) string {
	if addr.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

func TestOnlyFullyQualifiedNamesAreHosts(t *testing.T) {
	g := NewGuard(nil, nil)
	for _, host := range []string{
		"itp.example.com", "ITP.Example.COM", "a.b", "xn--bcher-kva.example", "1password.com", "a-b.c-d.e0", strings.Repeat("a", 63) + ".com",
	} {
		require.NoError(t, g.CheckHost(host, 443), host)
	}
	for _, host := range append([]string{
		"", ".", "..", "localhost", "LocalHost", "a.localhost", "intranet", "itp.example.com.", ".example.com", "a..b", "-a.com", "a-.com",
		"a_b.com", "a b.com", "a\tb.com", "a%2eb.com", "a/b.com", "a\\b.com", "a@b.com", "user:pw@b.com", "ｅxample.com", "例え.jp", "１２７.0.0.1",
		"2130706433", "0x7f000001", "017700000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.1.", "1.2.3.4.5", "example.0x7f", "example.1",
		"[::1]", "[::ffff:127.0.0.1]", "::1", "[fe80::1%25eth0]", "fe80::1%eth0", "xn--.com", "xn--localhost-.com", strings.Repeat("a", 64) + ".com",
		strings.Repeat("a.", 127) + "com", "8.8.8.8", "[2606:4700::1]", "127。0。0。1", "a\x00.com", "a\u202e.com",
	}, forbidden...) {
		var refusal *AddressRefusal
		require.ErrorAs(t, g.CheckHost(host, 443), &refusal, host)
		require.Equal(t, "host", refusal.Code, host)
		requireShowable(t, refusal.Error())
	}
}

func TestOnlyConfiguredPortsAreOpen(t *testing.T) {
	for _, port := range []uint16{0, 22, 80, 442, 444, 5432, 6379, 8443, 65535} {
		var refusal *AddressRefusal
		require.ErrorAs(t, NewGuard(nil, nil).CheckHost("itp.example.com", port), &refusal)
		require.Equal(t, "port", refusal.Code)
		require.ErrorAs(t, NewGuard(nil, nil).Check(netip.AddrPortFrom(netip.MustParseAddr("8.8.8.8"), port)), &refusal)
		require.Equal(t, "port", refusal.Code)
	}
	g := NewGuard(nil, []uint16{443, 8443})
	require.NoError(t, g.CheckHost("itp.example.com", 8443))
	require.NoError(t, g.Check(netip.MustParseAddrPort("8.8.8.8:8443")))
	require.Error(t, g.CheckHost("itp.example.com", 444))
}

func TestTheAllowListLiftsTheRulesForItsAddressesAlone(t *testing.T) {
	g := NewGuard(prefixes("127.0.0.0/8 fd00:1::/32 ::ffff:10.1.0.0/112"), nil)
	for _, at := range []string{"127.0.0.1:1", "127.9.9.9:65535", "[fd00:1::5]:8080", "[::ffff:127.0.0.1]:22", "10.1.2.3:80", "8.8.8.8:443"} {
		require.NoError(t, g.Check(netip.MustParseAddrPort(at)), at)
	}
	for _, at := range []string{"127.0.0.1:0", "10.2.0.1:443", "[fd00:2::1]:443", "[::1]:443", "8.8.8.8:8443", "[fd00:1::5%eth0]:80", "192.168.0.1:443"} {
		require.Error(t, g.Check(netip.MustParseAddrPort(at)), at)
	}
	require.NoError(t, g.CheckHost("127.0.0.1", 4443))
	require.NoError(t, g.CheckHost("[fd00:1::5]", 4443))
	require.NoError(t, g.CheckHost("localhost", 4443))
	require.NoError(t, g.CheckHost("itp.example.com", 4443), "judged when it is dialled")
	require.Error(t, g.CheckHost("10.2.0.1", 443))
	require.Error(t, g.CheckHost("8.8.8.8", 443), "an address outside the list is no host even where it is public")
	require.Error(t, NewGuard(prefixes("192.168.7.0/24"), nil).CheckHost("localhost", 443))
	require.Error(t, g.Control("udp4", "127.0.0.1:1", nil))
	require.Error(t, g.Control("tcp4", "localhost:1", nil))
}

func FuzzGuard(f *testing.F) {
	for _, text := range forbidden {
		f.Add(text, uint16(443))
	}
	f.Add("8.8.8.8", uint16(443))
	f.Add("itp.example.com", uint16(8443))
	g := NewGuard(nil, nil)
	f.Fuzz(func(t *testing.T, host string, port uint16) {
		if err := g.CheckHost(host, port); err == nil {
			if _, err := netip.ParseAddr(host); err == nil || port != 443 || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
				t.Fatalf("accepted %q port %d", host, port)
			}
		} else {
			requireShowable(t, err.Error())
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			if got := g.Check(netip.AddrPortFrom(addr, port)) == nil; got != (public(addr) && port == 443) {
				t.Fatalf("%s port %d: %v", addr, port, got)
			}
		}
	})
}
