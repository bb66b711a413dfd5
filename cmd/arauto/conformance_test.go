package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/conformance"
	"github.com/arauto/arauto/internal/lab/port"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/ofb"
)

// olderEnrollments is the version that the older of two replicas declares. Holders declare one; a test has both.
const olderEnrollments = "enrollments/2.2.0"

// homologation is a gateway of its own.
func homologation(t *testing.T) (*stage.Stage, *stage.Replica) {
	t.Helper()
	o := stage.Options{Command: product, Settings: unhurried, Dir: t.TempDir()}
	var err error
	o.PKI, err = pki()
	require.NoError(t, err)
	o.Template, err = template()
	require.NoError(t, err)
	s, err := stage.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	replica, err := s.Start(t.Context())
	require.NoError(t, err)
	return s, replica
}

// suite is the certification suite's stand-in before a gateway. The second suite is before a replica that declares the older version
// of enrollments.
func suite(t *testing.T) (newest, older *conformance.Suite) {
	t.Helper()
	s, replica := homologation(t)
	core, err := s.Core(replica)
	require.NoError(t, err)
	server, err := s.PKI.Issue(s.PKI.InitiatorServer(certs.DefaultAlfa))
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(s.PKI.ClientCA.Certificate)
	receiver, err := standin.Start(standin.Options{Certificate: server.TLS(), ClientCAs: clients})
	require.NoError(t, err)
	t.Cleanup(receiver.Close)
	client, err := s.PKI.Issue(s.PKI.InitiatorBRCAC(certs.DefaultAlfa))
	require.NoError(t, err)
	asker, err := s.Asker(certs.DefaultAlfa, client.TLS())
	require.NoError(t, err)
	t.Cleanup(asker.Close)
	alfa := certs.DefaultAlfa
	newest = &conformance.Suite{
		Holder: &conformance.Gateway{
			Core: core, Asker: asker, Public: replica.Public, Token: asker.Token, OrganisationID: alfa.Organisation.ID, SoftwareID: alfa.SoftwareID, Name: "suite",
			Statement: func(uris []string) (string, error) { return s.Statement(alfa.Organisation.ID, alfa.SoftwareID, uris) },
		},
		Receiver: receiver, Base: receiver.BaseURI(""), OrganisationID: alfa.Organisation.ID, SoftwareID: alfa.SoftwareID,
		AuthorisationServerID: stage.AuthorisationServerID, Wait: 200 * time.Millisecond, Within: 20 * time.Second, Quiet: 2 * time.Second,
	}
	second, err := s.Start(t.Context(), "ARAUTO_SCHEMA_VERSIONS="+olderEnrollments)
	require.NoError(t, err)
	gateway := *newest.Holder.(*conformance.Gateway)
	gateway.Public = second.Public
	gateway.Core, err = s.Core(second)
	require.NoError(t, err)
	with := *newest
	with.Holder = &gateway
	return newest, &with
}

// before picks the suite whose replica declares the version of a module.
func before(m conformance.Module, newest, older conformance.Suite) conformance.Suite {
	if m.API == olderEnrollments {
		return older
	}
	return newest
}

// fault is one behaviour that is broken on purpose, and how the module must say so.
type fault struct {
	module string // technical name
	name   string
	holder func(conformance.Holder) conformance.Holder
	wire   func(standin.Request) standin.Request // what comes over the wire instead
	step   string                                // of the failure
	text   string                                // of what was expected or what came
}

// misled changes or swallows the changes that the core tells.
type misled struct {
	conformance.Holder
	tell func(context.Context, conformance.Holder, stage.Change) error
}

func (h misled) Tell(ctx context.Context, c stage.Change) error { return h.tell(ctx, h.Holder, c) }

// telling is a fault of the core.
func telling(tell func(context.Context, conformance.Holder, stage.Change) error) func(conformance.Holder) conformance.Holder {
	return func(h conformance.Holder) conformance.Holder { return misled{h, tell} }
}

// registering changes or swallows registrations.
type registering struct {
	conformance.Holder
	register func(context.Context, conformance.Holder, conformance.Registration) (conformance.Registered, error)
}

func (h registering) Register(ctx context.Context, r conformance.Registration) (conformance.Registered, error) {
	return h.register(ctx, h.Holder, r)
}

// pending has a payment pass through PDNG on its way to ACCP.
func pending(ctx context.Context, h conformance.Holder, c stage.Change) error {
	if c.Kind == ofb.PixPayment.String() || c.Kind == ofb.RecurringPayment.String() {
		c.Revision *= 10
		if accepted := string(c.Data); strings.Contains(accepted, `"status":"ACCP"`) {
			extra := c
			extra.Revision--
			extra.Data = []byte(strings.Replace(accepted, `"status":"ACCP"`, `"status":"PDNG"`, 1))
			if err := h.Tell(ctx, extra); err != nil {
				return err
			}
		}
	}
	return h.Tell(ctx, c)
}

// early tells at once what must be held until the POST is answered.
func early(ctx context.Context, h conformance.Holder, c stage.Change) error {
	c.NotBefore = nil
	return h.Tell(ctx, c)
}

// tooEarly is what a module says of a notification that comes before the answer of the POST that made its resource.
const tooEarly = "after notBefore, when the POST"

// hurriedWait is how long a module waits for a notification that does not come because of its fault.
const hurriedWait = 8 * time.Second

func target(change func(string) string) func(standin.Request) standin.Request {
	return func(r standin.Request) standin.Request {
		r.Target = change(r.Target)
		return r
	}
}

func body(old, becomes string) func(standin.Request) standin.Request {
	return func(r standin.Request) standin.Request {
		r.Body = []byte(strings.ReplaceAll(string(r.Body), old, becomes))
		return r
	}
}

// faults break each module once.
func faults() []fault {
	const receives, none = "a notification comes", "none within"
	const payments, automatic = "dcr_api_dcm-pagto-%s_test-module-%s", "automatic-payments_api_%s_test-module_v2-2"
	doubled := target(func(s string) string { return strings.Replace(s, "/open-banking", "//open-banking", 1) })
	bare := target(func(s string) string { return strings.Replace(s, "urn:arauto:", "", 1) })
	swallowed := func(addresses bool) func(conformance.Holder) conformance.Holder {
		return func(h conformance.Holder) conformance.Holder {
			return registering{h, func(ctx context.Context, h conformance.Holder, r conformance.Registration) (conformance.Registered, error) {
				answer, err := h.Register(ctx, r)
				if err != nil || answer.Status != 200 || len(r.Asked) > 0 != addresses {
					return answer, err
				}
				before := conformance.Registration{Client: r.Client, Statement: r.Statement}
				if !addresses {
					before.Asked = r.Statement
				}
				_, err = h.Register(ctx, before) // the change does not last
				return answer, err
			}}
		}
	}
	unchecked := func(h conformance.Holder) conformance.Holder {
		return registering{h, func(ctx context.Context, h conformance.Holder, r conformance.Registration) (conformance.Registered, error) {
			r.Statement = r.Asked
			return h.Register(ctx, r)
		}}
	}
	reused := func(r standin.Request) standin.Request {
		r.Interaction = "3f0b0c6e-3d6b-4d3e-9a43-0c0f6f6f3a11"
		return r
	}
	all := []fault{
		{fmt.Sprintf(payments, "webhook-acsc", "v4"), "the call comes before the answer of the POST", telling(early), nil, receives, tooEarly},
		{fmt.Sprintf(payments, "webhook-acsc", "v5"), "PDNG is notified beside ACSC", telling(pending), nil, "", "pix/payments/"},
		{fmt.Sprintf(payments, "webhook-schd", "v4"), "two slashes follow the base", nil, doubled, receives, "// after the base"},
		{fmt.Sprintf(payments, "webhook-schd", "v5"), "the id has no prefix", nil, bare, receives, "without its prefix"},
		{fmt.Sprintf(payments, "webhook", "v4"), "the PUT with an address is lost", swallowed(true), nil, receives, none},
		{fmt.Sprintf(payments, "webhook", "v5"), "the PUT with an address is lost", swallowed(true), nil, receives, none},
		{fmt.Sprintf(payments, "remove-webhook", "v4"), "the PUT without an address is lost", swallowed(false), nil, "no notification comes", "no further notification"},
		{fmt.Sprintf(payments, "remove-webhook", "v5"), "attempts share an interaction id", nil, reused, receives, "a new x-webhook-interaction-id"},
		{fmt.Sprintf(payments, "wrong-webhook", "v4"), "the statement is not compared", unchecked, nil, "different from the software statement", "201"},
		{fmt.Sprintf(payments, "wrong-webhook", "v5"), "the statement is not compared", unchecked, nil, "different from the software statement", "201"},
		{fmt.Sprintf(automatic, "webhook-acsc"), "/webhook is missing", nil, target(func(s string) string { return strings.Replace(s, "/webhook/", "/", 1) }), receives, "without /webhook"},
		{fmt.Sprintf(automatic, "webhook-multiple-consents"), "eventType has the spelling of the guide", nil, body("STATE_CHANGED", "STATUS_CHANGED"), receives, "STATUS_CHANGED"},
		{fmt.Sprintf(automatic, "webhook-rejected"), "the timestamp is that of another day", nil, body(`"timestamp":"20`, `"timestamp":"19`), receives, "between the start of the test"},
		{fmt.Sprintf(automatic, "webhook-revoked"), "no client certificate is shown", nil, func(r standin.Request) standin.Request {
			r.PeerSubject = ""
			return r
		}, receives, "a client certificate"},
		{fmt.Sprintf(automatic, "automatic-pix-webhook"), "PDNG is notified beside ACSC", telling(pending), nil, "", "pix/recurring-payments/"},
	}
	for _, minor := range []string{"v2-2", "v2-3"} {
		module := "enrollments_api_%s_test-module_" + minor
		all = append(all,
			fault{fmt.Sprintf(module, "webhook-rejected"), "the header of the server is missing", nil, func(r standin.Request) standin.Request {
				r.Header = nil
				return r
			}, receives, "x-authorization-server-id"},
			fault{fmt.Sprintf(module, "webhook-revoked"), "eventType is that of an edit", nil, body("STATE_CHANGED", "DATA_CHANGED"), receives, "DATA_CHANGED"},
			fault{fmt.Sprintf(module, "webhook_event-type"), "the edit is told as the initiator's", telling(func(ctx context.Context, h conformance.Holder, c stage.Change) error {
				c.Cause = "initiator"
				return h.Tell(ctx, c)
			}), nil, receives, none})
	}
	return all
}

// altered is a receiver that sees something else than what came.
type altered struct {
	conformance.Receiver
	wire func(standin.Request) standin.Request
}

func (a altered) Wait(ctx context.Context, n int, match func(*standin.Request) bool) ([]standin.Request, error) {
	came, err := a.Receiver.Wait(ctx, n, match)
	for i := range came {
		came[i] = a.wire(came[i])
	}
	return came, err
}

// TestTheModulesOfTheCertificationSuite plays every module against the real gateway, side by side, with all times but the gaps of
// the schedule scaled; with ARAUTO_LONG=1 with the suite's own times. At the same time each module is played before a holder that
// has one fault, and must fail at the step that looks for it.
func TestTheModulesOfTheCertificationSuite(t *testing.T) {
	newest, older := suite(t)
	var writing sync.Mutex
	line := func(line string) {
		writing.Lock()
		defer writing.Unlock()
		t.Log(line)
	}
	var wrong []conformance.Result
	var all sync.WaitGroup
	all.Go(func() { wrong = playFaults(t.Context(), *newest, *older) })
	for _, m := range conformance.Modules() {
		all.Go(func() {
			s := before(m, *newest, *older)
			s.Line = line
			if long() {
				s.Wait, s.Within, s.Quiet = conformance.WebhookWait, conformance.AwaitWithin, conformance.AwaitWithin
			}
			r := s.Play(t.Context(), m)
			assert.True(t, r.Passed, "%s: %+v", r.Module, r.Failure())
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for i, f := range faults() {
		seen[f.module] = true
		failure := wrong[i].Failure()
		if !assert.NotNil(t, failure, "%s passes although %s", f.module, f.name) {
			continue
		}
		assert.Contains(t, failure.Text, f.step, "%s when %s: %+v", f.module, f.name, failure)
		assert.Contains(t, failure.Expected+" / "+failure.Came, f.text, "%s when %s", f.module, f.name)
		t.Logf("%s: FAILED as it must, because %s: step %d: expected %s; came %s", f.module, f.name, failure.Number, failure.Expected, failure.Came)
	}
	for _, m := range conformance.Modules() {
		assert.True(t, seen[m.Name], "no fault breaks %s", m.Name)
	}
}

// playFaults plays each fault's module, side by side.
func playFaults(ctx context.Context, newest, older conformance.Suite) []conformance.Result {
	results := make([]conformance.Result, len(faults()))
	var all sync.WaitGroup
	for i, f := range faults() {
		all.Go(func() {
			m := conformance.Select(f.module)[0]
			with := before(m, newest, older)
			with.Within = hurriedWait
			if f.text == tooEarly {
				with.Hold = hurriedWait / 2 // so that it comes too early on a busy machine, too
			}
			if f.holder != nil {
				with.Holder = f.holder(with.Holder)
			}
			if f.wire != nil {
				with.Receiver = altered{with.Receiver, f.wire}
			}
			results[i] = with.Play(ctx, m)
		})
	}
	all.Wait()
	return results
}

func TestTheModulesAreThoseOfTheCatalogue(t *testing.T) {
	plans, names := map[string]int{}, map[string]bool{}
	for _, m := range conformance.Modules() {
		plans[m.Plan]++
		require.False(t, names[m.Name], m.Name)
		names[m.Name] = true
	}
	require.Equal(t, map[string]int{
		"dcr-dcm-pagto_test-plan-v4": 5, "dcr-dcm-pagto_test-plan-v5": 5,
		"automatic-payments-webhook_test-plan_v2-2": 4, "automatic-pix-payments-webhook_test-plan_v2-2": 1,
		"no-redirect-payments-webhook_test-plan_v2-2": 3, "no-redirect-payments-webhook_test-plan_v2-3": 3,
	}, plans)
}

// TestTheCommandConformanceReportsWhatWouldPass runs the command as a bank does: against a gateway that it did not start, with one
// client, files of tokens and a statement, and the certificates of a participant. Then with a development PKI.
func TestTheCommandConformanceReportsWhatWouldPass(t *testing.T) {
	s, replica := homologation(t)
	dir, alfa := t.TempDir(), certs.DefaultAlfa
	at := func(name string) string { return filepath.Join(dir, name) }
	pki := func(name string) string { return filepath.Join(s.Dir, "pki", filepath.FromSlash(name)) }
	listen := port.For(t)
	base := fmt.Sprintf("https://localhost:%d/suite", listen.Number())

	client, err := tls.LoadX509KeyPair(pki("initiators/alfa/brcac.pem"), pki("initiators/alfa/brcac.key"))
	require.NoError(t, err)
	asker, err := s.Asker(alfa, client)
	require.NoError(t, err)
	t.Cleanup(asker.Close)
	write := func(name string, text string, err error) string {
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(at(name), []byte(text+"\n"), 0o600))
		return at(name)
	}
	token, err := s.Token("conformance", "ingest", "registrar")
	internal := write("token", token, err)
	access, err := asker.Token("certified")
	accessFile := write("access", access, err)
	ssa, err := s.Statement(alfa.Organisation.ID, alfa.SoftwareID, []string{base})
	statement := write("statement", ssa, err)
	own := []string{
		"--internal", "http://" + replica.Internal, "--internal-token", internal, "--public", replica.Public, "--public-ca", pki("trust/roots.pem"),
		"--public-name", "localhost", "--holder-keys", pki("holder/jwks.json"), "--organisation-id", s.PKI.Options().Holder.ID,
		"--authorisation-server-id", stage.AuthorisationServerID, "--client", "certified", "--cert", pki("initiators/alfa/brcac.pem"), "--key", pki("initiators/alfa/brcac.key"),
		"--access-token", accessFile, "--statement", statement, "--base-uri", base, "--listen", listen.Address(), "--server-cert", pki("initiators/alfa/server.pem"),
		"--server-key", pki("initiators/alfa/server.key"), "--client-ca", pki("trust/clients.pem"),
	}
	quick := []string{"conformance", "--wait", "100ms", "--within", "15s", "--quiet", "1600ms"}

	told := call(t, time.Minute, nil, append(slices.Concat(quick, own), "--module", "enrollments_api_webhook-r", "--json", at("report.json"), "--html", at("report.html"))...)
	require.Equal(t, 0, told.code, "%s%s", told.out, told.errors)
	require.Contains(t, told.out, "enrollments_api_webhook-revoked_test-module_v2-3: step 7: GET shows revocationReason REVOGADO_MANUALMENTE: passed")
	require.Contains(t, told.out, "conformance: 2 would pass, 0 would fail, 2 not played\n")
	var report conformance.Report
	text, err := os.ReadFile(at("report.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &report))
	require.Len(t, report.Results, 4)
	require.False(t, report.Results[0].Played, "2.2.0 is not what this holder serves")
	require.Contains(t, report.Results[2].Shown, "OFBBR-"+s.PKI.Options().Holder.ID)
	page, err := os.ReadFile(at("report.html"))
	require.NoError(t, err)
	for _, word := range []string{`<html lang="pt-BR">`, "passariam", "enrollments_api_webhook-rejected_test-module_v2-3", "por ato da iniciadora", "não é certificação"} {
		require.Contains(t, string(page), word)
	}

	development := []string{"--pki", filepath.Join(s.Dir, "pki"), "--internal", "http://" + replica.Internal, "--public", replica.Public}
	told = call(t, time.Minute, nil, append(slices.Concat(quick, development), "--module", "enrollments_api_webhook-rejected_test-module_v2-3",
		"--authorisation-server-id", "another", "--html", at("report.html"), "--lang", "en")...)
	require.Equal(t, 1, told.code, "%s%s", told.out, told.errors)
	require.Contains(t, told.out, "failed; expected x-authorization-server-id = another; came \""+stage.AuthorisationServerID+"\"")
	page, err = os.ReadFile(at("report.html"))
	require.NoError(t, err)
	require.Contains(t, string(page), "<b>expected:</b> <code>x-authorization-server-id = another</code>")

	told = call(t, time.Minute, nil, append(slices.Concat(quick, development), "--json", filepath.Join(at("missing"), "report.json"))...)
	require.Equal(t, usage, told.code, "%s%s", told.out, told.errors)
	require.Contains(t, told.errors, "--json: ")
	require.Empty(t, told.out, "nothing is played whose report cannot be written")

	told = call(t, 8*time.Second, nil, append(slices.Concat(quick, development), "--wait", "1h", "--module", "acsc", "--html", at("report.html"))...)
	require.Equal(t, failed, told.code, "%s%s", told.out, told.errors)
	require.Contains(t, told.out, "conformance: 0 would pass, 0 would fail, 0 not played, 3 interrupted\n")
	page, err = os.ReadFile(at("report.html"))
	require.NoError(t, err)
	require.Contains(t, string(page), "a execução foi interrompida")
	require.NotContains(t, string(page), "context")

	for _, wrong := range [][]string{
		{"--module", "no-such-module"}, {"--versions", "payments/9.0.0"}, {"--lang", "fr"}, {"--quiet", "1s"}, {"--pki", at("missing")}, nil,
	} {
		told := call(t, time.Minute, nil, append([]string{"conformance"}, wrong...)...)
		require.NotZero(t, told.code, "%q", wrong)
		require.NotEmpty(t, told.errors, "%q", wrong)
	}
}
