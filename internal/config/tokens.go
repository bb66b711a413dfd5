package config

// TokenSettings say whose access tokens initiators bring, and how they are judged.
type TokenSettings struct {
	Issuer           string `yaml:"issuer" env:"ARAUTO_TOKENS_ISSUER"`
	Audience         string `yaml:"audience" env:"ARAUTO_TOKENS_AUDIENCE"`
	JWKS             string `yaml:"jwks" env:"ARAUTO_TOKENS_JWKS"`
	Grant            string `yaml:"grant" env:"ARAUTO_TOKENS_GRANT"`
	GrantClaim       string `yaml:"grant_claim" env:"ARAUTO_TOKENS_GRANT_CLAIM"`
	IntrospectionURL string `yaml:"introspection_url" env:"ARAUTO_TOKENS_INTROSPECTION_URL"`
	IntrospectionCA  string `yaml:"introspection_ca" env:"ARAUTO_TOKENS_INTROSPECTION_CA"`
}

// check judges the settings; key makes of the name of one the key that messages name.
func (t *TokenSettings) check(p *Problems, key func(string) string, development bool) {
	if t.JWKS == "" && t.IntrospectionURL == "" {
		p.Add(key("tokens.jwks"), "is not set, nor is tokens.introspection_url", "name the keys of the authorization server, or its introspection endpoint")
	}
	if t.JWKS != "" && (t.Issuer == "" || t.Audience == "") {
		p.Add(key("tokens.issuer"), "and tokens.audience must be set together with tokens.jwks", "set both to what the authorization server writes into its tokens")
	}
	switch t.Grant {
	case "claim", "subject":
	case "introspection":
		if t.IntrospectionURL == "" {
			p.Add(key("tokens.grant"), "is introspection, and tokens.introspection_url is not set", "name the introspection endpoint")
		}
	case "unchecked":
		if !development {
			p.Add(key("tokens.grant"), "is unchecked", "use claim, subject or introspection: only profile: development may leave the grant unchecked")
		}
	default:
		p.Add(key("tokens.grant"), "is %q", "use claim, subject or introspection", t.Grant)
	}
}
