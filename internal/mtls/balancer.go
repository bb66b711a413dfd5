package mtls

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// errNoBalancerHeader is what a handshake ends with when a balancer does not say whose connection it hands on.
var errNoBalancerHeader = errors.New("the balancer sent no PROXY protocol header of version 2; switch it on there, or take the balancer out of public.proxy_protocol")

// headerLimit is how long a balancer may take for its header, of the time that its connection has for the handshake.
const headerLimit = HandshakeLimit / 2

// BehindBalancers makes a listener whose connections from the networks given begin with a header of the PROXY protocol, version 2,
// which names the real source: RemoteAddr is the source then. A connection from there without such a header fails at its first
// reading, which takes at most headerLimit. A header from any other address is not read as one, so that nobody can name
// another source. A balancer's own connections, such as health checks (command LOCAL), keep their address.
func BehindBalancers(inner net.Listener, balancers []netip.Prefix) net.Listener {
	return &proxyproto.Listener{
		Listener: inner, ReadHeaderTimeout: headerLimit,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			from, err := netip.ParseAddrPort(o.Upstream.String())
			at := from.Addr().Unmap().WithZone("")
			if err == nil && slices.ContainsFunc(balancers, func(p netip.Prefix) bool { return p.Contains(at) }) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.SKIP, nil
		},
		ValidateHeader: func(h *proxyproto.Header) error {
			if h.Version != 2 {
				return errNoBalancerHeader
			}
			return nil
		},
	}
}

// namesItsSource tells whether a connection begins with a header that names its source: its RemoteAddr waits for that header.
func namesItsSource(conn net.Conn) bool {
	_, named := conn.(*proxyproto.Conn)
	return named
}

// handshakeError is the error of a handshake in words of ours, where the library's say nothing about settings.
func handshakeError(err error) error {
	if errors.Is(err, proxyproto.ErrNoProxyProtocol) {
		return errNoBalancerHeader
	}
	return err
}
