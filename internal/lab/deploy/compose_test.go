package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// load reads the compose file as its own library does, with these variables.
func load(t *testing.T, environment ...string) (*types.Project, error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{filepath.Join(files, "compose.yaml")}, cli.WithEnv(environment), cli.WithWorkingDirectory(files))
	require.NoError(t, err)
	return o.LoadProject(t.Context())
}

func TestTheComposeFileStartsOneAfterTheOther(t *testing.T) {
	_, err := load(t)
	require.ErrorContains(t, err, "POSTGRES_PASSWORD", "a password that is not set is told")
	p, err := load(t, "POSTGRES_PASSWORD=one", "SERVE_PASSWORD=two", "IMAGE=registry.bank.example/arauto:v9")
	require.NoError(t, err)

	var order []string
	require.NoError(t, p.ForEachService(p.ServiceNames(), func(name string, s *types.ServiceConfig) error {
		order = append(order, name)
		for other, d := range s.DependsOn {
			require.Contains(t, order, other, "%s starts after %s", name, other)
			want := types.ServiceConditionCompletedSuccessfully
			if other == "database" {
				want = types.ServiceConditionHealthy
			}
			require.Equal(t, want, d.Condition)
		}
		return nil
	}))
	require.Equal(t, "arauto", order[len(order)-1])
	s := p.Services["arauto"]
	require.Equal(t, "registry.bank.example/arauto:v9", s.Image)
	require.True(t, s.ReadOnly)
	require.Equal(t, "25s", s.StopGracePeriod.String())
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeVolume {
			require.Contains(t, p.Volumes, v.Source)
		}
	}
	require.Contains(t, p.Configs["login"].Content, "IN ROLE arauto_app")
	container, err := os.ReadFile(filepath.Join(files, "Containerfile"))
	require.NoError(t, err)
	require.Contains(t, string(container), "COPY --chown=65532:65532 --chmod=0700 state /var/lib/arauto", "a new volume has the owner of the image's folder")
	page, err := os.ReadFile("../../../docs/operations/running.md")
	require.NoError(t, err)
	for _, text := range []string{string(container), string(page)} {
		builds := regexp.MustCompile("(?m)^.*podman build .*$").FindAllString(text, -1)
		require.Len(t, builds, 1)
		require.Regexp(t, `mkdir -p \S*state && podman build`, builds[0], "a release is files alone, so the empty folder is made before it is copied")
	}
	for _, port := range s.Ports {
		if port.Target == 9090 {
			require.Equal(t, "127.0.0.1", port.HostIP, "metrics and health have no token")
		}
	}
}
