package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/conformance"
	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/lab/sandbox"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// happenings are the events of a sandbox.
type happenings struct {
	mu    sync.Mutex
	all   []sandbox.Event
	grown chan struct{}
}

func newHappenings() *happenings { return &happenings{grown: make(chan struct{})} }

func (h *happenings) add(e sandbox.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, e)
	close(h.grown)
	h.grown = make(chan struct{})
}

// until waits until so many events match.
func (h *happenings) until(ctx context.Context, n int, match func(sandbox.Event) bool) error {
	for {
		h.mu.Lock()
		grown := h.grown
		h.mu.Unlock()
		if h.count(match) >= n {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// count counts the events that match.
func (h *happenings) count(match func(sandbox.Event) bool) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.all {
		if match(e) {
			n++
		}
	}
	return n
}

// playground is a sandbox with a receiver of its client alfa, and alfa's own connection to it.
type playground struct {
	*sandbox.Sandbox
	events   *happenings
	receiver *standin.Initiator
	client   *http.Client
	token    string
	ask      func(context.Context, conformance.Query) (stage.Reading, error)
}

func play(t *testing.T) *playground {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	p, err := pki()
	require.NoError(t, err)
	server, err := p.Issue(p.InitiatorServer(certs.DefaultAlfa))
	require.NoError(t, err)
	issuers := x509.NewCertPool()
	issuers.AddCert(p.ClientCA.Certificate)
	g := &playground{events: newHappenings()}
	g.receiver, err = standin.Start(standin.Options{Certificate: server.TLS(), ClientCAs: issuers})
	require.NoError(t, err)
	t.Cleanup(g.receiver.Close)
	copied, err := template()
	require.NoError(t, err)
	g.Sandbox, err = sandbox.Open(t.Context(), sandbox.Options{
		Command: product, Webhook: g.receiver.BaseURI("/hook"), Say: g.events.add, PKI: p, Template: copied, Settings: unhurried,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	identity, err := p.Issue(p.InitiatorBRCAC(certs.DefaultAlfa))
	require.NoError(t, err)
	g.client = mutual(p, identity.TLS())
	t.Cleanup(g.client.CloseIdleConnections)
	g.token = tokenOf(t, g.client, g.State.Creation, "alfa")
	ask, end, err := conformance.Deployment{PKI: g.State.PKI, Public: strings.TrimPrefix(g.State.Public, "https://")}.OpenStatus()
	require.NoError(t, err)
	t.Cleanup(end)
	g.ask = ask
	return g
}

// mutual is a client that shows a certificate.
func mutual(p *certs.PKI, certificate tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(p.Root.Certificate)
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, RootCAs: roots,
	}}}
}

// askToken asks for a token of client credentials.
func askToken(t *testing.T, c *http.Client, base, client string) (status int, body []byte) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {"payments recurring-payments"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/token", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, body
}

func tokenOf(t *testing.T, c *http.Client, base, client string) string {
	t.Helper()
	status, body := askToken(t, c, base, client)
	require.Equal(t, 200, status, string(body))
	var out struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	require.NoError(t, json.Unmarshal(body, &out))
	require.Equal(t, 900, out.ExpiresIn)
	return out.AccessToken
}

// creations are the paths of the POSTs.
var creations = map[ofb.Kind]string{
	ofb.PaymentConsent:   "/open-banking/payments/v5/consents",
	ofb.PixPayment:       "/open-banking/payments/v5/pix/payments",
	ofb.RecurringConsent: "/open-banking/automatic-payments/v2/recurring-consents",
	ofb.RecurringPayment: "/open-banking/automatic-payments/v2/pix/recurring-payments",
	ofb.Enrollment:       "/open-banking/enrollments/v2/enrollments",
}

// asking is what an initiator posts to create a resource.
func asking(kind ofb.Kind, amount, consent string) map[string]any {
	versions := kind.Versions()
	data := openapitest.Data(kind, versions[len(versions)-1], kind.Initial(), openapitest.SampleID(kind, 1))
	for _, name := range []string{
		"consentId", "paymentId", "recurringConsentId", "recurringPaymentId", "enrollmentId", "status", "creationDateTime", "statusUpdateDateTime", "debtorAccount",
	} {
		delete(data, name)
	}
	switch kind {
	case ofb.PaymentConsent:
		delete(data, "expirationDateTime")
		data["payment"].(map[string]any)["amount"] = amount
	case ofb.PixPayment:
		data["consentId"], data["payment"].(map[string]any)["amount"] = consent, amount
	case ofb.RecurringPayment:
		data["recurringConsentId"], data["payment"].(map[string]any)["amount"] = consent, amount
	case ofb.RecurringConsent:
		data["recurringConfiguration"].(map[string]any)["automatic"].(map[string]any)["maximumVariableAmount"] = amount
	case ofb.Enrollment:
		data["enrollmentName"] = "Celular " + amount
	}
	return data
}

// send posts a body as the initiator.
func (g *playground) send(ctx context.Context, path string, header http.Header, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.State.Creation+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = http.Header{"Authorization": {"Bearer " + g.token}, "Content-Type": {"application/json"}, "X-Fapi-Interaction-Id": {uuid.NewString()}}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := g.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// idMember are the members that hold a resource's own id.
var idMember = map[ofb.Kind]string{
	ofb.PaymentConsent: "consentId", ofb.PixPayment: "paymentId", ofb.RecurringConsent: "recurringConsentId", ofb.RecurringPayment: "recurringPaymentId",
	ofb.Enrollment: "enrollmentId",
}

// create posts one resource and returns its id.
func (g *playground) create(ctx context.Context, kind ofb.Kind, amount, consent string) (string, error) {
	body, err := json.Marshal(map[string]any{"data": asking(kind, amount, consent)})
	if err != nil {
		return "", err
	}
	status, answer, err := g.send(ctx, creations[kind], nil, body)
	if err != nil || status != http.StatusCreated {
		return "", fmt.Errorf("POST of a %s of %s: %d %s %w", kind, amount, status, answer, err)
	}
	var made struct{ Data map[string]any }
	if err := json.Unmarshal(answer, &made); err != nil {
		return "", err
	}
	id, _ := made.Data[idMember[kind]].(string)
	if made.Data["status"] != string(kind.Initial()) || id == "" {
		return "", fmt.Errorf("POST of a %s: the answer shows %v %q", kind, made.Data["status"], id)
	}
	return id, nil
}

// authorised posts a consent and waits until it is authorised.
func (g *playground) authorised(ctx context.Context, kind ofb.Kind, amount string) (string, error) {
	id, err := g.create(ctx, kind, amount, "")
	if err != nil {
		return "", err
	}
	return id, g.events.until(ctx, 1, func(e sandbox.Event) bool { return e.ID == id && e.Status == string(ofb.Authorised) })
}

// expected says, by hand, what the table promises: the notified states, the outcomes of the attempts of the last of them, and how many
// requests reach the receiver.
var expected = map[int]struct {
	told     string
	outcomes string
	arrive   int
}{
	0: {"ACSC", "delivered", 1}, 1: {"SCHD ACSC", "delivered", 2}, 2: {"PDNG ACSC", "delivered", 2}, 3: {"SCHD CANC", "delivered", 2},
	4: {"ACSC", "delivered", 1}, 5: {"ACSC", "delivered", 1}, 6: {"ACSC", "delivered", 1},
	7:  {"ACSC", "connect-error delivered", 1},
	8:  {"ACSC", "connect-error connect-error delivered", 1},
	9:  {"ACSC", "connect-error connect-error connect-error", 0},
	10: {"ACSC", "connect-error delivered", 2},
	11: {"ACSC", "delivered", 1},
	70: {"AUTHORISED", "delivered", 1}, 71: {"REVOKED", "delivered", 1}, 72: {"AUTHORISED", "delivered", 1}, 73: {"REJECTED", "delivered", 1},
	74: {"CONSUMED", "delivered", 1},
}

// TestEveryRowOfTheTableOfAmountsReachesAReceiver plays each row from the POST to the receiver. Rows that take more than half a minute
// are played with ARAUTO_LONG.
func TestEveryRowOfTheTableOfAmountsReachesAReceiver(t *testing.T) {
	g := play(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var all errgroup.Group
	all.SetLimit(32)
	var mu sync.Mutex
	var wrong []error
	rows := 0
	for _, o := range sandbox.Outcomes() {
		if o.Takes() > 30*time.Second && !long() {
			continue
		}
		for _, kind := range o.Kinds {
			rows++
			all.Go(func() error {
				if err := g.row(ctx, o, kind); err != nil {
					mu.Lock()
					defer mu.Unlock()
					wrong = append(wrong, fmt.Errorf("%s .%02d, %s: %w", kind, o.Cents, o.EN, err))
				}
				return nil
			})
		}
	}
	require.NoError(t, errors.Join(all.Wait(), errors.Join(wrong...)))
	require.Greater(t, rows, 90, "rows that were played")
	g.events.mu.Lock()
	defer g.events.mu.Unlock()
	for _, e := range g.events.all {
		if e.What == sandbox.Failed || e.What == sandbox.NotDelivered {
			t.Errorf("%+v", e)
		}
	}
}

// row plays one row.
func (g *playground) row(ctx context.Context, o sandbox.Outcome, kind ofb.Kind) error {
	want, listed := expected[o.Cents]
	if o.Reason != "" {
		want.told, want.outcomes, want.arrive, listed = o.Told(kind)[0], "delivered", 1, true
	} else if o.Cents == 0 && kind.Initial() != ofb.RCVD {
		want.told, want.outcomes, want.arrive = "", "", 0 // AUTHORISED without approvers need not be notified
	}
	if !listed {
		return errors.New("the test expects nothing of it")
	}
	amount, consent := fmt.Sprintf("100.%02d", o.Cents), ""
	var err error
	switch kind {
	case ofb.PixPayment:
		consent, err = g.authorised(ctx, ofb.PaymentConsent, amount)
	case ofb.RecurringPayment:
		consent, err = g.authorised(ctx, ofb.RecurringConsent, "100.00")
	}
	if err != nil {
		return err
	}
	id, err := g.create(ctx, kind, amount, consent)
	answered := time.Now()
	if err != nil {
		return err
	}
	if err := g.over(ctx, o, id, len(strings.Fields(want.told))); err != nil {
		return err
	}
	came, err := g.receiver.Wait(ctx, want.arrive, standin.For(id[strings.LastIndexByte(id, ':')+1:]))
	if err != nil {
		return err
	}
	if o.Expires && len(came) > 0 {
		list, err := g.Core.Notifications(ctx, url.Values{"resourceId": {id}})
		if err != nil || len(list) != 1 {
			return fmt.Errorf("%d notifications: %w", len(list), err)
		}
		if _, err := g.Core.WaitState(ctx, list[0].ID); err != nil {
			return err
		}
	}
	found, err := g.Core.Notifications(ctx, url.Values{"resourceId": {id}})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b stage.Notification) int { return a.CreatedAt.Compare(b.CreatedAt) })
	states, outcomes := []string{}, []string{}
	for i, n := range found {
		states = append(states, n.Status)
		if i < len(found)-1 {
			continue
		}
		for _, a := range n.Attempts {
			outcomes = append(outcomes, *a.Outcome)
		}
		if o.Late > 0 && !n.Late { // a busy machine may make others late too
			return errors.New("it is not late")
		}
	}
	if got := strings.Join(states, " "); got != want.told {
		return fmt.Errorf("%q was notified, expected %q", got, want.told)
	}
	if got := strings.Join(outcomes, " "); got != want.outcomes {
		return fmt.Errorf("attempts ended %q, expected %q", got, want.outcomes)
	}
	if len(came) != want.arrive {
		return fmt.Errorf("%d requests came, expected %d", len(came), want.arrive)
	}
	if o.Cents == 72 && !strings.Contains(string(came[0].Body), `"DATA_CHANGED"`) {
		return fmt.Errorf("the body is %s", came[0].Body)
	}
	if o.BeforeAnswer && !came[0].At.Before(answered) {
		return fmt.Errorf("the notification came at %s, the POST was answered at %s", came[0].At, answered)
	}
	if err := g.order(ctx, o, consent, came); err != nil {
		return err
	}
	return g.shows(ctx, o, kind, id)
}

// over waits until the steps of a row are told, and until so many notifications of the resource have ended.
func (g *playground) over(ctx context.Context, o sandbox.Outcome, id string, notifications int) error {
	if o.Expires {
		return nil // the gateway's own timer tells it
	}
	last := o.Steps[len(o.Steps)-1]
	name := string(last.To)
	if last.Edit {
		name = sandbox.DataChanged
	}
	if err := g.events.until(ctx, 1, func(e sandbox.Event) bool { return e.ID == id && e.What == sandbox.Changed && e.Status == name }); err != nil {
		return fmt.Errorf("wait for %s: %w", name, err)
	}
	if err := g.events.until(ctx, notifications, func(e sandbox.Event) bool { return e.ID == id && e.What == sandbox.Ended }); err != nil {
		return fmt.Errorf("wait for %d notifications: %w", notifications, err)
	}
	return nil
}

// order looks at the order of the notifications of a payment and of its consent.
func (g *playground) order(ctx context.Context, o sandbox.Outcome, consent string, came []standin.Request) error {
	if o.Consent == sandbox.Together {
		return nil
	}
	other, err := g.receiver.Wait(ctx, 1, standin.For(consent[strings.LastIndexByte(consent, ':')+1:]))
	if err != nil {
		return fmt.Errorf("the consent's notification: %w", err)
	}
	if first := other[0].At.Before(came[0].At); first != (o.Consent == sandbox.ConsentFirst) {
		return fmt.Errorf("the consent's notification came at %s, the payment's at %s", other[0].At, came[0].At)
	}
	return nil
}

// shows asks for the resource: the last state, and the reason.
func (g *playground) shows(ctx context.Context, o sandbox.Outcome, kind ofb.Kind, id string) error {
	versions := kind.Versions()
	answer, err := g.ask(ctx, conformance.Query{Client: "alfa", Kind: kind, Version: versions[len(versions)-1], ID: id})
	if err != nil {
		return err
	}
	status := string(ofb.Rejected)
	for _, s := range o.Steps {
		if !s.Edit {
			status = string(s.To)
		}
	}
	if answer.Data["status"] != status {
		return fmt.Errorf("GET shows %v, expected %s", answer.Data["status"], status)
	}
	if text := fmt.Sprint(answer.Data); o.Reason != "" && !strings.Contains(text, ":"+o.Reason) {
		return fmt.Errorf("GET does not show the reason %s: %s", o.Reason, text)
	}
	return nil
}

func TestThePOSTsOfTheSandboxAreTheOfficialOnes(t *testing.T) {
	g := play(t)
	ctx := t.Context()
	post := func(path string, header http.Header, data any) (int, string) {
		body, err := json.Marshal(map[string]any{"data": data})
		require.NoError(t, err)
		status, answer, err := g.send(ctx, path, header, body)
		require.NoError(t, err)
		return status, string(answer)
	}
	consent := asking(ofb.PaymentConsent, "10.00", "")

	status, answer := post(creations[ofb.PaymentConsent], http.Header{"Authorization": {"Bearer x"}}, consent)
	require.Equal(t, 401, status, answer)
	consent["nonsense"] = true
	status, answer = post(creations[ofb.PaymentConsent], nil, consent)
	require.Equal(t, 422, status, answer)
	require.Contains(t, answer, "data.nonsense")
	delete(consent, "nonsense")
	delete(consent, "creditor")
	status, answer = post(creations[ofb.PaymentConsent], nil, consent)
	require.Equal(t, 422, status, "the gateway's schema judges what is asked for: %s", answer)
	require.Contains(t, answer, "creditor")
	consent = asking(ofb.PaymentConsent, "10", "")
	status, answer = post(creations[ofb.PaymentConsent], nil, consent)
	require.Equal(t, 422, status, answer)
	require.Contains(t, answer, "VALOR_INVALIDO")

	status, answer = post(creations[ofb.PixPayment], nil, []any{asking(ofb.PixPayment, "10.00", "urn:arauto:nobody")})
	require.Equal(t, 422, status, answer)
	require.Contains(t, answer, "CONSENTIMENTO_INVALIDO")

	key := http.Header{"X-Idempotency-Key": {uuid.NewString()}}
	consent = asking(ofb.PaymentConsent, "10.00", "")
	_, first := post(creations[ofb.PaymentConsent], key, consent)
	status, again := post(creations[ofb.PaymentConsent], key, consent)
	require.Equal(t, 201, status)
	require.Equal(t, first, again, "the same key and body are answered the same")
	status, answer = post(creations[ofb.PaymentConsent], key, asking(ofb.PaymentConsent, "11.00", ""))
	require.Equal(t, 422, status)
	require.Contains(t, answer, "ERRO_IDEMPOTENCIA")

	key = http.Header{"X-Idempotency-Key": {uuid.NewString()}}
	body, err := json.Marshal(map[string]any{"data": asking(ofb.PaymentConsent, "12.00", "")})
	require.NoError(t, err)
	answers := make(chan string, 8)
	var atOnce sync.WaitGroup
	for range cap(answers) {
		atOnce.Go(func() {
			status, answer, err := g.send(ctx, creations[ofb.PaymentConsent], key, body)
			answers <- fmt.Sprintf("%d %v %s", status, err, answer)
		})
	}
	atOnce.Wait()
	first = <-answers
	require.Contains(t, first, "201 <nil>")
	for range cap(answers) - 1 {
		require.Equal(t, first, <-answers, "one key makes one consent, also at once")
	}

	id, err := g.authorised(ctx, ofb.PaymentConsent, "10.00")
	require.NoError(t, err)
	bad := asking(ofb.PixPayment, "10.00", id)
	delete(bad, "creditorAccount")
	status, answer = post(creations[ofb.PixPayment], nil, []any{asking(ofb.PixPayment, "10.00", id), bad})
	require.Equal(t, 422, status, answer)
	require.Contains(t, answer, "creditorAccount")
	require.Zero(t, g.events.count(func(e sandbox.Event) bool { return e.Kind == ofb.PixPayment.String() }), "all of a list is created, or nothing")
	status, answer = post(creations[ofb.PixPayment], nil, []any{asking(ofb.PixPayment, "10.00", id)})
	require.Equal(t, 201, status, answer)
	require.Contains(t, answer, `"data":[{`, "a list is answered with a list")
	require.NoError(t, g.events.until(ctx, 1, func(e sandbox.Event) bool { return e.ID == id && e.Status == string(ofb.Consumed) }))

	p, err := pki()
	require.NoError(t, err)
	beta, err := p.Issue(p.InitiatorBRCAC(certs.DefaultBeta))
	require.NoError(t, err)
	other := mutual(p, beta.TLS())
	defer other.CloseIdleConnections()
	status, said := askToken(t, other, g.State.Creation, "alfa")
	require.Equal(t, 401, status, "beta's certificate gets no token of alfa: %s", said)
}

func TestTriggerMakesOneEvent(t *testing.T) {
	g := play(t)
	for _, c := range []struct {
		args []string
		told string
	}{
		{[]string{"pix-payment", "ACSC"}, "ACSC"},
		{[]string{"recurring-payment", "RJCT", "--amount", "1.20"}, "RJCT"},
		{[]string{"payment-consent", "AUTHORISED"}, "PARTIALLY_ACCEPTED AUTHORISED"},
		{[]string{"recurring-consent", "REVOKED"}, "REVOKED"},
		{[]string{"enrollment", "DATA_CHANGED"}, "AUTHORISED DATA_CHANGED"},
		{[]string{"pix-payment", "ACCP", "--api-version", "v4"}, "ACCP"},
		{[]string{"pix-payment", "--amount", "10.05"}, "CONSUMED ACCP ACPD ACSC"},
	} {
		got := call(t, 20*time.Second, nil, append(append([]string{"trigger"}, c.args...), "--json")...)
		require.Zero(t, got.code, got.errors)
		var made sandbox.Triggered
		require.NoError(t, json.Unmarshal([]byte(got.out), &made))
		var told []string
		interactions := 0
		for _, one := range made.Told {
			told = append(told, one.Status)
			for _, n := range one.Notifications {
				interactions += len(n.Interactions)
			}
		}
		require.Equal(t, c.told, strings.Join(told, " "), "%v: %s", c.args, got.out)
		if !slices.Contains(c.args, "ACCP") {
			require.Positive(t, interactions, "%v: %s", c.args, got.out)
		} else {
			require.Equal(t, "not-a-trigger", made.Told[0].Reason)
		}
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"pix-paiment", "ACSC"}, "pix-payment"},
		{[]string{"pix-payment", "CONSUMED"}, "ACSC"},
		{[]string{"pix-payment", "DATA_CHANGED"}, "enrollment"},
		{[]string{"pix-payment"}, "amount"},
		{[]string{"pix-payment", "ACSC", "--amount", "10"}, "10.00"},
		{[]string{"pix-payment", "ACSC", "--client", "gama"}, "alfa"},
		{[]string{"pix-payment", "ACSC", "--api-version", "v3"}, "v4, v5"},
		{[]string{"pix-payment", "ACSC", "--id", "x"}, "no pix-payment"},
	} {
		got := call(t, 20*time.Second, nil, append([]string{"trigger"}, c.args...)...)
		require.Equal(t, usage, got.code, "%v: %s", c.args, got.errors)
		require.Contains(t, got.errors, c.says)
	}
	require.NotEmpty(t, g.receiver.Requests())
}

// TestAStrangersRun is the guide: a sandbox, a receiver that forwards to a plain local app, a trigger, and a poll.
func TestAStrangersRun(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	began := time.Now()
	port := port.For(t).Number()
	out := &lines{grown: make(chan struct{}, 1)}
	cmd := product("sandbox", "--port", "0", "--webhook", fmt.Sprintf("https://localhost:%d", port), "--lang", "en")
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	out.within(t, `(sandbox: ready)`, 2*time.Minute)
	folder := out.until(t, `development PKI\s+(\S+)`)

	app := make(chan string, 16)
	local := localApp(t, app)
	receiver := &lines{grown: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, world{nil, receiver, receiver}, []string{"listen", "--addr", fmt.Sprintf("127.0.0.1:%d", port), "--forward", local + "/hook"})
	}()
	receiver.until(t, `(listen: https://)`)

	made := call(t, 20*time.Second, nil, "trigger", "pix-payment", "SCHD", "--json")
	require.Zero(t, made.code, made.errors)
	var event sandbox.Triggered
	require.NoError(t, json.Unmarshal([]byte(made.out), &event))
	select {
	case path := <-app:
		require.Equal(t, "/hook/open-banking/webhook/v1/payments/v5/pix/payments/"+event.ID, path)
	case <-time.After(20 * time.Second):
		t.Fatal("the local app got nothing:", receiver, out)
	}
	t.Logf("from `arauto sandbox` to the local app: %s", time.Since(began).Round(10*time.Millisecond))

	first := call(t, 20*time.Second, nil, "poll", " "+event.ID+"\n", "--lang", "en")
	require.Zero(t, first.code, first.errors)
	require.Contains(t, first.out, `"status": "SCHD"`)
	require.Contains(t, first.out, "first call for this resource")
	require.Zero(t, call(t, 20*time.Second, nil, "trigger", "pix-payment", "CANC", "--id", event.ID).code)
	second := call(t, 20*time.Second, nil, "poll", event.ID, "--lang", "pt")
	require.Zero(t, second.code, second.errors)
	require.Contains(t, second.out, "/status: SCHD -> CANC")
	third := call(t, 20*time.Second, nil, "poll", event.ID, "--json")
	require.Contains(t, third.out, `"changes":[]`)

	refusedSecond := call(t, 20*time.Second, nil, "sandbox")
	require.Equal(t, failed, refusedSecond.code)
	require.Contains(t, refusedSecond.errors, "runs already")

	suiteRun := call(t, time.Minute, nil, "conformance", "--module", "enrollments_api_webhook-rejected_test-module_v2-3", "--wait", "100ms", "--quiet", "2s")
	assert.Zero(t, suiteRun.code, suiteRun.out+suiteRun.errors)
	assert.Contains(t, suiteRun.out, "1 would pass")

	stop()
	require.Zero(t, <-ended)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
	require.NoDirExists(t, filepath.Dir(folder), "nothing is left")
	without := call(t, 20*time.Second, nil, "trigger", "pix-payment", "ACSC")
	require.Equal(t, failed, without.code)
	require.Contains(t, without.errors, "no sandbox is running")
}

func TestHelpOfTheSandboxHasTheTableInBothLanguages(t *testing.T) {
	english, portuguese := call(t, time.Second, nil, "sandbox", "--help"), call(t, time.Second, []string{"LANG=pt_BR.UTF-8"}, "sandbox", "--help")
	require.Contains(t, english.out, sandbox.Table("en"))
	require.Contains(t, portuguese.out, sandbox.Table("pt"))
	for page, table := range map[string]string{"initiators.md": sandbox.Table("en"), "guia-iniciadora.md": sandbox.Table("pt")} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		require.NoError(t, err)
		require.Contains(t, string(text), "```\n"+table+"```", "docs/%s has the table of arauto sandbox --help", page)
	}
}

func TestChangesBetweenTwoPollsAreFound(t *testing.T) {
	before := map[string]any{"status": "SCHD", "a/b": 1.0, "list": []any{"x", map[string]any{"y": true}}, "gone": nil}
	after := map[string]any{"status": "CANC", "a/b": 1.0, "list": []any{"x", map[string]any{"y": false}, "z"}}
	require.Equal(t, []polledChange{
		{"/gone", nil, nil}, {"/list/1/y", true, false}, {"/list/2", nil, "z"}, {"/status", "SCHD", "CANC"},
	}, changes(before, after))
	require.Empty(t, changes(after, after))
}

// TestAnotherHoldersDocumentIsNotKept: between two polls only its status is.
func TestAnotherHoldersDocumentIsNotKept(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	ask := func(whole bool, id, status, cpf string) polled {
		p := &poll{whole: whole}
		now := polled{ID: id, Kind: "pix-payment", At: time.Now(), Data: map[string]any{"status": status, "document": map[string]any{"identification": cpf}}}
		require.NoError(t, p.compare(&now))
		return now
	}
	ask(false, "theirs", "SCHD", "11111111111")
	require.Equal(t, []polledChange{{"/status", "SCHD", "CANC"}}, ask(false, "theirs", "CANC", "22222222222").Changes)
	ask(true, "ours", "SCHD", "33333333333")
	require.Equal(t, []polledChange{{"/document/identification", "33333333333", "44444444444"}}, ask(true, "ours", "SCHD", "44444444444").Changes)
	files, err := filepath.Glob(filepath.Join(cache, "arauto", "polls", "*"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	kept := ""
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		kept += string(text)
	}
	require.Contains(t, kept, "44444444444", "the sandbox's")
	require.NotContains(t, kept, "22222222222")
	require.NotContains(t, kept, "11111111111")
}
