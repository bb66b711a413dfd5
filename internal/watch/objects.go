package watch

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"
)

// braced puts objects into parentheses where the language takes a brace for the beginning of a predicate, so that
// map(list, {a: #.b}) makes objects. It returns the new text, and the characters of it, from 0, that were put in.
func braced(text string) (string, []int) {
	tokens, err := lexer.Lex(file.NewSource(text))
	if err != nil {
		return text, nil // compiling says what is wrong
	}
	opens, closes := map[int]bool{}, map[int]bool{} // before which character, and after which
	var open []bool                                 // of each brace that is open: whether it is such an object
	for i, t := range tokens {
		switch {
		case t.Is(lexer.Bracket, "{"):
			object := i > 0 && (tokens[i-1].Is(lexer.Operator, ",") || tokens[i-1].Is(lexer.Bracket, "(")) && beginsObject(tokens[i+1:])
			if open = append(open, object); object {
				opens[t.From] = true
			}
		case t.Is(lexer.Bracket, "}") && len(open) > 0:
			if open[len(open)-1] {
				closes[t.From] = true
			}
			open = open[:len(open)-1]
		}
	}
	if len(opens) == 0 || len(open) > 0 {
		return text, nil
	}
	var out strings.Builder
	var added []int
	at := 0 // of the new text
	put := func(r rune) {
		out.WriteRune(r)
		at++
	}
	for i, r := range []rune(text) {
		if opens[i] {
			added = append(added, at)
			put('(')
		}
		put(r)
		if closes[i] {
			added = append(added, at)
			put(')')
		}
	}
	return out.String(), added
}

// beginsObject tells whether what follows a brace makes an object: its end, or a name and a colon.
func beginsObject(rest []lexer.Token) bool {
	if len(rest) > 0 && rest[0].Is(lexer.Bracket, "}") {
		return true
	}
	named := len(rest) > 1 && slices.Contains([]lexer.Kind{lexer.Identifier, lexer.String, lexer.Number}, rest[0].Kind)
	return named && rest[1].Is(lexer.Operator, ":")
}

// unbraced makes of a place in the new text, from 1, the place in the text as it was written.
func unbraced(at int, added []int) int {
	before := 0
	for _, a := range added {
		if a < at-1 {
			before++
		}
	}
	return at - before
}
