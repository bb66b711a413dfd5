package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/arauto/arauto/internal/lab/rabbit"
	"github.com/arauto/arauto/internal/lab/stage"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/watch"
	"github.com/arauto/arauto/internal/watch/kafka"
	"github.com/arauto/arauto/internal/watch/nats"
	"github.com/arauto/arauto/internal/watch/rabbitmq"
)

// readSample reads a file of docs/samples.
func readSample(t *testing.T, parts ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(sampleFile(parts...))
	require.NoError(t, err)
	return text
}

// localMapping copies a sample's mapping with the addresses of this test in place of the sample's: pairs of a text, which
// must stand in the sample, and what replaces it. Everything else is the sample's own. It returns the name of the copy.
func localMapping(t *testing.T, sample string, pairs ...string) string {
	t.Helper()
	text := string(readSample(t, sample, "core.yaml"))
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, text, pairs[i])
	}
	name := filepath.Join(t.TempDir(), sample+".yaml")
	require.NoError(t, os.WriteFile(name, []byte(strings.NewReplacer(pairs...).Replace(text)), 0o600))
	return name
}

// busTLS is the line of a sample that a bus on the loopback interface has no use for.
const busTLS = "  tls: {ca: /etc/arauto/bus-ca.pem}\n"

// sampleCore is the core of a sample: where its mapping is read, what it does once it is followed, and what an initiator
// must be told then: the event types, by resource, in order.
type sampleCore struct {
	mapping string
	play    func(t *testing.T, s *foreign)
	told    map[string][]string
	again   string // the metric that counts a message told twice; none where the core tells nothing twice
}

// sampleCores start the cores. One that this machine does not have is skipped.
var sampleCores = map[string]func(t *testing.T) sampleCore{
	"postgresql": postgresSample,
	"kafka":      kafkaSample,
	"nats":       natsSample,
	"rabbitmq":   rabbitSample,
}

// TestEachSampleOfASourceConnectsACore starts the core that a sample is about and a gateway with the sample's mapping, does
// in the core what the sample says, and compares what the initiator receives.
func TestEachSampleOfASourceConnectsACore(t *testing.T) {
	t.Parallel()
	for name, start := range sampleCores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := start(t)
			s := &foreign{house: open(t, stage.Options{Settings: append(slices.Clone(unhurried), "ARAUTO_WATCH_SOURCES="+core.mapping)})}
			alfa := s.initiator("alfa")
			checked := call(t, time.Minute, append([]string{"PATH=" + os.Getenv("PATH")}, s.Environment()...), "check")
			require.Equal(t, done, checked.code, checked.errors)
			core.play(t, s)
			s.until("what is told again is recognised", time.Minute, func() bool {
				text, err := s.replica.Metrics(t.Context())
				require.NoError(t, err)
				return strings.Contains(text, core.again)
			})

			total := 0
			for _, events := range core.told {
				total += len(events)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := alfa.Wait(ctx, total, nil)
			if err != nil {
				t.Logf("quarantine: %+v, told: %v", s.openCases(), told(alfa))
			}
			require.NoError(t, err)
			pending, err := s.core.Load().Settle(ctx, time.Hour)
			require.NoError(t, err)
			require.Zero(t, pending)
			require.Equal(t, core.told, told(alfa))
			require.Empty(t, s.openCases(), "the mapping takes everything that the core tells")
			s.oneRowAFact()
		})
	}
}

// postgresSample is a database with the tables and rows of the sample.
func postgresSample(t *testing.T) sampleCore {
	_, address := startCore(t, "core")
	conn, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	run := func(statement string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	for _, file := range []string{"schema.sql", "access.sql", "rows.sql"} {
		run(string(readSample(t, "postgresql", file)))
	}
	run("ALTER ROLE arauto_leitor PASSWORD 'leitor'")
	reader := filepath.Join(t.TempDir(), "core.url")
	writeReaderURL(t, reader, address, url.UserPassword("arauto_leitor", "leitor"))

	const state = "STATE_CHANGED"
	c := sampleCore{
		mapping: localMapping(t, "postgresql", "/etc/arauto/core.url", reader),
		told: map[string][]string{
			"urn:bancoexemplo:consent:7d0c5f1e-2b86-4c0b-9b1c-3f6f0a7d2e44":           {""},
			"3f0c1d52-8a35-4a43-9f0a-6f1c2a9d7e11":                                    {""},
			"urn:bancoexemplo:recurring-consent:5b0f6a1c-0c7d-4f3a-8d59-2e4b7c9a1f60": {state},
			"a4d2e7b9-6c31-4b58-9e70-1f8c5d3b2a96":                                    {"", ""},
			"urn:bancoexemplo:enrollment:c2b9f0d4-71e6-4a0d-b5c8-9d3e6f1a7b25":        {state},
		},
	}
	// Endings that the sample's rows do not come to: each is a new row like the sample's own.
	endings := []struct{ table, prefix, id, event, row string }{
		{
			"consentimentos", "urn:bancoexemplo:consent:", "00000000-0000-4000-8000-000000000001", "",
			`{"situacao": "REJEITADO", "conta_id": null, "recebedor_tipo": "PF", "recebedor_documento": "99999999999", "cnpj_empresa": "99999999000191",
			"motivo_codigo": "REJEITADO_USUARIO", "motivo_texto": "O usuário rejeitou."}`,
		},
		{
			"pagamentos", "", "00000000-0000-4000-8000-000000000002", "",
			`{"situacao": "REJEITADO", "id_fim_a_fim": "E99999004202611211200EXEMPLO0003", "conta_id": 8, "motivo_codigo": "SALDO_INSUFICIENTE", "motivo_texto": "Sem saldo."}`,
		},
		{
			"pagamentos", "", "00000000-0000-4000-8000-000000000003", "",
			`{"situacao": "CANCELADO", "id_fim_a_fim": "E99999004202611211200EXEMPLO0004", "conta_id": 9, "cancelado_por": "99999999999",
			"cancelado_em": "2026-11-21T09:00:00", "cancelado_canal": "INICIADORA"}`,
		},
		{
			"consentimentos_recorrentes", "urn:bancoexemplo:recurring-consent:", "00000000-0000-4000-8000-000000000004", state,
			`{"situacao": "REJEITADO", "conta_id": null, "autorizado_em": null, "motivo_codigo": "REJEITADO_USUARIO", "motivo_texto": "O usuário rejeitou."}`,
		},
		{
			"vinculos", "urn:bancoexemplo:enrollment:", "00000000-0000-4000-8000-000000000005", state,
			`{"situacao": "REVOGADO", "motivo_codigo": "REVOGADO_MANUALMENTE"}`,
		},
	}
	for _, e := range endings {
		c.told[e.prefix+e.id] = []string{e.event}
	}
	c.play = func(t *testing.T, s *foreign) {
		s.until("the log is followed", time.Minute, func() (following bool) {
			const slot = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'arauto_core' AND active)"
			require.NoError(t, conn.QueryRow(t.Context(), slot).Scan(&following))
			return following
		})
		require.Equal(t, len(ofb.Kinds()), s.count("SELECT count(DISTINCT kind) FROM arauto.resource"), "the first load stores a resource of each kind")
		for _, statement := range strings.Split(string(readSample(t, "postgresql", "changes.sql")), ";\n") {
			run(statement) // each a transaction of its own, as psql has it
		}
		run("INSERT INTO contas VALUES (8, '0001', '55512345', 'POUPANCA'), (9, '0001', '66612345', 'PAGAMENTO')")
		for _, e := range endings {
			run(fmt.Sprintf(`INSERT INTO %[1]s SELECT (jsonb_populate_record(t, '%[2]s' || jsonb_build_object('id', '%[3]s'))).* FROM %[1]s t LIMIT 1`, e.table, e.row, e.id))
		}
	}
	return c
}

// explainSample runs arauto explain on a sample's own files, without a gateway, and asserts what it shows.
func explainSample(t *testing.T, sample, message string, shows ...string) {
	t.Helper()
	got := call(t, time.Minute, nil, "explain", "--source", sampleFile(sample, "core.yaml"), "--row", string(readSample(t, sample, message)))
	require.Equal(t, done, got.code, got.out+got.errors)
	for _, text := range shows {
		require.Contains(t, got.out, text)
	}
}

// kafkaSample is a Kafka in this process, with the sample's topic and an account for its reader.
func kafkaSample(t *testing.T) sampleCore {
	const id, topic, user, password = "9e4b7a20-5d1c-4c8f-a6b3-0d2f8e1c7a54", "core.pagamentos", "arauto", "reader"
	explainSample(t, "kafka", "pagamento.json", `"amount": "150.25"`, "/payments/v5/pix/payments/"+id)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topic), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", user, password))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password), 0o600))
	login := scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.SASL(login))
	require.NoError(t, err)
	t.Cleanup(producer.Close)
	return sampleCore{
		mapping: localMapping(t, "kafka", "[kafka1.bank.example:9093, kafka2.bank.example:9093]", "["+cluster.ListenAddrs()[0]+"]", busTLS, "", "/run/secrets/bus-password", file),
		told:    map[string][]string{id: {""}},
		again:   `arauto_source_records_total{fate="duplicate",source="pagamentos",table="pagamentos"} 1`,
		play: func(t *testing.T, _ *foreign) {
			message := readSample(t, "kafka", "pagamento.json")
			for range 2 { // the second is the first told again
				require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{Key: []byte(id), Value: message}).FirstErr())
			}
		},
	}
}

// natsSample is a NATS server in this process, with a stream.
func natsSample(t *testing.T) sampleCore {
	const id = "urn:bancoexemplo:7d0c5f1e-2b86-4c0b-9b1c-3f6f0a7d2e44"
	explainSample(t, "nats", "consentimento.json", `"amount": "150.25"`, "/payments/v5/consents/"+id)
	b, address := openBus(t)
	return sampleCore{
		mapping: localMapping(t, "nats", "[tls://nats1.bank.example:4222, tls://nats2.bank.example:4222]", fmt.Sprintf("[%q]", address), busTLS, "",
			"  credentials_file: /run/secrets/arauto.creds\n", ""),
		told:  map[string][]string{id: {""}},
		again: `arauto_source_records_total{fate="duplicate",source="consentimentos",table="consentimentos"} 1`,
		play: func(t *testing.T, _ *foreign) {
			for range 2 {
				_, err := b.js.Publish(t.Context(), "core.consentimentos.rejeitado", readSample(t, "nats", "consentimento.json"))
				require.NoError(t, err)
			}
		},
	}
}

// rabbitSample is a RabbitMQ of the machine's own, with the sample's queue.
func rabbitSample(t *testing.T) sampleCore {
	const id = "urn:bancoexemplo:c2b9f0d4-71e6-4a0d-b5c8-9d3e6f1a7b25"
	explainSample(t, "rabbitmq", "vinculo.json", `"transactionLimit": "1000.00"`, "/enrollments/v2/enrollments/"+id)
	node, err := rabbit.New()
	if node != nil {
		t.Cleanup(node.Stop)
	}
	if err != nil && os.Getenv(rabbit.Require) == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(node.Password), 0o600))
	// The commands are the page's own. The function gives each of them the address of this node.
	admin := fmt.Sprintf("rabbitmqadmin() { command rabbitmqadmin --host=127.0.0.1 --port=%s --username=%s --password=%s \"$@\"; }", node.Management, rabbit.User, node.Password)
	run := func(command string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", admin+"\n"+command)
		cmd.Dir = sampleFile("rabbitmq")
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", said)
	}
	commands := regexp.MustCompile(`(?m)^    (rabbitmqadmin .*)$`).FindAllStringSubmatch(string(readSample(t, "rabbitmq", "README.md")), -1)
	require.Len(t, commands, 3, "queue, binding, message")
	run(commands[0][1])
	run(commands[1][1])
	return sampleCore{
		mapping: localMapping(t, "rabbitmq", "[amqps://rabbit1.bank.example:5671/core, amqps://rabbit2.bank.example:5671/core]",
			"['amqp://127.0.0.1:"+node.Port+"/']", busTLS, "", "/run/secrets/bus-password", file),
		told:  map[string][]string{id: {"STATE_CHANGED"}},
		again: `arauto_source_records_total{fate="duplicate",source="vinculos",table="vinculos"} 1`,
		play: func(*testing.T, *foreign) {
			run(commands[2][1])
			run(commands[2][1])
		},
	}
}

// TestTheSamplesAreFitForProduction holds the files as they are, addresses and logins included, to what production demands.
func TestTheSamplesAreFitForProduction(t *testing.T) {
	for sample, settings := range map[string]interface {
		Problems(production bool) []error
	}{"kafka": &kafka.Settings{}, "nats": &nats.Settings{}, "rabbitmq": &rabbitmq.Settings{}} {
		m, err := watch.ReadMapping(sampleFile(sample, "core.yaml"))
		require.NoError(t, err)
		require.Equal(t, sample, m.Type)
		require.NoError(t, m.Settings(settings))
		require.Empty(t, settings.Problems(true), sample)
	}
	m, err := watch.ReadMapping(sampleFile("postgresql", "core.yaml"))
	require.NoError(t, err)
	require.ElementsMatch(t, ofb.Kinds(), m.Kinds(), "all five kinds are mapped")
}
