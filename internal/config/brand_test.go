package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/config"
)

// twoBrands is the part of a settings file that names two brands.
const twoBrands = `
brands:
  - name: alpha
    original: true
    holder: {organisation_id: 11111111-1111-4111-8111-111111111111, authorisation_server_id: a-server}
    public: {base_url: https://api.alpha.example.com, tls_cert: alpha.pem, tls_key: alpha.key}
    signing: {key: alpha-sign.key, kid: alpha-1}
    tokens: {issuer: https://as.alpha.example.com, audience: alpha, jwks: alpha-jwks.json}
    webhook: {tls_cert: alpha-client.pem, tls_key: alpha-client.key}
  - name: beta
    holder: {organisation_id: 22222222-2222-4222-8222-222222222222, authorisation_server_id: b-server}
    public: {base_url: https://api.beta.example.com, server_names: [API.Beta.example.com, beta.example.com], tls_cert: beta.pem, tls_key: beta.key}
    signing: {key: beta-sign.key, kid: beta-1}
    tokens: {issuer: https://as.beta.example.com, audience: beta, jwks: beta-jwks.json, grant: subject}
    directory: {jwks: beta-directory.json}
    webhook: {tls_cert: beta-client.pem, tls_key: beta-client.key}
`

const restOfBrands = `
database: {url: postgres://arauto@db.example.com/arauto}
public: {client_ca: callers.pem}
internal: {jwks: bank.json, issuer: bank, audience: arauto}
directory: {jwks: directory.json}
webhook: {root_ca: roots.pem}
log: {key: log.key}
`

// readText reads settings from a text.
func readText(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "arauto.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return config.Read(file, nil)
}

func TestBrandsStandInTheFileAndTakeWhatTheySayNothingAboutFromTheTop(t *testing.T) {
	c, err := readText(t, restOfBrands+twoBrands)
	require.NoError(t, err)
	require.NoError(t, c.Check())
	all := c.EachBrand()
	require.Len(t, all, 2)
	alpha, beta := &all[0], &all[1]
	require.Equal(t, brand.Prefix(""), alpha.Key(), "the original brand has no name in keys")
	require.Equal(t, brand.Prefix("beta"), beta.Key())
	require.Equal(t, []string{"api.alpha.example.com"}, alpha.ServerNames())
	require.Equal(t, []string{"api.beta.example.com", "beta.example.com"}, beta.ServerNames())
	require.Equal(t, "claim", alpha.Tokens.Grant)
	require.Equal(t, "subject", beta.Tokens.Grant)
	require.Equal(t, "directory.json", alpha.Directory.JWKS)
	require.Equal(t, "beta-directory.json", beta.Directory.JWKS)
	require.Empty(t, c.InstitutionID(), "the brands have different organisations")
	require.True(t, c.BrandList().Holds("beta"))
	require.True(t, c.BrandList().Holds(""))

	shown := map[string]string{}
	for _, e := range c.Effective() {
		shown[e.Key] = e.Value
	}
	require.Equal(t, "beta-client.pem", shown["brands.beta.webhook.tls_cert"])
	require.Equal(t, "alpha-1", shown["brands.alpha.signing.kid"])
}

func TestSettingsWithoutBrandsAreOneBrandWithoutAName(t *testing.T) {
	c := config.Standard()
	c.Holder.OrganisationID, c.Public.BaseURL, c.Signing.KID, c.Webhook.TLSCert = "org", "https://api.banco.example.com", "k1", "client.pem"
	all := c.EachBrand()
	require.Len(t, all, 1)
	require.Equal(t, brand.Prefix(""), all[0].Key())
	require.Equal(t, "signing.key", all[0].Setting("signing.key"))
	require.Equal(t, "org", all[0].Holder.OrganisationID)
	require.Equal(t, "https://api.banco.example.com", all[0].Public.BaseURL)
	require.Equal(t, "k1", all[0].Signing.KID)
	require.Equal(t, "client.pem", all[0].Webhook.TLSCert)
	require.Equal(t, "org", c.InstitutionID())
	require.False(t, c.BrandList().Holds("alpha"))
}

func TestWhatIsWrongWithABrandNamesTheBrandAndTheMember(t *testing.T) {
	for name, c := range map[string]struct{ old, text, want string }{
		"identity at the top":     {"public: {client_ca: callers.pem}", "public: {client_ca: callers.pem, tls_cert: top.pem}", "public.tls_cert (ARAUTO_PUBLIC_TLS_CERT): is set at the top, beside brands; move it"},
		"name":                    {"name: beta", "name: Beta", `brands[1].name: is "Beta"; use 1 to 32 of a-z, 0-9 and -`},
		"same name":               {"name: beta", "name: alpha", "brands.alpha.name: is the same as brands.alpha.name; give each brand its own name"},
		"no certificate":          {"tls_cert: beta.pem, ", "", "brands.beta.public.tls_cert: is not set; set it in this brand"},
		"no client key":           {"tls_cert: beta-client.pem, tls_key: beta-client.key", "tls_cert: beta-client.pem", "brands.beta.webhook.tls_key: is not set"},
		"no organisation":         {"organisation_id: 22222222-2222-4222-8222-222222222222, ", "", "brands.beta.holder.organisation_id: is not set"},
		"same server":             {"b-server", "a-server", "brands.beta.holder.authorisation_server_id: is the same as brands.alpha.holder.authorisation_server_id"},
		"same host":               {"beta.example.com]", "API.ALPHA.example.com]", "brands.beta.public.server_names: is the same as brands.alpha.public.server_names; initiators reach each brand by a host name of its own"},
		"base URL":                {"https://api.beta.example.com", "https://api.beta.example.com/x", "brands.beta.public.base_url: is \"https://api.beta.example.com/x\""},
		"same BRCAC":              {"{tls_cert: beta-client.pem,", "{tls_cert: alpha-client.pem,", "brands.beta.webhook.tls_cert: is the same as brands.alpha.webhook.tls_cert; it names one organisation"},
		"same seal":               {"key: beta-sign.key", "key: alpha-sign.key", "brands.beta.signing.key: is the same as brands.alpha.signing.key"},
		"same issuer":             {"issuer: https://as.beta.example.com, audience: beta", "issuer: https://as.alpha.example.com, audience: alpha", "brands.beta.tokens.issuer: is the same as brands.alpha.tokens.issuer; with the same audience"},
		"same base URL":           {"base_url: https://api.beta.example.com", "base_url: https://api.alpha.example.com", "brands.beta.public.base_url: is the same as brands.alpha.public.base_url"},
		"two original":            {"name: beta", "name: beta\n    original: true", "brands.beta.original: is set, and brands.alpha.original is too"},
		"next key alone":          {"kid: beta-1", "kid: beta-1, next_key: n.key", "brands.beta.signing.next_key: and signing.next_kid go together"},
		"tokens without a source": {", jwks: beta-jwks.json", "", "brands.beta.tokens.jwks: is not set, nor is tokens.introspection_url"},
		"grant":                   {"grant: subject", "grant: guess", `brands.beta.tokens.grant: is "guess"`},
		"plain http":              {"jwks: beta-jwks.json", "jwks: http://as.beta.example.com/jwks", "brands.beta.tokens.jwks: is read over plain http"},
	} {
		text := restOfBrands + twoBrands
		require.Contains(t, text, c.old, name)
		cfg, err := readText(t, strings.Replace(text, c.old, c.text, 1))
		require.NoError(t, err, name)
		var about *config.Error
		require.ErrorAs(t, cfg.Check(), &about, name)
		require.True(t, slices.ContainsFunc(about.Problems, func(p string) bool { return strings.HasPrefix(p, c.want) }), "%s: %q", name, about.Problems)
	}
}

func TestAnUnknownMemberOfABrandIsRefused(t *testing.T) {
	_, err := readText(t, restOfBrands+strings.Replace(twoBrands, "name: beta", "name: beta\n    colour: red", 1))
	require.ErrorContains(t, err, "field colour not found among the settings")
}
