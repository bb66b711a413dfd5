package internal_test

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// source is one parsed Go file of the repository.
type source struct {
	file   string // slash path from the root
	pkg    string // its folder, "internal/ofb"
	test   bool   // *_test.go
	syntax *ast.File
}

// product tells code that can reach production from tests and their helpers.
func (s source) product() bool { return !s.test && !isHelper(s.pkg) }

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "go.mod"))
	return dir
}

// files lists what the repository holds or is about to hold: tracked, and new but not ignored. Without git, everything.
func files(t *testing.T) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	list.Dir = root(t)
	var found []string
	if output, err := list.Output(); err == nil {
		found = strings.Split(strings.TrimSuffix(string(output), "\x00"), "\x00")
	} else {
		ignored := []string{".git", "bin", "state"}
		require.NoError(t, fs.WalkDir(os.DirFS(root(t)), ".", func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && slices.Contains(ignored, name):
				return fs.SkipDir
			case !entry.IsDir():
				found = append(found, name)
			}
			return nil
		}))
	}
	found = slices.DeleteFunc(found, func(name string) bool {
		_, err := os.Stat(filepath.Join(root(t), name)) // deleted, not yet committed
		return err != nil
	})
	require.Contains(t, found, "go.mod")
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(t), file))
	require.NoError(t, err)
	return string(content)
}

// otherModules are the folders with a go.mod of their own, whose libraries are not ours.
var otherModules = []string{"internal/lab/deploy", "internal/lab/pkcs11signer"}

func inOtherModule(file string) bool {
	return slices.ContainsFunc(otherModules, func(m string) bool { return strings.HasPrefix(file, m+"/") })
}

// sources parses every Go file of this module but those that are run by hand.
func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	positions := token.NewFileSet()
	var found []source
	for _, file := range files(t) {
		if path.Ext(file) != ".go" || strings.Contains(file, "testdata/") || inOtherModule(file) {
			continue
		}
		syntax, err := parser.ParseFile(positions, filepath.Join(root(t), file), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		if runByHand(syntax) {
			continue
		}
		found = append(found, source{file, path.Dir(file), strings.HasSuffix(file, "_test.go"), syntax})
	}
	require.NotEmpty(t, found)
	return positions, found
}

// runByHand tells a file that no build includes.
func runByHand(syntax *ast.File) bool {
	for _, group := range syntax.Comments {
		for _, line := range group.List {
			if expr, err := constraint.Parse(line.Text); err == nil && group.Pos() < syntax.Package {
				return expr.String() == "ignore"
			}
		}
	}
	return false
}

// imports yields the import paths of a file.
func imports(s source) []string {
	var found []string
	for _, spec := range s.syntax.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			found = append(found, name)
		}
	}
	return found
}

// within tells whether a path is base or below it.
func within(base, name string) bool { return name == base || strings.HasPrefix(name, base+"/") }
