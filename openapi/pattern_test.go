package openapi

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arauto/arauto/internal/ofb"
)

func TestEveryPatternAndFormatHasWords(t *testing.T) {
	used := map[string]bool{}
	schemas, err := Load()
	require.NoError(t, err)
	var visit func(s *openapi3.Schema)
	visit = func(s *openapi3.Schema) {
		if s.Pattern != "" {
			used[s.Pattern] = true
			require.NotEmpty(t, patternForms[s.Pattern], "no words for %s", s.Pattern)
		}
		if s.Format != "" && s.Format != "int32" {
			require.NotEmpty(t, formatForms[s.Format], "no words for %s", s.Format)
		}
		for _, property := range s.Properties {
			visit(property.Value)
		}
		if s.Items != nil {
			visit(s.Items.Value)
		}
	}
	for _, schema := range allReady(t, schemas) {
		visit(schema.full)
	}
	for pattern := range patternForms {
		require.True(t, used[pattern], "words for a pattern that no document has: %s", pattern)
	}
}

func TestThePayloadMatcherIsItsPattern(t *testing.T) {
	pattern := regexp.MustCompile(payloadPattern)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.SampledFrom([]rune("aZ09-_.=é \n")), 0, 12, -1).Draw(t, "s")
		if pattern.MatchString(s) != (payloadMatcher{}).MatchString(s) {
			t.Fatalf("%q is judged differently", s)
		}
	})
}

func TestEveryDocumentIsValidAndStandsAlone(t *testing.T) {
	files, err := fs.Glob(Documents(), "*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 7)
	for _, file := range files {
		document, err := loadDocument(file)
		require.NoError(t, err)
		require.NoError(t, document.Validate(t.Context(), openapi3.SetRegexCompiler(compilePattern)), file)
		text, err := fs.ReadFile(Documents(), file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if _, ref, ok := strings.Cut(line, "$ref: "); ok {
				require.True(t, strings.HasPrefix(ref, "'#/components/"), "%s: %s", file, line)
			}
		}
		for name, path := range document.Paths.Map() {
			for method, operation := range path.Operations() {
				require.NotEmpty(t, operation.OperationID, "%s %s %s", file, method, name)
				require.NotEmpty(t, operation.Summary, "%s %s %s", file, method, name)
			}
		}
	}
}

// TestTheNewerReasonsAreThoseThatTheDocumentsAdded keeps the table of Upgrade in step with the documents.
func TestTheNewerReasonsAreThoseThatTheDocumentsAdded(t *testing.T) {
	schemas, err := Load()
	require.NoError(t, err)
	ready := allReady(t, schemas)
	codes := func(kind ofb.Kind, version string) []any {
		return ready[schemaKey{kind, version}].full.Properties["rejectionReason"].Value.Properties["code"].Value.Enum
	}
	for _, kind := range []ofb.Kind{ofb.PaymentConsent, ofb.PixPayment} {
		var added []string
		for _, code := range codes(kind, "v5") {
			if !slices.Contains(codes(kind, "v4"), code) {
				added = append(added, code.(string))
			}
		}
		require.ElementsMatch(t, added, newerReasons[kind])
		require.Contains(t, codes(kind, "v4"), "NAO_INFORMADO")
	}
}

// TestTheListItemsAreThoseOfTheDocuments keeps the projections in step with the documents.
func TestTheListItemsAreThoseOfTheDocuments(t *testing.T) {
	for file, want := range map[string]struct {
		kind   ofb.Kind
		schema string
	}{
		"payments-v4.yaml":           {ofb.PixPayment, "PixPaymentItem"},
		"payments-v5.yaml":           {ofb.PixPayment, "PixPaymentItem"},
		"automatic-payments-v2.yaml": {ofb.RecurringPayment, "RecurringPaymentItem"},
	} {
		document, err := loadDocument(file)
		require.NoError(t, err)
		var names []string
		for name := range document.Components.Schemas[want.schema].Value.Properties {
			names = append(names, name)
		}
		require.ElementsMatch(t, names, itemMembers[want.kind], file)
	}
}

func TestEveryConditionNamesMembersAndStatesThatExist(t *testing.T) {
	schemas, err := Load()
	require.NoError(t, err)
	ready := allReady(t, schemas)
	for _, c := range conditions {
		require.NotEmpty(t, c.clause)
		for _, version := range c.kind.Versions() {
			object := ready[schemaKey{c.kind, version}].full
			for name := range strings.SplitSeq(c.at, "/") {
				if name != "" {
					require.Contains(t, object.Properties, name, "%s %s", c.kind, c.at)
					object = object.Properties[name].Value
				}
			}
			for _, name := range []string{c.member, c.excludes, c.when} {
				if name != "" {
					require.Contains(t, object.Properties, name, "%s %s", c.kind, c.at)
				}
			}
			for _, value := range c.among {
				require.Contains(t, object.Properties[c.when].Value.Enum, any(value))
			}
		}
		for _, status := range c.states {
			require.Contains(t, c.kind.Statuses(), status)
		}
	}
}
