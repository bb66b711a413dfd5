package certs

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net"
	"time"
)

// ProfileKind is one of the three certificate profiles.
type ProfileKind uint8

// The profiles of security §4.
const (
	BRCAC  ProfileKind = iota + 1 // transport: TLS client (§4.2)
	WebSSL                        // ICP WEB SSL: TLS server
	BRSEAL                        // signature: never seen by TLS (§4.3)
)

// Profile describes one certificate to issue. Take one from the PKI's methods, change what matters, call Issue.
type Profile struct {
	Kind         ProfileKind
	Organisation Organisation
	SoftwareID   string // UID of a BRCAC
	CommonName   string
	DNSNames     []string
	IPs          []net.IP // the real profiles have none; development receivers are reached by address
	NotBefore    time.Time
	NotAfter     time.Time

	OldStyle     bool // organisation id in OU, as until 2022-08-31
	ReverseOrder bool // attributes in the opposite order, which must be accepted as well

	Key *rsa.PrivateKey // nil: a new one

	bits       int
	issuer     func() (*CA, error)
	selfSigned bool
	revoked    bool
	usages     []x509.ExtKeyUsage
}

// HolderBRCAC is the certificate the gateway shows to receivers.
func (p *PKI) HolderBRCAC() Profile {
	return p.brcac(p.opts.Holder, p.opts.SoftwareID, p.opts.HolderNames[0])
}

// HolderServer is the certificate of the gateway's public and internal listeners.
func (p *PKI) HolderServer() Profile { return p.Server(p.opts.Holder, p.opts.HolderNames...) }

// HolderSeal is the certificate of the key that signs the gateway's answers.
func (p *PKI) HolderSeal() Profile {
	return p.profile(BRSEAL, p.opts.Holder, p.opts.Holder.Name, p.SealCA)
}

// InitiatorBRCAC is the certificate an initiator polls with.
func (p *PKI) InitiatorBRCAC(i Participant) Profile {
	return p.brcac(i.Organisation, i.SoftwareID, i.names()[0])
}

// InitiatorServer is the certificate of an initiator's webhook endpoint.
func (p *PKI) InitiatorServer(i Participant) Profile { return p.Server(i.Organisation, i.names()...) }

func (i Participant) names() []string {
	if len(i.DNSNames) == 0 {
		return []string{"webhook." + i.Name + ".example.com"}
	}
	return i.DNSNames
}

// Server is a web-server certificate for the names given, for localhost and for the loopback addresses.
func (p *PKI) Server(o Organisation, dnsNames ...string) Profile {
	names := append(append([]string(nil), dnsNames...), "localhost")
	s := p.profile(WebSSL, o, names[0], p.ServerCA)
	s.DNSNames = names
	s.IPs = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	s.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return s
}

func (p *PKI) brcac(o Organisation, softwareID, dnsName string) Profile {
	c := p.profile(BRCAC, o, dnsName, p.ClientCA)
	c.SoftwareID, c.DNSNames = softwareID, []string{dnsName}
	c.usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return c
}

func (p *PKI) profile(kind ProfileKind, o Organisation, commonName string, issuer *CA) Profile {
	return Profile{
		Kind: kind, Organisation: o, CommonName: commonName,
		NotBefore: p.now.Add(-time.Hour), NotAfter: p.now.AddDate(1, 0, 0),
		Key: p.leaf, bits: keyBits, issuer: func() (*CA, error) { return issuer, nil },
	}
}

// From returns the profile as issued by another authority of the PKI.
func (p Profile) From(ca *CA) Profile {
	p.issuer = func() (*CA, error) { return ca, nil }
	return p
}

// Issue makes the certificate. It costs a tenth of a second when a key has to be made.
func (p *PKI) Issue(profile Profile) (Leaf, error) {
	key := profile.Key
	if key == nil {
		var err error
		if key, err = p.opts.NewKey(profile.bits); err != nil {
			return Leaf{}, fmt.Errorf("make a key for %s: %w", profile.CommonName, err)
		}
	}
	template, err := profile.template(p.opts)
	if err != nil {
		return Leaf{}, err
	}
	issuer, err := profile.issuer()
	if err != nil {
		return Leaf{}, err
	}
	if profile.selfSigned {
		issuer = &CA{Certificate: template, Key: key}
	}
	cert, err := sign(template, issuer, key)
	if err != nil {
		return Leaf{}, fmt.Errorf("issue a certificate for %s: %w", profile.CommonName, err)
	}
	leaf := Leaf{Certificate: cert, Key: key}
	if !profile.selfSigned {
		leaf.Issuer = issuer
	}
	p.remember(cert, profile.revoked)
	return leaf, nil
}

// IssueAll issues many, as many at once as there are processors, in the order given.
func (p *PKI) IssueAll(profiles ...Profile) ([]Leaf, error) {
	leaves := make([]Leaf, len(profiles))
	return leaves, each(len(profiles), func(i int) (err error) {
		leaves[i], err = p.Issue(profiles[i])
		return err
	})
}

func (p Profile) template(opts Options) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	subject, err := p.subject()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, RawSubject: subject,
		NotBefore: p.NotBefore, NotAfter: p.NotAfter,
		BasicConstraintsValid: true, // CA:FALSE, said aloud
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           p.usages,
		DNSNames:              p.DNSNames,
		IPAddresses:           p.IPs,
	}
	if p.Kind == BRSEAL {
		template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
		san, err := sealSAN(p.Organisation)
		if err != nil {
			return nil, err
		}
		template.ExtraExtensions = append(template.ExtraExtensions, san)
	}
	if opts.OCSPURL != "" {
		template.OCSPServer = []string{opts.OCSPURL}
	}
	if opts.CRLURL != "" {
		template.CRLDistributionPoints = []string{opts.CRLURL}
	}
	return template, nil
}
