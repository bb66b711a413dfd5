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
		"mysql://a:s3cr3t@db/x?password=s3cr3t":                          "mysql://a:xxxxx@db/x?xxxxx",
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
	c.Log.AnchorURL = "https://arauto:s3cr3t@anchors.bank.example/"
	c.Events.WebhookURL = "https://hooks.bank.example/in?access_token=s3cr3t&to=noc"
	c.Public.CRL = []string{"http://crl.example/a.crl", "http://crl.example/b.crl?key=s3cr3t"}
	values := map[string]string{}
	for _, e := range c.Effective() {
		require.NotContains(t, e.Value, secret, e.Key)
		values[e.Key] = e.Value
	}
	require.Equal(t, "https://sso.bank.example/jwks?xxxxx", values["internal.jwks"])
	require.Equal(t, "https://arauto:xxxxx@anchors.bank.example/", values["log.anchor_url"])
	require.Equal(t, "https://hooks.bank.example/in?xxxxx", values["events.webhook_url"])
	require.Equal(t, "http://crl.example/a.crl,http://crl.example/b.crl?xxxxx", values["public.crl"])
}
