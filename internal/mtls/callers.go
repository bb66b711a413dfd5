package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Callers decides who may use the public listener: initiators with a BRCAC that one of the authorities issued itself and
// that was not revoked, and the bank's own proxy where there is one. What a handshake asks is asked again of connections
// that live on, since what was true then may not be so any more. It is safe for concurrent use.
type Callers struct {
	Authorities *Anchors    // the issuing authorities of initiators' BRCACs; required
	Revocation  *Revocation // nil: no source of revocation is configured
	Proxy       *Proxy      // nil: TLS ends here and nowhere else

	mu        sync.Mutex
	presented map[string]presented // by DER: certificates that came in the proxy's header and passed
}

// presented is a certificate that passed, and under which authorities and lists it did.
type presented struct {
	chains     [][]*x509.Certificate
	generation uint64
	at         time.Time
}

const (
	// passFor is how long a certificate that came in the header is not judged again.
	passFor = time.Minute
	// maxPresented bounds what is remembered: more initiators than the ecosystem has.
	maxPresented = 4096
)

// ServerConfig is that of the public listener (see the function of that name), for these callers.
func (c *Callers) ServerConfig(id *Identity) *tls.Config {
	if c.Proxy == nil {
		return serverConfig(id, c.Judge, c.Authorities)
	}
	return serverConfig(id, c.Judge, c.Authorities, c.Proxy.authorities)
}

// Generation grows whenever authorities or lists change: judge again the connections accepted under an older one.
func (c *Callers) Generation() uint64 {
	g := c.Authorities.Generation()
	if c.Revocation != nil {
		g += c.Revocation.Generation()
	}
	if c.Proxy != nil {
		g += c.Proxy.authorities.Generation()
	}
	return g
}

// Judge returns nil when the peer of a connection may call, by the authorities, lists and clock of now. It is the check of
// the handshake, and of connections that live on.
func (c *Callers) Judge(cs tls.ConnectionState) error {
	if c.IsProxy(cs) {
		return nil
	}
	initiator := cs
	initiator.VerifiedChains = nil
	for _, chain := range cs.VerifiedChains {
		if c.Authorities.includes(chain[len(chain)-1]) {
			initiator.VerifiedChains = append(initiator.VerifiedChains, chain)
		}
	}
	if len(initiator.VerifiedChains) == 0 {
		return fmt.Errorf("not issued by an approved authority itself: %w", ErrPeer)
	}
	if err := judgePeer(initiator, x509.ExtKeyUsageClientAuth, issuedDirectly); err != nil {
		return err
	}
	if leaf := cs.PeerCertificates[0]; c.Authorities.now().After(leaf.NotAfter) {
		return fmt.Errorf("serial %s ended at %s: %w", serialText(leaf), instant(leaf.NotAfter), ErrPeer)
	}
	if c.Revocation == nil {
		return nil
	}
	return c.Revocation.Check(initiator)
}

// IsProxy reports whether the peer of a connection is the bank's own proxy: the certificate is in date, says clientAuth, is
// the one that was named, and was issued by the proxy's authorities, none of which issues BRCACs.
func (c *Callers) IsProxy(cs tls.ConnectionState) bool {
	if c.Proxy == nil || len(cs.PeerCertificates) == 0 || !c.Proxy.names(cs.PeerCertificates[0]) {
		return false
	}
	if c.Authorities.now().After(cs.PeerCertificates[0].NotAfter) {
		return false
	}
	return judgePeer(cs, x509.ExtKeyUsageClientAuth, func(chain []*x509.Certificate) error {
		anchor := chain[len(chain)-1]
		if !c.Proxy.authorities.includes(anchor) || c.Authorities.includes(anchor) {
			return ErrPeer
		}
		return issuedDirectly(chain)
	}) == nil
}

// Unwrap makes of a request's connection what the initiator's own would have been (security §4.6). It takes the proxy's
// header out of every request, so that nothing behind it can read one; it believes it only on a connection of the proxy's.
// There, the state returned shows the certificate in the header, judged as a handshake judges it, and none if err says
// what is wrong with it: never the proxy's own. Of other connections the state is returned as it is.
func (c *Callers) Unwrap(cs tls.ConnectionState, h http.Header) (tls.ConnectionState, error) {
	if c.Proxy == nil {
		return cs, nil
	}
	values := h.Values(c.Proxy.header)
	h.Del(c.Proxy.header)
	if !c.IsProxy(cs) {
		return cs, nil
	}
	cs.PeerCertificates, cs.VerifiedChains, cs.OCSPResponse = nil, nil, nil
	cert, err := c.Proxy.preset.read(values)
	if err != nil {
		return cs, fmt.Errorf("header %s: %w: %w", c.Proxy.header, err, ErrPeer)
	}
	chains, err := c.pass(cs, cert)
	if err != nil {
		return cs, fmt.Errorf("header %s: %w", c.Proxy.header, err)
	}
	cs.PeerCertificates, cs.VerifiedChains = []*x509.Certificate{cert}, chains
	return cs, nil
}

// pass verifies and judges a certificate from the header, unless it passed a moment ago.
func (c *Callers) pass(cs tls.ConnectionState, cert *x509.Certificate) ([][]*x509.Certificate, error) {
	now, generation, key := c.Authorities.now(), c.Generation(), string(cert.Raw)
	c.mu.Lock()
	p, known := c.presented[key]
	c.mu.Unlock()
	if known && p.generation == generation && now.Sub(p.at) < passFor && !now.After(cert.NotAfter) {
		return p.chains, nil
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: c.Authorities.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("the certificate does not verify: %w: %w", err, ErrPeer)
	}
	cs.PeerCertificates, cs.VerifiedChains = []*x509.Certificate{cert}, chains
	if err := c.Judge(cs); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.presented == nil || len(c.presented) >= maxPresented {
		c.presented = map[string]presented{} // rare enough to begin anew
	}
	c.presented[key] = presented{chains, generation, now}
	return chains, nil
}
