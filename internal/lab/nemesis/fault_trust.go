package main

import (
	"context"
	"encoding/pem"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
)

// lookEvery is how long the product takes to see a changed file, and a little more.
const lookEvery = 7 * time.Second

// rotateCertificates gives each brand a new BRCAC and a new server certificate; before that, for a while, one brand has the key of the other
// one's certificate, which must be refused while the old one stays.
func rotateCertificates(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	n.pki.Lock()
	defer n.pki.Unlock()
	w := n.begin(f, "the product's own certificates of both brands are replaced, the other brand's key first")
	if at := r.IntN(4); at < 2 {
		key, err := os.ReadFile(keyOf(n.all()[1-at].File("brcac")))
		if err != nil {
			return err
		}
		if err := os.WriteFile(keyOf(n.all()[at].File("brcac")), key, 0o600); err != nil { //nolint:gosec // a file of this run
			return err
		}
		rest(ctx, lookEvery)
	}
	for _, b := range n.all() {
		if err := n.stage.Renew(b); err != nil {
			return err
		}
	}
	rest(ctx, lookEvery)
	n.end(w, "")
	return nil
}

// keyOf is the file of a certificate's key.
func keyOf(certificate string) string { return strings.TrimSuffix(certificate, ".pem") + ".key" }

// writeList puts an authority's revocation list where the product reads it.
func (w *world) writeList(name string, authority *certs.CA) error {
	now := time.Now()
	der, err := w.stage.PKI.CRL(authority, now.Add(-time.Minute), now.AddDate(0, 1, 0))
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, "pki", "crl", name+".crl")
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// revokeCertificates puts the certificate of one receiver and of one initiator that asks on the lists; later both have new ones.
func revokeCertificates(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pki, v, which := n.stage.PKI, n.receivers[r.IntN(receiverCount-1)], r.IntN(2)
	pause := between(r, 8*time.Second, 16*time.Second)
	w := n.begin(f, "the certificates of %s and of %s are revoked, and replaced %.1f s later", v.name, initiators[which].Name, pause.Seconds())
	n.pki.Lock()
	defer n.pki.Unlock()
	pki.Revoke(v.leaf.Certificate)
	pki.Revoke(n.certificates[which].Certificate)
	if err := errors.Join(n.writeList("servers", pki.ServerCA), n.writeList("clients", pki.ClientCA)); err != nil {
		return err
	}
	rest(ctx, pause)
	leaf, err := pki.Issue(pki.InitiatorServer(initiators[0]))
	if err != nil {
		return err
	}
	v.leaf = leaf
	pair := leaf.TLS()
	v.Connect(standin.Connection{Always: true, Certificate: &pair})
	v.Disconnect()
	if err := n.openAsker(which); err != nil {
		return err
	}
	n.end(w, "")
	return nil
}

// usual has a receiver serve as it should, with the certificate it has now.
func (v *receiver) usual() {
	pair := v.leaf.TLS()
	v.Connect(standin.Connection{Always: true, Certificate: &pair})
}

// wrongCertificate has a receiver show a certificate that must be refused (cases I2).
func wrongCertificate(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	defects := []certs.Defect{certs.Expired, certs.NotYetValid, certs.WrongPurpose, certs.WrongName, certs.OtherCA, certs.SelfSigned, certs.CommonNameOnly, certs.WeakKey}
	v, defect := n.receivers[r.IntN(receiverCount-1)], defects[r.IntN(len(defects))]
	leaf, err := n.stage.PKI.Issue(n.stage.PKI.Spoil(n.stage.PKI.InitiatorServer(initiators[0]), defect))
	if err != nil {
		return err
	}
	pause := between(r, 5*time.Second, 15*time.Second)
	w := n.begin(f, "%s shows a certificate that is %s for %.1f s", v.name, defect, pause.Seconds())
	pair := leaf.TLS()
	v.Connect(standin.Connection{Always: true, Certificate: &pair})
	v.Disconnect()
	rest(ctx, pause)
	v.usual()
	n.end(w, "")
	return nil
}

// receiverAway resets every connection to a receiver, as a host that is down does.
func receiverAway(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	v, pause := n.receivers[r.IntN(receiverCount-1)], between(r, 5*time.Second, 20*time.Second)
	w := n.begin(f, "%s resets every connection for %.1f s", v.name, pause.Seconds())
	v.Connect(standin.Connection{Always: true, Reset: true})
	v.Disconnect()
	rest(ctx, pause)
	v.usual()
	n.end(w, "")
	return nil
}

// moveRegistrations gives some clients a new address. Once the gateway has answered, the old one is history.
func moveRegistrations(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	w := n.begin(f, "eight clients get another address")
	for _, at := range r.Perm(len(n.clients))[:8] {
		c := n.clients[at]
		c.mu.Lock()
		old := c.path()
		c.generation++
		registration := c.registration()
		c.mu.Unlock()
		if err := n.administer(ctx, r, func(core *stage.Core) error { return core.Register(ctx, c.id, registration) }); err != nil {
			return err
		}
		c.mu.Lock()
		c.ended = append(c.ended, ended{old, time.Now()})
		c.mu.Unlock()
		rest(ctx, between(r, 100*time.Millisecond, 500*time.Millisecond))
	}
	n.end(w, "")
	return nil
}

// endRegistrations takes some clients out and, some seconds later, in again.
func endRegistrations(ctx context.Context, n *nemesis, f *fault, r *rand.Rand) error {
	pause := between(r, 2*time.Second, 10*time.Second)
	w := n.begin(f, "three clients are not registered for %.1f s", pause.Seconds())
	gone := r.Perm(len(n.clients))[:3]
	for _, at := range gone {
		c := n.clients[at]
		c.mu.Lock()
		c.removals = append(c.removals, span{from: time.Now()})
		c.mu.Unlock()
		err := n.administer(ctx, r, func(core *stage.Core) error {
			err := core.Call(ctx, http.MethodDelete, "/internal/v1/initiators/"+url.PathEscape(c.id)+"?brand="+c.brand, nil, nil)
			var refusal *stage.Refusal
			if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound {
				return nil // a try without an answer had done it
			}
			return err
		})
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.ended = append(c.ended, ended{c.path(), time.Now()})
		c.generation++
		c.mu.Unlock()
	}
	rest(ctx, pause)
	for _, at := range gone {
		c := n.clients[at]
		if err := n.administer(ctx, r, func(core *stage.Core) error { return core.Register(ctx, c.id, c.registration()) }); err != nil {
			return err
		}
		c.mu.Lock()
		c.removals[len(c.removals)-1].to = time.Now()
		c.mu.Unlock()
	}
	n.end(w, "")
	return nil
}

// administer asks replicas until one has answered, for at most a minute.
func (n *nemesis) administer(ctx context.Context, r *rand.Rand, ask func(*stage.Core) error) error {
	limit := time.Now().Add(time.Minute)
	for {
		err := ask(n.replicas[r.IntN(replicaCount)].core.Load())
		if stage.FateOf(err) != stage.Unknown || time.Now().After(limit) || ctx.Err() != nil {
			return err
		}
		rest(ctx, 300*time.Millisecond)
	}
}
