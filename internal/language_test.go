package internal_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// phrase is wording that a reader in a second language stumbles over, and what to write in its place.
type phrase struct {
	banned  wording
	instead string
}

// wording is an expression, and what every text that matches it has in lower case: most texts have none of it, and looking
// is cheaper than matching.
type wording struct {
	*regexp.Regexp
	marks []string
}

// in finds the wording in a text.
func (w wording) in(text string) [][]int {
	lower := strings.ToLower(text)
	if !slices.ContainsFunc(w.marks, func(mark string) bool { return strings.Contains(lower, mark) }) {
		return nil
	}
	return w.FindAllStringIndex(text, -1)
}

// phrases lists what no comment, text of the program or page of the documentation says.
var phrases = []phrase{
	{words(`whoever|whomever|whosoever`), "name the role: the caller, the operator, the verifier, the reader of the log"},
	{words(`wherever|whithersoever|by whichever`), "name the places"},
	{words(`no such thing`), "say what was not found: `resource not found`"},
	{words(`nothing is certain`), "say which outcome is unknown, and whether a retry is safe"},
	{words(`by and by`), "say when, or how often"},
	{words(`all that is wrong`), "`reports every problem`"},
	{words(`for good`), "`permanently`, `irreparably`, or what makes it final"},
	{words(`shall|lest|alas|henceforth|thereby|whereby|whereof|thereof|therein|asunder`), "`must`, `may`, `so that … not`: the English of today"},
	{words(`fell over|came along`), "name the fault: `a flipped bit`"},
	{words(`what came of`), "`the result`, `the outcome`"},
	{words(`holds? (it|us|them|him|her) up`), "`delays` or `blocks`"},
	{words(`reckon(s|ed|ing)?`), "`verify`, `compute`"},
	{words(`throwaway`), "`temporary`"},
	{words(`allows? to`), "name who is allowed: `allows a reader to prove it`, or say what to do: `use it to prove`"},
	{words(`by another way`), "`through another channel`, `by other means`"},
	{wording{regexp.MustCompile(`[\pL\pN.,;)] ?—`), []string{"—"}}, "a full stop or a colon: one thought a sentence"}, // a signature line of a signed note begins with one
}

// prescribed lists the files in which a banned wording may stand, each with its reason.
var prescribed = map[string]string{
	"LICENSE":                    "its text is given",
	"internal/language_test.go":  "it lists the wordings",
	"migrations/0001_core.sql":   "a migration that was applied is not edited",
	"migrations/0003_proof.sql":  "a migration that was applied is not edited",
	"migrations/0005_search.sql": "a migration that was applied is not edited",
}

// prose are the kinds of files, besides Go, whose whole text is read.
var prose = []string{".md", ".yaml", ".yml", ".sql", ".py", ".sh", ""}

// words matches whole words, in upper or lower case, also across a line end. The longest word of an alternative is its mark.
func words(alternatives string) wording {
	w := wording{Regexp: regexp.MustCompile(`(?i)\b(` + strings.ReplaceAll(alternatives, " ", `\s+`) + `)\b`)}
	optional := regexp.MustCompile(`\([^)]*\)|.\?`)
	for _, one := range strings.Split(optional.ReplaceAllString(alternatives, ""), "|") {
		w.marks = append(w.marks, slices.MaxFunc(strings.Fields(one), func(a, b string) int { return len(a) - len(b) }))
	}
	return w
}

func TestNoTextUsesABannedWording(t *testing.T) {
	positions, all := sources(t)
	for _, s := range all {
		if _, known := prescribed[s.file]; known {
			continue
		}
		judge := func(at token.Pos, text string) {
			for _, p := range phrases {
				for _, found := range p.banned.in(text) {
					t.Errorf("%s: %q: write %s", positions.Position(at), text[found[0]:found[1]], p.instead)
				}
			}
		}
		for _, group := range s.syntax.Comments {
			judge(group.Pos(), group.Text())
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				judge(literal.Pos(), value)
			}
			return true
		})
	}
	for _, file := range files(t) {
		if _, known := prescribed[file]; known || !slices.Contains(prose, path.Ext(file)) || strings.Contains(file, "testdata/") {
			continue
		}
		text := read(t, file)
		for _, p := range phrases {
			for _, at := range p.banned.in(text) {
				t.Errorf("%s:%d: %q: write %s", file, 1+strings.Count(text[:at[0]], "\n"), text[at[0]:at[1]], p.instead)
			}
		}
	}
}

// TestABannedWordingIsFound holds the list against sentences of which it must find each, and others which it must pass.
func TestABannedWordingIsFound(t *testing.T) {
	finds := func(text string) bool {
		return slices.ContainsFunc(phrases, func(p phrase) bool { return p.banned.in(text) != nil })
	}
	for _, bad := range []string{"Whoever asks", "there is no such\nthing", "it ends for good", "a bit that fell over", "one thought — and another", "its position allows to prove it", "ask for it by another way"} {
		require.True(t, finds(bad), bad)
	}
	for _, good := range []string{"resource not found", "asks for goods", "shallow", "TestWhereverItIs", "10–60 s", "the lesson", "\n— arauto/fe812c12f3ab4ce6 lSAI"} {
		require.False(t, finds(good), good)
	}
}

// TestEachExceptionFromTheListOfWordingsIsNeeded fails when a file is prescribed nothing any more.
func TestEachExceptionFromTheListOfWordingsIsNeeded(t *testing.T) {
	for file := range prescribed {
		text := read(t, file)
		require.True(t, slices.ContainsFunc(phrases, func(p phrase) bool { return p.banned.in(text) != nil }),
			"%s has no banned wording: remove its exception", file)
	}
}
