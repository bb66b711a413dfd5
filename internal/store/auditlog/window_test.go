package auditlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/lab/storetest"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// openWindows is a sealed log of so many entries, which walks read in windows of 500.
func openWindows(t *testing.T, entries int) *backlog {
	t.Helper()
	auditlog.WalkIn(t, 500)
	b := openBacklog(t)
	b.add(entries)
	storetest.Seal(t, b.log, b.owner, b.key)
	return b
}

func (b *backlog) verify() audit.VerifiedLog {
	b.t.Helper()
	v, err := auditlog.Verify(b.t.Context(), b.url, b.key.Public(), nil)
	require.NoError(b.t, err)
	return v
}

// TestVerifyingReadsWindowByWindow is found F11: each window is a transaction of its own, so that none keeps a snapshot for
// as long as the whole walk takes.
func TestVerifyingReadsWindowByWindow(t *testing.T) {
	b := openWindows(t, 1200) // three windows
	ended := func() (n int64) {
		require.NoError(t, b.owner.QueryRow(t.Context(), "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()").Scan(&n))
		return n
	}
	before := ended()
	require.EqualValues(t, 1200, b.verify().Entries)
	require.Eventually(t, func() bool { return ended()-before >= 3 }, time.Minute, 10*time.Millisecond, "a reading transaction for each window")
}

// TestAnExportHoldsNoSnapshot is found F11 too: while lines are written nothing is held in the database.
func TestAnExportHoldsNoSnapshot(t *testing.T) {
	b := openWindows(t, 1200)
	x, err := auditlog.OpenExport(t.Context(), b.url, 0)
	require.NoError(t, err)
	defer x.Close(t.Context())
	n := 0
	require.NoError(t, x.Each(t.Context(), history.Search{}, func(*audit.Sealed) error {
		if n++; n%300 != 0 {
			return nil
		}
		var readers, held int
		require.NoError(t, b.owner.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE backend_xmin IS NOT NULL OR xact_start IS NOT NULL)
FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'arauto audit'`).Scan(&readers, &held))
		require.Equal(t, 1, readers)
		require.Zero(t, held)
		return nil
	}))
	require.Equal(t, 1200, n)
}

// TestALogThatGrowsWhileItIsVerifiedIsVerifiedToItsEnd: windows that are read one after the other fit together.
func TestALogThatGrowsWhileItIsVerifiedIsVerifiedToItsEnd(t *testing.T) {
	const before = 1100
	b := openWindows(t, before)
	stop, grown := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(grown)
		for {
			b.add(10)
			if _, err := b.log.Seal(t.Context(), b.key); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 3 {
		require.GreaterOrEqual(t, b.verify().Entries, int64(before))
	}
	close(stop)
	<-grown
	storetest.Seal(t, b.log, b.owner, b.key)
	var all int64
	require.NoError(t, b.owner.QueryRow(t.Context(), "SELECT count(*) FROM entry").Scan(&all))
	require.Greater(t, all, int64(before))
	v := b.verify()
	require.Equal(t, all, v.Entries)
	require.Zero(t, v.Unsealed)
}
