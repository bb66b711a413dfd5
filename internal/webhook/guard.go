package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// AddressRefusal is the error for an address that must not be dialled or registered. Code is "host" or "port", the words the
// outside contract uses for malformed addresses.
type AddressRefusal struct {
	Code   string
	reason sentence // one line
	closed bool     // a port that the bank could open
}

// Error is the reason alone: the caller that shows it knows the context.
func (r *AddressRefusal) Error() string { return r.reason.en }

// Portuguese is the reason for people who read Portuguese.
func (r *AddressRefusal) Portuguese() string { return r.reason.pt }

// refuseAddress makes an AddressRefusal. args are put into both texts.
func refuseAddress(code string, reason sentence, args ...any) *AddressRefusal {
	return &AddressRefusal{Code: code, reason: reason.with(args...)}
}

// Guard decides which addresses may be dialled. Receivers' addresses come from outside: without a Guard an initiator could
// make the gateway call the bank's own machines. It judges the address that is dialled, after resolution, so a name that
// resolves to a private address is refused.
//
// Closed is everything outside the public internet: all of IANA's special-purpose registries, multicast, and IPv6
// outside 2000::/3. The development allow-list opens single networks; it lifts the rules on address and port for the
// addresses it names and for no others. A Guard is immutable.
type Guard struct {
	allow  []netip.Prefix
	ports  []uint16
	public *ssrf.Guardian
}

// DefaultPort is the only port open in production unless the configuration names others.
const DefaultPort = 443

// NewGuard makes a guard. allow is the development allow-list, empty in production; ports are those open on public
// addresses, 443 when none is given.
func NewGuard(allow []netip.Prefix, ports []uint16) *Guard {
	if len(ports) == 0 {
		ports = []uint16{DefaultPort}
	}
	g := &Guard{ports: slices.Clone(ports), public: ssrf.New(ssrf.WithPorts(slices.Clone(ports)...))}
	for _, p := range allow {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		g.allow = append(g.allow, p.Masked())
	}
	return g
}

// Check judges one address and port. The error is a *AddressRefusal.
func (g *Guard) Check(at netip.AddrPort) error {
	addr := at.Addr().Unmap() // ::ffff:10.0.0.1 is 10.0.0.1 on the wire
	switch {
	case !addr.IsValid():
		return refuseAddress("host", sentence{"no address", "não há endereço"})
	case addr.Zone() != "":
		return refuseAddress("host", sentence{"%s has a zone and so is not a public address", "%s tem uma zona e por isso não é um endereço público"}, addr)
	case g.allowed(addr):
		if at.Port() == 0 {
			return refuseAddress("port", sentence{"port 0 cannot be dialled", "a porta 0 não pode ser chamada"})
		}
		return nil
	}
	err := g.public.SafeAddrPort(netip.AddrPortFrom(addr, at.Port()))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ssrf.ErrProhibitedPort):
		return g.portRefusal(at.Port())
	default:
		return refuseAddress("host", sentence{"%s is not a public address", "%s não é um endereço público"}, addr)
	}
}

// Control implements net.Dialer.Control: it judges the resolved address just before the connection is made. The error is a
// *AddressRefusal.
func (g *Guard) Control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return refuseAddress("host", sentence{"network %q is not TCP", "a rede %q não é TCP"}, network)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuseAddress("host", sentence{"%q is not an address", "%q não é um endereço"}, address)
	}
	return g.Check(at)
}

// CheckHost judges host and port of a URI before anything is resolved, as a registration does. The host must be a
// fully qualified DNS name. With an allow-list, an address inside it is accepted too, and so are localhost and any
// port of a name: what the name resolves to is judged when it is dialled. The error is a *AddressRefusal.
func (g *Guard) CheckHost(host string, port uint16) error {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(bare); err == nil {
		if !g.allowed(addr.Unmap()) {
			return refuseAddress("host", sentence{"the host must be a DNS name, not an address", "o host deve ser um nome DNS, não um endereço"})
		}
		return g.Check(netip.AddrPortFrom(addr, port))
	}
	if reason := notDNSName(host); reason != nil {
		return refuseAddress("host", *reason)
	}
	if local(host) && !g.allowsLoopback() {
		return refuseAddress("host", sentence{"the host must be a fully qualified DNS name of the public internet", "o host deve ser um nome DNS completo da internet pública"})
	}
	if port == 0 || len(g.allow) == 0 && !slices.Contains(g.ports, port) {
		return g.portRefusal(port)
	}
	return nil
}

func (g *Guard) portRefusal(port uint16) error {
	open := make([]string, len(g.ports))
	for i, p := range g.ports {
		open[i] = fmt.Sprint(p)
	}
	refusal := refuseAddress("port", sentence{"port %d is not open; open is %s", "a porta %d não está liberada; liberada: %s"}, port, strings.Join(open, ", "))
	refusal.closed = true
	return refusal
}

func (g *Guard) allowed(addr netip.Addr) bool {
	return slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (g *Guard) allowsLoopback() bool {
	return g.allowed(netip.AddrFrom4([4]byte{127, 0, 0, 1})) || g.allowed(netip.IPv6Loopback())
}

// local tells names that never lead to the public internet: single labels, which a search list may complete, and the
// special names of RFC 6761.
func local(host string) bool {
	labels := strings.Split(strings.ToLower(host), ".")
	return len(labels) == 1 || labels[len(labels)-1] == "localhost"
}

// notDNSName says why host is not a DNS name of letters, digits, hyphens and dots, or nil. A last label that begins
// with a digit is refused: resolvers and URL parsers read 127.1, 0x7f.1 or 2130706433 as addresses, and no top-level
// domain begins with one. The length rules are those of RFC 1035 §2.3.4.
func notDNSName(host string) *sentence {
	switch {
	case host == "":
		return &sentence{"the host is empty", "o host está vazio"}
	case len(host) > 253:
		return &sentence{"the host is longer than 253 characters", "o host tem mais de 253 caracteres"}
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if reason := notLabel(label); reason != nil {
			return reason
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return &sentence{"the host must be a DNS name, not an address in another notation", "o host deve ser um nome DNS, não um endereço em outra notação"}
	}
	return nil
}

func notLabel(label string) *sentence {
	switch {
	case label == "":
		return &sentence{"the host has an empty label (two dots, or one at the beginning or end)", "o host tem um rótulo vazio (dois pontos seguidos, ou um no começo ou no fim)"}
	case len(label) > 63:
		return &sentence{"the host has a label of more than 63 characters", "o host tem um rótulo de mais de 63 caracteres"}
	case label[0] == '-' || label[len(label)-1] == '-':
		return &sentence{"the host has a label that begins or ends with a hyphen", "o host tem um rótulo que começa ou termina com hífen"}
	}
	for i := 0; i < len(label); i++ {
		if !isLetter(label[i]) && !isDigit(label[i]) && label[i] != '-' {
			return &sentence{"the host may contain ASCII letters, digits, hyphens and dots only", "o host só pode ter letras ASCII, dígitos, hifens e pontos"}
		}
	}
	return nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
