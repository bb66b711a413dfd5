package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
)

// TestAnActThatWasApprovedSaysInWordsWhatBecameOfIt, in the reader's language; what the API answered stands below, for who looks for it.
func TestAnActThatWasApprovedSaysInWordsWhatBecameOfIt(t *testing.T) {
	for _, c := range []struct {
		call, body, state string
		status            int
		answer            string
		pt, en            []string
	}{
		{
			"POST /internal/v1/notifications/n-1/resend", `{"reason":"x"}`, "done", 202, `{"id":"n-2"}`,
			[]string{"Enviar mais uma vez a notificação n-1", "a nova notificação é n-2"},
			[]string{"Send the notification n-1 once more", "the new notification is n-2"},
		},
		{
			"POST /internal/v1/notifications/resend", `{"ids":["n-1","n-2"]}`, "done", 200,
			`{"results":[{"id":"n-1","status":202,"resent":"n-3"},{"id":"n-2","status":409,"error":"conflict","error_description":"it was sent","error_description_pt":"ela já foi enviada"}],"more":true}`,
			[]string{"Enviar mais uma vez 2 notificações", "Envios pedidos: 1.", "Recusado n-2: ela já foi enviada", "Há mais casos"},
			[]string{"Send 2 notifications once more", "POSTs asked for: 1.", "Refused n-2: it was sent", "There are more cases"},
		},
		{
			"POST /internal/v1/quarantine/c-1/apply", `null`, "done", 200, `{"changeId":"c","outcome":"applied","notifications":[{"id":"n"}]}`,
			[]string{"Aplicar o caso c-1 da quarentena", "A mudança do caso foi aplicada.", "Ela gerou 1 notificação."},
			[]string{"The change of the case was applied.", "It made 1 notification."},
		},
		{"POST /internal/v1/quarantine/c-1/apply", `null`, "done", 200, `{"id":"c-1","state":"applied"}`, []string{"O caso foi aplicado."}, []string{"The case was applied."}},
		{"POST /internal/v1/quarantine/apply", `{"ids":["c-1"]}`, "done", 200, `{"results":[{"id":"c-1","status":200}]}`, []string{"Aplicar 1 caso", "Casos aplicados: 1."}, []string{"Apply 1 case", "Cases applied: 1."}},
		{"POST /internal/v1/quarantine/c-1/dismiss", `{}`, "done", 200, `{"id":"c-1"}`, []string{"O caso foi dispensado"}, []string{"The case was dismissed"}},
		{"POST /internal/v1/quarantine/dismiss", `{"ids":["c-1","c-2"]}`, "done", 200, `{"results":[{"id":"c-1","status":200},{"id":"c-2","status":200}]}`, []string{"Casos dispensados: 2."}, []string{"Cases dismissed: 2."}},
		{"PUT /internal/v1/audit/holds/case-1", `{"all":true}`, "done", 201, `{"name":"case-1"}`, []string{"Criar a retenção case-1", "A retenção foi criada."}, []string{"Place the hold case-1", "The hold was placed."}},
		{"DELETE /internal/v1/audit/holds/case-1?reason=settled", `null`, "done", 204, `null`, []string{"Encerrar a retenção case-1", "A retenção foi encerrada."}, []string{"The hold was lifted."}},
		{"PUT /internal/v1/initiators/alfa%20a", `{}`, "done", 201, `{"clientId":"alfa"}`, []string{"Gravar o registro da iniciadora alfa a", "A iniciadora foi registrada."}, []string{"The initiator was registered."}},
		{"PUT /internal/v1/initiators/alfa", `{}`, "done", 200, `{"clientId":"alfa"}`, []string{"O registro foi gravado."}, []string{"The registration was stored."}},
		{"DELETE /internal/v1/initiators/alfa", `null`, "done", 204, `null`, []string{"O registro foi encerrado"}, []string{"The registration was ended"}},
		{"POST /internal/v1/sources/pix/pause", `{}`, "done", 200, `{"name":"pix"}`, []string{"Pausar a fonte pix", "A fonte foi pausada"}, []string{"The source was paused"}},
		{"POST /internal/v1/sources/pix/resume", `{}`, "done", 200, `{"name":"pix"}`, []string{"A fonte foi retomada."}, []string{"The source was resumed."}},
		{"POST /internal/v1/sources/pix/accept", `{}`, "done", 200, `{"name":"pix"}`, []string{"O achado foi aceito"}, []string{"The finding was accepted"}},
		{
			"POST /internal/v1/sources/pix/reapply", `null`, "done", 200, `{"applied":3,"superseded":1,"duplicate":1,"conflict":1,"quarantined":2,"registered":1,"unmapped":1,"skipped":1}`,
			[]string{"Aplicados: 3", "Superados por revisão mais nova: 1", "Já recebidos: 1", "Em conflito: 1", "Ainda em quarentena: 2", "Registros de iniciadoras: 1", "Ainda sem mapeamento: 1", "Agora fora do mapeamento: 1"},
			[]string{"Applied: 3"},
		},
		{
			"DELETE /internal/v1/audit/holds/case-1?reason=settled", `null`, "failed", 404, `{"error":"not_found","error_description":"resource not found","error_description_pt":"recurso não encontrado"}`,
			[]string{"Não foi feito: recurso não encontrado"},
			[]string{"It was not done: resource not found"},
		},
		{"POST /internal/v1/of/tomorrow", `{}`, "done", 200, `{}`, []string{"Retenção", "O ato foi feito."}, []string{"Hold", "The act was done."}},
	} {
		internal := answers{"GET /internal/v1/requests": fmt.Sprintf(`{"requests":[{"request":"r-1","act":"hold","state":%q,"call":%q,"body":%s,"reason":"court","askedBy":"ana","askedRole":"auditor",
			"askedAt":"2026-11-28T14:04:41Z","expiresAt":"2026-11-29T14:04:41Z","decidedBy":"bia","decisionReason":"read it","decidedAt":"2026-11-28T14:05:00Z","status":%d,"answer":%s,"decideRoles":["auditor"]}]}`,
			c.state, c.call, c.body, c.status, c.answer)}
		for lang, says := range map[page.Lang][]string{page.Portuguese: c.pt, page.English: c.en} {
			_, card, _ := strings.Cut(shown(t, internal, lang, http.MethodGet, "/requests", "/requests?state=all", nil), `<section class="card"`)
			told, below, there := strings.Cut(card, "<details>")
			require.True(t, there)
			for _, text := range says {
				require.Contains(t, told, text, c.call)
			}
			require.NotContains(t, told, "{", c.call)
			require.NotContains(t, told, "HTTP", c.call)
			require.Contains(t, below, fmt.Sprint("HTTP ", c.status))
		}
	}
}
