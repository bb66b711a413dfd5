package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/lab/stage"
)

// secret is the password in the database's URL; it must never be shown.
const secret = "s3cr3t-w0rd"

// folder is a PKI on disk, as long as the test lasts.
func folder(t *testing.T) string {
	t.Helper()
	made, err := pki()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, made.Write(dir, certs.Content{}))
	return dir
}

// settings are what product.md's table names, as a bank's development machine would set them, with the PKI in a folder.
func settings(t *testing.T, dir, database string) map[string]string {
	t.Helper()
	made, err := pki()
	require.NoError(t, err)
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	return map[string]string{
		"ARAUTO_PROFILE": "development", "ARAUTO_DATABASE_URL": database,
		"ARAUTO_PUBLIC_ADDR": "127.0.0.1:0", "ARAUTO_PUBLIC_BASE_URL": "https://api.banco.example.com",
		"ARAUTO_PUBLIC_TLS_CERT": at("holder/server.pem"), "ARAUTO_PUBLIC_TLS_KEY": at("holder/server.key"), "ARAUTO_PUBLIC_CLIENT_CA": at("trust/clients.pem"),
		"ARAUTO_INTERNAL_ADDR": "127.0.0.1:0", "ARAUTO_INTERNAL_JWKS": at("internal/jwks.json"),
		"ARAUTO_INTERNAL_ISSUER": stage.InternalIssuer, "ARAUTO_INTERNAL_AUDIENCE": stage.InternalAudience, "ARAUTO_OPS_ADDR": "127.0.0.1:0",
		"ARAUTO_ORGANISATION_ID": made.Options().Holder.ID, "ARAUTO_AUTHORISATION_SERVER_ID": stage.AuthorisationServerID,
		"ARAUTO_SIGNING_KEY": at("holder/brseal.key"), "ARAUTO_SIGNING_KID": certs.SealKID,
		"ARAUTO_TOKENS_ISSUER": stage.TokensIssuer, "ARAUTO_TOKENS_AUDIENCE": stage.TokensAudience, "ARAUTO_TOKENS_JWKS": at("tokens/jwks.json"),
		"ARAUTO_DIRECTORY_JWKS":   at("directory/jwks.json"),
		"ARAUTO_WEBHOOK_TLS_CERT": at("holder/brcac.pem"), "ARAUTO_WEBHOOK_TLS_KEY": at("holder/brcac.key"), "ARAUTO_WEBHOOK_ROOT_CA": at("trust/roots.pem"),
		"ARAUTO_WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8", "ARAUTO_WEBHOOK_TIMEOUT": "15s",
	}
}

func environ(env map[string]string) []string {
	out := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out
}

// broken is one way to get the configuration wrong.
type broken struct {
	name  string
	set   map[string]string // over the good settings; "" takes one away
	files map[string]string // name below the folder → content
	yaml  string            // a configuration file
	key   string            // the setting that must be named
	why   string            // part of the reason
}

// variables are those whose names are not just their key's in capitals.
var variables = map[string]string{"holder.organisation_id": "ARAUTO_ORGANISATION_ID", "holder.authorisation_server_id": "ARAUTO_AUTHORISATION_SERVER_ID"}

func variable(key string) string {
	if name, ok := variables[key]; ok {
		return name
	}
	return "ARAUTO_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// brokenOnes are ways to get it wrong, in the order of the table of settings. DIR stands for the folder of the PKI, OWN for the case's.
func brokenOnes() []broken {
	var out []broken
	for _, key := range []string{
		"database.url", "public.base_url", "public.tls_cert", "public.tls_key", "public.client_ca", "internal.jwks", "internal.issuer", "internal.audience",
		"holder.organisation_id", "holder.authorisation_server_id", "signing.key", "signing.kid", "tokens.jwks", "webhook.tls_cert", "webhook.tls_key",
		"webhook.root_ca",
	} {
		out = append(out, broken{name: "no " + key, set: map[string]string{variable(key): ""}, key: key, why: "is not set"})
	}
	one := func(name, key, value, why string) {
		out = append(out, broken{name: name, set: map[string]string{variable(key): value}, key: key, why: why})
	}
	one("a database of another make", "database.url", "mysql://arauto:"+secret+"@127.0.0.1/x", "postgres://")
	one("a database URL that is none", "database.url", "postgres://arauto:"+secret+"@127.0.0.1:port/x", "postgres://")
	one("an address without a port", "public.addr", "127.0.0.1", "host:port")
	one("an address that is none", "ops.addr", "nonsense", "host:port")
	one("a port out of range", "ops.addr", "127.0.0.1:70000", "65535")
	one("a port with a name nobody knows", "public.addr", "127.0.0.1:arauto-port", "65535")
	one("plain HTTP for everybody", "internal.addr", "0.0.0.0:0", "without a certificate")
	one("plain HTTP on all addresses", "internal.addr", ":0", "without a certificate")
	one("a base URL without TLS", "public.base_url", "http://api.banco.example.com", "https://")
	one("a base URL with a path", "public.base_url", "https://api.banco.example.com/path", "without a path")
	one("a base URL with a user", "public.base_url", "https://u@api.banco.example.com", "host name")
	one("a base URL of localhost", "public.base_url", "https://localhost", "host name")
	one("half a certificate", "internal.tls_cert", "DIR/holder/server.pem", "go together")
	one("a certificate that is not there", "public.tls_cert", "DIR/absent.pem", "no such file")
	one("a key where a certificate belongs", "public.tls_cert", "DIR/holder/server.key", "certificate")
	one("authorities that are not there", "public.client_ca", "DIR/absent.pem", "no such file")
	one("authorities that are a key", "public.client_ca", "DIR/holder/server.key", "certificate")
	one("a receiver's root that is no authority", "webhook.root_ca", "DIR/holder/server.pem", "authority")
	one("keys that are not there", "internal.jwks", "DIR/absent.json", "no such file")
	one("keys over plain http", "tokens.jwks", "http://auth.banco.example.com/jwks", "https://")
	one("keys that are no key set", "tokens.jwks", "DIR/holder/server.pem", "key set")
	one("a signing key that is not there", "signing.key", "DIR/absent.key", "no such file")
	one("a signing key that is a certificate", "signing.key", "DIR/holder/server.pem", "key")
	one("tokens of no issuer", "tokens.issuer", "", "together")
	one("a network that is none", "webhook.allow_networks", "127.0.0.1/99", "CIDR")
	one("a timeout over the rule's", "webhook.timeout", "16s", "15s")
	one("a timeout under a second", "webhook.timeout", "10ms", "1s")
	one("a timeout without a unit", "webhook.timeout", "15", "duration")
	one("a lease as short as the timeout", "dispatch.lease", "15s", "exceed")
	one("a lease of an hour", "dispatch.lease", "1h", "10m")
	one("slots that are no number", "dispatch.slots", "many", "number")
	one("more slots than there may be", "dispatch.slots", "5000", "4096")
	one("a header's name with a space", "webhook.as_headers", "x authorization-server-id", "name of a header")
	one("a header's value with a space", "holder.authorisation_server_id", "as 1", "visible")
	one("no port to dial", "webhook.allow_ports", "0", "65535")
	one("a port to dial that is none", "webhook.allow_ports", "https", "number")
	one("a resolver without a port", "webhook.resolver", "127.0.0.1", "host:port")
	one("a resolver with an empty port", "webhook.resolver", "127.0.0.1:", "host:port")
	one("a resolver without a host", "webhook.resolver", ":53", "host:port")
	one("a profile nobody knows", "profile", "staging", "development")
	one("a kind nobody knows", "timers.enabled", "payment-consent,boleto", "boleto")
	one("an announcement of a kind nobody knows", "announce.direct_authorised", "boleto", "boleto")
	one("a way to treat unknown members nobody knows", "schema.unknown_members", "ignore", "reject")
	one("a fate nobody knows for documents that do not conform", "schema.nonconforming", "keep", "refuse")
	one("a history too short", "history.keep_years", "4", "5 years")
	one("a rate under the rule's", "public.max_rate", "299", "300")
	one("no change at a time", "ingest.max_in_flight", "-1", "65536")
	one("resend neither on nor off", "resend.enabled", "perhaps", "true or false")
	production := func(name, key string, set map[string]string, why string) {
		set["ARAUTO_PROFILE"] = "production"
		if _, there := set["ARAUTO_WEBHOOK_ALLOW_NETWORKS"]; !there {
			set["ARAUTO_WEBHOOK_ALLOW_NETWORKS"] = ""
		}
		out = append(out, broken{name: name, set: set, key: key, why: why})
	}
	production("inside addresses in production", "webhook.allow_networks", map[string]string{"ARAUTO_WEBHOOK_ALLOW_NETWORKS": "10.0.0.0/8"}, "development")
	production("a resolver in production", "webhook.resolver", map[string]string{"ARAUTO_WEBHOOK_RESOLVER": "127.0.0.1:53"}, "development")
	production("a shorter timeout in production", "webhook.timeout", map[string]string{"ARAUTO_WEBHOOK_TIMEOUT": "2s"}, "development")
	production("a shorter lease in production", "dispatch.lease", map[string]string{"ARAUTO_DISPATCH_LEASE": "16s"}, "development")
	production("no directory in production", "directory.jwks", map[string]string{"ARAUTO_DIRECTORY_JWKS": ""}, "is not set")
	return append(out,
		broken{name: "a key file others can read", files: map[string]string{"open.key": "-"}, set: map[string]string{"ARAUTO_SIGNING_KEY": "OWN/open.key"}, key: "signing.key", why: "chmod 600"},
		broken{name: "an empty key file", files: map[string]string{"empty.key": ""}, set: map[string]string{"ARAUTO_WEBHOOK_TLS_KEY": "OWN/empty.key"}, key: "webhook.tls_key", why: "empty.key"},
		broken{name: "a key of the internal listener that others can read", files: map[string]string{"open.key": "-"}, set: map[string]string{"ARAUTO_INTERNAL_TLS_CERT": "DIR/holder/server.pem", "ARAUTO_INTERNAL_TLS_KEY": "OWN/open.key"}, key: "internal.tls_key", why: "chmod 600"},
		broken{name: "a next key that is not there", set: map[string]string{"ARAUTO_SIGNING_NEXT_KEY": "OWN/absent.key", "ARAUTO_SIGNING_NEXT_KID": "next"}, key: "signing.next_key", why: "no such file"},
		broken{name: "a key of another certificate", set: map[string]string{"ARAUTO_PUBLIC_TLS_KEY": "DIR/holder/brcac.key"}, key: "public.tls_cert", why: "brcac.key"},
		broken{name: "a webhook key of another certificate", set: map[string]string{"ARAUTO_WEBHOOK_TLS_KEY": "DIR/holder/server.key"}, key: "webhook.tls_cert", why: "server.key"},
		broken{name: "a setting nobody knows", yaml: "webhook:\n  insecure: true\n", key: "insecure", why: "not found"},
		broken{name: "a group nobody knows", yaml: "kafka: {}\n", key: "kafka", why: "not found"},
		broken{name: "a second document", yaml: "profile: development\n---\nwebhook:\n  insecure: true\n", key: "arauto.yaml", why: "second document"},
		broken{name: "a setting twice", yaml: "profile: development\nprofile: production\n", key: "profile", why: "already"},
		broken{name: "a list where a text belongs", yaml: "database:\n  url: [1, 2]\n", key: "database.url", why: "string"},
		broken{name: "a text where a number belongs", yaml: "dispatch:\n  slots: " + secret + "\n", key: "dispatch.slots", why: "number"},
		broken{name: "a file that is no YAML", yaml: "profile: [\n", key: "arauto.yaml", why: "yaml"},
	)
}

// write puts the case's files in place and returns environment and arguments.
func (b broken) write(t *testing.T, pki string) (env []string, args []string, state string) {
	t.Helper()
	set, dir := settings(t, pki, "postgres://arauto:"+secret+"@127.0.0.1:1/arauto"), t.TempDir()
	for name, content := range b.files {
		mode := os.FileMode(0o600)
		if content == "-" { // a good key, with too many readers
			good, err := os.ReadFile(filepath.Join(pki, "holder", "brseal.key"))
			require.NoError(t, err)
			content, mode = string(good), 0o644
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), mode))
		require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	for name, value := range b.set {
		set[name] = strings.NewReplacer("DIR", pki, "OWN", dir).Replace(value)
	}
	state = filepath.Join(dir, "state")
	set["ARAUTO_STATE_DIR"] = state
	if b.yaml != "" {
		file := filepath.Join(dir, "arauto.yaml")
		require.NoError(t, os.WriteFile(file, []byte(b.yaml), 0o600))
		args = []string{"--config", file}
	}
	return environ(set), args, state
}

// TestABrokenConfigurationIsRefusedAtOnceInOneLine is case P1: exit code 2 within 2 s, one line that names the key, its
// variable and the reason; nothing listens, no secret is shown; `check` says the same and touches nothing.
func TestABrokenConfigurationIsRefusedAtOnceInOneLine(t *testing.T) {
	cases := brokenOnes()
	require.GreaterOrEqual(t, len(cases), 50)
	pki := folder(t)
	for _, b := range cases {
		t.Run(b.name, func(t *testing.T) {
			env, args, state := b.write(t, pki)
			served := call(t, 15*time.Second, env, append([]string{"serve"}, args...)...)
			require.Equal(t, usage, served.code, "%s%s", served.out, served.errors)
			require.Less(t, served.took, 2*time.Second)
			require.NotContains(t, served.out, `"listening"`)
			line := lineAbout(served.errors, b.key)
			require.NotEmpty(t, line, "no line names %s:\n%s", b.key, served.errors)
			require.Contains(t, line, b.why)
			if strings.Contains(b.key, ".") && b.yaml == "" {
				require.Contains(t, line, variable(b.key))
			}

			require.NoError(t, os.RemoveAll(state))
			checked := call(t, 8*time.Second, env, append([]string{"check"}, args...)...)
			require.Equal(t, usage, checked.code, "%s%s", checked.out, checked.errors)
			require.Contains(t, checked.errors, line, "check does not say what serve says")
			require.NoDirExists(t, state, "check made a folder")
			require.NotContains(t, served.out+served.errors+checked.out+checked.errors, secret)
		})
	}
}

// lineAbout finds the line that names a key.
func lineAbout(text, key string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, key) {
			return line
		}
	}
	return ""
}

// TestCheckSaysAllThatIsWrongAtOnce: a misspelled key of the file kept everything else from being looked at.
func TestCheckSaysAllThatIsWrongAtOnce(t *testing.T) {
	pki := folder(t)
	set := settings(t, pki, "postgres://arauto:"+secret+"@127.0.0.1:1/arauto")
	unheard := "ARAUTO_" + "UNHEARD"
	set[unheard], set["ARAUTO_DISPATCH_SLOTS"], set["ARAUTO_SIGNING_KEY"] = "1", "many", filepath.Join(pki, "absent.key")
	delete(set, "ARAUTO_OPS_ADDR")
	file := filepath.Join(t.TempDir(), "arauto.yaml")
	require.NoError(t, os.WriteFile(file, []byte("webhok: {}\nops:\n  addr: nonsense\nhistory:\n  keep_years: 4\n"), 0o600))
	checked := call(t, 8*time.Second, environ(set), "check", "--offline", "--config", file)
	require.Equal(t, usage, checked.code, checked.errors)
	for _, wrong := range []string{
		"field webhok not found", unheard + ": no setting has this variable", "dispatch.slots (ARAUTO_DISPATCH_SLOTS): cannot be read",
		`ops.addr (ARAUTO_OPS_ADDR): is "nonsense"`, "history.keep_years (ARAUTO_HISTORY_KEEP_YEARS): is 4", "signing.key (ARAUTO_SIGNING_KEY): ",
	} {
		require.Contains(t, checked.errors, wrong)
	}
	require.Regexp(t, `ops\.addr +nonsense +ARAUTO_OPS_ADDR +\(file\)`, checked.out)
	require.NotContains(t, checked.out, "check: ok")
	require.NotContains(t, checked.out+checked.errors, secret)
}
