// Package certs makes a development public-key infrastructure with the certificate profiles of Open Finance Brasil:
// the same attributes, encodings, orders, key usages and alternative names as the real ones, under a root that nobody
// but this machine trusts.
//
// There is no switch in this product that turns certificate checks off, so development and tests need certificates
// that pass them, and others that must not. New makes the authorities in memory; Issue makes one certificate from a
// Profile; Spoil spoils it in one named way (expired, wrong purpose, other authority…); CRL says what
// was revoked; Write puts everything into a folder, in the file formats the product's settings expect. README.md
// lists the profiles and the files.
//
// None of this is for production: keys lie unencrypted in files, one process holds the root's key, and the people
// named in the certificates do not exist.
package certs

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Organisation is a participant as the Directory knows it.
type Organisation struct {
	ID   string // organisation id of the Directory (participant code), a UUID
	Name string // company name; ICP-Brasil allows neither accents nor cedilla
	CNPJ string // 14 digits
}

// Participant is a payment initiator that gets certificates of its own.
type Participant struct {
	Name         string // name of its folder; letters, digits and hyphens
	Organisation Organisation
	SoftwareID   string   // software statement id, the UID of its BRCAC
	DNSNames     []string // of its webhook endpoint, beside localhost; empty: webhook.<Name>.example.com
}

// Options says for whom the PKI is made. The zero value is complete: one holder and the two initiators "alfa" and
// "beta", valid from an hour ago for a year.
type Options struct {
	Holder      Organisation
	SoftwareID  string   // UID of the holder's BRCAC
	HolderNames []string // DNS names of the holder's public API, beside localhost
	Initiators  []Participant
	Now         time.Time // instant from which validity counts; zero: the clock
	OCSPURL     string    // responder named in every certificate; empty: none
	CRLURL      string    // list named in every certificate; empty: none

	// SharedLeafKey gives all leaf certificates the same key. Making an RSA key takes a tenth of a second, so this
	// is for tests that need many certificates and do not care whose key is whose.
	SharedLeafKey bool

	// NewKey makes an RSA key of so many bits; no two calls may return the same. Tests hand in keys that were made before.
	// nil: rsa.GenerateKey.
	NewKey func(bits int) (*rsa.PrivateKey, error)
}

// Defaults of Options, exported so that a demo and a test can name them.
var (
	DefaultHolder = Organisation{ID: "8f3d4a52-6c1b-4c58-9a0e-2f7b61d0c9a1", Name: "Banco Arauto SA", CNPJ: "11222333000181"}
	DefaultAlfa   = Participant{
		Name:         "alfa",
		Organisation: Organisation{ID: "1a5f0b7c-93de-4e1f-8b62-0c4d9e7a3f10", Name: "Alfa Iniciadora SA", CNPJ: "22333444000105"},
		SoftwareID:   "5b2f6f0e-3d27-4d3e-a1c5-70f1b8e9d4a2",
	}
	DefaultBeta = Participant{
		Name:         "beta",
		Organisation: Organisation{ID: "c7e9d1a4-58b3-4f06-9d2c-6a1e0f8b7c35", Name: "Beta Pagamentos SA", CNPJ: "33444555000130"},
		SoftwareID:   "e04c8a19-7f6d-4b92-8e35-1d9a2c0b6f74",
	}
)

// DefaultSoftwareID is the software statement id in the holder's own BRCAC.
const DefaultSoftwareID = "2c9e7b40-1f8a-4d65-b3c2-9e5d0a7f4b18"

// PKI holds the authorities, what they issued and what they revoked. It is safe for concurrent use.
type PKI struct {
	Root      *CA // self-signed, the trust anchor for receivers
	ClientCA  *CA // issues BRCACs, as chain V10 does
	ServerCA  *CA // issues web-server certificates
	SealCA    *CA // issues BRSEALs, as chain V5 does
	Directory *NamedKey
	Tokens    *NamedKey
	Internal  *NamedKey

	opts Options
	now  time.Time
	leaf *rsa.PrivateKey // the shared one, or nil

	foreign func() (*CA, error) // an authority nobody configured, made when first asked for

	mu      sync.Mutex
	revoked map[string]time.Time // issuer name + serial → when
	known   map[string]bool      // issuer name + serial of everything issued
}

// CA is a certification authority of the development PKI.
type CA struct {
	Certificate *x509.Certificate
	Key         *rsa.PrivateKey
	parent      *CA // nil for a root
}

// New makes the authorities and the three signing keys, in memory, in about a second on two cores.
func New(opts Options) (*PKI, error) {
	opts = opts.withDefaults()
	for _, i := range opts.Initiators {
		if !plainName(i.Name) {
			return nil, fmt.Errorf("initiator %q: a name has letters, digits and hyphens, since it names a folder", i.Name)
		}
	}
	p := &PKI{opts: opts, now: opts.Now, revoked: map[string]time.Time{}, known: map[string]bool{}}

	names := []string{"root", "clients", "servers", "seals", "directory", "tokens", "internal", "leaf"}
	if !opts.SharedLeafKey {
		names = names[:7]
	}
	keys, err := p.makeKeys(len(names))
	if err != nil {
		return nil, fmt.Errorf("make the keys of the development PKI: %w", err)
	}
	if p.Root, err = p.newCA("Arauto Development Root CA", keys[0], nil); err != nil {
		return nil, err
	}
	for i, ca := range []**CA{&p.ClientCA, &p.ServerCA, &p.SealCA} {
		name := [...]string{"Arauto Development Issuing CA V10", "Arauto Development Web CA", "Arauto Development Seal CA V5"}[i]
		if *ca, err = p.newCA(name, keys[1+i], p.Root); err != nil {
			return nil, err
		}
	}
	p.Directory = &NamedKey{KID: "directory-1", Key: keys[4]}
	p.Tokens = &NamedKey{KID: "tokens-1", Key: keys[5]}
	p.Internal = &NamedKey{KID: "internal-1", Key: keys[6]}
	if opts.SharedLeafKey {
		p.leaf = keys[7]
	}
	p.foreign = sync.OnceValues(p.newForeignCA)
	return p, nil
}

func (o Options) withDefaults() Options {
	o.Holder = cmp.Or(o.Holder, DefaultHolder)
	o.SoftwareID = cmp.Or(o.SoftwareID, DefaultSoftwareID)
	if o.HolderNames == nil {
		o.HolderNames = []string{"api.banco.example.com"}
	}
	if o.Initiators == nil {
		o.Initiators = []Participant{DefaultAlfa, DefaultBeta}
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	o.Now = o.Now.UTC().Truncate(time.Second)
	if o.NewKey == nil {
		o.NewKey = func(bits int) (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) }
	}
	return o
}

// keyBits is the size the profile asks for (security §4.1), for authorities too: larger ones only cost time here.
const keyBits = 2048

// makeKeys makes n RSA keys, as many at once as there are processors.
func (p *PKI) makeKeys(n int) ([]*rsa.PrivateKey, error) {
	keys := make([]*rsa.PrivateKey, n)
	return keys, each(n, func(i int) (err error) {
		keys[i], err = p.opts.NewKey(keyBits)
		return err
	})
}

// each runs work for 0 to n-1, as many at once as there are processors.
func each(n int, work func(i int) error) error {
	var all errgroup.Group
	all.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		all.Go(func() error { return work(i) })
	}
	return all.Wait()
}

// newCA makes an authority below parent, or a root when parent is nil. An issuing authority may sign only leaves.
func (p *PKI) newCA(name string, key *rsa.PrivateKey, parent *CA) (*CA, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	subject, err := encodeName([]attribute{
		{oidCountry, printable, "BR"}, {oidOrganisation, utf8, "Arauto Development"}, {oidCommonName, utf8, name},
	})
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, RawSubject: subject,
		NotBefore: p.now.Add(-2 * time.Hour), NotAfter: p.now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	signer := &CA{Certificate: template, Key: key}
	if parent != nil {
		template.MaxPathLen, template.MaxPathLenZero = 0, true
		signer = parent
	}
	cert, err := sign(template, signer, key)
	if err != nil {
		return nil, fmt.Errorf("make authority %q: %w", name, err)
	}
	return &CA{Certificate: cert, Key: key, parent: parent}, nil
}

// newForeignCA makes an issuing authority under another root, for certificates that must be refused.
func (p *PKI) newForeignCA() (*CA, error) {
	keys, err := p.makeKeys(2)
	if err != nil {
		return nil, fmt.Errorf("make the keys of the foreign authority: %w", err)
	}
	root, err := p.newCA("Foreign Root CA", keys[0], nil)
	if err != nil {
		return nil, err
	}
	return p.newCA("Foreign Issuing CA", keys[1], root)
}

// Options returns what the PKI was made for, with every default filled in.
func (p *PKI) Options() Options { return p.opts }

// Now is the instant from which the PKI's validity counts.
func (p *PKI) Now() time.Time { return p.now }

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil // RFC 5280 wants it positive
}

// sign makes the certificate for key's public half. Every signature is SHA-256 with RSA (security §4.1).
func sign(template *x509.Certificate, signer *CA, key *rsa.PrivateKey) (*x509.Certificate, error) {
	template.SignatureAlgorithm = x509.SHA256WithRSA
	der, err := x509.CreateCertificate(rand.Reader, template, signer.Certificate, key.Public(), signer.Key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Object identifiers of the attributes in the profiles (security §4.2, §4.3).
var (
	oidCommonName          = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSerialNumber        = asn1.ObjectIdentifier{2, 5, 4, 5}
	oidCountry             = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidLocality            = asn1.ObjectIdentifier{2, 5, 4, 7}
	oidState               = asn1.ObjectIdentifier{2, 5, 4, 8}
	oidOrganisation        = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOrganisationalUnit  = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidBusinessCategory    = asn1.ObjectIdentifier{2, 5, 4, 15}
	oidOrganisationID      = asn1.ObjectIdentifier{2, 5, 4, 97}
	oidJurisdictionCountry = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3}
	oidUserID              = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
)
