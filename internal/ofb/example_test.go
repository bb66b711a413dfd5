package ofb_test

import (
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/ofb"
)

// A payment that was received is settled now. The step is legal, and the initiator must be told.
func ExampleJudge() {
	received := ofb.ResourceState{Status: ofb.RCVD}
	settled := ofb.ResourceState{Status: ofb.ACSC}
	verdict := ofb.Judge(ofb.PixPayment, &received, settled, ofb.Holder)
	fmt.Println(verdict.Duty, "be announced,", verdict.Clause)
	fmt.Println("POST …" + ofb.Path(ofb.PixPayment, "v5", "pay-1"))

	// The same state reached by an enrolment is no news.
	authorised := ofb.Judge(ofb.Enrollment, nil, ofb.ResourceState{Status: ofb.Authorised}, ofb.Holder)
	fmt.Println(authorised.Duty, "be announced:", authorised.Silence)
	// Output:
	// must be announced, webhook §5.2
	// POST …/open-banking/webhook/v1/payments/v5/pix/payments/pay-1
	// must not be announced: not-a-trigger
}

// An observer may miss states in between, so a step over several of them is legal. A step backwards is not.
func ExampleKind_Reaches() {
	fmt.Println(ofb.PixPayment.Reaches(ofb.RCVD, ofb.ACSC))
	fmt.Println(ofb.PixPayment.Reaches(ofb.ACSC, ofb.RCVD))
	// Output:
	// true
	// false
}

// A payment consent that waits for the payer ends by itself five minutes after its creation.
func ExampleNextTimer() {
	timer, runs := ofb.NextTimer(ofb.PaymentConsent, map[string]any{
		"status": "AWAITING_AUTHORISATION", "creationDateTime": "2026-11-21T12:00:00Z", "statusUpdateDateTime": "2026-11-21T12:00:00Z",
		"expirationDateTime": "2026-11-21T12:05:00Z",
	})
	fmt.Println(runs, timer.Deadline.Format(time.RFC3339), timer.To)
	// Output: true 2026-11-21T12:05:00Z REJECTED
}
