package registry_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/jws"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/registry"
)

// old is a good request whose statement the authorization server took a year ago.
func old(t testing.TB, changes map[string]any, uris ...string) registry.Request {
	t.Helper()
	r := request(t, uris...)
	all := claims(uris, map[string]any{"iat": noon.AddDate(-1, 0, 0).Unix(), "exp": noon.AddDate(0, -1, 0).Unix()})
	for name, value := range changes {
		all[name] = value
	}
	r.SoftwareStatement = sign(t, directory(), "dir", all)
	return r
}

func TestAFollowedRegistrationIsJudgedByAllRulesButTheAgeOfItsStatement(t *testing.T) {
	b := production(t)
	r := old(t, nil, "https://a.example/x")
	refused(t, b, r) // as Put it would be too old
	require.NoError(t, b.Follow(t.Context(), "itp-1", r, false, "source:as"))
	got := b.store.kept["itp-1"]
	require.Equal(t, notice.StatementKept, got.Basis)
	require.NotEmpty(t, got.StatementDigest)
	require.Equal(t, []string{"https://a.example/x"}, got.WebhookURIs)
	require.Equal(t, "source:as", b.store.actor)

	for name, c := range map[string]struct {
		r    registry.Request
		code registry.InvalidCode
	}{
		"another organisation": {old(t, map[string]any{"org_id": "org-2"}, "https://a.example"), registry.InvalidStatement},
		"another software":     {old(t, map[string]any{"software_id": "sw-2"}, "https://a.example"), registry.InvalidStatement},
		"other addresses":      {old(t, map[string]any{"software_api_webhook_uris": []string{"https://b.example"}}, "https://a.example"), registry.InvalidURIs},
		"an inside address":    {old(t, nil, "https://10.0.0.1"), registry.InvalidURIs},
		"no name":              {func() registry.Request { r := old(t, nil, "https://a.example"); r.Name = ""; return r }(), registry.InvalidRequest},
		"from the future":      {old(t, map[string]any{"iat": noon.Add(time.Hour).Unix()}, "https://a.example"), registry.InvalidStatement},
		"signed by a stranger": {func() registry.Request {
			r := old(t, nil, "https://a.example")
			r.SoftwareStatement = sign(t, stranger(), "dir", claims([]string{"https://a.example"}, nil))
			return r
		}(), registry.InvalidStatement},
	} {
		t.Run(name, func(t *testing.T) {
			before, recorded := b.store.puts, len(b.store.refusals)
			var invalid *registry.Invalid
			require.ErrorAs(t, b.Follow(t.Context(), "itp-2", c.r, true, "source:as"), &invalid)
			require.Equal(t, c.code, invalid.Code)
			require.Equal(t, before, b.store.puts)
			require.Len(t, b.store.refusals, recorded+1)
			require.Equal(t, "source:as", b.store.refusals[recorded].actor)
		})
	}
}

func TestAStatementThatIsNotThereIsAcceptedWhereTheMappingVouchesAlone(t *testing.T) {
	b := production(t)
	r := request(t, "https://a.example")
	r.SoftwareStatement = ""
	var invalid *registry.Invalid
	require.ErrorAs(t, b.Follow(t.Context(), "itp-1", r, false, "source:as"), &invalid)
	require.Equal(t, registry.InvalidStatement, invalid.Code)
	require.NoError(t, b.Follow(t.Context(), "itp-1", r, true, "source:as"))
	require.Equal(t, notice.StatementChecked, b.store.kept["itp-1"].Basis)
	require.Nil(t, b.store.kept["itp-1"].StatementDigest)

	r.WebhookURIs = &[]string{} // an initiator that took its address away must not wait for a person
	require.NoError(t, b.Follow(t.Context(), "itp-1", r, false, "source:as"))
	require.False(t, b.store.kept["itp-1"].Push)
	require.Empty(t, b.store.kept["itp-1"].Basis)
}

func TestARowThatSaysWhatIsStoredIsNotWrittenAgain(t *testing.T) {
	b := production(t)
	r := old(t, nil, "https://a.example")
	for range 3 {
		require.NoError(t, b.Follow(t.Context(), "itp-1", r, false, "source:as"))
	}
	require.Equal(t, 1, b.store.puts)
	r.WebhookURIs = nil
	require.NoError(t, b.Follow(t.Context(), "itp-1", r, false, "source:as"))
	require.Equal(t, 2, b.store.puts)
	require.False(t, b.store.kept["itp-1"].Push)
}

func TestWithoutTheDirectorysKeysAKeptStatementIsNotJudged(t *testing.T) {
	b := open(t, func(c *registry.Config) { c.Development, c.Statements = true, nil })
	err := b.Follow(t.Context(), "itp-1", old(t, nil, "https://a.example"), true, "source:as")
	require.ErrorIs(t, err, jws.ErrUnavailable)
	require.Empty(t, b.store.refusals)
}

// TestAFollowedClientIsNoKey: a row of one brand's table names no client of another.
func TestAFollowedClientIsNoKey(t *testing.T) {
	c := registry.Config{Development: true, Brands: brand.NewList([]string{"alpha", "beta"}, "alpha")}
	r := registry.Request{Brand: "alpha", OrganisationID: "o", SoftwareID: "s", Name: "n"}
	require.NoError(t, registry.ForeseeFollowed(c, "c1", r, true))
	require.Error(t, registry.ForeseeFollowed(c, "beta c1", r, true))
	r.Brand = ""
	require.Error(t, registry.ForeseeFollowed(c, "beta c1", r, true))
	require.Error(t, registry.ForeseeFollowed(c, "c1", r, true), "brand is missing")
}
