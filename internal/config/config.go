// Package config is every setting of the product: read from a YAML file and the environment, checked, and described with
// secrets masked.
//
// Read names every unknown key, repeated key and wrong type. Check names every wrong value at once, each with its key, its
// environment variable, the reason and what would be right. Neither repeats a value that may be a secret.
//
// It opens no file that a setting names and no network address: the package that uses the file or the address does so, and
// reports what is wrong with it through Problems.
package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v3"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// The two profiles.
const (
	Production  = "production"
	Development = "development"
)

// Config is every setting of the product, read once from the YAML file and the environment and passed on as values.
// A field's env tag is its environment variable, and descriptions says what it is for; secrets are named by file, never by value.
type Config struct {
	Profile  string `yaml:"profile" env:"ARAUTO_PROFILE"`
	StateDir string `yaml:"state_dir" env:"ARAUTO_STATE_DIR"`
	Replica  string `yaml:"replica" env:"ARAUTO_REPLICA"`

	Database struct {
		URL          string `yaml:"url" env:"ARAUTO_DATABASE_URL"`
		PasswordFile string `yaml:"password_file" env:"ARAUTO_DATABASE_PASSWORD_FILE"`
	} `yaml:"database"`
	Public struct {
		Addr     string `yaml:"addr" env:"ARAUTO_PUBLIC_ADDR"`
		BaseURL  string `yaml:"base_url" env:"ARAUTO_PUBLIC_BASE_URL"`
		TLSCert  string `yaml:"tls_cert" env:"ARAUTO_PUBLIC_TLS_CERT"`
		TLSKey   string `yaml:"tls_key" env:"ARAUTO_PUBLIC_TLS_KEY"`
		ClientCA string `yaml:"client_ca" env:"ARAUTO_PUBLIC_CLIENT_CA"`
		MaxRate  int    `yaml:"max_rate" env:"ARAUTO_PUBLIC_MAX_RATE"`

		HandshakesPerAddress int `yaml:"handshakes_per_address" env:"ARAUTO_PUBLIC_HANDSHAKES_PER_ADDRESS"`

		Validate bool `yaml:"validate_outgoing" env:"ARAUTO_PUBLIC_VALIDATE_OUTGOING"`

		RevocationSettings `yaml:",inline" envPrefix:"ARAUTO_PUBLIC_"`
		ProxySettings      `yaml:",inline" envPrefix:"ARAUTO_PUBLIC_PROXY_"`
	} `yaml:"public"`
	Internal struct {
		Addr     string `yaml:"addr" env:"ARAUTO_INTERNAL_ADDR"`
		TLSCert  string `yaml:"tls_cert" env:"ARAUTO_INTERNAL_TLS_CERT"`
		TLSKey   string `yaml:"tls_key" env:"ARAUTO_INTERNAL_TLS_KEY"`
		JWKS     string `yaml:"jwks" env:"ARAUTO_INTERNAL_JWKS"`
		Issuer   string `yaml:"issuer" env:"ARAUTO_INTERNAL_ISSUER"`
		Audience string `yaml:"audience" env:"ARAUTO_INTERNAL_AUDIENCE"`
	} `yaml:"internal"`
	Ops struct {
		Addr string `yaml:"addr" env:"ARAUTO_OPS_ADDR"`
	} `yaml:"ops"`
	Console ConsoleSettings `yaml:"console" envPrefix:"ARAUTO_CONSOLE_"`
	Holder  struct {
		OrganisationID        string `yaml:"organisation_id" env:"ARAUTO_ORGANISATION_ID"`
		AuthorisationServerID string `yaml:"authorisation_server_id" env:"ARAUTO_AUTHORISATION_SERVER_ID"`
		LegalName             string `yaml:"legal_name" env:"ARAUTO_HOLDER_LEGAL_NAME"`
	} `yaml:"holder"`
	Brands    []BrandSettings   `yaml:"brands" env:"-"`
	Signing   SigningSettings   `yaml:"signing"`
	Tokens    TokenSettings     `yaml:"tokens"`
	Directory DirectorySettings `yaml:"directory"`
	Webhook   struct {
		TLSCert       string        `yaml:"tls_cert" env:"ARAUTO_WEBHOOK_TLS_CERT"`
		TLSKey        string        `yaml:"tls_key" env:"ARAUTO_WEBHOOK_TLS_KEY"`
		RootCA        string        `yaml:"root_ca" env:"ARAUTO_WEBHOOK_ROOT_CA"`
		AllowNetworks []string      `yaml:"allow_networks" env:"ARAUTO_WEBHOOK_ALLOW_NETWORKS"`
		AllowPorts    []uint16      `yaml:"allow_ports" env:"ARAUTO_WEBHOOK_ALLOW_PORTS"`
		Timeout       time.Duration `yaml:"timeout" env:"ARAUTO_WEBHOOK_TIMEOUT"`
		Resolver      string        `yaml:"resolver" env:"ARAUTO_WEBHOOK_RESOLVER"`
		ASHeaders     []string      `yaml:"as_headers" env:"ARAUTO_WEBHOOK_AS_HEADERS"`

		RevocationSettings `yaml:",inline" envPrefix:"ARAUTO_WEBHOOK_"`
	} `yaml:"webhook"`
	Dispatch struct {
		Lease time.Duration `yaml:"lease" env:"ARAUTO_DISPATCH_LEASE"`
		Slots int           `yaml:"slots" env:"ARAUTO_DISPATCH_SLOTS"`
	} `yaml:"dispatch"`
	Ingest struct {
		MaxInFlight int `yaml:"max_in_flight" env:"ARAUTO_INGEST_MAX_IN_FLIGHT"`
	} `yaml:"ingest"`
	Announce struct {
		DirectAuthorised []string `yaml:"direct_authorised" env:"ARAUTO_ANNOUNCE_DIRECT_AUTHORISED"`
	} `yaml:"announce"`
	Watch struct {
		Sources   []string      `yaml:"sources" env:"ARAUTO_WATCH_SOURCES"`
		Readiness time.Duration `yaml:"readiness" env:"ARAUTO_WATCH_READINESS"`
	} `yaml:"watch"`
	Timers struct {
		Enabled *[]string `yaml:"enabled" env:"-"`
	} `yaml:"timers"`
	Schema struct {
		UnknownMembers string   `yaml:"unknown_members" env:"ARAUTO_SCHEMA_UNKNOWN_MEMBERS"`
		Nonconforming  string   `yaml:"nonconforming" env:"ARAUTO_SCHEMA_NONCONFORMING"`
		Versions       []string `yaml:"versions" env:"ARAUTO_SCHEMA_VERSIONS"`
	} `yaml:"schema"`
	Resend struct {
		Enabled bool `yaml:"enabled" env:"ARAUTO_RESEND_ENABLED"`
	} `yaml:"resend"`
	Extension struct {
		Enabled    bool `yaml:"enabled" env:"ARAUTO_EXTENSION_ENABLED"`
		MaxWaiting int  `yaml:"max_waiting" env:"ARAUTO_EXTENSION_MAX_WAITING"`
		Redelivery bool `yaml:"redelivery" env:"ARAUTO_EXTENSION_REDELIVERY"`
	} `yaml:"extension"`
	Reconcile struct {
		Enabled bool   `yaml:"enabled" env:"ARAUTO_RECONCILE_ENABLED"`
		At      string `yaml:"at" env:"ARAUTO_RECONCILE_AT"`
	} `yaml:"reconcile"`
	History struct {
		KeepYears int `yaml:"keep_years" env:"ARAUTO_HISTORY_KEEP_YEARS"`

		EraseDocumentsDays int `yaml:"erase_documents_days" env:"ARAUTO_HISTORY_ERASE_DOCUMENTS_DAYS"`
	} `yaml:"history"`
	Log struct {
		Key        string `yaml:"key" env:"ARAUTO_LOG_KEY"`
		AnchorFile string `yaml:"anchor_file" env:"ARAUTO_LOG_ANCHOR_FILE"`
		AnchorURL  string `yaml:"anchor_url" env:"ARAUTO_LOG_ANCHOR_URL"`

		VerifyEvery time.Duration `yaml:"verify_every" env:"ARAUTO_LOG_VERIFY_EVERY"`

		S3 ObjectStore `yaml:"anchor_s3"`

		Agent     string `yaml:"agent" env:"ARAUTO_LOG_AGENT"`
		Signer    string `yaml:"signer" env:"ARAUTO_LOG_SIGNER"`
		Witnesses string `yaml:"witnesses" env:"ARAUTO_LOG_WITNESSES"`
		WitnessCA string `yaml:"witness_ca" env:"ARAUTO_LOG_WITNESS_CA"`
		Tiles     string `yaml:"tiles" env:"ARAUTO_LOG_TILES"`
		TilesS3   bool   `yaml:"tiles_s3" env:"ARAUTO_LOG_TILES_S3"`
	} `yaml:"log"`
	Events struct {
		Language         string `yaml:"language" env:"ARAUTO_EVENTS_LANGUAGE"`
		SlackURLFile     string `yaml:"slack_url_file" env:"ARAUTO_EVENTS_SLACK_URL_FILE"`
		WebhookURL       string `yaml:"webhook_url" env:"ARAUTO_EVENTS_WEBHOOK_URL"`
		WebhookTokenFile string `yaml:"webhook_token_file" env:"ARAUTO_EVENTS_WEBHOOK_TOKEN_FILE"`
		CA               string `yaml:"ca" env:"ARAUTO_EVENTS_CA"`

		SMTP SMTP `yaml:"smtp"`
	} `yaml:"events"`

	origin map[string]string // by environment name: where a value came from
	unread Problems          // what Read could not read
}

// SigningSettings name the keys that status answers are signed with (BRSEAL).
type SigningSettings struct {
	Key       string `yaml:"key" env:"ARAUTO_SIGNING_KEY"`
	KID       string `yaml:"kid" env:"ARAUTO_SIGNING_KID"`
	NextKey   string `yaml:"next_key" env:"ARAUTO_SIGNING_NEXT_KEY"`
	NextKID   string `yaml:"next_kid" env:"ARAUTO_SIGNING_NEXT_KID"`
	Signer    string `yaml:"signer" env:"ARAUTO_SIGNING_SIGNER"`
	Published string `yaml:"published" env:"ARAUTO_SIGNING_PUBLISHED"`
}

// DirectorySettings say whose software statements are believed.
type DirectorySettings struct {
	JWKS   string `yaml:"jwks" env:"ARAUTO_DIRECTORY_JWKS"`
	Issuer string `yaml:"issuer" env:"ARAUTO_DIRECTORY_ISSUER"`
}

// Error lists everything that is wrong with the settings, each with its key, the reason and the cure.
type Error struct{ Problems []string }

// Error joins the problems, one a line.
func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

// Standard returns the settings that are in force where neither file nor environment sets another.
func Standard() *Config {
	c := &Config{Profile: Production, StateDir: "./state"}
	c.Public.Addr, c.Public.MaxRate = ":8443", 600
	c.Internal.Addr, c.Ops.Addr = "127.0.0.1:9443", "127.0.0.1:9090"
	c.Console = standardConsole()
	c.Tokens.Grant, c.Tokens.GrantClaim = "claim", "grant_type"
	c.Webhook.Timeout, c.Webhook.AllowPorts = notice.Timeout, []uint16{443}
	c.Webhook.ASHeaders = []string{ofb.HeaderAuthorizationServerID, ofb.HeaderAuthorisationServerID}
	c.Public.RevocationSettings, c.Webhook.RevocationSettings = standardRevocation(), standardRevocation()
	c.Dispatch.Lease = 20 * time.Second
	c.Ingest.MaxInFlight = 4096
	c.Schema.UnknownMembers = "reject"
	c.Extension.MaxWaiting = 2048
	c.History.KeepYears = 5
	c.Reconcile.Enabled, c.Reconcile.At = true, "03:30"
	c.Log.S3 = standardObjectStore()
	c.Log.VerifyEvery = time.Hour
	c.Events.Language, c.Events.SMTP.TLS = "pt", "starttls"
	return c
}

// Read reads the YAML file (none if path is empty), then the environment over it. It does not judge the values;
// Check does. Unknown keys and variables, repeated keys, a second document and wrong types are errors here. With such an error the Config
// has everything else, and its Check repeats the error beside what is wrong with the rest; it is nil where nothing of the file is known.
func Read(path string, environ []string) (*Config, error) {
	c := Standard()
	c.origin = map[string]string{}
	if path != "" {
		if err := c.readFile(path); err != nil {
			return nil, err
		}
	}
	values := c.variables(environ)
	c.unread.List = append(c.unread.List, c.unknownVariables(values)...)
	if err := env.ParseWithOptions(c, env.Options{Environment: values}); err != nil {
		c.unread.Take(c.envProblems(values, err))
	}
	if list, ok := values[timersVariable]; ok {
		names := splitList(list)
		c.Timers.Enabled = &names
		c.origin[timersVariable] = "environment"
	}
	for _, s := range c.settings() {
		if values[s.env] != "" {
			c.origin[s.env] = "environment"
		}
	}
	if c.Replica == "" {
		host, _ := os.Hostname()
		c.Replica = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	return c, c.unread.Err()
}

// timersVariable may be set to nothing, which means no timers at all.
const timersVariable = "ARAUTO_TIMERS_ENABLED"

func splitList(s string) []string {
	out := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// setting is one leaf of the configuration.
type setting struct {
	key, env string
	value    reflect.Value
}

// settings lists all leaves in the order they are declared in.
func (c *Config) settings() []setting {
	var out []setting
	var walk func(v reflect.Value, prefix, environment string)
	walk = func(v reflect.Value, prefix, environment string) {
		if v.Kind() != reflect.Struct {
			if environment == "-" {
				environment = timersVariable
			}
			out = append(out, setting{prefix, environment, v})
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, name := f.Tag.Get("yaml"), f.Tag.Get("env")
			switch {
			case key == "":
				continue
			case key == ",inline":
				walk(v.Field(i), prefix, f.Tag.Get("envPrefix"))
				continue
			case prefix != "":
				key = prefix + "." + key
			}
			switch {
			case f.Type == reflect.TypeFor[[]BrandSettings]():
				continue // they have no variables
			case f.Type.Kind() == reflect.Struct:
				name = environment + f.Tag.Get("envPrefix")
			case name != "-":
				name = environment + name
			}
			walk(v.Field(i), key, name)
		}
	}
	walk(reflect.ValueOf(c).Elem(), "", "")
	return out
}

// markYAML remembers which settings the file named.
func (c *Config) markYAML(text []byte) {
	var tree map[string]any
	if yaml.Unmarshal(text, &tree) != nil {
		return
	}
	for _, s := range c.settings() {
		node := any(tree)
		for part := range strings.SplitSeq(s.key, ".") {
			m, ok := node.(map[string]any)
			if !ok {
				node = nil
				break
			}
			node = m[part]
		}
		if node != nil {
			c.origin[s.env] = "file"
		}
	}
}

// Effective is one setting as it is in force.
type Effective struct {
	Key, Env, Value, Origin string
}

// Effective lists every setting with its value and where it came from; secrets are masked.
func (c *Config) Effective() []Effective {
	var out []Effective
	for _, s := range c.settings() {
		out = append(out, Effective{Key: s.key, Env: s.env, Value: s.text(), Origin: cmp.Or(c.origin[s.env], "default")})
	}
	return append(out, c.effectiveBrands()...)
}

// text is the value as it is shown, a secret masked.
func (s setting) text() string {
	v := s.value
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return strings.Join(ofb.KindNames(), ",")
		}
		v = v.Elem()
	}
	secret := descriptions[s.key].secret
	switch list := v.Interface().(type) {
	case string:
		return mask(list, secret)
	case []string:
		shown := make([]string, len(list))
		for i, one := range list {
			shown[i] = mask(one, secret)
		}
		return strings.Join(shown, ",")
	}
	text := strings.Trim(fmt.Sprint(v.Interface()), "[]")
	if v.Kind() == reflect.Slice {
		text = strings.ReplaceAll(text, " ", ",")
	}
	return text
}

// officialBase is the pattern that links.self must match (status-apis §1.9, LINK), for the host part.
var officialBase = regexp.MustCompile(`^https://[-a-zA-Z0-9@:%._+~#=]{2,256}\.[a-z]{2,6}(:[0-9]+)?$`)

// Check judges the settings of serve by themselves, without touching files or network, and reports every problem.
func (c *Config) Check() error { return c.judge().Err() }

func (c *Config) judge() *Problems {
	p := &Problems{List: slices.Clone(c.unread.List)}
	if c.Profile != Production && c.Profile != Development {
		p.Add("profile", "is %q", "use production or development", c.Profile)
	}
	c.checkRequired(p)
	c.checkBrands(p)
	c.checkAddresses(p)
	c.CheckWebhook(p)
	c.checkTrust(p)
	c.checkAnchors(p)
	c.checkEvents(p)
	c.checkLists(p)
	c.checkWatch(p)
	c.checkConsole(p)
	return p
}

// Problems collects what is wrong with the settings; List has one line for each problem. The zero value is ready to use.
type Problems struct {
	List []string
	keys []string // that Add was given
}

// Add says which key, what is wrong with it, and the cure. The args belong to wrong.
func (p *Problems) Add(key, wrong, cure string, args ...any) {
	p.keys = append(p.keys, key)
	p.List = append(p.List, fmt.Sprintf("%s: %s; %s", label(key), fmt.Sprintf(wrong, args...), cure))
}

// Err returns a *Error with all problems; nil when there are none.
func (p *Problems) Err() error {
	if len(p.List) == 0 {
		return nil
	}
	return &Error{p.List}
}

// Take adds the problems of an error; nil adds none.
func (p *Problems) Take(err error) {
	if err == nil {
		return
	}
	if c, ok := err.(*Error); ok { //nolint:errorlint // our own functions return it unwrapped
		p.List = append(p.List, c.Problems...)
		return
	}
	p.List = append(p.List, err.Error())
}

// File adds a problem with a file that a key names; nil adds none.
func (p *Problems) File(key string, err error) {
	if err != nil {
		p.List = append(p.List, fmt.Sprintf("%s: %v", label(key), err))
	}
}

// label is a key with its environment variable, if it has one.
func label(key string) string {
	if name := EnvName(key); name != key {
		return key + " (" + name + ")"
	}
	return key
}

// EnvName finds the environment variable of a key; the key itself when there is no such setting.
func EnvName(key string) string {
	for _, s := range (&Config{}).settings() {
		if s.key == key {
			return s.env
		}
	}
	return key
}

func (c *Config) checkRequired(p *Problems) {
	for _, s := range c.settings() {
		if descriptions[s.key].required && s.blank() && !c.misread(s.key) && !(len(c.Brands) > 0 && slices.Contains(ofOneBrand, s.key)) {
			p.Add(s.key, "is not set", "set it in the file or the environment")
		}
	}
	if len(c.Brands) == 0 {
		c.EachBrand()[0].checkIdentity(p, c.Profile)
	}
	if c.Log.Agent != "" && c.Log.Signer != "" {
		p.Add("log.signer", "and log.agent are both set", "name the process that has the log's key by one of them")
	}
	if (c.Log.Agent != "" || c.Log.Signer != "") && c.Log.Key == "" {
		p.Add("log.key", "is not set", "name the file of the public half of the key in log.agent or log.signer")
	} else if c.Log.Key == "" && c.Profile == Production {
		p.Add("log.key", "is not set", "name the file of the history's signing key; it seals the history")
	}
	slices.Sort(p.List)
}

func (c *Config) checkAddresses(p *Problems) {
	for key, value := range map[string]string{"public.addr": c.Public.Addr, "internal.addr": c.Internal.Addr, "ops.addr": c.Ops.Addr} {
		checkAddress(p, key, value)
	}
	if (c.Internal.TLSCert == "") != (c.Internal.TLSKey == "") {
		p.Add("internal.tls_cert", "and internal.tls_key go together", "set both or neither")
	}
	if host, _, err := net.SplitHostPort(c.Internal.Addr); err == nil && c.Internal.TLSCert == "" && !loopback(host) {
		p.Add("internal.addr", "is %q without a certificate", "listen on 127.0.0.1, or set internal.tls_cert and internal.tls_key", c.Internal.Addr)
	}
	if c.Public.MaxRate < 300 {
		p.Add("public.max_rate", "is %d", "use 300 or more: the rules demand 300 requests a second", c.Public.MaxRate)
	}
	if n := c.Public.HandshakesPerAddress; n < 0 || n > 8192 {
		p.Add("public.handshakes_per_address", "is %d", "use 1 to 8192, or 0 for half of all", n)
	}
	if strings.HasPrefix(c.Internal.JWKS, "http://") {
		p.Add("internal.jwks", "is read over plain http", "use an https:// URL or a path")
	}
}

func checkAddress(p *Problems, key, value string) {
	_, port, err := net.SplitHostPort(value)
	if _, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil {
		p.Add(key, "is %q", "write host:port or :port, with a port from 0 to 65535", value)
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// CheckWebhook judges the settings of the sender and of what it shares with dispatch, intake and history.
func (c *Config) CheckWebhook(p *Problems) {
	dev := c.Profile == Development
	if _, err := c.Allowed(); err != nil {
		p.Add("webhook.allow_networks", "%v", "write CIDRs, such as 127.0.0.0/8", err)
	}
	if len(c.Webhook.AllowNetworks) > 0 && !dev {
		p.Add("webhook.allow_networks", "is set", "remove it: only profile: development may dial private addresses")
	}
	if c.Webhook.Resolver != "" && !dev {
		p.Add("webhook.resolver", "is set", "remove it: it is for profile: development only")
	}
	if c.Webhook.Resolver != "" {
		if host, port, err := net.SplitHostPort(c.Webhook.Resolver); err != nil || host == "" || !isPort(port) {
			p.Add("webhook.resolver", "is %q", "write host:port, with a port from 1 to 65535", c.Webhook.Resolver)
		}
	}
	switch {
	case c.Webhook.Timeout < time.Second || c.Webhook.Timeout > notice.Timeout:
		p.Add("webhook.timeout", "is %s", "use 1s to 15s", c.Webhook.Timeout)
	case c.Webhook.Timeout != notice.Timeout && !dev:
		p.Add("webhook.timeout", "is %s", "use 15s, the rule's timeout; only profile: development may shorten it", c.Webhook.Timeout)
	}
	switch {
	case c.Dispatch.Lease <= c.Webhook.Timeout:
		p.Add("dispatch.lease", "is %s", "use a lease that exceeds webhook.timeout ("+c.Webhook.Timeout.String()+")", c.Dispatch.Lease)
	case c.Dispatch.Lease < 20*time.Second && !dev:
		p.Add("dispatch.lease", "is %s", "use 20s or more; only profile: development may use less", c.Dispatch.Lease)
	case c.Dispatch.Lease > 10*time.Minute:
		p.Add("dispatch.lease", "is %s", "use 10m or less: a lost attempt is rescued after its lease", c.Dispatch.Lease)
	}
	if len(c.Webhook.AllowPorts) == 0 || slices.Contains(c.Webhook.AllowPorts, 0) {
		p.Add("webhook.allow_ports", "is %v", "name ports from 1 to 65535; the default is 443", c.Webhook.AllowPorts)
	}
	for _, name := range c.Webhook.ASHeaders {
		if !headerName.MatchString(name) {
			p.Add("webhook.as_headers", "lists %q, which is no name of a header", "name "+ofb.HeaderAuthorizationServerID+", "+ofb.HeaderAuthorisationServerID+" or both", name)
		}
	}
	if c.Dispatch.Slots < 0 || c.Dispatch.Slots > 4096 {
		p.Add("dispatch.slots", "is %d", "use 1 to 4096, or 0 to derive it from memory and open files", c.Dispatch.Slots)
	}
	if c.Ingest.MaxInFlight < 1 || c.Ingest.MaxInFlight > 1<<16 {
		p.Add("ingest.max_in_flight", "is %d", "use 1 to 65536", c.Ingest.MaxInFlight)
	}
	if c.History.KeepYears < 5 || c.History.KeepYears > 50 {
		p.Add("history.keep_years", "is %d", "use 5 to 50: the history is kept for at least 5 years", c.History.KeepYears)
	}
	if days := c.History.EraseDocumentsDays; days != 0 && (days < 30 || days > 36525) {
		p.Add("history.erase_documents_days", "is %d", "use 30 to 36525, or 0 to keep documents", days)
	}
}

// checkLists judges what is done by itself: announcements, deadlines, reconciliation, verification.
func (c *Config) checkLists(p *Problems) {
	if _, err := ParseKinds(c.Announce.DirectAuthorised); err != nil {
		p.Add("announce.direct_authorised", "%v", "name kinds: payment-consent, recurring-consent", err)
	}
	if c.Timers.Enabled != nil {
		if _, err := ParseKinds(*c.Timers.Enabled); err != nil {
			p.Add("timers.enabled", "%v", "name kinds: "+strings.Join(ofb.KindNames(), ", "), err)
		}
	}
	if _, err := time.Parse("15:04", c.Reconcile.At); err != nil {
		p.Add("reconcile.at", "is %q", "write hours and minutes in Brasília's time, such as 03:30", c.Reconcile.At)
	}
	least := time.Minute
	if c.Profile == Development {
		least = time.Second
	}
	if c.Log.VerifyEvery < least || c.Log.VerifyEvery > 24*time.Hour {
		p.Add("log.verify_every", "is %v", "use "+least.String()+" to 24h", c.Log.VerifyEvery)
	}
	if c.Extension.MaxWaiting < 1 || c.Extension.MaxWaiting > 65536 {
		p.Add("extension.max_waiting", "is %d", "use 1 to 65536", c.Extension.MaxWaiting)
	}
	if c.Schema.UnknownMembers != "reject" && c.Schema.UnknownMembers != "keep" {
		p.Add("schema.unknown_members", "is %q", "use reject or keep", c.Schema.UnknownMembers)
	}
	if s := c.Schema.Nonconforming; s != "" && s != tellNonconforming && s != refuseNonconforming {
		p.Add("schema.nonconforming", "is %q", "use tell or refuse", s)
	}
	if _, err := ofb.ParseVersions(c.Schema.Versions); err != nil {
		p.Add("schema.versions", "%v", "declare at most one of each major version, such as automatic-payments/2.0.0", err)
	}
}

// The values of schema.nonconforming.
const (
	tellNonconforming   = "tell"
	refuseNonconforming = "refuse"
)

// TellNonconforming says whether a change is stored and told although its document breaks its schema. Where schema.nonconforming is
// not set it is in production, where nobody may be left untold, and not in development, where who builds a core wants to see the error.
func (c *Config) TellNonconforming() bool {
	if c.Schema.Nonconforming == "" {
		return c.Profile == Production
	}
	return c.Schema.Nonconforming == tellNonconforming
}

// DeclaredVersions are those of schema.versions; Check judges them.
func (c *Config) DeclaredVersions() ofb.Versions {
	versions, _ := ofb.ParseVersions(c.Schema.Versions)
	return versions
}

// ParseKinds reads names of kinds; the error names the first that is none.
func ParseKinds(names []string) ([]ofb.Kind, error) {
	var out []ofb.Kind
	for _, name := range names {
		k, err := ofb.ParseKind(name)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// Timed lists the kinds whose timers we fire; all of them unless the setting says otherwise (D-10).
func (c *Config) Timed() []ofb.Kind {
	if c.Timers.Enabled == nil {
		return ofb.Kinds()
	}
	kinds, _ := ParseKinds(*c.Timers.Enabled) // Check has judged it
	return kinds
}

// Allowed parses the development allow-list. The error names what is not a CIDR; there is none once Check has passed.
func (c *Config) Allowed() ([]netip.Prefix, error) { return prefixes(c.Webhook.AllowNetworks) }

// prefixes parses CIDRs. The error names the first that is none.
func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("%s is not a CIDR", strconv.Quote(s))
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// File is a path below the state directory.
func (c *Config) File(name string) string { return filepath.Join(c.StateDir, name) }

// AnchorFile is the file that checkpoints are added to.
func (c *Config) AnchorFile() string {
	return cmp.Or(c.Log.AnchorFile, c.File("checkpoints.txt"))
}
