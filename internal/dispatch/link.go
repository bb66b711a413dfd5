package dispatch

import "time"

// link is what is known of the database. The zero value is one that has not answered yet.
type link struct {
	answers  bool
	since    time.Time // when it answered again
	failed   time.Time // the last error
	failures int       // errors since the last write that succeeded
}

// broke notes an error.
func (k *link) broke(now time.Time) {
	k.answers = false
	k.failed = now
	k.failures++
}

// worked notes the success of a call asked at the instant given, and reports whether the database answers again. A call
// that was asked before the last error proves nothing.
func (k *link) worked(asked time.Time) (again bool) {
	if k.answers || !asked.After(k.failed) {
		return false
	}
	k.answers, k.since = true, asked
	return true
}

// probeAt says when to ask again after an error: 5 ms later, then at doubling distances up to 1 s, or 1 ms after an error that a write
// outlived. It is later than the error: what is asked at its very instant proves nothing, and would be asked again and again.
func (k *link) probeAt() time.Time {
	if k.failures == 0 {
		return k.failed.Add(time.Millisecond)
	}
	return k.failed.Add(min(5*time.Millisecond<<min(k.failures-1, 8), time.Second))
}
