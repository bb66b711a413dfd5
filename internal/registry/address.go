package registry

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/arauto/arauto/internal/notice"
)

// defaultPort is the one an address means when it names none.
const defaultPort = 443

// addresses judges webhook addresses by their text.
type addresses struct {
	ports    []uint16
	networks []netip.Prefix
	loopback bool // localhost may be registered
}

func newAddresses(ports []uint16, networks []netip.Prefix) *addresses {
	if len(ports) == 0 {
		ports = []uint16{defaultPort}
	}
	a := &addresses{ports: slices.Clone(ports), networks: slices.Clone(networks)}
	a.loopback = a.allows(netip.AddrFrom4([4]byte{127, 0, 0, 1})) || a.allows(netip.IPv6Loopback())
	return a
}

func (a *addresses) allows(addr netip.Addr) bool {
	return slices.ContainsFunc(a.networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// judge finds what is wrong with each address, at most one thing an address.
func (a *addresses) judge(uris []string) []notice.Problem {
	var problems []notice.Problem
	for i, uri := range uris {
		if code, detail := a.check(uri); code != "" {
			problems = append(problems, notice.Problem{Pointer: fmt.Sprintf("/webhookUris/%d", i), Code: code, Detail: detail})
		}
	}
	return problems
}

// The rules an address can break (contract, "Malformed addresses").
const (
	codePattern = "pattern"
	codeScheme  = "scheme"
	codeHost    = "host"
	codePort    = "port"
	codeLength  = "length"
)

// official is the pattern of DCR-SW for one address: https, no trailing slash, no query, no fragment.
var official = regexp.MustCompile(`^(https:\/\/[^\s\/?#]+(?:\/[^\s\/?#]+)*)$`)

const scheme = "https://"

// check says which rule an address breaks, or "". The text is taken apart once, from left to right, and never put
// together again.
func (a *addresses) check(uri string) (code, detail string) {
	switch {
	case uri == "":
		return codeLength, "is empty"
	case len(uri) > maxAddress:
		return codeLength, fmt.Sprintf("has more than %d bytes", maxAddress)
	}
	for i := range len(uri) {
		if detail := badByte(uri[i]); detail != "" {
			return codePattern, detail
		}
	}
	rest, ok := strings.CutPrefix(uri, scheme)
	if !ok {
		return codeScheme, "must begin with https:// in lower case"
	}
	authority, path, _ := strings.Cut(rest, "/")
	if authority == "" {
		return codeHost, "has no host"
	}
	if !official.MatchString(uri) {
		return codePattern, "has an empty path segment or ends with a slash"
	}
	if code, detail := a.checkAuthority(authority); code != "" {
		return code, detail
	}
	if detail := badPath(path); detail != "" {
		return codePattern, detail
	}
	return "", ""
}

// badByte says why a byte cannot stand in an address. Beyond white space, query and fragment, which the official
// pattern bans, these are the bytes that some parsers read otherwise than they look: a backslash as a slash, anything
// outside ASCII as what it folds to.
func badByte(c byte) string {
	switch {
	case c <= ' ' || c == 0x7f:
		return "contains white space or a control character"
	case c > 0x7f:
		return "contains something else than ASCII"
	case c == '?':
		return "must not have a query (?)"
	case c == '#':
		return "must not have a fragment (#)"
	case c == '\\':
		return "contains a backslash"
	case strings.IndexByte("\"<>^`{|}", c) >= 0:
		return "contains a character that no URI has (RFC 3986 §2)"
	}
	return ""
}

// badPath refuses what would make the path below it another one: dot segments, plain or escaped, escaped slashes, and
// escapes that are none.
func badPath(path string) string {
	if strings.ContainsAny(path, "[]") {
		return "has a square bracket in its path (RFC 3986 §3.3)"
	}
	for segment := range strings.SplitSeq(path, "/") {
		plain, err := url.PathUnescape(segment)
		switch {
		case err != nil:
			return "has a percent sign that does not begin an escape of two hexadecimal digits"
		case plain == "." || plain == "..":
			return "has a dot segment in its path"
		case strings.ContainsAny(plain, "/\\"):
			return "has an escaped slash or backslash in its path"
		case strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return "has an escaped control character in its path"
		}
	}
	return ""
}

// checkAuthority judges host and port.
func (a *addresses) checkAuthority(authority string) (code, detail string) {
	switch {
	case strings.Contains(authority, "@"):
		return codeHost, "must not have user information (@)"
	case strings.Contains(authority, "%"):
		return codeHost, "must not have a percent sign in its host"
	}
	host, port, code, detail := splitPort(authority)
	if code != "" {
		return code, detail
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if strings.HasPrefix(host, "[") == addr.Is6() && a.allows(addr) {
			return "", "" // development: any port
		}
		return codeHost, "must be a DNS name, not an IP address"
	}
	if detail := badHost(host); detail != "" {
		return codeHost, detail
	}
	if a.acceptsName(host) {
		return "", ""
	}
	if detail := inside(host); detail != "" {
		return codeHost, detail
	}
	if !slices.Contains(a.ports, port) {
		return codePort, fmt.Sprintf("its port is not open; open is %s", a.open())
	}
	return "", ""
}

// acceptsName is the development rule: where networks outside the public internet are allowed, a name may have any top
// label and any port, since what it resolves to, and whether that port is open there, is judged when it is dialled. A
// name of this machine needs a loopback network among them.
func (a *addresses) acceptsName(host string) bool {
	if len(a.networks) == 0 {
		return false
	}
	name := strings.ToLower(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return a.loopback
	}
	return strings.Contains(name, ".")
}

func (a *addresses) open() string {
	open := make([]string, len(a.ports))
	for i, p := range a.ports {
		open[i] = strconv.Itoa(int(p))
	}
	return strings.Join(open, ", ")
}

// splitPort takes an authority without user apart. A port is 1 to 65535 without leading zeros, so that one port has
// one spelling.
func splitPort(authority string) (host string, port uint16, code, detail string) {
	host = authority
	colon := strings.LastIndexByte(authority, ':')
	if bracket := strings.LastIndexByte(authority, ']'); colon < 0 || colon < bracket {
		return host, defaultPort, "", ""
	}
	host, text := authority[:colon], authority[colon+1:]
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || text[0] == '0' || text[0] == '+' {
		return "", 0, codePort, "its port must be a number from 1 to 65535 without leading zeros"
	}
	if host == "" {
		return "", 0, codeHost, "has no host"
	}
	return host, uint16(n), "", ""
}

// badHost says why a host is not a DNS name of letters, digits and hyphens (RFC 1123 §2.1, lengths of RFC 1035 §2.3.4),
// or "". A last label that begins with a digit is refused: parsers read 127.1, 0x7f.1 or 2130706433 as addresses, and no
// top-level domain begins with one. Punycode of plain ASCII (xn--localhost-) ends with a hyphen, and so falls under the
// rule for hyphens.
func badHost(host string) string {
	if len(host) > 253 {
		return "its host has more than 253 characters"
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		switch {
		case label == "":
			return "its host has an empty label: two dots, or one at its beginning or end"
		case len(label) > 63:
			return "its host has a label of more than 63 characters"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "its host has a label that begins or ends with a hyphen"
		case strings.ContainsFunc(label, func(r rune) bool { return !letterOrDigit(r) && r != '-' }):
			return "its host must be a DNS name of letters, digits, hyphens and dots"
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return "must be a DNS name, not an address in another notation"
	}
	return ""
}

func letterOrDigit(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// insideNames are top labels that never lead to the public internet: the special names of RFC 6761, RFC 6762, RFC 7686,
// RFC 8375, RFC 9476 and ICANN's reservation of .internal, and those that home and company networks use.
var insideNames = []string{"localhost", "local", "internal", "invalid", "test", "onion", "alt", "arpa", "localdomain", "lan", "home", "corp", "intranet", "private"}

// inside says why a name cannot be of the public internet, or "".
func inside(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	switch {
	case len(labels) == 1:
		return "its host must be a fully qualified DNS name, with a dot"
	case slices.Contains(insideNames, labels[len(labels)-1]):
		return "its host is a name of inside networks, not of the public internet"
	}
	return ""
}
