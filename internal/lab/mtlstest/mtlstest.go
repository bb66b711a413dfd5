// Package mtlstest gives tests what production reads from files: identities and trust anchors of one development PKI
// that the tests of a process share, since making RSA keys is slow. It is for tests alone.
package mtlstest

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/mtls"
)

// shared is made once; its leaves share one key, so that each further certificate costs a millisecond.
var shared = sync.OnceValues(func() (*certs.PKI, error) {
	if time.Now().Year() == 2000 { // a bubble of testing/synctest begins then, and other tests would find every certificate expired
		return nil, errors.New("call mtlstest.PKI before synctest.Test: the PKI is everybody's, and not the bubble's")
	}
	return certs.New(certs.Options{SharedLeafKey: true, NewKey: keystock.New})
})

// PKI is the development PKI of this test process, with the initiators certs.DefaultAlfa and certs.DefaultBeta. What a
// test revokes stays revoked for all of them: issue a certificate of your own first.
func PKI(tb testing.TB) *certs.PKI {
	tb.Helper()
	pki, err := shared()
	if err != nil {
		tb.Fatalf("make the development PKI: %v", err)
	}
	return pki
}

// Leaf issues a certificate from the shared PKI.
func Leaf(tb testing.TB, profile certs.Profile) certs.Leaf {
	tb.Helper()
	leaf, err := PKI(tb).Issue(profile)
	if err != nil {
		tb.Fatalf("issue a certificate: %v", err)
	}
	return leaf
}

// Files are the two files an identity is read from.
type Files struct{ Cert, Key string }

// Write puts a certificate and its key into a temporary folder of the test.
func Write(tb testing.TB, leaf certs.Leaf) Files {
	tb.Helper()
	dir := tb.TempDir()
	f := Files{Cert: filepath.Join(dir, "leaf.pem"), Key: filepath.Join(dir, "leaf.key")}
	f.Replace(tb, leaf)
	return f
}

// Replace writes another certificate and key into the same files, as a rotation does.
func (f Files) Replace(tb testing.TB, leaf certs.Leaf) {
	tb.Helper()
	if err := leaf.WriteFiles(f.Cert, f.Key); err != nil {
		tb.Fatalf("write a certificate: %v", err)
	}
}

// Identity is a certificate of the shared PKI as the product reads it.
func Identity(tb testing.TB, profile certs.Profile, purposes ...mtls.Purpose) *mtls.Identity {
	tb.Helper()
	f := Write(tb, Leaf(tb, profile))
	id, err := mtls.LoadIdentity(f.Cert, f.Key, purposes...)
	if err != nil {
		tb.Fatalf("load an identity: %v", err)
	}
	return id
}

// HolderServer is the identity of the gateway's listeners: localhost and 127.0.0.1 among its names.
func HolderServer(tb testing.TB) *mtls.Identity {
	tb.Helper()
	return Identity(tb, PKI(tb).HolderServer(), mtls.AsServer)
}

// HolderClient is the gateway's BRCAC.
func HolderClient(tb testing.TB) *mtls.Identity {
	tb.Helper()
	return Identity(tb, PKI(tb).HolderBRCAC(), mtls.AsClient)
}

// ClientCAs are the issuing authorities whose BRCACs a listener accepts.
func ClientCAs(tb testing.TB) *mtls.Anchors {
	tb.Helper()
	return Anchors(tb, PKI(tb).ClientCA)
}

// Roots are whom a sender trusts as receivers.
func Roots(tb testing.TB) *mtls.Anchors {
	tb.Helper()
	return Anchors(tb, PKI(tb).Root)
}

// Anchors trusts the authorities given.
func Anchors(tb testing.TB, authorities ...*certs.CA) *mtls.Anchors {
	tb.Helper()
	file := AnchorsFile(tb, authorities...)
	anchors, err := mtls.LoadAnchors(file)
	if err != nil {
		tb.Fatalf("load trust anchors: %v", err)
	}
	return anchors
}

// AnchorsFile is a file with the authorities given, for settings.
func AnchorsFile(tb testing.TB, authorities ...*certs.CA) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "anchors.pem")
	WriteAnchors(tb, file, authorities...)
	return file
}

// WriteAnchors replaces a file of trust anchors.
func WriteAnchors(tb testing.TB, file string, authorities ...*certs.CA) {
	tb.Helper()
	var content []byte
	for _, ca := range authorities {
		content = append(content, certs.CertPEM(ca.Certificate)...)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		tb.Fatalf("write trust anchors: %v", err)
	}
}

// InitiatorConfig is the TLS configuration of an initiator that polls: its BRCAC, and trust in the development root.
// It is a stand-in for somebody else's program, so it is made here and not by package mtls. It shows its certificate
// even where Go would show none because the server cannot like it; without GetClientCertificate it shows none.
func InitiatorConfig(tb testing.TB, leaf certs.Leaf) *tls.Config {
	tb.Helper()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    Roots(tb).Pool(),
		ServerName: "localhost",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			shown := leaf.TLS()
			return &shown, nil
		},
	}
}

// ReceiverConfig is the TLS configuration of an initiator's webhook endpoint: its web-server certificate, and a client
// certificate of the development PKI required.
func ReceiverConfig(tb testing.TB, leaf certs.Leaf) *tls.Config {
	tb.Helper()
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{leaf.TLS()},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ClientCAs(tb).Pool(),
	}
}

// Serve starts an https server on 127.0.0.1 with the configuration given, which keeps its own certificates, and ends
// it with the test. It returns the address as host:port.
func Serve(tb testing.TB, config *tls.Config, handler http.Handler) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = tls.NewListener(listener, config)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what such tests are about
	server.Start()
	tb.Cleanup(server.Close)
	return listener.Addr().String()
}
