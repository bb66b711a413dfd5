package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHowOftenTheLogIsVerifiedHasBounds(t *testing.T) {
	for profile, wrong := range map[string][]time.Duration{Production: {0, time.Second, 25 * time.Hour}, Development: {0, time.Millisecond, 25 * time.Hour}} {
		for _, every := range append(wrong, time.Minute, 24*time.Hour) {
			cfg := Standard()
			cfg.Profile, cfg.Log.VerifyEvery = profile, every
			p := &Problems{}
			cfg.checkLists(p)
			require.Equal(t, every < time.Minute || every > 24*time.Hour, len(p.List) > 0, "%s %v", profile, every)
		}
	}
}
