package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/webhook"
)

// loopback is where local receivers are.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// lines is an output that a test waits on.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // capacity 1
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.grown <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

// String is all that was printed so far.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits for a text and returns what of it the first group matched.
func (l *lines) until(t *testing.T, pattern string) string {
	t.Helper()
	return l.within(t, pattern, 20*time.Second)
}

// within is until, for what is silent for longer than 20 s.
func (l *lines) within(t *testing.T, pattern string, silence time.Duration) string {
	t.Helper()
	for {
		l.mu.Lock()
		found := regexp.MustCompile(pattern).FindStringSubmatch(l.text.String())
		l.mu.Unlock()
		if found != nil {
			return found[len(found)-1]
		}
		select {
		case <-l.grown:
		case <-time.After(silence):
			t.Fatalf("%q was not printed; there is:\n%s", pattern, l)
		}
	}
}

// localReceiver is `arauto listen` under a development PKI.
type localReceiver struct {
	out    *lines
	addr   string
	folder string
	stop   context.CancelFunc
	code   chan int
}

func listening(t *testing.T, args ...string) *localReceiver {
	t.Helper()
	p, err := pki()
	require.NoError(t, err)
	r := &localReceiver{out: &lines{grown: make(chan struct{}, 1)}, folder: t.TempDir(), code: make(chan int, 1)}
	require.NoError(t, p.Write(r.folder, certs.Content{Overwrite: true}))
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	t.Cleanup(r.stop)
	go func() {
		r.code <- run(ctx, world{nil, r.out, r.out}, append([]string{"listen", "--pki", r.folder, "--addr", "127.0.0.1:0"}, args...))
	}()
	r.addr = r.out.until(t, `https://127\.0\.0\.1:(\d+)[;"]`)
	return r
}

// TestAReceiverMayShowACertificateThatEveryHolderRefuses rehearses what the holder then sees.
func TestAReceiverMayShowACertificateThatEveryHolderRefuses(t *testing.T) {
	p, err := pki()
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, p.Write(folder, certs.Content{Bad: true}))
	for flag, says := range map[string]string{"--serve-expired": "expired", "--serve-wrong-name": "not valid for any names|not localhost|certificate is valid for other"} {
		r := listening(t, flag, "--pki", folder)
		got := call(t, 20*time.Second, r.environ(), "preflight", "https://localhost:"+r.addr+"/hook")
		require.Equal(t, failed, got.code, got.out)
		require.Regexp(t, says, got.out)
	}
	without := listening(t)
	without.stop()
	kept := port.For(t)
	got := call(t, 20*time.Second, nil, "listen", "--pki", without.folder, "--addr", kept.Address(), "--serve-expired")
	require.Equal(t, usage, got.code)
	require.Contains(t, got.errors, "certs --bad")
	_, err = net.Dial("tcp", kept.Address())
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "who is refused listens nowhere")
}

func (r *localReceiver) environ() []string {
	return []string{
		"ARAUTO_PROFILE=development", "ARAUTO_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8,::1/128",
		"ARAUTO_WEBHOOK_TLS_CERT=" + filepath.Join(r.folder, "holder/brcac.pem"), "ARAUTO_WEBHOOK_TLS_KEY=" + filepath.Join(r.folder, "holder/brcac.key"),
		"ARAUTO_WEBHOOK_ROOT_CA=" + filepath.Join(r.folder, "trust/roots.pem"),
	}
}

func (r *localReceiver) sender(t *testing.T) (*mtls.Identity, *mtls.Anchors) {
	t.Helper()
	id, err := mtls.LoadIdentity(filepath.Join(r.folder, "holder/brcac.pem"), filepath.Join(r.folder, "holder/brcac.key"), mtls.AsClient)
	require.NoError(t, err)
	roots, err := mtls.LoadAnchors(filepath.Join(r.folder, "trust/roots.pem"))
	require.NoError(t, err)
	return id, roots
}

func TestTheLocalReceiverShowsWhatTheProductSendsAndFindsNothingWrong(t *testing.T) {
	r := listening(t, "--answer", "503,202")
	id, roots := r.sender(t)
	s := webhook.New(webhook.Config{Identity: id, Roots: roots, Guard: webhook.NewGuard(loopback, nil), AuthorisationServerID: "c8f0bf49-4744-4933-8960-7add6e590841"})
	defer s.Close()
	for n, kind := range ofb.Kinds() {
		id, event := "urn:banco:1", ofb.NoEventType
		if kind.CheckID(id) != nil {
			id = "p-1"
		}
		if kind.HasEventType() {
			event = ofb.StateChanged
		}
		got, err := s.Send(t.Context(), notice.Attempt{
			Interaction: notice.ID{6: 0x40, 8: 0x80, 15: byte(n)}, Client: "itp", Kind: kind, ResourceID: id, APIVersion: kind.Versions()[0], Event: event,
			EventAt: time.Now().UTC().Truncate(time.Second), Number: 1, BaseURI: "https://localhost:" + r.addr + "/hook", ClaimedAt: time.Now(),
		})
		require.NoError(t, err)
		require.Equal(t, map[bool]int{true: 503, false: 202}[n == 0], got.HTTPStatus, got.Detail)
		require.Equal(t, notice.EchoMatch, got.Echo)
	}
	shown := r.out.until(t, `(?s)^(.*#5.*answer 202\n)`)
	require.NotContains(t, shown, "WRONG")
	require.Contains(t, shown, "/hook/open-banking/webhook/v1/payments/v4/consents/urn:banco:1")
	r.stop()
	require.Equal(t, done, <-r.code)
}

func TestTheLocalReceiverNamesEveryMistakeOfARequest(t *testing.T) {
	r := listening(t)
	id, roots := r.sender(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: mtls.ClientConfig(id, roots, "localhost")}}
	defer client.CloseIdleConnections()
	ask := func(method, path, body string, header ...string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://localhost:"+r.addr+path, strings.NewReader(body))
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
	}
	const good = "/open-banking/webhook/v1/enrollments/v2/enrollments/urn:b:1"
	ask("PUT", "/open-banking/webhook/v1/payments/v9/consents/x?a=b", `{"data":{"timestamp":"2026-11-21T12:00:00.5Z","eventType":"X"}}`, "Content-Type", "text/plain", "X-Webhook-Interaction-Id", "7")
	ask("POST", good, `{}`, "Content-Type", "application/json; charset=utf-8")
	ask("POST", good, `{"data":{"timestamp":"2026-11-21T12:00:00Z","status":"ACSC"}}`)
	ask("POST", good+"/more", `no`)
	const payments, once = "/open-banking/webhook/v1/payments/v5/", "3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11"
	ask("POST", payments+"consents/no-urn", `{"data":{"timestamp":"2026-11-21T12:00:00Z","eventType":"STATE_CHANGED"}}`, "Content-Type", "application/json", "X-Webhook-Interaction-Id", once)
	ask("POST", good, `{"data":{"timestamp":"2026-11-21T12:00:00Z"}}`, "X-Webhook-Interaction-Id", once)
	ask("POST", payments+"pix/payments/p-1", `{"data":{"TimeStamp":"2026-11-21T12:00:00Z"}}`)
	ask("POST", payments+"pix/payments/p-1", `{"data":{"timestamp":"2026-11-21T12:00:00Z"}} {}`)
	shown := r.out.until(t, `(?s)^(.*#8.*answer 202\n)`)
	for _, want := range []string{
		"method must be POST", "the path is not one of the webhook API's", "the URL has a query", `"text/plain"`, `"7" is not a UUID`, "data.timestamp must be", "data.eventType must be",
		"x-authorization-server-id is missing", "the body has no member data", `unknown field status`, `invalid character`,
		"does not have the form of consentId", "data.eventType must not be there", "data.eventType is missing", "x-webhook-interaction-id came before", `unknown field TimeStamp`,
		`invalid character '{' after top-level value`,
	} {
		require.Contains(t, shown, want)
	}
	_, err := tls.Dial("tcp", "localhost:"+r.addr, &tls.Config{RootCAs: roots.Pool(), MaxVersion: tls.VersionTLS12})
	require.Error(t, err, "who shows no certificate")
	r.out.until(t, "handshake refused")
}

// TestTheLocalReceiverSpeaksPortuguese shows a notification with a mistake, and what was missed.
func TestTheLocalReceiverSpeaksPortuguese(t *testing.T) {
	r := listening(t, "--lang", "pt", "--answer", "503")
	id, roots := r.sender(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: mtls.ClientConfig(id, roots, "localhost")}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://localhost:"+r.addr+"/open-banking/webhook/v1/payments/v5/pix/payments/x?a=b", strings.NewReader(`{"data":{"timestamp":"x"}}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	shown := r.out.until(t, `(?s)^(.*#1.*resposta 503\n)`)
	for _, want := range []string{"registre este endereço", "ERRADO  a URL tem parâmetros", "ERRADO  data.timestamp deve ser UTC", "ERRADO  x-webhook-interaction-id deve ser um UUID"} {
		require.Contains(t, shown, want)
	}
	r.stop()
	require.Equal(t, done, <-r.code)
	r.out.until(t, "(listen: 1 recebidas, 1 com erros, 0 encerradas sem resposta, 1 recursos nunca respondidos com 2xx)")
}

// notify makes a sender's attempt at a resource and returns what came back.
func (r *localReceiver) notify(t *testing.T, s *webhook.Sender, resource string, n byte) notice.Result {
	t.Helper()
	got, err := s.Send(t.Context(), notice.Attempt{
		Interaction: notice.ID{6: 0x40, 8: 0x80, 15: n}, Client: "itp", Kind: ofb.PixPayment, ResourceID: resource, APIVersion: "v4",
		EventAt: time.Now().UTC().Truncate(time.Second), Number: 1, BaseURI: "https://localhost:" + r.addr + "/hook", ClaimedAt: time.Now(),
	})
	require.NoError(t, err)
	return got
}

func (r *localReceiver) holder(t *testing.T) *webhook.Sender {
	t.Helper()
	id, roots := r.sender(t)
	s := webhook.New(webhook.Config{Identity: id, Roots: roots, Guard: webhook.NewGuard(loopback, nil)})
	t.Cleanup(s.Close)
	return s
}

func TestALocalAppGetsNotificationsAndDecidesTheAnswer(t *testing.T) {
	paths := make(chan string, 8)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		paths <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body[:17])
		w.Header().Set("X-Webhook-Interaction-Id", r.Header.Get("X-Webhook-Interaction-Id"))
		if strings.HasSuffix(r.URL.Path, "/bad") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer app.Close()
	r := listening(t, "--forward", app.URL+"/app", "--drop", "1")
	s := r.holder(t)
	require.Equal(t, notice.OutcomeConnect, r.notify(t, s, "p-1", 1).Outcome, "the first connection ends without an answer")
	got := r.notify(t, s, "p-1", 2)
	require.Equal(t, notice.OutcomeDelivered, got.Outcome, got.Detail)
	require.Equal(t, `POST /app/open-banking/webhook/v1/payments/v4/pix/payments/p-1 application/json {"data":{"timesta`, <-paths)
	require.Equal(t, http.StatusInternalServerError, r.notify(t, s, "bad", 3).HTTPStatus)
	app.Close()
	require.Equal(t, http.StatusBadGateway, r.notify(t, s, "p-2", 4).HTTPStatus)
	r.out.until(t, "WRONG  --forward: the app gave no answer")
	r.stop()
	require.Equal(t, done, <-r.code)
	end := r.out.until(t, `(?s)(listen: 4 received.*)$`)
	require.Contains(t, end, "1 dropped, 2 resources never answered with 2xx")
	require.Contains(t, end, "payments/bad (1)")
	require.NotContains(t, end, "payments/p-1 ")
}

// TestTheLocalReceiverPromisesWhatItLists: a resource of which one notification was answered is not listed, though another was missed.
func TestTheLocalReceiverPromisesWhatItLists(t *testing.T) {
	var s summary
	for _, answer := range []int{http.StatusServiceUnavailable, http.StatusAccepted, http.StatusServiceUnavailable} {
		s.add(&received{Path: "/p-1", Answer: answer})
	}
	s.add(&received{Path: "/p-2", Answer: http.StatusServiceUnavailable})
	require.Equal(t, map[string]int64{"/p-2": 1}, s.Missed)
	help := call(t, time.Minute, nil, "listen", "--help")
	require.Contains(t, strings.Join(strings.Fields(help.out), " "), "it lists the resources of which no notification was answered with 2xx while its caller waited")
}

// TestAnAnswerThatComesTooLateWasMissed: a holder that has given up reads no 202.
func TestAnAnswerThatComesTooLateWasMissed(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that listen gives up
		close(arrived)
		<-left
		<-r.Context().Done() // listen has seen that its caller has gone
		w.WriteHeader(http.StatusAccepted)
	}))
	defer app.Close()
	r := listening(t, "--forward", app.URL)
	s := r.holder(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
		close(left)
	}()
	got, err := s.Send(ctx, notice.Attempt{
		Interaction: notice.ID{6: 0x40, 8: 0x80, 15: 1}, Client: "itp", Kind: ofb.PixPayment, ResourceID: "p-1", APIVersion: "v4",
		EventAt: time.Now().UTC().Truncate(time.Second), Number: 1, BaseURI: "https://localhost:" + r.addr, ClaimedAt: time.Now(),
	})
	require.NoError(t, err)
	require.Equal(t, notice.OutcomeUnknown, got.Outcome)
	r.out.until(t, "(too late: the caller ended the connection before the answer)")
	r.stop()
	require.Equal(t, done, <-r.code)
	end := r.out.until(t, "(?s)^(.*listen: 1 received, 0 with mistakes, 0 dropped, 1 resources never answered with 2xx)")
	require.NotContains(t, end, "WRONG", "nothing is wrong with the app")
}

func TestTheLocalReceiverRefusesAnotherOrganisationAndPrintsJSON(t *testing.T) {
	r := listening(t, "--json", "--expect-organisation", certs.DefaultHolder.ID)
	s := r.holder(t)
	require.Equal(t, http.StatusAccepted, r.notify(t, s, "p-1", 1).HTTPStatus)
	other := listening(t, "--json", "--expect-organisation", "00000000-0000-4000-8000-000000000001")
	require.Equal(t, http.StatusForbidden, other.notify(t, other.holder(t), "p-1", 1).HTTPStatus)
	other.stop()
	require.Equal(t, done, <-other.code)
	var first received
	require.NoError(t, json.Unmarshal([]byte(other.out.until(t, `(?m)^(\{"number":1,.*\})$`)), &first))
	require.Equal(t, certs.DefaultHolder.ID, first.Organisation)
	require.Len(t, first.Wrong, 1)
	require.Contains(t, first.Wrong[0], "--expect-organisation")
	var last struct{ Summary summary }
	require.NoError(t, json.Unmarshal([]byte(other.out.until(t, `(?m)^(\{"summary":.*\})$`)), &last))
	require.EqualValues(t, 1, last.Summary.Received)
	require.Len(t, last.Summary.Missed, 1)

	for _, wrong := range [][]string{{"--delay", "2m"}, {"--drop", "-1"}, {"--expect-organisation", ""}, {"--expect-organisation", "not-an-org"}, {"--forward", "localhost:3000"}, {"--forward", "ftp://localhost/x"}} {
		require.Equal(t, usage, call(t, time.Minute, nil, append([]string{"listen", "--pki", r.folder}, wrong...)...).code, "%v", wrong)
	}
}

func TestPreflightSaysReadyOrWhyNot(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // no sandbox runs
	r := listening(t)
	got := call(t, time.Minute, r.environ(), "preflight", "https://localhost:"+r.addr+"/hook")
	require.Equal(t, done, got.code, got.out+got.errors)
	require.Contains(t, got.out, "preflight: ready")
	require.Equal(t, 5, strings.Count(got.out, "  ok  "), got.out)

	got = call(t, time.Minute, r.environ(), "preflight", "--lang", "pt", "https://localhost:1/hook")
	require.Equal(t, failed, got.code)
	require.Contains(t, got.out, "NÃO está pronto (conexão)")
	require.Contains(t, got.out, "inicie o receptor, ou registre a porta em que ele atende")
	got = call(t, time.Minute, r.environ(), "preflight", "--lang", "en", "https://localhost:1/hook")
	require.Contains(t, got.out, "BAD  the address refuses connections at this port (")
	require.Contains(t, got.out, "start the receiver, or register the port where it listens")

	got = call(t, time.Minute, []string{"ARAUTO_PROFILE=development", "ARAUTO_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8,::1/128"}, "preflight", "--json", "https://localhost:"+r.addr+"/hook",
		"--cert", filepath.Join(r.folder, "initiators/alfa/brcac.pem"), "--key", filepath.Join(r.folder, "initiators/alfa/brcac.key"), "--root-ca", filepath.Join(r.folder, "trust/roots.pem"))
	require.Equal(t, done, got.code, got.out+got.errors)
	var report preflightReported
	require.NoError(t, json.Unmarshal([]byte(got.out), &report))
	require.True(t, report.OK)
	require.Len(t, report.Steps, 5)

	require.True(t, report.Steps[4].Tested)

	development := []string{"ARAUTO_PROFILE=development", "ARAUTO_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8,::1/128", "LANG=pt_BR.UTF-8"}
	got = call(t, time.Minute, development, "preflight", "https://localhost:"+r.addr+"/hook", "--no-cert", "--root-ca", filepath.Join(r.folder, "trust/roots.pem"))
	require.Equal(t, done, got.code, got.out+got.errors)
	require.Regexp(t, "nosso certificado +NÃO TESTADO +o receptor exige um", got.out)
	require.Contains(t, got.out, "preflight: pronto até onde foi testado")
	got = call(t, time.Minute, development, "preflight", "https://localhost:1/hook", "--no-cert", "--root-ca", filepath.Join(r.folder, "trust/roots.pem"))
	require.Equal(t, failed, got.code)
	require.Contains(t, got.out, "FALHA  o endereço recusa conexões nesta porta (")

	got = call(t, time.Minute, nil, "preflight", "https://localhost:1/hook")
	require.Equal(t, usage, got.code)
	require.Contains(t, got.errors, "webhook.tls_cert (ARAUTO_WEBHOOK_TLS_CERT): is not set")
	require.Equal(t, usage, call(t, time.Minute, r.environ(), "preflight", "--lang", "fr", "https://localhost").code)
	got = call(t, time.Minute, []string{"LANG=pt_BR.UTF-8"}, "listen")
	require.Equal(t, usage, got.code)
	require.Contains(t, got.errors, "nenhum sandbox está em execução; inicie um com: arauto sandbox")
	require.Equal(t, usage, call(t, time.Minute, nil, "listen", "--pki", r.folder, "--answer", "42").code)
	require.NotContains(t, r.out.until(t, `(?s)^(.*)$`), "#1", "nothing was sent")
}
