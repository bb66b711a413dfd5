package webhook

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// CloseReason is why a connection to a receiver was closed. The values are those of the label "reason" of the metric
// arauto_webhook_connections_closed_total.
type CloseReason string

// The reasons for closing a connection.
const (
	ClosedIdle      CloseReason = "idle"       // unused for as long as we keep any connection
	ClosedAge       CloseReason = "age"        // as old as we let any connection become
	ClosedKeepAlive CloseReason = "keep-alive" // the receiver's own limit is near: announced in Keep-Alive, or seen before
	ClosedFault     CloseReason = "fault"      // idle while an attempt on another connection of the same endpoint failed
	ClosedMoved     CloseReason = "moved"      // its address is no longer an address of the name
	ClosedReceiver  CloseReason = "receiver"   // the receiver ended it between two requests
	ClosedExchange  CloseReason = "exchange"   // the attempt on it failed, or its answer ended it
	ClosedRetired   CloseReason = "retired"    // registration, certificate or trust changed, or the endpoint was unused
)

// CloseReasons lists every CloseReason, so that a counter of each can exist at 0.
func CloseReasons() []CloseReason {
	return []CloseReason{
		ClosedIdle, ClosedAge, ClosedKeepAlive, ClosedFault, ClosedMoved, ClosedReceiver, ClosedExchange, ClosedRetired,
	}
}

// keepLimits are our own limits for connections that stay open between two requests.
type keepLimits struct {
	// idle is how long a connection may be unused. 15 s is below the limits that receivers and balancers commonly have
	// and do not announce: 20 s (Tomcat), 30 s (Jetty), 60 s (load balancers of the clouds), 65 s and 75 s (nginx).
	// Shorter limits are announced (Apache and Node, 5 s) or learned (see peerHabits).
	idle time.Duration
	// age is how old a connection may become; each draws its own age from the last quarter, so that connections of one
	// burst do not end together. After 60 s at the latest the name was resolved, and certificate and trust were judged,
	// anew. The price: a lane at 300 requests a second with answers of 50 ms holds about 15 connections and makes a
	// handshake every 3 s; with 512 connections it makes ten a second, about 2 ms of processor time each.
	age time.Duration
	// resolve is how often the name of an endpoint in use is resolved beside its dials. A connection to an address that
	// the name no longer has ends then, and so serves a name that moved for 30 s at most.
	resolve time.Duration
	// body is how long the body of an answer may take to arrive after its headers.
	body time.Duration
}

var defaultKeepLimits = keepLimits{idle: 15 * time.Second, age: 60 * time.Second, resolve: 30 * time.Second, body: 250 * time.Millisecond}

// keepAlive is what an answer announced in its Keep-Alive header (RFC 2068 §19.7.1.1, which receivers follow still).
type keepAlive struct {
	timeout    time.Duration // valid when hasTimeout
	max        int           // further requests; valid when hasMax
	hasTimeout bool
	hasMax     bool
}

// parse reads one value of the header. Parameters that are malformed or unknown say nothing.
func (k *keepAlive) parse(value string) {
	for parameter := range strings.SplitSeq(value, ",") {
		name, text, _ := strings.Cut(parameter, "=")
		n, err := strconv.ParseUint(strings.Trim(text, " \t\""), 10, 31)
		if err != nil {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "timeout":
			k.timeout, k.hasTimeout = time.Duration(n)*time.Second, true
		case "max":
			k.max, k.hasMax = int(n), true
		}
	}
}

// usable is how much of a receiver's idle limit we use. The receiver's clock starts before ours, when its answer leaves,
// and stops after ours, when our request arrives: the margin must exceed a round trip and a busy machine's delays.
func usable(limit time.Duration) time.Duration {
	margin := min(max(limit/5, 500*time.Millisecond), 2*time.Second)
	return max(0, limit-margin)
}

// countsWhole is taken off an idle limit that was seen: servers that count whole seconds (lighttpd) end one connection up to
// a second later than another.
const countsWhole = time.Second

// kept holds what decides whether one connection may carry another request. It does no I/O and knows no clock: every
// instant is handed in. The connection that owns it guards it.
type kept struct {
	limits keepLimits
	ends   time.Time // by age
	quiet  time.Time // since when nothing came from the receiver
	told   keepAlive
	ended  CloseReason // decided from outside; "" while it may be used
}

// newKept begins the life of a connection.
func newKept(now time.Time, limits keepLimits) kept {
	age := limits.age
	if spread := int64(age / 4); spread > 0 {
		age -= time.Duration(rand.Int64N(spread))
	}
	return kept{limits: limits, ends: now.Add(age), quiet: now}
}

// answered notes what an answer announced, at the end of its headers.
func (k *kept) answered(told keepAlive) {
	if told.hasTimeout {
		k.told.timeout, k.told.hasTimeout = told.timeout, true
	}
	switch {
	case told.hasMax:
		k.told.max, k.told.hasMax = told.max, true
	case k.told.hasMax:
		k.told.max--
	}
}

// until says when an idle connection may carry no request any more, and why. seen is the receiver's idle limit as it
// was learned; 0: nothing was.
func (k *kept) until(seen time.Duration) (time.Time, CloseReason) {
	end, why := k.ends, ClosedAge
	earlier := func(at time.Time, reason CloseReason) {
		if at.Before(end) {
			end, why = at, reason
		}
	}
	earlier(k.quiet.Add(k.limits.idle), ClosedIdle)
	if seen > 0 {
		earlier(k.quiet.Add(usable(seen-countsWhole)), ClosedKeepAlive)
	}
	if k.told.hasTimeout {
		earlier(k.quiet.Add(usable(k.told.timeout)), ClosedKeepAlive)
	}
	if k.told.hasMax && k.told.max <= 0 {
		earlier(k.quiet, ClosedKeepAlive)
	}
	return end, why
}

// unfit says why the connection may carry no further request; "" when it may.
func (k *kept) unfit(now time.Time, seen time.Duration) CloseReason {
	if k.ended != "" {
		return k.ended
	}
	if end, why := k.until(seen); !now.Before(end) {
		return why
	}
	return ""
}
