package openapi

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/arauto/arauto/internal/notice"
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

// Schemas judges the `data` of changes. It may be used by many goroutines. The document of an API is read when one of its schemas
// is first asked for, which takes about 10 ms: to read all four took most of the processor time of a start.
type Schemas struct {
	read map[schemaKey]func() (readyDocument, error) // the document that has the schema, once
	keep bool                                        // unknown members pass

	versions ofb.Versions // that the holder declares

	judge   []openapi3.SchemaValidationOption // yes or no, at the least cost
	explain []openapi3.SchemaValidationOption // everything that is wrong
}

// readyDocument has the schemas of `data` of one document.
type readyDocument map[schemaKey]readySchema

// readySchema is a schema of `data` in two forms.
type readySchema struct {
	full *openapi3.Schema
	fast *compiledSchema // accepts nearly all that full accepts, and nothing else
}

// Option changes how Load builds the Schemas.
type Option func(*Schemas)

// KeepUnknown says whether members that the schemas do not know pass, for a newer minor version of an API (contract
// "Schemas", setting schema.unknown_members: keep). Null members are refused in any case.
func KeepUnknown(keep bool) Option { return func(s *Schemas) { s.keep = keep } }

// Load prepares the schemas of the embedded documents; it is meant to be called once, at start. An error means that this program
// was built without one of them. A test reads each; one that could not be read would refuse the `data` of all changes of its API.
func Load(options ...Option) (*Schemas, error) {
	s := &Schemas{read: make(map[schemaKey]func() (readyDocument, error), len(sources))}
	for _, option := range options {
		option(s)
	}
	formats := openapi3.WithStringFormatValidators(formatValidators())
	patterns := openapi3.SetSchemaRegexCompiler(compilePattern)
	s.judge = []openapi3.SchemaValidationOption{openapi3.FailFast(), formats, patterns}
	s.explain = []openapi3.SchemaValidationOption{openapi3.MultiErrors(), formats, patterns}
	readers := map[string]func() (readyDocument, error){}
	for _, source := range sources {
		if readers[source.file] == nil {
			if _, err := fs.Stat(documents, source.file); err != nil {
				return nil, fmt.Errorf("load %s: %w", source.file, err)
			}
			readers[source.file] = sync.OnceValues(func() (readyDocument, error) { return s.readDocument(source.file) })
		}
		s.read[schemaKey{source.kind, source.version}] = readers[source.file]
	}
	return s, nil
}

// readDocument makes the schemas of one document ready.
func (s *Schemas) readDocument(file string) (readyDocument, error) {
	document, err := loadDocument(file)
	if err != nil {
		return nil, err
	}
	compiler, ready := newCompiler(), readyDocument{}
	for _, source := range sources {
		if source.file != file {
			continue
		}
		if len(ready) == 0 {
			become(document, s.versions.Declared(source.kind, source.version), source.kind)
		}
		ref := document.Components.Schemas[source.schema]
		if ref == nil || ref.Value == nil {
			return nil, fmt.Errorf("load %s: no schema %s", file, source.schema)
		}
		if !s.keep {
			closeObjects(ref.Value)
		}
		ready[schemaKey{source.kind, source.version}] = readySchema{ref.Value, compiler.schema(ref.Value)}
	}
	return ready, nil
}

// of is the schema of a kind in a version of its API; known is false when the kind does not have that version.
func (s *Schemas) of(kind ofb.Kind, version string) (schema readySchema, known bool, err error) {
	at := schemaKey{kind, version}
	read, known := s.read[at]
	if !known {
		return readySchema{}, false, nil
	}
	document, err := read()
	return document[at], true, err
}

// loadDocument reads one embedded document. A test checks each as OpenAPI, since they do not change after a build and the
// check takes more than a third of the time to load them.
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
func (s *Schemas) Check(kind ofb.Kind, version string, data map[string]any) []notice.Problem {
	schema, known, err := s.of(kind, version)
	if !known {
		return []notice.Problem{unknownVersion(kind)}
	}
	if err != nil {
		return []notice.Problem{unreadable()}
	}
	r := &problemList{}
	if !schema.fast.fits(data) && schema.full.VisitJSON(data, s.judge...) != nil {
		explainer{r, s.explain}.value(schema.full, data, nil)
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
	problems []notice.Problem
	nulls    int // how many of them tell of a null
}

func (r *problemList) add(p notice.Problem) { r.problems = append(r.problems, p) }

// list orders the problems, drops what is said twice, and bounds their number.
func (r *problemList) list() []notice.Problem {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b notice.Problem) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Code, b.Code))
	})
	problems := slices.CompactFunc(r.problems, func(a, b notice.Problem) bool {
		return a.Pointer == b.Pointer && a.Code == b.Code
	})
	// A date of the wrong form is not a real date either; the form alone says what to do.
	misshapen := map[string]bool{}
	for _, p := range problems {
		misshapen[p.Pointer] = misshapen[p.Pointer] || p.Code == CodePattern
	}
	problems = slices.DeleteFunc(problems, func(p notice.Problem) bool { return p.Code == CodeFormat && misshapen[p.Pointer] })
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
		r.add(incomparable())
	}
}

// unreadable says that no data can be judged, whatever it is: this program was built from a broken document.
func unreadable() notice.Problem {
	return problem("/data", CodeType, text{
		"this program's own document of the API cannot be read, so no data of it can be accepted; install the program again",
		"o documento da API que este programa contém não pode ser lido, portanto nenhum dado dela pode ser aceito; instale o programa novamente",
	})
}

// incomparable says that data was not judged, and is refused for that.
func incomparable() notice.Problem {
	return problem("/data", CodeType, text{"data cannot be compared with its schema", "data não pode ser comparado com o esquema"})
}
