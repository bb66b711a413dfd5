package mtls

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// LeftOut is an authority in a file of trusted authorities that is not in force, though the others of the file are: nothing below it
// verifies. Its key is none that the profile knows (security §4.1), or none that we can read.
type LeftOut struct {
	File     string
	Position int    // of the certificate in the file, from 1
	Subject  string // printed for people, see Subject
	Reason   string
}

// String is one line for an operator.
func (l LeftOut) String() string {
	return fmt.Sprintf("%s: certificate %d (%s) is left out: %s", l.File, l.Position, l.Subject, l.Reason)
}

// subjectOfUnread reads the subject of a certificate that package x509 cannot parse, such as one with a key on a curve that Go does
// not know. ok is false for what is no certificate at all.
func subjectOfUnread(der []byte) (subject string, ok bool) {
	var certificate struct {
		TBS struct {
			Version            int `asn1:"optional,explicit,default:0,tag:0"`
			Serial             *big.Int
			SignatureAlgorithm pkix.AlgorithmIdentifier
			Issuer             asn1.RawValue
			Validity           asn1.RawValue
			Subject            pkix.RDNSequence
			PublicKey          asn1.RawValue
		}
		SignatureAlgorithm pkix.AlgorithmIdentifier
		Signature          asn1.BitString
	}
	if rest, err := asn1.Unmarshal(der, &certificate); err != nil || len(rest) > 0 {
		return "", false
	}
	var name pkix.Name
	name.FillFromRDNSequence(&certificate.TBS.Subject)
	return nameText(name.Names), true
}
