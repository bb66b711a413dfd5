package registry_test

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/cost"
	"github.com/arauto/arauto/internal/registry"
)

// hostile are addresses that no initiator may register in production, by the rule they break (cases K1, K2, K5).
var hostile = map[string][]string{
	"host": {
		// Addresses of special networks, as they are usually written.
		"https://127.0.0.1", "https://127.0.0.1/x", "https://127.255.255.254", "https://0.0.0.0", "https://0.1.2.3", "https://10.0.0.1",
		"https://172.16.0.1", "https://172.31.255.255", "https://192.168.1.1", "https://100.64.0.1", "https://169.254.169.254/latest/meta-data",
		"https://192.0.0.1", "https://192.0.2.1", "https://192.88.99.1", "https://198.18.0.1", "https://198.51.100.1", "https://203.0.113.7",
		"https://224.0.0.1", "https://239.255.255.255", "https://240.0.0.1", "https://255.255.255.255",
		// Public ones: a name is what the certificate is for.
		"https://8.8.8.8", "https://1.1.1.1:443/x", "https://[2606:4700:4700::1111]",
		// IPv6.
		"https://[::]", "https://[::1]", "https://[::1]:443/x", "https://[fe80::1]", "https://[fe80::1%25eth0]", "https://[fe80::1%eth0]",
		"https://[fec0::1]", "https://[fc00::1]", "https://[fd00:ec2::254]", "https://[ff02::1]", "https://[2001:db8::1]", "https://[3fff::1]",
		"https://[100::1]", "https://[5f00::1]", "https://[64:ff9b::7f00:1]", "https://[::ffff:127.0.0.1]", "https://[::ffff:7f00:1]",
		"https://[::127.0.0.1]", "https://[2002:7f00:1::]", "https://[v1.fe80::a]", "https://[]", "https://[::1", "https://::1]", "https://[::1]x", "https://[127.0.0.1]",
		// Other notations of 127.0.0.1, 10.0.0.1 and 169.254.169.254.
		"https://2130706433", "https://017700000001", "https://0x7f000001", "https://0x7F.0.0.1", "https://0177.0.0.1", "https://127.1", "https://127.0.1",
		"https://127.0.0.01", "https://127.000.000.001", "https://0x7f.1", "https://10.1", "https://1.1", "https://2852039166", "https://169.254.43518",
		"https://0251.0376.0251.0376", "https://127.0.0.1.", "https://127.0.0.1.0x0", "https://host.example.1", "https://host.0x10", "https://0", "https://1",
		// Names of this machine, of inside networks, and of nothing.
		"https://localhost", "https://localhost:443/x", "https://LOCALHOST", "https://localhost.", "https://a.localhost", "https://localhost.localdomain",
		"https://printer.local", "https://metadata.google.internal", "https://db.corp", "https://x.lan", "https://router.home", "https://x.home.arpa",
		"https://1.0.0.127.in-addr.arpa", "https://x.test", "https://x.invalid", "https://x.onion", "https://intranet", "https://core-db", "https://a", "https://x.intranet",
		"https://kubernetes.default.svc.cluster.local",
		// Names that are none.
		"https://example.com.", "https://.example.com", "https://a..example.com", "https://-a.example.com", "https://a-.example.com", "https://a_b.example.com",
		"https://*.example.com", "https://a,b.example.com", "https://a;b.example.com", "https://a!b.example.com", "https://$host.example.com", "https://a'b.example.com",
		"https://(a).example.com", "https://a=b.example.com", "https://a+b.example.com", "https://a&b.example.com", "https://a~b.example.com",
		"https://" + strings.Repeat("a", 64) + ".example.com", "https://xn--localhost-.example", "https://xn--.example.com",
		"https://%6c%6f%63%61%6c%68%6f%73%74", "https://example%2ecom", "https://example.com%00.evil.example", "https://127.0.0.1%2f.example.com",
		// User information and tricks with it.
		"https://user@example.com", "https://user:pass@example.com", "https://:@example.com", "https://@example.com", "https://example.com@127.0.0.1",
		"https://example.com:443@127.0.0.1", "https://127.0.0.1:443@example.com", "https://a@b@example.com", "https://example.com%40127.0.0.1",
		// No host at all.
		"https://", "https:///", "https:///example.com", "https://:443", "https://:443/x", "https:////example.com", "https://::1", "https://fe80::1:443",
	},
	"scheme": {
		"http://example.com", "HTTPS://example.com", "Https://example.com", "httpS://example.com", "ftp://example.com", "gopher://example.com:70", "file:///etc/passwd",
		"ws://example.com", "wss://example.com", "ldap://example.com", "data:text/plain,x", "javascript:alert(1)", "https:example.com", "https:/example.com",
		"//example.com", "/x", "example.com", "example.com:443/x", "https", "https:", "xhttps://example.com", "unix:///var/run/docker.sock", "jar:https://example.com!/x",
	},
	"port": {
		"https://example.com:22", "https://example.com:80/x", "https://example.com:5432", "https://example.com:6379", "https://example.com:8443", "https://example.com:0",
		"https://example.com:65535", "https://example.com:65536", "https://example.com:65979", "https://example.com:4294967739", "https://example.com:99999999999999999999",
		"https://example.com:-1", "https://example.com:+443", "https://example.com:0443", "https://example.com:0x1bb", "https://example.com:443x", "https://example.com:",
		"https://example.com:/x", "https://example.com:443.0", "https://example.com:4_43", "https://example.com:https", "https://[::1]:x", "https://[::1]:",
	},
	"pattern": {
		"https://example.com/", "https://example.com/a/", "https://example.com//", "https://example.com//a", "https://example.com/a//b", "https://example.com:443/",
		"https://example.com?x=1", "https://example.com/a?x", "https://example.com/?", "https://example.com/a?", "https://example.com#x", "https://example.com/a#", "https://example.com/a?b#c",
		"https://example.com\\@127.0.0.1", "https://example.com\\.evil.example", "https:\\\\example.com", "https://example.com/\\..\\x", "https://evil.example\\example.com/x",
		"https://example.com/a\tb", "https://exam\tple.com", "\thttps://example.com", " https://example.com", "https://example.com ", "https://example.com/a b", "https://example.com\n",
		"https://example.com\r\nHost: x", "https://example.com/\x00", "https://example.com/\x7f", "https://example.com/\u00a0", "https://exam\u200bple.com", "https://example\u3002com",
		"https://１２７.0.0.1", "https://ⓛocalhost.example.com", "https://exämple.com", "https://еxample.com", "https://example.com/ação", "https://example.com/\xff",
		"https://example.com/../x", "https://example.com/a/..", "https://example.com/a/../b", "https://example.com/.", "https://example.com/./a", "https://example.com/%2e%2e/x",
		"https://example.com/%2E", "https://example.com/.%2e/x", "https://example.com/a%2fb", "https://example.com/a%2F..%2Fb", "https://example.com/a%5cb", "https://example.com/%00",
		"https://example.com/a%0d%0aX", "https://example.com/%", "https://example.com/%2", "https://example.com/%zz", "https://example.com/a%", "https://example.com/%+1", "https://example.com/<x>", "https://example.com/\"x",
		"https://example.com/{id}", "https://example.com/a|b", "https://example.com/a^b", "https://example.com/`id`", "https://example.com/[::1]",
	},
	"length": {"", "https://example.com/" + strings.Repeat("a", 236), strings.Repeat("x", 100_000)},
}

// sound are addresses that production takes, byte for byte.
var sound = []string{
	"https://www.myitp.com/mykong3", "https://example.com", "https://example.com:443", "https://example.com:443/a", "https://EXAMPLE.com/A/b.c~d-e_f", "https://a.b.c.d.example.com.br/x",
	"https://xn--exmple-cua.com/x", "https://1password.example", "https://3com.com", "https://a-b.example.com", "https://v1--api.example.com", "https://127.0.0.1.example.com", "https://example.com/a%20b", "https://example.com/a;v=1,2:3@4&5=$6!'()*+",
	"https://example.com/...", "https://example.com/..a", "https://example.com/%C3%A7", "https://example.com/" + strings.Repeat("a", 235), "https://localhost.example.com", "https://local.example",
}

func TestHostileAddressesAreRefusedByTheRuleTheyBreak(t *testing.T) {
	b := production(t)
	count := 0
	for code, list := range hostile {
		for _, address := range list {
			count++
			invalid := refused(t, b, request(t, "https://good.example", address))
			require.Equal(t, registry.InvalidURIs, invalid.Code, address)
			require.Len(t, invalid.Problems, 1, address)
			require.Equal(t, "/webhookUris/1", invalid.Problems[0].Pointer, address)
			require.Equal(t, code, invalid.Problems[0].Code, "%.80q: %s", address, invalid.Problems[0].Detail)
			require.NotEmpty(t, invalid.Problems[0].Detail)
			if len(address) > 15 {
				require.NotContains(t, invalid.Error(), address, "what came is not repeated")
			}
		}
	}
	t.Logf("%d hostile addresses refused", count)
}

func TestSoundAddressesAreStoredByteForByte(t *testing.T) {
	b := production(t)
	for _, address := range sound {
		in, _, err := b.Put(t.Context(), "itp-1", request(t, address), "registrar")
		require.NoError(t, err, address)
		require.Equal(t, []string{address}, in.WebhookURIs)
		require.Equal(t, []string{address}, b.store.kept["itp-1"].WebhookURIs)
	}
}

func TestEachBadAddressIsNamedOnce(t *testing.T) {
	invalid := refused(t, production(t), request(t, "http://a.example", "https://b.example", "https://127.0.0.1:22/", "https://10.0.0.1"))
	var pointers, codes []string
	for _, p := range invalid.Problems {
		pointers, codes = append(pointers, p.Pointer), append(codes, p.Code)
	}
	require.Equal(t, []string{"/webhookUris/0", "/webhookUris/2", "/webhookUris/3"}, pointers)
	require.Equal(t, []string{"scheme", "pattern", "host"}, codes)
}

func TestOtherPortsAreOpenedByName(t *testing.T) {
	b := open(t, func(c *registry.Config) { c.AllowPorts = []uint16{443, 8443} })
	_, _, err := b.Put(t.Context(), "itp-1", request(t, "https://a.example:8443/x"), "registrar")
	require.NoError(t, err)
	require.Equal(t, "port", refused(t, b, request(t, "https://a.example:9443")).Problems[0].Code)
	only := open(t, func(c *registry.Config) { c.AllowPorts = []uint16{8443} })
	require.Equal(t, "port", refused(t, only, request(t, "https://a.example")).Problems[0].Code, "443 is not open unless named")
}

func TestDevelopmentOpensTheNetworksItNamesAndNoOthers(t *testing.T) {
	loopback := development(t, "127.0.0.0/8", "::1/128")
	for _, address := range []string{
		"https://localhost:8443/x", "https://localhost", "https://LocalHost:1/x", "https://127.0.0.1:1234/x", "https://127.9.9.9:65535", "https://[::1]:8443/x", "https://[::1]",
		"https://itp.example.com:8443/x", "https://itp.test:1", "https://a.localhost:8443",
	} {
		_, _, err := loopback.Put(t.Context(), "itp-1", request(t, address), "registrar")
		require.NoError(t, err, address)
		require.Equal(t, registry.InvalidURIs, refused(t, production(t), request(t, address)).Code, address)
		require.Equal(t, registry.InvalidURIs, refused(t, development(t), request(t, address)).Code, address)
	}
	for address, code := range map[string]string{
		"https://10.0.0.1:8443": "host", "https://127.1:8443": "host", "https://2130706433:8443": "host", "https://[::ffff:127.0.0.1]:8443": "host",
		"https://0x7f000001": "host", "https://127.0.0.1:0": "port", "https://127.0.0.1:65536": "port", "https://localhost:0": "port", "https://localhost.:8443": "host",
		"https://user@localhost:8443": "host", "http://localhost:8443": "scheme", "https://localhost:8443/": "pattern",
		"https://[127.0.0.1]:8443": "host", "https://::1": "host", "https://example.com:0": "port", "https://intranet:8443": "host",
	} {
		problem := refused(t, loopback, request(t, address)).Problems[0]
		require.Equal(t, code, problem.Code, "%s: %s", address, problem.Detail)
	}
	private := development(t, "10.0.0.0/8")
	_, _, err := private.Put(t.Context(), "itp-1", request(t, "https://10.1.2.3:8443/x"), "registrar")
	require.NoError(t, err)
	for _, address := range []string{"https://localhost:8443", "https://a.localhost", "https://127.0.0.1:8443"} {
		require.Equal(t, "host", refused(t, private, request(t, address)).Problems[0].Code, "no loopback network is open")
	}
}

var pattern = regexp.MustCompile(`^(https:\/\/[^\s\/?#]+(?:\/[^\s\/?#]+)*)$`)

// FuzzAddress checks an accepted address against rules stated another way, with another parser.
func FuzzAddress(f *testing.F) {
	for _, list := range hostile {
		for _, address := range list {
			f.Add(address)
		}
	}
	for _, address := range sound {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if over := cost.Parser.Within(len(address), func() { registry.Judge(address) }); over != "" {
			t.Fatal(over)
		}
		problem := registry.Judge(address)
		if problem != "" {
			return
		}
		if !pattern.MatchString(address) || len(address) > 255 {
			t.Fatalf("%q breaks the official pattern", address)
		}
		at, err := url.Parse(address)
		if err != nil {
			t.Fatalf("%q is accepted and no URL: %v", address, err)
		}
		if at.Scheme != "https" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || at.ForceQuery || at.Opaque != "" {
			t.Fatalf("%q has more than host, port and path", address)
		}
		if port := at.Port(); port != "" && port != "443" {
			t.Fatalf("%q names another port", address)
		}
		if at.String() != address && at.EscapedPath() == at.Path {
			t.Fatalf("%q is read as %q", address, at.String())
		}
		if _, err := netip.ParseAddr(at.Hostname()); err == nil {
			t.Fatalf("%q is an address", address)
		}
		labels := strings.Split(at.Hostname(), ".")
		if len(labels) < 2 || slices.Contains(labels, "") {
			t.Fatalf("%q has no fully qualified host", address)
		}
		if _, err := strconv.ParseUint(labels[len(labels)-1], 0, 64); err == nil {
			t.Fatalf("%q is an address in another notation", address)
		}
		for segment := range strings.SplitSeq(at.Path, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q climbs", address)
			}
		}
	})
}
