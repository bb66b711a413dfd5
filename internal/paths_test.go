package internal_test

import (
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// paths bounds the lists of docs/ARCHITECTURE.md, "Paths, file by file", by their headings.
var paths = map[string]struct{ files, packages int }{
	"One change, to the socket and the audit row":                   {14, 6},
	"One followed row, from the core's PostgreSQL to the audit row": {12, 6},
	"One status query": {11, 6},
	"One dossier":      {10, 7},
}

// step is one row of a list.
type step struct {
	file, function string
	from           int    // number of the step that leads to it; 0: it is the first
	through        string // what hands over, where nothing is called
}

// TestThePathsOfTheDocsAreThoseOfTheCode: every file and function of the lists is there, and each step is called, or handed
// something through a name that both know, in the file of the step that leads to it.
func TestThePathsOfTheDocsAreThoseOfTheCode(t *testing.T) {
	syntax := map[string]source{}
	_, all := sources(t)
	for _, s := range all {
		syntax[s.file] = s
	}
	lists := stepsOf(t, read(t, "docs/ARCHITECTURE.md"))
	require.Len(t, lists, len(paths), "each list has bounds, and each bound a list")
	for title, bounds := range paths {
		steps := lists[title]
		require.NotEmpty(t, steps, title)
		files, packages := map[string]bool{}, map[string]bool{}
		for n, s := range steps {
			at := title + ", step " + strconv.Itoa(n+1) + ": " + s.file
			files[s.file], packages[path.Dir(s.file)] = true, true
			require.Contains(t, syntax, s.file, at)
			assert.True(t, declares(syntax[s.file], s.function), "%s has no function %s", at, s.function)
			if n == 0 {
				continue
			}
			require.True(t, 0 < s.from && s.from <= n, "%s: it comes from step %d", at, s.from)
			before := steps[s.from-1].file
			switch s.through {
			case "":
				assert.True(t, calls(syntax[before], s.function), "%s: %s is not called in %s", at, s.function, before)
			default:
				assert.True(t, names(syntax[before], s.through), "%s: %s does not name %s", at, before, s.through)
				assert.True(t, names(syntax[s.file], s.through), "%s: it does not name %s", at, s.through)
			}
		}
		assert.LessOrEqual(t, len(files), bounds.files, "%s: files", title)
		assert.LessOrEqual(t, len(packages), bounds.packages, "%s: packages", title)
	}
}

var (
	stepRow = regexp.MustCompile("^\\| (\\d+) \\| `([a-z/_]+\\.go)` \\| `(\\w+)` \\| ([^|]*)\\| [^|]+ \\|$")
	leading = regexp.MustCompile("^(\\d+)(?: through `(\\w+)`)?$")
)

// stepsOf reads the lists of the page, by heading. A step without another origin comes from the one before it.
func stepsOf(t *testing.T, page string) map[string][]step {
	t.Helper()
	_, section, found := strings.Cut(page, "\n## Paths, file by file\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	lists := map[string][]step{}
	for _, list := range strings.Split(section, "\n### ")[1:] {
		title, rows, _ := strings.Cut(list, "\n")
		for _, row := range strings.Split(rows, "\n") {
			if !strings.HasPrefix(row, "| ") || strings.HasPrefix(row, "| step |") {
				continue
			}
			m := stepRow.FindStringSubmatch(row)
			require.NotNil(t, m, "%s: a row is | number | `file` | `function` | from | what it does |: %s", title, row)
			require.Equal(t, strconv.Itoa(len(lists[title])+1), m[1], "%s: rows are numbered in order: %s", title, row)
			s := step{file: "internal/" + m[2], function: m[3], from: len(lists[title])}
			if from := strings.TrimSpace(m[4]); from != "" {
				f := leading.FindStringSubmatch(from)
				require.NotNil(t, f, "%s: from is empty, a number, or a number through `a name`: %s", title, row)
				s.from, _ = strconv.Atoi(f[1])
				s.through = f[2]
			}
			lists[title] = append(lists[title], s)
		}
	}
	return lists
}

// declares tells whether a file has a function or a method of a name.
func declares(s source, name string) bool {
	for _, d := range s.syntax.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			return true
		}
	}
	return false
}

// calls tells whether a file calls a function or a method of a name, perhaps through an interface.
func calls(s source, name string) (found bool) {
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			switch f := call.Fun.(type) {
			case *ast.Ident:
				found = found || f.Name == name
			case *ast.SelectorExpr:
				found = found || f.Sel.Name == name
			}
		}
		return !found
	})
	return found
}

// names tells whether a file uses a name, of Go or of a table in its SQL.
func names(s source, name string) (found bool) {
	word := regexp.MustCompile(`\b` + name + `\b`)
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		switch v := n.(type) {
		case *ast.Ident:
			found = found || v.Name == name
		case *ast.BasicLit:
			found = found || word.MatchString(v.Value)
		}
		return !found
	})
	return found
}
