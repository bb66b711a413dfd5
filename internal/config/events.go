package config

import (
	"net"
	"net/mail"
	"strconv"
)

// SMTP is the mail server by which operators are told of events. It is used when Addr is set.
type SMTP struct {
	Addr         string   `yaml:"addr" env:"ARAUTO_EVENTS_SMTP_ADDR"`
	TLS          string   `yaml:"tls" env:"ARAUTO_EVENTS_SMTP_TLS"`
	CA           string   `yaml:"ca" env:"ARAUTO_EVENTS_SMTP_CA"`
	Username     string   `yaml:"username" env:"ARAUTO_EVENTS_SMTP_USERNAME"`
	PasswordFile string   `yaml:"password_file" env:"ARAUTO_EVENTS_SMTP_PASSWORD_FILE"`
	From         string   `yaml:"from" env:"ARAUTO_EVENTS_SMTP_FROM"`
	To           []string `yaml:"to" env:"ARAUTO_EVENTS_SMTP_TO"`
}

// checkEvents judges how operators are told of events.
func (c *Config) checkEvents(p *Problems) {
	e := &c.Events
	if e.Language != "pt" && e.Language != "en" {
		p.Add("events.language", "is %q", "use pt or en", e.Language)
	}
	c.checkPosted(p, "events.webhook_url", e.WebhookURL, "use the https:// URL that takes the messages")
	s := &e.SMTP
	if s.Addr == "" {
		return
	}
	host, port, err := net.SplitHostPort(s.Addr)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || host == "" || n < 1 || n > 65535 {
		p.Add("events.smtp.addr", "is not host:port", "name the mail server and its port, such as mail.example:587")
	}
	if s.TLS != "starttls" && s.TLS != "tls" {
		p.Add("events.smtp.tls", "is %q", "use starttls (usually port 587) or tls (usually port 465)", s.TLS)
	}
	if _, err := mail.ParseAddress(s.From); err != nil {
		p.Add("events.smtp.from", "is not an address", "set the address that the messages come from")
	}
	if len(s.To) == 0 {
		p.Add("events.smtp.to", "is not set", "name at least one address")
	}
	for _, to := range s.To {
		if _, err := mail.ParseAddress(to); err != nil {
			p.Add("events.smtp.to", "has something that is not an address", "name addresses such as plantao@banco.example")
		}
	}
	if (s.Username == "") != (s.PasswordFile == "") {
		p.Add("events.smtp.username", "and events.smtp.password_file are not set together", "set both or neither")
	}
}
