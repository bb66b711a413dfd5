package openapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/arauto/arauto/internal/ofb"
)

// sources says where the schema of `data` stands for each kind and API version (contract "Schemas").
var sources = []struct {
	file    string
	version string
	kind    ofb.Kind
	schema  string
}{
	{"payments-v4.yaml", "v4", ofb.PaymentConsent, "PaymentConsent"},
	{"payments-v4.yaml", "v4", ofb.PixPayment, "PixPayment"},
	{"payments-v5.yaml", "v5", ofb.PaymentConsent, "PaymentConsent"},
	{"payments-v5.yaml", "v5", ofb.PixPayment, "PixPayment"},
	{"automatic-payments-v2.yaml", "v2", ofb.RecurringConsent, "RecurringConsent"},
	{"automatic-payments-v2.yaml", "v2", ofb.RecurringPayment, "RecurringPayment"},
	{"enrollments-v2.yaml", "v2", ofb.Enrollment, "Enrollment"},
}

// schemaKey is a kind of resource in one version of its API.
type schemaKey struct {
	kind    ofb.Kind
	version string
}

// Schemas judges the `data` of changes. It does not change after Load and may be used by many goroutines.
type Schemas struct {
	data map[schemaKey]*openapi3.Schema
	fast map[schemaKey]*compiledSchema // accepts nearly all that data accepts, and nothing else
	keep bool                          // unknown members pass

	versions ofb.Versions // that the holder declares

	judge   []openapi3.SchemaValidationOption // yes or no, at the least cost
	explain []openapi3.SchemaValidationOption // everything that is wrong
}

// Option changes how Load builds the Schemas.
type Option func(*Schemas)

// KeepUnknown says whether members that the schemas do not know pass, for a newer minor version of an API (contract
// "Schemas", setting schema.unknown_members: keep). Null members are refused in any case.
func KeepUnknown(keep bool) Option { return func(s *Schemas) { s.keep = keep } }

// Load reads the embedded documents; it is meant to be called once, at start. An error means that this program was
// built from a broken document.
func Load(options ...Option) (*Schemas, error) {
	s := &Schemas{data: make(map[schemaKey]*openapi3.Schema, len(sources)), fast: make(map[schemaKey]*compiledSchema, len(sources))}
	compiler := newCompiler()
	for _, option := range options {
		option(s)
	}
	formats := openapi3.WithStringFormatValidators(formatValidators())
	patterns := openapi3.SetSchemaRegexCompiler(compilePattern)
	s.judge = []openapi3.SchemaValidationOption{openapi3.FailFast(), formats, patterns}
	s.explain = []openapi3.SchemaValidationOption{openapi3.MultiErrors(), formats, patterns}
	loaded := map[string]*openapi3.T{}
	for _, source := range sources {
		document := loaded[source.file]
		if document == nil {
			var err error
			if document, err = loadDocument(source.file); err != nil {
				return nil, err
			}
			become(document, s.versions.Declared(source.kind, source.version), source.kind)
			loaded[source.file] = document
		}
		ref := document.Components.Schemas[source.schema]
		if ref == nil || ref.Value == nil {
			return nil, fmt.Errorf("load %s: no schema %s", source.file, source.schema)
		}
		if !s.keep {
			closeObjects(ref.Value)
		}
		at := schemaKey{source.kind, source.version}
		s.data[at], s.fast[at] = ref.Value, compiler.schema(ref.Value)
	}
	return s, nil
}

// loadDocument reads one embedded document and checks it as OpenAPI; that compiles its patterns, too.
func loadDocument(name string) (*openapi3.T, error) {
	text, err := documents.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	if err := document.Validate(loader.Context, openapi3.SetRegexCompiler(compilePattern)); err != nil {
		return nil, fmt.Errorf("check %s: %w", name, err)
	}
	return document, nil
}

// closeObjects makes every object that lists its members refuse others. The documents themselves stay open, as the
// official ones are: an initiator must accept members it does not know, we need not store them.
func closeObjects(schema *openapi3.Schema) {
	if schema.AdditionalProperties.Has != nil {
		return // closed before: components are shared
	}
	if schema.Type.Is(openapi3.TypeObject) {
		closed := false
		schema.AdditionalProperties.Has = &closed
	}
	for _, property := range schema.Properties {
		closeObjects(property.Value)
	}
	if schema.Items != nil {
		closeObjects(schema.Items.Value)
	}
}

// Check lists what is wrong with the `data` of a change, at most MaxProblems, ordered by pointer; none means that a
// status query may return it. The data was decoded with numbers as json.Number. It is judged against the schema of
// the kind in that API version, for null members, and against what the schema language cannot say (conditions).
func (s *Schemas) Check(kind ofb.Kind, version string, data map[string]any) []Problem {
	at := schemaKey{kind, version}
	schema, ok := s.data[at]
	if !ok {
		return []Problem{unknownVersion(kind)}
	}
	r := &problemList{}
	if !s.fast[at].fits(data) && schema.VisitJSON(data, s.judge...) != nil {
		explainer{r, s.explain}.value(schema, data, nil)
		r.addNulls(nil, data)
		if len(r.problems) == 0 { // what was refused must not pass for want of words
			r.add(problem("/data", CodeType, text{"data does not fit its schema", "data não atende ao esquema"}))
		}
	} else if s.keep {
		r.addNulls(nil, data)
	}
	for i := range conditions {
		if conditions[i].kind == kind {
			conditions[i].check(r, data)
		}
	}
	return r.list()
}

// problemList gathers problems; it exists so that a document without problems costs nothing.
type problemList struct {
	problems []Problem
	nulls    int // how many of them tell of a null
}

func (r *problemList) add(p Problem) { r.problems = append(r.problems, p) }

// list orders the problems, drops what is said twice, and bounds their number.
func (r *problemList) list() []Problem {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Code, b.Code))
	})
	problems := slices.CompactFunc(r.problems, func(a, b Problem) bool {
		return a.Pointer == b.Pointer && a.Code == b.Code
	})
	// A date of the wrong form is not a real date either; the form alone says what to do.
	misshapen := map[string]bool{}
	for _, p := range problems {
		misshapen[p.Pointer] = misshapen[p.Pointer] || p.Code == CodePattern
	}
	problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Code == CodeFormat && misshapen[p.Pointer] })
	return problems[:min(len(problems), MaxProblems)]
}

// addSchemaError adds every failure that the validator found in the value at a path.
func (r *problemList) addSchemaError(err error, path []string) {
	//nolint:errorlint // the validator returns these types bare, and what they wrap says something else
	switch e := err.(type) {
	case nil:
	case openapi3.MultiError:
		for _, one := range e {
			r.addSchemaError(one, path)
		}
	case *openapi3.SchemaError:
		r.addFailure(e, slices.Concat(path, e.JSONPointer()))
	default: // the validator could not even compare; its words may repeat a value, so they are not passed on
		r.add(problem("/data", CodeType, text{"data cannot be compared with its schema", "data não pode ser comparado com o esquema"}))
	}
}
