package trust

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
)

// aboveIssuers lists the authorities of public.client_ca that stand above those which issue the certificates of initiators: a root, or one
// that signed another of the file.
func (t *Trust) aboveIssuers() (above []*x509.Certificate) {
	if t.Callers.Authorities == nil {
		return nil
	}
	all := t.Callers.Authorities.Certificates()
	for _, c := range all {
		if slices.ContainsFunc(all, func(below *x509.Certificate) bool {
			return bytes.Equal(below.RawIssuer, c.RawSubject) && below.CheckSignatureFrom(c) == nil
		}) {
			above = append(above, c)
		}
	}
	return above
}

// aboveLines says of each of them what would be right.
func (t *Trust) aboveLines() (lines []string) {
	for _, c := range t.aboveIssuers() {
		lines = append(lines, fmt.Sprintf("public.client_ca: %s signed itself or another of the file; name the authorities that issue certificates of initiators and nothing above them, or all that is issued below it may connect", c.Subject))
	}
	return lines
}

// tellAbove logs them.
func (t *Trust) tellAbove() {
	for _, c := range t.aboveIssuers() {
		t.log.Warn("authority above the issuing ones is trusted", "setting", "public.client_ca", "subject", c.Subject.String())
	}
}
