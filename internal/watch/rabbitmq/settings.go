package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
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

	// Management is the address of the management API, such as https://rabbit.bank.example:15671. Only Remarks reads it, with
	// User, PasswordFile and TLS. Empty: the properties of the queues stay unknown.
	Management string `yaml:"management"`
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
	return append(found, s.managementProblems()...)
}

// managementProblems lists what is wrong with Management.
func (s *Settings) managementProblems() []error {
	if s.Management == "" {
		return nil
	}
	scheme, is := "http", "not set"
	if s.TLS != nil {
		scheme, is = "https", "set"
	}
	var found []error
	u, err := url.Parse(s.Management)
	switch {
	case err != nil || u.Hostname() == "": // the parser's error would show the text, and a password in it
		return []error{fmt.Errorf("management: is not a URL with a host, such as %s://rabbit.bank.example:15671", scheme)}
	case u.User != nil:
		found = append(found, errors.New("management: holds a user or password; they belong into user and password_file"))
	case u.Scheme != scheme:
		found = append(found, fmt.Errorf("management: its scheme must be %s, as tls is %s", scheme, is))
	case u.RawQuery != "" || u.Fragment != "":
		found = append(found, errors.New("management: has a query; give the address alone, without /api"))
	case scheme == "http" && !loopback(u.Hostname()):
		found = append(found, fmt.Errorf("management: http sends the password in plain text to %s; set tls and use https, or use a loopback address", u.Hostname()))
	}
	if s.User == "" {
		found = append(found, errors.New("management: needs user and password_file; the management API takes no certificate as a login"))
	}
	if _, err := s.virtualHost(); err != nil {
		found = append(found, err)
	}
	return found
}

// virtualHost is the one that the addresses name.
func (s *Settings) virtualHost() (string, error) {
	var names []string
	for _, address := range s.URLs {
		if u, err := amqp.ParseURI(address); err == nil && !slices.Contains(names, u.Vhost) {
			names = append(names, u.Vhost)
		}
	}
	if len(names) > 1 {
		return "", fmt.Errorf("management: urls name %d virtual hosts, and a queue is asked for in one; let all urls name the same", len(names))
	}
	if len(names) == 0 {
		return "", errors.New("management: urls names no virtual host that can be read; correct urls")
	}
	return names[0], nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
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
