package webhook

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// attempt is one attempt under way. It belongs to the goroutine that called Send; a dial reads its deadline and notes its
// stage.
type attempt struct {
	notice      notice.Attempt
	interaction string // its id as it is written
	target      target
	path        string    // the whole path of the request
	url         string    // as it is recorded
	start       time.Time // when it was handed to us
	deadline    time.Time
	leaseEnd    time.Time
	stage       atomic.Int32
	exchange    *exchange // the latest; nil while there is no connection
	replaced    bool      // a kept connection had ended, and another took its place before the first byte
}

// newAttempt is an attempt that begins now, for the address that is registered. The error is a *Refusal of that address.
func (s *Sender) newAttempt(n notice.Attempt) (*attempt, error) {
	path := ofb.Path(n.Kind, n.APIVersion, brand.ID(n.ResourceID))
	a := &attempt{notice: n, interaction: n.Interaction.String(), url: n.BaseURI + path, start: time.Now()}
	a.deadline, a.leaseEnd = a.start.Add(s.cfg.Timeout), n.ClaimedAt.Add(s.cfg.Lease)
	var err error
	a.target, err = parseBase(n.BaseURI)
	a.path = a.target.path + path
	return a, err
}

// enter notes how far the attempt's own connection has come.
func (a *attempt) enter(s stage) { a.stage.Store(int32(s)) }

// reached is the stage to blame when time runs out now.
func (a *attempt) reached() stage {
	switch x := a.exchange; {
	case x == nil:
		return stage(a.stage.Load())
	case x.firstOut == 0:
		return stageRequest
	}
	return stageAnswer
}

// sent reports whether any byte of the request left.
func (a *attempt) sent() bool { return a.exchange != nil && a.exchange.firstOut != 0 }

// mayWrite is asked just before the request is written. An attempt whose lease is over belongs to another replica, which
// settles it as unknown and schedules the next: sending now could double it (design, "Lease, rescue, doubles").
//
// Known issue: the monotonic clock of Linux stands still while a whole machine is suspended. A stopped process is
// recognised here, a virtual machine that was frozen between claim and write for longer than its lease is not.
func (a *attempt) mayWrite(now time.Time) error {
	if !now.Before(a.leaseEnd) {
		return ErrLease
	}
	if !now.Before(a.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// headerLine is a header of our requests. The empty value stands for the interaction id.
type headerLine struct{ name, value string }

// dress sets the headers that are the same on every request. Their names are written as the contract spells them and
// sorted.
func (s *Sender) dress() {
	c := &s.cfg
	s.userAgent = "arauto/" + c.Version
	s.plain = []headerLine{{"Content-Type", "application/json"}, {ofb.HeaderInteractionID, ""}}
	s.holders = make(map[brand.Prefix]*holder, len(c.Brands)+1)
	add := func(of brand.Prefix, who Holder) {
		h := &holder{identity: who.Identity, enrolment: slices.Clone(s.plain)}
		for _, name := range c.ASHeaders {
			if who.AuthorisationServerID != "" {
				h.enrolment = append(h.enrolment, headerLine{name, who.AuthorisationServerID})
			}
		}
		slices.SortFunc(h.enrolment, func(a, b headerLine) int { return strings.Compare(a.name, b.name) })
		s.holders[of] = h
	}
	if c.Identity != nil || len(c.Brands) == 0 {
		add("", Holder{c.Identity, c.AuthorisationServerID})
	}
	for of, who := range c.Brands {
		add(of, who)
	}
}

// sendable reports whether the headers can be sent: names are tokens (RFC 9110 §5.6.2), values visible ASCII.
func (s *Sender) sendable() bool {
	all := []headerLine{{"User-Agent", s.userAgent}}
	for _, h := range s.holders {
		all = append(all, h.enrolment...)
	}
	return !slices.ContainsFunc(all, func(h headerLine) bool {
		return !isToken([]byte(h.name)) || strings.ContainsFunc(h.value, func(r rune) bool { return r <= ' ' || r > '~' })
	})
}

// complete reports whether every brand has an identity, or none in a Sender that only probes, and there are roots.
func (s *Sender) complete() bool {
	for _, h := range s.holders {
		if (h.identity == nil) != s.cfg.Anonymous {
			return false
		}
	}
	return s.cfg.Roots != nil
}

// appendRequest writes exactly what contract.md, "The outgoing request and its answer", allows. The path goes out as it
// stands, never decoded and encoded again; host and path were checked for controls and spaces by parseBase and ofb.Path.
func (s *Sender) appendRequest(b []byte, a *attempt) []byte {
	n := &a.notice
	var room [96]byte
	body := appendBody(room[:0], n.EventAt, n.Event)
	b = append(append(b, "POST "...), a.path...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), a.target.authority...)
	b = append(append(b, "\r\nUser-Agent: "...), s.userAgent...)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(body)), 10)
	headers := s.plain
	if n.Kind == ofb.Enrollment {
		headers = s.holders[brand.Of(n.Client)].enrolment
	}
	for _, h := range headers {
		b = append(append(append(b, "\r\n"...), h.name...), ": "...)
		h.value = cmp.Or(h.value, a.interaction)
		b = append(b, h.value...)
	}
	return append(append(b, "\r\n\r\n"...), body...)
}

// appendBody writes the body: compact JSON without a trailing newline. The timestamp is the event's instant, in UTC,
// truncated to the second, never rounded up (webhook §2.1).
func appendBody(b []byte, at time.Time, event ofb.EventType) []byte {
	b = append(b, `{"data":{"timestamp":"`...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	if event != "" {
		b = append(b, `","eventType":"`...)
		b = append(b, event...)
	}
	return append(b, `"}}`...)
}
