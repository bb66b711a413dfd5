package internal_test

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startedElsewhere lists the files with a goroutine below packages whose tests run without the race detector: the name that
// starts it, which these tests do not use, and where it is tested with the detector.
var startedElsewhere = map[string]struct{ name, tested string }{
	"internal/evidence/maker.go": {"Maker", "internal/store"},
}

// concurrent are the packages of the standard library and beside it that only code with several goroutines needs.
var concurrent = []string{"sync", "sync/atomic", "golang.org/x/sync", "testing/synctest", "net/http", "net/http/httptest"}

// TestWhatRunsWithoutTheRaceDetectorHasNoGoroutine holds the Makefile's list to its promise: neither the package nor its
// tests nor what they import of ours starts a goroutine or runs tests side by side.
func TestWhatRunsWithoutTheRaceDetectorHasNoGoroutine(t *testing.T) {
	positions, all := sources(t)
	line := regexp.MustCompile(`(?m)^UNRACED +:= (.+)$`).FindStringSubmatch(read(t, "Makefile"))
	require.NotNil(t, line, "the Makefile has no list UNRACED")
	for _, pkg := range strings.Fields(line[1]) {
		reached := importedByTestsOf(pkg, all)
		for _, s := range all {
			if !slices.Contains(reached, s.pkg) || s.test && s.pkg != pkg {
				continue
			}
			elsewhere, excused := startedElsewhere[s.file]
			if !excused && slices.ContainsFunc(imports(s), func(name string) bool {
				return slices.Contains(concurrent, name) && !(name == "sync" && onlyOnce(s))
			}) {
				t.Errorf("%s is reached by the tests of %s and imports one of %v: take the package from UNRACED in the Makefile", s.file, pkg, concurrent)
			}
			ast.Inspect(s.syntax, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					if !excused {
						t.Errorf("%s: a goroutine, reached by the tests of %s: take the package from UNRACED in the Makefile", positions.Position(n.Pos()), pkg)
					}
				case *ast.Ident:
					if s.test && (n.Name == "Parallel" || n.Name == "RunParallel") {
						t.Errorf("%s: tests of %s run side by side: take the package from UNRACED in the Makefile", positions.Position(n.Pos()), pkg)
					}
				}
				return true
			})
			if excused {
				requireNoTestNames(t, elsewhere.name, pkg, all)
				require.Contains(t, packages, elsewhere.tested)
				require.NotContains(t, strings.Fields(line[1]), elsewhere.tested)
			}
		}
	}
}

// onlyOnce tells that a file uses package sync to make a value at its first use, and for nothing else.
func onlyOnce(s source) bool {
	once := true
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if use, is := n.(*ast.SelectorExpr); is {
			if pkg, is := use.X.(*ast.Ident); is && pkg.Name == "sync" && !strings.HasPrefix(use.Sel.Name, "OnceValue") {
				once = false
			}
		}
		return once
	})
	return once
}

// importedByTestsOf lists the packages of ours that a test binary of the package is made of, the package first.
func importedByTestsOf(pkg string, all []source) []string {
	reached := []string{pkg}
	for i := 0; i < len(reached); i++ {
		for _, s := range all {
			if s.pkg != reached[i] || s.test && i > 0 {
				continue
			}
			for _, name := range imports(s) {
				if name = strings.TrimPrefix(name, module+"/"); !slices.Contains(reached, name) && slices.ContainsFunc(all, func(s source) bool { return s.pkg == name }) {
					reached = append(reached, name)
				}
			}
		}
	}
	return reached
}

// requireNoTestNames fails when a test of the package names an identifier.
func requireNoTestNames(t *testing.T, name, pkg string, all []source) {
	for _, s := range all {
		if !s.test || s.pkg != pkg {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if id, is := n.(*ast.Ident); is && id.Name == name {
				t.Errorf("%s uses %s, which starts a goroutine: test it with the race detector, in another package", s.file, name)
			}
			return true
		})
	}
}
