package notice

import "time"

// DueTimer is a resource with a timer whose deadline has passed. It stays locked until its change is stored.
type DueTimer struct {
	Key
	Client     ClientID
	APIVersion string
	Resource   Resource
	Document   []byte
	ConsentID  string
	Push       bool
	Rule       string // of the timer, and its deadline: as it was armed
	Deadline   time.Time

	Unregistered bool // the client has no registration at all

	Epoch int64
	Now   time.Time // database clock
	Since time.Time // database clock: when Document became the current one
}

// Fired is what becomes of a due timer: a change of its own, or nothing when the deadline has moved meanwhile.
type Fired struct {
	Change   *Change // nil: nothing is due any more
	Decision Decision
}
