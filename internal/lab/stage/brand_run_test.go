package stage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
)

// TestEachMixUpInTheLogIsFound mixes up one member of an entry after the other.
func TestEachMixUpInTheLogIsFound(t *testing.T) {
	prata := &Brand{Name: "prata", KID: "prata-1", serials: []string{"2a"}}
	sent := brandEntry{kind: "result", client: "prata", resource: "prata", both: true, serial: "2a"}
	asked := brandEntry{kind: "poll", client: "prata", resource: "", both: true, kid: "prata-1", asked: "prata"}
	for name, c := range map[string]struct {
		of   *Brand
		e    brandEntry
		mix  func(e *brandEntry)
		says string
	}{
		"nothing, sent":           {prata, sent, func(*brandEntry) {}, ""},
		"nothing, asked":          {prata, asked, func(*brandEntry) {}, ""},
		"a registration":          {prata, sent, func(e *brandEntry) { *e = brandEntry{kind: "registration", client: "prata"} }, ""},
		"a brand of nobody":       {nil, sent, func(*brandEntry) {}, "there is no such brand"},
		"resource":                {prata, sent, func(e *brandEntry) { e.resource = "" }, `resource is of brand ""`},
		"certificate":             {prata, sent, func(e *brandEntry) { e.serial = "2b" }, "certificate 2b"},
		"brand that was asked":    {prata, asked, func(e *brandEntry) { e.asked = "" }, `brand "" was asked`},
		"key that signed answers": {prata, asked, func(e *brandEntry) { e.kid = "ouro-1" }, "key ouro-1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.mix(&c.e)
			if c.says == "" {
				require.Empty(t, c.e.wrong(c.of))
				return
			}
			require.Contains(t, c.e.wrong(c.of), c.says)
		})
	}
}

// TestALogInWhichNothingWasComparedIsFound leaves out what each brand must have.
func TestALogInWhichNothingWasComparedIsFound(t *testing.T) {
	brands := []*Brand{{Name: "ouro"}, {Name: "prata"}}
	compared := map[string]int{}
	brandEntry{serial: "2a"}.count(brands[0], 3, compared)
	brandEntry{kid: "prata-1"}.count(brands[1], 2, compared)
	require.Equal(t, map[string]int{"ouro certificate": 3, "prata key": 2}, compared)
	require.Equal(t, []string{"no entry has a key of brand ouro to compare", "no entry has a certificate of brand prata to compare"}, notCompared(compared, brands))
	brandEntry{serial: "2b", kid: "x"}.count(brands[0], 1, compared)
	brandEntry{serial: "2b", kid: "x"}.count(brands[1], 1, compared)
	require.Empty(t, notCompared(compared, brands))
}

// TestARunHasItsIDsAtBothBrandsWithOtherStates makes sure that a mix-up of data would be seen.
func TestARunHasItsIDsAtBothBrandsWithOtherStates(t *testing.T) {
	var r *BrandRun
	both, alone := 0, map[string]int{}
	for n := range 60 {
		_, truth := r.resource(n)
		require.NotEmpty(t, truth.States)
		if len(truth.States) < 2 {
			for name := range truth.States {
				alone[name]++
			}
			continue
		}
		both++
		if truth.Kind == ofb.PixPayment {
			for _, state := range truth.States["ouro"] {
				require.NotContains(t, truth.States["prata"], state)
			}
		}
	}
	require.Equal(t, 40, both)
	require.Equal(t, map[string]int{"ouro": 10, "prata": 10}, alone)
	require.True(t, r.Has("prata alfa"))
	require.True(t, r.Has("beta"))
	require.False(t, r.Has("itp-01"))
}
