package bank

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arauto/arauto/internal/api"
	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/evidence"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/intake"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/lab/openapicheck"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/registry"
)

// The database that tests share ends with the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/arauto/arauto/internal/lab/temppostgres.startChild.func1"))
}

// tokens knows tokens by name: the roles of a good one are its text, joined by a plus sign.
type tokens struct{}

func (tokens) Verify(token string) (jws.Principal, error) {
	switch token {
	case "bad":
		return jws.Principal{}, &jws.Refusal{Code: jws.Expired, Claim: "exp", Why: "has passed"}
	case "nokeys":
		return jws.Principal{}, fmt.Errorf("fetch: %w", jws.ErrUnavailable)
	}
	return jws.Principal{Subject: "who-" + token, Roles: strings.Split(token, "+")}, nil
}

// memory is what intake stores into: the revisions of each resource, in a map.
type memory struct {
	mu        sync.Mutex
	revisions map[notice.Key]map[int64]*notice.Revision
	current   map[notice.Key]*notice.Resource
	sources   []string
	fail      func(*notice.Change) error
	gate      chan struct{} // when set, each commit waits for it
	waiting   int           // changes whose commit came to the gate
}

func newMemory() *memory {
	return &memory{revisions: map[notice.Key]map[int64]*notice.Revision{}, current: map[notice.Key]*notice.Resource{}}
}

func (m *memory) Record(_ context.Context, changes []*notice.Change, judge func([]notice.Past) []notice.Decision) error {
	m.mu.Lock()
	gate := m.gate
	m.waiting += len(changes)
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		if m.fail != nil {
			if err := m.fail(c); err != nil {
				return err
			}
		}
	}
	pasts := make([]notice.Past, len(changes))
	for i, c := range changes {
		pasts[i] = notice.Past{Resource: m.current[c.Key()], Same: m.revisions[c.Key()][c.Revision], Push: true, Epoch: 1}
	}
	for i, d := range judge(pasts) {
		c := changes[i]
		m.sources = append(m.sources, c.Source+" "+c.Actor)
		if d.Verdict != notice.Applied && d.Verdict != notice.Superseded {
			continue
		}
		if m.revisions[c.Key()] == nil {
			m.revisions[c.Key()] = map[int64]*notice.Revision{}
		}
		r := &notice.Revision{Number: c.Revision, ChangeID: c.ID, State: c.State, Cause: c.Cause, OccurredAt: c.OccurredAt, Silence: d.Judged.Silence}
		if d.Announce != nil {
			r.Notification = d.Announce.ID
		}
		m.revisions[c.Key()][c.Revision] = r
		if d.Current {
			m.current[c.Key()] = &notice.Resource{Client: c.Client, APIVersion: c.APIVersion, Revision: c.Revision, State: c.State, OccurredAt: c.OccurredAt}
		}
	}
	return nil
}

// came tells whether so many changes have come to the gate.
func (m *memory) came(n int) func() bool {
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.waiting == n
	}
}

func (m *memory) stored() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.revisions {
		n += len(r)
	}
	return n
}

// pastes finds one fault: a member "bad".
type pastes struct{}

func (pastes) Check(_ ofb.Kind, _ string, data map[string]any) []notice.Problem {
	if _, there := data["bad"]; there {
		return []notice.Problem{{Pointer: "/data/bad", Code: "unknown_member", Detail: "not a member", DetailPT: "não é um membro"}}
	}
	return nil
}

// missing is an error as the store makes it.
type missing struct{ error }

func (missing) NotFound() bool { return true }

type contradiction string

func (c contradiction) Error() string { return string(c) }
func (contradiction) Conflict() bool  { return true }

type passing struct{ error }

func (passing) Transient() bool { return true }

var errMissing = missing{errors.New("no row")}

// shelf is a history, a resender, a quarantine and a registry whose answers a test sets.
type shelf struct {
	mu            sync.Mutex
	notifications func(context.Context, history.Filter) ([]history.Record, history.Position, error)
	notification  func(notice.ID) (history.Record, error)
	timeline      func(notice.Key) (history.Timeline, error)
	ping          error
	resend        func(id notice.ID, actor, reason string) (notice.ID, error)
	cases         func(state string, limit int) ([]notice.Case, error)
	casesAfter    history.Position
	moreCases     bool
	casesFilter   notice.CaseFilter
	aCase         func(notice.ID) (notice.Case, error)
	dismiss       func(id notice.ID, actor, reason string) (bool, error)
	openCases     []notice.ID
	acts          []string
	readings      []history.LogReading
	unrecorded    error // what RecordReading answers
	put           func(notice.ClientID, registry.Request, string) (notice.Initiator, bool, error)
	get           func(notice.ClientID) (notice.Initiator, error)
	list          func(notice.InitiatorQuery) ([]notice.Initiator, error)
	remove        func(notice.ClientID, string) error
}

func (s *shelf) Notifications(ctx context.Context, f history.Filter) ([]history.Record, history.Position, error) {
	if s.notifications == nil {
		return nil, history.Position{}, nil
	}
	return s.notifications(ctx, f)
}

func (s *shelf) Notification(_ context.Context, id notice.ID) (history.Record, error) {
	if s.notification == nil {
		return history.Record{}, errMissing
	}
	return s.notification(id)
}

func (s *shelf) Timeline(_ context.Context, key notice.Key) (history.Timeline, error) {
	if s.timeline == nil {
		return history.Timeline{}, errMissing
	}
	return s.timeline(key)
}

func (s *shelf) CursorKey(context.Context) ([]byte, error) { return []byte("key of this test"), nil }
func (s *shelf) Ping(context.Context) error                { return s.ping }

func (s *shelf) RecordReading(ctx context.Context, r history.LogReading) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unrecorded != nil {
		return s.unrecorded
	}
	if r.Actor == (history.Actor{}) {
		r.Actor, _ = ctx.Value(history.ActorKey{}).(history.Actor)
	}
	s.readings = append(s.readings, r)
	return nil
}

func (s *shelf) recorded() []history.LogReading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.readings)
}

func (s *shelf) Resend(_ context.Context, id notice.ID, actor, reason string) (notice.ID, error) {
	if s.resend == nil {
		return notice.ID{}, errMissing
	}
	return s.resend(id, actor, reason)
}

func (s *shelf) Resendable(context.Context, notice.ID) error { return nil }

func (s *shelf) Cases(_ context.Context, state string, after history.Position, limit int) (cases []notice.Case, more bool, err error) {
	s.casesAfter = after
	if s.cases != nil {
		cases, err = s.cases(state, limit)
	}
	return cases, s.moreCases, err
}

func (s *shelf) Case(_ context.Context, id notice.ID) (notice.Case, error) {
	if s.aCase == nil {
		return notice.Case{}, errMissing
	}
	return s.aCase(id)
}

func (s *shelf) Dismiss(_ context.Context, id notice.ID, actor, reason string) (bool, error) {
	if s.dismiss == nil {
		return false, nil
	}
	return s.dismiss(id, actor, reason)
}

func (s *shelf) OpenCaseIDs(_ context.Context, f notice.CaseFilter, _ int) ([]notice.ID, error) {
	s.casesFilter = f
	return s.openCases, nil
}

func (s *shelf) RecordAct(_ context.Context, act, object, reason string) error {
	s.acts = append(s.acts, act+" "+object+" "+reason)
	return nil
}

// nothing is a log without entries, exports and holds, and all else of which nothing is known; what auditors do is tested on a real log.
type nothing struct{}

func (nothing) Search(context.Context, history.Search, history.Position, int) (audit.Page, error) {
	return audit.Page{}, errMissing
}

func (nothing) Checkpoint(context.Context, int64) (audit.SignedHead, error) {
	return audit.SignedHead{}, errMissing
}

func (nothing) CheckpointAt(context.Context, time.Time) (audit.SignedHead, error) {
	return audit.SignedHead{}, errMissing
}

func (nothing) Consistency(context.Context, int64, int64) (audit.Consistency, ed25519.PublicKey, error) {
	return audit.Consistency{}, nil, errMissing
}
func (nothing) LogKey(context.Context) (ed25519.PublicKey, error) { return nil, nil }
func (nothing) Open(context.Context, int64) (evidence.SealedLog, func(), error) {
	return nil, nil, errMissing
}

func (nothing) RequestExport(context.Context, history.Export) (history.Export, error) {
	return history.Export{}, errMissing
}
func (nothing) Exports(context.Context) ([]history.Export, error) { return nil, nil }
func (nothing) Export(context.Context, notice.ID) (history.Export, error) {
	return history.Export{}, errMissing
}
func (nothing) ExportPiece(context.Context, notice.ID, int) ([]byte, error) { return nil, nil }
func (nothing) DeleteExport(context.Context, notice.ID) error               { return errMissing }
func (nothing) PlaceHold(context.Context, history.Hold) (history.Hold, bool, error) {
	return history.Hold{}, false, errMissing
}
func (nothing) LiftHold(context.Context, string, string) error { return errMissing }
func (nothing) Holds(context.Context) ([]history.Hold, error)  { return nil, nil }
func (nothing) Hold(context.Context, string) (history.Hold, error) {
	return history.Hold{}, errMissing
}

// registrations are the shelf's other half: its methods have names of their own.
type registrations struct{ *shelf }

func (r registrations) Put(_ context.Context, c notice.ClientID, b registry.Request, actor string) (notice.Initiator, bool, error) {
	if r.put == nil {
		return notice.Initiator{Client: c}, true, nil
	}
	return r.put(c, b, actor)
}

func (registrations) Judge(context.Context, notice.ClientID, registry.Request, string) error {
	return nil
}

func (r registrations) Get(_ context.Context, c notice.ClientID) (notice.Initiator, error) {
	if r.get == nil {
		return notice.Initiator{}, errMissing
	}
	return r.get(c)
}

func (r registrations) List(_ context.Context, q notice.InitiatorQuery) ([]notice.Initiator, error) {
	if r.list == nil {
		return nil, nil
	}
	return r.list(q)
}

func (r registrations) Delete(_ context.Context, c notice.ClientID, actor string) error {
	if r.remove == nil {
		return errMissing
	}
	return r.remove(c, actor)
}

// watcher notes what an Observer is told.
type watcher struct {
	mu       sync.Mutex
	answered []string
	lines    map[int]int
	streams  int
	panics   int
	told     chan struct{}
}

func (w *watcher) Answered(listener, route, method string, status int, _ time.Duration) {
	w.mu.Lock()
	w.answered = append(w.answered, fmt.Sprintf("%s %s %s %d", listener, method, route, status))
	w.mu.Unlock()
	select {
	case w.told <- struct{}{}:
	default:
	}
}

func (w *watcher) Line(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[status]++
}

func (w *watcher) Streaming(change int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams += change
}

func (w *watcher) Panicked(string, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.panics++
}

// journal is a log that a test reads.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// world is an internal listener with everything behind it.
type world struct {
	t       testing.TB
	api     *Internal
	socket  *net.TCPListener
	dial    func() (net.Conn, error)
	intake  *intake.Intake
	memory  *memory
	shelf   *shelf
	watcher *watcher
	journal *journal
	client  *http.Client
	url     string
	addr    string
	faked   bool // errors that its routes cannot have: its answers are not held against the document
}

// newWorld serves on a real TCP port; change adapts the configuration.
func newWorld(t testing.TB, change ...func(*InternalConfig)) *world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := newWorldOn(t, listener, change...)
	w.socket, _ = listener.(*net.TCPListener)
	w.dial = func() (net.Conn, error) { return net.Dial("tcp", w.addr) }
	return w
}

// newPipedWorld serves on connections in memory, so that it can live in virtual time. Its client is open.
func newPipedWorld(t testing.TB, change ...func(*InternalConfig)) *world {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	w := newWorldOn(t, p, change...)
	w.dial = p.dial
	return w
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial() (net.Conn, error) {
	theirs, ours := net.Pipe()
	p.conns <- ours
	return theirs, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

func newWorldOn(t testing.TB, listener net.Listener, change ...func(*InternalConfig)) *world {
	t.Helper()
	ownDocument() // reading it is no part of any answer's time
	w := &world{
		t: t, memory: newMemory(), shelf: &shelf{}, watcher: &watcher{lines: map[int]int{}, told: make(chan struct{}, 1)}, journal: &journal{},
	}
	w.intake = intake.New(intake.Config{
		Store: w.memory, Schema: pastes{}, NewID: func() notice.ID { return notice.ID(uuid.Must(uuid.NewV7())) },
		GiveUp: 200 * time.Millisecond,
	})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); w.intake.Run(ctx) }()

	log := slog.New(slog.NewJSONHandler(w.journal, nil))
	cfg := InternalConfig{
		Tokens: tokens{}, Changes: w.intake, History: w.shelf, Resender: w.shelf, Quarantine: w.shelf, Initiators: registrations{w.shelf},
		Audited: nothing{}, Exports: nothing{}, Holds: nothing{}, Readings: w.shelf, Requests: nothing{}, Clock: nothing{}, Prober: nothing{},
		Verifications: nothing{}, Calls: nothing{}, Figures: nothing{}, Polling: nothing{}, Finder: nothing{}, Settings: nothing{}, Checks: nothing{},
		ResendEnabled: true, Observer: w.watcher, Log: log,
	}
	for _, c := range change {
		c(&cfg)
	}
	w.api = NewInternal(cfg)
	server := api.NewServer(w.api, nil, log)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	w.addr = listener.Addr().String()
	w.url = "http://" + w.addr
	w.client = &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 30 * time.Second}
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		w.api.Drain()
		end, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Shutdown(end); err != nil {
			_ = server.Close()
			t.Errorf("a request outlived the test: %v", err)
		}
		<-served
		stop()
		<-ran
	})
	return w
}

// reply is an answer, read in full.
type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// ask makes a request with a token ("" for none) and headers "Name: value".
func (w *world) ask(method, path, token, body string, headers ...string) reply {
	w.t.Helper()
	out := w.send(method, path, token, body, headers...)
	if out.text != "" {
		require.NoError(w.t, json.Unmarshal([]byte(out.text), &out.body), "%s %s: %s", method, path, out.text)
	}
	return out
}

// ownDocument is the document that every answer of these tests is held against.
var ownDocument = sync.OnceValue(func() *openapicheck.Document {
	d, err := openapicheck.Open("internal.yaml")
	if err != nil {
		panic("bank: " + err.Error())
	}
	return d
})

// send is ask for answers that are no JSON.
func (w *world) send(method, path, token, body string, headers ...string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	got, err := w.client.Do(r)
	require.NoError(w.t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(w.t, err)
	if err := ownDocument().Check(r, got.StatusCode, got.Header, text); err != nil && !w.faked {
		w.t.Errorf("openapi/internal.yaml does not describe the answer to %s %s: %d %s\n%v", method, path, got.StatusCode, text, err)
	}
	return reply{status: got.StatusCode, header: got.Header, text: string(text)}
}

// refused checks the one shape of an error (contract, "Errors of the internal API").
func (r reply) refused(t testing.TB, status int, code string) {
	t.Helper()
	require.Equal(t, status, r.status, r.text)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
	require.NoError(t, uuid.Validate(r.header.Get("x-request-id")))
	require.Equal(t, code, r.body["error"])
	require.NotEmpty(t, r.body["error_description"])
	problems, there := r.body["errors"].([]any)
	require.Equal(t, status == 400 || status == 422, there, "errors stand on 400 and 422 alone: %s", r.text)
	if there {
		require.NotEmpty(t, problems)
		for _, p := range problems {
			require.Len(t, p, 3)
			require.Contains(t, p, "pointer")
			require.NotEmpty(t, p.(map[string]any)["code"])
			require.NotEmpty(t, p.(map[string]any)["detail"])
		}
	}
	if status == 503 {
		require.Equal(t, "1", r.header.Get("Retry-After"))
	}
}

func payment(id string, revision int, status string, more ...string) string {
	return fmt.Sprintf(`{"kind":"pix-payment","clientId":"itp","apiVersion":"v5","revision":%d,"occurredAt":"2026-11-21T12:00:00Z","data":{"paymentId":%q,"status":%q%s}}`,
		revision, id, status, strings.Join(more, ""))
}
