package openapi

import (
	"errors"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/arauto/arauto/internal/ofb"
)

// Become makes of a document that of a minor version.
func Become(document *openapi3.T, declared string, kind ofb.Kind) { become(document, declared, kind) }

// Verdicts returns what the compiled schema and the validator say of a document, each for itself.
func (s *Schemas) Verdicts(kind ofb.Kind, version string, data map[string]any) (compiled, validator bool) {
	schema, _, _ := s.of(kind, version)
	return schema.fast.fits(data), schema.full.VisitJSON(data, s.judge...) == nil
}

// Known tells whether there is a schema.
func (s *Schemas) Known(kind ofb.Kind, version string) bool {
	schema, _, err := s.of(kind, version)
	return err == nil && schema.full != nil
}

// Unreadable makes of schemas those of a build whose documents cannot be read.
func (s *Schemas) Unreadable() {
	for at := range s.read {
		s.read[at] = func() (readyDocument, error) { return nil, errors.New("broken") }
	}
}
