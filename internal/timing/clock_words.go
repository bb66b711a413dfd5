package timing

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// clockWords are the words of a clock proof for people.
var clockWords = map[string]map[string]string{
	"pt": {
		"notification": "notificação", "event": "evento", "received": "recebida", "decided": "decidida", "due": "devida", "attempt": "tentativa", "claimed": "registrada",
		"handed": "entregue ao envio", "dialled": "conectada (TCP)", "handshake": "handshake TLS", "firstbyte": "primeiro byte enviado", "answered": "respondida",
		"ended": "encerrada", "stored": "resultado gravado", "first": "primeira tentativa", "second": "segunda tentativa", "third": "terceira tentativa",
		string(notice.Pending): "em curso", string(notice.Delivered): "entregue", string(notice.Exhausted): "desistida, tentativas esgotadas", string(notice.Cancelled): "cancelada",
		"afterEvent": "após o evento", "afterReceipt": "após a chegada", "afterFailure": "após a falha", "cause": "causa", "notStarted": "não iniciada",
		string(OnTime): "no prazo", string(TooLate): "atrasada", string(TooEarly): "adiantada", string(NotYet): "aguardando", "manual": "reenvio manual, sem prazo",
		string(notice.DelayCore): "o core avisou tarde", string(notice.DelayHeld): "o core pediu espera", string(notice.DelayConnect): "conexão com a iniciadora", string(notice.DelayTimer): "prazo disparado tarde",
		string(notice.DelayIntake): "entrada", string(notice.DelayQueue): "fila", string(notice.DelayReceiver): "a iniciadora não respondia às tentativas em curso", string(notice.DelaySlots): "falta de vagas de envio", string(notice.DelayStandstill): "paralisação (banco de dados ou réplicas)", string(notice.DelayRescued): "réplica perdida",
		string(notice.DelaySettling): "gravação do resultado", string(notice.DelaySending): "processo ocupado",
		string(notice.DelayUnavailable): "recusada por nós (503) na primeira chegada", string(notice.DelayQuarantine): "retida em nossa quarentena", string(notice.DelaySource): "leitura da fonte atrasada",
		string(notice.DelayUnknown): "desconhecida: não se sabe se chegou antes e foi recusada", "firstReceived": "primeira chegada, não aceita",
		"storedBefore": "resultado gravado (início da transação no relógio do banco de dados; os instantes acima somam as durações da réplica ao início registrado da tentativa, e podem aparecer alguns milissegundos atrasados)",
		"notKnown":     "desconhecido", string(notice.DelayTampered): "ADULTERADO: o que está armazenado não é o que foi selado",
	},
	"en": {
		"notification": "notification", "event": "event", "received": "received", "decided": "decided", "due": "due", "attempt": "attempt", "claimed": "recorded",
		"handed": "handed to the sender", "dialled": "connected (TCP)", "handshake": "TLS handshake", "firstbyte": "first byte sent", "answered": "answered",
		"ended": "ended", "stored": "outcome stored", "first": "first attempt", "second": "second attempt", "third": "third attempt",
		string(notice.Pending): "pending", string(notice.Delivered): "delivered", string(notice.Exhausted): "given up, attempts exhausted", string(notice.Cancelled): "cancelled",
		"afterEvent": "after the event", "afterReceipt": "after arrival", "afterFailure": "after the failure", "cause": "cause", "notStarted": "not started",
		string(OnTime): "on time", string(TooLate): "late", string(TooEarly): "early", string(NotYet): "waiting", "manual": "resent by hand, without a schedule",
		string(notice.DelayCore): "the core reported late", string(notice.DelayHeld): "the core asked to wait", string(notice.DelayConnect): "connecting to the initiator", string(notice.DelayTimer): "deadline fired late",
		string(notice.DelayIntake): "intake", string(notice.DelayQueue): "queue", string(notice.DelayReceiver): "the initiator did not answer the attempts under way", string(notice.DelaySlots): "no free slot", string(notice.DelayStandstill): "standstill (database or replicas)", string(notice.DelayRescued): "replica lost",
		string(notice.DelaySettling): "storing the outcome", string(notice.DelaySending): "process busy",
		string(notice.DelayUnavailable): "refused by us (503) when it first arrived", string(notice.DelayQuarantine): "held in our quarantine", string(notice.DelaySource): "the source was read late",
		string(notice.DelayUnknown): "unknown: it may have arrived before and been refused", "firstReceived": "first receipt, not accepted",
		"storedBefore": "outcome stored (start of the transaction by the database's clock; the times above add the replica's durations to the recorded start of the attempt, and may be shown some milliseconds late)",
		"notKnown":     "not known", string(notice.DelayTampered): "TAMPERED: what is stored is not what was sealed",
	},
}

// outcomeWords are outcomes in Portuguese. The English word of an outcome is the outcome itself.
var outcomeWords = map[notice.Outcome]string{
	notice.OutcomeDelivered: "entregue", notice.OutcomeNonconformant: "entregue, resposta fora da norma", notice.OutcomeRefused: "recusada",
	notice.OutcomeRedirected: "redirecionada", notice.OutcomeTimeout: "tempo esgotado", notice.OutcomeConnect: "sem conexão", notice.OutcomeTLS: "falha de TLS",
	notice.OutcomeBlocked: "endereço bloqueado", notice.OutcomeProtocol: "protocolo inválido", notice.OutcomeUnknown: "desfecho desconhecido",
}

// OutcomeWord is the name of an outcome in Portuguese (pt) or English; the outcome itself where it has none.
func OutcomeWord(outcome notice.Outcome, lang string) string {
	if w := outcomeWords[outcome]; lang == "pt" && w != "" {
		return w
	}
	return string(outcome)
}

// StateWord is the name of a notification's state in Portuguese (pt) or English; the state itself where it has none.
func StateWord(state notice.State, lang string) string {
	return cmp.Or(wordsOf(lang)[string(state)], string(state))
}

// silenceWords are the reasons for silence.
var silenceWords = map[string]map[ofb.Silence]string{
	"pt": {
		ofb.NotATrigger: "a norma não manda avisar", ofb.InitiatorEdit: "edição feita pela própria iniciadora", ofb.NoChange: "nada mudou", ofb.Snapshot: "carga inicial",
		ofb.OptionalOff: "aviso opcional desligado", ofb.NoWebhook: "sem endereço de webhook registrado", ofb.AlreadyAnnounced: "já avisada",
		ofb.UnknownClient: "cliente sem cadastro",
	},
	"en": {
		ofb.NotATrigger: "the rules require no notification", ofb.InitiatorEdit: "edited by the initiator itself", ofb.NoChange: "nothing changed", ofb.Snapshot: "first load",
		ofb.OptionalOff: "optional and switched off", ofb.NoWebhook: "no registered webhook address", ofb.AlreadyAnnounced: "already announced",
		ofb.UnknownClient: "client without registration",
	},
}

// SilenceWord is a reason for silence in Portuguese (pt) or English; the reason itself where it has no words.
func SilenceWord(why ofb.Silence, lang string) string {
	return cmp.Or(silenceWords[lang][why], string(why))
}

// CauseWord is the name of a cause in Portuguese (pt) or English.
func CauseWord(cause notice.Delay, lang string) string { return wordsOf(lang)[string(cause)] }

func wordsOf(lang string) map[string]string {
	if w := clockWords[lang]; w != nil {
		return w
	}
	return clockWords["en"]
}

// ClockWords is a clock proof for people.
type ClockWords struct {
	Heading  string
	Verdicts []string // on the first attempt, and on each retry
	Steps    []ClockStep
}

// ClockStep is one instant of a clock proof, or the beginning of an attempt, which has no instant of its own.
type ClockStep struct {
	Attempt  bool      // What names an attempt, whose instants follow
	Within   bool      // it belongs to the attempt before
	Instant  time.Time // zero: it has none
	At       string    // the same for people: UTC, to the microsecond
	Distance string    // from the event
	What     string
}

// Words puts a clock proof into words, in Portuguese (pt) or English.
func (t *Timing) Words(lang string) ClockWords {
	w := wordsOf(lang)
	out := ClockWords{
		Heading:  fmt.Sprintf("%s %s  %s %q  %q  %s", w["notification"], t.Notification, t.Kind, t.ResourceID, t.Client, w[string(t.State)]),
		Verdicts: t.verdicts(w, lang),
	}
	instant := func(within bool, name string, m history.Moment) {
		if !m.IsZero() {
			out.Steps = append(out.Steps, ClockStep{
				Within: within, Instant: m.Time, At: Decimal(m.UTC().Format("2006-01-02 15:04:05.000000"), lang), Distance: distance(m.Sub(t.OccurredAt.Time), lang), What: w[name],
			})
		}
	}
	instant(false, "event", t.OccurredAt)
	if t.RefusedFor != "" {
		instant(false, "firstReceived", t.FirstAt)
	}
	instant(false, "received", t.ReceivedAt)
	instant(false, "decided", t.DecidedAt)
	for i := range t.Attempts {
		a := &t.Attempts[i]
		out.Steps = append(out.Steps, ClockStep{Attempt: true, What: fmt.Sprintf("%s %d  %s  %s", w["attempt"], a.Number, a.Interaction, OutcomeWord(a.Outcome, lang))})
		stored := "stored" // two clocks: the database's, and durations of a replica added to it
		if a.StoredAt.Before(later(a.AnsweredAt.Time, a.EndedAt.Time)) {
			stored = "storedBefore"
		}
		for _, step := range []struct {
			name string
			at   history.Moment
		}{
			{"due", a.DueAt},
			{"claimed", a.ClaimedAt},
			{"handed", a.HandedOverAt},
			{"dialled", a.DialledAt},
			{"handshake", a.HandshakenAt},
			{"firstbyte", a.FirstByteAt},
			{"answered", a.AnsweredAt},
			{"ended", a.EndedAt},
			{stored, a.StoredAt},
		} {
			instant(true, step.name, step.at)
		}
	}
	return out
}

// Lines are the words of a clock proof as plain text: the verdicts first, then each instant with its distance from the
// event.
func (t *Timing) Lines(lang string) []string {
	words := t.Words(lang)
	out := []string{words.Heading}
	for _, v := range words.Verdicts {
		out = append(out, "  "+v)
	}
	for _, s := range words.Steps {
		switch {
		case s.Attempt:
			out = append(out, "  "+s.What)
		case s.Within:
			out = append(out, fmt.Sprintf("    %s  %12s  %s", s.At, s.Distance, s.What))
		default:
			out = append(out, fmt.Sprintf("  %s  %12s  %s", s.At, s.Distance, s.What))
		}
	}
	return out
}

// verdicts are one line for the first attempt and one for each retry.
func (t *Timing) verdicts(w map[string]string, lang string) []string {
	if t.Tampered {
		return []string{w["first"] + ": " + w["notKnown"] + because(w, notice.DelayTampered)}
	}
	if t.Manual {
		return []string{w["manual"]}
	}
	var out []string
	if v := t.First; v.FromEvent != "" {
		line := fmt.Sprintf("%s: %s, %s %s; %s, %s %s", w["first"], w[string(v.FromEvent)], seconds(v.SinceEvent, lang), w["afterEvent"],
			w[string(v.FromReceipt)], seconds(v.SinceReceipt, lang), w["afterReceipt"])
		if len(t.Attempts) == 0 {
			line += " (" + w["notStarted"] + ")"
		}
		out = append(out, line+because(w, v.Cause))
	}
	for i := 1; i < len(t.Attempts); i++ {
		if a := &t.Attempts[i]; a.Gap != "" {
			out = append(out, fmt.Sprintf("%s: %s, %s %s", w[[...]string{"second", "third"}[min(i-1, 1)]], w[string(a.Gap)], seconds(a.Since, lang), w["afterFailure"])+because(w, a.Cause))
		}
	}
	return out
}

func because(w map[string]string, cause notice.Delay) string {
	if cause == "" {
		return ""
	}
	return fmt.Sprintf("; %s: %s", w["cause"], w[string(cause)])
}

func seconds(m history.Micros, lang string) string { return Readable(m.Duration(), lang) }

// Decimal writes a text with a decimal point as people of a language read it: with a comma in Portuguese (pt). The text has no other point.
func Decimal(text, lang string) string {
	if lang == "pt" {
		return strings.Replace(text, ".", ",", 1)
	}
	return text
}

// Readable writes a duration for people, to the millisecond: in seconds below two minutes, such as "64.891 s", and as
// "3 h 00 min 00.017 s" from then on, with a decimal comma in Portuguese (pt).
func Readable(d time.Duration, lang string) string {
	if d.Abs() < 2*time.Minute {
		return Decimal(fmt.Sprintf("%.3f s", d.Seconds()), lang)
	}
	d = d.Round(time.Millisecond)
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	rest := Decimal(fmt.Sprintf("%02d min %06.3f s", d%time.Hour/time.Minute, (d%time.Minute).Seconds()), lang)
	if d < time.Hour {
		return sign + strings.TrimPrefix(rest, "0")
	}
	return fmt.Sprintf("%s%d h %s", sign, d/time.Hour, rest)
}

// distance is a signed duration to the microsecond.
func distance(d time.Duration, lang string) string {
	return Decimal(fmt.Sprintf("%+.6f s", d.Seconds()), lang)
}
