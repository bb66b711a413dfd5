package internal_test

import (
	"go/ast"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// everywhere lists the type names that several packages declare, because each means the same in all of them.
var everywhere = map[string]string{
	"Config":   "what a package is made with, and its limits",
	"Options":  "what a constructor takes beside its arguments",
	"Settings": "a source's part of a mapping file",
	"Observer": "is told what a package did, for metrics and logs",
	"Store":    "what a package needs of the store; *store.Store is it",
	"Sender":   "makes one attempt; *webhook.Sender is it",
	"Reader":   "reads an origin for watch, one in each package of a kind of origin; strict.Reader reads JSON",
	"session":  "one connection of a Reader, from its start to its end",
	"pace":     "how often a session does things; tests shorten it",
	"silent":   "an Observer that does nothing",
}

// typeNames are the type declarations of the product, by name and package. An alias that keeps its name is the same type.
func typeNames(t *testing.T) map[string]map[string]bool {
	t.Helper()
	declared := map[string]map[string]bool{}
	_, all := sources(t)
	for _, s := range all {
		if !s.product() {
			continue
		}
		for _, d := range s.syntax.Decls {
			group, _ := d.(*ast.GenDecl)
			if group == nil {
				continue
			}
			for _, spec := range group.Specs {
				one, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				if of, ok := one.Type.(*ast.SelectorExpr); ok && one.Assign.IsValid() && of.Sel.Name == one.Name.Name {
					continue
				}
				if declared[one.Name.Name] == nil {
					declared[one.Name.Name] = map[string]bool{}
				}
				declared[one.Name.Name][s.pkg] = true
			}
		}
	}
	require.Greater(t, len(declared), 300)
	return declared
}

func TestATypeNameMeansOneThing(t *testing.T) {
	declared := typeNames(t)
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if _, known := everywhere[name]; !known && len(declared[name]) > 1 {
			t.Errorf("%s is a type of %v: rename all but one by its role", name, slices.Sorted(maps.Keys(declared[name])))
		}
	}
	for name := range everywhere {
		require.Greater(t, len(declared[name]), 1, "%s is declared once at most: remove its row from the list", name)
	}
}

func TestNoFunctionHasMoreThanFiveParameters(t *testing.T) {
	positions, all := sources(t)
	for _, s := range all {
		if !s.product() {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncType); ok && f.Params.NumFields() > 5 {
				t.Errorf("%s: %d parameters; take a struct", positions.Position(f.Pos()), f.Params.NumFields())
			}
			return true
		})
	}
}

func TestEveryExportedNameHasAComment(t *testing.T) {
	positions, all := sources(t)
	for _, s := range all {
		if s.test {
			continue
		}
		bare := func(name *ast.Ident, comments ...*ast.CommentGroup) {
			if name.IsExported() && !slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c != nil }) {
				t.Errorf("%s: %s has no comment", positions.Position(name.Pos()), name.Name)
			}
		}
		for _, d := range s.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil || receiver(d).IsExported() {
					bare(d.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						bare(spec.Name, d.Doc, spec.Doc, spec.Comment)
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							bare(name, d.Doc, spec.Doc, spec.Comment)
						}
					}
				}
			}
		}
	}
}

// receiver is the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) *ast.Ident {
	of := d.Recv.List[0].Type
	for {
		switch x := of.(type) {
		case *ast.StarExpr:
			of = x.X
		case *ast.IndexExpr:
			of = x.X
		case *ast.IndexListExpr:
			of = x.X
		case *ast.Ident:
			return x
		}
	}
}
