package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/storetest"
)

// TestASizeThatIsNoCheckpointsIsToldByItsFlag: what is no size is wrong use; a size that no checkpoint has fails, and the
// nearest sizes are named. Nothing is written.
func TestASizeThatIsNoCheckpointsIsToldByItsFlag(t *testing.T) {
	p := openProven(t, 300)
	p.exec("INSERT INTO arauto.entry (id, kind, facts) SELECT gen_random_uuid(), 'change', '{}' FROM generate_series(1, 10)")
	p.seal()
	commands := map[string][]string{
		"export --size":     {"audit", "export", "--out", p.file("out"), "--size"},
		"dossier --size":    {"audit", "dossier", "p-1", "--out", p.file("out"), "--size"},
		"proof --size":      {"audit", "proof", "3", "--size"},
		"proof --from-size": {"audit", "proof", "--from-size"},
		"proof --to-size":   {"audit", "proof", "--from-size", "300", "--to-size"},
	}
	for name, command := range commands {
		flag := name[strings.Index(name, "--"):]
		for size, want := range map[string]struct {
			code int
			text string
		}{
			"-4":     {usage, flag + ": -4 is not a number of entries; use the size of a checkpoint, 1 or more, or omit the flag for the newest"},
			"999999": {failed, flag + ": no checkpoint has 999999 entries; the nearest checkpoint has 310 entries"},
			"305":    {failed, flag + ": no checkpoint has 305 entries; the nearest checkpoints have 300 and 310 entries"},
			"2":      {failed, flag + ": no checkpoint has 2 entries; the nearest checkpoint has 300 entries"},
		} {
			args := append(append([]string{}, command...), size, "--database-url", p.url)
			code, out := p.run(args...)
			require.Equal(t, want.code, code, "%s %s: %s", name, size, out)
			require.Equal(t, "arauto: "+want.text+"\n", out, "%s %s", name, size)
			require.NoFileExists(t, p.file("out"))
		}
	}
	code, out := p.run("audit", "proof", "--from-size", "310", "--to-size", "300", "--database-url", p.url)
	require.Equal(t, failed, code)
	require.Contains(t, out, "the checkpoint of 310 entries is younger than that of 300; name the older one first")
	for name, command := range commands {
		if name != "proof --from-size" {
			code, out := p.run(append(append([]string{}, command...), "310", "--database-url", p.url)...)
			require.Equal(t, done, code, out)
		}
	}
}

// TestAnEmptyLogSaysThatNothingIsSealedYet, and what to do: "there is no such checkpoint" told nobody.
func TestAnEmptyLogSaysThatNothingIsSealedYet(t *testing.T) {
	url := storetest.Database(t)
	file := filepath.Join(t.TempDir(), "x")
	for _, args := range []string{
		"export --out " + file, "proof 1", "proof --from-size 1", "proof --from-size 1 --to-size 0", "proof --from 2026-01-01 --to 2026-01-02", "tiles --out " + file, "dossier p",
		"completeness --client itp --from 2026-01-01 --to 2026-01-02 --out " + file,
	} {
		got := call(t, time.Minute, []string{"ARAUTO_DATABASE_URL=" + url}, append([]string{"audit"}, strings.Fields(args)...)...)
		require.Equal(t, failed, got.code, args)
		require.Contains(t, got.errors, "nothing is sealed yet", args)
		require.Contains(t, got.errors, "start arauto serve", args)
	}
}
