package trust

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/notice"
)

func TestTheCalendarOfReceiversIsBoundedAndForgetsWhoWasNotSeenForLong(t *testing.T) {
	r := newReceivers(20)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	name := func(i int) notice.ClientID { return notice.ClientID(rune('a' + i)) }
	see := func(i int, left time.Duration) {
		r.see(name(i), &notice.TLSFacts{PeerFingerprint: string(name(i)), PeerNotAfter: now.Add(left)}, now.Add(time.Duration(i)*time.Second))
	}
	for i := range 20 {
		see(i, 100*24*time.Hour)
	}
	see(0, 0)
	require.Len(t, r.all(), 20)
	r.see(name(0), &notice.TLSFacts{PeerFingerprint: string(name(0)), PeerNotAfter: now}, now.Add(time.Hour)) // seen again
	see(20, 6*24*time.Hour)
	require.LessOrEqual(t, len(r.all()), 20)
	var kept []notice.ClientID
	for _, c := range r.all() {
		kept = append(kept, c.Client)
	}
	require.Equal(t, name(20), kept[0], "what ends first")
	require.Contains(t, kept, name(0), "a certificate that was seen again stays")
	require.NotContains(t, kept, name(1), "the one not seen for longest goes")
	r.see("none", nil, now)
	r.see("none", &notice.TLSFacts{}, now)
	require.NotContains(t, r.known, notice.ClientID("none"))
	require.Equal(t, map[string]int{"0": 0, "1": 0, "7": 1, "30": 1}, r.ending(now))
	require.Equal(t, map[string]int{"0": 1, "1": 1, "7": 1, "30": 1}, r.ending(now.AddDate(0, 0, 6)))
}
