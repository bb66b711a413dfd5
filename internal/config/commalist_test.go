package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
)

// TestAListMayBeOneTextWithCommas: the contract calls timers.enabled a comma list, and a file that had one was refused.
func TestAListMayBeOneTextWithCommas(t *testing.T) {
	read := func(text string) (*config.Config, error) {
		file := filepath.Join(t.TempDir(), "arauto.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return config.Read(file, nil)
	}
	c, err := read(`timers: {enabled: "pix-payment, enrollment"}
announce: {direct_authorised: 'payment-consent,recurring-consent'} # as in the contract
public: {crl: "é.crl,b.crl", proxy_fingerprints: [a, b]}
webhook:
  allow_ports: 443,8443
  allow_networks: 10.0.0.0/8, 192.0.2.0/24 # a comment stays one
  as_headers: x-one
console: {four_eyes: resend, oidc: {acr_values: "a,b"}}
events: {smtp: {to: "a@b.example,c@d.example"}}
schema:
  versions:
    - payments/5.0.0
brands:
  - {name: a, public: {server_names: "a.example,b.example"}}
`)
	require.NoError(t, err)
	require.Equal(t, []string{"pix-payment", "enrollment"}, *c.Timers.Enabled)
	require.Equal(t, []string{"payment-consent", "recurring-consent"}, c.Announce.DirectAuthorised)
	require.Equal(t, []string{"é.crl", "b.crl"}, c.Public.CRL)
	require.Equal(t, []string{"a", "b"}, c.Public.ProxyFingerprints)
	require.Equal(t, []uint16{443, 8443}, c.Webhook.AllowPorts)
	require.Equal(t, []string{"10.0.0.0/8", "192.0.2.0/24"}, c.Webhook.AllowNetworks)
	require.Equal(t, []string{"x-one"}, c.Webhook.ASHeaders)
	require.Equal(t, []string{"resend"}, c.Console.FourEyes)
	require.Equal(t, []string{"a", "b"}, c.Console.OIDC.ACRValues)
	require.Equal(t, []string{"a@b.example", "c@d.example"}, c.Events.SMTP.To)
	require.Equal(t, []string{"payments/5.0.0"}, c.Schema.Versions)
	require.Equal(t, []string{"a.example", "b.example"}, c.Brands[0].Public.ServerNames)

	for _, none := range []string{`timers: {enabled: ""}`, `timers: {enabled: []}`} {
		c, err = read(none)
		require.NoError(t, err)
		require.Equal(t, []string{}, *c.Timers.Enabled, "no timers at all")
	}
	c, err = read("timers:\n  enabled:\n")
	require.NoError(t, err)
	require.Nil(t, c.Timers.Enabled, "not set")
	for _, wrong := range []string{"webhook: {allow_ports: \"443,x\"}", "webhook: {allow_ports: 70000}"} {
		_, err = read(wrong)
		require.ErrorContains(t, err, "a list of numbers from 0 to 65535", wrong)
	}
}
