package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at is an instant of a run.
func at(s float64) time.Time {
	return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

func change(id string, revision int64) Change {
	return Change{Kind: "pix-payment", ClientID: "itp", APIVersion: "v5", Revision: revision, Data: json.RawMessage(`{"consentId":"c","paymentId":"` + id + `"}`)}
}

func attempt(number int, interaction, outcome string, started, ended float64) Attempt {
	end := at(ended)
	a := Attempt{Number: number, InteractionID: interaction, StartedAt: at(started), EndedAt: &end, Outcome: &outcome}
	if outcome == "delivered" || outcome == "refused" {
		status := 202
		a.HTTPStatus = &status
	}
	return a
}

// good are the books of a run in which all went well: one payment refused once and then delivered, one silent change, one
// of which nothing is known.
func good() RunRecord {
	revision := int64(1)
	told := Accepted{ChangeID: "c1", Outcome: "applied"}
	told.Notifications = append(told.Notifications, struct {
		ID string `json:"id"`
	}{"n1"})
	return RunRecord{
		Submissions: []Line{
			{Sent: at(-0.1), Fate: Acknowledged, Change: change("p1", 1), Answer: told},
			{Fate: Acknowledged, Change: change("p1", 2), Answer: Accepted{ChangeID: "c2", Outcome: "applied"}},
			{Fate: Unknown, Change: change("p2", 1)},
			{Fate: Refused, Change: change("p3", 1)},
		},
		Posts: []Post{{Target: "/x/pix/payments/p1", Interaction: "i1", At: at(0.1), Held: 900 * time.Millisecond}, {Target: "/x/pix/payments/p1", Interaction: "i2", At: at(11.05)}},
		Notifications: []Notification{{
			ID: "n1", Kind: "pix-payment", ResourceID: "p1", Revision: &revision, State: "delivered",
			Attempts: []Attempt{attempt(1, "i1", "refused", 0, 1), attempt(2, "i2", "delivered", 11, 12)},
		}},
		Stored: map[Revision]string{{"pix-payment", "p1", 1}: "c1", {"pix-payment", "p1", 2}: "c2"},
	}
}

func TestBooksOfARunThatWentWellAgree(t *testing.T) {
	r := good().Check()
	require.Empty(t, r.Wrong)
	require.Equal(t, []int{2, 1, 1, 1, 2, 2}, []int{r.Acknowledged, r.Unknown, r.Refused, r.Notifications, r.Attempts, r.Posts})
	require.Equal(t, 1, r.Delivered)
	require.NotEmpty(t, r.String())
}

func never(_, _ time.Time) bool { return false }

// TestWhatAFaultExplainsIsNotWrong cooks the books in ways that are wrong in calm times only.
func TestWhatAFaultExplainsIsNotWrong(t *testing.T) {
	b := good()
	b.Disturbed = func(_, _ time.Time) bool { return true }
	b.Posts[0].At, b.Posts[1].At = at(1.7), at(8.7)
	b.Posts[0].Held = 0
	b.Ahead = func(_, _ time.Time) time.Duration { return 3 * time.Second }
	r := b.Check()
	require.Empty(t, r.Wrong)
	require.Equal(t, "1, median 1.8s, p99 1.8s, most 1.8s", r.First.String())
	require.Equal(t, 1, r.First.Over(firstWithin))
	require.Equal(t, "none", r.Third.String())
	b.Ahead = func(_, _ time.Time) time.Duration { return 2 * time.Second }
	require.Len(t, b.Check().Wrong, 1)
}

// TestWhatMustNotHappenIsFound cooks the books in each way the checker promises to see.
func TestWhatMustNotHappenIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		cook func(*RunRecord)
		why  string
	}{
		"an acknowledged change is gone":        {func(b *RunRecord) { delete(b.Stored, Revision{"pix-payment", "p1", 2}) }, "is stored as"},
		"an acknowledged change has another id": {func(b *RunRecord) { b.Stored[Revision{"pix-payment", "p1", 2}] = "c9" }, "is stored as"},
		"its notification is gone":              {func(b *RunRecord) { b.Notifications, b.Posts = nil, nil }, "does not exist"},
		"its notification is somebody else's":   {func(b *RunRecord) { b.Notifications[0].ResourceID, b.Posts = "p9", nil }, "is about"},
		"a refused change is stored":            {func(b *RunRecord) { b.Stored[Revision{"pix-payment", "p3", 1}] = "c3" }, "was refused"},
		"a silent change is told":               {func(b *RunRecord) { b.Submissions[0].Answer.Notifications = nil }, "as silent"},
		"a revision is announced twice": {func(b *RunRecord) {
			n := b.Notifications[0]
			n.ID, n.Attempts = "n2", nil
			b.Notifications = append(b.Notifications, n)
		}, "two notifications"},
		"a POST nobody recorded":                          {func(b *RunRecord) { b.Posts = append(b.Posts, Post{Target: "/p1", Interaction: "i9"}) }, "never recorded"},
		"an attempt sent twice":                           {func(b *RunRecord) { b.Posts = append(b.Posts, b.Posts[1]) }, "arrived 2 times"},
		"an interaction id used twice":                    {func(b *RunRecord) { b.Notifications[0].Attempts[1].InteractionID = "i1" }, "used for two"},
		"an attempt about another payment":                {func(b *RunRecord) { b.Posts[0].Target = "/x/pix/payments/p7" }, "arrived at"},
		"an answer nobody gave":                           {func(b *RunRecord) { b.Posts = b.Posts[:1] }, "never arrived"},
		"a second attempt too early":                      {func(b *RunRecord) { b.Notifications[0].Attempts[1].StartedAt = at(10.9) }, "after the failure"},
		"a second attempt beside the first":               {func(b *RunRecord) { b.Notifications[0].Attempts[0].EndedAt = nil }, "had not ended"},
		"an attempt after a success":                      {func(b *RunRecord) { d := "delivered"; b.Notifications[0].Attempts[0].Outcome = &d }, "followed a success"},
		"a second POST too early by the receiver's clock": {func(b *RunRecord) { b.Posts[1].At = at(10.9) }, "POST 2 arrived 9.9s after"},
		"a first POST that is late in calm times":         {func(b *RunRecord) { b.Posts[0].At, b.Disturbed = at(1.5), never }, "first POST came 1.6s after"},
		"a retry that is late in calm times": {func(b *RunRecord) {
			b.Notifications[0].Attempts[1].StartedAt, b.Disturbed = at(12.1), never
		}, "attempt 2 began 1.1s late"},
		"an end nobody saw in calm times": {func(b *RunRecord) {
			u := "unknown"
			b.Notifications[0].Attempts[0].Outcome, b.Notifications[0].Attempts[0].HTTPStatus, b.Disturbed = &u, nil, never
		}, "the end of attempt 1"},
		"a number left out":            {func(b *RunRecord) { b.Notifications[0].Attempts[1].Number = 3 }, "stands in place"},
		"a fourth attempt":             {fourth, "has 4 attempts"},
		"a state that does not follow": {func(b *RunRecord) { b.Notifications[0].State = "exhausted" }, "is exhausted after"},
		"a failure that nothing follows": {func(b *RunRecord) {
			b.Notifications[0].State, b.Notifications[0].Attempts = "pending", b.Notifications[0].Attempts[:1]
		}, "is pending after"},
		"a change in the ledger that has no name":  {func(b *RunRecord) { b.Submissions[0].Change.Data = nil }, "without a name"},
		"a delivery that the record calls pending": {func(b *RunRecord) { b.Notifications[0].State = "pending" }, "is pending after"},
	} {
		t.Run(name, func(t *testing.T) {
			b := good()
			c.cook(&b)
			require.Contains(t, strings.Join(b.Check().Wrong, "\n"), c.why)
		})
	}
}

func fourth(b *RunRecord) {
	n := &b.Notifications[0]
	n.State, n.Attempts = "exhausted", nil
	b.Posts = nil
	for i := range 4 {
		id := fmt.Sprint("i", i)
		n.Attempts = append(n.Attempts, attempt(i+1, id, "refused", float64(100*i), float64(100*i+1)))
		b.Posts = append(b.Posts, Post{Target: "/p1", Interaction: id})
	}
}

func TestTheLedgerKeepsTheLastThatIsKnownAndNeverForgetsAnAcknowledgement(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.ndjson")
	l, err := OpenSubmissionLog(path)
	require.NoError(t, err)
	ok := Accepted{ChangeID: "c1", Outcome: "applied"}
	require.NoError(t, l.Note(change("p1", 1), Accepted{}, errors.New("connection reset")))
	require.NoError(t, l.Note(change("p2", 1), Accepted{}, &Refusal{Status: 503}))
	require.NoError(t, l.Note(change("p3", 1), Accepted{}, &Refusal{Status: 422}))
	require.NoError(t, l.Close())
	l, err = OpenSubmissionLog(path)
	require.NoError(t, err)
	require.NoError(t, l.Note(change("p1", 1), ok, nil))
	require.NoError(t, l.Note(change("p1", 1), Accepted{}, errors.New("connection reset")))
	require.NoError(t, l.Close())

	lines, err := ReadSubmissions(path)
	require.NoError(t, err)
	require.Len(t, lines, 3)
	require.Equal(t, []Fate{Acknowledged, Unknown, Refused}, []Fate{lines[0].Fate, lines[1].Fate, lines[2].Fate})
	require.Equal(t, "c1", lines[0].Answer.ChangeID)
}
