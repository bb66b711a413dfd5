package bus

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// TLS names the files of a bus's authority and of our client certificate. They are read at every connection, so that
// a renewed certificate needs no restart. There is no switch that turns the check of the server's certificate off.
type TLS struct {
	CA          string `yaml:"ca"`          // PEM: the authorities a server's certificate must come from; required
	Certificate string `yaml:"certificate"` // PEM, the chain: ours, when the bus asks for one
	Key         string `yaml:"key"`         // PEM: its private key
	ServerName  string `yaml:"server_name"` // the name the server's certificate must be for; empty: the host dialled
}

// Problems lists what is wrong with the settings, without reading a file.
func (t *TLS) Problems() []error {
	var found []error
	if t.CA == "" {
		found = append(found, errors.New("tls.ca: is missing; name the PEM file of the authority that issued the bus's certificate"))
	}
	if (t.Certificate == "") != (t.Key == "") {
		found = append(found, errors.New("tls.certificate, tls.key: one without the other; give both or none"))
	}
	return found
}

// Config reads the files. nil gives nil: a connection in plain text, which Problems of the whole permits in development.
func (t *TLS) Config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM", t.CA)
	}
	if t.Certificate == "" {
		return config, nil
	}
	if _, err := t.own(nil); err != nil {
		return nil, err
	}
	config.GetClientCertificate = t.own
	return config, nil
}

// own reads our certificate anew, since a client that reconnects by itself keeps its configuration for weeks.
func (t *TLS) own(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.certificate, tls.key: %w", err)
	}
	return &pair, nil
}

// Login is the user and password for a bus, besides our certificate.
type Login struct {
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"` // read at every connection; its trailing line break does not count
}

// Problems lists what is wrong with the settings.
func (l Login) Problems() []error {
	if (l.User == "") != (l.PasswordFile == "") {
		return []error{errors.New("user, password_file: one without the other; give both or none")}
	}
	return nil
}

// Password reads the file.
func (l Login) Password() (string, error) {
	if l.PasswordFile == "" {
		return "", nil
	}
	content, err := os.ReadFile(l.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	password := string(bytes.TrimRight(content, "\r\n"))
	if password == "" {
		return "", fmt.Errorf("password_file: %s is empty", l.PasswordFile)
	}
	return password, nil
}

// Guarded lists the problems of an unprotected connection: outside development it needs TLS.
func Guarded(t *TLS, production bool) []error {
	switch {
	case t != nil:
		return t.Problems()
	case production:
		return []error{errors.New("tls: is missing; the profile production connects to a bus through TLS only, name at least tls.ca")}
	}
	return nil
}

// Addresses lists what is wrong with the URLs of a bus. plain and secured are the schemes without and with TLS.
func Addresses(urls []string, plain, secured string, t *TLS) []error {
	if len(urls) == 0 {
		return []error{fmt.Errorf("urls: is empty; name at least one server, such as %s://bus.bank.example", secured)}
	}
	want := plain
	if t != nil {
		want = secured
	}
	var found []error
	for i, text := range urls {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "": // the parser's error would show the text, and a password in it
			found = append(found, fmt.Errorf("urls[%d]: is not a URL with a host, such as %s://bus.bank.example", i, want))
		case u.User != nil:
			found = append(found, fmt.Errorf("urls[%d]: holds a user or password; they belong into user and password_file", i))
		case u.Scheme != want:
			found = append(found, fmt.Errorf("urls[%d]: its scheme must be %s, as tls is %s", i, want, map[bool]string{true: "set", false: "not set"}[t != nil]))
		case u.RawQuery != "" || u.Fragment != "":
			found = append(found, fmt.Errorf("urls[%d]: has a query; everything but the address is a setting of its own", i))
		}
	}
	return found
}

// Tables maps the bus's names of its streams of messages to the mapping's names of tables.
type Tables map[string]string

// Names returns the bus's names, sorted.
func (t Tables) Names() []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Table returns the mapping's name for the bus's, or the bus's own when there is none.
func (t Tables) Table(name string) string {
	if table := t[name]; table != "" {
		return table
	}
	return name
}

// Fits lists where the settings and the mapping differ: a table that nothing fills, or one that the mapping does not
// have, whose messages it would pass over. setting is their key.
func (t Tables) Fits(setting string, tables []string) []error {
	var found []error
	filled := map[string]bool{}
	for _, name := range t.Names() {
		table := t.Table(name)
		if filled[table] = true; !slices.Contains(tables, table) {
			found = append(found, fmt.Errorf("%s: %q is read as the table %q, which the mapping does not have; it has %s", setting, name, table, strings.Join(tables, ", ")))
		}
	}
	for _, table := range tables {
		if !filled[table] {
			found = append(found, fmt.Errorf("%s: nothing is read as %q, a table of the mapping", setting, table))
		}
	}
	return found
}

// Problems lists what is wrong with the settings; setting is their key.
func (t Tables) Problems(setting string) []error {
	if len(t) == 0 {
		return []error{fmt.Errorf("%s: is empty; name at least one, with its table in the mapping", setting)}
	}
	var found []error
	for _, name := range t.Names() {
		if strings.TrimSpace(name) != name || name == "" {
			found = append(found, fmt.Errorf("%s: %q is not a name", setting, name))
		}
	}
	return found
}
