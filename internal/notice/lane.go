package notice

import "time"

// ClaimRequest asks for attempts of one lane: at most Free, of which at least Late are late ones as far as there are any. Held and
// HeldFor tell why and for how long its due work could get no slot: DelayReceiver, DelaySlots, or "" and 0.
type ClaimRequest struct {
	Client     ClientID
	Free, Late int
	Held       Delay
	HeldFor    time.Duration
}

// Lane is a lane with work that is not in flight, and how long until the earliest of it falls due; 0 or less means now.
type Lane struct {
	Client ClientID
	DueIn  time.Duration
}
