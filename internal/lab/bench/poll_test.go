package bench

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/mtls"
)

// poller asks for statuses as initiator alfa, over connections that are kept.
type poller struct {
	client *http.Client
	token  string
	base   string
	ids    []string
}

// caller registers a client of an initiator, with push where addresses are given, and makes its token and a connection of its own.
func (w *world) caller(who certs.Participant, client string, uris ...string) *poller {
	w.b.Helper()
	folder := filepath.Join(w.stage.Dir, "pki", "initiators", who.Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "brcac.pem"), filepath.Join(folder, "brcac.key"))
	if err != nil {
		w.b.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		w.b.Fatal(err)
	}
	err = w.core.Register(w.b.Context(), client, stage.Registration{
		OrganisationID: who.Organisation.ID, SoftwareID: who.SoftwareID, Name: client, WebhookURIs: uris,
	})
	if err != nil {
		w.b.Fatal(err)
	}
	now := time.Now()
	token, err := jws.Issue(w.stage.PKI.Tokens.Key, w.stage.PKI.Tokens.KID, map[string]any{
		"iss": stage.TokensIssuer, "aud": stage.TokensAudience, "iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(), "jti": uuid.NewString(),
		"client_id": client, "scope": "payments", "grant_type": "client_credentials", "cnf": map[string]string{"x5t#S256": mtls.Thumbprint(leaf)},
	})
	if err != nil {
		w.b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.stage.PKI.Root.Certificate)
	return &poller{
		token: token, base: "https://" + w.replica.Public,
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "localhost"},
			MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64,
		}},
	}
}

// poller is alfa without push, with n payments of it.
func (w *world) poller(n int) *poller {
	w.b.Helper()
	p := w.caller(certs.DefaultAlfa, "alfa")
	p.client.Timeout = 15 * time.Second
	lines := make(chan []byte, n)
	for i := range n {
		at := time.Now()
		p.ids = append(p.ids, idAt(at, i))
		text := line("alfa", at, i)
		lines <- text
	}
	close(lines)
	if err := w.core.Stream(w.b.Context(), lines, func(stage.Accepted) {}); err != nil {
		w.b.Fatal(err)
	}
	return p
}

// get asks once and tells how long it took; the answer must be a signed one.
func (p *poller) get(b *testing.B, n int) time.Duration {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, p.base+"/open-banking/payments/v5/pix/payments/"+p.ids[n%len(p.ids)], nil)
	if err != nil {
		b.Error(err)
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("x-fapi-interaction-id", uuid.NewString())
	began := time.Now()
	res, err := p.client.Do(req)
	if err != nil {
		b.Error(err)
		return 0
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || strings.Count(string(body), ".") != 2 {
		b.Errorf("answered %d: %.200s %v", res.StatusCode, body, err)
	}
	return time.Since(began)
}

// The limit of answering: PS256 signatures with RSA-2048 on all processors.
func BenchmarkLimitSignatures(b *testing.B) {
	machine(b)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	for b.Loop() {
		const each = 1000
		began := time.Now()
		var all sync.WaitGroup
		for range runtime.NumCPU() {
			all.Go(func() {
				for range each {
					if _, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
		b.ReportMetric(float64(each*runtime.NumCPU())/time.Since(began).Seconds(), "signatures/s")
	}
	b.ReportMetric(0, "ns/op")
}

// Status queries as fast as they are answered, on kept connections; client and gateway share the processors.
func BenchmarkPolls(b *testing.B) {
	machine(b)
	w := open(b, "ARAUTO_PUBLIC_MAX_RATE=100000")
	p := w.poller(500)
	for b.Loop() {
		var n atomic.Int64
		commits := w.metric("arauto_poll_commit_seconds_count")
		before, began := w.cpu(), time.Now()
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				for time.Since(began) < 10*time.Second {
					p.get(b, int(n.Add(1)))
				}
			})
		}
		all.Wait()
		b.ReportMetric(float64(n.Load())/time.Since(began).Seconds(), "GET/s")
		w.spent(before, int(n.Load()))
		b.ReportMetric(float64(n.Load())/(w.metric("arauto_poll_commit_seconds_count")-commits), "GET/commit")
	}
	b.ReportMetric(0, "ns/op")
}

// Status queries at the regulator's floor of 300 a second, beside 100 changes a second that are told.
func BenchmarkPollsBesideChanges(b *testing.B) {
	machine(b)
	w := open(b)
	p := w.poller(500)
	clients := w.register("good", 20, w.farm.Good)
	for b.Loop() {
		took, f := w.pollsBeside(p, clients, 15*time.Second)
		b.ReportMetric(float64(len(took))/15, "GET/s")
		b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "GET-p95-ms")
		b.ReportMetric(float64(f.P99.Microseconds())/1000, "first-attempt-p99-ms")
		b.ReportMetric(float64(f.Late1500), "late")
	}
	b.ReportMetric(0, "ns/op")
}

// pollsBeside asks for 300 statuses a second, open loop, beside 100 changes a second, all of which are told. It answers how
// long the queries took, the fastest first, and what the receivers counted.
func (w *world) pollsBeside(p *poller, clients []string, d time.Duration) ([]time.Duration, figures) {
	w.b.Helper()
	w.farm.reset(w.b)
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	sent := 0
	all.Go(func() { sent = w.pace(clients, 100, d) })
	tick := time.NewTicker(time.Second / 300)
	began := time.Now()
	for n := 0; time.Since(began) < d; n++ {
		<-tick.C
		all.Go(func() {
			t := p.get(w.b, n)
			mu.Lock()
			took = append(took, t)
			mu.Unlock()
		})
	}
	tick.Stop()
	all.Wait()
	f := w.farm.await(w.b, int64(sent), 10*time.Second)
	slices.Sort(took)
	return took, f
}
