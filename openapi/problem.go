package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
)

// MaxProblems bounds how many problems Check tells of one document.
const MaxProblems = 20

// The codes of problems. No part of a problem repeats a received value, nor a received name that could hide one; its pointer begins at
// the line of the change ("/data/debtorAccount/ispb").
const (
	CodeRequired    = "required"       // a member is missing
	CodeUnknown     = "unknown-member" // this version of the API has no such member
	CodeType        = "type"           // another JSON type than the schema's
	CodeEnum        = "enum"           // not one of the listed values
	CodePattern     = "pattern"        // text of another form
	CodeFormat      = "format"         // of the right form, but no real day or instant
	CodeLength      = "length"         // too short, too long; too few or too many items
	CodeRange       = "range"          // a number out of its bounds
	CodeOneOf       = "one-of"         // none or several of the alternatives
	CodeNull        = "null"           // null, which no member of these APIs may be
	CodeConditional = "conditional"    // two members contradict each other, or one asks for another
)

// text says one thing in both languages of this product.
type text struct{ en, pt string }

// problem puts a pointer, a code and the words together.
func problem(pointer, code string, t text) notice.Problem {
	return notice.Problem{Pointer: pointer, Code: code, Detail: t.en, DetailPT: t.pt}
}

// both formats one message in both languages with the same arguments.
func both(en, pt string, arguments ...any) text {
	return text{fmt.Sprintf(en, arguments...), fmt.Sprintf(pt, arguments...)}
}

// unknownVersion is the problem of a change whose API version has no schema for its kind.
func unknownVersion(kind ofb.Kind) notice.Problem {
	versions := strings.Join(kind.Versions(), ", ")
	return problem("/apiVersion", CodeEnum, both(
		"apiVersion of kind %s must be one of: %s", "apiVersion do kind %s deve ser um destes valores: %s", kind, versions))
}

// addFailure translates one failure of the validator at a path. Its own words are not used: they are made for the
// authors of schemas, and some of them repeat the value.
func (r *problemList) addFailure(e *openapi3.SchemaError, path []string) {
	pointer := "/data" + joinPointer(path)
	name := lastName(path)
	switch {
	case e.SchemaField == "required":
		r.add(problem(pointer, CodeRequired, both("%s is required and missing", "%s é obrigatório e não foi informado", name)))
	case !fits(e.Schema, e.Value):
		r.add(problem(pointer, CodeType, typeText(name, e.Schema)))
	case e.SchemaField == "pattern" && onlyTooLong(e.Schema, e.Value):
	default:
		code, t := failureText(name, e)
		r.add(problem(pointer, code, t))
	}
}

// onlyTooLong tells of a text that breaks its pattern by its length alone, which is told by itself: the words of the pattern would be untrue.
func onlyTooLong(s *openapi3.Schema, value any) bool {
	v, is := value.(string)
	if !is || s.MaxLength == nil || uint64(utf8.RuneCountInString(v)) <= *s.MaxLength {
		return false
	}
	pattern, err := compilePattern(s.Pattern)
	return err == nil && pattern.MatchString(string([]rune(v)[:*s.MaxLength]))
}

// failureText words a failure of a value that is of the right type.
func failureText(name string, e *openapi3.SchemaError) (code string, t text) {
	s := e.Schema
	switch e.SchemaField {
	case "enum":
		return CodeEnum, both("%s must be one of: %s", "%s deve ser um destes valores: %s", name, listEnum(s.Enum))
	case "pattern":
		form := patternForms[s.Pattern]
		return CodePattern, text{
			fmt.Sprintf("%s does not have the right form: it must be %s", name, form.en),
			fmt.Sprintf("%s não tem a forma certa: deve ser %s", name, form.pt),
		}
	case "format":
		form := formatForms[s.Format]
		return CodeFormat, text{
			fmt.Sprintf("%s is not a real %s", name, form.en), fmt.Sprintf("%s não é %s", name, form.pt),
		}
	case "minLength", "maxLength":
		return CodeLength, lengthText(name, s.MinLength, s.MaxLength, text{"characters", "caracteres"})
	case "minItems", "maxItems":
		return CodeLength, lengthText(name, s.MinItems, s.MaxItems, text{"items", "itens"})
	case "minimum", "maximum":
		return CodeRange, rangeText(name, s)
	case "oneOf":
		return CodeOneOf, both("%s must have exactly one of: %s", "%s deve ter exatamente um destes membros: %s",
			name, listAlternatives(s))
	default:
		return CodeType, typeText(name, s)
	}
}

// addUnknown adds a member that the object at a path must not have.
func (r *problemList) addUnknown(path []string, name string) {
	pointer := "/data" + joinPointer(path)
	if plainName.MatchString(name) {
		r.add(problem(pointer+"/"+name, CodeUnknown, both(
			"this version of the API has no member %s here", "esta versão da API não tem o membro %s aqui", name)))
		return
	}
	nameless := problem(pointer, CodeUnknown, text{
		"there is a member here that this version of the API does not have",
		"há um membro aqui que não existe nesta versão da API",
	})
	if !slices.Contains(r.problems, nameless) {
		r.add(nameless)
	}
}

// plainName is how the members of these APIs are named, or a column that was taken for one. What looks otherwise could be
// anything, a document number for example, and is not repeated.
var plainName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z_]{0,63}$`)

// addNulls adds the members and items that are null, in the value at a path: no member of these APIs may be
// (status-apis §7 item 5).
func (r *problemList) addNulls(path []string, value any) {
	if r.nulls >= MaxProblems {
		return
	}
	switch v := value.(type) {
	case nil:
		r.nulls++
		pointer := "/data" + joinPointer(path)
		name := pointer[strings.LastIndexByte(pointer, '/')+1:]
		r.add(problem(pointer, CodeNull, both(
			"%s is null; leave it out when there is no value", "%s é null; omita-o quando não houver valor", name)))
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner := path
			if plainName.MatchString(name) {
				inner = append(path, name)
			}
			r.addNulls(inner, v[name])
		}
	case []any:
		for i, item := range v {
			switch item.(type) {
			case nil, map[string]any, []any: // a scalar costs nothing here
				r.addNulls(append(path, strconv.Itoa(i)), item)
			}
		}
	}
}

// joinPointer writes a path of known members and indices as a JSON pointer.
func joinPointer(path []string) string {
	var b strings.Builder
	for _, token := range path {
		b.WriteByte('/')
		b.WriteString(pointerEscapes.Replace(token))
	}
	return b.String()
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// lastName is how a message calls the member at a path: its name, or the list's name and the index.
func lastName(path []string) string {
	if len(path) == 0 {
		return "data"
	}
	last := path[len(path)-1]
	if _, err := strconv.Atoi(last); err == nil && len(path) > 1 {
		return path[len(path)-2] + "[" + last + "]"
	}
	return last
}

// fits tells whether a value is of the schema's type. A number that only fails to be an integer does not fit.
func fits(schema *openapi3.Schema, value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return schema.Type.Permits(openapi3.TypeObject)
	case []any:
		return schema.Type.Permits(openapi3.TypeArray)
	case string:
		return schema.Type.Permits(openapi3.TypeString)
	case bool:
		return schema.Type.Permits(openapi3.TypeBoolean)
	case json.Number:
		if _, err := v.Int64(); err == nil && schema.Type.Permits(openapi3.TypeInteger) {
			return true
		}
		return schema.Type.Permits(openapi3.TypeNumber)
	case float64: // what the validator makes of a json.Number
		return schema.Type.Permits(openapi3.TypeNumber) || schema.Type.Permits(openapi3.TypeInteger) && v == float64(int64(v))
	}
	return false
}

// typeText says which JSON type is right.
func typeText(name string, schema *openapi3.Schema) text {
	kinds := map[string]text{
		openapi3.TypeObject:  {"an object", "um objeto"},
		openapi3.TypeArray:   {"an array", "uma lista"},
		openapi3.TypeString:  {"a string", "um texto"},
		openapi3.TypeBoolean: {"true or false", "true ou false"},
		openapi3.TypeInteger: {"a whole number", "um número inteiro"},
		openapi3.TypeNumber:  {"a number", "um número"},
	}
	var kind text
	if types := schema.Type.Slice(); len(types) > 0 {
		kind = kinds[types[0]]
	}
	return text{name + " must be " + kind.en, name + " deve ser " + kind.pt}
}

// bounds words a lower and an upper bound; most is nil when there is none.
func bounds[N uint64 | float64](least N, most *N) text {
	switch {
	case most == nil:
		return both("at least %v", "ao menos %v", least)
	case least == *most:
		return both("exactly %v", "exatamente %v", least)
	case least == 0:
		return both("at most %v", "no máximo %v", *most)
	default:
		return both("%v to %v", "de %v a %v", least, *most)
	}
}

// lengthText says how many characters or items are right.
func lengthText(name string, least uint64, most *uint64, unit text) text {
	b := bounds(least, most)
	if most == nil && least == 1 {
		unit = text{strings.TrimSuffix(unit.en, "s"), "item"} // only lists have a lower bound alone
	}
	return text{
		fmt.Sprintf("%s must have %s %s", name, b.en, unit.en), fmt.Sprintf("%s deve ter %s %s", name, b.pt, unit.pt),
	}
}

// rangeText says between which numbers a number must be.
func rangeText(name string, schema *openapi3.Schema) text {
	least := 0.0
	if schema.Min != nil {
		least = *schema.Min
	}
	b := bounds(least, schema.Max)
	return text{fmt.Sprintf("%s must be %s", name, b.en), fmt.Sprintf("%s deve ser %s", name, b.pt)}
}

// listEnum lists the values that would be right.
func listEnum(values []any) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = fmt.Sprint(v)
	}
	return strings.Join(names, ", ")
}

// listAlternatives lists the members of which there must be exactly one.
func listAlternatives(schema *openapi3.Schema) string {
	var names []string
	for _, alternative := range schema.OneOf {
		names = append(names, alternative.Value.Required...)
	}
	return strings.Join(names, ", ")
}
