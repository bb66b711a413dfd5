package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnUnknownVariableIsRefusedWithTheNearestName(t *testing.T) {
	_, err := Read("", []string{
		"ARAUTO_PUBLIC_TLSCERT=/etc/s3cr3t.pem", "ARAUTO_DATABASE_PASSWORD=s3cr3t", "ARAUTO_COLOUR=s3cr3t", "ARAUTO_DISPATCH_SLOTS=s3cr3t", "ARAUTO_UNSET=",
		"ARAUTO_INTERNAL_ADDR=127.0.0.1:9443",
	})
	var wrong *Error
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, []string{
		"ARAUTO_COLOUR: no setting has this variable; see arauto help settings",
		"ARAUTO_DATABASE_PASSWORD: no setting has this variable; did you mean ARAUTO_DATABASE_PASSWORD_FILE? see arauto help settings",
		"ARAUTO_PUBLIC_TLSCERT: no setting has this variable; did you mean ARAUTO_PUBLIC_TLS_CERT? see arauto help settings",
		"dispatch.slots (ARAUTO_DISPATCH_SLOTS): cannot be read; write a whole number",
	}, wrong.Problems)
}

// TestWhatKubernetesSaysOfServicesIsNoSetting: it describes each service of the namespace to each pod by variables, and a service
// may be named arauto-internal.
func TestWhatKubernetesSaysOfServicesIsNoSetting(t *testing.T) {
	links := []string{
		"ARAUTO_INTERNAL_SERVICE_HOST=10.96.4.1", "ARAUTO_INTERNAL_SERVICE_PORT=9443", "ARAUTO_INTERNAL_SERVICE_PORT_INTERNAL=9443",
		"ARAUTO_INTERNAL_PORT=tcp://10.96.4.1:9443", "ARAUTO_INTERNAL_PORT_9443_TCP=tcp://10.96.4.1:9443", "ARAUTO_INTERNAL_PORT_9443_TCP_PROTO=tcp",
		"ARAUTO_INTERNAL_PORT_9443_TCP_PORT=9443", "ARAUTO_INTERNAL_PORT_9443_TCP_ADDR=10.96.4.1",
	}
	_, err := Read("", links)
	require.NoError(t, err)
	_, err = Read("", append(links, "ARAUTO_PUBLIC_PORT=8443"))
	require.ErrorContains(t, err, "ARAUTO_PUBLIC_PORT: no setting has this variable", "no such service is there")
	_, err = Read("", append(links, "ARAUTO_INTERNAL_ADDRESS=0.0.0.0:9443"))
	require.ErrorContains(t, err, "did you mean ARAUTO_INTERNAL_ADDR?")
}

// TestEveryVariableOfTheRepositoryIsASettingOrKnown reads every file: a variable that builds, tests or samples set must not be
// refused by a gateway that they start.
func TestEveryVariableOfTheRepositoryIsASettingOrKnown(t *testing.T) {
	known := map[string]bool{}
	for _, s := range Standard().settings() {
		known[s.env] = true
	}
	name := regexp.MustCompile(`\bARAUTO_[A-Z0-9_]*[A-Z0-9]\b`)
	found := 0
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "unknown") && strings.Contains(path, "config") || filepath.Ext(path) == ".pgo" {
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // of our own repository
		if err != nil {
			return err
		}
		for _, n := range name.FindAllString(string(text), -1) {
			found++
			if !known[n] && !isOther(n) && !strings.Contains(n, "_SERVICE_") {
				t.Errorf("%s: %s is neither a setting nor one of the others", path, n)
			}
		}
		return nil
	}))
	require.Greater(t, found, 500)
}
