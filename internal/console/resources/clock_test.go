package resources

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/console/page"
	"github.com/arauto/arauto/internal/history"
)

// reader is a person who reads in Portuguese.
func reader(t *testing.T) *page.Visit {
	t.Helper()
	sheet, err := page.NewSheet(Section().Files)
	require.NoError(t, err)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	return page.NewVisit(nil, history.Person{}, page.NewAPI(page.Endpoint{}, r, history.Person{}, page.Portuguese), sheet, nil)
}

func units(t *testing.T, coordinate string) float64 {
	t.Helper()
	out, err := strconv.ParseFloat(coordinate, 64)
	require.NoError(t, err)
	return out
}

// thrice is a notification whose third attempt was accepted: the first timed out, the second was refused.
func thrice(event time.Time) *toldNotification {
	attempt := func(number int, from, to time.Duration, outcome string, status *int) toldAttempt {
		ended := event.Add(to)
		return toldAttempt{Number: number, StartedAt: event.Add(from), EndedAt: &ended, Outcome: &outcome, HTTPStatus: status}
	}
	refused, accepted := http.StatusServiceUnavailable, http.StatusAccepted
	return &toldNotification{ID: "n", Status: "ACSC", EventAt: event, CreatedAt: event, State: "delivered", Attempts: []toldAttempt{
		attempt(1, 64*time.Millisecond, 15064*time.Millisecond, "timeout", nil),
		attempt(2, 25084*time.Millisecond, 25384*time.Millisecond, "refused", &refused),
		attempt(3, 85414*time.Millisecond, 85614*time.Millisecond, "delivered", &accepted),
	}}
}

func TestAThirdAttemptIsDrawnAgainstItsOwnDeadline(t *testing.T) {
	event := time.Date(2026, 11, 28, 14, 4, 41, 0, time.UTC)
	c := clockOf(reader(t), thrice(event), []moment{
		{At: event.Add(90 * time.Second), Kind: "poll"}, {At: event.Add(-time.Second), Kind: "poll"}, {At: event.Add(time.Hour), Kind: "poll"},
	})
	require.Len(t, c.Lanes, 3)
	third := c.Lanes[2]
	require.Equal(t, "3ª tentativa", third.Name)
	require.Equal(t, "60 s depois da falha", third.Rule)
	require.Equal(t, "1 min 25 s", third.After)
	require.Equal(t, "200 ms", third.Took)
	require.Equal(t, "1 min 25 s · entregue 202", third.Label)
	require.Equal(t, "ok", third.Tone)

	end := 87614 * time.Millisecond
	s := scale{end + end/4}
	require.Equal(t, coordinate(s.x(85384*time.Millisecond)), third.Band.X, "the deadline begins 60 s after the second attempt failed")
	require.Equal(t, coordinate(s.x(85414*time.Millisecond)), third.Bar.X)
	require.LessOrEqual(t, units(t, third.Band.X), units(t, third.Bar.X))
	require.LessOrEqual(t, units(t, third.Bar.X), units(t, third.Band.X)+units(t, third.Band.W), "it began inside")

	before := 0.0
	for i, l := range c.Lanes {
		x := units(t, l.Bar.X)
		require.Greater(t, x, before, "lane %d begins after the one above", i)
		require.LessOrEqual(t, x+units(t, l.Bar.W), right)
		require.LessOrEqual(t, units(t, l.Track.X)+units(t, l.Track.W), right+0.1)
		require.Equal(t, top+laneHeight*i, l.Y)
		before = x
	}
	require.Equal(t, "end", third.Anchor, "where there is no room to the right the words stand to the left")
	require.Less(t, units(t, third.LabelX), units(t, third.Bar.X))
	require.Len(t, c.Polls, 1, "polls before the event and after the drawing are not drawn")
	require.Greater(t, units(t, c.Polls[0]), units(t, third.Bar.X))
}

func TestTheAxisNamesTheDeadlinesAndItsNamesDoNotTouch(t *testing.T) {
	const letter = 6.5 // units that a letter of 12 px takes, in the mean
	event := time.Date(2026, 11, 28, 14, 4, 41, 0, time.UTC)
	for _, last := range []time.Duration{0, 4 * time.Minute, time.Hour, 30 * time.Hour} {
		n := thrice(event)
		if last > 0 { // a resend is drawn alone, and its event is that of the notification
			ended := event.Add(last + time.Second)
			n.Manual, n.Attempts = true, []toldAttempt{{Number: 1, StartedAt: event.Add(last), EndedAt: &ended, Outcome: new("delivered")}}
		}
		c := clockOf(reader(t), n, nil)
		named, before := map[string]bool{}, -100.0
		for _, mark := range c.Ticks {
			x, half := units(t, mark.X), letter*float64(len([]rune(mark.Text)))/2
			require.Greater(t, x-half, before, "%s touches the one before", mark.Text)
			require.LessOrEqual(t, x+half, 1120.0)
			named[mark.Text], before = true, x+half
		}
		require.True(t, named["0"])
		if last < time.Hour {
			require.Subset(t, named, map[string]bool{"1,50 s": true, "10,0 s": true, "1 min 0 s": true})
		}
	}
}

func TestTheReaderChoosesWhichNotificationIsDrawn(t *testing.T) {
	at := time.Date(2026, 11, 28, 14, 4, 41, 0, time.UTC)
	all := []toldNotification{{ID: "old", Status: "ACSP", CreatedAt: at}, {ID: "new", Status: "ACSC", CreatedAt: at.Add(time.Minute)}}
	newest, err := chosen(all, "")
	require.NoError(t, err)
	require.Equal(t, "new", newest.ID)
	old, err := chosen(all, "old")
	require.NoError(t, err)
	require.Equal(t, "old", old.ID)
	choices := choicesOf(all, old)
	require.Equal(t, []drawnChoice{{"new", "ACSC", at.Add(time.Minute), false, false}, {"old", "ACSP", at, false, true}}, choices)
	_, err = chosen(all, "of another resource")
	require.True(t, page.Is(err, http.StatusNotFound))
	none, err := chosen(nil, "")
	require.NoError(t, err)
	require.Nil(t, none)
	require.Nil(t, choicesOf(all[:1], newest))
}
