package openapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

func TestEveryMemberOfEveryKindIsDescribed(t *testing.T) {
	s, err := openapi.Load()
	require.NoError(t, err)
	for _, kind := range ofb.Kinds() {
		for _, version := range kind.Versions() {
			all := s.Members(kind, version)
			names := map[string]openapi.Member{}
			for _, m := range all {
				require.Len(t, m.Required, len(m.Path))
				require.NotEmpty(t, m.Type, "%s %v", kind, m.Path)
				names[strings.Join(m.Path, ".")] = m
			}
			require.Len(t, names, len(all), "%s %s: each once", kind, version)
			require.Contains(t, names, kind.IDMember())
			status := names["status"]
			require.Equal(t, []bool{true}, status.Required)
			require.NotEmpty(t, status.Enum)
			for _, one := range status.Enum {
				require.Contains(t, kind.Statuses(), ofb.Status(one))
			}
			require.Equal(t, "date-time", names["creationDateTime"].Format)
		}
	}
	require.Empty(t, s.Members(ofb.PixPayment, "v9"))
	i := slices.IndexFunc(s.Members(ofb.RecurringConsent, "v2"), func(m openapi.Member) bool {
		return slices.Equal(m.Path, []string{"creditors", openapi.Items, "name"})
	})
	require.GreaterOrEqual(t, i, 0, "members of a list's objects")
}
