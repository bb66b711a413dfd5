package bank

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bilingualRefusal is a contradiction with a text in Portuguese, as the store's are.
type bilingualRefusal struct{ contradiction }

// Portuguese is its text.
func (bilingualRefusal) Portuguese() string { return "já foi enviada" }

func TestTheTextOfARefusalIsInTheLanguageOfTheCaller(t *testing.T) {
	w := newWorld(t)
	says := func(got reply, status int, text string) {
		t.Helper()
		require.Equal(t, status, got.status)
		require.Equal(t, text, got.body["error_description"])
	}
	require.Equal(t, 200, w.ask("POST", changesPath, "ingest", payment("p1", 1, "ACSC")).status)
	other := strings.Replace(payment("p1", 2, "ACSC"), `"itp"`, `"foe"`, 1)
	says(w.ask("POST", changesPath, "ingest", other), 409, "the resource belongs to another client")
	says(w.ask("POST", changesPath, "ingest", other, "Accept-Language: pt-BR"), 409, "o recurso pertence a outro cliente")
	wrong := payment("p1", 3, "RJCT", `,"bad":1`)
	says(w.ask("POST", changesPath, "ingest", wrong), 422, "the change cannot be applied; it is kept in quarantine")
	says(w.ask("POST", changesPath, "ingest", wrong, "Accept-Language: pt"), 422, "a mudança não pode ser aplicada; ela fica na quarentena")

	w.faked = true
	at := "/internal/v1/notifications/" + someID
	w.shelf.notification = notificationFails(bilingualRefusal{contradiction("already sent")})
	says(w.ask("GET", at, "auditor", ""), 409, "already sent")
	says(w.ask("GET", at, "auditor", "", "Accept-Language: pt"), 409, "já foi enviada")
	w.shelf.notification = notificationFails(contradiction("already sent"))
	says(w.ask("GET", at, "auditor", "", "Accept-Language: pt"), 409, "already sent")
	w.shelf.notification = notificationFails(errMissing)
	says(w.ask("GET", at, "auditor", "", "Accept-Language: pt"), 404, "recurso não encontrado")
}

func TestEveryLineOfAnActAboutSeveralIsInTheLanguageOfTheCaller(t *testing.T) {
	w := newWorld(t)
	for lang, text := range map[string]string{"en": "resource not found", "pt": "recurso não encontrado"} {
		got := w.ask("POST", "/internal/v1/quarantine/dismiss", "operator", `{"ids":["`+someID+`"],"reason":"x"}`, "Accept-Language: "+lang)
		require.Equal(t, 200, got.status, got.text)
		require.Contains(t, got.text, text)
	}
}

// TestEachRefusalThatAPersonOfTheConsoleMeetsHasItsPortuguese reads the refusals where they are written. Those of other files are met by
// programs alone, or say what is wrong with a token or a body.
func TestEachRefusalThatAPersonOfTheConsoleMeetsHasItsPortuguese(t *testing.T) {
	for _, name := range []string{"audit_judge.go", "polling.go", "request.go", "preflight.go", "notification.go", "fault.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			literal, is := n.(*ast.CompositeLit)
			if !is || len(literal.Elts) == 0 {
				return true
			}
			if kind, is := literal.Type.(*ast.SelectorExpr); !is || kind.Sel.Name != "APIError" {
				return true
			}
			var members []string
			for _, e := range literal.Elts {
				members = append(members, e.(*ast.KeyValueExpr).Key.(*ast.Ident).Name)
			}
			require.Subset(t, members, []string{"Text", "TextPT"}, name)
			return true
		})
	}
}
