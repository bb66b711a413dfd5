package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/arauto/arauto/internal/watch"
)

// Delivery limits of quorum queues. Source: RabbitMQ's release notes of 4.0 and rabbit_quorum_queue.erl, where the default
// is 20, a negative number means none, and of argument and policy the lower positive one counts.
const (
	defaultLimit      = 20
	defaultLimitSince = 4 // the major version
)

var _ watch.Remarker = (*Reader)(nil)

// Remarks implements watch.Remarker. It asks the management API which messages the server drops by itself: the delivery
// limit first of all. Without the setting management, or where it does not answer, that is reported as unknown.
func (r *Reader) Remarks(ctx context.Context) []watch.Remark {
	names := r.settings.Queues.Names()
	if r.settings.Management == "" {
		return []watch.Remark{{Text: "the queue's delivery limit is unknown: set management, or look with rabbitmqctl list_queues name type arguments policy"}}
	}
	unknown := func(err error, of ...string) watch.Remark {
		return watch.Remark{Warning: true, Text: fmt.Sprintf("the delivery limit of %s is unknown: management: %s: %v", strings.Join(of, ", "), host(r.settings.Management), err)}
	}
	m, err := r.settings.openManagement()
	if err != nil {
		return []watch.Remark{unknown(err, names...)}
	}
	defer m.close()
	var all []watch.Remark
	for i, name := range names {
		p, err := m.queue(ctx, name)
		switch {
		case errors.Is(err, errNotFound):
			all = append(all, unknown(fmt.Errorf("it has no such queue in the virtual host %s", shown(m.vhost)), name))
			continue
		case err != nil: // what refuses one refuses all
			return append(all, unknown(err, names[i:]...))
		}
		version := ""
		if p.needsVersion() {
			if version, err = m.version(ctx); err != nil {
				return append(all, unknown(err, names[i:]...))
			}
		}
		all = append(all, p.remarks(name, version)...)
	}
	return all
}

// Queue types.
const (
	classic = "classic"
	quorum  = "quorum"
	stream  = "stream"
)

// deliveryLimit is a queue's delivery limit, as far as it is known.
type deliveryLimit struct {
	known  bool
	n      int64 // deliveries, if bounded
	from   origin
	atMost bool // a policy that is not shown may set a lower one
}

// origin is what sets a limit.
type origin int

const (
	nowhere origin = iota // there is no limit
	byArgument
	byPolicy
	byDefault
	byServer // neither argument nor policy, as they are shown
)

// needsVersion reports whether the delivery limit depends on the server's version: nothing sets one.
func (p *properties) needsVersion() bool {
	if p.kind != quorum || p.limit != nil || p.policy == nil {
		return false
	}
	_, argued, _ := p.arguments.whole("x-delivery-limit")
	_, ruled, _ := p.policy.whole("delivery-limit")
	return !argued && !ruled
}

// deliveryLimit is the limit of a quorum queue. version is the server's; it is needed where needsVersion says so.
func (p *properties) deliveryLimit(version string) deliveryLimit {
	argument, argued, readable := p.arguments.whole("x-delivery-limit")
	policy, ruled, ok := p.policy.whole("delivery-limit")
	readable = readable && ok
	if p.limit != nil { // the server's own word
		if (jsonTable{"limit": *p.limit}).text("limit") == "unlimited" {
			return deliveryLimit{known: true}
		}
		if n, set, ok := whole(*p.limit); set && ok {
			switch {
			case n < 0:
				return deliveryLimit{known: true}
			case argued && n == argument:
				return bounded(n, byArgument)
			case ruled && n == policy:
				return bounded(n, byPolicy)
			case !argued && !ruled && n == defaultLimit:
				return bounded(n, byDefault)
			}
			return bounded(n, byServer)
		}
		return deliveryLimit{}
	}
	switch {
	case !readable:
		return deliveryLimit{}
	case p.policy == nil:
		if l := bounded(argument, byArgument); argued && l.from != nowhere {
			l.atMost = true
			return l
		}
		return deliveryLimit{}
	case argued && ruled:
		counts := min(argument, policy)
		if argument < 0 || policy < 0 {
			counts = max(argument, policy)
		}
		if counts == argument {
			return bounded(counts, byArgument)
		}
		return bounded(counts, byPolicy)
	case argued:
		return bounded(argument, byArgument)
	case ruled:
		return bounded(policy, byPolicy)
	}
	text, _, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return deliveryLimit{}
	case major >= defaultLimitSince:
		return bounded(defaultLimit, byDefault)
	}
	return deliveryLimit{known: true}
}

// bounded is a limit that is known. A negative number means none.
func bounded(n int64, from origin) deliveryLimit {
	if n < 0 {
		return deliveryLimit{known: true}
	}
	return deliveryLimit{known: true, n: n, from: from}
}

// remarks say which messages of the queue the server drops by itself.
func (p *properties) remarks(name, version string) []watch.Remark {
	queue := "queue " + shown(name) + ": "
	warning := func(format string, values ...any) watch.Remark {
		return watch.Remark{Warning: true, Text: queue + fmt.Sprintf(format, values...)}
	}
	var all []watch.Remark
	exchange, kept := p.deadLetters()
	switch p.kind {
	case classic:
		all = append(all, watch.Remark{Text: queue + "classic queue, which has no delivery limit"})
	case quorum:
		all = append(all, p.limitRemark(queue, version))
	case stream:
		all = append(all, warning("is a stream; a source begins at its newest message each time it connects and misses those between; have the core's side bind a quorum queue"))
	default:
		all = append(all, warning("the server does not say of which type it is; its delivery limit is unknown"))
	}
	if p.policy == nil {
		all = append(all, warning("the server does not show its policies, so what they make it drop is unknown; it shows them some seconds after a queue is declared: run check again"))
	}
	for _, bound := range []string{"message-ttl", "max-length", "max-length-bytes", "expires"} {
		n, by, set := p.bound(bound)
		switch {
		case !set || bound != "expires" && bound != "message-ttl" && p.rejects():
		case bound == "expires":
			all = append(all, warning("the server deletes it with its messages after %s ms without a consumer (%s from %s); remove expires", n, bound, by))
		case kept:
			all = append(all, watch.Remark{Text: queue + fmt.Sprintf("messages beyond %s %s (from %s) go to the dead-letter exchange %s", bound, n, by, exchange)})
		default:
			all = append(all, warning("the server drops messages beyond %s %s (from %s); remove it, or set a dead-letter exchange that keeps them", bound, n, by))
		}
	}
	if p.durable != nil && !*p.durable {
		all = append(all, warning("is not durable; a restart of the server deletes it; declare it durable"))
	}
	if p.autoDelete != nil && *p.autoDelete {
		all = append(all, warning("is deleted when its last consumer goes (auto_delete), also at a restart of ours; declare it without"))
	}
	return all
}

// limitRemark says what the delivery limit of a quorum queue is, where it comes from and what the cure is.
func (p *properties) limitRemark(queue, version string) watch.Remark {
	l := p.deliveryLimit(version)
	var from, cure string
	switch l.from {
	case nowhere:
		if !l.known {
			return watch.Remark{Warning: true, Text: queue + "quorum queue; the server's answer does not tell its delivery limit, which is unknown; look with rabbitmqctl list_queues name type arguments policy"}
		}
		return watch.Remark{Text: queue + "quorum queue without a delivery limit"}
	case byArgument:
		from = "its argument x-delivery-limit"
		cure = "an argument cannot be changed: set a policy with dead-letter-exchange so that dropped messages are kept, or declare the queue anew without the argument, and from RabbitMQ 4.0 on with a policy delivery-limit -1"
	case byPolicy:
		from = p.policies
		cure = "let the policy set delivery-limit -1 (before RabbitMQ 4.0: remove delivery-limit from it), or dead-letter-exchange so that dropped messages are kept"
	case byDefault, byServer:
		if from = "the server's default since RabbitMQ 4.0"; l.from == byServer {
			from = "the server; neither argument nor policy has this number"
		}
		cure = "set a policy with delivery-limit -1, or with dead-letter-exchange so that dropped messages are kept"
	}
	than := ""
	if l.atMost {
		than = " or lower"
	}
	text := fmt.Sprintf("%squorum queue with delivery limit %d%s (from %s)", queue, l.n, than, from)
	if exchange, kept := p.deadLetters(); kept {
		return watch.Remark{Text: text + "; a message that exceeds it goes to the dead-letter exchange " + exchange + ", whose queue must keep it"}
	}
	return watch.Remark{Warning: true, Text: text + "; the server drops a message that exceeds it, and a delivery is spent whenever a connection ends with the message in hand; " + cure}
}

// deadLetters names the exchange that takes what the server drops.
func (p *properties) deadLetters() (exchange string, set bool) {
	for _, at := range []struct {
		in   jsonTable
		name string
	}{{p.arguments, "x-dead-letter-exchange"}, {p.policy, "dead-letter-exchange"}} {
		if _, there := at.in[at.name]; there {
			name := at.in.text(at.name)
			if name == "" {
				return `"" (the default exchange)`, true
			}
			return shown(name), true
		}
	}
	return "", false
}

// bound is a number that makes the server drop messages, as text, and what sets it.
func (p *properties) bound(name string) (n, by string, set bool) {
	for _, at := range []struct {
		in       jsonTable
		name, by string
	}{{p.arguments, "x-" + name, "its argument x-" + name}, {p.policy, name, p.policies}} {
		if _, there := at.in[at.name]; there {
			if n, set, ok := at.in.whole(at.name); set && ok {
				return strconv.FormatInt(n, 10), at.by, true
			}
			return "of an unknown size", at.by, true
		}
	}
	return "", "", false
}

// rejects reports whether a full queue refuses new messages, of which the core hears, in place of dropping old ones.
func (p *properties) rejects() bool {
	return strings.HasPrefix(cmp.Or(p.policy.text("overflow"), p.arguments.text("x-overflow")), "reject-publish")
}
