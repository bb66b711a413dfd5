package history

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

// TestPartsOfAReadCountAFailedRowOnce: and rows that only look alike each for itself.
func TestPartsOfAReadCountAFailedRowOnce(t *testing.T) {
	row := func(n byte, at int64) (i Integrity) {
		id := notice.ID{n}
		i.Fail(FailedEntry{EntryID: &id, At: time.Unix(at, 0), Reason: fmt.Sprint("reason ", at)})
		return i
	}
	var all Integrity
	for range 2 {
		all.Add(row(1, 1))
		all.Add(row(1, 2)) // a second row under the same id
		all.Add(row(2, 1))
		var damage Integrity
		damage.Fail(FailedEntry{Reason: "a position is missing"})
		all.Add(damage)
	}
	require.EqualValues(t, 4, all.FailedCount)
	require.Len(t, all.Failed, 4)

	var twins Integrity // within one part nothing is taken for the same
	for range 2 {
		id := notice.ID{3}
		twins.Fail(FailedEntry{EntryID: &id, Reason: "two rows have the same place"})
	}
	all.Add(twins)
	require.EqualValues(t, 6, all.FailedCount)

	for n := range 200 {
		all.Add(row(byte(n), 3))
	}
	require.EqualValues(t, 206, all.FailedCount)
	require.Len(t, all.Failed, 100)
}
