package openapi

import (
	"cmp"
	"maps"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/arauto/arauto/internal/ofb"
)

// Items stands in a Member's Path for the elements of a list.
const Items = "[]"

// Types of a Member that are not text.
const (
	TypeBoolean = openapi3.TypeBoolean
	TypeNumber  = openapi3.TypeNumber
	TypeInteger = openapi3.TypeInteger
	TypeArray   = openapi3.TypeArray
)

// Member is a member of the `data` of a resource that is neither an object nor a list of objects, as its schema describes it.
type Member struct {
	Path     []string // the names that lead to it, from the root of data; Items follows the name of a list of objects
	Required []bool   // for each name of Path, whether what holds it must have it
	Type     string   // string, boolean, number, integer or array
	Format   string   // date-time, date, or ""
	Pattern  string   // a regular expression; ""
	Enum     []string // the values that it may have, of an array those of its elements; nil: any
}

// Members lists the members of the `data` of a kind in an API version, those that an object must have first, then by name. It is
// empty for a version that the kind does not have.
func (s *Schemas) Members(kind ofb.Kind, version string) []Member {
	schema, known, err := s.of(kind, version)
	if !known || err != nil {
		return nil
	}
	return appendMembers(nil, schema.full, Member{})
}

func appendMembers(all []Member, schema *openapi3.Schema, at Member) []Member {
	names := slices.SortedFunc(maps.Keys(schema.Properties), func(a, b string) int {
		return cmp.Or(-cmp.Compare(boolInt(slices.Contains(schema.Required, a)), boolInt(slices.Contains(schema.Required, b))), cmp.Compare(a, b))
	})
	for _, name := range names {
		p := schema.Properties[name].Value
		m := at.below(name, slices.Contains(schema.Required, name))
		switch {
		case p.Type.Is(openapi3.TypeObject):
			all = appendMembers(all, p, m)
		case p.Type.Is(openapi3.TypeArray) && p.Items.Value.Type.Is(openapi3.TypeObject):
			all = appendMembers(all, p.Items.Value, m.below(Items, true))
		default:
			m.Format, m.Pattern, m.Enum = p.Format, p.Pattern, texts(p.Enum)
			if p.Type != nil && len(*p.Type) > 0 {
				m.Type = (*p.Type)[0]
			}
			if p.Items != nil {
				m.Enum = texts(p.Items.Value.Enum)
			}
			all = append(all, m)
		}
	}
	return all
}

// below is the place of a member of what is at m.
func (m *Member) below(name string, required bool) Member {
	return Member{Path: append(slices.Clone(m.Path), name), Required: append(slices.Clone(m.Required), required)}
}

func texts(values []any) (all []string) {
	for _, v := range values {
		if s, is := v.(string); is {
			all = append(all, s)
		}
	}
	return all
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
