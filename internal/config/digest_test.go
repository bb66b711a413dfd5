package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheDigestIsOfSettingsAndOfNoSecret: replicas with the same settings have the same, and a password changes nothing in it.
func TestTheDigestIsOfSettingsAndOfNoSecret(t *testing.T) {
	of := func(change func(*Config)) string {
		c := Standard()
		c.Database.URL = "postgres://a:s3cr3t@db/x"
		change(c)
		return c.Digest()
	}
	same := of(func(*Config) {})
	require.Len(t, same, 64)
	require.Equal(t, same, of(func(c *Config) { c.Replica = "other" }))
	require.Equal(t, same, of(func(c *Config) { c.Database.URL = "postgres://a:other@db/x" }))
	require.NotEqual(t, same, of(func(c *Config) { c.Database.URL = "postgres://a:s3cr3t@other/x" }))
	hook := func(url string) string { return of(func(c *Config) { c.Events.WebhookURL = url }) }
	require.Equal(t, hook("https://hooks.bank.example/s3cr3t"), hook("https://tok3n@hooks.bank.example/other?key=1"), "nobody can guess its path by it")
	require.NotEqual(t, hook("https://hooks.bank.example/s3cr3t"), hook("https://other.bank.example/s3cr3t"))
	require.NotEqual(t, same, of(func(c *Config) { c.Ingest.MaxInFlight++ }))
	require.NotEqual(t, of(func(c *Config) { c.StateDir = "/a\npublic.addr=:1" }), of(func(c *Config) { c.StateDir, c.Public.Addr = "/a", ":1" }))
}

func TestChangedSettingsAreThoseThatAreNotTheDefaultsAndMasked(t *testing.T) {
	c, err := Read("", []string{"ARAUTO_REPLICA=a", "ARAUTO_DATABASE_URL=postgres://a:s3cr3t@db/x", "ARAUTO_WEBHOOK_TIMEOUT=15s", "ARAUTO_INGEST_MAX_IN_FLIGHT=17"})
	require.NoError(t, err)
	require.Equal(t, []Effective{
		{Key: "database.url", Env: "ARAUTO_DATABASE_URL", Value: "postgres://a:xxxxx@db/x", Origin: "environment"},
		{Key: "ingest.max_in_flight", Env: "ARAUTO_INGEST_MAX_IN_FLIGHT", Value: "17", Origin: "environment"},
	}, c.Changed())
}

// TestWhatProductionRefusesIsLoosened compares with what Check says of the same settings in production.
func TestWhatProductionRefusesIsLoosened(t *testing.T) {
	c := Standard()
	c.Profile = Development
	before := c.Loosened()
	require.Contains(t, before, "directory.jwks", "no key set of the Directory")
	require.NotContains(t, before, "webhook.allow_networks")
	c.Webhook.AllowNetworks, c.Webhook.Timeout, c.Console.Addr = []string{"127.0.0.0/8"}, time.Second, "127.0.0.1:1"
	require.Subset(t, c.Loosened(), append(before, "webhook.allow_networks", "webhook.timeout", "console.tls_cert", "console.oidc.issuer"))
	require.Equal(t, Development, c.Profile)
}

// TestAnOrdinaryStartOfProductionHasNothingLoosened: a list that is never empty would teach nobody to look. The file is the sample for machines.
func TestAnOrdinaryStartOfProductionHasNothingLoosened(t *testing.T) {
	c, err := Read("../../docs/operations/deploy/arauto.yaml", []string{
		"ARAUTO_CONSOLE_ADDR=127.0.0.1:8080", "ARAUTO_CONSOLE_BASE_URL=https://arauto.banco.example.com",
		"ARAUTO_CONSOLE_OIDC_ISSUER=https://sso.banco.example.com", "ARAUTO_CONSOLE_OIDC_CLIENT_ID=arauto",
	})
	require.NoError(t, err)
	c.Internal.Addr, c.Internal.TLSCert, c.Internal.TLSKey = Standard().Internal.Addr, "", ""
	require.NoError(t, c.Check())
	require.Equal(t, []string{}, c.Loosened())
	c.Console.BaseURL = "http://127.0.0.1:8080"
	require.Equal(t, []string{"console.tls_cert"}, c.Loosened())
}

func TestURLsInATextAreMaskedAsSettingsAre(t *testing.T) {
	require.Equal(t, `fetch the list https://ca.example/x?xxxxx Get "http://xxxxx@ca.example/y?xxxxx": refused, https://xxxxx@ca.example/z /a/file`,
		MaskURLs(`fetch the list https://ca.example/x?token=s3cr3t: Get "http://a:s3cr3t@ca.example/y?token=s3cr3t": refused, HTTPS://s3cr3t@ca.example/z /a/file`))
	require.Equal(t, "http://ca.example/x?xxxxx", MaskURLs("http://ca.example/x?key=s3cr3t's3cr3t"))
}
