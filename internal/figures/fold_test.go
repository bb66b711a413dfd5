package figures

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/audit"
	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/internal/timing"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// briefLog makes entries, each a little later than the one before.
type briefLog struct {
	t       *testing.T
	at      time.Time
	words   history.SharedWords
	entries []history.Brief
}

func newBriefLog(t *testing.T) *briefLog { return &briefLog{t: t, at: noon} }

// add writes an entry: its columns and its facts.
func (l *briefLog) add(after time.Duration, e audit.Entry, facts map[string]any) *history.Brief {
	l.t.Helper()
	l.at = l.at.Add(after)
	n := len(l.entries) + 1
	text, err := json.Marshal(facts)
	require.NoError(l.t, err)
	e.ID, e.XID, e.At, e.Facts = notice.ID{15: byte(n), 14: byte(n >> 8)}, int64(n), audit.At(l.at), string(text)
	b, err := history.BriefOf(&e, &l.words)
	require.NoError(l.t, err)
	l.entries = append(l.entries, b)
	return &l.entries[n-1]
}

func of[T any](v T) *T { return &v }

// about are the columns of an entry about a notification of a client.
func about(kind, client string, notification byte) audit.Entry {
	e := audit.Entry{Kind: kind, ClientID: &client, ResourceKind: of(int16(ofb.PixPayment)), ResourceID: of("p-" + strconv.Itoa(int(notification)))}
	if notification != 0 {
		e.NotificationID = &notice.ID{notification}
	}
	return e
}

// made writes the entry that makes a notification of something that happened before.
func (l *briefLog) made(kind, client string, notification byte, happened time.Duration) {
	l.add(10*time.Millisecond, about(kind, client, notification), map[string]any{
		"source": "api", "occurredAt": l.at.Add(-happened), "beganMicros": 900, "waitedMicros": 1500, "status": "ACSC",
	})
}

func (l *briefLog) attempt(client string, notification byte, number int16, after time.Duration) {
	e := about(history.FactAttempt, client, notification)
	e.Number = &number
	l.add(after, e, map[string]any{"scheduledAt": l.at, "late": false, "manual": false})
}

func (l *briefLog) result(client string, notification byte, number int16, outcome notice.Outcome, closes notice.State) {
	e := about(history.FactResult, client, notification)
	e.Number, e.Outcome = &number, of(string(outcome))
	if closes != "" {
		e.Closes = of(string(closes))
	}
	l.add(50*time.Millisecond, e, map[string]any{
		"number": number, "attempt": "x", "echo": "match", "claimToSendMicros": 100, "firstByteOutMicros": 900, "answeredMicros": 40_000, "elapsedMicros": 40_000, "endedAt": l.at.Add(45 * time.Millisecond),
	})
}

// judge judges records one by one, without standstills.
func judge(records []history.Record, ends []*history.Brief) ([]timing.Timing, error) {
	out := make([]timing.Timing, len(records))
	for i := range records {
		out[i] = timing.TimingOf(&records[i], nil, ends[i].At)
	}
	return out, nil
}

// folded folds entries in one stretch.
func folded(t *testing.T, entries []history.Brief) *Totals {
	t.Helper()
	var b Totals
	require.NoError(t, b.Fold(Stretch{Entries: entries, Judge: judge}))
	return &b
}

// merge adds sums to a row.
func merge(into map[RowKey]Sums, k RowKey, s Sums) {
	if into[k] == nil {
		into[k] = Sums{}
	}
	into[k].Add(s)
}

// all are the sums of everything.
func all(b *Totals) Sums {
	out := Sums{}
	for k, s := range b.Hours() {
		if k.Client == "" {
			out.Add(s)
		}
	}
	return out
}

// someLog is a log with a bit of everything.
func someLog(t *testing.T, r *rand.Rand, n int) *briefLog {
	t.Helper()
	l := newBriefLog(t)
	for id := byte(1); int(id) <= n; id++ {
		client := "client-" + strconv.Itoa(r.IntN(3))
		l.at = l.at.Add(time.Duration(r.IntN(600)) * time.Second)
		switch r.IntN(10) {
		case 0:
			l.add(time.Second, about(history.FactChange, client, 0), map[string]any{"reason": "no-change"})
		case 1:
			l.add(time.Second, about(history.FactDuplicate, client, 0), nil)
			l.add(time.Second, about(history.FactRefused, client, 0), map[string]any{"refusals": 3})
		case 2:
			poll := about(history.FactPoll, client, 0)
			poll.Outcome = of("200")
			l.add(time.Second, poll, map[string]any{"status": "ACSC", "durationMicros": 900, "suppressed": r.IntN(2)})
		case 3:
			l.made(history.FactResend, client, id, time.Hour)
			l.attempt(client, id, 1, time.Millisecond)
			l.result(client, id, 1, notice.OutcomeDelivered, notice.Delivered)
		case 4:
			l.made(history.FactChange, client, id, 0)
			cancelled := about(history.FactCancelled, client, id)
			cancelled.Closes = of(string(notice.Cancelled))
			l.add(time.Second, cancelled, nil)
		case 5:
			l.result(client, id, 1, notice.OutcomeDelivered, notice.Delivered) // what made it is gone
		case 6:
			l.made(history.FactDecision, client, id, time.Minute)
			l.attempt(client, id, 1, 3*time.Second)
			l.result(client, id, 1, notice.OutcomeDelivered, notice.Delivered)
			l.result(client, id, 1, notice.OutcomeDelivered, notice.Delivered) // twice
		case 7:
			l.made(history.FactChange, client, id, 0)
			l.attempt(client, id, 1, time.Millisecond)
			l.result(client, id, 1, notice.OutcomeTimeout, "")
			l.attempt(client, id, 2, time.Duration(10+r.IntN(3))*time.Second)
			l.result(client, id, 2, notice.OutcomeConnect, "")
			l.attempt(client, id, 3, time.Minute)
			l.result(client, id, 3, notice.OutcomeRefused, notice.Exhausted)
		default:
			l.made(history.FactChange, client, id, time.Duration(r.IntN(2000))*time.Millisecond)
			l.attempt(client, id, 1, time.Millisecond)
			l.result(client, id, 1, notice.OutcomeDelivered, notice.Delivered)
		}
	}
	for range n / 10 { // somebody altered some
		l.entries[r.IntN(len(l.entries))].Altered = true
	}
	return l
}

// TestAnyCutOfTheLogGivesTheSameSums cuts random logs anywhere, between the entries of one notification as well.
func TestAnyCutOfTheLogGivesTheSameSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		l := someLog(t, r, 60)
		whole := folded(t, l.entries)
		hours, contacts := map[RowKey]Sums{}, map[notice.ClientID]Contact{}
		for from := 0; from < len(l.entries); {
			to := min(len(l.entries), from+1+r.IntN(20))
			var b Totals
			before := slices.Clone(l.entries[:from])
			r.Shuffle(len(before), func(i, j int) { before[i], before[j] = before[j], before[i] })
			require.NoError(t, b.Fold(Stretch{Entries: l.entries[from:to], Before: before, Judge: judge}))
			for k, s := range b.Hours() {
				merge(hours, k, s)
			}
			for client, c := range b.Contacts() {
				if old, there := contacts[client]; there {
					c = c.After(old)
				}
				contacts[client] = c
			}
			from = to
		}
		require.Equal(t, whole.Hours(), hours)
		require.Equal(t, whole.Contacts(), contacts)
		require.Equal(t, l.at, whole.Last())
		minutes := Sums{}
		for k, s := range whole.Minutes() {
			require.Empty(t, k.Client)
			require.Zero(t, k.Start%60)
			minutes.Add(s)
		}
		require.Equal(t, all(whole), minutes)
	}
}

// TestWhatEntriesAddUpTo counts a log that is small enough to be counted by hand.
func TestWhatEntriesAddUpTo(t *testing.T) {
	l := newBriefLog(t)
	l.made(history.FactChange, "a", 1, 100*time.Millisecond)
	l.attempt("a", 1, 1, time.Millisecond)
	l.result("a", 1, 1, notice.OutcomeDelivered, notice.Delivered)
	l.made(history.FactChange, "a", 2, time.Minute)
	l.attempt("a", 2, 1, time.Millisecond)
	l.result("a", 2, 1, notice.OutcomeTimeout, "")
	l.result("a", 2, 1, notice.OutcomeTimeout, "") // there twice: counts once
	l.result("b", 3, 1, notice.OutcomeDelivered, notice.Delivered)
	l.made(history.FactResend, "a", 4, time.Hour)
	l.attempt("a", 4, 1, time.Millisecond)
	l.result("a", 4, 1, notice.OutcomeDelivered, notice.Delivered)
	l.made(history.FactChange, "b", 5, 0)
	l.attempt("b", 5, 1, 2*time.Second)
	l.entries[len(l.entries)-1].Altered = true
	l.result("b", 5, 1, notice.OutcomeDelivered, notice.Delivered)
	s := all(folded(t, l.entries)).Summary()
	require.Equal(t, []int64{3, 3, 1, 1}, []int64{s.Changes, s.Notifications, s.Manual.Notifications, s.Lost})
	require.Equal(t, []int64{1, 1, 0, 1}, []int64{s.First.OnTime, s.First.Late, s.First.LateOurs, s.First.Unknown}, "nobody knows of what was altered")
	require.Equal(t, Tally{"core-late": 1}, s.First.Causes)
	require.InDelta(t, 0.5, *s.First.Share, 0)
	require.InDelta(t, 1, *s.First.Ours, 0)
	require.Equal(t, Tally{"delivered": 2, "timeout": 1}, s.Outcomes["1"])
	require.Equal(t, Tally{"delivered": 2}, s.Closed)
	require.Equal(t, Tally{"delivered": 1}, s.Manual.Closed)
	require.EqualValues(t, 2, s.Ignored)
	require.EqualValues(t, 2, s.First.SinceEvent.Count)
	require.GreaterOrEqual(t, *s.First.SinceEvent.Max, history.Micros(60_000_000))
}

// TestAnErrorOfTheJudgeEndsTheFold hands it over.
func TestAnErrorOfTheJudgeEndsTheFold(t *testing.T) {
	l := newBriefLog(t)
	l.made(history.FactChange, "a", 1, 0)
	l.attempt("a", 1, 1, time.Millisecond)
	l.result("a", 1, 1, notice.OutcomeDelivered, notice.Delivered)
	gone := errors.New("gone")
	var b Totals
	require.ErrorIs(t, b.Fold(Stretch{Entries: l.entries, Judge: func([]history.Record, []*history.Brief) ([]timing.Timing, error) { return nil, gone }}), gone)
	require.NoError(t, b.Fold(Stretch{Entries: l.entries[:2]}), "nothing ended: nobody is asked")
}

// TestManyEndsAreJudgedInParts: the records of a whole stretch are not in memory at once.
func TestManyEndsAreJudgedInParts(t *testing.T) {
	l := newBriefLog(t)
	l.made(history.FactChange, "a", 1, 0)
	l.attempt("a", 1, 1, time.Millisecond)
	l.result("a", 1, 1, notice.OutcomeDelivered, notice.Delivered)
	var entries []history.Brief
	const n = 2*judgeAtOnce + 500
	for i := range n {
		for _, e := range l.entries {
			e.Notification = notice.ID{0: 1, 14: byte(i >> 8), 15: byte(i)}
			entries = append(entries, e)
		}
	}
	var parts []int
	var b Totals
	require.NoError(t, b.Fold(Stretch{Entries: entries, Judge: func(records []history.Record, ends []*history.Brief) ([]timing.Timing, error) {
		parts = append(parts, len(records))
		for i := range records {
			require.Equal(t, records[i].ID, ends[i].Notification)
		}
		return judge(records, ends)
	}}))
	require.Equal(t, []int{judgeAtOnce, judgeAtOnce, 500}, parts)
	require.EqualValues(t, n, all(&b)[nameFirst+string(timing.OnTime)])
}

// TestPollsAreCountedAsTheyStandToPushes takes what it is told of them.
func TestPollsAreCountedAsTheyStandToPushes(t *testing.T) {
	l := newBriefLog(t)
	polls := map[notice.ID]Push{}
	for i, push := range []Push{PushWithout, PushBefore, PushAfter, ""} {
		e := about(history.FactPoll, "a", 0)
		e.Outcome = of([]string{"200", "404", "503", "not a word!"}[i])
		polls[l.add(time.Second, e, map[string]any{"status": "ACSC", "durationMicros": 900, "suppressed": i}).ID] = push
	}
	var b Totals
	require.NoError(t, b.Fold(Stretch{Entries: l.entries, Polls: polls, Fetched: []Fetch{{At: noon.Unix(), Client: "a", Kind: ofb.PixPayment}}}))
	p := all(&b).Summary().Polls
	require.Equal(t, []int64{1, 1, 1, 4, 6, 10}, []int64{p.Without, p.Before, p.After, p.Final, p.Suppressed, p.Total})
	require.Equal(t, Tally{"200": 1, "404": 1, "503": 1, "other": 1}, p.ByStatus)
	require.InDelta(t, 0.75, *p.Availability, 0)
	require.EqualValues(t, 1, all(&b)[nameFetched])
}

// TestCallsOfTheExtensionAreNoStatusQueries: a long poll of 30 s and a refused preflight leave the sums of status queries alone.
func TestCallsOfTheExtensionAreNoStatusQueries(t *testing.T) {
	l := newBriefLog(t)
	for _, c := range []struct {
		operation, outcome string
		took               time.Duration
	}{
		{"payment", "200", time.Millisecond},
		{"extension-events", "204", 30 * time.Second},
		{"extension-preflight", "529", time.Millisecond},
		{"extension-notification", "503", 14 * time.Second},
	} {
		e := about(history.FactPoll, "a", 0)
		e.Outcome = &c.outcome
		l.add(time.Second, e, map[string]any{"operation": c.operation, "status": "ACSC", "durationMicros": c.took.Microseconds(), "suppressed": 2})
	}
	p := all(folded(t, l.entries)).Summary().Polls
	require.Equal(t, []int64{1, 2, 3}, []int64{p.Final, p.Suppressed, p.Total})
	require.Equal(t, Tally{"200": 1}, p.ByStatus)
	require.InDelta(t, 1, *p.Availability, 0)
	require.Less(t, p.Duration.P99.Duration(), time.Second)
}

// TestAClientThatFailsIsFailingFromItsFirstFailure keeps what the log says last.
func TestAClientThatFailsIsFailingFromItsFirstFailure(t *testing.T) {
	l := newBriefLog(t)
	var ended []time.Time
	for id, outcome := range []notice.Outcome{notice.OutcomeDelivered, notice.OutcomeTimeout, notice.OutcomeConnect} {
		l.made(history.FactChange, "a", byte(id+1), 0)
		l.attempt("a", byte(id+1), 1, time.Millisecond)
		l.result("a", byte(id+1), 1, outcome, "")
		ended = append(ended, l.at)
	}
	want := Contact{LastSuccess: ended[0], LastFailure: ended[2], Failures: 2, FailingFrom: ended[1], Outcome: notice.OutcomeConnect}
	require.Equal(t, map[notice.ClientID]Contact{"a": want}, folded(t, l.entries).Contacts())
	first, rest := folded(t, l.entries[:3]).Contacts()["a"], folded(t, l.entries[3:]).Contacts()["a"]
	require.Equal(t, want, rest.After(first))
	first.LastFailure = ended[2]
	require.Equal(t, first, first.After(rest), "a success ends what was before")
}

// TestSumsAreReadAsTheyAreWritten: the text is JSON, sorted, without counters of 0.
func TestSumsAreReadAsTheyAreWritten(t *testing.T) {
	s := Sums{"b": 2, "a.x": -1, "none": 0, "event/12": 9_000_000_000}
	require.JSONEq(t, `{"a.x":-1,"b":2,"event/12":9000000000}`, s.Text())
	require.Equal(t, `{"a.x":-1,"b":2,"event/12":9000000000}`, s.Text())
	again := Sums{"b": 1}
	require.NoError(t, again.AddText(s.Text()))
	require.Equal(t, Sums{"a.x": -1, "b": 3, "event/12": 9_000_000_000}, again)
	require.Equal(t, "{}", Sums{}.Text())
	require.NoError(t, again.AddText("{}"))
	for _, text := range []string{"", "{", "}", `{"a"}`, `{"a":}`, `{"a":1.5}`, `{a:1}`, `{"":1}`, `{"a":1,b}`, "null"} {
		require.Error(t, Sums{}.AddText(text), text)
	}
}

// TestPercentilesOfWhatWasOnTimeAreNotAboveItsLimit has samples of 1.49 s, whose bucket ends at 1.54 s.
func TestPercentilesOfWhatWasOnTimeAreNotAboveItsLimit(t *testing.T) {
	s := Sums{}
	bucket := func(hist string, d history.Micros) string { return bucketNames[hist][timing.BucketOf(d)] }
	s[nameFirst+string(timing.OnTime)], s[nameReceipt+string(timing.OnTime)] = 98, 100
	s[nameFirst+string(timing.TooLate)] = 2
	s[bucket(histEvent, 1_490_000)], s[bucket(histEvent, 4_010_000)], s[bucket(histReceipt, 1_499_999)] = 98, 2, 100
	require.Greater(t, *s.percentiles(histEvent).P50, history.Micros(1_500_000))
	f := s.Summary().First
	require.EqualValues(t, 1_500_000, *f.SinceEvent.P50)
	require.EqualValues(t, 1_500_000, *f.SinceEvent.P95)
	require.Greater(t, *f.SinceEvent.P99, history.Micros(4_000_000))
	require.Greater(t, *f.SinceEvent.Max, history.Micros(4_000_000))
	require.EqualValues(t, 1_500_000, *f.SinceReceipt.Max)
}

// TestAPercentileIsAtMostFivePercentTooHighAndNeverTooLow compares with sorted samples.
func TestAPercentileIsAtMostFivePercentTooHighAndNeverTooLow(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		s := Sums{"event/x": 7, histAnswer + "3": 9}
		samples := make([]history.Micros, 1+r.IntN(500))
		for i := range samples {
			samples[i] = history.Micros(r.ExpFloat64() * 1e6)
			s[bucketNames[histEvent][timing.BucketOf(samples[i])]]++
		}
		slices.Sort(samples)
		p := s.percentiles(histEvent)
		require.EqualValues(t, len(samples), p.Count)
		for _, c := range []struct {
			share float64
			got   *history.Micros
		}{{0.5, p.P50}, {0.95, p.P95}, {0.99, p.P99}, {1, p.Max}} {
			want := samples[int(math.Ceil(float64(len(samples))*c.share))-1]
			require.GreaterOrEqual(t, *c.got, want)
			require.LessOrEqual(t, float64(*c.got), 1.05*float64(max(1, want))+1)
		}
	}
	require.Equal(t, timing.Percentiles{}, Sums{}.percentiles(histEvent))
	require.Equal(t, timing.Buckets-1, timing.BucketOf(1<<62))
}

// TestAReportAndThePagesReadTheSamePercentile gives the same first attempts to the account of a period and to the sums: they read two
// histograms of different steps once, and told two figures of one period.
func TestAReportAndThePagesReadTheSamePercentile(t *testing.T) {
	report, sums := timing.NewTimingSummary(), Sums{}
	r := rand.New(rand.NewPCG(7, 7))
	var longest history.Micros
	for range 400 {
		d := history.Micros(r.ExpFloat64() * 7e5)
		longest = max(longest, d)
		verdict := timing.OnTime
		if d.Duration() > notice.FirstWithin {
			verdict = timing.TooLate
		}
		proof := timing.Timing{Attempts: make([]timing.AttemptTiming, 1)}
		proof.First.FromEvent, proof.First.FromReceipt, proof.First.SinceEvent, proof.First.SinceReceipt = verdict, verdict, d, d
		report.Add(&proof)
		c := counted{all: sums, minute: Sums{}}
		attempt(c, 0, &history.Record{Attempts: make([]history.AttemptRecord, 1)}, &proof)
	}
	first := sums.Summary().First
	require.EqualValues(t, 400, first.Judged)
	require.Positive(t, first.Late)
	for _, of := range []struct {
		sums   timing.Percentiles
		report timing.Percentiles
	}{{first.SinceEvent, report.SinceEvent.Percentiles()}, {first.SinceReceipt, report.SinceReceipt.Percentiles()}} {
		for _, v := range []**history.Micros{&of.sums.P50, &of.sums.P95, &of.sums.P99, &of.sums.Max} {
			*v = new(min(**v, longest)) // which a report alone knows
		}
		require.Equal(t, of.sums, of.report)
	}
}
