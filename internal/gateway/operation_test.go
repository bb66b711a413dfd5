package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestHowFarTheLogWasVerifiedAndWhenAreOfOneVerification: one of the whole log ends while none since the sealing has.
func TestHowFarTheLogWasVerifiedAndWhenAreOfOneVerification(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 12, minute, 0, 0, time.UTC) }
	for _, c := range []struct {
		since, whole auditlog.ScopeState
		through      int64
		at           time.Time
	}{
		{auditlog.ScopeState{OKAt: at(1)}, auditlog.ScopeState{Verified: 370, OKAt: at(5)}, 370, at(5)},
		{auditlog.ScopeState{Verified: 400, OKAt: at(9)}, auditlog.ScopeState{Verified: 370, OKAt: at(5)}, 400, at(9)},
		{auditlog.ScopeState{Verified: 400, OKAt: at(9), Fault: &audit.Fault{}}, auditlog.ScopeState{Verified: 370, OKAt: at(5)}, 370, at(5)},
		{auditlog.ScopeState{}, auditlog.ScopeState{}, 0, time.Time{}},
	} {
		through, when := verifiedSo(&auditlog.LogVerification{Since: c.since, Whole: c.whole})
		require.Equal(t, c.through, through)
		require.Equal(t, c.at, when)
	}
}

// TestAQuarantineThatIsLargeAndOldRaisesBothAlarms, as the rules of the monitoring system do, and tells a count that stopped as one.
func TestAQuarantineThatIsLargeAndOldRaisesBothAlarms(t *testing.T) {
	for _, c := range []struct {
		open notice.CaseCount
		want []string
	}{
		{notice.CaseCount{Cases: 9_999, Bytes: 256<<20 - 1, Oldest: 24 * time.Hour}, nil},
		{notice.CaseCount{Cases: 1, Oldest: 25 * time.Hour}, []string{"ArautoQuarantineWaiting: the oldest open case of the quarantine has waited for 25 h"}},
		{notice.CaseCount{Cases: 2, Bytes: 256 << 20}, []string{"ArautoQuarantineLarge: the quarantine holds 2 open cases with 268435456 bytes of received lines"}},
		{notice.CaseCount{Cases: 99_999, Bytes: 7, Oldest: 49 * time.Hour}, []string{
			"ArautoQuarantineLarge: the quarantine holds 99999 open cases with 7 bytes of received lines",
			"ArautoQuarantineWaiting: the oldest open case of the quarantine has waited for 49 h",
		}},
		{notice.CaseCount{Cases: 100_000, Bytes: 7, Oldest: time.Hour}, []string{
			"ArautoQuarantineLarge: the quarantine holds at least 100000 open cases with at least 7 bytes of received lines",
		}},
	} {
		var raised []string
		quarantineAlarms(c.open, func(name, _ string, detail alarmDetail) {
			raised = append(raised, name+": "+detail.in(false))
			require.Regexp(t, `^a quarentena tem |^o caso aberto mais antigo `, detail.in(true))
		})
		require.Equal(t, c.want, raised, "%+v", c.open)
	}
}
