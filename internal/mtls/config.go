package mtls

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Check is one more judgement on a connection whose certificates verify, such as (*Revocation).Check. It runs inside
// the handshake, before the peer can send or receive anything; an error ends the connection.
type Check func(tls.ConnectionState) error

// ErrPeer means that a peer's certificate verifies and is refused for another reason; it is wrapped with the reason.
var ErrPeer = errors.New("certificate refused")

// What a certificate that verifies may lack; each is an ErrPeer.
var (
	// ErrPurpose says that it is not for what it is shown for.
	ErrPurpose = fmt.Errorf("not for this purpose (extended key usage): %w", ErrPeer)
	// ErrKey says that a key of its chain is not RSA, or too short.
	ErrKey = fmt.Errorf("key not allowed: %w", ErrPeer)
	// ErrAuthority says that its authority is no longer one of ours.
	ErrAuthority = fmt.Errorf("its authority is no longer trusted: %w", ErrPeer)
)

// suites are the two of FAPI-BR §6.4. The DHE pair that the profile also names is discouraged by BCP 195, and Go has
// none. TLS 1.3 fixes its own.
var suites = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
}

// base is what every configuration of the product has in common (security §3, T1–T4; product D-7): TLS 1.2 with two
// suites or TLS 1.3, no resumption (in either version, in either role), no renegotiation (Go's servers know none),
// and HTTP/1.1 alone, since nothing here needs more.
func base() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		CipherSuites:           suites,
		SessionTicketsDisabled: true,
		ClientSessionCache:     nil,
		Renegotiation:          tls.RenegotiateNever,
		NextProtos:             []string{"http/1.1"},
	}
}

// ServerConfig is the public listener: a client certificate is required, and must have been issued by one of
// clientCAs itself, not by another authority below one (contract, "File formats": the issuing authorities and
// nothing above them), for the purpose clientAuth, with an RSA key of at least 2048 bits, and pass the checks.
// Identity and anchors are read anew for every handshake, so a reload needs no restart.
func ServerConfig(id *Identity, clientCAs *Anchors, checks ...Check) *tls.Config {
	return serverConfig(id, func(cs tls.ConnectionState) error {
		if err := judgePeer(cs, x509.ExtKeyUsageClientAuth, issuedDirectly); err != nil {
			return err
		}
		return runChecks(cs, checks)
	}, clientCAs)
}

// serverConfig demands a client certificate below one of the anchors that passes the judgement.
func serverConfig(id *Identity, judge Check, anchors ...*Anchors) *tls.Config {
	var cached atomic.Pointer[serverState]
	config := base()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := serverState{identity: id.current.Load()}
		for i, a := range anchors {
			now.trust[i] = a.current.Load()
		}
		if old := cached.Load(); old != nil && old.identity == now.identity && old.trust == now.trust {
			return old.config, nil
		}
		now.config = base()
		now.config.Certificates = []tls.Certificate{now.identity.cert}
		now.config.ClientAuth = tls.RequireAndVerifyClientCert
		now.config.ClientCAs = now.pool()
		now.config.VerifyConnection = func(cs tls.ConnectionState) error {
			if err := judge(cs); err != nil {
				return err
			}
			now.share(cs.PeerCertificates)
			return nil
		}
		cached.Store(&now)
		return now.config, nil
	}
	// A caller that uses the outer configuration's own fields must not find a server that asks for no certificate.
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = x509.NewCertPool()
	return config
}

// ByServerName chooses among configurations of this package by the name that a client asks for (SNI), in lower case. A handshake
// that asks for another name, or for none, is refused with the alert unrecognized_name.
func ByServerName(configs map[string]*tls.Config) *tls.Config {
	config := base()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c := configs[strings.ToLower(hello.ServerName)]; c != nil {
			return c.GetConfigForClient(hello)
		}
		return base(), nil // it has no certificate, which is how crypto/tls is told to send that alert
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = x509.NewCertPool()
	return config
}

// serverState is what a server configuration was made from: whose certificate, and the anchors of initiators and, if
// there is one, of the proxy.
type serverState struct {
	identity *credential
	trust    [2]*anchorSet
	config   *tls.Config
}

// share puts our own copy of an authority in place of the copy that a peer sent after its certificate. Clients send their authority, and a
// connection keeps what was sent for as long as it lasts: 5 kB.
func (s *serverState) share(shown []*x509.Certificate) {
	for _, t := range s.trust {
		for i := 1; t != nil && i < len(shown); i++ {
			if at := slices.IndexFunc(t.certs, shown[i].Equal); at >= 0 {
				shown[i] = t.certs[at]
			}
		}
	}
}

// pool is one pool, since Go's server knows one.
func (s *serverState) pool() *x509.CertPool {
	if s.trust[1] == nil {
		return s.trust[0].pool
	}
	pool := x509.NewCertPool()
	for _, t := range s.trust {
		for _, c := range t.certs {
			pool.AddCert(c)
		}
	}
	return pool
}

// InternalServerConfig is the listener for the bank's own systems: the same profile, without client certificates;
// who calls is said by a bearer token.
func InternalServerConfig(id *Identity) *tls.Config {
	config := base()
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.Current(), nil }
	return config
}

// ClientConfig is for one dial, or for a transport that lives no longer than one generation of id and roots: it
// shows our certificate and believes servers under roots, the system's trust store not among them. serverName is
// the name the certificate must be for; empty: http.Transport fills in the host it dials.
//
// Our one certificate is sent whether or not the server's list of acceptable authorities names its issuer: we have no
// other, sending none fails for certain, and such lists are often incomplete. A server sees it only after its own
// was verified. Once our certificate has expired the handshake fails on our side with ErrOwnExpired.
//
// An anchor removed from roots is refused from then on, even by a configuration made before. A new anchor, by
// contrast, needs a new configuration.
func ClientConfig(id *Identity, roots *Anchors, serverName string, checks ...Check) *tls.Config {
	config := base()
	config.ServerName = serverName
	config.RootCAs = roots.Pool()
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := judgePeer(cs, x509.ExtKeyUsageServerAuth, roots.anchored); err != nil {
			return err
		}
		return runChecks(cs, checks)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c := id.current.Load()
		if id.now().After(c.notAfter) {
			return nil, fmt.Errorf("%s ended at %s: %w", id.certFile, instant(c.notAfter), ErrOwnExpired)
		}
		return &c.cert, nil
	}
	return config
}

// PublicConfig is for reading public things over https where we are nobody in particular: the Directory's key sets,
// revocation lists. Such hosts show certificates of the public web, so the rules of the ecosystem's own profile about
// purpose and keys do not apply and roots may be nil for the system's trust store: the only place where it is used.
func PublicConfig(roots *Anchors) *tls.Config {
	config := base()
	if roots != nil {
		config.RootCAs = roots.Pool()
	}
	return config
}

// judgePeer adds to Go's verification what the profile asks beyond it: the purpose said aloud (Go takes silence for
// every purpose), RSA keys of at least 2048 bits (Go takes 1024 and elliptic curves), and, on some verified chain,
// what the caller asks of chains.
func judgePeer(cs tls.ConnectionState, usage x509.ExtKeyUsage, judgeChain func([]*x509.Certificate) error) error {
	if len(cs.VerifiedChains) == 0 {
		return fmt.Errorf("no verified chain: %w", ErrPeer)
	}
	if !serves(cs.PeerCertificates[0], usage) {
		return ErrPurpose
	}
	var reason error
	for _, chain := range cs.VerifiedChains {
		err := strongKeys(chain)
		if err == nil {
			err = judgeChain(chain)
		}
		if err == nil {
			return nil
		}
		reason = err
	}
	return reason
}

func strongKeys(chain []*x509.Certificate) error {
	for i, c := range chain {
		key, ok := c.PublicKey.(*rsa.PublicKey)
		if !ok {
			return fmt.Errorf("certificate %d of the chain is not RSA (FAPI-BR §6): %w", i+1, ErrKey)
		}
		if key.N.BitLen() < minKeyBits {
			return fmt.Errorf("certificate %d of the chain has a key of %d bits, fewer than 2048: %w", i+1, key.N.BitLen(), ErrKey)
		}
	}
	return nil
}

// issuedDirectly holds when an anchor itself signed the leaf.
func issuedDirectly(chain []*x509.Certificate) error {
	if len(chain) != 2 {
		return fmt.Errorf("not issued by an approved authority itself: %w", ErrPeer)
	}
	return nil
}

// anchored holds when a chain ends at an anchor that is still in force.
func (a *Anchors) anchored(chain []*x509.Certificate) error {
	if !a.includes(chain[len(chain)-1]) {
		return ErrAuthority
	}
	return nil
}

func runChecks(cs tls.ConnectionState, checks []Check) error {
	for _, check := range checks {
		if err := check(cs); err != nil {
			return err
		}
	}
	return nil
}
