package timing

import (
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
)

// clockWords are the words of a clock proof for people.
var clockWords = map[string]map[string]string{
	"pt": {
		"notification": "notificação", "event": "evento", "received": "recebida", "decided": "decidida", "due": "devida", "attempt": "tentativa", "claimed": "registrada",
		"handed": "entregue ao envio", "dialled": "conectada (TCP)", "handshake": "aperto de mãos TLS", "firstbyte": "primeiro byte enviado", "answered": "respondida",
		"ended": "encerrada", "stored": "resultado gravado", "first": "primeira tentativa", "second": "segunda tentativa", "third": "terceira tentativa",
		string(notice.Pending): "pendente", string(notice.Delivered): "entregue", string(notice.Exhausted): "desistência, tentativas esgotadas", string(notice.Cancelled): "cancelada",
		"afterEvent": "após o evento", "afterReceipt": "após a chegada", "afterFailure": "após a falha", "cause": "causa", "notStarted": "não iniciada",
		string(OnTime): "no prazo", string(TooLate): "atrasada", string(TooEarly): "adiantada", string(NotYet): "aguardando", "manual": "reenvio manual, sem prazo",
		string(notice.DelayCore): "o núcleo avisou tarde", string(notice.DelayHeld): "o núcleo pediu espera", string(notice.DelayConnect): "conexão com a iniciadora", string(notice.DelayTimer): "prazo disparado tarde",
		string(notice.DelayIntake): "entrada", string(notice.DelayQueue): "fila", string(notice.DelayReceiver): "a iniciadora não respondia às tentativas em curso", string(notice.DelaySlots): "falta de vagas de envio", string(notice.DelayStandstill): "paralisação (banco de dados ou réplicas)", string(notice.DelayRescued): "réplica perdida",
		string(notice.DelaySettling): "gravação do resultado", string(notice.DelaySending): "processo ocupado",
		string(notice.DelayUnavailable): "recusada por nós (503) na primeira chegada", string(notice.DelayQuarantine): "retida em nossa quarentena", string(notice.DelaySource): "leitura da fonte atrasada",
		string(notice.DelayUnknown): "desconhecida: não se sabe se chegou antes e foi recusada", "firstReceived": "primeira chegada, não aceita",
		"notKnown": "desconhecido", string(notice.DelayTampered): "ADULTERADO: o que está armazenado não é o que foi selado",
	},
	"en": {
		"notification": "notification", "event": "event", "received": "received", "decided": "decided", "due": "due", "attempt": "attempt", "claimed": "recorded",
		"handed": "handed to the sender", "dialled": "connected (TCP)", "handshake": "TLS handshake", "firstbyte": "first byte out", "answered": "answered",
		"ended": "ended", "stored": "outcome stored", "first": "first attempt", "second": "second attempt", "third": "third attempt",
		string(notice.Pending): "pending", string(notice.Delivered): "delivered", string(notice.Exhausted): "given up, attempts exhausted", string(notice.Cancelled): "cancelled",
		"afterEvent": "after the event", "afterReceipt": "after arrival", "afterFailure": "after the failure", "cause": "cause", "notStarted": "not started",
		string(OnTime): "on time", string(TooLate): "late", string(TooEarly): "early", string(NotYet): "waiting", "manual": "resent by hand, without a schedule",
		string(notice.DelayCore): "the core told late", string(notice.DelayHeld): "the core asked to wait", string(notice.DelayConnect): "connecting to the initiator", string(notice.DelayTimer): "deadline fired late",
		string(notice.DelayIntake): "intake", string(notice.DelayQueue): "queue", string(notice.DelayReceiver): "the initiator did not answer the attempts under way", string(notice.DelaySlots): "no free slot", string(notice.DelayStandstill): "standstill (database or replicas)", string(notice.DelayRescued): "replica lost",
		string(notice.DelaySettling): "storing the outcome", string(notice.DelaySending): "process busy",
		string(notice.DelayUnavailable): "refused by us (503) when it first came", string(notice.DelayQuarantine): "held in our quarantine", string(notice.DelaySource): "the source was read late",
		string(notice.DelayUnknown): "unknown: it may have come before and been refused", "firstReceived": "first receipt, not accepted",
		"notKnown": "not known", string(notice.DelayTampered): "TAMPERED: what is stored is not what was sealed",
	},
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
	Attempt  bool   // What names an attempt, whose instants follow
	Within   bool   // it belongs to the attempt before
	At       string // UTC, to the microsecond
	Distance string // from the event
	What     string
}

// Words puts a clock proof into words, in Portuguese (pt) or English.
func (t *Timing) Words(lang string) ClockWords {
	w := wordsOf(lang)
	out := ClockWords{
		Heading:  fmt.Sprintf("%s %s  %s %q  %q  %s", w["notification"], t.Notification, t.Kind, t.ResourceID, t.Client, w[string(t.State)]),
		Verdicts: t.verdicts(w),
	}
	instant := func(within bool, name string, m history.Moment) {
		if !m.IsZero() {
			out.Steps = append(out.Steps, ClockStep{
				Within: within, At: m.UTC().Format("2006-01-02 15:04:05.000000"), Distance: distance(m.Sub(t.OccurredAt.Time)), What: w[name],
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
		out.Steps = append(out.Steps, ClockStep{Attempt: true, What: fmt.Sprintf("%s %d  %s  %s", w["attempt"], a.Number, a.Interaction, a.Outcome)})
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
			{"stored", a.StoredAt},
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
func (t *Timing) verdicts(w map[string]string) []string {
	if t.Tampered {
		return []string{w["first"] + ": " + w["notKnown"] + because(w, notice.DelayTampered)}
	}
	if t.Manual {
		return []string{w["manual"]}
	}
	var out []string
	if v := t.First; v.FromEvent != "" {
		line := fmt.Sprintf("%s: %s, %s %s; %s, %s %s", w["first"], w[string(v.FromEvent)], seconds(v.SinceEvent), w["afterEvent"],
			w[string(v.FromReceipt)], seconds(v.SinceReceipt), w["afterReceipt"])
		if len(t.Attempts) == 0 {
			line += " (" + w["notStarted"] + ")"
		}
		out = append(out, line+because(w, v.Cause))
	}
	for i := 1; i < len(t.Attempts); i++ {
		if a := &t.Attempts[i]; a.Gap != "" {
			out = append(out, fmt.Sprintf("%s: %s, %s %s", w[[...]string{"second", "third"}[min(i-1, 1)]], w[string(a.Gap)], seconds(a.Since), w["afterFailure"])+because(w, a.Cause))
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

func seconds(m history.Micros) string { return fmt.Sprintf("%.3f s", m.Duration().Seconds()) }

// distance is a signed duration to the microsecond.
func distance(d time.Duration) string { return fmt.Sprintf("%+.6f s", d.Seconds()) }
