package notice

// Delay names what took the time of an attempt that was late. It is a closed list.
type Delay string

// What can take the time. The first three and DelayReceiver are not ours to mend.
const (
	DelayCore       Delay = "core-late"  // the change, or the late revision that made it a duty, was over 1.5 s old when it came
	DelayHeld       Delay = "held-back"  // the core asked to wait (notBefore)
	DelayConnect    Delay = "connecting" // DNS, TCP, TLS with the receiver, up to the first byte
	DelayTimer      Delay = "timer-late" // a deadline of the rules was fired late
	DelayIntake     Delay = "intake"     // from arrival to the writing of the decision
	DelayReceiver   Delay = "receiver"   // due, and held: its receiver did not answer the attempts that were under way
	DelaySlots      Delay = "slots"      // due, and held: no slot was free for it
	DelayQueue      Delay = "queue"      // the rest from due to claimed: the commit, the claim
	DelayStandstill Delay = "standstill" // for most of that time nobody committed anything: the database was away, or no replica ran
	DelayRescued    Delay = "rescued"    // the attempt before was lost with its replica, and its lease had to run out
	DelaySettling   Delay = "settling"   // the failure before was stored late
	DelaySending    Delay = "sending"    // from claimed to handed to the sender: this process was busy

	DelayUnavailable Delay = "unavailable" // from a receipt that we refused (503) to the next receipt
	DelayQuarantine  Delay = "quarantine"  // from a receipt that we put aside to its application
	DelaySource      Delay = "source-lag"  // from the origin's commit to our reading of it
	DelayUnknown     Delay = "unknown"     // old on arrival, and it is not known whether it came before and was refused

	DelayTampered Delay = "tampered" // not known: what is stored is not what was sealed; its verdict is Unknown
)

// Delays lists the causes, in the order in which they can occur.
func Delays() []Delay {
	return []Delay{
		DelayCore, DelayUnknown, DelaySource, DelayUnavailable, DelayQuarantine, DelayTimer, DelayIntake, DelayHeld, DelayRescued, DelaySettling, DelayReceiver, DelaySlots, DelayQueue, DelayStandstill, DelaySending, DelayConnect,
		DelayTampered,
	}
}
