package timing

import "github.com/arauto/arauto/internal/notice"

// Owner is who can act on a cause of lateness.
type Owner string

// The owners.
const (
	OwnerCore      Owner = "core"
	OwnerUs        Owner = "us" // the gateway and its database
	OwnerInitiator Owner = "initiator"
	OwnerUnknown   Owner = "unknown"
)

// OwnerOf returns who can act on a cause. A cause that this version does not know has OwnerUnknown.
func OwnerOf(cause notice.Delay) Owner {
	switch cause {
	case notice.DelayCore, notice.DelayHeld:
		return OwnerCore
	case notice.DelayConnect, notice.DelayReceiver:
		return OwnerInitiator
	case notice.DelayTimer, notice.DelayIntake, notice.DelaySlots, notice.DelayQueue, notice.DelayStandstill, notice.DelayRescued, notice.DelaySettling,
		notice.DelaySending, notice.DelayUnavailable, notice.DelayQuarantine, notice.DelaySource:
		return OwnerUs
	}
	return OwnerUnknown
}
