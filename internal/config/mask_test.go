package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoFormOfAPasswordIsShown goes through every place of a setting where the client library of the database, or another server,
// takes a secret from.
func TestNoFormOfAPasswordIsShown(t *testing.T) {
	const secret = "s3cr3t"
	for given, shown := range map[string]string{
		"postgres://a:s3cr3t@db/x":                                       "postgres://a:xxxxx@db/x",
		"postgres://a@db/x?password=s3cr3t&sslmode=verify-full":          "postgres://a@db/x?password=xxxxx&sslmode=verify-full",
		"postgresql://a@db/x?sslmode=require&pass%77ord=s3cr3t":          "postgresql://a@db/x?password=xxxxx&sslmode=require",
		"postgres://a@db/x?sslpassword=s3cr3t":                           "postgres://a@db/x?sslpassword=xxxxx",
		"postgres://a@db/x?password=1&password=s3cr3t":                   "postgres://a@db/x?password=xxxxx",
		"postgres://a@db/x?password=s3cr3t;sslmode=disable":              "postgres://a@db/x?xxxxx",
		"postgres://a@db1,db2:5432/x?target_session_attrs=read-write":    "postgres://a@db1,db2:5432/x?target_session_attrs=read-write",
		"mysql://a:s3cr3t@db/x?password=s3cr3t":                          "mysql://db/xxxxx",
		"host=db user=a password=s3cr3t dbname=x":                        "host=db user=a password=xxxxx dbname=x",
		`host=db password = 'it\'s s3cr3t' sslmode=require`:              "host=db password=xxxxx sslmode=require",
		"host=db PASSWORD=s3cr3t":                                        "host=db PASSWORD=xxxxx",
		"postgres://a:s3cr3t@db:port/x":                                  "(not a URL)",
		"postgres://a:s3cr3t@db/x?application_name=core&passfile=/etc/p": "postgres://a:xxxxx@db/x?application_name=core&passfile=/etc/p",
	} {
		c := Standard()
		c.Database.URL = given
		for _, e := range c.Effective() {
			require.NotContains(t, e.Value, secret, given)
			if e.Key == "database.url" {
				require.Equal(t, shown, e.Value)
			}
		}
	}
	c := Standard()
	c.Internal.JWKS = "https://sso.bank.example/jwks?token=s3cr3t"
	c.Log.AnchorURL = "https://anchors.bank.example:8443/s3cr3t"
	c.Events.WebhookURL = "https://s3cr3t@hooks.bank.example/in/s3cr3t?access_token=s3cr3t&to=noc"
	c.Public.CRL = []string{"http://crl.example/a.crl", "http://crl.example/b.crl?key=s3cr3t", "https://s3cr3t@crl.example/c.crl", "https://s3cr3t:@crl.example/d.crl"}
	values := map[string]string{}
	for _, e := range c.Effective() {
		require.NotContains(t, e.Value, secret, e.Key)
		values[e.Key] = e.Value
	}
	require.Equal(t, "https://sso.bank.example/jwks?xxxxx", values["internal.jwks"])
	require.Equal(t, "https://anchors.bank.example:8443/xxxxx", values["log.anchor_url"])
	require.Equal(t, "https://hooks.bank.example/xxxxx", values["events.webhook_url"])
	require.Equal(t, "http://crl.example/a.crl,http://crl.example/b.crl?xxxxx,https://xxxxx@crl.example/c.crl,https://xxxxx@crl.example/d.crl", values["public.crl"])

	for given, shown := range map[string]string{
		"": "", "https://hooks.bank.example": "https://hooks.bank.example", "https://hooks.bank.example/": "https://hooks.bank.example", "https:/hooks.bank.example/in?k=s3cr3t": "xxxxx", "s3cr3t": "xxxxx",
	} {
		require.Equal(t, shown, mask(given, true), given)
	}
}
