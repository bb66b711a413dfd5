package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/config"
)

// problemsOf are the problems of settings that tell of a key.
func problemsOf(t *testing.T, key string, change func(*config.Config)) []string {
	t.Helper()
	c := config.Standard()
	change(c)
	var about *config.Error
	require.ErrorAs(t, c.Check(), &about)
	var out []string
	for _, p := range about.Problems {
		if len(p) > len(key) && p[:len(key)] == key {
			out = append(out, p)
		}
	}
	return out
}

func TestHowAGrantIsKnownIsAClosedList(t *testing.T) {
	for grant, c := range map[string]struct{ profile, want string }{
		"claim":         {config.Production, ""},
		"subject":       {config.Production, ""},
		"introspection": {config.Production, "is introspection, and tokens.introspection_url is not set"},
		"unchecked":     {config.Production, "only profile: development may leave the grant unchecked"},
		"guess":         {config.Production, `is "guess"; use claim, subject or introspection`},
		"":              {config.Development, `is ""; use claim, subject or introspection`},
	} {
		got := problemsOf(t, "tokens.grant (", func(cfg *config.Config) { cfg.Profile, cfg.Tokens.Grant = c.profile, grant })
		if c.want == "" {
			require.Empty(t, got, grant)
			continue
		}
		require.Len(t, got, 1, grant)
		require.Contains(t, got[0], c.want)
		require.Contains(t, got[0], "ARAUTO_TOKENS_GRANT")
	}
	require.Empty(t, problemsOf(t, "tokens.grant (", func(cfg *config.Config) { cfg.Profile, cfg.Tokens.Grant = config.Development, "unchecked" }))
	require.Empty(t, problemsOf(t, "tokens.grant (", func(cfg *config.Config) {
		cfg.Tokens.Grant, cfg.Tokens.IntrospectionURL = "introspection", "https://as.bank.example/introspect"
	}))
	require.Equal(t, "claim", config.Standard().Tokens.Grant)
}

func TestProxiesAndBalancersAreNamedAsTheyAreKnown(t *testing.T) {
	got := problemsOf(t, "public.proxy_preset (", func(c *config.Config) {
		c.Public.ProxyCA, c.Public.ProxySubjectOrg, c.Public.ProxyPreset = "ca.pem", "Bank", "squid"
	})
	require.Len(t, got, 1)
	require.Contains(t, got[0], "use one of aws-alb, envoy, haproxy, nginx, rfc9440, traefik")
	require.Len(t, problemsOf(t, "public.proxy_ca (", func(c *config.Config) { c.Public.ProxyPreset = "nginx" }), 1, "a preset without the proxy's authority")

	got = problemsOf(t, "public.proxy_protocol (", func(c *config.Config) { c.Public.ProxyProtocol = []string{"10.0.4.0/24", "10.0.5.1"} })
	require.Len(t, got, 1)
	require.Contains(t, got[0], `"10.0.5.1" is not a CIDR`)
	c := config.Standard()
	c.Public.ProxyProtocol = []string{"10.0.4.7/24", " fd00::/8"}
	networks, err := c.Public.Balancers()
	require.NoError(t, err)
	require.Equal(t, "10.0.4.0/24", networks[0].String())
	require.Equal(t, "fd00::/8", networks[1].String())
}
