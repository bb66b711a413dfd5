package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/arauto/arauto/internal/watch/bus"
)

// Bounds of a consumer.
const (
	defaultPrefetch = 100
	maxPrefetch     = 10_000
	dialTimeout     = 5 * time.Second
	heartbeat       = 5 * time.Second // a peer silent for about twice as long is gone
)

// Settings of one source. Secrets are named by file.
type Settings struct {
	URLs []string `yaml:"urls"` // amqps://host:5671/vhost, or amqp:// without TLS; tried in this order
	TLS  *bus.TLS `yaml:"tls"`  // required outside development

	bus.Login `yaml:",inline"` // without a user the certificate of TLS says who we are (mechanism EXTERNAL)

	Queues   bus.Tables `yaml:"queues"`   // queue: table of the mapping; empty: the queue's name
	Prefetch int        `yaml:"prefetch"` // messages of a queue delivered and not acknowledged; 0: 100
}

// Problems lists what is wrong with the settings, each with its key, the reason and the cure.
func (s *Settings) Problems(production bool) []error {
	found := bus.Addresses(s.URLs, "amqp", "amqps", s.TLS)
	found = append(found, bus.Guarded(s.TLS, production)...)
	found = append(found, s.Login.Problems()...)
	found = append(found, s.Queues.Problems("queues")...)
	if s.User == "" && (s.TLS == nil || s.TLS.Certificate == "") {
		found = append(found, errors.New("user: is missing; give user and password_file, or tls.certificate for the mechanism EXTERNAL"))
	}
	if s.Prefetch < 0 || s.Prefetch > maxPrefetch {
		found = append(found, fmt.Errorf("prefetch: is %d; use 1 to %d, or 0 for %d", s.Prefetch, maxPrefetch, defaultPrefetch))
	}
	return found
}

// dial connects to the first server that takes us.
func (s *Settings) dial(ctx context.Context) (*amqp.Connection, error) {
	tls, err := s.TLS.Config()
	if err != nil {
		return nil, err
	}
	config := amqp.Config{
		Heartbeat: heartbeat, SASL: []amqp.Authentication{&amqp.ExternalAuth{}},
		Properties: amqp.Table{"product": "arauto", "connection_name": "arauto"},
		Dial:       dialer(ctx),
	}
	if s.User != "" {
		password, err := s.Password()
		if err != nil {
			return nil, err
		}
		config.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: s.User, Password: password}}
	}
	var failed []error
	for _, address := range s.URLs {
		if config.TLSClientConfig = nil; tls != nil {
			config.TLSClientConfig = tls.Clone() // the library writes the server's name into it
		}
		connection, err := amqp.DialConfig(address, config)
		if err == nil {
			return connection, nil
		}
		failed = append(failed, fmt.Errorf("connect to rabbitmq at %s: %w", host(address), err))
	}
	return nil, errors.Join(failed...)
}

func host(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Host
	}
	return "the address"
}

// dialer opens connections that end with ctx while they are made, and do not wait for ever for a server's first words.
func dialer(ctx context.Context) func(network, address string) (net.Conn, error) {
	return func(network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil { // the library clears it once it is open
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
}
