package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProductionTellsWhatDoesNotConformAndDevelopmentRefusesIt(t *testing.T) {
	for _, c := range []struct {
		profile, set string
		want         bool
	}{
		{Production, "", true},
		{Production, "refuse", false},
		{Production, "tell", true},
		{Development, "", false},
		{Development, "tell", true},
		{Development, "refuse", false},
	} {
		cfg := Standard()
		cfg.Profile, cfg.Schema.Nonconforming = c.profile, c.set
		require.Equal(t, c.want, cfg.TellNonconforming(), c)
	}
}
