package store_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/history"
	"github.com/arauto/arauto/migrations"
)

// TestEveryKindOfEntryThatIsWrittenCanBeSearchedFor reads the kinds from the statements and constants that write them: one
// that the list of filters lacks could not be searched for, and one that nothing writes would be an empty answer.
func TestEveryKindOfEntryThatIsWrittenCanBeSearchedFor(t *testing.T) {
	written := map[string]bool{}
	note := func(pattern *regexp.Regexp, text string) {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			written[m[1]] = true
		}
	}
	statement := regexp.MustCompile(`INSERT INTO entry \([^)]*\)\s*(?:VALUES\s*\(|SELECT\s+)(?:DISTINCT ON \(id\) )?[^,]*,\s*'([a-z-]+)'`)
	constant := regexp.MustCompile(`\s(?:entry|Fact)[A-Z]\w*\s+=\s+"([a-z-]+)"`)
	require.NoError(t, fs.WalkDir(migrations.Files, ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".sql") {
			text, _ := fs.ReadFile(migrations.Files, path)
			note(statement, string(text))
		}
		return err
	}))
	for _, folder := range []string{".", "auditlog", "../notice", "../history"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			note(statement, string(text))
			note(constant, string(text))
		}
	}
	var all []string
	for kind := range written {
		all = append(all, kind)
	}
	slices.Sort(all)
	known := history.EntryKinds()
	slices.Sort(known)
	require.Equal(t, known, all)
}
