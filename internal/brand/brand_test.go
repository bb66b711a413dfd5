package brand_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/brand"
)

func TestAKeyIsTakenApartAsItWasMade(t *testing.T) {
	for _, of := range []brand.Prefix{"", "alpha", "a-1"} {
		for _, id := range []string{"", "c3a1", "urn:bank:a/b", "alpha/c3a1"} {
			key := brand.Key(of, id)
			name, back := brand.Split(key)
			require.Equal(t, id, back)
			require.Equal(t, id, brand.ID(key))
			if id != "" {
				require.Equal(t, of, name)
				require.Equal(t, of, brand.Of(key))
			}
		}
	}
	require.NotEqual(t, brand.Key("alpha", "beta"), brand.Key("", "alpha/beta"), "an id that looks like a key")
}

func TestANameIsOfLettersDigitsAndHyphens(t *testing.T) {
	for _, good := range []string{"a", "banco-2", "01234567890123456789012345678901"} {
		require.True(t, brand.Valid(good), good)
	}
	for _, bad := range []string{"", "Alpha", "a b", "a_b", "é", "a\n", "012345678901234567890123456789012"} {
		require.False(t, brand.Valid(bad), bad)
	}
}

func TestABrandIsFoundByItsNameOrIsTheOnlyOne(t *testing.T) {
	none, one, two := brand.List{}, brand.NewList([]string{"alpha"}, ""), brand.NewList([]string{"alpha", "beta"}, "alpha")
	for _, c := range []struct {
		set  brand.List
		name string
		is   brand.Prefix
		code string
	}{
		{none, "", "", ""},
		{none, "alpha", "", "enum"},
		{one, "", "alpha", ""},
		{one, "alpha", "alpha", ""},
		{one, "beta", "", "enum"},
		{two, "", "", "required"},
		{two, "alpha", "", ""}, // the original brand
		{two, "beta", "beta", ""},
		{two, "gamma", "", "enum"},
	} {
		is, wrong := c.set.Resolve(c.name)
		require.Equal(t, c.is, is)
		if c.code == "" {
			require.Nil(t, wrong)
			continue
		}
		require.Equal(t, c.code, wrong.Code)
		require.NotEmpty(t, wrong.Detail)
		require.NotEmpty(t, wrong.DetailPT)
		require.NotContains(t, wrong.Detail, "gamma", "what was received is not repeated")
	}
}

func TestASetHoldsItsOwnBrandsAlone(t *testing.T) {
	require.True(t, brand.List{}.Holds(""))
	require.False(t, brand.List{}.Holds("alpha"))
	named, with := brand.NewList([]string{"alpha", "beta"}, ""), brand.NewList([]string{"alpha", "beta"}, "alpha")
	require.False(t, named.Holds(""), "nothing belongs to no brand")
	require.True(t, named.Holds("alpha"))
	require.True(t, with.Holds(""))
	require.False(t, with.Holds("alpha"), "keys of the original brand have no name")
	require.True(t, with.Holds("beta"))
	require.False(t, with.Holds("gamma"))
}
