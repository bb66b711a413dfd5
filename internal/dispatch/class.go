package dispatch

import (
	"cmp"
	"math"
	"time"

	"github.com/arauto/arauto/internal/notice"
)

// class says how long a lane keeps a slot. The better it is, the fewer lanes can take its slots away: silent lanes
// together leave room for all that answer, slow and silent lanes together leave room for the quick.
type class int

const (
	quick   class = iota // its attempts end within slowFrom
	slow                 // it answers, and takes longer
	silent               // it does not answer, or is not known to
	classes              // how many there are
)

const (
	// slowFrom is the mean time of an attempt from which a lane is slow, and from which an attempt without an answer makes
	// it silent. Slots of quick lanes come back so soon that another lane can wait for one.
	slowFrom = 250 * time.Millisecond
	// doubtAfter and doubtTimes bound how long a lane with attempts under way may be without an answer before it counts as
	// silent: doubtAfter and doubtTimes its usual time.
	doubtAfter = 50 * time.Millisecond
	doubtTimes = 1.5
)

// habit is what is known of how a lane's receiver answers. It is kept while the lane has nothing to do.
type habit struct {
	takes time.Duration // mean time of an attempt of late, however it ended; 0: none has ended yet
	pace  time.Duration // time from request to answer of late, of answers only; 0: not known
	mute  bool          // the last attempt ended without an answer, and not quickly
}

// ended notes the end of one attempt.
func (l *lane) ended(r *notice.Result, now time.Time) {
	l.sending--
	if r.Elapsed <= 0 {
		return // nothing was sent
	}
	answered := r.HTTPStatus != 0 || r.Outcome.Success()
	l.mute = !answered && r.Elapsed >= slowFrom
	if !l.mute {
		l.heard = now
		if 2*l.inFlight >= l.proven {
			l.proven++
		}
	}
	l.takes = cmp.Or(l.takes, r.Elapsed)
	l.takes = max(1, (7*l.takes+r.Elapsed)/8)
	answer := r.Answered - r.FirstByteOut
	switch { // a busy moment of ours, which makes all answers look slow, counts little
	case !answered || answer <= 0:
	case l.pace == 0:
		l.pace = answer
	case answer < l.pace:
		l.pace = (3*l.pace + answer) / 4
	default:
		l.pace = (31*l.pace + answer) / 32
	}
}

// started notes that n attempts of the lane begin.
func (l *lane) started(n int, now time.Time) {
	if l.sending == 0 {
		if now.Sub(l.heard) > growEvery {
			l.proven = 0
		}
		l.heard = now
	}
	l.sending += n
}

// unheard is how long the lane's attempts have been without an answer.
func (l *lane) unheard(now time.Time) time.Duration {
	if l.sending == 0 {
		return 0
	}
	return now.Sub(l.heard)
}

// classAt is the lane's class.
func (l *lane) classAt(now time.Time) class {
	switch {
	case l.takes == 0, l.mute, l.unheard(now) > doubtAfter+time.Duration(doubtTimes*float64(l.takes)):
		return silent
	case l.takes >= slowFrom:
		return slow
	default:
		return quick
	}
}

// What a lane may hold for its receiver's sake. The burst of one consent has sixty payments (webhook §5.7), so it is at
// least firstRoom, and what it needs to carry enough a second at the pace its receiver answers: more would only wait for
// each other's connections, in memory instead of in the database. A lane that is quick, or not known, begins with a part
// of that where slots are few, and has one more for each answer, up to twice what it held when it was answered: if it
// hangs all at once, little is taken from the others.
// While the receiver does not answer, room doubles every growEvery: then the class is the limit.
const (
	firstRoom = 64
	enough    = 2000 // a second
	growEvery = time.Second / 2
)

// room is how many slots the lane may hold for now.
func (l *lane) room(a allowance) int {
	room := max(firstRoom, int(l.pace*enough/time.Second))
	if l.class == quick || l.takes == 0 {
		room = min(room, max(1, a.slots/16, l.proven))
	}
	return min(a.perLane, room<<min(16, l.unheard(a.now)/growEvery))
}

// usage is what the classes hold, and what those that answer have needed of late.
type usage struct {
	held  [classes]int // slots, those asked for included
	busy  [classes]int // of these, slots with an attempt
	need  [silent]need // of those that answer, by class
	at    time.Time    // when need was last brought up to date
	sized time.Time    // when all lanes were last classed anew
}

// need is how many slots were busy: the mean of needOver, and the highest such mean, which fades with needFades.
type need struct{ mean, peak float64 }

const (
	needOver  = 250 * time.Millisecond
	needFades = time.Minute
	// classEvery is the least distance between two looks at all lanes: they turn silent by the clock.
	classEvery = 20 * time.Millisecond
)

// book changes what a lane holds and has asked for.
func (s *lanes) book(l *lane, inFlight, asked int) {
	l.inFlight += inFlight
	l.asked += asked
	s.usage.held[l.class] += inFlight + asked
	s.usage.busy[l.class] += inFlight
}

// reserve changes what a lane holds for commits under way.
func (s *lanes) reserve(l *lane, n int) {
	l.reserved += n
	s.reserved += n
	s.book(l, 0, n)
}

// inFlight is how many slots all lanes hold.
func (s *lanes) inFlight() int {
	return s.usage.busy[quick] + s.usage.busy[slow] + s.usage.busy[silent]
}

// classify gives a lane its class, and what it holds goes with it.
func (s *lanes) classify(l *lane, now time.Time) {
	if c := l.classAt(now); c != l.class {
		u := &s.usage
		u.held[l.class], u.held[c] = u.held[l.class]-l.load(), u.held[c]+l.load()
		u.busy[l.class], u.busy[c] = u.busy[l.class]-l.inFlight, u.busy[c]+l.inFlight
		l.class = c
	}
}

// measure brings usage up to date.
func (s *lanes) measure(now time.Time) {
	u := &s.usage
	passed := now.Sub(u.at)
	if passed > 0 {
		fresh, old := 1-math.Exp(-passed.Seconds()/needOver.Seconds()), math.Exp(-passed.Seconds()/needFades.Seconds())
		for c := range u.need {
			n := &u.need[c]
			n.mean += (float64(u.busy[c]) - n.mean) * fresh
			n.peak = max(n.mean, n.peak*old)
		}
		u.at = now
	}
	if now.Sub(u.sized) >= classEvery {
		u.sized = now
		for _, l := range s.all {
			s.classify(l, now)
		}
	}
}

// keep is how many slots are kept for the quick (for quick), and for all that answer (for slow): what the quick have
// needed of late, and twice what the quick and the slow have. Either counts at least with a sixteenth of all slots, up to
// 64, or the quick with 6 and the slow with 10 of few. As much again is kept for what a quick lane holds when it turns
// silent.
func (u *usage) keep(c class, slots int) int {
	share := min(slots/16, 64)
	needs := func(c class, times float64, least int) int {
		return max(share, least, int(math.Ceil(times*u.need[c].peak)))
	}
	if c == quick {
		return needs(quick, 1, min(6, slots/4))
	}
	return min(slots-1, share+needs(quick, 2, min(6, slots/4))+needs(slow, 2, min(10, slots)))
}
