package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// brandRun is a run of two replicas that serve two brands, with one initiator at both and one receiver for all.
type brandRun struct {
	*stage.Stage
	t        *testing.T
	brands   [2]*stage.Brand
	replicas [2]atomic.Pointer[stage.Replica]
	turn     atomic.Uint64
	receiver *standin.Initiator
	play     *stage.BrandRun
}

func (r *brandRun) next() *stage.Replica { return r.replicas[r.turn.Add(1)%2].Load() }

// openBrandRun starts everything and registers alfa and beta at both brands, each under one client id.
func openBrandRun(t *testing.T) *brandRun {
	t.Helper()
	authority, err := pki()
	require.NoError(t, err)
	model, err := template()
	require.NoError(t, err)
	s, err := stage.Open(t.Context(), stage.Options{Command: product, PKI: authority, Template: model, Dir: t.TempDir(), Settings: quick})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			(&house{t: t, Stage: s}).showLogs()
		}
		require.NoError(t, s.Close())
	})
	ouro, prata, err := s.TwoBrands()
	require.NoError(t, err)
	r := &brandRun{Stage: s, t: t, brands: [2]*stage.Brand{ouro, prata}}
	for i := range r.replicas {
		r.restart(i)
	}
	leaf, err := s.PKI.Issue(s.PKI.InitiatorServer(certs.DefaultAlfa))
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(s.PKI.ClientCA.Certificate)
	r.receiver, err = standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: clients})
	require.NoError(t, err)
	t.Cleanup(r.receiver.Close)
	r.play, err = stage.OpenBrandRun(t.Context(), stage.BrandRunConfig{
		Stage: s, Ouro: ouro, Prata: prata, Core: r.core, Replica: r.next, Address: r.receiver.BaseURI, Every: 20 * time.Millisecond, AskEvery: 20 * time.Millisecond,
		Document: func(d stage.BrandDoc) json.RawMessage { return openapitest.Document(d.Kind, d.Version, d.State, d.ID) },
		Wrong:    func(text string) { t.Error(text) },
	})
	require.NoError(t, err)
	return r
}

// core talks to the next replica.
func (r *brandRun) core() *stage.Core {
	core, err := r.Core(r.next())
	if err != nil {
		panic(err) // a token that cannot be signed
	}
	return core
}

// shown are the certificates that alfa and beta ask with.
func (r *brandRun) shown() (out [2]tls.Certificate) {
	for i, who := range []certs.Participant{certs.DefaultAlfa, certs.DefaultBeta} {
		folder := filepath.Join(r.Dir, "pki", "initiators", who.Name)
		pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brcac.pem"), filepath.Join(folder, "brcac.key"))
		require.NoError(r.t, err)
		out[i] = pair
	}
	return out
}

// restart puts a new replica into a place.
func (r *brandRun) restart(i int) {
	r.t.Helper()
	fresh, err := r.Start(r.t.Context())
	require.NoError(r.t, err)
	r.replicas[i].Store(fresh)
}

// TestTwoBrandsAreNeverMixedUpWhileReplicasAndTheDatabaseAreKilled has the same ids of clients and resources at both brands. Replicas are killed
// one after the other, and the database between them; then everything that receivers and initiators saw is judged.
func TestTwoBrandsAreNeverMixedUpWhileReplicasAndTheDatabaseAreKilled(t *testing.T) {
	t.Parallel()
	r := openBrandRun(t)
	if r.Server.External() {
		t.Skip("the database server is not ours to kill")
	}
	resources, kills := 90, 3
	if long() {
		resources, kills = 3000, 30
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var asking, handing sync.WaitGroup
	asks, stop := context.WithCancel(ctx)
	defer stop()
	shown := r.shown()
	var asked error
	asking.Go(func() { asked = r.play.Ask(asks, shown) })
	handing.Go(func() { r.play.Tell(ctx, func(n int) bool { return n >= resources }) })
	for k := range kills { // each when so many are in
		for r.play.Handed() < int64((k+1)*resources/(kills+1)) && ctx.Err() == nil {
			pause(t, 20*time.Millisecond)
		}
		r.replicas[k%2].Load().Kill()
		if k%3 == 1 {
			require.NoError(t, r.Server.Kill())
			require.NoError(t, r.Server.Restart(ctx))
		}
		r.restart(k % 2)
	}
	handing.Wait()
	core := r.core()
	_, err := core.Settle(ctx, time.Minute)
	require.NoError(t, err)
	stop()
	asking.Wait()
	require.NoError(t, asked)
	require.NoError(t, ctx.Err())
	r.judge(core)
}

// judge holds what was seen against what was told.
func (r *brandRun) judge(core *stage.Core) {
	var posts []stage.BrandPost
	var arrived []stage.Post
	for _, p := range r.receiver.Requests() {
		posts = append(posts, stage.NewBrandPost(p.Target, p.TLS.PeerCertificates[0], p.Get(ofb.HeaderAuthorisationServerID)))
		arrived = append(arrived, stage.Post{Target: p.Target, Interaction: p.Interaction, At: p.At})
	}
	record := r.play.Record(posts)
	require.Empty(r.t, record.Check())
	wrong, compared, err := r.BrandsInLog(r.t.Context(), r.brands[:]...)
	require.NoError(r.t, err)
	require.Empty(r.t, wrong)
	resources, wrong, err := r.play.Ends(r.t.Context())
	require.NoError(r.t, err)
	require.Empty(r.t, wrong)

	all, err := core.Notifications(r.t.Context(), url.Values{})
	require.NoError(r.t, err)
	require.Empty(r.t, r.play.Chains(arrived, all, nil))
	of := map[string]int{}
	for i := range all {
		of[strings.ReplaceAll(all[i].ClientID, " ", "/")]++
		require.Equal(r.t, "delivered", all[i].State, "%s of %s", all[i].ResourceID, all[i].ClientID)
	}
	require.GreaterOrEqual(r.t, len(all), r.play.Noted())
	require.GreaterOrEqual(r.t, len(record.Posts), len(all))
	shown := map[string]int{}
	for i := range record.Answers {
		shown[fmt.Sprintf("%s %d", record.Answers[i].Brand.Name, record.Answers[i].Status)]++
	}
	for _, b := range r.brands {
		require.Positive(r.t, shown[b.Name+" 200"])
		require.Positive(r.t, shown[b.Name+" 400"])
	}
	wrong, err = r.OneRowAFact(r.t.Context())
	require.NoError(r.t, err)
	require.Empty(r.t, wrong)
	r.t.Logf("%d ids, %d resources, %d notifications %v, %d POSTs, answers %v, in the log compared %v", len(record.Truth), resources, len(all), of, len(record.Posts), shown, compared)
}
