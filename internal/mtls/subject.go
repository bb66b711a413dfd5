package mtls

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxSubject is the length, in bytes, at which a name is cut.
const maxSubject = 256

// shortNames are the attributes we print. Others are left out, above all serialNumber (a CNPJ) and everything that
// a signature certificate says about a person (security §4.3).
var shortNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.97":                   "organizationIdentifier",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
}

// Subject prints a certificate's subject for logs, pages and the record: on one line, in the order of RFC 4514, with
// everything a hostile peer could have put into it escaped (cases I8), at most 256 bytes. It is for people to read;
// nothing is decided by it.
func Subject(cert *x509.Certificate) string { return nameText(cert.Subject.Names) }

// Issuer is Subject of the authority that issued a certificate.
func Issuer(cert *x509.Certificate) string { return nameText(cert.Issuer.Names) }

func nameText(names []pkix.AttributeTypeAndValue) string {
	var out strings.Builder
	for _, name := range slices.Backward(names) {
		short, known := shortNames[name.Type.String()]
		text, isText := name.Value.(string)
		if !known || !isText {
			continue
		}
		part := short + "=" + escape(text)
		if out.Len() > 0 {
			part = "," + part
		}
		if out.Len()+len(part) > maxSubject-len("…") {
			out.WriteString("…")
			break
		}
		out.WriteString(part)
	}
	return out.String()
}

// escape leaves printable ASCII and letters as they are, except what RFC 4514 §2.4 escapes and what HTML would see.
func escape(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune(`,+"\;<>=&'`, r), r < ' ' || r == 0x7f:
			fmt.Fprintf(&out, `\%02X`, r)
		case r < unicode.MaxASCII || unicode.IsLetter(r):
			out.WriteRune(r)
		default:
			out.WriteByte('?') // direction marks and other invisible things
		}
	}
	return out.String()
}
