package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

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
		quarantineAlarms(c.open, func(name, _, format string, args ...any) {
			raised = append(raised, name+": "+fmt.Sprintf(format, args...))
		})
		require.Equal(t, c.want, raised, "%+v", c.open)
	}
}
