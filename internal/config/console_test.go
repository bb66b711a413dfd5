package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// judged is what is wrong with the settings of a console that is right but for one change.
func judged(profile string, change func(*ConsoleSettings)) string {
	c := Standard()
	c.Profile = profile
	c.Console.Addr, c.Console.BaseURL = "127.0.0.1:9643", "https://arauto.bank.example"
	c.Console.OIDC.Issuer, c.Console.OIDC.ClientID = "https://id.bank.example/realms/staff", "arauto"
	change(&c.Console)
	p := &Problems{}
	c.checkConsole(p)
	return strings.Join(p.List, "\n")
}

func TestTheConsolesSettingsAreJudged(t *testing.T) {
	require.Empty(t, judged(Production, func(*ConsoleSettings) {}))
	require.Empty(t, judged(Production, func(c *ConsoleSettings) { *c = ConsoleSettings{} }), "without an address there is no console")
	require.Empty(t, judged(Development, func(c *ConsoleSettings) { c.OIDC.Issuer, c.BaseURL = "", "" }), "development signs in by link")
	for want, change := range map[string]func(*ConsoleSettings){
		"console.oidc.issuer (ARAUTO_CONSOLE_OIDC_ISSUER): is not set":       func(c *ConsoleSettings) { c.OIDC.Issuer = "" },
		"console.oidc.client_id (ARAUTO_CONSOLE_OIDC_CLIENT_ID): is not set": func(c *ConsoleSettings) { c.OIDC.ClientID = "" },
		"console.base_url (ARAUTO_CONSOLE_BASE_URL): is not set":             func(c *ConsoleSettings) { c.BaseURL = "" },
		"console.base_url (ARAUTO_CONSOLE_BASE_URL): is \"https://a.b/c\"":   func(c *ConsoleSettings) { c.BaseURL = "https://a.b/c" },
		"console.oidc.issuer (ARAUTO_CONSOLE_OIDC_ISSUER): is \"http://id":   func(c *ConsoleSettings) { c.OIDC.Issuer = "http://id.bank.example" },
		"console.addr (ARAUTO_CONSOLE_ADDR): is \"9643\"":                    func(c *ConsoleSettings) { c.Addr = "9643" },
		"console.addr (ARAUTO_CONSOLE_ADDR): is \":9643\" without":           func(c *ConsoleSettings) { c.Addr = ":9643" },
		"console.tls_cert (ARAUTO_CONSOLE_TLS_CERT): and console.tls_key":    func(c *ConsoleSettings) { c.TLSCert = "cert.pem" },
		"console.four_eyes (ARAUTO_CONSOLE_FOUR_EYES): lists \"dance\"":      func(c *ConsoleSettings) { c.FourEyes = []string{"resend", "dance"} },
		"console.four_eyes (ARAUTO_CONSOLE_FOUR_EYES): lists \"none\"":       func(c *ConsoleSettings) { c.FourEyes = []string{"resend", "none"} },
	} {
		require.Contains(t, judged(Production, change), want)
	}
}

func TestWhetherBrowsersComeByTLS(t *testing.T) {
	for base, want := range map[string]bool{"https://arauto.bank.example": true, "HTTPS://arauto.bank.example": true, "http://127.0.0.1:9643": false, "": false} {
		require.Equal(t, want, (&ConsoleSettings{BaseURL: base}).ByTLS(), base)
		require.True(t, (&ConsoleSettings{BaseURL: base, TLSCert: "console.pem"}).ByTLS(), base)
	}
}

func TestWhichActsWaitForASecondPerson(t *testing.T) {
	for _, c := range []struct {
		profile   string
		set, want []string
	}{
		{Production, nil, []string{"resend", "hold"}},
		{Development, nil, nil},
		{Production, []string{"none"}, nil},
		{Development, []string{"source"}, []string{"source"}},
	} {
		cfg := Standard()
		cfg.Profile, cfg.Console.FourEyes = c.profile, c.set
		require.Equal(t, c.want, cfg.FourEyes(), c)
	}
}

func TestTheConsoleIsSetByTheEnvironment(t *testing.T) {
	c, err := Read("", []string{"ARAUTO_CONSOLE_ADDR=127.0.0.1:1", "ARAUTO_CONSOLE_OIDC_ACR_VALUES=a,b", "ARAUTO_CONSOLE_FOUR_EYES=hold"})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1", c.Console.Addr)
	require.Equal(t, []string{"a", "b"}, c.Console.OIDC.ACRValues)
	require.Equal(t, "roles", c.Console.OIDC.RolesClaim)
	require.Equal(t, []string{"hold"}, c.FourEyes())
}
