package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePageOfSettingsIsMadeOfTheirDescriptions(t *testing.T) {
	page, err := os.ReadFile("../../docs/settings.md")
	require.NoError(t, err)
	require.Equal(t, Page(), string(page), "run: make settings-doc")
}

func TestEverySettingHasADescriptionAndNothingElseHasOne(t *testing.T) {
	known := map[string]bool{}
	for _, s := range Standard().settings() {
		known[s.key] = true
		about := descriptions[s.key].about
		require.Regexp(t, `^[A-Z0-9`+"`"+`].*\.$`, about, "%s: describe the setting in sentences, in descriptions", s.key)
		require.Contains(t, Page(), "- **`"+s.key+"`** · `"+s.env+"` · ")
	}
	for key, d := range descriptions {
		require.True(t, known[key], "%s is described and is no setting", key)
		for _, named := range regexp.MustCompile("`([a-z0-9_]+\\.[a-z0-9_.]+)`").FindAllStringSubmatch(d.about+d.standard, -1) {
			require.True(t, known[named[1]] || strings.HasSuffix(named[1], ".txt") || named[1] == "links.self", "%s names %s, which is no setting", key, named[1])
		}
	}
}

// TestASecretIsMaskedWhereverASettingIsShown uses the page and the list of values in force, with a password in the URL.
func TestASecretIsMaskedWhereverASettingIsShown(t *testing.T) {
	c := Standard()
	c.Database.URL = "postgres://arauto:s3cr3t@db.bank.example/arauto"
	for _, e := range c.Effective() {
		require.NotContains(t, e.Value, "s3cr3t")
		if e.Key == "database.url" {
			require.Equal(t, "postgres://arauto:xxxxx@db.bank.example/arauto", e.Value)
		}
	}
}
