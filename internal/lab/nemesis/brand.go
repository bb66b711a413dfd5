package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// The second load: how far apart the ids of one of its three workers are, and the questions of one of its four initiators.
const (
	brandsEach    = 1500 * time.Millisecond
	brandAsksEach = 400 * time.Millisecond
)

// twoBrands is the second load: the same ids of clients and resources at both brands. The first load is the original brand's alone.
type twoBrands struct {
	*stage.BrandRun
	receiver *standin.Initiator
	shown    [2]tls.Certificate // with which its initiators ask
}

// all are the brands.
func (w *world) all() []*stage.Brand { return []*stage.Brand{w.ouro, w.prata} }

// openBrands starts the receiver of the second load and registers its clients at both brands. No fault is about their certificates.
func (n *nemesis) openBrands(ctx context.Context) error {
	pki := n.stage.PKI
	leaves, err := pki.IssueAll(pki.InitiatorServer(certs.DefaultAlfa), pki.InitiatorBRCAC(certs.DefaultAlfa), pki.InitiatorBRCAC(certs.DefaultBeta))
	if err != nil {
		return err
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(pki.ClientCA.Certificate)
	b := &twoBrands{shown: [2]tls.Certificate{leaves[1].TLS(), leaves[2].TLS()}}
	if b.receiver, err = standin.Start(standin.Options{Certificate: leaves[0].TLS(), ClientCAs: authorities}); err != nil {
		return err
	}
	n.brands = b
	b.BrandRun, err = stage.OpenBrandRun(ctx, stage.BrandRunConfig{
		Stage: n.stage, Ouro: n.ouro, Prata: n.prata, Core: n.core, Address: b.receiver.BaseURI, Every: brandsEach, AskEvery: brandAsksEach,
		Replica:  func() *stage.Replica { return n.replicas[n.turn.Add(1)%replicaCount].process.Load() },
		Document: func(d stage.BrandDoc) json.RawMessage { return openapitest.Document(d.Kind, d.Version, d.State, d.ID) },
		Wrong:    func(text string) { n.fail("%s", text) },
	})
	return err
}

// work runs the second load until loading ends, and then until everything that was begun is told.
func (b *twoBrands) work(ctx, loading context.Context) (err error) {
	told := make(chan struct{})
	asking, stop := context.WithCancel(ctx)
	go func() {
		defer close(told)
		defer stop()
		b.Tell(ctx, func(int) bool { return loading.Err() != nil })
	}()
	err = b.Ask(asking, b.shown)
	<-told
	return err
}

// examineBrands judges whether anything of one brand reached, or was shown as, the other one's: by what receivers and initiators saw, and
// by the log. It judges the POSTs and the last states of the second load. It takes all notifications, and returns those of the first load.
func (n *nemesis) examineBrands(ctx context.Context, all []stage.Notification) (first []stage.Notification, err error) {
	var posts []stage.BrandPost
	for _, r := range n.brands.receiver.Requests() {
		posts = append(posts, stage.NewBrandPost(r.Target, r.TLS.PeerCertificates[0], r.Get(ofb.HeaderAuthorisationServerID)))
	}
	record := n.brands.Record(posts)
	for _, text := range record.Check() {
		n.fail("%s", text)
	}
	others := 0
	for _, v := range n.receivers {
		for _, r := range v.Requests() {
			others++
			if p := stage.NewBrandPost(r.Target, r.TLS.PeerCertificates[0], ""); !p.Of(n.ouro) {
				n.fail("a POST to %s came with the certificate of %s, organisation %s, and not with that of %s", p.Target, p.Shown, p.Holder, n.ouro.Name)
			}
		}
	}
	wrong, compared, err := n.stage.BrandsInLog(ctx, n.all()...)
	if err != nil {
		return nil, err
	}
	for _, text := range wrong {
		n.fail("the log: %s", text)
	}
	resources, wrong, err := n.brands.Ends(ctx)
	if err != nil {
		return nil, err
	}
	for _, text := range append(wrong, n.brands.Chains(postsAt(n.brands.receiver), all, n.clock.ahead)...) {
		n.fail("the second load: %s", text)
	}
	states := map[string]int{}
	for i := range all {
		if !n.brands.Has(all[i].ClientID) {
			first = append(first, all[i])
			continue
		}
		states[all[i].State]++
	}
	shown := map[string]int{}
	for i := range record.Answers {
		shown[fmt.Sprintf("%s %d", record.Answers[i].Brand.Name, record.Answers[i].Status)]++
	}
	for _, b := range n.all() {
		if shown[b.Name+" 200"] == 0 || shown[b.Name+" 400"] == 0 {
			n.fail("brand %s was not asked for both its own resources and others'; it answered %v", b.Name, shown)
		}
	}
	if states["delivered"] == 0 || states["delivered"]+states["exhausted"] < n.brands.Noted() {
		n.fail("the core was told of %d notifications of the second load, and they ended as %v", n.brands.Noted(), states)
	}
	n.say("check", "two brands: %d ids at both or one, %d resources; %d POSTs and %d of the first load, %d answers %v, notifications %v, and in the log compared %v; nothing may be the other brand's",
		len(record.Truth), resources, len(posts), others, len(record.Answers), shown, states, compared)
	return first, nil
}
