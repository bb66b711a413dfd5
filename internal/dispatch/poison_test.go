package dispatch

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// barred is a database that answers and does not let us write, as after a REVOKE.
type barred struct{ held bool }

func (barred) Error() string     { return "no right" }
func (barred) Transient() bool   { return true }
func (b barred) Contended() bool { return b.held }

func TestOnlyWhatFailsByItselfIsPutAside(t *testing.T) {
	began := time.Now()
	for name, c := range map[string]struct {
		err    error
		others time.Duration // after the first failure; negative: never
		aside  bool
	}{
		"nobody can be stored":                   {fmt.Errorf("settle: %w", barred{}), -1, false},
		"nobody can be stored, but another was":  {fmt.Errorf("settle: %w", barred{}), time.Second, true},
		"a lock is held, of one row perhaps":     {fmt.Errorf("settle: %w", barred{held: true}), -1, true},
		"a failure that nothing is known of":     {errors.New("?"), -1, true},
		"and it is not long enough that it does": {errors.New("?"), -1, false},
	} {
		var s poison
		var others time.Time
		if c.others >= 0 {
			others = began.Add(c.others)
		}
		last := began.Add(time.Hour)
		if name == "and it is not long enough that it does" {
			last = began.Add(quiet - 1)
		}
		s.failedAlone(began, time.Time{}, c.err)
		require.False(t, s.isolated, name)
		s.failedAlone(last, others, c.err)
		require.Equal(t, c.aside, s.isolated, name)
	}
}
