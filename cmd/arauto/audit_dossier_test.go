package main

import (
	"fmt"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
)

// tries writes a notification of p-3 that came in at an instant and was attempted so many seconds after it, the last time
// with success where delivered says so. Each attempt takes 50 ms.
func (p *proven) tries(came time.Time, delivered bool, seconds ...float64) notice.ID {
	p.t.Helper()
	id := store.NewID()
	at := func(s float64) string {
		return came.Add(time.Duration(s * float64(time.Second))).UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	const columns = "INSERT INTO arauto.entry (id, at, kind, client_id, resource_kind, resource_id, revision, notification_id, interaction_id, number, outcome, closes, facts) VALUES "
	p.exec(columns + fmt.Sprintf(`(gen_random_uuid(), '%[1]s', 'change', 'itp', 2, 'p-3', 1, '%[2]s', NULL, NULL, 'applied', NULL,
'{"source":"api","occurredAt":"%[3]s","beganMicros":1000,"waitedMicros":1500}')`, at(0), id, at(-.1)))
	due := 0.
	for n, s := range seconds {
		outcome, closes := "refused", "NULL"
		if last := n == len(seconds)-1; last && delivered {
			outcome, closes = "delivered", "'delivered'"
		} else if n == 2 {
			closes = "'exhausted'"
		}
		p.exec(columns + fmt.Sprintf(`
('%[1]s', '%[2]s', 'attempt', 'itp', 2, 'p-3', NULL, '%[3]s', '%[4]s', %[5]d, NULL, NULL, '{"scheduledAt":"%[6]s"}'),
(gen_random_uuid(), '%[7]s', 'result', 'itp', 2, 'p-3', NULL, '%[3]s', NULL, %[5]d, '%[8]s', %[9]s, '{"attempt":"%[1]s","endedAt":"%[10]s","httpStatus":503,
"claimToSendMicros":500,"dialledMicros":8000,"handshakenMicros":18000,"firstByteOutMicros":20000,"answeredMicros":49000,"elapsedMicros":49500}')`,
			store.NewID(), at(s), id, store.NewID(), n+1, at(due), at(s+.06), outcome, closes, at(s+.05)))
		due = s + .05 + map[int]float64{0: 10, 1: 60}[n]
	}
	return id
}

// TestTheDossierHasTheClockProofOfEachNotification: the instants and verdicts that the database tells, made of the verified
// entries alone.
func TestTheDossierHasTheClockProofOfEachNotification(t *testing.T) {
	p := openProven(t, 30)
	came := time.Now().Add(-time.Hour).Truncate(time.Second)
	p.exec(fmt.Sprintf(`INSERT INTO arauto.entry (id, at, kind, facts) SELECT gen_random_uuid(), '%s'::timestamptz + n * interval '100 milliseconds', 'poll', '{}'
FROM generate_series(-20, 1200) n WHERE n NOT BETWEEN 601 AND 632`, came.Format(time.RFC3339)))
	inTime := p.tries(came, true, .02)
	queued := p.tries(came.Add(30*time.Second), true, 3)
	still := p.tries(came.Add(60*time.Second), true, 3.15)
	givenUp := p.tries(came.Add(5*time.Second), false, .02, 10.08, 75)
	p.seal()

	for lang, words := range map[string]map[notice.ID][]string{
		"en": {
			inTime:  {"  delivered\n", "first attempt: on time, 0.141 s after the event; on time, 0.042 s after arrival\n"},
			queued:  {"first attempt: late, 3.120 s after the event; late, 3.022 s after arrival; cause: queue\n"},
			still:   {"first attempt: late, 3.271 s after the event; late, 3.171 s after arrival; cause: standstill (database or replicas)\n"},
			givenUp: {"given up, attempts exhausted\n", "second attempt: on time, 10.030 s after the failure\n", "third attempt: late, 64.891 s after the failure; cause: queue\n"},
		},
		"pt": {
			inTime:  {"  entregue\n", "primeira tentativa: no prazo, 0,141 s após o evento", "conectada (TCP)", "handshake TLS", "primeiro byte enviado", "respondida"},
			queued:  {"primeira tentativa: atrasada, 3,120 s após o evento", "causa: fila\n"},
			still:   {"causa: paralisação (banco de dados ou réplicas)\n"},
			givenUp: {"desistida, tentativas esgotadas\n", "segunda tentativa: no prazo", "terceira tentativa: atrasada, 64,891 s após a falha; causa: fila\n"},
		},
	} {
		code, text := p.run("audit", "dossier", "p-3", "--database-url", p.url, "--lang", lang, "--format", "text")
		require.Equal(t, done, code, text)
		code, page := p.run("audit", "dossier", "p-3", "--database-url", p.url, "--lang", lang)
		require.Equal(t, done, code, page)
		page = html.UnescapeString(page)
		for id, verdicts := range words {
			timing, err := p.auditlog.Timing(t.Context(), id)
			require.NoError(t, err)
			proof := strings.Join(timing.Lines(lang), "\n") + "\n"
			require.Contains(t, text, proof, "the dossier and the API say the same")
			for _, v := range verdicts {
				require.Contains(t, proof, v)
			}
			said := timing.Words(lang)
			require.Contains(t, page, "<h3>"+said.Heading+"</h3>")
			for _, v := range said.Verdicts {
				require.Contains(t, page, "<li>"+v+"</li>")
			}
			for _, s := range said.Steps {
				require.Contains(t, page, s.What)
				require.Contains(t, page, s.At)
				require.Contains(t, page, s.Distance)
			}
		}
	}
}
