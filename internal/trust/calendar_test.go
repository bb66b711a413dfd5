package trust

import (
	"context"
	"errors"
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
		r.see(shown(name(i), now.Add(left), now.Add(time.Duration(i)*time.Second)))
	}
	for i := range 20 {
		see(i, 100*24*time.Hour)
	}
	r.see(shown(name(0), now, now.Add(time.Minute)))
	require.Len(t, r.all(), 20)
	r.see(shown(name(0), now, now.Add(time.Hour))) // seen again
	see(20, 6*24*time.Hour)
	require.LessOrEqual(t, len(r.all()), 20)
	var kept []notice.ClientID
	for _, c := range r.all() {
		kept = append(kept, c.Client)
	}
	require.Equal(t, name(20), kept[0], "what ends first")
	require.Contains(t, kept, name(0), "a certificate that was seen again stays")
	require.NotContains(t, kept, name(1), "the one not seen for longest goes")
	(&Trust{seen: r}).See("none", nil, now)
	(&Trust{seen: r}).See("none", &notice.ShownCertificate{}, now)
	require.NotContains(t, r.known, notice.ClientID("none"))
	require.Equal(t, map[string]int{"0": 0, "1": 0, "7": 1, "30": 1}, r.ending(now))
	require.Equal(t, map[string]int{"0": 1, "1": 1, "7": 1, "30": 1}, r.ending(now.AddDate(0, 0, 6)))
}

func shown(client notice.ClientID, ends, at time.Time) notice.SeenCertificate {
	return notice.SeenCertificate{Client: client, SeenAt: at, ShownCertificate: notice.ShownCertificate{Fingerprint: string(client), NotAfter: ends}}
}

// shelf keeps certificates for replicas.
type shelf struct {
	kept map[notice.ClientID]notice.SeenCertificate
	down error
}

func (s *shelf) SaveReceivers(_ context.Context, seen []notice.SeenCertificate) error {
	for _, c := range seen {
		if s.down == nil {
			s.kept[c.Client] = c
		}
	}
	return s.down
}

func (s *shelf) Receivers(context.Context, int) (out []notice.SeenCertificate, _ error) {
	for _, c := range s.kept {
		out = append(out, c)
	}
	return out, s.down
}

func TestReplicasShareWhatReceiversShowed(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := &shelf{kept: map[notice.ClientID]notice.SeenCertificate{}, down: errors.New("away")}
	one, other := &Trust{seen: newReceivers(10)}, &Trust{seen: newReceivers(10)}
	one.See("itp", &notice.ShownCertificate{Serial: "1", Fingerprint: "1", NotAfter: now.Add(-time.Hour), Wrong: "tls: it has expired"}, now)
	require.Error(t, one.ShareReceivers(t.Context(), s))
	s.down = nil
	require.NoError(t, one.ShareReceivers(t.Context(), s))
	require.NoError(t, other.ShareReceivers(t.Context(), s))
	require.Equal(t, one.Receivers(), other.Receivers())
	require.Equal(t, -1, other.Receivers()[0].Days(now), "what has ended stays in the calendar")
	require.Equal(t, "tls: it has expired", other.Receivers()[0].Wrong)
	other.See("itp", &notice.ShownCertificate{Serial: "2", Fingerprint: "2", NotAfter: now.Add(time.Hour)}, now.Add(time.Second))
	require.NoError(t, other.ShareReceivers(t.Context(), s))
	require.NoError(t, one.ShareReceivers(t.Context(), s))
	require.Equal(t, "2", one.Receivers()[0].Serial)
}
