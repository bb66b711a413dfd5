package history

import (
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// Finding names a difference between what should be in the history and what is. It is a closed list; what each means and
// what to do about it stands in docs/operations/reconcile.md.
type Finding string

// What the reconciliation can find.
const (
	RevisionWithoutChange Finding = "revision-without-change"   // a stored revision that no entry accepts
	ChangeWithoutRevision Finding = "change-without-revision"   // an accepted change whose revision is not stored
	RevisionDiffers       Finding = "revision-differs"          // entry and revision tell different stories
	ChangeTwice           Finding = "change-twice"              // one revision accepted twice
	DecisionMissing       Finding = "decision-missing"          // neither told nor silent for a reason, or both
	DecisionDiffers       Finding = "decision-differs"          // judged again, the rules say something else
	SilenceUnfounded      Finding = "silence-unfounded"         // the reason for a silence is not borne out
	ToldTwice             Finding = "told-twice"                // one revision with two notifications
	DocumentDiffers       Finding = "document-differs"          // the current document is not that of the newest change
	TimerOverdue          Finding = "timer-overdue"             // a deadline that nobody fired
	ChainUndecided        Finding = "notification-undecided"    // attempts, or a place in the queue, without a decision
	ChainForgotten        Finding = "notification-forgotten"    // neither ended nor in the queue
	ChainOverdue          Finding = "notification-overdue"      // in the queue, due long ago
	ChainEndedEarly       Finding = "notification-ended-early"  // given up before the third failure, or cancelled for no reason
	ChainWentOn           Finding = "notification-went-on"      // something follows its end
	NumberMissing         Finding = "attempt-number-missing"    // a hole in 1, 2, 3
	NumberTwice           Finding = "attempt-number-twice"      // one number, two attempts
	TooManyAttempts       Finding = "attempt-number-over-three" //
	AttemptEarly          Finding = "attempt-early"             // before the 10 s or 60 s were over
	AttemptWithoutResult  Finding = "attempt-without-result"    // over, and nobody says how
	ResultTwice           Finding = "result-twice"              //
	ResultUnfounded       Finding = "result-without-attempt"    // also a late result whose attempt was not settled as unknown
	InteractionTwice      Finding = "interaction-twice"         // one interaction id, two attempts
	PollTwice             Finding = "poll-twice"                // one query recorded twice
	CaseMissing           Finding = "quarantine-case-missing"   // a change put aside, and nothing in quarantine
	CaseUndecided         Finding = "quarantine-case-undecided" // a case that no entry knows, or closed without an entry
)

// Findings lists all there are.
func Findings() []Finding {
	return []Finding{
		RevisionWithoutChange, ChangeWithoutRevision, RevisionDiffers, ChangeTwice, DecisionMissing, DecisionDiffers, SilenceUnfounded, ToldTwice,
		DocumentDiffers, TimerOverdue, ChainUndecided, ChainForgotten, ChainOverdue, ChainEndedEarly, ChainWentOn, NumberMissing, NumberTwice,
		TooManyAttempts, AttemptEarly, AttemptWithoutResult, ResultTwice, ResultUnfounded, InteractionTwice, PollTwice, CaseMissing, CaseUndecided,
	}
}

// Difference is one finding: what, about which, and since when.
type Difference struct {
	What         Finding         `json:"what"`
	Since        Moment          `json:"since"`
	Client       notice.ClientID `json:"clientId,omitzero"`
	Kind         string          `json:"kind,omitzero"`
	ResourceID   string          `json:"resourceId,omitzero"`
	Revision     int64           `json:"revision,omitzero"`
	Notification notice.ID       `json:"notificationId,omitzero"`
	Change       notice.ID       `json:"changeId,omitzero"`
	Interaction  notice.ID       `json:"interactionId,omitzero"`
	Detail       string          `json:"detail"` // English; ids, states and counts, never a value of a document
}

// Reconciliation is what one reconciliation looked at and found. Its JSON is part of the audit format.
type Reconciliation struct {
	From        Moment            `json:"from"` // null: the whole history
	To          Moment            `json:"to"`
	Began       Moment            `json:"began"`
	TookMS      int64             `json:"tookMillis"`
	Entries     map[string]int64  `json:"entries"` // looked at, by kind
	Resources   int64             `json:"resources"`
	Queued      int64             `json:"queued"`
	Differences int64             `json:"differences"`
	Found       map[Finding]int64 `json:"found"`
	SHA256      string            `json:"sha256"` // of all differences, as lines of JSON
	First       []Difference      `json:"first"`  // at most 50
	Calls       *CallReport       `json:"calls,omitempty"`
}

// CallReport sums up the status queries of one day (cases S6).
type CallReport struct {
	Day        string           `json:"day"`        // in Brasília's time
	Calls      int64            `json:"calls"`      // with an entry of their own
	Suppressed int64            `json:"suppressed"` // refused by a limit and counted by the next entry of their caller
	ByEndpoint map[string]int64 `json:"byEndpoint"` // "endpoint status"
	SHA256     string           `json:"sha256"`     // of the list of calls
}

// RecordedReconciliation is a reconciliation as the history keeps it.
type RecordedReconciliation struct {
	Reconciliation
	At      time.Time
	AskedBy string // "": the daily one
}

// ReconciliationRun is a reconciliation that a person asked for.
type ReconciliationRun struct {
	ID       notice.ID
	From, To time.Time
	AskedBy  Actor
	AskedAt  time.Time
	Done     int64 // pages of the history that were read, of All; both 0 before it begins
	All      int64
	State    string    // waiting, running, done or failed
	Problem  string    // why it failed
	EndedAt  time.Time // zero until then

	Token notice.ID // of the replica at work; zero where it is only read
}
