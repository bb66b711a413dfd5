package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arauto/arauto/internal/api/bank"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// operating tells what this process knows of the log and of alarms.
type operating struct{ *Gateway }

// LogState implements bank.Operation.
func (o operating) LogState(ctx context.Context) (bank.LogState, error) {
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
		Size: head.Size, SealedAt: head.SealedAt, AnchoredThrough: head.AnchoredThrough, AnchoredAt: head.AnchoredAt, Stopped: strings.Join(o.sealer.Notes(), "; "),
		VerifiedThrough: through, VerifiedAt: at, Fault: strings.Join(o.verifier.Notes(), "; "),
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
func (o operating) Alarms(ctx context.Context) ([]bank.Alarm, error) {
	out := []bank.Alarm{}
	raise := func(name, page, format string, args ...any) {
		out = append(out, bank.Alarm{Name: name, Runbook: "docs/operations/alarm-" + page + ".md", Detail: fmt.Sprintf(format, args...)})
	}
	now := time.Now()
	b, err := o.store.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	if b.Oldest > alarmQueueAge {
		raise("ArautoQueueAge", "queue-age", "a due notification has waited for %d s", int(b.Oldest.Seconds()))
	}
	if counts := o.putAside.Load(); counts != nil {
		quarantineAlarms(openCases(*counts), raise)
	}
	for _, note := range o.sealer.Notes() {
		raise("ArautoLogSealingStopped", "log-not-sealed", "%s", note)
	}
	for _, note := range o.verifier.Notes() {
		raise("ArautoLogVerification", "log-verification", "%s", note)
	}
	for _, note := range o.faultNotes() {
		raise("ArautoDatabaseRefuses", "database-refuses", "%s", note)
	}
	for _, c := range o.trust.Certificates() {
		switch days := c.Days(now); {
		case days < 1:
			raise("ArautoCertificateEnding", "certificate-expiring", "%s (%s): %d days left", c.Subject, c.Role, days)
		case days < 30:
			raise("ArautoCertificateExpiring", "certificate-expiring", "%s (%s): %d days left", c.Subject, c.Role, days)
		}
	}
	if n := o.trust.Ending(now)["7"]; n > 0 {
		raise("ArautoReceiverCertificateEnding", "certificate-expiring", "%d certificates of initiators' endpoints end within 7 days", n)
	}
	if err := o.sources.Lagging(alarmLag); err != nil {
		raise("ArautoSourceLag", "source-lag", "%v", err)
	}
	slices.SortStableFunc(out, func(a, b bank.Alarm) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// quarantineAlarms raises each alarm whose condition the open cases meet.
func quarantineAlarms(open notice.CaseCount, raise func(name, page, format string, args ...any)) {
	if open.Cases >= alarmCases || open.Bytes >= alarmCaseBytes {
		atLeast := ""
		if open.Cases >= store.CountedCases {
			atLeast = "at least "
		}
		raise("ArautoQuarantineLarge", "quarantine-growing", "the quarantine holds %s%d open cases with %[1]s%[3]d bytes of received lines", atLeast, open.Cases, open.Bytes)
	}
	if open.Oldest > alarmCaseAge {
		raise("ArautoQuarantineWaiting", "quarantine-growing", "the oldest open case of the quarantine has waited for %d h", int(open.Oldest.Hours()))
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
