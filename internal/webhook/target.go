package webhook

import (
	"net"
	"strconv"
	"strings"
)

// target is where one attempt goes: the parts of the registered base URI that the wire needs. It is parsed here, once,
// and never put together again: the host that was judged is the host that is dialled, asked for by name in the
// handshake and named in the Host header, and the path goes out byte for byte (webhook §1.5).
type target struct {
	authority string // as registered, for the Host header
	host      string // to resolve and to verify; an IPv6 address without brackets
	port      uint16
	path      string // path of the base, "" or beginning with a slash
}

// parseBase takes a registered base URI apart: https://host[:port][/path], without user, query or fragment. The error
// is a *AddressRefusal. Registrations were checked with more words when they came; what is refused here was stored by other
// means.
func parseBase(base string) (target, error) {
	rest, ok := strings.CutPrefix(base, "https://")
	if !ok {
		return target{}, refuseAddress("scheme", sentence{"the registered address does not begin with https://", "o endereço registrado não começa com https://"})
	}
	t := target{authority: rest}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		t.authority, t.path = rest[:i], rest[i:]
	}
	for i := 0; i < len(rest); i++ {
		if c := rest[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`?#\"<>^{|}`+"`", c) >= 0 {
			return target{}, refuseAddress("pattern", sentence{"the registered address contains %s", "o endereço registrado contém %s"}, strconv.QuoteToASCII(string(c)))
		}
	}
	if strings.Contains(t.path, "//") || strings.HasSuffix(t.path, "/") {
		return target{}, refuseAddress("pattern", sentence{"the registered address has an empty path segment", "o endereço registrado tem um segmento vazio no caminho"})
	}
	t.host, t.port = t.authority, DefaultPort
	if i := strings.LastIndexByte(t.authority, ':'); i > strings.LastIndexByte(t.authority, ']') {
		host, port, err := net.SplitHostPort(t.authority)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || n == 0 || port[0] == '0' {
			return target{}, refuseAddress("port", sentence{"the registered address has a malformed port", "o endereço registrado tem uma porta malformada"})
		}
		t.host, t.port = host, uint16(n)
	}
	if strings.HasPrefix(t.host, "[") {
		t.host = strings.Trim(t.host, "[]")
	}
	if t.host == "" || strings.ContainsAny(t.host, "@[]%") {
		return target{}, refuseAddress("host", sentence{"the registered address has a malformed host", "o endereço registrado tem um host malformado"})
	}
	return t, nil
}
