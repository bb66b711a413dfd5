package certs

import (
	"crypto/x509"
	"time"
)

// Defect is one way in which a certificate is wrong and must be refused. Its text names the files in bad/.
type Defect string

// The defects that can be made.
const (
	Expired           Defect = "expired"            // its last day was yesterday
	NotYetValid       Defect = "not-yet-valid"      // its first day is tomorrow
	Revoked           Defect = "revoked"            // in the authority's list, and said so by the responder
	WrongPurpose      Defect = "wrong-purpose"      // the other extended key usage: a client's for a server and the reverse
	WrongOrganisation Defect = "wrong-organisation" // right authority and software, somebody else's organisation id
	WrongName         Defect = "wrong-name"         // right in everything, for another host
	OtherCA           Defect = "other-ca"           // right profile, issued under a root that nobody configured
	SelfSigned        Defect = "self-signed"        // issued by itself
	CommonNameOnly    Defect = "common-name-only"   // the host in the common name, no alternative name
	WeakKey           Defect = "weak-key"           // RSA of 1024 bits
)

// Defects lists all of them, in the order of their declaration.
func Defects() []Defect {
	return []Defect{
		Expired, NotYetValid, Revoked, WrongPurpose, WrongOrganisation,
		WrongName, OtherCA, SelfSigned, CommonNameOnly, WeakKey,
	}
}

// strangerID is the organisation id of nobody.
const strangerID = "00000000-dead-4000-8000-000000000000"

// Spoil returns the profile with one defect. It panics on a defect that is not in Defects.
func (p *PKI) Spoil(profile Profile, defect Defect) Profile {
	switch defect {
	case Expired:
		profile.NotBefore, profile.NotAfter = p.now.AddDate(-1, 0, -1), p.now.AddDate(0, 0, -1)
	case NotYetValid:
		profile.NotBefore, profile.NotAfter = p.now.AddDate(0, 0, 1), p.now.AddDate(1, 0, 1)
	case Revoked:
		profile.revoked = true
	case WrongPurpose:
		other := x509.ExtKeyUsageServerAuth
		if profile.Kind == WebSSL {
			other = x509.ExtKeyUsageClientAuth
		}
		profile.usages = []x509.ExtKeyUsage{other}
	case WrongOrganisation:
		profile.Organisation.ID, profile.Organisation.Name = strangerID, "Ninguem SA"
	case WrongName:
		profile.CommonName, profile.DNSNames, profile.IPs = "other.example.net", []string{"other.example.net"}, nil
	case OtherCA:
		profile.issuer = p.foreign
	case SelfSigned:
		profile.selfSigned = true
	case CommonNameOnly:
		if profile.Kind == WebSSL {
			profile.CommonName = "localhost"
		}
		profile.DNSNames, profile.IPs = nil, nil
	case WeakKey:
		profile.Key, profile.bits = nil, 1024
	default:
		panic("certs: no such defect: " + string(defect))
	}
	return profile
}

// ExpiringIn returns the profile so that it ends that long after the PKI's instant.
func (p *PKI) ExpiringIn(profile Profile, left time.Duration) Profile {
	profile.NotAfter = p.now.Add(left)
	return profile
}
