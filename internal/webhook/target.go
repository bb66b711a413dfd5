package webhook

import (
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

// What is wrong with a registered address that cannot be taken apart, and what would be right.
var (
	wrongScheme    = sentence{"the registered address begins with %s; it must begin with https:// in lower case", "o endereço registrado começa com %s; deve começar com https:// em minúsculas"}
	wrongNoScheme  = sentence{"the registered address has no https:// at its beginning; write it, such as https://itp.example.com/hook", "falta https:// no começo do endereço registrado; escreva-o, como em https://itp.example.com/hook"}
	wrongSpace     = sentence{"the registered address contains a space or a control character; remove it", "o endereço registrado contém espaço ou caractere de controle; remova-o"}
	wrongNotASCII  = sentence{"the registered address contains a character outside of ASCII; write a name in its ASCII form (xn--…), and a path with %XX", "o endereço registrado contém um caractere fora do ASCII; escreva o nome na forma ASCII (xn--…), e o caminho com %XX"}
	wrongQuery     = sentence{"the registered address has a query (?); remove it", "o endereço registrado tem uma query (?); remova-a"}
	wrongFragment  = sentence{"the registered address has a fragment (#); remove it", "o endereço registrado tem um fragmento (#); remova-o"}
	wrongCharacter = sentence{"the registered address contains %s, which no URL may contain; remove it", "o endereço registrado contém %s, que nenhuma URL pode conter; remova-o"}
	wrongSlash     = sentence{"the registered address ends with a slash; remove it", "o endereço registrado termina com uma barra; remova-a"}
	wrongSegment   = sentence{"the registered address has two slashes in a row in its path; write one", "o endereço registrado tem duas barras seguidas no caminho; escreva uma"}
	wrongNoHost    = sentence{"the registered address has no host; write a DNS name after https://", "falta o host no endereço registrado; escreva um nome DNS depois de https://"}
	wrongUser      = sentence{"the registered address has user information before its host (@); remove it", "o endereço registrado tem dados de usuário antes do host (@); remova-os"}
	wrongPercent   = sentence{"the host of the registered address contains a percent sign; write a DNS name", "o host do endereço registrado contém um sinal de porcentagem; escreva um nome DNS"}
	wrongColons    = sentence{"the host of the registered address contains colons; write a DNS name (an IPv6 address, in development only, stands in brackets)", "o host do endereço registrado contém dois-pontos; escreva um nome DNS (um endereço IPv6, só em desenvolvimento, fica entre colchetes)"}
	wrongBrackets  = sentence{"the host of the registered address has brackets in the wrong place; write a DNS name", "o host do endereço registrado tem colchetes no lugar errado; escreva um nome DNS"}
	wrongNoPort    = sentence{"the registered address has a colon after its host and no port; remove the colon, or write the port", "o endereço registrado tem dois-pontos depois do host e nenhuma porta; remova os dois-pontos, ou escreva a porta"}
	wrongPort      = sentence{"the port of the registered address is %s; it must be a number from 1 to 65535 without leading zeros", "a porta do endereço registrado é %s; deve ser um número de 1 a 65535 sem zeros à esquerda"}
)

// parseBase takes a registered base URI apart: https://host[:port][/path], without user, query or fragment. The error
// is a *AddressRefusal. Registrations were checked when they came; what is refused here was stored by other means, or was given to
// `arauto preflight`.
func parseBase(base string) (target, error) {
	for i := 0; i < len(base); i++ {
		if refusal := refuseByte(base[i]); refusal != nil {
			return target{}, refusal
		}
	}
	rest, ok := strings.CutPrefix(base, "https://")
	if !ok {
		scheme, _, has := strings.Cut(base, "://")
		if !has {
			return target{}, refuseAddress("scheme", wrongNoScheme)
		}
		return target{}, refuseAddress("scheme", wrongScheme, clipped(scheme+"://"))
	}
	t := target{authority: rest}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		t.authority, t.path = rest[:i], rest[i:]
	}
	host, port, refusal := splitAuthority(t.authority)
	switch {
	case refusal != nil:
		return target{}, refusal
	case strings.Contains(t.path, "//"):
		return target{}, refuseAddress("pattern", wrongSegment)
	case strings.HasSuffix(t.path, "/"):
		return target{}, refuseAddress("pattern", wrongSlash)
	}
	t.host, t.port = host, port
	return t, nil
}

// refuseByte says why a byte cannot stand in an address, or nil.
func refuseByte(c byte) error {
	switch {
	case c <= ' ' || c == 0x7f:
		return refuseAddress("pattern", wrongSpace)
	case c > 0x7f:
		return refuseAddress("pattern", wrongNotASCII)
	case c == '?':
		return refuseAddress("pattern", wrongQuery)
	case c == '#':
		return refuseAddress("pattern", wrongFragment)
	case strings.IndexByte(`\"<>^{|}`+"`", c) >= 0:
		return refuseAddress("pattern", wrongCharacter, strconv.QuoteToASCII(string(rune(c))))
	}
	return nil
}

// splitAuthority takes host and port apart. An IPv6 address comes without its brackets.
func splitAuthority(authority string) (host string, port uint16, refusal error) {
	switch {
	case authority == "":
		return "", 0, refuseAddress("host", wrongNoHost)
	case strings.Contains(authority, "@"):
		return "", 0, refuseAddress("host", wrongUser)
	case strings.Contains(authority, "%"):
		return "", 0, refuseAddress("host", wrongPercent)
	}
	host, port = authority, DefaultPort
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		text := authority[i+1:]
		n, err := strconv.ParseUint(text, 10, 16)
		switch host = authority[:i]; {
		case host == "":
			return "", 0, refuseAddress("host", wrongNoHost)
		case strings.Contains(host, ":") && host[0] != '[':
			return "", 0, refuseAddress("host", wrongColons)
		case text == "":
			return "", 0, refuseAddress("port", wrongNoPort)
		case err != nil || n == 0 || text[0] == '0':
			return "", 0, refuseAddress("port", wrongPort, strconv.QuoteToASCII(clipped(text)))
		}
		port = uint16(n)
	}
	if inner, is := strings.CutPrefix(host, "["); is && strings.HasSuffix(inner, "]") {
		host = inner[:len(inner)-1]
		if !strings.Contains(host, ":") {
			return "", 0, refuseAddress("host", wrongBrackets)
		}
	}
	if host == "" || strings.ContainsAny(host, "[]") {
		return "", 0, refuseAddress("host", wrongBrackets)
	}
	return host, port, nil
}

// clipped is a text of a peer's, short enough for a message.
func clipped(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
