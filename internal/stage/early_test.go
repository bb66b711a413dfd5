package stage

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/dispatch"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/itptest"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/mtls/mtlstest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/storetest"
	"github.com/arauto/arauto/internal/webhook"
	"github.com/arauto/arauto/openapi"
	"github.com/arauto/arauto/openapi/openapitest"
)

type sch struct{ s *openapi.Schemas }

func (s sch) Check(k ofb.Kind, v string, d map[string]any) []notice.Problem {
	if p := s.s.Check(k, v, d); len(p) > 0 {
		panic(fmt.Sprint(p))
	}
	return nil
}

func TestEarly(t *testing.T) {
	if os.Getenv("EARLY") == "" {
		t.Skip()
	}
	_, url := storetest.Own(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Replica: "r", Version: "0"})
	require.NoError(t, err)
	pki := mtlstest.PKI(t)
	clients := x509.NewCertPool()
	clients.AddCert(pki.ClientCA.Certificate)
	var got atomic.Int64
	var mu sync.Mutex
	sent := map[string]time.Time{}
	var delays []time.Duration
	leaf := mtlstest.Leaf(t, pki.InitiatorServer(certs.DefaultAlfa))
	load, err := itptest.StartLoad(itptest.Options{Certificate: leaf.TLS(), ClientCAs: clients}, func(a itptest.Arrival) { got.Add(1) })
	require.NoError(t, err)
	f := mtlstest.Write(t, mtlstest.Leaf(t, pki.HolderBRCAC()))
	id, err := mtls.LoadIdentity(f.Cert, f.Key, mtls.AsClient)
	require.NoError(t, err)
	roots := t.TempDir() + "/r.pem"
	require.NoError(t, os.WriteFile(roots, certs.CertPEM(pki.Root.Certificate), 0o600))
	an, err := mtls.LoadAnchors(roots)
	require.NoError(t, err)
	var ob obs
	snd := webhook.New(webhook.Config{Observer: &ob, Identity: id, Roots: an, Guard: webhook.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, nil)})
	d, err := dispatch.New(s, snd, dispatch.Config{}, slog.Default(), nil)
	require.NoError(t, err)
	schemas, err := openapi.Load()
	require.NoError(t, err)
	in := intake.New(intake.Config{Log: slog.Default(), Store: s, Schema: sch{schemas}, NewID: store.NewID, Wake: func(c notice.ClientID, at time.Time) { d.Wake(c) }})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { in.Run(ctx) })
	wg.Go(func() { _ = d.Run(ctx) })
	for n := range 20 {
		_, _, err := s.PutInitiator(ctx, notice.Initiator{Client: notice.ClientID(fmt.Sprint("c", n)), OrganisationID: "o", SoftwareID: "s", Name: "n", WebhookURIs: []string{load.BaseURI("/x")}}, "t")
		require.NoError(t, err)
	}
	_ = mu
	_ = sent
	_ = delays
	const N = 5000
	lines := make([][]byte, N)
	for i := range lines {
		lines[i], _ = json.Marshal(Change{Kind: "pix-payment", ClientID: fmt.Sprint("c", i%20), APIVersion: "v5", Revision: 1, OccurredAt: time.Now(), Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, fmt.Sprintf("p%d", i))})
	}
	began := time.Now()
	go func() {
		for ctx.Err() == nil {
			time.Sleep(time.Second)
			b, _ := s.Backlog(ctx)
			fmt.Println(time.Since(began).Seconds(), "got", got.Load(), "held", in.Held(), b, s.Pools(), "dials", ob.d.Load(), "fail", ob.f.Load(), "conns", ob.c.Load())
		}
	}()
	ch := make(chan *intake.Pending, 2000)
	wg.Go(func() {
		for p := range ch {
			a, err := p.Wait(ctx)
			if err != nil || len(a.Notifications) != 1 {
				fmt.Println(a, err)
			}
		}
		fmt.Println("intake", N/time.Since(began).Seconds())
	})
	for _, l := range lines {
		p, err := in.Submit(ctx, l, intake.Origin{Source: "x"})
		require.NoError(t, err)
		ch <- p
	}
	close(ch)
	for n := 0; got.Load() < N && n < 1000; n++ {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("got", got.Load())
	fmt.Println("end to end", N/time.Since(began).Seconds())
	stop()
	wg.Wait()
}


type obs struct{ d, f, c atomic.Int64 }

func (o *obs) Attempted(notice.ClientID, *notice.Result) {}
func (o *obs) Dialled(_ notice.ClientID, t time.Duration, err error) {
	if err != nil {
		o.f.Add(1)
	} else {
		o.d.Add(1)
	}
}
func (o *obs) Connections(n int) { o.c.Add(int64(n)) }
