package main

import (
	"context"
	"errors"
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

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/lab/standin"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch/sources"
)

// act asks the gateway to do something with the bank's source.
func (f *foreign) act(what string, out any) {
	f.t.Helper()
	require.NoError(f.t, f.core.Load().Call(f.t.Context(), http.MethodPost, "/internal/v1/sources/mockbank/"+what, map[string]string{"reason": "a test"}, out))
}

func (f *foreign) arrives(i *standin.Initiator, id string) {
	f.t.Helper()
	soon, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	_, err := i.Wait(soon, 1, standin.For(id))
	require.NoError(f.t, err)
}

// reports waits until the replica has told how the source stands that many times more: it has looked around as often.
func (f *foreign) reports(times int) {
	f.t.Helper()
	for range times {
		before := f.source("mockbank").Status["updatedAt"]
		f.until("the source reports", time.Minute, func() bool { return f.source("mockbank").Status["updatedAt"] != before })
	}
}

// exec changes the bank's database.
func (f *foreign) exec(statement string) {
	f.t.Helper()
	_, err := f.bank.Pool().Exec(f.t.Context(), statement)
	require.NoError(f.t, err)
}

func TestAPausedSourceReadsNothingAndGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	f := openForeign(t, stage.Options{})
	f.act("pause", nil)
	f.until("the source is paused", 10*time.Second, func() bool { return f.source("mockbank").Status["state"] == "paused" })
	require.False(t, f.source("mockbank").Running)
	id := f.begin(ofb.PixPayment, 1)[0]
	require.NoError(t, f.bank.Move(t.Context(), ofb.PixPayment, id, ofb.RJCT))
	f.reports(2)
	require.Empty(t, told(f.alfa)[id])
	require.Zero(t, f.count("SELECT count(*) FROM arauto.resource"))
	f.act("resume", nil)
	f.arrives(f.alfa, id)
	f.compare(nil)
	require.Equal(t, 2, f.count("SELECT count(*) FROM arauto.entry WHERE kind = 'admin' AND outcome IN ('source-paused', 'source-resumed') AND facts->>'reason' = 'a test'"))
}

// TestWhatAMappingCouldNotMapIsToldOnceItIsCorrected leaves states out of a mapping, corrects it, and applies what was put
// aside, oldest first.
func TestWhatAMappingCouldNotMapIsToldOnceItIsCorrected(t *testing.T) {
	t.Parallel()
	const whole, part = "    version: version\n    status: status\n", "    version: version\n    status: {value: status, map: {RCVD: RCVD, AUTHORISED: AUTHORISED, AWAITING_AUTHORISATION: AWAITING_AUTHORISATION}}\n"
	f := prepareForeign(t, stage.Options{})
	good, err := os.ReadFile(f.mapping)
	require.NoError(t, err)
	payments := string(good)[strings.Index(string(good), "  payments:"):]
	poor := strings.Replace(string(good), payments, strings.Replace(payments, whole, strings.Replace(part, ", AUTHORISED: AUTHORISED, AWAITING_AUTHORISATION: AWAITING_AUTHORISATION", "", 1), 1), 1)
	require.NotEqual(t, string(good), poor)
	require.NoError(t, os.WriteFile(f.mapping, []byte(poor), 0o600))
	f.begins()
	id := f.begin(ofb.PixPayment, 1)[0]
	for _, s := range []ofb.Status{ofb.PDNG, ofb.ACCP, ofb.ACPD, ofb.ACSC} {
		require.NoError(t, f.bank.Move(t.Context(), ofb.PixPayment, id, s))
	}
	f.until("four rows are put aside", 15*time.Second, func() bool { return len(f.openCases()) == 4 })
	for _, c := range f.openCases() {
		require.Equal(t, []string{"mockbank", id}, []string{c.Source, c.ResourceID}, "a case has the resource's id where that can be told")
	}
	putAside := time.Now()
	require.Empty(t, told(f.alfa)[id])
	var counts map[string]any
	f.act("reapply", &counts)
	require.EqualValues(t, 4, counts["unmapped"], counts)

	// What is not confirmed yet is told again after the restart, and then nothing is left to apply.
	f.until("what was put aside is confirmed to the core's log", 15*time.Second, f.confirmed(f.logEnd()))
	require.NoError(t, os.WriteFile(f.mapping, good, 0o600))
	require.NoError(t, f.replica.Stop())
	f.start()
	f.until("the rule's 1.5 s are over", 10*time.Second, func() bool { return time.Since(putAside) > 2*notice.FirstWithin })
	f.act("reapply", &counts)
	require.EqualValues(t, 4, counts["applied"], counts)
	f.compare(nil)
	total, breaches := f.account()
	require.Positive(t, total.Late)
	require.Equal(t, map[notice.Delay]int64{notice.DelayQuarantine: total.Late}, total.LateBy, "our mapping was wrong, and the core in time: %+v", breaches)
	require.Equal(t, total.Late, total.LateOurs)
}

// logEnd is the end of the core's log.
func (f *foreign) logEnd() (lsn string) {
	f.t.Helper()
	require.NoError(f.t, f.bank.Pool().QueryRow(f.t.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&lsn))
	return lsn
}

// confirmed asks whether the slot has confirmed the core's log up to there.
func (f *foreign) confirmed(lsn string) func() bool {
	return func() (up bool) {
		require.NoError(f.t, f.bank.Pool().QueryRow(f.t.Context(),
			"SELECT coalesce(bool_and(confirmed_flush_lsn >= $1::pg_lsn), false) FROM pg_replication_slots", lsn).Scan(&up))
		return up
	}
}

// TestATableThatNoLongerFitsStopsAlone renames a column of the core's payments under our feet.
func TestATableThatNoLongerFitsStopsAlone(t *testing.T) {
	t.Parallel()
	f := openForeign(t, stage.Options{})
	ids := f.begin(ofb.PixPayment, 2)
	f.exec("ALTER TABLE payments RENAME COLUMN proxy TO pix_key")
	require.NoError(t, f.bank.Move(t.Context(), ofb.PixPayment, ids[0], ofb.RJCT))
	consent, err := f.bank.New(t.Context(), ofb.PaymentConsent, "alfa")
	require.NoError(t, err)
	require.NoError(t, f.bank.Move(t.Context(), ofb.PaymentConsent, consent, ofb.Rejected))
	f.arrives(f.alfa, consent)
	require.Empty(t, told(f.alfa)[ids[0]])
	f.until("the payment is put aside", 10*time.Second, func() bool { return len(f.openCases()) == 1 })
	f.until("the source is read all the same, and names the table", 10*time.Second, func() bool {
		s := f.source("mockbank")
		tables, _ := s.Status["stopped"].([]any)
		return s.Running && len(tables) == 1
	})
	f.until("the figures tell it", 10*time.Second, func() bool { // a row is counted once the gateway knows that it is stored
		text, err := f.replica.Metrics(t.Context())
		require.NoError(t, err)
		return strings.Contains(text, `arauto_source_tables_stopped{source="mockbank"} 1`) &&
			strings.Contains(text, `arauto_source_records_total{fate="quarantined",source="mockbank",table="payments"} 1`)
	})

	f.exec("ALTER TABLE payments RENAME COLUMN pix_key TO proxy")
	require.NoError(t, f.bank.Move(t.Context(), ofb.PixPayment, ids[1], ofb.RJCT))
	f.arrives(f.alfa, ids[1])
	after, err := f.replica.Metrics(t.Context())
	require.NoError(t, err)
	require.Contains(t, after, `arauto_source_tables_stopped{source="mockbank"} 0`)
	require.Contains(t, after, `arauto_source_reading{source="mockbank"} 1`)
}

// TestReadinessCanFollowTheLagOfASource freezes the core's database: nobody can say any more how far behind we are, but
// that it is more with every second.
func TestReadinessCanFollowTheLagOfASource(t *testing.T) {
	t.Parallel()
	f := openForeign(t, stage.Options{Settings: []string{"ARAUTO_WATCH_READINESS=1s"}})
	ready := func() bool { return status(t, "http://"+f.replica.Ops+"/readyz") == http.StatusOK }
	f.until("the gateway is ready", 10*time.Second, ready)
	thaw, err := (&stage.Stage{Server: f.server}).FreezeServer()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer thaw()
	f.until("the gateway is not ready", 15*time.Second, func() bool { return !ready() })
	thaw()
	f.until("the gateway is ready again", 30*time.Second, ready)
	require.NoError(t, f.server.Kill()) // and when it never comes back
	f.until("the gateway is not ready", 15*time.Second, func() bool { return !ready() })
	require.NoError(t, f.server.Restart(t.Context()))
	f.until("the gateway is ready again", 30*time.Second, ready)
}

// TestCheckLooksAtSourcesAsServeWould runs arauto check on the sample, and on a bank in which much is wrong.
func TestCheckLooksAtSourcesAsServeWould(t *testing.T) {
	t.Parallel()
	f := prepareForeign(t, stage.Options{})
	check := func() called {
		return call(t, time.Minute, append(append([]string{"PATH=" + os.Getenv("PATH")}, f.Environment()...), "ARAUTO_WEBHOOK_TIMEOUT=15s"), "check")
	}
	good := check()
	require.Equal(t, done, good.code, good.errors)
	require.Contains(t, good.out, "source mockbank: postgres, enrollments, oauth_clients, payment_consents, payments, recurring_payment_consents, recurring_payments")
	require.Zero(t, f.slots(), "check makes nothing")

	f.exec("ALTER TABLE payments RENAME COLUMN proxy TO pix_key; ALTER TABLE enrollments RENAME COLUMN daily_limit TO per_day; REVOKE SELECT ON payment_consents FROM arauto_reader")
	bad := check()
	require.Equal(t, usage, bad.code)
	for _, want := range []string{"mockbank.yaml:", "proxy", "daily_limit", "may not read payment_consents"} {
		require.Contains(t, bad.errors, want)
	}
	require.NotContains(t, bad.errors+bad.out, "reader:reader", "no password is shown")

	require.NoError(t, os.WriteFile(filepath.Join(f.Dir, "core.url"), []byte("postgres://nobody:"+secret+"@127.0.0.1:1/bank"), 0o600))
	away := check()
	require.Equal(t, usage, away.code)
	require.Contains(t, away.errors, "mockbank.yaml: postgres:")
	require.NotContains(t, away.errors, secret)

	require.NoError(t, os.WriteFile(f.mapping, []byte("source: mockbank\ntype: postgres\ntables: {payments: {kind: boleto}}\nqueue: 7\n"), 0o600))
	wrong := check()
	require.Equal(t, usage, wrong.code)
	require.Contains(t, wrong.errors, "mockbank.yaml:3:")
	require.Contains(t, wrong.errors, "mockbank.yaml:4: queue")
}

// slots counts the places kept in the bank's log.
func (f *foreign) slots() (n int) {
	f.t.Helper()
	require.NoError(f.t, f.bank.Pool().QueryRow(f.t.Context(), "SELECT count(*) FROM pg_replication_slots").Scan(&n))
	return n
}

func TestWrongSettingsOfSourcesNameFileLineAndKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	const table = "tables: {payments: {kind: pix-payment, id: id, client: client, version: v5, revision: seq, status: status, data: {}}}\n"
	good := write("good.yaml", "source: core\ntype: kafka\nkafka: {brokers: ['127.0.0.1:1'], group: g, topics: {payments: ''}}\n"+table)
	same := write("same.yaml", "source: core\ntype: kafka\nkafka: {brokers: ['127.0.0.1:1'], group: g, topics: {payments: ''}}\n"+table)
	for name, c := range map[string]struct {
		set  []string
		want string
	}{
		"a file that is not there":        {[]string{"ARAUTO_WATCH_SOURCES=" + filepath.Join(dir, "absent.yaml")}, "watch.sources (ARAUTO_WATCH_SOURCES)"},
		"a file named twice":              {[]string{"ARAUTO_WATCH_SOURCES=" + good + "," + good}, "name each mapping file once"},
		"two sources of one name":         {[]string{"ARAUTO_WATCH_SOURCES=" + good + "," + same}, `both named "core"`},
		"an unknown type":                 {[]string{"ARAUTO_WATCH_SOURCES=" + write("oracle.yaml", "source: core\ntype: oracle\n"+table)}, "oracle.yaml:2: type"},
		"an expression":                   {[]string{"ARAUTO_WATCH_SOURCES=" + write("expr.yaml", strings.Replace("source: core\ntype: kafka\n"+table, "id: id", "id: '1 +'", 1))}, "expr.yaml:3: tables.payments.id"},
		"an unknown setting":              {[]string{"ARAUTO_WATCH_SOURCES=" + write("slot.yaml", "source: core\ntype: postgres\npostgres: {url: 'postgres://h/d', slots: 3}\n"+table)}, "slot.yaml:3: postgres.slots"},
		"a setting that cannot be":        {[]string{"ARAUTO_WATCH_SOURCES=" + write("lag.yaml", "source: core\ntype: postgres\npostgres: {url: 'postgres://h/d', status_interval: 1h}\n"+table)}, "status_interval"},
		"a bus without TLS in production": {[]string{"ARAUTO_PROFILE=production", "ARAUTO_WATCH_SOURCES=" + good}, "good.yaml: kafka:"},
		"a queue that numbers nothing": {
			[]string{"ARAUTO_WATCH_SOURCES=" + write("queue.yaml", strings.Replace("source: core\ntype: rabbitmq\nrabbitmq: {urls: ['amqp://h'], queues: {payments: ''}}\n"+table, "revision: seq, ", "", 1))},
			"queue.yaml:4: tables.payments.revision: is missing, and a queue numbers nothing; name the member",
		},
		"readiness under a second": {[]string{"ARAUTO_WATCH_READINESS=10ms"}, "watch.readiness (ARAUTO_WATCH_READINESS)"},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, time.Minute, append([]string{"PATH=" + os.Getenv("PATH")}, c.set...), "check")
			require.Equal(t, usage, got.code)
			require.Contains(t, got.errors, c.want)
		})
	}
}

// TestTheSampleFitsTheBanksOwnMigrations holds the sample against the migrations of the public mock bank, where they can be had:
// ARAUTO_MOCKBANK_MIGRATIONS names the folder of a copy of them.
func TestTheSampleFitsTheBanksOwnMigrations(t *testing.T) {
	folder := os.Getenv("ARAUTO_MOCKBANK_MIGRATIONS")
	if folder == "" {
		t.Skip("ARAUTO_MOCKBANK_MIGRATIONS names no folder")
	}
	t.Parallel()
	_, address := startCore(t, "bank")
	files, err := filepath.Glob(filepath.Join(folder, "*.up.sql"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	slices.Sort(files)
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	for _, file := range append(files, filepath.Join(samples, "access.sql")) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), string(text))
		require.NoError(t, err, file)
	}
	_, err = conn.Exec(t.Context(), "ALTER ROLE arauto_reader PASSWORD 'reader'")
	require.NoError(t, err)
	dir := t.TempDir()
	writeReaderURL(t, filepath.Join(dir, "core.url"), address, url.UserPassword("arauto_reader", "reader"))
	cfg := config.Standard()
	cfg.Profile, cfg.Watch.Sources = config.Development, []string{mappings(t, dir)}
	_, err = sources.Examine(t.Context(), cfg)
	require.NoError(t, err)
}
