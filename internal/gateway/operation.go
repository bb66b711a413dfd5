package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api/bank"
	"github.com/arauto/arauto/internal/failure"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// operating tells what this process knows of the log and of alarms.
type operating struct{ *Gateway }

// LogState implements bank.Operation.
func (o operating) LogState(ctx context.Context, portuguese bool) (bank.LogState, error) {
	head, err := o.auditlog.Head(ctx)
	if err != nil {
		return bank.LogState{}, err
	}
	v, err := o.auditlog.LogVerification(ctx)
	if err != nil {
		return bank.LogState{}, err
	}
	through, at := verifiedSo(&v)
	return bank.LogState{
		Size: head.Size, SealedAt: head.SealedAt, AnchoredThrough: head.AnchoredThrough, AnchoredAt: head.AnchoredAt, Stopped: strings.Join(o.sealer.Notes(portuguese), "; "),
		VerifiedThrough: through, VerifiedAt: at, Fault: strings.Join(o.verifier.Notes(portuguese), "; "),
	}, nil
}

// verifiedSo tells how far the log was verified without a finding, and when: both of the same scope, of the one that ended last. A scope
// that found something has counted what it found since.
func verifiedSo(v *auditlog.LogVerification) (through int64, at time.Time) {
	for _, s := range []*auditlog.ScopeState{&v.Since, &v.Whole} {
		if s.Fault == nil && s.OKAt.After(at) {
			through, at = s.Verified, s.OKAt
		}
	}
	return through, at
}

// The bounds of the alarm rules.
const (
	alarmQueueAge  = 5 * time.Second
	alarmLag       = 5 * time.Second
	alarmCaseAge   = 24 * time.Hour
	alarmCases     = 10_000
	alarmCaseBytes = 256 << 20
)

// Alarms implements bank.Operation. Rules on how a counter grew need a monitoring system and are not judged here.
func (o operating) Alarms(ctx context.Context, portuguese bool) ([]bank.Alarm, error) {
	out := []bank.Alarm{}
	raise := func(name, page string, detail alarmDetail) {
		out = append(out, bank.Alarm{Name: name, Runbook: "docs/operations/alarm-" + page + ".md", Detail: detail.in(portuguese)})
	}
	note := func(text string) alarmDetail { return alarmDetail{text, text} } // in the language already
	now := time.Now()
	b, err := o.store.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	if b.Oldest > alarmQueueAge {
		raise("ArautoQueueAge", "queue-age", detailOf("a due notification has waited for %d s", "uma notificação devida espera há %d s", int(b.Oldest.Seconds())))
	}
	if counts := o.putAside.Load(); counts != nil {
		quarantineAlarms(openCases(*counts), raise)
	}
	for _, text := range o.sealer.Notes(portuguese) {
		raise("ArautoLogSealingStopped", "log-not-sealed", note(text))
	}
	for _, text := range o.verifier.Notes(portuguese) {
		raise("ArautoLogVerification", "log-verification", note(text))
	}
	for _, text := range o.faultNotes(portuguese) {
		raise("ArautoDatabaseRefuses", "database-refuses", note(text))
	}
	for _, c := range o.trust.Certificates() {
		days := c.Days(now)
		detail := detailOf("%s (%s): %d days left", "%s (%s): dias que faltam: %d", c.Subject, c.Role, days)
		switch {
		case days < 1:
			raise("ArautoCertificateEnding", "certificate-expiring", detail)
		case days < 30:
			raise("ArautoCertificateExpiring", "certificate-expiring", detail)
		}
	}
	if n := o.trust.Ending(now)["7"]; n > 0 {
		raise("ArautoReceiverCertificateEnding", "certificate-expiring", detailOf("%d certificates of initiators' endpoints end within 7 days", "certificados de endpoints de iniciadoras que vencem em até 7 dias: %d", n))
	}
	if err := o.sources.Lagging(alarmLag); err != nil {
		raise("ArautoSourceLag", "source-lag", alarmDetail{err.Error(), failure.Portuguese(err)})
	}
	slices.SortStableFunc(out, func(a, b bank.Alarm) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// alarmDetail is what an alarm says, in both languages.
type alarmDetail struct{ en, pt string }

// detailOf puts args into both texts.
func detailOf(en, pt string, args ...any) alarmDetail {
	return alarmDetail{fmt.Sprintf(en, args...), fmt.Sprintf(pt, args...)}
}

func (d alarmDetail) in(portuguese bool) string {
	if portuguese {
		return d.pt
	}
	return d.en
}

// quarantineAlarms raises each alarm whose condition the open cases meet.
func quarantineAlarms(open notice.CaseCount, raise func(name, page string, detail alarmDetail)) {
	if open.Cases >= alarmCases || open.Bytes >= alarmCaseBytes {
		en, pt := "the quarantine holds %d open cases with %d bytes of received lines", "a quarentena tem %d casos abertos com %d bytes de linhas recebidas"
		if open.Cases >= store.CountedCases {
			en, pt = "the quarantine holds at least %d open cases with at least %d bytes of received lines", "a quarentena tem ao menos %d casos abertos com ao menos %d bytes de linhas recebidas"
		}
		raise("ArautoQuarantineLarge", "quarantine-growing", detailOf(en, pt, open.Cases, open.Bytes))
	}
	if open.Oldest > alarmCaseAge {
		raise("ArautoQuarantineWaiting", "quarantine-growing", detailOf("the oldest open case of the quarantine has waited for %d h", "o caso aberto mais antigo da quarentena espera há %d h", int(open.Oldest.Hours())))
	}
}

// openCases are the open cases of all sources together.
func openCases(counts []notice.CaseCount) (all notice.CaseCount) {
	for _, c := range counts {
		if c.State == notice.CaseOpen {
			all.Cases, all.Bytes, all.Oldest = all.Cases+c.Cases, all.Bytes+c.Bytes, max(all.Oldest, c.Oldest)
		}
	}
	return all
}

var _ bank.FiguresReader = (*auditlog.Log)(nil)
