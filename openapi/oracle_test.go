package openapi_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// answers lists what we serve: where it stands in our documents and in the official files.
var answers = []struct {
	kind    ofb.Kind
	version string
	list    bool
	file    string
	path    string
	oracles []string
}{
	{ofb.PaymentConsent, "v4", false, "payments-v4.yaml", "/consents/{consentId}", []string{"payments-4.0.1", "payments-4.1.0"}},
	{ofb.PixPayment, "v4", true, "payments-v4.yaml", "/consents/{consentId}/pix/payments", []string{"payments-4.1.0"}},
	{ofb.PixPayment, "v4", false, "payments-v4.yaml", "/pix/payments/{paymentId}", []string{"payments-4.0.1", "payments-4.1.0"}},
	{ofb.PaymentConsent, "v5", false, "payments-v5.yaml", "/consents/{consentId}", []string{"payments-5.0.0"}},
	{ofb.PixPayment, "v5", true, "payments-v5.yaml", "/consents/{consentId}/pix/payments", []string{"payments-5.0.0"}},
	{ofb.PixPayment, "v5", false, "payments-v5.yaml", "/pix/payments/{paymentId}", []string{"payments-5.0.0"}},
	{ofb.RecurringConsent, "v2", false, "automatic-payments-v2.yaml", "/recurring-consents/{recurringConsentId}", []string{"automatic-payments-2.2.0"}},
	{ofb.RecurringPayment, "v2", true, "automatic-payments-v2.yaml", "/pix/recurring-payments", []string{"automatic-payments-2.2.0"}},
	{ofb.RecurringPayment, "v2", false, "automatic-payments-v2.yaml", "/pix/recurring-payments/{recurringPaymentId}", []string{"automatic-payments-2.2.0"}},
	{ofb.Enrollment, "v2", false, "enrollments-v2.yaml", "/enrollments/{enrollmentId}", []string{"enrollments-2.2.0", "enrollments-2.3.0"}},
}

// difference is a place where we depart from an official file on purpose. Every one is told in the section on OpenAPI
// of docs/divergences.md.
type difference struct {
	oracle  string // which file; a prefix
	pointer string // which place, a suffix; "*" for all
	fact    string // "ours: … theirs: …", a prefix of what the comparison says
	reason  string
}

var explained = []difference{
	{"", "*", `pattern: ours "" theirs "[\\w\\W\\s]*"`, "the pattern admits every text, so repeating it costs time and says nothing"},
	{"", "/iss", "only ours", "a claim of the JWS beside data, links and meta"},
	{"", "/aud", "only ours", "a claim of the JWS beside data, links and meta"},
	{"", "/jti", "only ours", "a claim of the JWS beside data, links and meta"},
	{"", "/iat", "only ours", "a claim of the JWS beside data, links and meta"},
	{"", "responses", `extra: "503"`, "D-3: a poll that cannot be recorded is not answered"},
	{"enrollments", "responses", `x-fapi-interaction-id on "504"`, "the file gives 504 neither body nor header; ours has both, as in the other APIs"},
	{"automatic-payments", "/journey/linkId", "pattern", "the same set of texts, with the hyphen escaped as everywhere else"},
	{"enrollments", "/journey/linkId", "pattern", "the same set of texts, with the hyphen escaped as everywhere else"},
	{"automatic-payments", "/date", `format: ours "date" theirs ""`, "the settlement day is a day; the file forgets the format"},
	{"payments-4.0.1", "responses", `extra: "504"`, "v4 is the union of 4.0.1 and 4.1.0: 4.1.0 has 504"},
	{"payments-4.0.1", "responses", `x-fapi-interaction-id on "529"`, "v4 is the union of 4.0.1 and 4.1.0: 4.1.0 has the header on 529"},
	{"payments-4", "/data/payment/schedule", `type: ours "object" theirs ""`, "every alternative is an object; ours says so once"},
	{"enrollments", "/data/cancellation/reason", `type: ours "object" theirs ""`, "every alternative is an object; ours says so once"},
	{"enrollments", "parameter Authorization", `minLength: ours "1" theirs ""`, "an empty header is a missing one, as in the other APIs"},
	{"automatic-payments", "parameter startDate", `format: ours "date" theirs ""`, "the pattern is that of a day; the file forgets the format"},
	{"automatic-payments", "parameter endDate", `format: ours "date" theirs ""`, "the pattern is that of a day; the file forgets the format"},
	{"payments-4.0.1", "/data/rejectionReason/code", "enum", "v4 is the union of 4.0.1 and 4.1.0: the reasons of 4.1.0 are among ours"},
	{"payments-4", "/cnpjInitiator", "pattern", "a CNPJ may have letters, which the files of v4 do not foresee; a change must not be refused for it"},
	{"payments-4", "/creditor/cpfCnpj", "pattern", "a CNPJ may have letters, which the files of v4 do not foresee; a change must not be refused for it"},
	{"payments-4", "/businessEntity/document/identification", "pattern", "a CNPJ may have letters, which the files of v4 do not foresee; a change must not be refused for it"},
	{"payments-4.1.0", "/data/creditor/name", `maxLength: ours "150" theirs "120"`, "v4 is the union of 4.0.1 and 4.1.0: 4.0.1 allows 150"},
	{"payments-4.1.0", "/0/", "only ours", "the file requires seven members of list items that it does not define; ours has all eleven"},
	{"payments-5.0.0", "/0/", "only ours", "the file requires seven members of list items that it does not define; ours has all eleven"},
	{"payments-4.1.0", "/0/", "undefined but required", "the file requires seven members of list items that it does not define; ours has all eleven"},
	{"payments-5.0.0", "/0/", "undefined but required", "the file requires seven members of list items that it does not define; ours has all eleven"},
}

// TestOurDocumentsAgreeWithTheOfficialFiles compares every fact about every member of every answer, and parameters,
// status codes and headers of every operation. What differs must be explained, and every explanation must be needed.
func TestOurDocumentsAgreeWithTheOfficialFiles(t *testing.T) {
	needed := make([]bool, len(explained))
	for _, a := range answers {
		for _, oracle := range a.oracles {
			official := official(t, oracle)
			mine, theirs := ours(t, a.file), official
			found := compareFacts(answerFacts(t, mine, a.path), answerFacts(t, theirs, a.path))
			found = append(found, compareOperations(mine.Paths.Value(a.path).Get, theirs.Paths.Value(a.path).Get)...)
			for _, d := range found {
				if i := explanation(oracle, d); i >= 0 {
					needed[i] = true
					continue
				}
				t.Errorf("%s %s %s: %s", oracle, a.path, d.pointer, d.fact)
			}
		}
	}
	for i, d := range explained {
		if !needed[i] && !t.Failed() {
			t.Errorf("nothing differs any more: %s %s %s (%s)", d.oracle, d.pointer, d.fact, d.reason)
		}
	}
}

// explanation finds the entry of the table that admits a difference, or -1.
func explanation(oracle string, found difference) int {
	return slices.IndexFunc(explained, func(d difference) bool {
		place := d.pointer == "*" || strings.HasSuffix(found.pointer, d.pointer) ||
			strings.HasSuffix(d.pointer, "/") && strings.Contains(found.pointer, d.pointer)
		return strings.HasPrefix(oracle, d.oracle) && place && strings.HasPrefix(found.fact, d.fact)
	})
}

// TestEverySampleSatisfiesTheOfficialSchemas asks the official files about everything that we would answer: documents as
// stored, v4 documents through v5, and list items.
func TestEverySampleSatisfiesTheOfficialSchemas(t *testing.T) {
	for _, a := range answers {
		for _, oracle := range a.oracles {
			schema := answerSchema(t, official(t, oracle), a.path)
			mine := answerSchema(t, ours(t, a.file), a.path)
			for _, s := range samples() {
				if s.kind != a.kind || slices.Index(s.kind.Versions(), s.version) > slices.Index(s.kind.Versions(), a.version) {
					continue
				}
				data, err := openapi.Upgrade(s.kind, s.version, a.version, s.document())
				require.NoError(t, err)
				if a.list {
					item, err := openapi.ListItem(s.kind, data)
					require.NoError(t, err)
					data = []byte("[" + string(item) + "]")
				}
				body := decode(t, fmt.Appendf(nil,
					`{"data":%s,"links":{"self":"https://api.banco.example.com/open-banking/x"},"meta":{"requestDateTime":"2026-11-21T12:00:00Z"}}`, data))
				require.NoError(t, schema.VisitJSON(body, openapi3.MultiErrors()), "%s %s through %s", oracle, s.name, a.version)
				require.NoError(t, mine.VisitJSON(body, openapi3.MultiErrors()), "ours: %s through %s", s.name, a.version)
			}
		}
	}
}

// TestTheWebhookRequestAgreesWithTheOfficialFile compares bodies, parameters and answers of the five notifications.
func TestTheWebhookRequestAgreesWithTheOfficialFile(t *testing.T) {
	mine, theirs := ours(t, "webhook-v1.yaml"), official(t, "webhook-1.3.0")
	require.ElementsMatch(t, mine.Paths.Keys(), theirs.Paths.Keys())
	known := map[string]string{
		// what we add, each with its reason
		"/payments/{versionApi}/consents/{consentId} parameter consentId minLength":                                           "ids are never empty",
		"/payments/{versionApi}/pix/payments/{paymentId} parameter paymentId minLength":                                       "ids are never empty",
		"/automatic-payments/{versionApi}/recurring-consents/{recurringConsentId} parameter recurringConsentId minLength":     "ids are never empty",
		"/automatic-payments/{versionApi}/pix/recurring-payments/{recurringPaymentId} parameter recurringPaymentId minLength": "ids are never empty",
		"/enrollments/{versionApi}/enrollments/{enrollmentId} parameter enrollmentId minLength":                               "ids are never empty",
		"/enrollments/{versionApi}/enrollments/{enrollmentId} parameter enrollmentId maxLength":                               "webhook §1.2: a URN of 256, as the enrollments API has it",
		"/enrollments/{versionApi}/enrollments/{enrollmentId} parameter enrollmentId pattern":                                 "webhook §1.2: the file's pattern forbids the colon of a URN",
		"/enrollments/{versionApi}/enrollments/{enrollmentId} parameter x-authorization-server-id minLength":                  "we never send it empty",
		"/enrollments/{versionApi}/enrollments/{enrollmentId} parameter x-authorisation-server-id":                            "D-9: both spellings",
	}
	seen := map[string]bool{}
	for _, path := range mine.Paths.Keys() {
		a, b := mine.Paths.Value(path).Post, theirs.Paths.Value(path).Post
		found := compareFacts(facts(requestSchema(a)), facts(requestSchema(b)))
		found = append(found, compareOperations(a, b)...)
		for _, d := range found {
			key, format := "", strings.Contains(d.fact, "format: ours \"uuid\"")
			for k := range known {
				if strings.HasPrefix(path+" "+d.pointer+" "+d.fact, k) {
					key = k
				}
			}
			seen[key] = true
			if key == "" && !format { // the prose asks for a UUID, the pattern does not
				t.Errorf("%s %s: %s", path, d.pointer, d.fact)
			}
		}
	}
	for k, reason := range known {
		require.True(t, seen[k], "nothing differs any more: %s (%s)", k, reason)
	}
}

func requestSchema(op *openapi3.Operation) *openapi3.Schema {
	return op.RequestBody.Value.Content["application/json"].Schema.Value
}

// facts says of each member of a schema what the comparison looks at.
func facts(schema *openapi3.Schema) map[string]map[string]string {
	all := map[string]map[string]string{}
	gather(all, "", schema, "required")
	return all
}

func answerFacts(t *testing.T, document *openapi3.T, path string) map[string]map[string]string {
	t.Helper()
	return facts(answerSchema(t, document, path))
}

// gather adds the facts of a schema. Alternatives that differ by one required member each are told as members of the
// whole, "alternative" instead of "required", whether they are written as in the official files or as in ours.
func gather(all map[string]map[string]string, pointer string, schema *openapi3.Schema, presence string) {
	f := all[pointer]
	if f == nil {
		f = map[string]string{}
		all[pointer] = f
	}
	if presence != "" {
		f["presence"] = presence
	}
	gatherOwn(f, schema)
	alternatives := map[string]bool{}
	for _, alternative := range schema.OneOf {
		for _, name := range alternative.Value.Required {
			alternatives[name] = true
		}
	}
	presenceOf := func(s *openapi3.Schema, name string) string {
		switch {
		case alternatives[name]:
			return "alternative"
		case slices.Contains(s.Required, name):
			return "required"
		default:
			return "optional"
		}
	}
	parts := []*openapi3.Schema{schema}
	for _, ref := range slices.Concat(schema.OneOf, schema.AllOf) {
		parts = append(parts, ref.Value)
		if len(schema.AllOf) > 0 {
			gatherOwn(f, ref.Value)
		}
	}
	for _, part := range parts {
		for name, property := range part.Properties {
			gather(all, pointer+"/"+name, property.Value, presenceOf(part, name))
		}
		for _, name := range part.Required {
			if part.Properties[name] == nil && !alternatives[name] {
				all[pointer+"/"+name] = map[string]string{"undefined but required": "yes"}
			}
		}
	}
	if schema.Items != nil {
		gather(all, pointer+"/0", schema.Items.Value, "")
	}
}

// gatherOwn adds what a schema says about the value itself.
func gatherOwn(f map[string]string, s *openapi3.Schema) {
	set := func(name string, value any, there bool) {
		if there {
			f[name] = fmt.Sprint(value)
		}
	}
	set("type", strings.Join(s.Type.Slice(), ","), len(s.Type.Slice()) > 0)
	set("pattern", s.Pattern, s.Pattern != "")
	set("format", s.Format, s.Format != "")
	set("minLength", s.MinLength, s.MinLength != 0)
	set("minItems", s.MinItems, s.MinItems != 0)
	set("nullable", s.Nullable, s.Nullable)
	if s.MaxLength != nil {
		set("maxLength", *s.MaxLength, true)
	}
	if s.MaxItems != nil {
		set("maxItems", *s.MaxItems, true)
	}
	if s.Min != nil {
		set("minimum", *s.Min, true)
	}
	if s.Max != nil {
		set("maximum", *s.Max, true)
	}
	values := []string{}
	for _, v := range s.Enum {
		values = append(values, fmt.Sprint(v))
	}
	slices.Sort(values)
	set("enum", strings.Join(values, " "), len(values) > 0)
}

// compareFacts lists what differs, by place.
func compareFacts(mine, theirs map[string]map[string]string) []difference {
	var found []difference
	pointers := map[string]bool{}
	for p := range mine {
		pointers[p] = true
	}
	for p := range theirs {
		pointers[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(pointers)) {
		switch {
		case theirs[p] == nil:
			found = append(found, difference{pointer: p, fact: "only ours"})
		case mine[p] == nil:
			found = append(found, difference{pointer: p, fact: "only theirs"})
		case theirs[p]["undefined but required"] != "":
			found = append(found, difference{pointer: p, fact: "undefined but required"})
		default:
			found = append(found, compareValues(p, mine[p], theirs[p])...)
		}
	}
	return found
}

func compareValues(pointer string, mine, theirs map[string]string) []difference {
	var found []difference
	names := maps.Clone(mine)
	maps.Copy(names, theirs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if pointer == "" && name == "type" && theirs[name] == "" {
			continue
		}
		if mine[name] != theirs[name] {
			found = append(found, difference{pointer: pointer, fact: fmt.Sprintf("%s: ours %q theirs %q", name, mine[name], theirs[name])})
		}
	}
	return found
}

// compareOperations compares parameters, status codes and the headers of each answer.
func compareOperations(mine, theirs *openapi3.Operation) []difference {
	var found []difference
	a, b := parameterFacts(mine), parameterFacts(theirs)
	for _, d := range compareFacts(a, b) {
		found = append(found, difference{pointer: "parameter " + d.pointer, fact: d.fact})
	}
	codes := map[string]bool{}
	for code := range mine.Responses.Map() {
		codes[code] = true
	}
	for code := range theirs.Responses.Map() {
		codes[code] = true
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		x, y := mine.Responses.Value(code), theirs.Responses.Value(code)
		switch {
		case y == nil:
			found = append(found, difference{pointer: "responses", fact: fmt.Sprintf("extra: %q", code)})
			continue
		case x == nil:
			found = append(found, difference{pointer: "responses", fact: fmt.Sprintf("missing: %q", code)})
			continue
		}
		for _, name := range []string{"x-fapi-interaction-id", "x-v", "x-webhook-interaction-id"} {
			if (x.Value.Headers[name] == nil) != (y.Value.Headers[name] == nil) {
				found = append(found, difference{pointer: "responses", fact: fmt.Sprintf("%s on %q", name, code)})
			}
		}
		for media := range y.Value.Content {
			if x.Value.Content[media] == nil {
				found = append(found, difference{pointer: "responses", fact: fmt.Sprintf("no %s on %q", media, code)})
			}
		}
	}
	return found
}

func parameterFacts(op *openapi3.Operation) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, ref := range op.Parameters {
		p := ref.Value
		f := map[string]string{"in": p.In, "presence": fmt.Sprint(p.Required)}
		gatherOwn(f, p.Schema.Value)
		all[p.Name] = f
	}
	return all
}

// answerSchema is the schema of the claims that an operation answers with 200.
func answerSchema(t testing.TB, document *openapi3.T, path string) *openapi3.Schema {
	t.Helper()
	item := document.Paths.Value(path)
	require.NotNil(t, item, path)
	content := item.Get.Responses.Status(200).Value.Content["application/jwt"]
	require.NotNil(t, content, path)
	return content.Schema.Value
}

// ours reads one of our documents anew.
func ours(t testing.TB, name string) *openapi3.T {
	t.Helper()
	text, err := fs.ReadFile(openapi.Documents(), name)
	require.NoError(t, err)
	return parse(t, text)
}

// official reads an official file, or skips the test where the oracles are not at hand.
func official(t testing.TB, name string) *openapi3.T {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	folder := filepath.Join(filepath.Dir(root), "shared", "spec", "openapi")
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("ARAUTO_REQUIRE_ORACLES") == "1" {
			t.Fatalf("the official files are required and not there: %v", err)
		}
		t.Skip("the official files are not beside this repository")
	}
	text, err := os.ReadFile(filepath.Join(folder, name+".yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(folder, name+".yml")) // as it was published
	}
	require.NoError(t, err)
	return parse(t, text, openapi3.DisableSchemaPatternValidation(), openapi3.DisableExamplesValidation())
}

// parsed keeps documents between tests: to read an official file takes a quarter of a second.
var parsed = map[[sha256.Size]byte]*openapi3.T{}

func parse(t testing.TB, text []byte, options ...openapi3.ValidationOption) *openapi3.T {
	t.Helper()
	key := sha256.Sum256(text)
	if document, ok := parsed[key]; ok {
		return document
	}
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(text)
	require.NoError(t, err)
	require.NoError(t, document.Validate(loader.Context, options...))
	parsed[key] = document
	return document
}
