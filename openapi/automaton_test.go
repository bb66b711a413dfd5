package openapi

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestEachAutomatonIsItsExpression draws texts from the characters that an expression names and from others, short and as
// long as it allows, with runs of each.
func TestEachAutomatonIsItsExpression(t *testing.T) {
	expressions := slices.Sorted(maps.Keys(patternForms))
	expressions = append(expressions, `a+b`, `^a*$|b`, `(ab|a)c?$`, `^$`, `^(x|^y)z`, `[^a]$`, `.`, `^(?:a|b){2,3}$`)
	for _, expression := range expressions {
		a := newAutomaton(expression)
		require.NotNil(t, a, "%s has no automaton", expression)
		matcher := regexp.MustCompile(unicodeEscape.ReplaceAllString(expression, `\x{$1}`))
		parsed, err := syntax.Parse(matcher.String(), syntax.Perl)
		require.NoError(t, err)
		valid := rapid.StringMatching(matcher.String())
		rapid.Check(t, func(t *rapid.T) {
			s := valid.Draw(t, "valid")
			pieces := rapid.SampledFrom([]string{"", "", "a", "0", "9", "-", ":", "T", "Z", "é", "\n", "\x00", "\x7f", "10", "ab", "E", "."})
			if cut := rapid.IntRange(0, len(s)).Draw(t, "cut"); rapid.Bool().Draw(t, "change") {
				s = s[:cut] + pieces.Draw(t, "piece") + s[min(len(s), cut+rapid.IntRange(0, 2).Draw(t, "gone")):]
			}
			if yes, known := a.match(s); known && yes != matcher.MatchString(s) {
				t.Fatalf("%s (%s): %q is judged %t", expression, parsed, s, yes)
			}
			p := newPattern(expression)
			if p.matches(s) != matcher.MatchString(s) {
				t.Fatalf("%s: %q is judged differently", expression, s)
			}
		})
	}
}

func TestWhatAnAutomatonCannotSayIsLeftToTheExpression(t *testing.T) {
	for _, expression := range []string{`\bword\b`, `(?m)^line$`, `^([ab]*a[ab]{12})$`, `(`} {
		require.Nil(t, newAutomaton(expression), expression)
	}
	word := newPattern(`\bword\b`)
	require.True(t, word.matches("a word"))
	require.False(t, word.matches("swords"))
	broken := newPattern(`(`)
	require.False(t, broken.matches(""), "what cannot be compiled accepts nothing")
}

// allReady returns the schema of each kind and version, which is compiled.
func allReady(t *testing.T, s *Schemas) readyDocument {
	t.Helper()
	all := readyDocument{}
	for _, source := range sources {
		schema, known, err := s.of(source.kind, source.version)
		require.NoError(t, err)
		require.True(t, known)
		require.NotNil(t, schema.full)
		require.NotNil(t, schema.fast)
		all[schemaKey{source.kind, source.version}] = schema
	}
	require.Len(t, all, len(sources))
	return all
}

// TestEverySchemaIsCompiled fails when a document says what the compiler does not know: that schema would be right, and slow.
func TestEverySchemaIsCompiled(t *testing.T) {
	for _, options := range [][]Option{nil, {KeepUnknown(true)}} {
		schemas, err := Load(options...)
		require.NoError(t, err)
		ready := allReady(t, schemas)
		var visit func(at string, c *compiledSchema)
		visit = func(at string, c *compiledSchema) {
			require.False(t, c.never, at)
			for name, p := range c.properties {
				visit(at+"/"+name, p.compiledSchema)
			}
			for _, alternative := range c.oneOf {
				visit(at+"/oneOf", alternative)
			}
			if c.items != nil {
				visit(at+"/items", c.items)
			}
		}
		for at, schema := range ready {
			visit(at.kind.String()+" "+at.version, schema.fast)
		}
	}
}

// TestWhatIsNotCompiledIsRefused keeps the rule that makes the compiled schemas safe: what they do not know they leave to
// the validator.
func TestWhatIsNotCompiledIsRefused(t *testing.T) {
	word := openapi3.NewStringSchema()
	one, yes := 1.0, true
	for name, schema := range map[string]*openapi3.Schema{
		"not": {Not: word.NewRef()}, "anyOf": {AnyOf: openapi3.SchemaRefs{word.NewRef()}}, "allOf": {AllOf: openapi3.SchemaRefs{word.NewRef()}},
		"nullable": {Nullable: true}, "uniqueItems": {UniqueItems: true}, "multipleOf": {MultipleOf: &one}, "minProperties": {MinProps: 1},
		"const": {Const: "x"}, "always": {Always: &yes}, "email": {Type: &openapi3.Types{"string"}, Format: "email"},
		"day of any type": {Format: "date"}, "two types": {Type: &openapi3.Types{"string", "number"}}, "number in a list": {Enum: []any{1.0}},
		"others": {AdditionalProperties: openapi3.AdditionalProperties{Schema: word.NewRef()}}, "exclusive": {ExclusiveMin: openapi3.ExclusiveBound{Bool: &yes}},
	} {
		c := newCompiler().schema(schema)
		require.False(t, c.fits("x") || c.fits(map[string]any{"x": "x"}), name)
	}
	inside := newCompiler().schema(&openapi3.Schema{OneOf: openapi3.SchemaRefs{word.NewRef(), (&openapi3.Schema{Not: word.NewRef()}).NewRef()}})
	require.False(t, inside.fits("x"), "an alternative that is not compiled makes the count unknown")
}
