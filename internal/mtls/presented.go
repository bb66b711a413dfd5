package mtls

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// certForm is a way to write a certificate into a header. Its text names it in errors.
type certForm string

const (
	formBytes   certForm = "base64 between two colons (RFC 9440)"
	formEscaped certForm = "PEM with percent escapes"
	formFolded  certForm = "PEM with spaces or tabs instead of line breaks"
	formBare    certForm = "base64 of DER, without PEM lines"
	formXFCC    certForm = "elements of XFCC, such as Hash=…;Cert=…"
)

// preset is how one kind of proxy hands on a client's certificate.
type preset struct {
	name   string
	header string
	forms  []certForm
	chain  bool   // the certificates of authorities may follow the client's
	cure   string // the setting of the proxy that gives a good header
}

// presets have one entry for each kind of proxy, by name. The forms are those of the vendors' documentation.
var presets = map[string]preset{
	"rfc9440": {
		header: "Client-Cert", forms: []certForm{formBytes},
		cure: "send the DER of the certificate in base64 between two colons (RFC 9440 §2.2)",
	},
	"envoy": {
		header: "X-Forwarded-Client-Cert", forms: []certForm{formXFCC},
		cure: "set forward_client_cert_details: SANITIZE_SET, and set_current_client_cert_details: {cert: true}",
	},
	"nginx": {
		header: "X-SSL-Client-Cert", forms: []certForm{formEscaped, formFolded},
		cure: "set proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert",
	},
	"haproxy": {
		header: "X-SSL-Client-Cert", forms: []certForm{formBare},
		cure: "set http-request set-header X-SSL-Client-Cert %[ssl_c_der,base64]",
	},
	"traefik": {
		header: "X-Forwarded-Tls-Client-Cert", forms: []certForm{formBare}, chain: true,
		cure: "use the middleware passTLSClientCert with pem: true",
	},
	"aws-alb": {
		header: "X-Amzn-Mtls-Clientcert-Leaf", forms: []certForm{formEscaped}, chain: true,
		cure: "use mutual TLS in verify mode, which sends X-Amzn-Mtls-Clientcert-Leaf",
	},
}

// anyProxy stands for no preset.
var anyProxy = preset{
	header: "Client-Cert", forms: []certForm{formBytes, formEscaped},
	cure: "name the kind of proxy by public.proxy_preset",
}

// ProxyPresets returns the names of the kinds of proxies that are known, in alphabetical order.
func ProxyPresets() []string { return slices.Sorted(maps.Keys(presets)) }

func presetOf(name string) (preset, error) {
	if name == "" {
		return anyProxy, nil
	}
	p, known := presets[name]
	if !known {
		return p, fmt.Errorf("%.40q is no preset of a proxy; use one of %s", name, strings.Join(ProxyPresets(), ", "))
	}
	p.name = name
	return p, nil
}

// maxPresentedText bounds the header: a BRCAC has some 2 KiB, escaped less than three times as much.
const maxPresentedText = 16 << 10

// read reads the client's certificate from the values of the header. The error names the form that came, the forms that are
// expected, and the proxy's setting; it never repeats the text.
func (p preset) read(values []string) (*x509.Certificate, error) {
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return nil, fmt.Errorf("the proxy sent no certificate; %s", p.cure)
	case len(values) > 1:
		return nil, errors.New("the header came more than once; let the proxy replace it, not add to it")
	case len(values[0]) > maxPresentedText:
		return nil, fmt.Errorf("it is longer than %d bytes", maxPresentedText)
	}
	came := formOf(values[0])
	if !slices.Contains(p.forms, came) {
		return nil, p.unexpected(values[0], came)
	}
	ders, err := came.decode(values[0])
	if err != nil {
		return nil, fmt.Errorf("the certificate cannot be read as %s: %w; %s", came, err, p.cure)
	}
	return p.client(ders)
}

// client parses the certificates and returns the client's, which is the first.
func (p preset) client(ders [][]byte) (*x509.Certificate, error) {
	if len(ders) > 1 && !p.chain {
		return nil, fmt.Errorf("there is more than one certificate; %s", p.cure)
	}
	var client *x509.Certificate
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return nil, fmt.Errorf("certificate %d cannot be parsed", i+1)
		case i == 0:
			client = cert
		case !cert.IsCA:
			return nil, fmt.Errorf("certificate %d is not an authority's: it is not clear whose the client's is", i+1)
		}
	}
	return client, nil
}

// unexpected says which form came and what would be right: the proxy's setting, and the preset that reads this form.
func (p preset) unexpected(text string, came certForm) error {
	expected := make([]string, len(p.forms))
	for i, f := range p.forms {
		expected[i] = string(f)
	}
	named, cure := string(came), p.cure
	if came == "" {
		named = guess(text)
	} else if others := readers(came); len(others) > 0 && !slices.Contains(others, p.name) {
		cure += ", or set public.proxy_preset to " + strings.Join(others, " or ")
	}
	return fmt.Errorf("the form is %s, expected is %s; %s", named, strings.Join(expected, " or "), cure)
}

// readers are the presets that read a form.
func readers(f certForm) []string {
	var out []string
	for _, name := range ProxyPresets() {
		if slices.Contains(presets[name].forms, f) {
			out = append(out, name)
		}
	}
	return out
}

var (
	xfccPair    = regexp.MustCompile(`(?i)(^|[;,])(By|Hash|Cert|Chain|Subject|URI|DNS)=`)
	bareText    = regexp.MustCompile(`^MI[A-Za-z0-9+/]*=*(,MI[A-Za-z0-9+/]*=*)*$`)
	printedHash = regexp.MustCompile(`^([0-9A-Fa-f]{2}:?){20,32}$`)
)

const pemStart = "-----BEGIN"

// formOf tells the form of a value by how it begins; "" when it is none that we know.
func formOf(text string) certForm {
	plain, err := url.PathUnescape(text)
	switch {
	case strings.HasPrefix(text, ":"):
		return formBytes
	case strings.HasPrefix(text, pemStart+" ") && strings.ContainsAny(strings.TrimPrefix(text, pemStart+" CERTIFICATE-----"), " \t"):
		return formFolded
	case strings.HasPrefix(text, pemStart):
		return formEscaped
	case xfccPair.MatchString(text):
		return formXFCC
	case err == nil && bareText.MatchString(plain):
		return formBare
	}
	return ""
}

// guess names what else may come in such a header.
func guess(text string) string {
	decoded, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err == nil && strings.HasPrefix(string(decoded), pemStart):
		return "base64 of a PEM text"
	case printedHash.MatchString(text):
		return "a fingerprint, which is no certificate"
	case strings.Contains(text, "CN=") || strings.Contains(text, "O="):
		return "a subject, which is no certificate"
	}
	return "none that is known"
}

// decode reads the certificates of a value, each as DER.
func (f certForm) decode(text string) ([][]byte, error) {
	switch f {
	case formBytes:
		inner, closed := strings.CutSuffix(strings.TrimPrefix(text, ":"), ":")
		der, err := base64.StdEncoding.Strict().DecodeString(inner)
		if !closed || err != nil {
			return nil, errors.New("it is not base64 between two colons")
		}
		return [][]byte{der}, nil
	case formEscaped:
		return escapedPEM(text)
	case formFolded:
		return foldedPEM(text)
	case formBare:
		return bareList(text)
	case formXFCC:
		value, err := certOfXFCC(text)
		if err != nil {
			return nil, err
		}
		return escapedPEM(value)
	}
	return nil, errors.New("the form is unknown")
}

// escapedPEM reads one or more PEM certificates with percent escapes, and nothing beside them. A plus sign is one, as in base64.
func escapedPEM(text string) ([][]byte, error) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return nil, errors.New("its percent escapes are broken")
	}
	var out [][]byte
	for rest := plain; strings.TrimSpace(rest) != ""; {
		rest = strings.TrimLeft(rest, " \r\n\t")
		block, after := pem.Decode([]byte(rest))
		if block == nil || !strings.HasPrefix(rest, "-----BEGIN CERTIFICATE-----") || len(block.Headers) > 0 {
			return nil, errors.New("it holds something beside PEM certificates")
		}
		out, rest = append(out, block.Bytes), string(after)
	}
	if len(out) == 0 {
		return nil, errors.New("it is blank")
	}
	return out, nil
}

// foldedPEM reads one PEM certificate whose line breaks became spaces or tabs, as a header that was folded arrives.
func foldedPEM(text string) ([][]byte, error) {
	inner, begun := strings.CutPrefix(text, "-----BEGIN CERTIFICATE-----")
	inner, ended := strings.CutSuffix(strings.TrimRight(inner, " \t"), "-----END CERTIFICATE-----")
	der, err := base64.StdEncoding.Strict().DecodeString(strings.NewReplacer(" ", "", "\t", "").Replace(inner))
	if !begun || !ended || err != nil {
		return nil, errors.New("it is not one PEM certificate")
	}
	return [][]byte{der}, nil
}

// bareList reads base64 of DER, several with commas between, with or without percent escapes.
func bareList(text string) ([][]byte, error) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return nil, errors.New("its percent escapes are broken")
	}
	var out [][]byte
	for part := range strings.SplitSeq(plain, ",") {
		der, err := base64.StdEncoding.Strict().DecodeString(part)
		if err != nil {
			return nil, errors.New("it is not base64")
		}
		out = append(out, der)
	}
	return out, nil
}

// certOfXFCC finds the value of Cert in the one element of X-Forwarded-Client-Cert. A second element is an earlier proxy's, or was
// sent by the client itself.
func certOfXFCC(text string) (string, error) {
	elements, err := splitQuoted(text, ',')
	if err != nil {
		return "", err
	}
	if len(elements) > 1 {
		return "", fmt.Errorf("it has %d elements, and only one can be the client's", len(elements))
	}
	pairs, err := splitQuoted(elements[0], ';')
	if err != nil {
		return "", err
	}
	found := ""
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "Cert") {
			continue
		}
		if found != "" {
			return "", errors.New("it has Cert twice")
		}
		found = strings.Trim(value, `"`)
	}
	if found == "" {
		return "", errors.New("it has no Cert")
	}
	return found, nil
}

// splitQuoted splits a text where a separator stands outside quotes. A backslash takes a quote's meaning away.
func splitQuoted(text string, separator byte) ([]string, error) {
	var out []string
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quoted:
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == separator && !quoted:
			out, from = append(out, text[from:i]), i+1
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	return append(out, text[from:]), nil
}
