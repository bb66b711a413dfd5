package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// The database that tests share ends with the process.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // tests side by side wait most of their time; -parallel on the command line counts more
	loadSchemas = once(loadSchemas)
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/arauto/arauto/internal/lab/temppostgres.startChild.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.Cleanup(func(code int) { _ = os.RemoveAll(signerProgram.dir); os.Exit(code) }))
}

// once builds the schemas of each setting once. They do not change, so gateways can share them.
func once(build func(*config.Config) (*openapi.Schemas, error)) func(*config.Config) (*openapi.Schemas, error) {
	var mu sync.Mutex
	built := map[string]*openapi.Schemas{}
	return func(cfg *config.Config) (*openapi.Schemas, error) {
		mu.Lock()
		defer mu.Unlock()
		settings := fmt.Sprint(cfg.Schema.UnknownMembers, cfg.DeclaredVersions())
		if built[settings] == nil {
			s, err := build(cfg)
			if err != nil {
				return nil, err
			}
			built[settings] = s
		}
		return built[settings], nil
	}
}

// lookEvery is how often files are looked at in tests; production's five seconds would only make them slower.
const lookEvery = 50 * time.Millisecond

// house is a whole gateway in this process, on a real database, with a PKI in files that a test may replace.
type house struct {
	t    *testing.T
	dir  string
	url  string
	pki  *certs.PKI
	g    *Gateway
	core *stage.Core
	log  *journal
	set  *stage.Stage
}

// open starts one; settings are NAME=value.
func open(t *testing.T, settings ...string) *house {
	t.Helper()
	return openAs(t, func(*house) []string { return settings })
}

// openAs starts one whose settings depend on its files, which prepare may replace before the start.
func openAs(t *testing.T, prepare func(*house) []string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), url: storetest.Database(t), pki: mtlstest.PKI(t), log: newJournal()}
	writePKI(t, filepath.Join(h.dir, "pki"))
	h.set = &stage.Stage{Dir: h.dir, PKI: h.pki, Database: h.url}
	cfg, err := config.Read("", append(append(h.set.Environment(), "ARAUTO_REPLICA=test"), prepare(h)...))
	require.NoError(t, err)
	h.g, err = New(t.Context(), cfg, "test", slog.New(slog.NewJSONHandler(h.log, nil)))
	require.NoError(t, err)
	h.g.watchEvery = lookEvery
	t.Cleanup(func() { _ = h.g.Stop() })
	require.NoError(t, h.g.Start(t.Context()))
	h.core, err = h.set.Core(&stage.Replica{Internal: h.g.Addr("internal")})
	require.NoError(t, err)
	h.ready()
	return h
}

// ready waits until the replica says that it is ready: before that a balancer sends it nothing, and a change may be answered 503.
func (h *house) ready() {
	h.t.Helper()
	h.until("readiness", func() bool { return strings.Contains(h.ops("/readyz"), `"status":"ok"`) })
}

// issued is the PKI in files of the first house. The others have the same certificates: to issue them costs a dozen signatures.
var issued struct {
	sync.Once
	folder *certs.IssuedFolder
	err    error
}

// writePKI writes the development PKI of this process.
func writePKI(t *testing.T, dir string) {
	t.Helper()
	pki := mtlstest.PKI(t)
	issued.Do(func() { issued.folder, issued.err = pki.IssueFolder(certs.Content{}) })
	require.NoError(t, issued.err)
	require.NoError(t, issued.folder.Write(dir))
}

// file is one of the PKI's files.
func (h *house) file(name string) string {
	return filepath.Join(h.dir, "pki", filepath.FromSlash(name))
}

// replace puts other content into a file as a rotation does: beside it first, then by renaming.
func (h *house) replace(name string, content []byte) {
	h.t.Helper()
	require.NoError(h.t, os.WriteFile(h.file(name)+".next", content, 0o600))
	require.NoError(h.t, os.Rename(h.file(name)+".next", h.file(name)))
}

// leaf issues a certificate.
func (h *house) leaf(p certs.Profile) certs.Leaf {
	h.t.Helper()
	leaf, err := h.pki.Issue(p)
	require.NoError(h.t, err)
	return leaf
}

// list is the authority's revocation list of now.
func (h *house) list(ca *certs.CA) []byte {
	h.t.Helper()
	der, err := h.pki.CRL(ca, time.Now().Add(-time.Second), time.Now().Add(time.Hour))
	require.NoError(h.t, err)
	return der
}

// initiator starts an endpoint with the certificate of an initiator and registers it.
func (h *house) initiator(is certs.Participant) *standin.Initiator {
	h.t.Helper()
	return h.initiatorWith(is, h.leaf(h.pki.InitiatorServer(is)))
}

func (h *house) initiatorWith(is certs.Participant, leaf certs.Leaf) *standin.Initiator {
	h.t.Helper()
	i, err := standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: mtlstest.ClientCAs(h.t).Pool()})
	require.NoError(h.t, err)
	h.t.Cleanup(i.Close)
	require.NoError(h.t, h.register(is, i.BaseURI("/"+is.Name)))
	return i
}

// register puts a registration with a statement that lists the addresses.
func (h *house) register(is certs.Participant, uris ...string) error {
	h.t.Helper()
	return h.registerListed(is, uris, uris)
}

func (h *house) registerListed(is certs.Participant, listed, uris []string) error {
	h.t.Helper()
	statement, err := h.set.Statement(is.Organisation.ID, is.SoftwareID, listed)
	require.NoError(h.t, err)
	return h.core.Register(h.t.Context(), is.Name, stage.Registration{
		OrganisationID: is.Organisation.ID, SoftwareID: is.SoftwareID, Name: is.Organisation.Name, WebhookURIs: uris, SoftwareStatement: statement,
	})
}

// change hands in a payment of a client that reached ACSC, and returns its id and what was answered.
func (h *house) change(is certs.Participant) (id string, answer stage.Accepted) {
	h.t.Helper()
	id = uuid.NewString()
	answer, err := h.tryChange(is, id)
	require.NoError(h.t, err)
	return id, answer
}

func (h *house) tryChange(is certs.Participant, id string) (stage.Accepted, error) {
	return h.core.Change(h.t.Context(), stage.Change{
		Kind: ofb.PixPayment.String(), ClientID: is.Name, APIVersion: "v5", Revision: 1, OccurredAt: time.Now().UTC(),
		Data: openapitest.Document(ofb.PixPayment, "v5", ofb.ACSC, id),
	})
}

// settled waits until an attempt of a notification has an outcome.
func (h *house) settled(answer stage.Accepted, attempts int) stage.Notification {
	h.t.Helper()
	require.Len(h.t, answer.Notifications, 1)
	var n stage.Notification
	h.until("the outcome of an attempt", func() bool {
		var err error
		n, err = h.core.Notification(h.t.Context(), answer.Notifications[0].ID)
		require.NoError(h.t, err)
		return len(n.Attempts) >= attempts && n.Attempts[attempts-1].Outcome != nil
	})
	return n
}

// until asks again and again until something holds that nothing announces. What takes seconds is asked for less often: a page of
// metrics costs milliseconds of processor time.
func (h *house) until(what string, holds func() bool) {
	h.t.Helper()
	for began := time.Now(); !holds(); <-time.After(min(max(5*time.Millisecond, time.Since(began)/8), 250*time.Millisecond)) {
		require.Less(h.t, time.Since(began), time.Minute, what)
	}
}

// metric reads one line of the metrics page; -1 when it is not there.
func (h *house) metric(line string) float64 {
	h.t.Helper()
	for _, text := range strings.Split(h.ops("/metrics"), "\n") {
		if value, ok := strings.CutPrefix(text, line+" "); ok {
			var out float64
			require.NoError(h.t, json.Unmarshal([]byte(value), &out))
			return out
		}
	}
	return -1
}

// plain asks for pages that are not compressed, which the race detector makes many times as long.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

func (h *house) ops(path string) string {
	h.t.Helper()
	res, err := plain.Get("http://" + h.g.Addr("ops") + path)
	require.NoError(h.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	return string(body)
}

// recorded waits until the record of every answered query is in the history: while the database is slow, it waits in the spool.
func (h *house) recorded() {
	h.t.Helper()
	h.until("the spool to be empty", func() bool { files, _, _ := h.g.polls.Stat(); return files == 0 })
}

// entries reads the facts of the history's entries of a kind, oldest first.
func (h *house) entries(kind string) []map[string]any {
	h.t.Helper()
	h.recorded()
	conn, err := pgx.Connect(h.t.Context(), h.url)
	require.NoError(h.t, err)
	defer conn.Close(context.WithoutCancel(h.t.Context()))
	rows, err := conn.Query(h.t.Context(), "SELECT coalesce(client_id, ''), coalesce(outcome, ''), facts FROM arauto.entry WHERE kind = $1 ORDER BY id", kind)
	require.NoError(h.t, err)
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (map[string]any, error) {
		var client, outcome string
		var facts []byte
		if err := row.Scan(&client, &outcome, &facts); err != nil {
			return nil, err
		}
		m := map[string]any{}
		err := json.Unmarshal(facts, &m)
		m["client"], m["outcome"] = client, outcome
		return m, err
	})
	require.NoError(h.t, err)
	return out
}

// poller asks for status as an initiator.
type poller struct {
	h      *house
	is     certs.Participant
	leaf   certs.Leaf
	client *http.Client
}

func (h *house) poller(is certs.Participant) *poller {
	h.t.Helper()
	return h.pollerWith(is, h.leaf(h.pki.InitiatorBRCAC(is)), func(*tls.Config) {})
}

// pollerWith shows this certificate; adjust may make it come as somebody else.
func (h *house) pollerWith(is certs.Participant, leaf certs.Leaf, adjust func(*tls.Config)) *poller {
	h.t.Helper()
	config := mtlstest.InitiatorConfig(h.t, leaf)
	adjust(config)
	transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 8}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &poller{h: h, is: is, leaf: leaf, client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// get asks for a payment with a new token bound to the poller's certificate.
func (p *poller) get(id string, headers ...string) (status int, tlsState *tls.ConnectionState, body string, err error) {
	token, err := p.token()
	if err != nil {
		return 0, nil, "", err
	}
	return p.getWith(token, id, headers...)
}

func (p *poller) token() (string, error) {
	now := time.Now()
	return jws.Issue(p.h.pki.Tokens.Key, p.h.pki.Tokens.KID, map[string]any{
		"iss": stage.TokensIssuer, "aud": stage.TokensAudience, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": uuid.NewString(),
		"client_id": p.is.Name, "scope": "payments", "grant_type": "client_credentials", "cnf": map[string]any{"x5t#S256": mtls.Thumbprint(p.leaf.Certificate)},
	})
}

// getWith asks for a payment with this token.
func (p *poller) getWith(token, id string, headers ...string) (status int, tlsState *tls.ConnectionState, body string, err error) {
	r, err := http.NewRequestWithContext(p.h.t.Context(), http.MethodGet, "https://"+p.h.g.Addr("public")+"/open-banking/payments/v5/pix/payments/"+id, nil)
	if err != nil {
		return 0, nil, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("x-fapi-interaction-id", uuid.NewString())
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := p.client.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, res.TLS, string(text), err
}

// journal is a log that tests read and wait for.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newJournal() *journal { return &journal{} }

// Write never fails.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// lines are the lines that hold all of the texts.
func (j *journal) lines(texts ...string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
next:
	for _, line := range strings.Split(j.text.String(), "\n") {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}

// load hands in changes and polls, side by side, until stop is called, and then says how many went wrong.
type load struct {
	h       *house
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	changes  []stage.Accepted
	gets     int
	failures []error
	states   []*tls.ConnectionState
}

func (h *house) load(is certs.Participant, poll *poller, id string) *load {
	ctx, cancel := context.WithCancel(h.t.Context())
	l := &load{h: h, cancel: cancel}
	every := func(d time.Duration, work func()) {
		l.workers.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					work()
				}
			}
		})
	}
	every(20*time.Millisecond, func() {
		a, err := h.tryChange(is, uuid.NewString())
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changes = append(l.changes, a)
		l.fail(err)
	})
	for range 2 {
		every(25*time.Millisecond, func() {
			status, state, body, err := poll.get(id)
			if err == nil && status != http.StatusOK {
				err = errors.New(body)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.gets++
			l.states = append(l.states, state)
			l.fail(err)
		})
	}
	return l
}

func (l *load) fail(err error) {
	if err != nil {
		l.failures = append(l.failures, err)
	}
}

// served waits for a GET answered on a connection that the condition holds for.
func (l *load) served(what string, holds func(*tls.ConnectionState) bool) {
	l.h.t.Helper()
	l.h.until(what, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range l.states {
			if s != nil && holds(s) {
				return true
			}
		}
		return false
	})
}

// stop ends the load; every change must have been delivered by its first attempt, every GET answered with 200.
func (l *load) stop() {
	l.h.t.Helper()
	l.cancel()
	l.workers.Wait()
	require.Empty(l.h.t, l.failures)
	for _, a := range l.changes {
		n := l.h.settled(a, 1)
		require.Equal(l.h.t, "delivered", n.State, "%v", detail(n))
		require.Len(l.h.t, n.Attempts, 1)
	}
	l.h.t.Logf("%d notifications and %d GETs under load, none failed", len(l.changes), l.gets)
}

func detail(n stage.Notification) string {
	if len(n.Attempts) == 0 || n.Attempts[len(n.Attempts)-1].Detail == nil {
		return n.State
	}
	return *n.Attempts[len(n.Attempts)-1].Detail
}
