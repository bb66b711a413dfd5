package openapi

import (
	"github.com/getkin/kin-openapi/openapi3"

	"github.com/arauto/arauto/internal/ofb"
)

// Become makes of a document that of a minor version.
func Become(document *openapi3.T, declared string, kind ofb.Kind) { become(document, declared, kind) }

// Verdicts returns what the compiled schema and the validator say of a document, each for itself.
func (s *Schemas) Verdicts(kind ofb.Kind, version string, data map[string]any) (compiled, validator bool) {
	at := schemaKey{kind, version}
	return s.fast[at].fits(data), s.data[at].VisitJSON(data, s.judge...) == nil
}

// Known tells whether there is a schema.
func (s *Schemas) Known(kind ofb.Kind, version string) bool {
	return s.data[schemaKey{kind, version}] != nil
}
