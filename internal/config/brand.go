package config

import (
	"cmp"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/arauto/arauto/internal/brand"
)

// BrandSettings is one brand or authorisation server of the institution: who it is, towards initiators that ask and towards
// receivers, and whose tokens and statements it believes. Its sections have the names and the meaning of those at the top.
type BrandSettings struct {
	Name     string `yaml:"name"`
	Original bool   `yaml:"original"`

	Holder struct {
		OrganisationID        string `yaml:"organisation_id"`
		AuthorisationServerID string `yaml:"authorisation_server_id"`
	} `yaml:"holder"`
	Public struct {
		BaseURL     string   `yaml:"base_url"`
		ServerNames []string `yaml:"server_names"`
		TLSCert     string   `yaml:"tls_cert"`
		TLSKey      string   `yaml:"tls_key"`
	} `yaml:"public"`
	Signing   SigningSettings   `yaml:"signing"`
	Tokens    TokenSettings     `yaml:"tokens"`
	Directory DirectorySettings `yaml:"directory"`
	Webhook   struct {
		TLSCert string `yaml:"tls_cert"`
		TLSKey  string `yaml:"tls_key"`
	} `yaml:"webhook"`

	at string // what its settings' keys begin with in messages; "" for the only brand
}

// Setting is the key of one of the brand's settings, as messages name it.
func (b *BrandSettings) Setting(key string) string { return b.at + key }

// Key is the brand's name in the keys of what belongs to it.
func (b *BrandSettings) Key() brand.Prefix {
	if b.Original {
		return ""
	}
	return brand.Prefix(b.Name)
}

// ServerNames lists the names by which initiators reach the brand (SNI), in lower case: the host of its base URL unless the
// settings name others.
func (b *BrandSettings) ServerNames() []string {
	if len(b.Public.ServerNames) == 0 {
		u, err := url.Parse(b.Public.BaseURL)
		if err != nil || u.Hostname() == "" {
			return nil
		}
		return []string{strings.ToLower(u.Hostname())}
	}
	out := make([]string, len(b.Public.ServerNames))
	for i, name := range b.Public.ServerNames {
		out[i] = strings.ToLower(strings.TrimSpace(name))
	}
	return out
}

// ofOneBrand lists the settings at the top that belong to one brand. With `brands` they stand in each brand instead.
var ofOneBrand = []string{
	"holder.organisation_id", "holder.authorisation_server_id", "public.base_url", "public.tls_cert", "public.tls_key",
	"signing.key", "signing.kid", "signing.next_key", "signing.next_kid", "signing.signer", "signing.published",
	"tokens.issuer", "tokens.audience", "tokens.jwks", "tokens.introspection_url", "webhook.tls_cert", "webhook.tls_key",
}

// EachBrand lists the brands with the settings in force; there is at least one. Without `brands` it is the settings at the top,
// as a brand without a name. What a brand says nothing about (tokens.grant, tokens.grant_claim, tokens.introspection_ca and
// directory) is as at the top.
func (c *Config) EachBrand() []BrandSettings {
	if len(c.Brands) == 0 {
		b := BrandSettings{Signing: c.Signing, Tokens: c.Tokens, Directory: c.Directory}
		b.Holder.OrganisationID, b.Holder.AuthorisationServerID = c.Holder.OrganisationID, c.Holder.AuthorisationServerID
		b.Public.BaseURL, b.Public.TLSCert, b.Public.TLSKey = c.Public.BaseURL, c.Public.TLSCert, c.Public.TLSKey
		b.Webhook.TLSCert, b.Webhook.TLSKey = c.Webhook.TLSCert, c.Webhook.TLSKey
		return []BrandSettings{b}
	}
	out := slices.Clone(c.Brands)
	for i := range out {
		b := &out[i]
		b.at = fmt.Sprintf("brands[%d].", i)
		if brand.Valid(b.Name) {
			b.at = "brands." + b.Name + "."
		}
		b.Tokens.Grant = cmp.Or(b.Tokens.Grant, c.Tokens.Grant)
		b.Tokens.GrantClaim = cmp.Or(b.Tokens.GrantClaim, c.Tokens.GrantClaim)
		b.Tokens.IntrospectionCA = cmp.Or(b.Tokens.IntrospectionCA, c.Tokens.IntrospectionCA)
		if b.Directory == (DirectorySettings{}) {
			b.Directory = c.Directory
		}
	}
	return out
}

// BrandList is the names of the brands.
func (c *Config) BrandList() brand.List {
	var names []string
	original := ""
	for i := range c.Brands {
		names = append(names, c.Brands[i].Name)
		if c.Brands[i].Original {
			original = c.Brands[i].Name
		}
	}
	return brand.NewList(names, original)
}

// SendAs puts the client certificate of one brand at the top, for a command that acts for it alone. The error is a *Error: there is
// no such brand, or there are several and none is named.
func (c *Config) SendAs(name string) error {
	if len(c.Brands) == 0 && name == "" {
		return nil
	}
	of, wrong := c.BrandList().Resolve(name)
	if wrong != nil {
		return &Error{[]string{wrong.Detail}}
	}
	for _, b := range c.EachBrand() {
		if b.Key() == of {
			c.Webhook.TLSCert, c.Webhook.TLSKey = b.Webhook.TLSCert, b.Webhook.TLSKey
		}
	}
	return nil
}

// InstitutionID is the organisation id of the whole institution; "" when its brands have different ones.
func (c *Config) InstitutionID() string {
	all := c.EachBrand()
	for i := range all {
		if all[i].Holder.OrganisationID != all[0].Holder.OrganisationID {
			return ""
		}
	}
	return all[0].Holder.OrganisationID
}

// Organisations are the organisation ids of the brands, by their names in keys.
func (c *Config) Organisations() map[brand.Prefix]string {
	out := map[brand.Prefix]string{}
	for _, b := range c.EachBrand() {
		out[b.Key()] = b.Holder.OrganisationID
	}
	return out
}

// checkBrands judges the brands one by one and against each other.
func (c *Config) checkBrands(p *Problems) {
	if len(c.Brands) == 0 {
		return
	}
	for _, s := range c.settings() {
		if slices.Contains(ofOneBrand, s.key) && !s.value.IsZero() {
			p.Add(s.key, "is set at the top, beside brands", "move it into the brand that it belongs to")
		}
	}
	taken := map[string]string{} // what two brands may not share, and which setting has it
	once := func(what, key, value, cure string) {
		if other, is := taken[what+" "+value]; is && value != "" {
			p.Add(key, "is the same as %s", cure, other)
		}
		taken[what+" "+value] = key
	}
	original := ""
	all := c.EachBrand()
	for i := range all {
		b := &all[i]
		c.checkBrand(p, b)
		for j := range i {
			b.checkAgainst(p, &all[j])
		}
		once("name", b.Setting("name"), b.Name, "give each brand its own name")
		once("server", b.Setting("holder.authorisation_server_id"), b.Holder.AuthorisationServerID, "name the id of this brand's authorisation server in the Directory")
		for _, name := range b.ServerNames() {
			once("host", b.Setting("public.server_names"), name, "initiators reach each brand by a host name of its own")
		}
		if b.Original && original != "" {
			p.Add(b.Setting("original"), "is set, and %soriginal is too", "only one brand can own what was stored before there were brands", original)
		}
		if b.Original {
			original = b.at
		}
	}
}

// checkAgainst refuses an identity that another brand has as well.
func (b *BrandSettings) checkAgainst(p *Problems, other *BrandSettings) {
	same := func(key, value, others, cure string) {
		if value != "" && value == others {
			p.Add(b.Setting(key), "is the same as %s", cure, other.Setting(key))
		}
	}
	if b.Holder.OrganisationID != other.Holder.OrganisationID {
		const cure = "it names one organisation, and these brands have two"
		same("webhook.tls_cert", b.Webhook.TLSCert, other.Webhook.TLSCert, cure)
		same("webhook.tls_key", b.Webhook.TLSKey, other.Webhook.TLSKey, cure)
		same("signing.key", b.Signing.Key, other.Signing.Key, cure)
		same("signing.next_key", b.Signing.NextKey, other.Signing.NextKey, cure)
	}
	if b.Tokens.Audience == other.Tokens.Audience {
		same("tokens.issuer", b.Tokens.Issuer, other.Tokens.Issuer, "with the same audience, a token for one brand would pass at the other; tell the brands apart by issuer or audience")
	}
	if b.Tokens.Issuer+b.Tokens.Audience+other.Tokens.Issuer+other.Tokens.Audience == "" {
		same("tokens.introspection_url", b.Tokens.IntrospectionURL, other.Tokens.IntrospectionURL, "without issuer and audience, a token for one brand would pass at the other")
	}
	same("public.base_url", b.Public.BaseURL, other.Public.BaseURL, "each brand has an address of its own")
}

// checkBrand judges one brand by itself.
func (c *Config) checkBrand(p *Problems, b *BrandSettings) {
	if !brand.Valid(b.Name) {
		p.Add(b.Setting("name"), "is %q", "use 1 to 32 of a-z, 0-9 and -", b.Name)
	}
	for key, value := range map[string]string{
		"holder.organisation_id": b.Holder.OrganisationID, "holder.authorisation_server_id": b.Holder.AuthorisationServerID,
		"public.base_url": b.Public.BaseURL, "public.tls_cert": b.Public.TLSCert, "public.tls_key": b.Public.TLSKey,
		"signing.key": b.Signing.Key, "signing.kid": b.Signing.KID, "webhook.tls_cert": b.Webhook.TLSCert, "webhook.tls_key": b.Webhook.TLSKey,
	} {
		if strings.TrimSpace(value) == "" {
			p.Add(b.Setting(key), "is not set", "set it in this brand: brands share no identity")
		}
	}
	if slices.Contains(b.ServerNames(), "") {
		p.Add(b.Setting("public.server_names"), "has an empty name", "name hosts, such as api.banco.example.com")
	}
	b.checkIdentity(p, c.Profile)
}

// checkIdentity judges what a brand says of itself and of whom it believes.
func (b *BrandSettings) checkIdentity(p *Problems, profile string) {
	if b.Public.BaseURL != "" && !isBase(b.Public.BaseURL) {
		p.Add(b.Setting("public.base_url"), "is %q", "write https:// and a host name with a dot and a top label of 2 to 6 letters, without a path, as links.self must match the official pattern", b.Public.BaseURL)
	}
	if !visible(b.Holder.AuthorisationServerID) {
		p.Add(b.Setting("holder.authorisation_server_id"), "is %q", "write the id in the Directory: visible ASCII characters without spaces, since it is sent in a header", b.Holder.AuthorisationServerID)
	}
	if (b.Signing.NextKey == "") != (b.Signing.NextKID == "") {
		p.Add(b.Setting("signing.next_key"), "and signing.next_kid go together", "set both or neither")
	}
	b.Tokens.check(p, b.Setting, profile == Development)
	if b.Directory.JWKS == "" && profile == Production {
		p.Add(b.Setting("directory.jwks"), "is not set", "name the Directory's key set; software statements are verified with it")
	}
	for key, location := range map[string]string{"tokens.jwks": b.Tokens.JWKS, "directory.jwks": b.Directory.JWKS} {
		if strings.HasPrefix(location, "http://") {
			p.Add(b.Setting(key), "is read over plain http", "use an https:// URL or a path")
		}
	}
}

// effectiveBrands lists the settings of the brands as the file gives them.
func (c *Config) effectiveBrands() []Effective {
	var out []Effective
	all := c.EachBrand()
	for i := range c.Brands {
		var walk func(v reflect.Value, prefix string)
		walk = func(v reflect.Value, prefix string) {
			for j := range v.NumField() {
				key := v.Type().Field(j).Tag.Get("yaml")
				switch f := v.Field(j); {
				case key == "":
				case f.Kind() == reflect.Struct:
					walk(f, prefix+key+".")
				default:
					out = append(out, Effective{Key: all[i].Setting(prefix + key), Value: setting{key: prefix + key, value: f}.text(), Origin: "file"})
				}
			}
		}
		walk(reflect.ValueOf(c.Brands[i]), "")
	}
	return out
}

// brandsPage describes the brands.
var brandsPage = `
## Brands

- **` + "`brands`" + `** · in the file alone · a list of brands · default: none  
  More than one brand or authorisation server of the institution ([several brands](operations/brands.md)). Each item has ` + "`name`" + `, 1 to 32 of
  ` + "`a-z`, `0-9` and `-`" + `, and these settings of its own, under the names that they have at the top, where they must not stand then:
  ` + "`" + strings.Join(ofOneBrand, "`, `") + "`" + `.
- **` + "`brands[].original`" + `** · in the file alone · true or false · default: ` + "`false`" + `  
  The brand to which everything belongs that was stored before there were brands. At most one.
- **` + "`brands[].public.server_names`" + `** · in the file alone · a list of strings · default: the host of the brand's ` + "`public.base_url`" + `  
  The host names by which initiators reach the brand. The name in the TLS handshake (SNI) decides which brand answers.
- **` + "`brands[].tokens.grant`, `brands[].tokens.grant_claim`, `brands[].tokens.introspection_ca`, `brands[].directory`" + `** · in the file alone · default: as at the top  
  What they say at the top, for this brand.
`
