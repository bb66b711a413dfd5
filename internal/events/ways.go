package events

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/arauto/arauto/internal/config"
	"github.com/arauto/arauto/internal/mtls"
	"github.com/arauto/arauto/internal/trust"
)

// Ways makes the ways that the settings name. The error is a *config.Error with every problem of the files they name.
func Ways(cfg *config.Config) ([]Way, error) {
	p := &config.Problems{}
	var all []Way
	e := &cfg.Events
	roots, err := authorities(e.CA)
	p.File("events.ca", err)
	client := trust.NewAnchorClient(roots, sendsFor)
	if e.SlackURLFile != "" {
		to, err := secret(e.SlackURLFile)
		p.File("events.slack_url_file", err)
		if u, bad := url.Parse(to); err == nil && (bad != nil || u.Scheme != "https" || u.Host == "") {
			p.Add("events.slack_url_file", "the file does not hold an https:// URL", "put the URL of the incoming webhook into it, alone")
		}
		all = append(all, &poster{name: "slack", url: to, client: client, body: func(m *OperatorMessage) any { return map[string]string{"text": m.Text} }})
	}
	if e.WebhookURL != "" {
		token := ""
		if e.WebhookTokenFile != "" {
			token, err = secret(e.WebhookTokenFile)
			p.File("events.webhook_token_file", err)
		}
		all = append(all, &poster{name: "webhook", url: e.WebhookURL, token: token, client: client, body: func(m *OperatorMessage) any { return m }})
	}
	if e.SMTP.Addr != "" {
		w, err := newEmail(&e.SMTP, p)
		p.Take(err)
		all = append(all, w)
	}
	return all, p.Err()
}

func authorities(file string) (*mtls.Anchors, error) {
	if file == "" {
		return nil, nil
	}
	return mtls.LoadAnchors(file)
}

// secret reads a file with one secret.
func secret(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if s := strings.TrimSpace(string(text)); s != "" {
		return s, nil
	}
	return "", errors.New("the file is empty")
}

// poster posts JSON to a URL. The URL may be a secret and is never told.
type poster struct {
	name, url, token string
	client           *http.Client
	body             func(*OperatorMessage) any
}

// Name implements Way.
func (w *poster) Name() string { return w.name }

// Send implements Way: 2xx is the only answer that counts as taken.
func (w *poster) Send(ctx context.Context, m *OperatorMessage) error {
	text, err := json.Marshal(w.body(m))
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(text))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	r.Header.Set("Content-Type", "application/json")
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("answered %d, and 2xx is needed", answer.StatusCode)
	}
	return nil
}

// Try implements Way: it makes a TLS connection to the host, and asks for nothing.
func (w *poster) Try(ctx context.Context) (string, error) {
	u, err := url.Parse(w.url)
	if err != nil {
		return "", errors.New("the URL cannot be used")
	}
	port := cmp.Or(u.Port(), "443")
	host := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme != "https" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
		if err != nil {
			return "", err
		}
		return "connected to " + host + " without TLS", conn.Close()
	}
	conf := w.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName = u.Hostname()
	conn, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", host)
	if err != nil {
		return "", err
	}
	return "connected to " + host + " with TLS", conn.Close()
}

// withoutURL drops the URL from an error of the client: it may be a secret.
func withoutURL(err error) error {
	if e, is := errors.AsType[*url.Error](err); is {
		return e.Err
	}
	return err
}

// email sends by SMTP with TLS.
type email struct {
	set      *config.SMTP
	host     string
	port     int
	password string
	roots    *x509.CertPool // nil: those of the system
}

func newEmail(set *config.SMTP, p *config.Problems) (*email, error) {
	w := &email{set: set}
	host, port, err := net.SplitHostPort(set.Addr)
	if err != nil {
		return w, nil //nolint:nilerr // told by Check
	}
	w.host = host
	w.port, _ = strconv.Atoi(port) // told by Check
	if set.PasswordFile != "" {
		w.password, err = secret(set.PasswordFile)
		p.File("events.smtp.password_file", err)
	}
	if set.CA != "" {
		text, err := os.ReadFile(set.CA)
		p.File("events.smtp.ca", err)
		w.roots = x509.NewCertPool()
		if err == nil && !w.roots.AppendCertsFromPEM(text) {
			p.Add("events.smtp.ca", "has no certificate", "name a PEM file with the authority of the mail server")
		}
	}
	return w, nil
}

// Name implements Way.
func (w *email) Name() string { return "email" }

func (w *email) client() (*mail.Client, error) {
	options := []mail.Option{
		mail.WithPort(w.port), mail.WithTimeout(10 * time.Second), mail.WithTLSConfig(&tls.Config{ServerName: w.host, RootCAs: w.roots, MinVersion: tls.VersionTLS12}),
	}
	if w.set.TLS == "tls" {
		options = append(options, mail.WithSSL())
	} else {
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if w.set.Username != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(w.set.Username), mail.WithPassword(w.password))
	}
	return mail.NewClient(w.host, options...)
}

// Send implements Way.
func (w *email) Send(ctx context.Context, m *OperatorMessage) error {
	msg := mail.NewMsg()
	if err := msg.From(w.set.From); err != nil {
		return err
	}
	if err := msg.To(w.set.To...); err != nil {
		return err
	}
	msg.Subject("[Arauto] " + m.Title)
	msg.SetDate()
	msg.SetMessageID()
	msg.SetGenHeader("X-Arauto-Event", m.Event+"; "+m.State)
	msg.SetBodyString(mail.TypeTextPlain, m.Text+"\n")
	c, err := w.client()
	if err != nil {
		return err
	}
	return c.DialAndSendWithContext(ctx, msg)
}

// Try implements Way: it connects, starts TLS and signs in, and leaves.
func (w *email) Try(ctx context.Context) (string, error) {
	c, err := w.client()
	if err != nil {
		return "", err
	}
	if err := c.DialWithContext(ctx); err != nil {
		return "", err
	}
	did := "connected to " + w.set.Addr + " with TLS"
	if w.set.Username != "" {
		did += " and signed in"
	}
	return did, c.Close()
}
