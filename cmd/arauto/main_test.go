package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/keystock"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// envMain makes this test binary the product: tests start replicas as processes of their own, and kill them.
const envMain = "ARAUTO_TEST_MAIN"

// envCrash makes this test binary end as the product does at an error of the program: by a panic, or by an error of Go's runtime.
const envCrash = "ARAUTO_TEST_CRASH"

func TestMain(m *testing.M) {
	switch os.Getenv(envCrash) {
	case "panic":
		panic("of a test")
	case "runtime":
		new(sync.Mutex).Unlock()
	}
	keystock.Share()
	if os.Getenv(envMain) != "" {
		stage.NewKey = keystock.New
		main()
	}
	_ = flag.Set("test.parallel", "4") // most tests wait; -parallel on the command line counts more
	os.Exit(m.Run())
}

// product is the product's command line as a process.
func product(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	return cmd
}

// called is what a command line said and how it ended.
type called struct {
	code        int
	out, errors string
	took        time.Duration
}

// call runs a command line as main does, in this process, for at most the time given.
func call(t *testing.T, within time.Duration, environ []string, args ...string) called {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var out, errors bytes.Buffer
	began := time.Now()
	code := run(ctx, world{environ, &out, &errors}, args)
	return called{code, out.String(), errors.String(), time.Since(began)}
}

// long tells that there is time for the long variants.
func long() bool { return os.Getenv("ARAUTO_LONG") != "" }

// pki is made once for all tests.
var pki = sync.OnceValues(func() (*certs.PKI, error) { return certs.New(certs.Options{NewKey: keystock.New}) })

// template is the migrated database that stages copy. An external server, which has no files of ours, needs none.
var template = sync.OnceValues(func() (*stage.Template, error) {
	if os.Getenv(temppostgres.EnvURL) != "" {
		return nil, nil //nolint:nilnil // no template is the stage's default
	}
	return stage.NewTemplate(context.Background())
})

// blank is an empty server that those of cores copy: to make a cluster takes several times as long as to copy one. Its files are
// removed when the process ends.
var blank = sync.OnceValues(func() (*temppostgres.Server, error) {
	server, err := temppostgres.Start(context.Background(), temppostgres.Options{Private: true})
	if err != nil {
		return nil, err
	}
	return server, server.Halt()
})

// startBlank starts an empty server of the test's own.
func startBlank(t *testing.T, o temppostgres.Options) *temppostgres.Server {
	t.Helper()
	model, err := blank()
	require.NoError(t, err)
	o.Private, o.CopyOf = true, model
	server, err := temppostgres.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	return server
}

// quick are settings that development permits, so that a lost attempt is found within seconds.
var quick = []string{"ARAUTO_WEBHOOK_TIMEOUT=2s", "ARAUTO_DISPATCH_LEASE=3s"}

// unhurried are the usual times, for tests in which nothing may be given up for want of processor time.
var unhurried = []string{"ARAUTO_WEBHOOK_TIMEOUT=15s", "ARAUTO_DISPATCH_LEASE=20s"}

// slowly is how long the slow initiator takes to answer.
const slowly = 700 * time.Millisecond

// house is a stage with initiators, a core that keeps a ledger, and one replica that the core talks to.
type house struct {
	t *testing.T
	*stage.Stage
	replica *stage.Replica
	core    atomic.Pointer[stage.Core]

	good, flaky, slow *standin.Initiator
	ledger            *stage.SubmissionLog
	book              string
}

// open sets up everything; the feed does not run yet.
func open(t *testing.T, o stage.Options) *house {
	t.Helper()
	if o.Command == nil {
		o.Command = product
	}
	o.Settings = append(slices.Clone(quick), o.Settings...)
	var err error
	o.PKI, err = pki()
	require.NoError(t, err)
	o.Dir = t.TempDir()
	o.Template, err = template()
	require.NoError(t, err)
	s, err := stage.Open(t.Context(), o)
	require.NoError(t, err)
	h := &house{t: t, Stage: s, book: filepath.Join(o.Dir, "ledger.ndjson")}
	t.Cleanup(func() {
		if t.Failed() {
			h.showLogs()
		}
		require.NoError(t, s.Close())
	})
	h.ledger, err = stage.OpenSubmissionLog(h.book)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.ledger.Close() })
	h.start()
	h.good, h.flaky, h.slow = h.initiator("good"), h.initiator("flaky"), h.initiator("slow")
	h.slow.Answer("/slow/", standin.Answer{Delay: slowly})
	return h
}

// showLogs prints the end of each replica's log.
func (h *house) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(h.Dir, "replica-*.log"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		h.t.Logf("%s ends:\n%s", filepath.Base(name), text[max(0, len(text)-3000):])
	}
}

// start runs a replica and makes it the one the core talks to.
func (h *house) start(settings ...string) {
	h.t.Helper()
	r, err := h.Start(h.t.Context(), settings...)
	require.NoError(h.t, err)
	h.replica = r
	h.talkTo(r)
}

// kill ends the replica as a power cut does.
func (h *house) kill() {
	h.replica.Kill()
	h.core.Store(nil)
}

func (h *house) talkTo(r *stage.Replica) {
	h.t.Helper()
	core, err := h.Core(r)
	require.NoError(h.t, err)
	h.core.Store(core)
}

// initiator starts an endpoint and registers it under its name.
func (h *house) initiator(name string) *standin.Initiator {
	h.t.Helper()
	leaf, err := h.PKI.Issue(h.PKI.InitiatorServer(certs.DefaultAlfa))
	require.NoError(h.t, err)
	clients := x509.NewCertPool()
	clients.AddCert(h.PKI.ClientCA.Certificate)
	i, err := standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: clients})
	require.NoError(h.t, err)
	h.t.Cleanup(i.Close)
	require.NoError(h.t, h.core.Load().Register(h.t.Context(), name, stage.Registration{
		OrganisationID: certs.DefaultAlfa.Organisation.ID, SoftwareID: certs.DefaultAlfa.SoftwareID, Name: name, WebhookURIs: []string{i.BaseURI("/" + name)},
	}))
	return i
}

// payment is one change of a Pix payment.
func payment(client, id string, revision int64, status ofb.Status) stage.Change {
	return stage.Change{
		Kind: "pix-payment", ClientID: client, APIVersion: "v5", Revision: revision, OccurredAt: time.Now().UTC(),
		Data: openapitest.Document(ofb.PixPayment, "v5", status, id),
	}
}

// payments is what the feed hands in: three changes of a payment, the first of them silent. Every fourth payment's first
// POST is refused by the flaky initiator.
func (h *house) payments(prefix string) func(int) []stage.Change {
	clients := []string{"good", "flaky", "slow"}
	return func(n int) []stage.Change {
		client, id := clients[n%len(clients)], fmt.Sprintf("%s-%05d", prefix, n)
		if n%4 == 0 && client == "flaky" {
			h.flaky.Answer(id, standin.Refuse(503), standin.Accept)
		}
		return []stage.Change{payment(client, id, 1, ofb.RCVD), payment(client, id, 5, ofb.PDNG), payment(client, id, 6, ofb.ACSC)}
	}
}

// feed hands in payments until stop is called, which waits for the last answers.
func (h *house) feed(prefix string, every time.Duration) (stop func()) {
	return h.feedSideBySide(prefix, every, 8)
}

// feedSideBySide is feed with so many payments on their way at once.
func (h *house) feedSideBySide(prefix string, every time.Duration, workers int) (stop func()) {
	f := &stage.Feed{Log: h.ledger, Core: h.core.Load, Make: h.payments(prefix), Every: every, Workers: workers}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		require.NoError(h.t, <-ended)
	})
}

// posts is all that reached any initiator.
func (h *house) posts() []stage.Post {
	var out []stage.Post
	for _, i := range []*standin.Initiator{h.good, h.flaky, h.slow} {
		for _, r := range i.Requests() {
			out = append(out, stage.Post{Target: r.Target, Interaction: r.Interaction, At: r.At})
		}
	}
	return out
}

// reconcile hands in again what was left unknown, waits until chains rest (for their ends, when there is time), and
// compares ledger, receivers and gateway.
func (h *house) reconcile() stage.Report {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 3*time.Minute)
	defer cancel()
	again, err := stage.Repeat(ctx, h.core.Load(), h.book, h.ledger)
	require.NoError(h.t, err)
	within := 15 * time.Second // third attempts come after a minute
	if long() {
		within = time.Hour
	}
	_, err = h.core.Load().Settle(ctx, within)
	require.NoError(h.t, err)
	lines, err := stage.ReadSubmissions(h.book)
	require.NoError(h.t, err)
	stored, err := h.StoredRevisions(ctx)
	require.NoError(h.t, err)
	books, err := h.core.Load().Collect(ctx, lines, h.posts(), stored)
	require.NoError(h.t, err)
	report := books.Check()
	h.t.Log(report, "handed in again:", again)
	require.Empty(h.t, report.Wrong, strings.Join(report.Wrong, "\n"))
	require.Zero(h.t, report.Unknown, "the core came to an end with a change it knows nothing of")
	h.oneRowAFact()
	return report
}

// attemptsBegun counts the attempts that the history has: in entries of their own, and attempt 1 in the entry of its change.
func (h *house) attemptsBegun(ctx context.Context) (n int) {
	h.t.Helper()
	conn, err := pgx.Connect(ctx, h.Database)
	require.NoError(h.t, err)
	defer func() { _ = conn.Close(ctx) }()
	require.NoError(h.t, conn.QueryRow(ctx, "SELECT count(*) FROM arauto.entry WHERE kind = 'attempt' OR kind = 'change' AND interaction_id IS NOT NULL").Scan(&n))
	return n
}

// oneRowAFact looks into the database, beside what the gateway says of it: nothing is missing, twice, early or forgotten.
func (h *house) oneRowAFact() {
	h.t.Helper()
	ctx := context.WithoutCancel(h.t.Context())
	i, err := auditlog.OpenInspector(ctx, h.Database)
	require.NoError(h.t, err)
	defer i.Close(ctx)
	r, err := i.Reconcile(ctx, time.Time{}, time.Now().Add(time.Minute), func(d history.Difference) error {
		h.t.Errorf("%+v", d)
		return nil
	})
	require.NoError(h.t, err)
	require.Zero(h.t, r.Differences)
	require.Positive(h.t, r.Entries["change"], "changes were looked at, with the attempts that they record")
	require.Positive(h.t, h.attemptsBegun(ctx), "attempts were made")
}
