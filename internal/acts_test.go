package internal_test

import (
	"encoding/json"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// actWriters are the functions that write an act whose code they are given, by the package that calls them.
var actWriters = map[string][]string{"record": {"internal/console"}, "exportEntry": {"internal/store/auditlog"}, "requestEntry": {"internal/store/auditlog"}, "RecordAct": {"internal/api/bank"}}

// actFiles are the files that write entries of kind admin. A new one writes its acts as TestEachActHasWordsOnThePageOfAccesses finds them.
var actFiles = []string{
	"internal/store/auditlog/exportjob.go", "internal/store/auditlog/reading.go", "internal/store/auditlog/reconcile_run.go", "internal/store/auditlog/request.go", "internal/store/event.go",
	"internal/store/probe.go", "internal/store/quarantine.go",
}

var (
	actCode = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	actSQL  = regexp.MustCompile(`'admin', '([a-z-]+)'`)
	adminOf = regexp.MustCompile(`'admin', |FactAdmin`)
)

// texts are the literals among expressions.
func texts(all ...ast.Expr) (out []string) {
	for _, e := range all {
		if l, is := e.(*ast.BasicLit); is && l.Kind == token.STRING {
			text, _ := strconv.Unquote(l.Value)
			out = append(out, text)
		}
	}
	return out
}

// called is the last name of what is called, assigned or selected.
func called(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// actsIn are the codes of acts that a node writes.
func actsIn(pkg string, n ast.Node) (out []string) {
	switch n := n.(type) {
	case *ast.KeyValueExpr:
		if called(n.Key) == "Act" {
			out = texts(n.Value)
		}
	case *ast.AssignStmt:
		for i, to := range n.Lhs {
			if name := called(to); len(n.Lhs) == len(n.Rhs) && (name == "act" && strings.HasPrefix(pkg, "internal/store") || name == "Act") {
				out = append(out, texts(n.Rhs[i])...)
			}
		}
	case *ast.CallExpr:
		if slices.Contains(actWriters[called(n.Fun)], pkg) {
			out = texts(n.Args...)
		}
	case *ast.CompositeLit:
		for i, e := range n.Elts[:max(0, len(n.Elts)-1)] {
			if called(e) == "FactAdmin" && strings.HasPrefix(pkg, "internal/store") {
				out = append(out, texts(n.Elts[i+1])...)
			}
		}
	case *ast.ValueSpec: // a constant
		for i, name := range n.Names {
			if pkg == "internal/history" && strings.HasPrefix(name.Name, "ActEvent") && i < len(n.Values) {
				out = append(out, texts(n.Values[i])...)
			}
		}
	case *ast.BasicLit:
		for _, m := range actSQL.FindAllStringSubmatch(n.Value, -1) {
			out = append(out, m[1])
		}
	}
	return slices.DeleteFunc(out, func(act string) bool { return !actCode.MatchString(act) || act == "probe" }) // which is rolled back
}

// TestEachActHasWordsOnThePageOfAccesses: acts of the console's own and of second persons were codes there.
func TestEachActHasWordsOnThePageOfAccesses(t *testing.T) {
	found, writers := []string{"hold placed", "hold lifted", "registered put", "registered delete", "registration-refused", "resend resend"}, []string{} // kinds of their own
	_, all := sources(t)
	for _, s := range all {
		if !s.product() {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if n != nil {
				found = append(found, actsIn(s.pkg, n)...)
			}
			return true
		})
		if strings.HasPrefix(s.pkg, "internal/store") && adminOf.MatchString(read(t, s.file)) {
			writers = append(writers, s.file)
		}
	}
	slices.Sort(writers)
	require.Equal(t, actFiles, writers)
	for _, one := range []string{ // one of each way
		"read", "proof", "renewal-refused", "request-approved", "request-done", "export-removed", "reconciliation-asked", "quarantine-applied", "quarantine-dismissed", "quarantine-superseded",
		"source-paused", "event-opened", "event-over",
	} {
		require.Contains(t, found, one)
	}
	var words map[string][]string
	require.NoError(t, json.Unmarshal([]byte(read(t, "internal/console/access/words.json")), &words))
	slices.Sort(found)
	missing := []string{}
	for _, act := range slices.Compact(found) {
		if in := words["did."+act]; len(in) != 2 || in[0] == "" || in[1] == "" {
			missing = append(missing, act)
		}
	}
	require.Empty(t, missing)
}
