package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/mockbank"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/lab/temppostgres"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// samples is the folder of the sample that the documentation works through: the tests run what is written there.
var samples = filepath.Join("..", "..", "docs", "samples", "mockbank")

// foreign is a stage whose gateway follows a core that was not made for it: another PostgreSQL with tables of its own.
type foreign struct {
	*house
	bank   *mockbank.Bank
	server *temppostgres.Server // the bank's
	alfa   *standin.Initiator

	mapping  string // file
	counting *pgx.Conn
}

// openForeign sets up a bank with one client, alfa, known to it alone, and one replica that follows it.
func openForeign(t *testing.T, o stage.Options) *foreign {
	t.Helper()
	f := prepareForeign(t, o)
	f.begins()
	return f
}

// prepareForeign is openForeign up to the start of the replica.
func prepareForeign(t *testing.T, o stage.Options) *foreign {
	t.Helper()
	made, err := pki()
	require.NoError(t, err)
	o.Command, o.PKI, o.Dir = product, made, t.TempDir()
	f := &foreign{house: &house{t: t}}
	f.startBank(o.Dir)
	f.mapping = mappings(t, o.Dir)
	o.Settings = append(slices.Clone(unhurried), append(o.Settings, "ARAUTO_WATCH_SOURCES="+f.mapping)...)
	o.Template, err = template()
	require.NoError(t, err)
	f.Stage, err = stage.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			f.showLogs()
		}
		require.NoError(t, f.Close())
	})
	f.alfa = f.receiver()
	f.client("alfa", f.alfa.BaseURI("/alfa"))
	return f
}

// begins starts the first replica and waits until it has read the client, and all else that is there: what is committed
// later is news, and told.
func (f *foreign) begins() {
	f.start()
	f.awaitInitiator("alfa", f.alfa.BaseURI("/alfa"))
	f.until("the log is followed", time.Minute, func() (following bool) {
		const slot = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'arauto_mockbank' AND active)"
		require.NoError(f.t, f.bank.Pool().QueryRow(f.t.Context(), slot).Scan(&following))
		return following
	})
}

// startBank puts up the bank's own database server, with the tables, rights and publications of the sample.
func (f *foreign) startBank(dir string) {
	t := f.t
	t.Helper()
	server, address := startCore(t, "bank")
	var statements []string
	for _, name := range []string{"schema.sql", "access.sql"} {
		text, err := os.ReadFile(filepath.Join(samples, name))
		require.NoError(t, err)
		statements = append(statements, string(text))
	}
	statements = append(statements, "ALTER ROLE arauto_reader PASSWORD 'reader'")
	f.server = server
	var err error
	f.bank, err = mockbank.Open(t.Context(), address, statements...)
	require.NoError(t, err)
	t.Cleanup(f.bank.Close)
	f.bank.KeepLedger()
	writeReaderURL(t, filepath.Join(dir, "core.url"), address, url.UserPassword("arauto_reader", "reader"))
}

// startCore puts up a core's own database server, whose log can be followed, with one empty database. It syncs nothing: what is committed
// survives the end of its processes, and no test takes the machine's power.
func startCore(t *testing.T, database string) (server *temppostgres.Server, address string) {
	t.Helper()
	server = startBlank(t, temppostgres.Options{Settings: []string{"wal_level=logical"}})
	address, err := server.CreateDatabase(t.Context(), database, "")
	require.NoError(t, err)
	return server, address
}

// writeReaderURL writes the address of a core as the role sees it that reads it.
func writeReaderURL(t *testing.T, file, address string, reader *url.Userinfo) {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = reader
	require.NoError(t, os.WriteFile(file, []byte(u.String()+"\n"), 0o600))
}

// receiver starts an initiator's endpoint.
func (f *foreign) receiver() *standin.Initiator {
	f.t.Helper()
	leaf, err := f.PKI.Issue(f.PKI.InitiatorServer(certs.DefaultAlfa))
	require.NoError(f.t, err)
	clients := x509.NewCertPool()
	clients.AddCert(f.PKI.ClientCA.Certificate)
	i, err := standin.Start(standin.Options{Certificate: leaf.TLS(), ClientCAs: clients})
	require.NoError(f.t, err)
	f.t.Cleanup(i.Close)
	return i
}

// client writes a row of the bank's table of clients.
func (f *foreign) client(id string, uris ...string) {
	f.t.Helper()
	require.NoError(f.t, f.bank.Client(f.t.Context(), id, certs.DefaultAlfa.Organisation.ID, certs.DefaultAlfa.SoftwareID, uris...))
}

// until asks again and again, for at most the time given. An answer that takes long is asked for less often: the gateway has other work.
func (f *foreign) until(what string, within time.Duration, ask func() bool, why ...func() string) time.Duration {
	f.t.Helper()
	began := time.Now()
	for {
		asked := time.Now()
		if ask() {
			return time.Since(began)
		}
		if time.Since(began) > within {
			for _, w := range why {
				what += ": " + w()
			}
			f.t.Fatalf("after %s it is not so that %s", within, what)
		}
		pause(f.t, min(max(4*time.Since(asked), 20*time.Millisecond), 200*time.Millisecond))
	}
}

// count asks the gateway's database, by one connection for the whole test: a new one costs the server a process.
func (f *foreign) count(query string) (n int) {
	f.t.Helper()
	if f.counting == nil {
		var err error
		f.counting, err = pgx.Connect(f.t.Context(), f.Database)
		require.NoError(f.t, err)
		f.t.Cleanup(func() { _ = f.counting.Close(context.Background()) })
	}
	require.NoError(f.t, f.counting.QueryRow(f.t.Context(), query).Scan(&n))
	return n
}

// mappings copies the sample's mapping with the place of this bank's address, and names the copy.
func mappings(t *testing.T, dir string, change ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(samples, "mockbank.yaml"))
	require.NoError(t, err)
	const sampleURL = "/etc/arauto/mockbank.url"
	require.Contains(t, string(text), sampleURL)
	text = []byte(strings.NewReplacer(append(change, sampleURL, filepath.Join(dir, "core.url"))...).Replace(string(text)))
	name := filepath.Join(dir, "mockbank.yaml")
	require.NoError(t, os.WriteFile(name, text, 0o600))
	return name
}

type initiator struct {
	WebhookURIs []string `json:"webhookUris"`
}

// awaitInitiator waits until the gateway has a client registered with these addresses, and tells how long that took.
func (f *foreign) awaitInitiator(client string, uris ...string) time.Duration {
	f.t.Helper()
	return f.until("the registration of "+client+" is in force", 20*time.Second, func() bool {
		var got initiator
		err := f.core.Load().Call(f.t.Context(), http.MethodGet, "/internal/v1/initiators/"+client, nil, &got)
		return err == nil && slices.Equal(got.WebhookURIs, uris)
	})
}

func (f *foreign) get(path string, out any) {
	f.t.Helper()
	require.NoError(f.t, f.core.Load().Call(f.t.Context(), http.MethodGet, path, nil, out))
}

// sourceStatus is what the API tells of a source.
type sourceStatus struct {
	Name    string         `json:"name"`
	Running bool           `json:"running"`
	Paused  bool           `json:"paused"`
	Replica string         `json:"replica"`
	Status  map[string]any `json:"status"`
}

func (f *foreign) source(name string) (s sourceStatus) {
	f.t.Helper()
	f.get("/internal/v1/sources/"+name, &s)
	return s
}

// openCases are the changes in quarantine.
func (f *foreign) openCases() []struct{ ID, ResourceID, Source string } {
	f.t.Helper()
	var out struct {
		Quarantine []struct{ ID, ResourceID, Source string } `json:"quarantine"`
	}
	f.get("/internal/v1/quarantine?limit=1000", &out)
	return out.Quarantine
}

// told is what a receiver was told about each resource: the event types, by the end of the path.
func told(i *standin.Initiator) map[string][]string {
	out := map[string][]string{}
	for _, r := range i.Requests() {
		id, _ := url.PathUnescape(r.Target[strings.LastIndexByte(r.Target, '/')+1:])
		event := ""
		if _, rest, is := strings.Cut(string(r.Body), `"eventType":"`); is {
			event, _, _ = strings.Cut(rest, `"`)
		}
		out[id] = append(out[id], event)
	}
	for _, events := range out {
		slices.Sort(events)
	}
	return out
}

// owed is what the rules demand that an initiator be told of states that follow each other.
func owed(kind ofb.Kind, states []ofb.Status) (events []string) {
	var from *ofb.ResourceState
	for _, s := range states {
		to := ofb.ResourceState{Status: s}
		if v := ofb.Judge(kind, from, to, ofb.Holder); v.Duty == ofb.Must {
			events = append(events, string(v.Event))
		}
		from = &to
	}
	return events
}

// journeys lead each kind into each of its states, by every way that makes a difference to the rules.
var journeys = map[ofb.Kind][][]ofb.Status{
	ofb.PaymentConsent: {
		{ofb.PartiallyAccepted, ofb.Authorised, ofb.Consumed},
		{ofb.PartiallyAccepted, ofb.Rejected},
		{ofb.Authorised, ofb.Consumed},
		{ofb.Authorised, ofb.Rejected},
		{ofb.Rejected},
	},
	ofb.PixPayment: {
		{ofb.PDNG, ofb.ACCP, ofb.ACPD, ofb.ACSC},
		{ofb.ACCP, ofb.ACPD, ofb.ACSC},
		{ofb.SCHD, ofb.ACPD, ofb.ACSC},
		{ofb.ACCP, ofb.SCHD, ofb.CANC},
		{ofb.PDNG, ofb.CANC},
		{ofb.PDNG, ofb.RJCT},
		{ofb.RJCT},
		{ofb.SCHD, ofb.RJCT},
		{ofb.ACCP, ofb.ACPD, ofb.RJCT},
	},
	ofb.RecurringConsent: {
		{ofb.PartiallyAccepted, ofb.Authorised, ofb.Consumed},
		{ofb.PartiallyAccepted, ofb.Rejected},
		{ofb.Authorised, ofb.Revoked},
		{ofb.Authorised, ofb.Consumed},
		{ofb.Rejected},
	},
	ofb.RecurringPayment: {
		{ofb.PDNG, ofb.ACCP, ofb.ACPD, ofb.ACSC},
		{ofb.SCHD, ofb.ACCP, ofb.ACPD, ofb.ACSC},
		{ofb.SCHD, ofb.CANC},
		{ofb.PDNG, ofb.CANC},
		{ofb.RJCT},
		{ofb.PDNG, ofb.RJCT},
		{ofb.SCHD, ofb.RJCT},
	},
	ofb.Enrollment: {
		{ofb.AwaitingAccountHolderValidation, ofb.AwaitingEnrollment, ofb.Authorised, ofb.Revoked},
		{ofb.AwaitingAccountHolderValidation, ofb.AwaitingEnrollment, ofb.Rejected},
		{ofb.AwaitingAccountHolderValidation, ofb.Rejected},
		{ofb.Rejected},
	},
}

// TestTheJourneysReachEveryStateThatMustBeTold keeps the test below honest: no state of the rules is left out of it.
func TestTheJourneysReachEveryStateThatMustBeTold(t *testing.T) {
	for _, kind := range ofb.Kinds() {
		reached := map[ofb.Status]bool{}
		for _, journey := range journeys[kind] {
			from := ofb.ResourceState{Status: kind.Initial()}
			for _, s := range journey {
				require.True(t, kind.Reaches(from.Status, s), "%s: %s to %s", kind, from.Status, s)
				to := ofb.ResourceState{Status: s}
				if ofb.Judge(kind, &from, to, ofb.Holder).Duty == ofb.Must {
					reached[s] = true
				}
				from = to
			}
		}
		for _, from := range kind.Statuses() {
			for _, to := range kind.Statuses() {
				if ofb.Judge(kind, &ofb.ResourceState{Status: from}, ofb.ResourceState{Status: to}, ofb.Holder).Duty == ofb.Must {
					require.True(t, reached[to], "%s: no journey is told of %s", kind, to)
				}
			}
		}
	}
}

// begin makes a resource of a kind in its initial state, payments under a consent of their own.
func (f *foreign) begin(kind ofb.Kind, n int) []string {
	f.t.Helper()
	ctx := f.t.Context()
	if parent, of := map[ofb.Kind]ofb.Kind{ofb.PixPayment: ofb.PaymentConsent, ofb.RecurringPayment: ofb.RecurringConsent}[kind]; of {
		consent, err := f.bank.New(ctx, parent, "alfa")
		require.NoError(f.t, err)
		require.NoError(f.t, f.bank.Move(ctx, parent, consent, ofb.Authorised))
		ids, err := f.bank.Pay(ctx, kind, "alfa", consent, n)
		require.NoError(f.t, err)
		return ids
	}
	ids := make([]string, n)
	for i := range ids {
		id, err := f.bank.New(ctx, kind, "alfa")
		require.NoError(f.t, err)
		ids[i] = id
	}
	return ids
}

// TestEveryStateOfAForeignCoreIsToldAsTheRulesDemand drives all kinds through all their states in tables that know
// nothing of us, with an ORM's habits, and compares what the receiver got with what package ofb demands of the states the
// bank itself wrote down as committed.
func TestEveryStateOfAForeignCoreIsToldAsTheRulesDemand(t *testing.T) {
	t.Parallel()
	f := openForeign(t, stage.Options{})
	ctx := t.Context()
	for _, kind := range ofb.Kinds() {
		ids := f.begin(kind, len(journeys[kind]))
		for n, journey := range journeys[kind] {
			for _, s := range journey {
				require.NoError(t, f.bank.Touch(ctx, kind, ids[n]))
				require.NoError(t, f.bank.Move(ctx, kind, ids[n], s))
			}
			require.NoError(t, f.bank.Touch(ctx, kind, ids[n]))
		}
	}
	f.compare(nil)
}

// compare waits until the receiver has all that is owed by the bank's ledger and by more, checks that it got nothing
// else, and that what the gateway answers is the core's last word.
func (f *foreign) compare(more map[string][]string) {
	t := f.t
	t.Helper()
	ledger, err := f.bank.Ledger(t.Context())
	require.NoError(t, err)
	want, total := map[string][]string{}, 0
	for kind, resources := range ledger {
		for id, states := range resources {
			events := slices.Sorted(slices.Values(append(owed(kind, states), more[id]...)))
			if total += len(events); len(events) > 0 {
				want[id] = events
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = f.alfa.Wait(ctx, total, nil)
	if err != nil {
		t.Logf("quarantine: %+v", f.openCases())
		t.Logf("source: %+v", f.source("mockbank"))
	}
	require.NoError(t, err)
	f.caughtUp(ledger)
	pending, err := f.core.Load().Settle(ctx, time.Hour)
	require.NoError(t, err)
	require.Zero(t, pending)
	require.Equal(t, want, told(f.alfa))
	require.Empty(t, f.openCases(), "the bank's rows fit the mapping")
	f.oneRowAFact()
}

// caughtUp waits until the gateway's current state of every resource is the core's.
func (f *foreign) caughtUp(ledger map[ofb.Kind]map[string][]ofb.Status) {
	t := f.t
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.Database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var behind []string
	f.until("the gateway knows the core's last word", time.Minute, func() bool {
		rows, err := conn.Query(t.Context(), "SELECT kind, id, status FROM arauto.resource")
		require.NoError(t, err)
		have := map[ofb.Kind]map[string]ofb.Status{}
		var kind int16
		var id, status string
		_, err = pgx.ForEachRow(rows, []any{&kind, &id, &status}, func() error {
			if have[ofb.Kind(kind)] == nil {
				have[ofb.Kind(kind)] = map[string]ofb.Status{}
			}
			have[ofb.Kind(kind)][id] = ofb.Status(status)
			return nil
		})
		require.NoError(t, err)
		behind = nil
		for kind, resources := range ledger {
			for id, states := range resources {
				if last := states[len(states)-1]; have[kind][id] != last {
					behind = append(behind, fmt.Sprintf("%s %s is %q and not %s", kind, id, have[kind][id], last))
				}
			}
		}
		return len(behind) == 0
	}, func() string { return strings.Join(behind[:min(len(behind), 5)], "; ") })
}

// TestEditsOfLimitsAreToldAsDataChanged is webhook §5.5 and §5.3 on a foreign core.
func TestEditsOfLimitsInAForeignCoreAreToldAsDataChanged(t *testing.T) {
	t.Parallel()
	f := openForeign(t, stage.Options{})
	ctx := t.Context()
	enrollment := f.begin(ofb.Enrollment, 1)[0]
	for _, s := range []ofb.Status{ofb.AwaitingAccountHolderValidation, ofb.AwaitingEnrollment, ofb.Authorised} {
		require.NoError(t, f.bank.Move(ctx, ofb.Enrollment, enrollment, s))
	}
	consent := f.begin(ofb.RecurringConsent, 1)[0]
	require.NoError(t, f.bank.Move(ctx, ofb.RecurringConsent, consent, ofb.Authorised))
	for _, limit := range []string{"2000.00", "2500.00"} {
		require.NoError(t, f.bank.Save(ctx, "enrollments", enrollment, func(r mockbank.Row) { r["daily_limit"] = limit }))
	}
	require.NoError(t, f.bank.Save(ctx, "recurring_payment_consents", consent, func(r mockbank.Row) {
		r["configuration"].(map[string]any)["automatic"].(map[string]any)["maximumVariableAmount"] = "700.00"
	}))
	f.compare(map[string][]string{
		mockbank.ResourceID(ofb.Enrollment, enrollment):    {"DATA_CHANGED", "DATA_CHANGED"},
		mockbank.ResourceID(ofb.RecurringConsent, consent): {"DATA_CHANGED"},
	})
}

// TestADeadlineThatAForeignCoreLeavesUnreadIsToldOnce is D-10: the core's row stays as it is until somebody reads it.
func TestADeadlineThatAForeignCoreLeavesUnreadIsToldOnce(t *testing.T) {
	t.Parallel()
	f := openForeign(t, stage.Options{})
	ctx := t.Context()
	const left = 3 * time.Second
	consent, err := f.bank.New(ctx, ofb.PaymentConsent, "alfa", func(r mockbank.Row) {
		r["created_at"], r["status_updated_at"] = time.Now().Add(left-5*time.Minute).UTC(), time.Now().Add(left-5*time.Minute).UTC()
		r["expires_at"] = time.Now().Add(left).UTC()
	})
	require.NoError(t, err)
	deadline := time.Now().Add(left)
	enrollment, err := f.bank.New(ctx, ofb.Enrollment, "alfa", func(r mockbank.Row) {
		r["created_at"] = time.Now().Add(left - 5*time.Minute).UTC()
	})
	require.NoError(t, err)
	soon, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	got, err := f.alfa.Wait(soon, 2, nil)
	require.NoError(t, err)
	require.Less(t, got[1].At.Sub(deadline), notice.FirstWithin, "within 1.5 s of the deadline")
	require.Greater(t, got[0].At.Sub(deadline), -2*time.Second)

	require.NoError(t, f.bank.Touch(ctx, ofb.Enrollment, enrollment)) // the core still says that it waits for signals
	f.until("the core's late word is put aside", time.Minute, func() bool { return len(f.openCases()) == 1 })
	require.NoError(t, f.bank.Read(ctx, consent)) // now the core notices as well
	f.caughtUp(map[ofb.Kind]map[string][]ofb.Status{ofb.PaymentConsent: {mockbank.ResourceID(ofb.PaymentConsent, consent): {ofb.Rejected}}})
	marker := f.begin(ofb.PixPayment, 1)[0]
	require.NoError(t, f.bank.Move(ctx, ofb.PixPayment, marker, ofb.RJCT))
	f.arrives(f.alfa, marker)
	events := told(f.alfa)
	require.Equal(t, []string{""}, events[mockbank.ResourceID(ofb.PaymentConsent, consent)], "what the core noticed later is no news")
	require.Equal(t, []string{"STATE_CHANGED"}, events[mockbank.ResourceID(ofb.Enrollment, enrollment)])
}

// TestAChangedRegistrationInTheAuthorizationServerIsInForceWithinSeconds follows its table of clients.
func TestAChangedRegistrationInTheAuthorizationServerIsInForceWithinSeconds(t *testing.T) {
	t.Parallel()
	f := openForeign(t, stage.Options{})
	ctx := t.Context()
	second := f.receiver()
	tell := func() string {
		id := f.begin(ofb.PixPayment, 1)[0]
		require.NoError(t, f.bank.Move(ctx, ofb.PixPayment, id, ofb.RJCT))
		return id
	}
	arrives := f.arrives
	arrives(f.alfa, tell())

	f.client("alfa", second.BaseURI("/new"))
	took := f.awaitInitiator("alfa", second.BaseURI("/new"))
	t.Logf("a changed address was in force after %s", took.Round(time.Millisecond))
	require.Less(t, took, 5*time.Second)
	arrives(second, tell())

	f.client("alfa", "https://inside.example/%zz") // breaks the rules of addresses
	f.until("the refused row is put aside", time.Minute, func() bool { return len(f.openCases()) == 1 })
	arrives(second, tell())
	require.NotZero(t, f.count("SELECT count(*) FROM arauto.entry WHERE kind = 'registration-refused' AND client_id = 'alfa' AND facts->>'actor' = 'source:mockbank'"))

	f.client("alfa") // push off
	f.awaitInitiator("alfa")
	silent := tell()
	f.caughtUp(map[ofb.Kind]map[string][]ofb.Status{ofb.PixPayment: {silent: {ofb.RJCT}}})
	f.client("alfa", f.alfa.BaseURI("/alfa"))
	f.awaitInitiator("alfa", f.alfa.BaseURI("/alfa"))
	arrives(f.alfa, tell())
	require.Empty(t, append(told(f.alfa)[silent], told(second)[silent]...), "switched on again, nothing of before is told")
	require.NotZero(t, f.count("SELECT count(*) FROM arauto.entry WHERE kind = 'registered' AND facts->>'basis' = 'checked-by-authorization-server'"))
}
