package certs

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
)

// Leaf is an issued certificate with its key.
type Leaf struct {
	Certificate *x509.Certificate
	Key         *rsa.PrivateKey
	Issuer      *CA // nil when it signed itself
}

// Chain is the leaf followed by its intermediates, without the root (security §3, T7).
func (l Leaf) Chain() []*x509.Certificate {
	chain := []*x509.Certificate{l.Certificate}
	for ca := l.Issuer; ca != nil && ca.parent != nil; ca = ca.parent {
		chain = append(chain, ca.Certificate)
	}
	return chain
}

// CertPEM is the chain in the product's file format: leaf first.
func (l Leaf) CertPEM() []byte { return CertPEM(l.Chain()...) }

// KeyPEM is the key as unencrypted PKCS#8.
func (l Leaf) KeyPEM() []byte { return KeyPEM(l.Key) }

// TLS is the certificate as package tls wants it, for stand-ins in tests; the product itself reads files.
func (l Leaf) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: l.Key, Leaf: l.Certificate}
	for _, cert := range l.Chain() {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// WriteFiles writes chain and key, replacing what is there; the key's mode is 0600.
func (l Leaf) WriteFiles(certFile, keyFile string) error {
	if err := os.WriteFile(certFile, l.CertPEM(), 0o644); err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	if err := os.WriteFile(keyFile, l.KeyPEM(), 0o600); err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	return nil
}

// CertPEM encodes certificates one after another.
func CertPEM(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.Bytes()
}

// KeyPEM encodes a key as unencrypted PKCS#8.
func KeyPEM(key *rsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("certs: an RSA key that cannot be encoded: " + err.Error())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// NamedKey is a key that signs tokens or statements, with the name under which its public half is published.
// Signing itself is not done here.
type NamedKey struct {
	KID string
	Key *rsa.PrivateKey
}

// JWKS is the key set that publishes the public halves: RSA, PS256, for signatures.
func JWKS(keys ...*NamedKey) []byte {
	type jwk struct {
		Kty string `json:"kty"`
		Use string `json:"use"`
		Alg string `json:"alg"`
		KID string `json:"kid"`
		N   string `json:"n"`
		E   string `json:"e"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, jwk{
			Kty: "RSA", Use: "sig", Alg: "PS256", KID: k.KID,
			N: base64.RawURLEncoding.EncodeToString(k.Key.N.Bytes()),
			E: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.Key.E)).Bytes()),
		})
	}
	out, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		panic("certs: a key set that cannot be encoded: " + err.Error())
	}
	return append(out, '\n')
}
