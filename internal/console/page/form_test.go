package page

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNumbersAreWrittenAsPeopleOfTheLanguageReadThem(t *testing.T) {
	seven := int64(-1234567)
	require.Equal(t, "1.204.331", whole(Portuguese, 1204331))
	require.Equal(t, "1,204,331", whole(English, 1204331))
	require.Equal(t, "−1.234.567", whole(Portuguese, &seven))
	require.Equal(t, dash, whole(English, (*int64)(nil)))
	require.Equal(t, "12,5 s", Duration(Portuguese, 12500*time.Millisecond))
	require.Equal(t, "1.50 s", Duration(English, 1500*time.Millisecond))
	require.Equal(t, "19 ms", Duration(Portuguese, 19*time.Millisecond))
	require.Equal(t, "1 min 25 s", Duration(English, 85*time.Second))
	require.Equal(t, "2 KiB", bytesOf(English, 2048))
}

func TestAShareThatIsNotWholeIsNeverRoundedToNothingOrAll(t *testing.T) {
	for share, want := range map[float64]string{
		1: "100 %", 0: "0 %", 0.99998: "99,998 %", 0.9999999: "> 99,999 %", 0.0000001: "< 0,001 %", 0.9971: "99,71 %", 0.5: "50 %",
	} {
		require.Equal(t, want, percent(Portuguese, share), share)
	}
}

func TestTimesShowBrasiliaWithUTCBeside(t *testing.T) {
	at := time.Date(2026, 11, 28, 1, 4, 41, 58e6, time.UTC)
	require.Equal(t, "27/11/2026 22:04:41,058 Brasília · 01:04:41,058 UTC", exactText(Portuguese, at))
	require.Equal(t, "27 Nov 2026 22:04:41.058 Brasília · 01:04:41.058 UTC", exactText(English, at))
	require.Equal(t, "há 3 min", Ago(Portuguese, at, at.Add(3*time.Minute+time.Second)))
	require.Equal(t, "in 5 days", Ago(English, at.Add(5*24*time.Hour), at))
	require.EqualValues(t, dash, relative(Portuguese, time.Time{}, at))
	require.Equal(t, "2026-11-28T13:00:00Z", Instant("2026-11-28T10:00"))
	require.Equal(t, "yesterday", Instant("yesterday"), "the API says what is wrong")
}
