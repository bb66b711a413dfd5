package internal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEachRowOfTheTableOfTamperingsNamesATestThatExists: docs/tampering.md promises that something notices; a test shows it.
func TestEachRowOfTheTableOfTamperingsNamesATestThatExists(t *testing.T) {
	page, err := os.ReadFile("../docs/tampering.md")
	require.NoError(t, err)
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, root := range []string{".", "../cmd"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path) //nolint:gosec // our own sources
			for _, m := range declared.FindAllSubmatch(text, -1) {
				tests[string(m[1])] = true
			}
			return err
		}))
	}
	named := regexp.MustCompile("`(Test\\w+)`")
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what is done") {
			continue
		}
		rows++
		all := named.FindAllStringSubmatch(line, -1)
		require.True(t, len(all) > 0 || strings.Contains(line, "**nothing"), "no test: %s", line)
		for _, m := range all {
			require.True(t, tests[m[1]], "there is no test %s: %s", m[1], line)
		}
	}
	require.Greater(t, rows, 25)
}
