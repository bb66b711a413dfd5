package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/store/auditlog"
)

// TestVerifyingReadsWindowByWindow is found F11: each window is a transaction of its own, so that none keeps a snapshot for
// as long as the whole walk takes.
func TestVerifyingReadsWindowByWindow(t *testing.T) {
	s := openSealed(t)
	s.full(12_000) // three windows
	s.seal()
	ended := func() (n int64) {
		require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()").Scan(&n))
		return n
	}
	before := ended()
	s.ok(12_000)
	require.Eventually(t, func() bool { return ended()-before >= 3 }, time.Minute, 10*time.Millisecond, "a reading transaction for each window")
}

// TestAnExportHoldsNoSnapshot is found F11 too: while lines are written nothing is held in the database.
func TestAnExportHoldsNoSnapshot(t *testing.T) {
	s := openSealed(t)
	s.full(12_000)
	s.seal()
	x, err := auditlog.OpenExport(t.Context(), s.url, 0)
	require.NoError(t, err)
	defer x.Close(t.Context())
	n := 0
	require.NoError(t, x.Each(t.Context(), history.Search{}, func(*audit.Sealed) error {
		if n++; n%3000 != 0 {
			return nil
		}
		var readers, held int
		require.NoError(t, s.owner.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE backend_xmin IS NOT NULL OR xact_start IS NOT NULL)
FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'arauto audit'`).Scan(&readers, &held))
		require.Equal(t, 1, readers)
		require.Zero(t, held)
		return nil
	}))
	require.Equal(t, 12_000, n)
}

// TestALogThatGrowsWhileItIsVerifiedIsVerifiedToItsEnd: windows that are read one after the other fit together.
func TestALogThatGrowsWhileItIsVerifiedIsVerifiedToItsEnd(t *testing.T) {
	s := openSealed(t)
	s.full(11_000)
	s.seal()
	stop, grown := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(grown)
		for {
			select {
			case <-stop:
				return
			default:
			}
			s.full(100)
			if _, err := s.log.Seal(t.Context(), s.key); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 3 {
		v, err := s.verify()
		require.NoError(t, err)
		require.GreaterOrEqual(t, v.Entries, int64(11_000))
	}
	close(stop)
	<-grown
	s.seal()
	var sealed int64
	require.NoError(t, s.owner.QueryRow(t.Context(), "SELECT count(*) FROM entry").Scan(&sealed))
	s.ok(sealed)
}
