package openapi

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// jsonType is a set of JSON types.
type jsonType uint8

const (
	objectType jsonType = 1 << iota
	arrayType
	stringType
	numberType
	integerType
	booleanType
	anyType = objectType | arrayType | stringType | numberType | integerType | booleanType
)

var jsonTypes = map[string]jsonType{
	openapi3.TypeObject: objectType, openapi3.TypeArray: arrayType, openapi3.TypeString: stringType, openapi3.TypeNumber: numberType,
	openapi3.TypeInteger: integerType, openapi3.TypeBoolean: booleanType,
}

// compiledSchema is a schema made ready for yes or no. What it accepts, the validator accepts. What it refuses, the validator is
// asked about: it decides, and explains.
type compiledSchema struct {
	never bool // the schema says something that is not compiled, so nothing is accepted here
	types jsonType
	oneOf []*compiledSchema

	enum       []string  // nil: any
	length     sizeRange // of a string, in characters
	pattern    pattern
	layout     string // of a day or an instant; "" for other strings
	items      *compiledSchema
	count      sizeRange // of items
	number     [2]float64
	properties map[string]property
	required   int      // how many properties are required
	others     []string // required members that are no properties
	closed     bool     // members that are no properties are refused
}

// property is a member that a schema knows.
type property struct {
	*compiledSchema
	required bool
}

// sizeRange is a lower and an upper bound, both included.
type sizeRange struct{ least, most int }

func (s sizeRange) has(n int) bool { return n >= s.least && n <= s.most }

// rangeOf reads the bounds of a schema; no upper bound is the largest int.
func rangeOf(least uint64, most *uint64) sizeRange {
	s := sizeRange{clampInt(least), math.MaxInt}
	if most != nil {
		s.most = clampInt(*most)
	}
	return s
}

func clampInt(n uint64) int { return int(min(n, math.MaxInt)) }

// compiler compiles each schema and each pattern once.
type compiler struct {
	schemas  map[*openapi3.Schema]*compiledSchema
	patterns map[string]pattern
}

func newCompiler() *compiler {
	return &compiler{map[*openapi3.Schema]*compiledSchema{}, map[string]pattern{}}
}

// schema compiles a schema and what is below it.
func (c *compiler) schema(s *openapi3.Schema) *compiledSchema {
	if known := c.schemas[s]; known != nil {
		return known
	}
	out := &compiledSchema{types: anyType, number: [2]float64{math.Inf(-1), math.Inf(1)}}
	c.schemas[s] = out
	if out.never = !simple(s); out.never {
		return out
	}
	if s.Type != nil {
		out.types = jsonTypes[(*s.Type)[0]]
	}
	for _, alternative := range s.OneOf {
		out.oneOf = append(out.oneOf, c.schema(alternative.Value))
	}
	for _, value := range s.Enum {
		out.enum = append(out.enum, value.(string)) //nolint:forcetypeassert // simple has looked
	}
	out.length, out.count = rangeOf(s.MinLength, s.MaxLength), rangeOf(s.MinItems, s.MaxItems)
	out.pattern, out.layout = c.pattern(s.Pattern), layouts[s.Format]
	if s.Min != nil {
		out.number[0] = *s.Min
	}
	if s.Max != nil {
		out.number[1] = *s.Max
	}
	if s.Format == "int32" {
		out.number = [2]float64{max(out.number[0], math.MinInt32), min(out.number[1], math.MaxInt32)}
	}
	if s.Items != nil {
		out.items = c.schema(s.Items.Value)
	}
	c.members(s, out)
	return out
}

func (c *compiler) members(s *openapi3.Schema, out *compiledSchema) {
	out.closed = s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has
	out.properties = make(map[string]property, len(s.Properties))
	for name, p := range s.Properties {
		out.properties[name] = property{c.schema(p.Value), slices.Contains(s.Required, name)}
	}
	for _, p := range out.properties {
		if p.required {
			out.required++
		}
	}
	for _, name := range s.Required {
		if _, known := out.properties[name]; !known {
			out.others = append(out.others, name)
		}
	}
}

func (c *compiler) pattern(expression string) pattern {
	known, is := c.patterns[expression]
	if !is && expression != "" {
		known = newPattern(expression)
		c.patterns[expression] = known
	}
	return known
}

// simple tells whether all that a schema itself says is compiled. A keyword that nobody thought of here makes it false.
func simple(s *openapi3.Schema) bool {
	rest := *s
	rest.Title, rest.Description, rest.Example, rest.Default = "", "", nil, nil // these judge nothing
	rest.Extensions, rest.Origin, rest.ExternalDocs, rest.Deprecated = nil, nil, nil, false
	rest.OneOf, rest.Type, rest.Enum, rest.Items, rest.Properties, rest.Required = nil, nil, nil, nil, nil, nil
	rest.MinLength, rest.MaxLength, rest.MinItems, rest.MaxItems, rest.Min, rest.Max = 0, nil, 0, nil, nil, nil
	rest.Pattern, rest.Format, rest.AdditionalProperties.Has = "", "", nil
	for _, value := range s.Enum {
		if _, is := value.(string); !is {
			return false
		}
	}
	format := s.Format == "" || layouts[s.Format] != "" && s.Type.Is(openapi3.TypeString) || s.Format == "int32" && s.Type.Is(openapi3.TypeInteger)
	return format && (s.Type == nil || len(*s.Type) == 1) && reflect.ValueOf(rest).IsZero()
}

// fits tells whether a decoded value is accepted. Numbers are json.Number.
func (c *compiledSchema) fits(value any) bool {
	if c.never || value == nil || c.oneOf != nil && !c.fitsOne(value) {
		return false
	}
	text, isText := value.(string)
	if c.enum != nil && (!isText || !slices.Contains(c.enum, text)) {
		return false
	}
	switch v := value.(type) {
	case string:
		return c.types&stringType != 0 && c.fitsString(v)
	case map[string]any:
		return c.types&objectType != 0 && c.fitsObject(v)
	case []any:
		return c.types&arrayType != 0 && c.count.has(len(v)) &&
			(c.items == nil || !slices.ContainsFunc(v, func(item any) bool { return !c.items.fits(item) }))
	case json.Number:
		return c.fitsNumber(v)
	case bool:
		return c.types&booleanType != 0
	}
	return false
}

// fitsOne tells whether exactly one alternative accepts a value.
func (c *compiledSchema) fitsOne(value any) bool {
	n := 0
	for _, alternative := range c.oneOf {
		if alternative.never {
			return false
		}
		if alternative.fits(value) {
			n++
		}
	}
	return n == 1
}

func (c *compiledSchema) fitsString(s string) bool {
	return (c.length.least == 0 && c.length.most == math.MaxInt || c.length.has(utf8.RuneCountInString(s))) && c.pattern.matches(s) &&
		(c.layout == "" || exists(c.layout, s))
}

func (c *compiledSchema) fitsNumber(n json.Number) bool {
	f, err := n.Float64()
	whole := c.types&numberType == 0
	return err == nil && c.types&(numberType|integerType) != 0 && (!whole || f == math.Trunc(f)) && f >= c.number[0] && f <= c.number[1]
}

func (c *compiledSchema) fitsObject(object map[string]any) bool {
	required := 0
	for name, value := range object {
		switch p, known := c.properties[name]; {
		case !known && c.closed, known && !p.fits(value):
			return false
		case p.required:
			required++
		}
	}
	for _, name := range c.others {
		if _, there := object[name]; !there {
			return false
		}
	}
	return required == c.required
}
