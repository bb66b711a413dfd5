package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/stretchr/testify/require"
)

// decoded reads a dashboard strictly by Grafana's own schema, panels and queries included: no member is missing, unknown or of another
// type. The library answers an error without content where it found nothing.
func decoded(text []byte) (d dashboard.Dashboard, wrong cog.BuildErrors) {
	err := d.UnmarshalJSONStrict(text)
	if err != nil && !errors.As(err, &wrong) {
		wrong = cog.MakeBuildErrors("", err)
	}
	return d, wrong
}

func TestTheDashboardIsWhatGrafanasOwnSchemaDescribes(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(filepath.Join(files, "arauto.dashboard.json"))
	require.NoError(t, err)
	d, wrong := decoded(text)
	require.Empty(t, wrong)
	require.NoError(t, d.Validate())
	require.Equal(t, "Arauto", *d.Title)
	require.NotEmpty(t, d.Panels)

	for right, broken := range map[string]string{`"graphMode": "area"`: `"graphMode": 1`, `"reduceOptions"`: `"reduceOption"`, `"keepTime"`: `"keepsTime"`} {
		_, wrong = decoded([]byte(strings.Replace(string(text), right, broken, 1)))
		require.NotEmpty(t, wrong, "%s is found", broken)
	}
}
