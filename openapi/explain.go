package openapi

import (
	"maps"
	"slices"
	"strconv"

	"github.com/getkin/kin-openapi/openapi3"
)

// enough is how many problems a report gathers before it stops looking. It is more than MaxProblems, because problems
// that are told twice are dropped afterwards.
const enough = 4 * MaxProblems

// full reports whether the report needs no further problems.
func (r *problemList) full() bool { return len(r.problems) >= enough }

// explainer finds what is wrong with a document. It walks the document and its schema together, in the order of
// pointers, and stops as soon as the report is full, so that its cost is bounded by the size of the document whatever
// the document holds. The validator judges one value at a time: a scalar, or an object or list without its members.
type explainer struct {
	*problemList
	options []openapi3.SchemaValidationOption
}

// value adds what is wrong with the value at a path.
func (e explainer) value(schema *openapi3.Schema, value any, path []string) {
	if e.full() || value == nil { // addNulls tells of a null, also where no schema looks
		return
	}
	e.addSchemaError(shell(schema).VisitJSON(value, e.options...), path)
	switch v := value.(type) {
	case map[string]any:
		if schema.Type.Permits(openapi3.TypeObject) {
			e.members(schema, v, path)
		}
	case []any:
		if schema.Type.Permits(openapi3.TypeArray) && schema.Items != nil {
			e.items(schema.Items.Value, v, path)
		}
	}
}

// members adds what is wrong with the members of an object, and the members that it must not have.
func (e explainer) members(schema *openapi3.Schema, object map[string]any, path []string) {
	allowed := schema.AdditionalProperties.Has
	closed := allowed != nil && !*allowed
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if e.full() {
			return
		}
		if property := schema.Properties[name]; property != nil {
			e.value(property.Value, object[name], append(path, name))
		} else if closed {
			e.addUnknown(path, name)
		}
	}
}

// items adds what is wrong with the items of a list.
func (e explainer) items(schema *openapi3.Schema, list []any, path []string) {
	for i, item := range list {
		if e.full() {
			return
		}
		e.value(schema, item, append(path, strconv.Itoa(i)))
	}
}

// shell is a schema without what it says of members and items: they are visited one by one.
func shell(schema *openapi3.Schema) *openapi3.Schema {
	if schema.Properties == nil && schema.Items == nil {
		return schema
	}
	outer := *schema
	outer.Properties, outer.Items, outer.AdditionalProperties = nil, nil, openapi3.AdditionalProperties{}
	return &outer
}
