package status

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/arauto/arauto/internal/mtls"
)

// Limits keep one initiator's storm from hurting the others (cases D4). What is beyond one of them is answered 529 and
// costs no signature. A client is the software of an organisation, as its certificate says.
//
// Organisations share Rate, InFlight and Waiting equally, however many softwares each has. What one does not use, the others may. An
// organisation within its share is served also while the others have used up everything: then there are, for a moment,
// more than Rate, InFlight and Waiting allow, at most twice as many.
type Limits struct {
	Rate     int // queries a second, all clients together; 0: 600, at least 300 (status-apis §2)
	InFlight int // queries at a time, all together; 0: 2048

	ClientRate        int // queries a second of one client; 0: half of Rate
	ClientInFlight    int // at a time; 0: 256
	ClientConnections int // connections of one client; 0: 512

	Waiting       int // long polls that wait, all together; 0: 2048. They count in none of the above but connections and rates
	ClientWaiting int // of one client; 0: an eighth of Waiting. All clients of an organisation may have a quarter, or as many as one client if that is more
}

// The names of the limits, for metrics and the record.
const (
	limitConnections    = "connections"
	limitClientRate     = "client-rate"
	limitClientInFlight = "client-in-flight"
	limitRate           = "rate"
	limitInFlight       = "in-flight"
	limitWaiting        = "waiting"
	limitPreflight      = "preflight"
)

// floorRate is what an institution must be able to serve in a second (status-apis §2, NFR-TRAFFIC).
const floorRate = 300

// forgetAfter is how long a client without queries and connections is remembered, and how often that is looked at.
const forgetAfter = time.Minute

// limiter counts. Its lock is held for a few map look-ups only.
type limiter struct {
	Limits
	all    *rate.Limiter
	flying atomic.Int64

	mu            sync.Mutex
	waiting       int // long polls
	clients       map[string]*clientUsage
	organisations map[string]*organisationUsage
	open          map[net.Conn]*connection
	swept         time.Time
}

// clientUsage is one client's.
type clientUsage struct {
	organisation *organisationUsage
	rate         *rate.Limiter
	flying       int
	waiting      int
	connections  int
	seen         time.Time
}

// organisationUsage is that of all clients of one organisation.
type organisationUsage struct {
	share   *rate.Limiter // Rate divided by the organisations that are remembered
	flying  int
	waiting int // long polls
	clients int // that are remembered
}

func newLimiter(l Limits) (*limiter, error) {
	l.Rate, l.InFlight = cmp.Or(l.Rate, 600), cmp.Or(l.InFlight, 2048)
	l.ClientRate, l.ClientInFlight, l.ClientConnections = cmp.Or(l.ClientRate, l.Rate/2), cmp.Or(l.ClientInFlight, 256), cmp.Or(l.ClientConnections, 512)
	l.Waiting = cmp.Or(l.Waiting, 2048)
	l.ClientWaiting = cmp.Or(l.ClientWaiting, max(1, l.Waiting/8))
	if l.Rate < floorRate {
		return nil, errors.New("public.max_rate must be at least 300 status queries a second")
	}
	if l.InFlight < 1 || l.ClientRate < 1 || l.ClientInFlight < 1 || l.ClientConnections < 1 || l.Waiting < 1 || l.ClientWaiting < 1 {
		return nil, errors.New("limits of status queries must be positive")
	}
	return &limiter{
		Limits: l, all: rate.NewLimiter(rate.Limit(l.Rate), l.Rate),
		clients: map[string]*clientUsage{}, organisations: map[string]*organisationUsage{}, open: map[net.Conn]*connection{}, swept: time.Now(),
	}, nil
}

// keyOf names a client by its certificate. All without a certificate of the ecosystem share one name.
func keyOf(c mtls.Caller) string { return c.OrganisationID + " " + c.SoftwareID }

// of finds or makes a client's usage, and forgets those long gone; l.mu is held.
func (l *limiter) of(c mtls.Caller, now time.Time) *clientUsage {
	if now.Sub(l.swept) > forgetAfter {
		l.sweep(now)
	}
	key := keyOf(c)
	u := l.clients[key]
	if u == nil {
		o := l.organisations[c.OrganisationID]
		if o == nil {
			o = &organisationUsage{share: rate.NewLimiter(rate.Limit(l.Rate), l.Rate)}
			l.organisations[c.OrganisationID] = o
			l.divide(now)
		}
		o.clients++
		u = &clientUsage{organisation: o, rate: rate.NewLimiter(rate.Limit(l.ClientRate), l.ClientRate)}
		l.clients[key] = u
	}
	u.seen = now
	return u
}

// sweep forgets clients and organisations that are long gone; l.mu is held.
func (l *limiter) sweep(now time.Time) {
	l.swept = now
	maps.DeleteFunc(l.clients, func(_ string, u *clientUsage) bool {
		gone := u.flying == 0 && u.waiting == 0 && u.connections == 0 && now.Sub(u.seen) > forgetAfter
		if gone {
			u.organisation.clients--
		}
		return gone
	})
	maps.DeleteFunc(l.organisations, func(_ string, o *organisationUsage) bool { return o.clients == 0 })
	l.divide(now)
}

// divide gives each organisation its share of the rate: as much of it a second, and at once; l.mu is held.
func (l *limiter) divide(now time.Time) {
	for _, o := range l.organisations {
		share := max(1, l.Rate/len(l.organisations))
		o.share.SetLimitAt(now, rate.Limit(share))
		o.share.SetBurstAt(now, share)
	}
}

// grant takes a query out of its organisation's share, or else out of what others leave. Shares count against the rate of
// all also where it is used up, at most a second ahead; the others wait for what was taken ahead.
func (l *limiter) grant(o *organisationUsage, now time.Time) bool {
	if l.all.TokensAt(now) > -float64(l.Rate) && o.share.AllowN(now, 1) {
		l.all.ReserveN(now, 1)
		return true
	}
	return l.all.AllowN(now, 1)
}

// room tells whether one more query of an organisation may be under way.
func (l *limiter) room(o *organisationUsage) bool {
	return l.flying.Load() < int64(l.InFlight) || o.flying < l.InFlight/len(l.organisations)
}

// enter admits a query, or names the limit it is beyond. leave must be called when the query ends.
func (l *limiter) enter(r *http.Request, caller mtls.Caller) (usage *clientUsage, limit string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(caller, now)
	if c := connectionOf(r); c != nil && c.key == "" {
		c.key = keyOf(caller)
		u.connections++
	}
	switch {
	case u.connections > l.ClientConnections:
		return nil, limitConnections
	case !u.rate.AllowN(now, 1):
		return nil, limitClientRate
	case u.flying >= l.ClientInFlight:
		return nil, limitClientInFlight
	case !l.grant(u.organisation, now):
		return nil, limitRate
	case !l.room(u.organisation):
		return nil, limitInFlight
	}
	l.fly(u, 1)
	return u, ""
}

// pause takes a query that will wait out of those under way; false when too many wait. resume must be called when the wait is over.
func (l *limiter) pause(u *clientUsage) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := u.organisation
	if u.waiting >= l.ClientWaiting || o.waiting >= max(l.ClientWaiting, l.Waiting/4) || l.waiting >= l.Waiting && o.waiting >= l.Waiting/len(l.organisations) {
		return false
	}
	l.wait(u, 1)
	l.fly(u, -1)
	return true
}

// resume puts it back, whatever the limits say: it was admitted.
func (l *limiter) resume(u *clientUsage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(u, -1)
	l.fly(u, 1)
}

// wait counts long polls that wait; l.mu is held.
func (l *limiter) wait(u *clientUsage, change int) {
	u.waiting += change
	u.organisation.waiting += change
	l.waiting += change
}

// fly counts queries under way; l.mu is held.
func (l *limiter) fly(u *clientUsage, change int) {
	u.flying += change
	u.organisation.flying += change
	l.flying.Add(int64(change))
}

func (l *limiter) leave(u *clientUsage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fly(u, -1)
}

// connected gives every request of a connection the means to be counted for its client. The client is known with the
// first request: the handshake may still be under way here.
func (l *limiter) connected(ctx context.Context, conn net.Conn) context.Context {
	c := &connection{}
	l.mu.Lock()
	l.open[conn] = c
	l.mu.Unlock()
	return context.WithValue(ctx, connectionKey{}, c)
}

// changed takes a connection that has ended out of the count.
func (l *limiter) changed(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.open[conn]
	delete(l.open, conn)
	if c == nil || c.key == "" {
		return
	}
	if u := l.clients[c.key]; u != nil {
		u.connections--
	}
}
