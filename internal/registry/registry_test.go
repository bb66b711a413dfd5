package registry_test

import (
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/certs"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

func TestAGoodRegistrationIsStoredWithTheDigestOfItsStatement(t *testing.T) {
	b := production(t)
	r := request(t, "https://a.example/x")
	in, created, err := b.Put(t.Context(), "itp-1", r, "maria")
	require.NoError(t, err)
	require.True(t, created)
	digest := sha256.Sum256([]byte(r.SoftwareStatement))
	require.Equal(t, digest[:], in.StatementDigest)
	require.True(t, in.Push)
	require.Equal(t, "maria", b.store.actor)
	require.Equal(t, "Iniciadora São João", in.Name)
	require.Equal(t, noon, in.UpdatedAt)
	require.Empty(t, b.log.String())

	_, created, err = b.Put(t.Context(), "itp-1", r, "maria")
	require.NoError(t, err)
	require.False(t, created)
	got, err := b.Get(t.Context(), "itp-1")
	require.NoError(t, err)
	require.Equal(t, in, got)
	all, err := b.List(t.Context(), notice.InitiatorQuery{Limit: 10})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, b.Delete(t.Context(), "itp-1", "joão"))
	require.Equal(t, "joão", b.store.actor)
	_, err = b.Get(t.Context(), "itp-1")
	require.ErrorIs(t, err, errUnknown)
	require.ErrorIs(t, b.Delete(t.Context(), "itp-1", "joão"), errUnknown)
}

func TestAnAbsentOrEmptyListSwitchesPushOffWhateverTheStatementLists(t *testing.T) {
	for name, list := range map[string]*[]string{"absent": nil, "empty": {}} {
		for _, signed := range []bool{true, false} {
			for profile, b := range map[string]bench{"production": production(t), "development": development(t)} {
				t.Run(fmt.Sprint(name, signed, profile), func(t *testing.T) {
					r := request(t, "https://a.example")
					r.WebhookURIs = list
					if !signed {
						r.SoftwareStatement = ""
					}
					if !signed && profile == "production" { // it also says whose software this is
						invalid := refused(t, b, r)
						require.Equal(t, registry.InvalidStatement, invalid.Code)
						require.Contains(t, invalid.Description, "softwareStatement is required")
						return
					}
					in, _, err := b.Put(t.Context(), "itp-1", r, "registrar")
					require.NoError(t, err)
					require.False(t, in.Push)
					require.Empty(t, in.WebhookURIs)
					require.Equal(t, signed, in.StatementDigest != nil)
				})
			}
		}
	}
}

func TestSeveralAddressesAreKeptInOrderAndWarnedOf(t *testing.T) {
	b := production(t)
	in, _, err := b.Put(t.Context(), "itp-1", request(t, "https://b.example", "https://a.example"), "registrar")
	require.NoError(t, err)
	require.Equal(t, []string{"https://b.example", "https://a.example"}, in.WebhookURIs)
	require.Contains(t, b.log.String(), "level=WARN")
	require.Contains(t, b.log.String(), "client=itp-1")
}

func TestTheListEqualsTheStatementsInOrderAndByteForByte(t *testing.T) {
	b := production(t)
	for name, c := range map[string]struct{ asked, listed []string }{
		"another":          {[]string{"https://a.example"}, []string{"https://b.example"}},
		"other order":      {[]string{"https://a.example", "https://b.example"}, []string{"https://b.example", "https://a.example"}},
		"subset":           {[]string{"https://a.example"}, []string{"https://a.example", "https://b.example"}},
		"superset":         {[]string{"https://a.example", "https://b.example"}, []string{"https://a.example"}},
		"other case":       {[]string{"https://A.example"}, []string{"https://a.example"}},
		"default port":     {[]string{"https://a.example:443"}, []string{"https://a.example"}},
		"trailing slash":   {[]string{"https://a.example"}, []string{"https://a.example/"}},
		"other escape":     {[]string{"https://a.example/%7Ex"}, []string{"https://a.example/~x"}},
		"look-alike":       {[]string{"https://examp1e.com"}, []string{"https://example.com"}},
		"path below":       {[]string{"https://a.example/x/y"}, []string{"https://a.example/x"}},
		"list empty there": {[]string{"https://a.example"}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, c.asked...)
			r.SoftwareStatement = sign(t, directory(), "dir", claims(c.listed, nil))
			invalid := refused(t, b, r)
			require.Equal(t, registry.InvalidURIs, invalid.Code)
			require.Equal(t, "The content of the webhook_uris field different from what was Registered in the software_statement noted via the JWS software_api_webhook_uris field", invalid.Description)
			require.Empty(t, invalid.Problems)
		})
	}
}

func TestStatementsThatAreNotAccepted(t *testing.T) {
	uris := []string{"https://a.example"}
	made := func(change map[string]any) string { return sign(t, directory(), "dir", claims(uris, change)) }
	good := made(nil)
	for name, c := range map[string]struct{ statement, why string }{
		"missing":                 {"", "softwareStatement is required"},
		"not a JWS":               {"geheim", "malformed"},
		"signed by a stranger":    {sign(t, stranger(), "dir", claims(uris, nil)), "bad-signature"},
		"unknown kid":             {sign(t, directory(), "other", claims(uris, nil)), "unknown-key"},
		"signature cut off":       {good[:len(good)-6], "bad-signature"},
		"one byte more":           {good + "A", ""},
		"older than five minutes": {made(map[string]any{"iat": noon.Add(-301 * time.Second).Unix()}), "too-old iat"},
		"from the future":         {made(map[string]any{"iat": noon.Add(61 * time.Second).Unix()}), "not-yet-valid iat"},
		"without iat":             {made(map[string]any{"iat": nil}), "missing-claim iat"},
		"without software_id":     {made(map[string]any{"software_id": nil}), "missing-claim software_id"},
		"without org_id":          {made(map[string]any{"org_id": nil}), "missing-claim org_id"},
		"another software":        {made(map[string]any{"software_id": "sw-2"}), "software_id: must equal softwareId"},
		"another organisation":    {made(map[string]any{"org_id": "org-2"}), "org_id: must equal organisationId"},
		"organisation by case":    {made(map[string]any{"org_id": "ORG-1"}), "org_id: must equal organisationId"},
		"without addresses":       {made(map[string]any{"software_api_webhook_uris": nil}), "missing-claim software_api_webhook_uris"},
		"addresses a string":      {made(map[string]any{"software_api_webhook_uris": "https://a.example"}), "wrong-claim software_api_webhook_uris"},
		"endless":                 {strings.Repeat("e", 100_000), "too-long"},
	} {
		for profile, b := range map[string]bench{"production": production(t), "development": development(t)} {
			t.Run(profile+": "+name, func(t *testing.T) {
				r := request(t, uris...)
				r.SoftwareStatement = c.statement
				if name == "missing" && profile == "development" {
					in, _, err := b.Put(t.Context(), "itp-1", r, "registrar")
					require.NoError(t, err)
					require.Nil(t, in.StatementDigest)
					return
				}
				invalid := refused(t, b, r)
				require.Equal(t, registry.InvalidStatement, invalid.Code)
				require.Contains(t, invalid.Description, c.why)
				require.Equal(t, "/softwareStatement", invalid.Problems[0].Pointer)
				require.NotContains(t, invalid.Error(), "geheim")
			})
		}
	}
}

func TestMalformedAddressesAreJudgedBeforeTheStatement(t *testing.T) {
	r := request(t, "https://127.0.0.1")
	r.SoftwareStatement = "junk"
	require.Equal(t, registry.InvalidURIs, refused(t, production(t), r).Code)
}

func TestFieldsAreJudgedOneByOne(t *testing.T) {
	for name, c := range map[string]struct {
		change        func(*registry.Request)
		pointer, code string
	}{
		"organisation missing":     {func(r *registry.Request) { r.OrganisationID = "" }, "/organisationId", "required"},
		"organisation with spaces": {func(r *registry.Request) { r.OrganisationID = "a b" }, "/organisationId", "format"},
		"organisation long":        {func(r *registry.Request) { r.OrganisationID = strings.Repeat("o", 256) }, "/organisationId", "format"},
		"software missing":         {func(r *registry.Request) { r.SoftwareID = "" }, "/softwareId", "required"},
		"software not ASCII":       {func(r *registry.Request) { r.SoftwareID = "ç" }, "/softwareId", "format"},
		"name missing":             {func(r *registry.Request) { r.Name = "" }, "/name", "required"},
		"name long":                {func(r *registry.Request) { r.Name = strings.Repeat("ã", 256) }, "/name", "format"},
		"name of a space":          {func(r *registry.Request) { r.Name = " " }, "/name", "format"},
		"name with a line break":   {func(r *registry.Request) { r.Name = "a\nb" }, "/name", "format"},
		"name written backwards":   {func(r *registry.Request) { r.Name = "a\u202eb" }, "/name", "format"},
		"name not UTF-8":           {func(r *registry.Request) { r.Name = "a\xff" }, "/name", "format"},
		"too many addresses": {func(r *registry.Request) {
			list := make([]string, 101)
			r.WebhookURIs = &list
		}, "/webhookUris", "length"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, "https://a.example")
			c.change(&r)
			invalid := refused(t, production(t), r)
			require.Equal(t, registry.InvalidRequest, invalid.Code)
			require.Len(t, invalid.Problems, 1)
			require.Equal(t, c.pointer, invalid.Problems[0].Pointer)
			require.Equal(t, c.code, invalid.Problems[0].Code)
		})
	}
	b := production(t)
	for _, client := range []string{"", "a b", "ç", "a\n", strings.Repeat("c", 256)} {
		_, _, err := b.Put(t.Context(), notice.ClientID(client), registry.Request{}, "registrar")
		var invalid *registry.Invalid
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, registry.InvalidRequest, invalid.Code)
		require.Len(t, invalid.Problems, 4, "all at once")
	}
}

// TestAnEmptyStatementIsRefusedInEveryProfile: one that is there is checked as in production.
func TestAnEmptyStatementIsRefusedInEveryProfile(t *testing.T) {
	r := request(t, "https://a.example")
	r.SoftwareStatement, r.EmptyStatement = "", true
	require.Equal(t, registry.InvalidStatement, refused(t, development(t), r).Code)
	r.WebhookURIs = nil
	require.Equal(t, registry.InvalidStatement, refused(t, development(t), r).Code)
}

// TestARequestForASecondPersonIsJudgedInItsFieldsAlone: its addresses and its statement are judged when it is carried out.
func TestARequestForASecondPersonIsJudgedInItsFieldsAlone(t *testing.T) {
	b := production(t)
	r := request(t, "http://10.0.0.1/no")
	r.SoftwareStatement = "junk"
	require.NoError(t, b.Judge(t.Context(), "itp-1", r, "registrar"))
	require.Empty(t, b.store.refusals)
	r.SoftwareID = ""
	var invalid *registry.Invalid
	require.ErrorAs(t, b.Judge(t.Context(), "itp-1", r, "registrar"), &invalid)
	require.Equal(t, registry.InvalidRequest, invalid.Code)
	require.Len(t, b.store.refusals, 1, "a refused registration is recorded")
	require.Zero(t, b.store.puts)
}

func TestOurOwnTroubleIsNotTheRegistrars(t *testing.T) {
	b := production(t)
	b.store.down = errors.New("no database")
	_, _, err := b.Put(t.Context(), "itp-1", request(t, "https://a.example"), "registrar")
	require.ErrorIs(t, err, b.store.down)
	require.NotErrorAs(t, err, new(*registry.Invalid))

	none := open(t, func(c *registry.Config) { c.Development, c.Statements = true, nil })
	_, _, err = none.Put(t.Context(), "itp-1", request(t, "https://a.example"), "registrar")
	require.ErrorIs(t, err, jws.ErrUnavailable, "a statement that is present is never passed over")
	require.NotErrorAs(t, err, new(*registry.Invalid))
	require.Zero(t, none.store.puts)
}

func TestConfigurationsThatContradictThemselves(t *testing.T) {
	statements := &jws.StatementVerifier{Keys: jws.FixedKeySet(keysOf(t, directory()))}
	for why, c := range map[string]registry.Config{
		"no store":                 {Statements: statements},
		"no verifier":              {Store: &memory{}},
		"development profile only": {Store: &memory{}, Statements: statements, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	} {
		_, err := registry.New(c)
		require.ErrorContains(t, err, why)
	}
}

func keysOf(t testing.TB, key *rsa.PrivateKey) *jws.Keys {
	t.Helper()
	keys, err := jws.ParseKeySet(certs.JWKS(&certs.NamedKey{KID: "dir", Key: key}))
	require.NoError(t, err)
	return keys
}

func TestARefusalThatCannotBeRecordedIsNotAnswered(t *testing.T) { // cases K5: 400 and audit, never one without the other
	b := production(t)
	b.store.down = errors.New("no database")
	r := request(t, "https://127.0.0.1/x")
	_, _, err := b.Put(t.Context(), "itp-1", r, "registrar")
	require.ErrorIs(t, err, b.store.down)
	var invalid *registry.Invalid
	require.NotErrorAs(t, err, &invalid)
}

func TestARefusalKeepsWhatWasAskedForAndTheDigestOfItsStatement(t *testing.T) {
	b := production(t)
	r := request(t, "https://listed.example.com/a")
	other := []string{"https://listed.example.com.evil.example/a"}
	r.WebhookURIs = &other
	require.Equal(t, registry.Differs, refused(t, b, r).Description)
	trace := b.store.refusals[0]
	require.Equal(t, notice.ClientID("itp-1"), trace.asked.Client)
	require.Equal(t, other, trace.asked.WebhookURIs)
	require.Len(t, trace.asked.StatementDigest, 32)
}
