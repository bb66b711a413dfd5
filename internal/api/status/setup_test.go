package status_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/api/status"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/mtlstest"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/spool"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
	"github.com/arauto/arauto/openapi"
)

// The database that tests share ends with the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/arauto/arauto/internal/lab/temppostgres.startChild.func1"))
}

const (
	statusBase     = "https://api.banco.example.com"
	statusIssuer   = "https://auth.banco.example.com"
	statusAudience = "https://api.banco.example.com/open-banking"
	clientAlfa     = "client-alfa"
	clientBeta     = "client-beta"
	sealKID        = "seal-1"
)

// desk is a public listener over real mutual TLS, before a real database, with two registered initiators.
type desk struct {
	t      testing.TB
	url    string // of the database
	store  *store.Store
	intake *intake.Intake
	spool  *spool.Spool
	public *status.Public
	addr   string
	log    *lines
	alfa   *poller
	beta   *poller
	seal   *rsa.PrivateKey

	reading sync.Mutex
	reader  *pgx.Conn // of entries, which many tests read again and again; nil: nobody has
}

// lines is a log that tests read.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// judged makes our API documents what the intake asks.
type judged struct{ *openapi.Schemas }

func (s judged) Check(kind ofb.Kind, version string, data map[string]any) []notice.Problem {
	return s.Schemas.Check(kind, version, data)
}

// documents are read once for all tests.
var documents = sync.OnceValues(func() (*openapi.Schemas, error) { return openapi.Load() })

// openDesk starts a listener; adjust may change its configuration.
func openDesk(t testing.TB, adjust ...func(*status.PublicConfig, *spool.Config)) *desk {
	t.Helper()
	return openDeskOn(t, storetest.Database(t), adjust...)
}

func openDeskOn(t testing.TB, url string, adjust ...func(*status.PublicConfig, *spool.Config)) *desk {
	t.Helper()
	d := &desk{t: t, url: url, log: &lines{}}
	var err error
	d.store, err = store.Open(t.Context(), store.Options{URL: url, Replica: "replica-1", Version: "0"})
	require.NoError(t, err)
	t.Cleanup(d.store.Close)
	schemas, err := documents()
	require.NoError(t, err)
	pki := mtlstest.PKI(t)
	d.alfa, d.beta = newPoller(t, d, clientAlfa, certs.DefaultAlfa), newPoller(t, d, clientBeta, certs.DefaultBeta)
	d.seal = sealKey(t)
	signers, err := jws.OpenSigners(jws.SignersConfig{Keys: []jws.SigningKey{{KID: sealKID, Key: d.seal}}})
	require.NoError(t, err)
	keys, err := jws.ParseKeySet(certs.JWKS(pki.Tokens))
	require.NoError(t, err)

	public := status.PublicConfig{
		BaseURL: statusBase, OrganisationID: certs.DefaultHolder.ID, Keys: signers, Resources: d.store, Timers: ofb.Kinds(), Outgoing: schemas,
		Tokens: &jws.AccessVerifier{Keys: jws.FixedKeySet(keys), Issuer: statusIssuer, Audience: statusAudience},
		Log:    slog.New(slog.NewJSONHandler(d.log, nil)),
	}
	// A test that is not about the spool finds each record in the history as soon as its answer came, on a busy machine too.
	spooling := spool.Config{Store: d.store, Dir: t.TempDir(), Log: public.Log, Patience: time.Minute}
	for _, a := range adjust {
		a(&public, &spooling)
	}
	d.spool, err = spool.Open(spooling)
	require.NoError(t, err)
	if public.Polls == nil {
		public.Polls = d.spool
	}
	d.public, err = status.NewPublic(public)
	require.NoError(t, err)
	d.intake = intake.New(intake.Config{Store: d.store, Schema: judged{cmp.Or(public.Outgoing, schemas)}, NewID: store.NewID, Timers: public.Timers})
	d.start()
	return d
}

// start runs the loops and the server, and ends them in order with the test.
func (d *desk) start() {
	ctx, stop := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() { d.spool.Run(ctx) })
	loops.Go(func() { d.intake.Run(ctx) })
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(d.t, err)
	config := mtls.ServerConfig(mtlstest.HolderServer(d.t), mtlstest.ClientCAs(d.t))
	server := d.public.Server(config)
	d.addr = inner.Addr().String()
	loops.Go(func() { _ = server.Serve(mtls.Listen(inner, config, nil)) })
	d.t.Cleanup(func() {
		_ = server.Close()
		stop()
		loops.Wait()
		require.NoError(d.t, d.spool.Close())
	})
}

// register makes an initiator known.
func (d *desk) register(p *poller) *desk {
	d.t.Helper()
	_, _, err := d.store.PutInitiator(d.t.Context(), notice.Initiator{
		Client: notice.ClientID(p.client), OrganisationID: p.is.Organisation.ID, SoftwareID: p.is.SoftwareID, Name: p.is.Name,
	}, "test")
	require.NoError(d.t, err)
	return d
}

// both registers both initiators.
func (d *desk) both() *desk { return d.register(d.alfa).register(d.beta) }

// accept hands a document in as the core does, and returns when it is committed.
func (d *desk) accept(client string, kind ofb.Kind, version string, revision int, document []byte) intake.Answer {
	d.t.Helper()
	line, err := json.Marshal(map[string]any{
		"kind": kind.String(), "clientId": client, "apiVersion": version, "revision": revision,
		"occurredAt": time.Now().UTC().Format(time.RFC3339Nano), "data": json.RawMessage(document),
	})
	require.NoError(d.t, err)
	a, err := d.intake.Accept(d.t.Context(), line, intake.Origin{Source: "api", Actor: "core"})
	require.NoError(d.t, err)
	require.Equal(d.t, notice.Applied, a.Verdict, "%v", a.Problems)
	return a
}

// entries reads the polls of the history, oldest first.
func (d *desk) entries() []pollEntry {
	d.t.Helper()
	d.reading.Lock()
	defer d.reading.Unlock()
	if d.reader == nil {
		var err error
		d.reader, err = pgx.Connect(d.t.Context(), d.url)
		require.NoError(d.t, err)
		d.t.Cleanup(func() { d.reader.Close(context.Background()) })
	}
	rows, err := d.reader.Query(d.t.Context(), `SELECT e.id::text, coalesce(client_id, ''), coalesce(resource_kind, 0), coalesce(resource_id, ''),
interaction_id::text, outcome, facts FROM arauto.entry e WHERE kind = 'poll' AND notification_id IS NULL AND number IS NULL ORDER BY e.id`)
	require.NoError(d.t, err)
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pollEntry, error) {
		var e pollEntry
		var facts []byte
		err := row.Scan(&e.id, &e.client, &e.kind, &e.resource, &e.interaction, &e.outcome, &facts)
		require.NoError(d.t, json.Unmarshal(facts, &e.facts))
		return e, err
	})
	require.NoError(d.t, err)
	return found
}

type pollEntry struct {
	id, client            string
	kind                  int16
	resource, interaction string
	outcome               string
	facts                 notice.PollFacts
}

// poller is an initiator that asks.
type poller struct {
	t      testing.TB
	d      *desk
	client string
	is     certs.Participant
	leaf   certs.Leaf
	http   *http.Client

	mu   sync.Mutex
	kept string // the token of its queries
	from time.Time
}

func newPoller(t testing.TB, d *desk, client string, is certs.Participant) *poller {
	t.Helper()
	leaf := mtlstest.Leaf(t, mtlstest.PKI(t).InitiatorBRCAC(is))
	return pollerWith(t, d, client, is, leaf)
}

func pollerWith(t testing.TB, d *desk, client string, is certs.Participant, leaf certs.Leaf) *poller {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: mtlstest.InitiatorConfig(t, leaf), MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	return &poller{
		t: t, d: d, client: client, is: is, leaf: leaf,
		http: &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// usual is the token of the poller's queries. It is kept for a while, as initiators do.
func (p *poller) usual() string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.from) > 5*time.Minute {
		p.kept, p.from = p.token(), time.Now()
	}
	return p.kept
}

// token issues an access token bound to the poller's certificate; edit may spoil it.
func (p *poller) token(edit ...func(map[string]any)) string {
	p.t.Helper()
	now := time.Now()
	c := map[string]any{
		"iss": statusIssuer, "aud": statusAudience, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": uuid.NewString(),
		"client_id": p.client, "scope": "payments recurring-payments", "grant_type": "client_credentials",
		"cnf": map[string]any{"x5t#S256": mtls.Thumbprint(p.leaf.Certificate)},
	}
	for _, e := range edit {
		e(c)
	}
	key := mtlstest.PKI(p.t).Tokens
	token, err := jws.Issue(key.Key, key.KID, c)
	require.NoError(p.t, err)
	return token
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get asks for a path; change may spoil the request.
func (p *poller) get(path string, change ...func(*http.Request)) answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "https://"+p.d.addr+path, nil)
	require.NoError(p.t, err)
	r.Header.Set("Authorization", "Bearer "+p.usual())
	r.Header.Set("x-fapi-interaction-id", uuid.NewString())
	for _, c := range change {
		c(r)
	}
	response, err := p.http.Do(r)
	require.NoError(p.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return answer{response.StatusCode, response.Header, body}
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func without(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }

// signed is the payload of an answer, after its signature was verified without the product's code.
type signed struct {
	Data  json.RawMessage `json:"data"`
	Links map[string]string
	Meta  map[string]string
	Iss   string
	Aud   json.RawMessage
	Iat   int64
	JTI   string
}

// open verifies a signed answer by hand: PS256 with the holder's public key, exactly three members in the header.
func (d *desk) open(a answer) signed {
	d.t.Helper()
	require.Equal(d.t, http.StatusOK, a.status, "%s", a.body)
	require.Equal(d.t, "application/jwt", a.header.Get("Content-Type"))
	parts := strings.Split(string(a.body), ".")
	require.Len(d.t, parts, 3)
	require.Equal(d.t, map[string]any{"alg": "PS256", "kid": sealKID, "typ": "JWT"}, d.header(a))
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	require.NoError(d.t, rsa.VerifyPSS(&d.seal.PublicKey, crypto.SHA256, digest[:], unbase64(d.t, parts[2]),
		&rsa.PSSOptions{SaltLength: sha256.Size, Hash: crypto.SHA256}))
	var s signed
	require.NoError(d.t, json.Unmarshal(unbase64(d.t, parts[1]), &s))
	return s
}

// header is the JOSE header of an answer.
func (d *desk) header(a answer) map[string]any {
	d.t.Helper()
	require.Equal(d.t, http.StatusOK, a.status, "%s", a.body)
	var header map[string]any
	require.NoError(d.t, json.Unmarshal(unbase64(d.t, strings.Split(string(a.body), ".")[0]), &header))
	return header
}

// payload is the whole payload, decoded.
func (d *desk) payload(a answer) map[string]any {
	d.t.Helper()
	d.open(a)
	var whole map[string]any
	require.NoError(d.t, json.Unmarshal(unbase64(d.t, strings.Split(string(a.body), ".")[1]), &whole))
	return whole
}

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

// requireRefused checks the whole form of an error: status, code, media type, meta, interaction id, and that nothing
// that was asked for is repeated.
func (d *desk) requireRefused(a answer, status int, code string, secrets ...string) {
	d.t.Helper()
	require.Equal(d.t, status, a.status, "%s", a.body)
	require.Equal(d.t, "application/json; charset=utf-8", a.header.Get("Content-Type"))
	require.NotEmpty(d.t, a.header.Get("Date"))
	require.Regexp(d.t, `^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`, a.header.Get("x-fapi-interaction-id"))
	var body struct {
		Errors []struct{ Code, Title, Detail string }
		Meta   struct{ RequestDateTime string }
	}
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.DisallowUnknownFields()
	require.NoError(d.t, decoder.Decode(&body))
	require.Len(d.t, body.Errors, 1)
	require.Equal(d.t, code, body.Errors[0].Code)
	require.NotEmpty(d.t, body.Errors[0].Title)
	require.NotEmpty(d.t, body.Errors[0].Detail)
	_, err := time.Parse("2006-01-02T15:04:05Z", body.Meta.RequestDateTime)
	require.NoError(d.t, err)
	for _, s := range secrets {
		require.NotContains(d.t, string(a.body), s)
	}
	if status == http.StatusUnauthorized {
		require.Contains(d.t, a.header.Get("WWW-Authenticate"), "Bearer")
	}
}

// sample is a document of a kind in its first version, with its id.
func sample(kind ofb.Kind, version string, status ofb.Status, n int, options ...openapitest.Option) (id string, document []byte) {
	id = openapitest.SampleID(kind, n)
	return id, openapitest.Document(kind, version, status, id, options...)
}

// readTimeline lists the kinds of entries of a resource, as the internal listener reads them.
func readTimeline(t testing.TB, d *desk, kind ofb.Kind, id string) []string {
	t.Helper()
	timeline, err := auditlog.New(d.store.Access()).Timeline(t.Context(), notice.Key{Kind: kind, ID: id})
	require.NoError(t, err)
	var kinds []string
	for _, e := range timeline.Events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// offDuty cannot judge tokens, as when the authorisation server is away.
type offDuty struct{}

func (offDuty) Verify(context.Context, string) (jws.AccessToken, error) {
	return jws.AccessToken{}, fmt.Errorf("introspection: %w", jws.ErrUnavailable)
}
