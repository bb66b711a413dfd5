package certs_test

import (
	"crypto/x509"
	"fmt"

	"github.com/arauto/arauto/certs"
)

// A development PKI issues the certificate of an initiator's webhook endpoint. It verifies under the PKI's root, and a spoilt one does not.
func ExampleNew() {
	pki, err := certs.New(certs.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	profile := pki.InitiatorServer(certs.DefaultAlfa)
	roots := x509.NewCertPool()
	roots.AddCert(pki.Root.Certificate)
	for _, p := range []certs.Profile{profile, pki.Spoil(profile, certs.Expired)} {
		leaf, err := pki.Issue(p)
		if err != nil {
			fmt.Println(err)
			return
		}
		authorities := x509.NewCertPool()
		authorities.AddCert(leaf.Issuer.Certificate)
		_, err = leaf.Certificate.Verify(x509.VerifyOptions{
			DNSName: "webhook.alfa.example.com", Roots: roots, Intermediates: authorities, CurrentTime: pki.Now(),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		fmt.Println(leaf.Certificate.Subject.Organization[0], "is trusted:", err == nil)
	}
	// Output:
	// Alfa Iniciadora SA is trusted: true
	// Alfa Iniciadora SA is trusted: false
}
