package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// Outcome is what becomes of a resource whose amount has certain cents.
type Outcome struct {
	Cents  int // 0 to 99
	Kinds  []ofb.Kind
	Steps  []Step
	Reason string // code of the rejection; "": the document's own
	EN, PT string // what happens

	Consent      ConsentOrder  // of a payment whose POST consumes its consent
	BeforeAnswer bool          // the notification comes before the POST is answered
	LoseRequests int           // attempts of its first notification that do not reach the receiver
	LoseAnswers  int           // attempts that reach the receiver and whose answers are lost
	Late         time.Duration // how long after the event the core tells it
	Expires      bool          // its deadline passes a few seconds after its creation
}

// Step brings a resource to a state, so long after the step before. A step that edits changes a limit and leaves the state.
type Step struct {
	To    ofb.Status
	After time.Duration
	Edit  bool
}

// ConsentOrder says when the consent of a payment becomes CONSUMED.
type ConsentOrder uint8

// The orders (webhook §8.1, scenario 2: none is guaranteed).
const (
	Together      ConsentOrder = iota // at the same time as the payment
	ConsentFirst                      // its notification comes first
	ConsentSecond                     // the payment's notification comes first
)

// DataChanged stands for a change of data where a state stands.
const DataChanged = string(ofb.DataChanged)

// The times of the table.
const (
	soon       = 5 * time.Second  // between a schedule and its end, between AUTHORISED and an edit
	pendingFor = time.Minute      // in PDNG
	lateBy     = 30 * time.Second // between event and telling
	expiresIn  = 5 * time.Second  // between creation and deadline
)

// Cents of the first reason of a list.
const (
	paymentReasons = 20
	consentReasons = 50
)

var (
	payments = []ofb.Kind{ofb.PixPayment, ofb.RecurringPayment}
	consents = []ofb.Kind{ofb.PaymentConsent, ofb.RecurringConsent}
	settled  = []Step{{To: ofb.ACCP}, {To: ofb.ACPD}, {To: ofb.ACSC}}
	linked   = []Step{{To: ofb.AwaitingAccountHolderValidation}, {To: ofb.AwaitingEnrollment}, {To: ofb.Authorised}}
)

// reasons are the codes of rejection of each kind's newest version, in the order of the API's document. A test compares them with the
// documents that the gateway serves.
var reasons = map[ofb.Kind][]string{
	ofb.PixPayment: {
		"SALDO_INSUFICIENTE", "VALOR_ACIMA_LIMITE", "VALOR_INVALIDO", "COBRANCA_INVALIDA", "NAO_INFORMADO", "PAGAMENTO_DIVERGENTE_CONSENTIMENTO",
		"DETALHE_PAGAMENTO_INVALIDO", "PAGAMENTO_RECUSADO_DETENTORA", "PAGAMENTO_RECUSADO_SPI", "FALHA_INFRAESTRUTURA", "FALHA_INFRAESTRUTURA_SPI",
		"FALHA_INFRAESTRUTURA_DICT", "FALHA_INFRAESTRUTURA_ICP", "FALHA_INFRAESTRUTURA_PSP_RECEBEDOR", "FALHA_INFRAESTRUTURA_DETENTORA",
		"CONTAS_ORIGEM_DESTINO_IGUAIS", "FALHA_AGENDAMENTO_PAGAMENTOS", "CHAVE_PIX_DIVERGENTE_AGENDAMENTO_LIQUIDACAO", "CONTA_NAO_PERMITE_PAGAMENTO",
		"QRCODE_INVALIDO",
	},
	ofb.RecurringPayment: {
		"SALDO_INSUFICIENTE", "VALOR_ACIMA_LIMITE", "VALOR_INVALIDO", "NAO_INFORMADO", "PAGAMENTO_DIVERGENTE_CONSENTIMENTO", "PAGAMENTO_RECUSADO_DETENTORA",
		"PAGAMENTO_RECUSADO_SPI", "FALHA_INFRAESTRUTURA_SPI", "FALHA_INFRAESTRUTURA_ICP", "FALHA_INFRAESTRUTURA_PSP_RECEBEDOR",
		"FALHA_INFRAESTRUTURA_DETENTORA", "CONSENTIMENTO_INVALIDO", "TITULARIDADE_INCONSISTENTE", "LIMITE_PERIODO_VALOR_EXCEDIDO",
		"LIMITE_PERIODO_QUANTIDADE_EXCEDIDO", "LIMITE_VALOR_TOTAL_CONSENTIMENTO_EXCEDIDO", "LIMITE_VALOR_TRANSACAO_CONSENTIMENTO_EXCEDIDO",
		"LIMITE_TENTATIVAS_EXCEDIDO", "FORA_PRAZO_PERMITIDO", "DETALHE_TENTATIVA_INVALIDO", "DETALHE_PAGAMENTO_INVALIDO",
	},
	ofb.PaymentConsent: {
		"AUTENTICACAO_DIVERGENTE", "VALOR_INVALIDO", "NAO_INFORMADO", "FALHA_INFRAESTRUTURA", "TEMPO_EXPIRADO_AUTORIZACAO", "TEMPO_EXPIRADO_CONSUMO",
		"REJEITADO_USUARIO", "CONTAS_ORIGEM_DESTINO_IGUAIS", "CONTA_NAO_PERMITE_PAGAMENTO", "SALDO_INSUFICIENTE", "VALOR_ACIMA_LIMITE", "QRCODE_INVALIDO",
		"PERMISSAO_INSUFICIENTE",
	},
	ofb.RecurringConsent: {
		"NAO_INFORMADO", "FALHA_INFRAESTRUTURA", "TEMPO_EXPIRADO_AUTORIZACAO", "REJEITADO_USUARIO", "CONTAS_ORIGEM_DESTINO_IGUAIS",
		"CONTA_NAO_PERMITE_PAGAMENTO", "AUTENTICACAO_DIVERGENTE", "FLUXO_NAO_SUPORTADO_PRODUTO",
	},
	ofb.Enrollment: {
		"REJEITADO_TITULARIDADE_DIVERGENTE", "REJEITADO_TEMPO_EXPIRADO_RISK_SIGNALS", "REJEITADO_TEMPO_EXPIRADO_ACCOUNT_HOLDER_VALIDATION",
		"REJEITADO_TEMPO_EXPIRADO_ENROLLMENT", "REJEITADO_MAXIMO_CHALLENGES_ATINGIDO", "REJEITADO_MANUALMENTE", "REJEITADO_DISPOSITIVO_INCOMPATIVEL",
		"REJEITADO_FALHA_INFRAESTRUTURA", "REJEITADO_FALHA_HYBRID_FLOW", "REJEITADO_FALHA_FIDO", "REJEITADO_SEGURANCA_INTERNA", "REJEITADO_OUTRO",
	},
}

// stories are the rows of the table but for the reasons.
var stories = []Outcome{
	{Cents: 0, Kinds: payments, Steps: settled, EN: "settled at once", PT: "liquidado na hora"},
	{Cents: 0, Kinds: consents, Steps: []Step{{To: ofb.Authorised}}, EN: "authorised at once", PT: "autorizado na hora"},
	{Cents: 0, Kinds: []ofb.Kind{ofb.Enrollment}, Steps: linked, EN: "linked at once", PT: "vinculado na hora"},
	{
		Cents: 1, Kinds: payments, Steps: []Step{{To: ofb.ACCP}, {To: ofb.SCHD}, {To: ofb.ACPD, After: soon}, {To: ofb.ACSC}},
		EN: "scheduled, settled 5 s later", PT: "agendado, liquidado 5 s depois",
	},
	{
		Cents: 2, Kinds: payments, Steps: []Step{{To: ofb.PDNG}, {To: ofb.ACCP, After: pendingFor}, {To: ofb.ACPD}, {To: ofb.ACSC}},
		EN: "pending for a minute, then settled", PT: "em análise por um minuto, depois liquidado",
	},
	{
		Cents: 3, Kinds: payments, Steps: []Step{{To: ofb.ACCP}, {To: ofb.SCHD}, {To: ofb.CANC, After: soon}},
		EN: "scheduled, cancelled 5 s later", PT: "agendado, cancelado 5 s depois",
	},
	{
		Cents: 4, Kinds: payments, Steps: settled, BeforeAnswer: true,
		EN: "notified before the POST is answered (official scenario 1)", PT: "notificado antes da resposta do POST (cenário oficial 1)",
	},
	{
		Cents: 5, Kinds: []ofb.Kind{ofb.PixPayment}, Steps: settled, Consent: ConsentFirst,
		EN: "the consent's notification comes before the payment's (official scenario 2)", PT: "a notificação do consentimento chega antes da do pagamento (cenário oficial 2)",
	},
	{
		Cents: 6, Kinds: []ofb.Kind{ofb.PixPayment}, Steps: settled, Consent: ConsentSecond,
		EN: "the payment's notification comes before the consent's (official scenario 2)", PT: "a notificação do pagamento chega antes da do consentimento (cenário oficial 2)",
	},
	{
		Cents: 7, Kinds: payments, Steps: settled, LoseRequests: 1,
		EN: "the first attempt is lost, the second arrives 10 s later", PT: "a primeira tentativa se perde, a segunda chega 10 s depois",
	},
	{
		Cents: 8, Kinds: payments, Steps: settled, LoseRequests: 2,
		EN: "two attempts are lost, the third arrives 70 s after the first", PT: "duas tentativas se perdem, a terceira chega 70 s após a primeira",
	},
	{
		Cents: 9, Kinds: payments, Steps: settled, LoseRequests: 3,
		EN: "all attempts are lost; the extension's feed lists it as missed", PT: "todas as tentativas se perdem; a extensão a lista como perdida",
	},
	{
		Cents: 10, Kinds: payments, Steps: settled, LoseAnswers: 1,
		EN: "duplicate: the receiver's first answer is lost, and the event comes again 10 s later", PT: "duplicada: a primeira resposta do receptor se perde, e o evento chega de novo 10 s depois",
	},
	{
		Cents: 11, Kinds: payments, Steps: settled, Late: lateBy,
		EN: "late: it is told 30 s after it happened", PT: "atrasada: é informada 30 s após o evento",
	},
	{
		Cents: 70, Kinds: consents, Steps: []Step{{To: ofb.PartiallyAccepted}, {To: ofb.Authorised, After: soon}},
		EN: "several approvers: partially accepted, authorised 5 s later", PT: "múltiplas alçadas: parcialmente aceito, autorizado 5 s depois",
	},
	{
		Cents: 71, Kinds: []ofb.Kind{ofb.RecurringConsent}, Steps: []Step{{To: ofb.Authorised}, {To: ofb.Revoked, After: soon}},
		EN: "revoked 5 s later", PT: "revogado 5 s depois",
	},
	{
		Cents: 71, Kinds: []ofb.Kind{ofb.Enrollment}, Steps: slices.Concat(linked, []Step{{To: ofb.Revoked, After: soon}}),
		EN: "revoked 5 s later", PT: "revogado 5 s depois",
	},
	{
		Cents: 72, Kinds: []ofb.Kind{ofb.RecurringConsent}, Steps: []Step{{To: ofb.Authorised}, {Edit: true, After: soon}},
		EN: "the payer changes a limit 5 s later", PT: "o pagador altera um limite 5 s depois",
	},
	{
		Cents: 72, Kinds: []ofb.Kind{ofb.Enrollment}, Steps: slices.Concat(linked, []Step{{Edit: true, After: soon}}),
		EN: "the payer changes a limit 5 s later", PT: "o pagador altera um limite 5 s depois",
	},
	{
		Cents: 73, Kinds: []ofb.Kind{ofb.PaymentConsent, ofb.RecurringConsent, ofb.Enrollment}, Expires: true,
		EN: "expired: created so long ago that its deadline passes 5 s later", PT: "expirado: criado há tanto tempo que seu prazo termina 5 s depois",
	},
	{
		Cents: 74, Kinds: []ofb.Kind{ofb.RecurringConsent}, Steps: []Step{{To: ofb.Authorised}, {To: ofb.Consumed, After: soon}},
		EN: "consumed 5 s later", PT: "consumido 5 s depois",
	},
}

// Outcomes lists every row of the table, in the order of their cents.
func Outcomes() []Outcome {
	all := slices.Clone(stories)
	for _, kind := range ofb.Kinds() {
		first, to := consentReasons, ofb.Rejected
		if slices.Contains(payments, kind) {
			first, to = paymentReasons, ofb.RJCT
		}
		for i, code := range reasons[kind] {
			all = append(all, Outcome{Cents: first + i, Kinds: []ofb.Kind{kind}, Steps: []Step{{To: to}}, Reason: code, EN: "rejected: " + code, PT: "rejeitado: " + code})
		}
	}
	slices.SortStableFunc(all, func(a, b Outcome) int { return a.Cents - b.Cents })
	return all
}

// ByCents finds the outcome of a kind; cents that it has no row for are settled, authorised or linked at once.
func ByCents(kind ofb.Kind, cents int) Outcome {
	var usual Outcome
	for _, o := range Outcomes() {
		if !slices.Contains(o.Kinds, kind) {
			continue
		}
		if o.Cents == cents {
			return o
		}
		if o.Cents == 0 {
			usual = o
		}
	}
	return usual
}

// Told lists what is notified of a resource that goes this way, in order: states, or DATA_CHANGED.
func (o *Outcome) Told(kind ofb.Kind) (told []string) {
	if o.Expires {
		return []string{string(ofb.Rejected)}
	}
	at := ofb.ResourceState{Status: kind.Initial()}
	for _, s := range o.Steps {
		if s.Edit {
			told = append(told, DataChanged)
			continue
		}
		next := ofb.ResourceState{Status: s.To}
		if ofb.Judge(kind, &at, next, ofb.Holder).Duty == ofb.Must {
			told = append(told, string(s.To))
		}
		at = next
	}
	return told
}

// Takes is how long a story goes on after its creation, the attempts of its notifications included.
func (o *Outcome) Takes() (d time.Duration) {
	for _, s := range o.Steps {
		d += s.After
	}
	if o.Expires {
		d += expiresIn
	}
	if lost := o.LoseRequests + o.LoseAnswers; lost > 0 {
		d += 10 * time.Second
		if lost > 1 {
			d += time.Minute
		}
	}
	return d
}

// tableWords are the words of the table.
var tableWords = map[string]struct{ cents, kinds, told, what, reason, nothing string }{
	"en": {"cents", "resources", "notified", "what happens", "cents  rejected (RJCT, REJECTED) with the reason", "nothing"},
	"pt": {"centavos", "recursos", "notificado", "o que acontece", "centavos  rejeitado (RJCT, REJECTED) com o motivo", "nada"},
}

// Table writes the table of outcomes for people, in pt or en.
func Table(language string) string {
	words := tableWords[language]
	var out strings.Builder
	t := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", words.cents, words.kinds, words.told, words.what)
	for _, o := range stories {
		names := make([]string, len(o.Kinds))
		for i, kind := range o.Kinds {
			names[i] = kind.String()
		}
		what := o.EN
		if language == "pt" {
			what = o.PT
		}
		told := strings.Join(o.Told(o.Kinds[0]), ", ")
		if told == "" {
			told = words.nothing
		}
		fmt.Fprintf(t, ".%02d\t%s\t%s\t%s\n", o.Cents, strings.Join(names, ", "), told, what)
	}
	_ = t.Flush()
	fmt.Fprintf(&out, "\n%s\n", words.reason)
	for _, kind := range ofb.Kinds() {
		first := consentReasons
		if slices.Contains(payments, kind) {
			first = paymentReasons
		}
		fmt.Fprintf(&out, "\n%s\n", kind)
		for i, code := range reasons[kind] {
			fmt.Fprintf(&out, "  .%02d %s\n", first+i, code)
		}
	}
	return out.String()
}
