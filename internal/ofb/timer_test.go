package ofb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock reads an instant in any offset.
func clock(t testing.TB, text string) time.Time {
	t.Helper()
	instant, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(t, err)
	return instant
}

// immediate and the others are the `payment` of a payment consent.
const (
	immediate = `"payment":{"date":"2026-09-15","amount":"1.00"}`
	single    = `"payment":{"schedule":{"single":{"date":"2026-09-20"}}}`
	daily     = `"payment":{"schedule":{"daily":{"startDate":"2026-09-20","quantity":3}}}`
	weekly    = `"payment":{"schedule":{"weekly":{"dayOfWeek":"%s","startDate":"2026-09-20","quantity":3}}}` // a Sunday
	monthly   = `"payment":{"schedule":{"monthly":{"dayOfMonth":%s,"startDate":"%s","quantity":3}}}`
	custom    = `"payment":{"schedule":{"custom":{"dates":["2026-10-02","2026-09-30","2026-12-01"],"additionalInformation":"x"}}}`
)

// timed are documents with the timer that runs on them.
var timed = []struct {
	name     string
	kind     Kind
	document string
	rule     string
	deadline string
	to       Status
}{
	{
		"payment consent waits 5 minutes from its creation", PaymentConsent,
		`{"status":"AWAITING_AUTHORISATION","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:00:00Z",` + immediate + `}`,
		"payment-consent-authorisation", "2026-09-15T14:05:00Z", Rejected,
	},
	{
		"an initial state counts from creation whatever its statusUpdateDateTime says", PaymentConsent,
		`{"status":"AWAITING_AUTHORISATION","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T15:00:00Z"}`,
		"payment-consent-authorisation", "2026-09-15T14:05:00Z", Rejected,
	},
	{
		"month and day may have one digit", PaymentConsent,
		`{"status":"AWAITING_AUTHORISATION","creationDateTime":"2026-9-5T14:00:00Z"}`,
		"payment-consent-authorisation", "2026-09-05T14:05:00Z", Rejected,
	},
	{
		"immediate payment may be approved until 23:59 in Brasília", PaymentConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:03:00Z",` + immediate + `}`,
		"payment-consent-approval", "2026-09-16T02:59:59Z", Rejected,
	},
	{
		"requested in the last second of the day in Brasília", PaymentConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-16T02:59:59Z","statusUpdateDateTime":"2026-09-16T02:59:59Z",` + immediate + `}`,
		"payment-consent-approval", "2026-09-16T02:59:59Z", Rejected,
	},
	{
		"requested in the first second of the next day in Brasília", PaymentConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-16T03:00:00Z","statusUpdateDateTime":"2026-09-16T03:00:00Z",` + immediate + `}`,
		"payment-consent-approval", "2026-09-17T02:59:59Z", Rejected,
	},
	{
		"requested on the last day of a leap February", PaymentConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2028-03-01T02:00:00Z","statusUpdateDateTime":"2028-03-01T02:01:00Z",` + immediate + `}`,
		"payment-consent-approval", "2028-03-01T02:59:59Z", Rejected,
	},
	{
		"requested on New Year's Eve in Brasília", PaymentConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2027-01-01T02:59:00Z","statusUpdateDateTime":"2027-01-01T02:59:30Z",` + immediate + `}`,
		"payment-consent-approval", "2027-01-01T02:59:59Z", Rejected,
	},
	{
		"partially accepted after the cut-off of its day ends as it begins", PaymentConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-16T02:58:00Z","statusUpdateDateTime":"2026-09-16T03:01:00Z",` + immediate + `}`,
		"payment-consent-approval", "2026-09-16T03:01:00Z", Rejected,
	},
	{"single schedule: the day before", PaymentConsent, partially(single), "payment-consent-approval", "2026-09-20T02:59:59Z", Rejected},
	{"daily schedule: the day before its start", PaymentConsent, partially(daily), "payment-consent-approval", "2026-09-20T02:59:59Z", Rejected},
	{
		"weekly schedule that starts on its weekday", PaymentConsent, partially(fmt.Sprintf(weekly, "DOMINGO")),
		"payment-consent-approval", "2026-09-20T02:59:59Z", Rejected,
	},
	{
		"weekly schedule on the next day", PaymentConsent, partially(fmt.Sprintf(weekly, "SEGUNDA_FEIRA")),
		"payment-consent-approval", "2026-09-21T02:59:59Z", Rejected,
	},
	{
		"weekly schedule six days on", PaymentConsent, partially(fmt.Sprintf(weekly, "SABADO")),
		"payment-consent-approval", "2026-09-26T02:59:59Z", Rejected,
	},
	{
		"monthly schedule later in the month", PaymentConsent, partially(fmt.Sprintf(monthly, "25", "2026-09-20")),
		"payment-consent-approval", "2026-09-25T02:59:59Z", Rejected,
	},
	{
		"monthly schedule on its first day", PaymentConsent, partially(fmt.Sprintf(monthly, "20", "2026-09-20")),
		"payment-consent-approval", "2026-09-20T02:59:59Z", Rejected,
	},
	{
		"monthly schedule in the next month", PaymentConsent, partially(fmt.Sprintf(monthly, "19", "2026-09-20")),
		"payment-consent-approval", "2026-10-19T02:59:59Z", Rejected,
	},
	{
		"monthly schedule in the next year", PaymentConsent, partially(fmt.Sprintf(monthly, "1e0", "2026-12-02")),
		"payment-consent-approval", "2027-01-01T02:59:59Z", Rejected,
	},
	{
		"monthly schedule on a day that September lacks pays on the 1st", PaymentConsent, partially(fmt.Sprintf(monthly, "31", "2026-09-20")),
		"payment-consent-approval", "2026-10-01T02:59:59Z", Rejected,
	},
	{
		"monthly schedule on a day that February lacks pays on the 1st", PaymentConsent, partially(fmt.Sprintf(monthly, "30", "2027-01-31")),
		"payment-consent-approval", "2027-03-01T02:59:59Z", Rejected,
	},
	{
		"custom schedule: the earliest of its dates, in any order", PaymentConsent, partially(custom),
		"payment-consent-approval", "2026-09-30T02:59:59Z", Rejected,
	},
	{
		"payment consent may be used for 60 minutes", PaymentConsent,
		`{"status":"AUTHORISED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:03:07Z",` + immediate + `}`,
		"payment-consent-consumption", "2026-09-15T15:03:07Z", Rejected,
	},

	{
		"recurring consent waits 60 minutes from its creation", RecurringConsent,
		`{"status":"AWAITING_AUTHORISATION","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:00:00Z"}`,
		"recurring-consent-authorisation", "2026-09-15T15:00:00Z", Rejected,
	},
	{
		"recurring approvals: 30 days at most", RecurringConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:10:00Z"}`,
		"recurring-consent-approval", "2026-10-15T14:00:00Z", Rejected,
	},
	{
		"recurring approvals: the due date comes first", RecurringConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:10:00Z","approvalDueDate":"2026-09-18","expirationDateTime":"2026-09-19T00:00:00Z"}`,
		"recurring-consent-approval", "2026-09-19T00:00:00Z", Rejected,
	},
	{
		"recurring approvals: until 23:59 of the due date", RecurringConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:10:00Z","approvalDueDate":"2026-09-18","expirationDateTime":"2026-09-19T23:59:59Z"}`,
		"recurring-consent-approval", "2026-09-19T02:59:59Z", Rejected,
	},
	{
		"recurring approvals: a due date beyond 30 days does not count", RecurringConsent,
		`{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:10:00Z","approvalDueDate":"2026-12-31"}`,
		"recurring-consent-approval", "2026-10-15T14:00:00Z", Rejected,
	},
	{
		"recurring consent is consumed by its end", RecurringConsent,
		`{"status":"AUTHORISED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:10:00Z","expirationDateTime":"2027-09-15T23:59:59Z"}`,
		"recurring-consent-expiry", "2027-09-15T23:59:59Z", Consumed,
	},
	{
		"recurring consent authorised after its end ends as it begins", RecurringConsent,
		`{"status":"AUTHORISED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:10:00Z","expirationDateTime":"2026-09-15T14:09:00Z"}`,
		"recurring-consent-expiry", "2026-09-15T14:10:00Z", Consumed,
	},

	{
		"enrolment waits 5 minutes for risk signals", Enrollment,
		`{"status":"AWAITING_RISK_SIGNALS","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:00:00Z"}`,
		"enrollment-risk-signals", "2026-09-15T14:05:00Z", Rejected,
	},
	{
		"enrolment waits 15 minutes for the account holder", Enrollment,
		`{"status":"AWAITING_ACCOUNT_HOLDER_VALIDATION","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:02:00Z"}`,
		"enrollment-account-holder-validation", "2026-09-15T14:17:00Z", Rejected,
	},
	{
		"enrolment waits 5 minutes for its credential", Enrollment,
		`{"status":"AWAITING_ENROLLMENT","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:10:00Z"}`,
		"enrollment-credential", "2026-09-15T14:15:00Z", Rejected,
	},
}

// partially is a scheduled payment consent that waits for approvers.
func partially(payment string) string {
	return `{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:03:00Z",` + payment + `}`
}

func TestNextTimerReadsTheDeadlineFromTheDocument(t *testing.T) {
	for _, c := range timed {
		t.Run(c.name, func(t *testing.T) {
			timer, ok := NextTimer(c.kind, decode(t, c.document))
			require.True(t, ok)
			require.Equal(t, c.rule, timer.Rule)
			require.Equal(t, c.deadline, timer.Deadline.Format(time.RFC3339Nano))
			require.Equal(t, time.UTC, timer.Deadline.Location())
			require.Equal(t, c.to, timer.To)
			require.True(t, strings.HasPrefix(timer.Clause, "webhook §5.7"))
		})
	}
}

func TestATimerIsDueAtItsDeadlineAndNotAMillisecondBefore(t *testing.T) {
	for _, c := range timed {
		t.Run(c.name, func(t *testing.T) {
			data, deadline := decode(t, c.document), clock(t, c.deadline)
			fired, same, err := Due(c.kind, []byte(c.document), data, deadline.Add(-time.Millisecond))
			require.NoError(t, err)
			require.Empty(t, fired)
			require.Equal(t, c.document, string(same))

			for _, late := range []time.Duration{0, time.Millisecond, 1000 * 24 * time.Hour} {
				fired, document, err := Due(c.kind, []byte(c.document), data, deadline.Add(late))
				require.NoError(t, err)
				require.Len(t, fired, 1)
				require.Equal(t, c.rule, fired[0].Rule)
				after := decode(t, string(document))
				require.Equal(t, string(c.to), after["status"])
				require.Equal(t, c.deadline, after["statusUpdateDateTime"])
				require.True(t, c.kind.Reaches(Status(data["status"].(string)), c.to), "a legal step")
				require.Equal(t, after, fired[0].Apply(data))

				again, document2, err := Due(c.kind, document, after, deadline.Add(late+time.Hour))
				require.NoError(t, err)
				require.Empty(t, again, "what the timer leaves has no timer")
				require.Equal(t, document, document2)
			}
			require.Equal(t, decode(t, c.document), data, "the caller's document is not touched")
		})
	}
}

func TestStatesWithoutARuleHaveNoTimer(t *testing.T) {
	for _, k := range Kinds() {
		for _, s := range k.Statuses() {
			data := decode(t, fmt.Sprintf(`{"status":"%s","creationDateTime":"2026-09-15T14:00:00Z",
				"statusUpdateDateTime":"2026-09-15T14:00:00Z","expirationDateTime":"2026-09-15T14:05:00Z",%s}`, s, immediate))
			_, ok := NextTimer(k, data)
			waiting := strings.HasPrefix(string(s), "AWAITING") || s == PartiallyAccepted
			// The end of an enrolment's validity is the core's: design, "Timers".
			require.Equal(t, waiting || s == Authorised && k != Enrollment, ok, "%s %s", k, s)
		}
	}
	_, ok := NextTimer(RecurringConsent, decode(t, `{"status":"AUTHORISED","statusUpdateDateTime":"2026-09-15T14:00:00Z"}`))
	require.False(t, ok, "a recurring consent without end")
	_, ok = NextTimer(0, decode(t, `{"status":"AUTHORISED"}`))
	require.False(t, ok)
	_, ok = NextTimer(PaymentConsent, nil)
	require.False(t, ok)
}

func TestADocumentWhoseDatesCannotBeReadHasNoTimer(t *testing.T) {
	for _, c := range []struct {
		kind     Kind
		document string
	}{
		{PaymentConsent, `{"status":"AWAITING_AUTHORISATION"}`},
		{PaymentConsent, `{"status":"AWAITING_AUTHORISATION","creationDateTime":"2026-02-30T14:00:00Z"}`},
		{PaymentConsent, `{"status":"AWAITING_AUTHORISATION","creationDateTime":1}`},
		{PaymentConsent, `{"status":"AUTHORISED","creationDateTime":"2026-09-15T14:00:00Z"}`},
		{PaymentConsent, `{"status":"PARTIALLY_ACCEPTED","creationDateTime":"2026-09-15T14:00:00Z"}`},
		{PaymentConsent, partially(`"payment":{"schedule":{}}`)},
		{PaymentConsent, partially(`"payment":{"schedule":{"single":{}}}`)},
		{PaymentConsent, partially(`"payment":{"schedule":{"single":{"date":"2026-13-01"}}}`)},
		{PaymentConsent, partially(fmt.Sprintf(weekly, "FERIADO"))},
		{PaymentConsent, partially(fmt.Sprintf(monthly, "32", "2026-09-20"))},
		{PaymentConsent, partially(fmt.Sprintf(monthly, "0", "2026-09-20"))},
		{PaymentConsent, partially(fmt.Sprintf(monthly, `"5"`, "2026-09-20"))},
		{PaymentConsent, partially(fmt.Sprintf(monthly, "5.5", "2026-09-20"))},
		{PaymentConsent, partially(fmt.Sprintf(monthly, "5", "soon"))},
		{PaymentConsent, partially(`"payment":{"schedule":{"custom":{"dates":[]}}}`)},
		{PaymentConsent, partially(`"payment":{"schedule":{"custom":{"dates":["2026-09-20","soon"]}}}`)},
		{RecurringConsent, `{"status":"PARTIALLY_ACCEPTED"}`},
		{Enrollment, `{"status":"AWAITING_ENROLLMENT","creationDateTime":"2026-09-15T14:00:00Z"}`},
	} {
		_, ok := NextTimer(c.kind, decode(t, c.document))
		require.False(t, ok, c.document)
	}
}

func TestFiringSetsTheReasonOfTheKindAndNothingElse(t *testing.T) {
	const times = `"creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:01:00Z"`
	for _, c := range []struct {
		name     string
		kind     Kind
		document string
		want     string
	}{
		{
			"payment consent", PaymentConsent,
			`{ "consentId" : "urn:x:1", "status":"AWAITING_AUTHORISATION",` + times + `, "amount": 1.00 }`,
			`{ "consentId" : "urn:x:1", "status":"REJECTED","creationDateTime":"2026-09-15T14:00:00Z",` +
				`"statusUpdateDateTime":"2026-09-15T14:05:00Z", "amount": 1.00,"rejectionReason":{"code":"TEMPO_EXPIRADO_AUTORIZACAO",` +
				`"detail":"O prazo para autorizar o consentimento terminou sem confirmação."} }`,
		},
		{
			"payment consent never used", PaymentConsent,
			`{"status":"AUTHORISED",` + times + `}`,
			`{"status":"REJECTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T15:01:00Z",` +
				`"rejectionReason":{"code":"TEMPO_EXPIRADO_CONSUMO","detail":"O prazo para usar o consentimento autorizado terminou sem pagamento."}}`,
		},
		{
			"recurring consent", RecurringConsent,
			`{"status":"PARTIALLY_ACCEPTED",` + times + `,"approvalDueDate":"2026-09-15"}`,
			`{"status":"REJECTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-16T02:59:59Z","approvalDueDate":"2026-09-15",` +
				`"rejection":{"rejectedBy":"DETENTORA","rejectedFrom":"DETENTORA","rejectedAt":"2026-09-16T02:59:59Z","reason":{"code":"TEMPO_EXPIRADO_AUTORIZACAO",` +
				`"detail":"O prazo para as aprovações pendentes do consentimento terminou."}}}`,
		},
		{
			"recurring consent at its end", RecurringConsent,
			`{"status":"AUTHORISED",` + times + `,"expirationDateTime":"2026-09-20T23:59:59Z"}`,
			`{"status":"CONSUMED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-20T23:59:59Z","expirationDateTime":"2026-09-20T23:59:59Z"}`,
		},
		{
			"enrolment", Enrollment,
			`{"status":"AWAITING_ACCOUNT_HOLDER_VALIDATION",` + times + `}`,
			`{"status":"REJECTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:16:00Z",` +
				`"cancellation":{"reason":{"rejectionReason":"REJEITADO_TEMPO_EXPIRADO_ACCOUNT_HOLDER_VALIDATION"},"cancelledFrom":"DETENTORA","rejectedAt":"2026-09-15T14:16:00Z"}}`,
		},
		{
			"a reason that stood there before is replaced in its place", Enrollment,
			`{"cancellation":{"a":[1,{"b":"}"}]},"status":"AWAITING_RISK_SIGNALS",` + times + `}`,
			`{"cancellation":{"reason":{"rejectionReason":"REJEITADO_TEMPO_EXPIRADO_RISK_SIGNALS"},"cancelledFrom":"DETENTORA","rejectedAt":"2026-09-15T14:05:00Z"},` +
				`"status":"REJECTED","creationDateTime":"2026-09-15T14:00:00Z","statusUpdateDateTime":"2026-09-15T14:05:00Z"}`,
		},
		{
			"escaped names, odd numbers and inner members of the same name stay", PaymentConsent,
			"\n{\"st\\u0061tus\" :\t\"AUTHORISED\"\n," + times + ",\"inner\":{\"status\":\"AUTHORISED\"},\"n\":-1.50E+03}\n",
			"\n{\"st\\u0061tus\" :\t\"REJECTED\"\n,\"creationDateTime\":\"2026-09-15T14:00:00Z\",\"statusUpdateDateTime\":\"2026-09-15T15:01:00Z\"," +
				"\"inner\":{\"status\":\"AUTHORISED\"},\"n\":-1.50E+03,\"rejectionReason\":{\"code\":\"TEMPO_EXPIRADO_CONSUMO\"," +
				"\"detail\":\"O prazo para usar o consentimento autorizado terminou sem pagamento.\"}}\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			timer, ok := NextTimer(c.kind, decode(t, c.document))
			require.True(t, ok)
			fired, err := timer.Fire([]byte(c.document))
			require.NoError(t, err)
			require.Equal(t, c.want, string(fired))
		})
	}
}

func TestFireRefusesWhatIsNoDocument(t *testing.T) {
	timer, ok := NextTimer(Enrollment, decode(t, timed[len(timed)-1].document))
	require.True(t, ok)
	for _, document := range []string{"", "null", "[]", `"x"`, `{"a":1`, `{} {}`, `{"status":"A","st\u0061tus":"B"}`, `{"a":01}`} {
		_, err := timer.Fire([]byte(document))
		require.ErrorContains(t, err, "fire timer enrollment-credential: document", document)
	}
	empty, err := timer.Fire([]byte(" { } "))
	require.NoError(t, err)
	require.JSONEq(t, `{"status":"REJECTED","statusUpdateDateTime":"2026-09-15T14:15:00Z","cancellation":{"cancelledFrom":"DETENTORA",
		"reason":{"rejectionReason":"REJEITADO_TEMPO_EXPIRADO_ENROLLMENT"},"rejectedAt":"2026-09-15T14:15:00Z"}}`, string(empty))

	_, _, err = Due(Enrollment, []byte(`[]`), decode(t, timed[len(timed)-1].document), clock(t, "2030-01-01T00:00:00Z"))
	require.Error(t, err)
}

func TestEveryRuleHasItsOwnNameAndLeadsToAFinalState(t *testing.T) {
	seen := map[string]bool{}
	covered := map[string]bool{}
	for _, c := range timed {
		covered[c.rule] = true
	}
	for _, r := range rules {
		require.False(t, seen[r.name])
		seen[r.name] = true
		require.True(t, covered[r.name], "%s has no case", r.name)
		require.True(t, r.kind.Final(r.to), "Due ends because %s leads to a final state", r.name)
		require.True(t, r.kind.Reaches(r.status, r.to))
		verdict := Judge(r.kind, &ResourceState{Status: r.status}, ResourceState{Status: r.to}, Clock)
		require.Equal(t, Must, verdict.Duty, "what %s does is announced", r.name)
	}
}

func FuzzFire(f *testing.F) {
	for i, c := range timed {
		f.Add([]byte(c.document), uint8(i))
	}
	f.Add([]byte(`{}`), uint8(0))
	f.Add([]byte(`{"rejection":{},"rejectionReason":[],"cancellation":"x"}`), uint8(22))
	f.Add([]byte("{\"\xff\":1,\"\xfe\":2}"), uint8(1))
	f.Fuzz(func(t *testing.T, document []byte, pick uint8) {
		c := timed[int(pick)%len(timed)]
		timer, ok := NextTimer(c.kind, decode(t, c.document))
		require.True(t, ok)
		before, err := members(document)
		fired, fireErr := timer.Fire(document)
		require.Equal(t, err == nil, fireErr == nil)
		if err != nil {
			return
		}
		after, err := members(fired)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(after), len(before))
		set := map[string]string{}
		for _, m := range timer.set {
			set[m.name] = string(m.text)
		}
		for i, s := range after {
			text := string(fired[s.start:s.end])
			switch want, mine := set[s.name]; {
			case mine:
				require.Equal(t, want, text)
				delete(set, s.name)
			default:
				require.Equal(t, before[i].name, s.name, "other members keep their order")
				require.Equal(t, string(document[before[i].start:before[i].end]), text, "and their bytes")
			}
		}
		require.Empty(t, set, "everything is set")
		twice, err := timer.Fire(fired)
		require.NoError(t, err)
		require.Equal(t, string(fired), string(twice))
	})
}

func FuzzDue(f *testing.F) {
	for _, c := range timed {
		f.Add([]byte(c.document), uint8(c.kind), int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, document []byte, kind uint8, now int64) {
		v, err := value(document)
		data, isObject := v.(map[string]any)
		if err != nil || !isObject {
			t.Skip()
		}
		k := Kinds()[int(kind)%len(Kinds())]
		fired, after, err := Due(k, document, data, time.Unix(now, 0))
		if err != nil || len(fired) == 0 {
			return
		}
		require.Len(t, fired, 1)
		left, err := value(after)
		require.NoError(t, err)
		require.Equal(t, fired[0].Apply(data), left)
		require.True(t, k.Final(StateOf(k, left.(map[string]any)).Status))
	})
}
