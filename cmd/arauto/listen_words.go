package main

import "fmt"

// texts are what is said for people in one language, by key.
type texts map[string]string

// violation is one thing that is not as the webhook API has it: the key of its text, and what stands in it.
type violation struct {
	key  string
	args []any
}

// violations are all of one request.
type violations []violation

func (v *violations) add(key string, args ...any) { *v = append(*v, violation{key, args}) }

// in returns the texts in a language.
func (v violations) in(w texts) []string {
	out := make([]string, 0, len(v))
	for _, one := range v {
		out = append(out, fmt.Sprintf(w[one.key], one.args...))
	}
	return out
}

// listenWords are the texts of listen, in English and Portuguese.
var listenWords = map[string]texts{
	"en": {
		"certificates": "no certificates are named (--tls-cert, --tls-key, --client-ca, or --pki), and %v",
		"listening":    "register it, and stop with Ctrl-C", "refused": "handshake refused", "from": "from", "body": "body ", "wrong": "WRONG", "answer": "answer",
		"no-answer": "the app gave no answer: %s", "dropped": "dropped without an answer", "missed": "missed",
		"gone":    "too late: the caller ended the connection before the answer",
		"summary": "%d received, %d with mistakes, %d dropped, %d resources never answered with 2xx",

		"organisation": "the caller's certificate is of organisation %q; --expect-organisation is %q",
		"method":       "the method must be POST",
		"path":         "the path is not one of the webhook API's; after the registered base it must be a resource's",
		"query":        "the URL has a query; it must have none",
		"content":      "Content-Type is %q, must be application/json",
		"interaction":  "x-webhook-interaction-id: %v",
		"server":       "x-authorization-server-id is missing; a notification of an enrolment must have it",
		"early":        "the body ended early: %v",
		"body-form":    `the body is not {"data":{"timestamp","eventType"}}: %s`,
		"data":         `the body has no member data; it must be {"data":{…}}`,
		"timestamp":    "data.timestamp must be UTC to the second, as 2026-11-21T12:00:00Z",
		"event":        "data.eventType must be STATE_CHANGED or DATA_CHANGED",

		"id":            "the id in the path does not have the form of %s",
		"reused":        "x-webhook-interaction-id came before; each attempt must have a new one",
		"event-missing": "data.eventType is missing; a notification of an enrolment or of a recurring consent must have it",
		"event-extra":   "data.eventType must not be there; only notifications of enrolments and recurring consents have it",
	},
	"pt": {
		"certificates": "nenhum certificado foi informado (--tls-cert, --tls-key, --client-ca, ou --pki), e %v",
		"listening":    "registre este endereço; Ctrl-C encerra", "refused": "handshake recusado", "from": "de  ", "body": "corpo", "wrong": "ERRADO", "answer": "resposta",
		"no-answer": "a aplicação não respondeu: %s", "dropped": "encerrada sem resposta", "missed": "perdido",
		"gone":    "tarde demais: quem chama encerrou a conexão antes da resposta",
		"summary": "%d recebidas, %d com erros, %d encerradas sem resposta, %d recursos nunca respondidos com 2xx",

		"organisation": "o certificado de quem chama é da organização %q; --expect-organisation é %q",
		"method":       "o método deve ser POST",
		"path":         "o caminho não é da API de webhook; depois da base registrada deve vir o de um recurso",
		"query":        "a URL tem parâmetros (?); não deve ter nenhum",
		"content":      "Content-Type é %q; deve ser application/json",
		"interaction":  "x-webhook-interaction-id deve ser um UUID: %v",
		"server":       "falta x-authorization-server-id; a notificação de um vínculo deve tê-lo",
		"early":        "o corpo terminou antes do fim: %v",
		"body-form":    `o corpo não é {"data":{"timestamp","eventType"}}: %s`,
		"data":         `o corpo não tem o membro data; deve ser {"data":{…}}`,
		"timestamp":    "data.timestamp deve ser UTC com segundos, como 2026-11-21T12:00:00Z",
		"event":        "data.eventType deve ser STATE_CHANGED ou DATA_CHANGED",

		"id":            "o id no caminho não tem a forma de %s",
		"reused":        "x-webhook-interaction-id já veio antes; cada tentativa deve ter um novo",
		"event-missing": "falta data.eventType; a notificação de um vínculo ou de um consentimento recorrente deve trazer esse membro",
		"event-extra":   "data.eventType não deve vir; só notificações de vínculos e de consentimentos recorrentes o trazem",
	},
}
