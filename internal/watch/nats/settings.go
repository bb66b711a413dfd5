package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/arauto/arauto/internal/watch/bus"
)

// Bounds of the consumer.
const (
	defaultInFlight = 256
	maxInFlight     = 10_000
	defaultAckWait  = 10 * time.Second
	minAckWait      = 5 * time.Second // far above a commit of ours, which takes milliseconds
	maxAckWait      = 5 * time.Minute
)

// Settings of one source. Secrets are named by file.
type Settings struct {
	URLs []string `yaml:"urls"` // nats://host:4222, or tls://host:4222 with TLS; the rest of a cluster is not learnt
	TLS  *bus.TLS `yaml:"tls"`  // required outside development

	bus.Login       `yaml:",inline"`
	CredentialsFile string `yaml:"credentials_file"` // a .creds file, instead of user and password

	Stream   string        `yaml:"stream"`
	Durable  string        `yaml:"durable"`   // the consumer's name; the same at every replica, used by nobody else
	Subjects bus.Tables    `yaml:"subjects"`  // subject, wildcards permitted: table of the mapping; empty: the subject as written here
	Create   bool          `yaml:"create"`    // make the consumer when it is not there; else it must be
	AckWait  time.Duration `yaml:"ack_wait"`  // after it a message of a replica that died is told again; 0: 10 s
	InFlight int           `yaml:"in_flight"` // messages delivered and not acknowledged, by all replicas together; 0: 256
}

// Problems lists what is wrong with the settings, each with its key, the reason and the cure.
func (s *Settings) Problems(production bool) []error {
	found := bus.Addresses(s.URLs, "nats", "tls", s.TLS)
	found = append(found, bus.Guarded(s.TLS, production)...)
	found = append(found, s.Login.Problems()...)
	if s.CredentialsFile != "" && s.User != "" {
		found = append(found, errors.New("credentials_file, user: both; give one way to log in"))
	}
	if !name(s.Stream) {
		found = append(found, fmt.Errorf("stream: %q is not a name of a stream", s.Stream))
	}
	if !name(s.Durable) {
		found = append(found, fmt.Errorf("durable: %q is not a name of a consumer", s.Durable))
	}
	found = append(found, s.Subjects.Problems("subjects")...)
	for i, one := range s.Subjects.Names() {
		for _, other := range s.Subjects.Names()[i+1:] {
			if overlap(one, other) {
				found = append(found, fmt.Errorf("subjects: %q and %q overlap; a message would have two tables", one, other))
			}
		}
	}
	if s.AckWait != 0 && (s.AckWait < minAckWait || s.AckWait > maxAckWait) {
		found = append(found, fmt.Errorf("ack_wait: is %s; use %s to %s", s.AckWait, minAckWait, maxAckWait))
	}
	if s.InFlight < 0 || s.InFlight > maxInFlight {
		found = append(found, fmt.Errorf("in_flight: is %d; use 1 to %d, or 0 for %d", s.InFlight, maxInFlight, defaultInFlight))
	}
	return found
}

// name tells what may name a stream or a consumer.
func name(text string) bool { return text != "" && !strings.ContainsAny(text, " \t\r\n.*>/\\") }

// covers reports whether a subject falls under a pattern.
func covers(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		if token == ">" {
			return i < len(s)
		}
		if i >= len(s) || (token != "*" && token != s[i]) {
			return false
		}
	}
	return len(p) == len(s)
}

// overlap reports whether a subject could fall under both patterns.
func overlap(one, other string) bool {
	a, b := strings.Split(one, "."), strings.Split(other, ".")
	for i := range min(len(a), len(b)) {
		if a[i] == ">" || b[i] == ">" {
			return true
		}
		if a[i] != b[i] && a[i] != "*" && b[i] != "*" {
			return false
		}
	}
	return len(a) == len(b)
}

// table is the mapping's name for a subject.
func (s *Settings) table(subject string) string {
	for _, pattern := range s.Subjects.Names() {
		if covers(pattern, subject) {
			return s.Subjects.Table(pattern)
		}
	}
	return subject
}

// consumer is what the durable consumer must be.
func (s *Settings) consumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:        s.Durable,
		Description:    "changes of the core, read by arauto",
		FilterSubjects: s.Subjects.Names(),
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        s.AckWait,
		MaxDeliver:     -1,
		MaxAckPending:  s.InFlight,
	}
}

// misfits lists why a consumer that is there already would lose messages or hand over others.
func (s *Settings) misfits(has jetstream.ConsumerConfig) []error {
	var found []error
	misfit := func(format string, args ...any) {
		found = append(found, fmt.Errorf("consumer %s of stream %s: "+format, append([]any{s.Durable, s.Stream}, args...)...))
	}
	filters := slices.Sorted(slices.Values(has.FilterSubjects))
	if has.FilterSubject != "" {
		filters = append(filters, has.FilterSubject)
	}
	if has.AckPolicy != jetstream.AckExplicitPolicy {
		misfit("its ack policy is %s; it must be explicit", has.AckPolicy)
	}
	if has.MaxDeliver > 0 {
		misfit("it gives up after %d deliveries (max deliver); it must be unlimited, -1", has.MaxDeliver)
	}
	if has.AckWait < min(minAckWait, s.AckWait) || len(has.BackOff) > 0 {
		misfit("its ack wait is %s, with %d steps of backoff; use at least %s and no backoff", has.AckWait, len(has.BackOff), minAckWait)
	}
	if has.MaxAckPending < 1 || has.MaxAckPending > maxInFlight {
		misfit("its max ack pending is %d; use 1 to %d", has.MaxAckPending, maxInFlight)
	}
	if has.DeliverSubject != "" {
		misfit("it pushes; it must be a pull consumer")
	}
	if has.HeadersOnly {
		misfit("it delivers headers only; it must deliver the messages")
	}
	if !slices.Equal(filters, s.Subjects.Names()) {
		misfit("its filter subjects are %q; subjects says %q", filters, s.Subjects.Names())
	}
	return found
}

// options of a connection. It does not reconnect by itself: Read ends with an error and is called again, from the start.
// lost is called with the reason when it ended, or when something was refused for want of rights.
func (s *Settings) options(log *slog.Logger, lost func(error)) ([]nats.Option, error) {
	tls, err := s.TLS.Config()
	if err != nil {
		return nil, err
	}
	password, err := s.Password()
	if err != nil {
		return nil, err
	}
	options := []nats.Option{
		nats.Name("arauto"), nats.NoReconnect(), nats.Timeout(askTimeout),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreDiscoveredServers(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { lost(err) }),
		nats.ClosedHandler(func(c *nats.Conn) { lost(c.LastError()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if log.Warn("nats connection failed", "error", err); errors.Is(err, nats.ErrPermissionViolation) {
				lost(err)
			}
		}),
	}
	if tls != nil {
		options = append(options, nats.Secure(tls))
	}
	if s.User != "" {
		options = append(options, nats.UserInfo(s.User, password))
	}
	if s.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(s.CredentialsFile))
	}
	return options, nil
}
