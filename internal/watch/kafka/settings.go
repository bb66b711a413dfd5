package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/arauto/arauto/internal/watch/bus"
)

// defaultInFlight is how many records may be uncommitted when InFlight is 0; maxInFlight bounds the setting.
const (
	defaultInFlight = 1000
	maxInFlight     = 100_000
)

// Settings of one source. Secrets are named by file.
type Settings struct {
	Brokers []string `yaml:"brokers"` // host:port of some brokers; the rest is learnt from them
	TLS     *bus.TLS `yaml:"tls"`     // required outside development

	bus.Login `yaml:",inline"`
	Mechanism string `yaml:"mechanism"` // SCRAM-SHA-512 (default), SCRAM-SHA-256 or PLAIN

	Group    string     `yaml:"group"`     // the consumer group; the same at every replica, used by nobody else
	Topics   bus.Tables `yaml:"topics"`    // topic: table of the mapping; empty: the topic's name
	InFlight int        `yaml:"in_flight"` // records handed over and not committed; 0: 1000

	// OffsetRevisions lists topics, with their number of partitions, whose offset may stand in for the core's revision.
	// Read refuses when the number is another: a key would have moved to a partition with other offsets.
	OffsetRevisions map[string]int `yaml:"offset_revisions"`
}

// Problems lists what is wrong with the settings, each with its key, the reason and the cure.
func (s *Settings) Problems(production bool) []error {
	var found []error
	if len(s.Brokers) == 0 {
		found = append(found, errors.New("brokers: is empty; name at least one as host:port"))
	}
	for i, broker := range s.Brokers {
		if host, port, err := net.SplitHostPort(broker); err != nil || host == "" || port == "" {
			found = append(found, fmt.Errorf("brokers[%d]: is not host:port, such as kafka1.bank.example:9093", i))
		}
	}
	found = append(found, bus.Guarded(s.TLS, production)...)
	found = append(found, s.Login.Problems()...)
	found = append(found, s.Topics.Problems("topics")...)
	if _, err := s.mechanism(); err != nil {
		found = append(found, err)
	}
	if strings.TrimSpace(s.Group) == "" {
		found = append(found, errors.New("group: is empty; name a consumer group that nobody else uses"))
	}
	if s.InFlight < 0 || s.InFlight > maxInFlight {
		found = append(found, fmt.Errorf("in_flight: is %d; use 1 to %d, or 0 for %d", s.InFlight, maxInFlight, defaultInFlight))
	}
	for topic, partitions := range s.OffsetRevisions {
		if _, known := s.Topics[topic]; !known {
			found = append(found, fmt.Errorf("offset_revisions: %q is not one of topics", topic))
		}
		if partitions < 1 {
			found = append(found, fmt.Errorf("offset_revisions: %q has %d partitions; say how many the topic has", topic, partitions))
		}
	}
	return found
}

// mechanism is how we log in; nil without a user.
func (s *Settings) mechanism() (sasl.Mechanism, error) {
	known := []string{"", "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"}
	if !slices.Contains(known, s.Mechanism) {
		return nil, fmt.Errorf("mechanism: is %q; use SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN", s.Mechanism)
	}
	if s.User == "" {
		return nil, nil
	}
	scrambled := func(context.Context) (scram.Auth, error) {
		password, err := s.Password()
		return scram.Auth{User: s.User, Pass: password}, err
	}
	switch s.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := s.Password()
			return plain.Auth{User: s.User, Pass: password}, err
		}), nil
	case "SCRAM-SHA-256":
		return scram.Sha256(scrambled), nil
	}
	return scram.Sha512(scrambled), nil
}

// Bounds towards the brokers.
const (
	rebalanceTimeout  = 30 * time.Second
	dialTimeout       = 5 * time.Second
	fetchBytes        = 8 << 20 // of one fetch from one broker
	partitionBytes    = 1 << 20
	fetchWait         = 250 * time.Millisecond // of a fetch without data; partitions that come meanwhile wait for its end
	concurrentFetches = 2                      // bounds what is buffered to 16 MiB and the largest batch
)

// options of a client that consumes nothing yet.
func (s *Settings) options() ([]kgo.Opt, error) {
	tls, err := s.TLS.Config()
	if err != nil {
		return nil, err
	}
	mechanism, err := s.mechanism()
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(s.Brokers...),
		kgo.ClientID("arauto"),
		kgo.DisableClientMetrics(),
		kgo.DialTimeout(dialTimeout),
	}
	if tls != nil {
		options = append(options, kgo.DialTLSConfig(tls))
	}
	if mechanism != nil {
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}
