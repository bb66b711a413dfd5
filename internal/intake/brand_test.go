package intake

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

func TestABrandIsPartOfTheKeysOfAChange(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter(), Brands: brand.NewList([]string{"ouro", "prata"}, "ouro")})
	read := func(name any) *notice.Change {
		c, err := in.Read(line(t, map[string]any{"brand": name}), Origin{})
		require.NoError(t, err)
		return c
	}
	ouro, prata := read("ouro"), read("prata")
	require.Empty(t, ouro.Problems)
	require.Empty(t, prata.Problems)
	require.Equal(t, ofb.PixPayment, ouro.Kind)
	require.NotEmpty(t, ouro.ConsentID)
	require.Equal(t, "prata "+ouro.ResourceID, prata.ResourceID, "the original brand has no name in keys")
	require.Equal(t, "prata "+ouro.ConsentID, prata.ConsentID)
	require.Equal(t, "prata "+ouro.Client, prata.Client)
	require.NotEqual(t, ouro.Key(), prata.Key())

	for want, name := range map[string]any{"required /brand": nil, "enum /brand": "cobre", "pattern /brand": "Prata", "type /brand": 1} {
		c := read(name)
		require.Equal(t, []string{want}, codes(c.Problems))
		require.NotContains(t, c.Problems[0].Detail, "cobre")
		require.NotEmpty(t, c.Problems[0].DetailPT)
		require.Empty(t, c.ResourceID, "what has no brand of ours is filed under no brand")
		require.Empty(t, c.Client)
		require.Empty(t, c.ConsentID)
	}
}

func TestWithoutBrandsAChangeNamesNone(t *testing.T) {
	in := New(Config{Schema: anySchema{}, NewID: counter()})
	c, err := in.Read(line(t, map[string]any{"brand": "prata"}), Origin{})
	require.NoError(t, err)
	require.Equal(t, []string{"enum /brand"}, codes(c.Problems))
	c, err = in.Read(line(t, nil), Origin{})
	require.NoError(t, err)
	require.Empty(t, c.Problems)
	require.Empty(t, brand.Of(c.Client))
}
