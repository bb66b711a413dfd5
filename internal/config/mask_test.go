package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSecretsInAddressesAreNotShown: the console shows settings to operators and auditors.
func TestSecretsInAddressesAreNotShown(t *testing.T) {
	for raw, want := range map[string]string{
		"":                               "",
		"postgres://arauto:pw@db/arauto": "postgres://arauto:xxxxx@db/arauto",
		"postgres://db/arauto?user=arauto&password=pw&sslmode=disable": "postgres://db/arauto?password=xxxxx&sslmode=disable&user=arauto",
		"postgres://arauto@db/arauto?sslmode=verify-full&pool=4":       "postgres://arauto@db/arauto?sslmode=verify-full&pool=4",
		"https://hooks.bank.example/in?access_token=pw&to=noc":         "https://hooks.bank.example/in?access_token=xxxxx&to=noc",
		"https://hooks.bank.example/in?sig=pw;x":                       "https://hooks.bank.example/in?xxxxx",
		"host=db user=arauto password=pw":                              "(not a URL)",
		"https://hooks.bank.example/%zz?token=pw":                      "(not a URL)",
	} {
		require.Equal(t, want, maskURL(raw))
	}
	c := Standard()
	c.Log.AnchorURL, c.Events.WebhookURL = "https://a:pw@anchor.example/", "https://hook.example/?token=pw"
	for _, e := range c.Effective() {
		require.NotContains(t, e.Value, "pw", e.Key)
	}
}
