package openapi_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/notice"
	"github.com/arauto/arauto/internal/ofb"
	"github.com/arauto/arauto/openapi"
)

// minorAnswers lists what a holder answers that declares a minor version.
var minorAnswers = []struct {
	kind     ofb.Kind
	version  string
	declared string
	list     bool
	file     string
	path     string
}{
	{ofb.PaymentConsent, "v4", "4.0.1", false, "payments-v4.yaml", "/consents/{consentId}"},
	{ofb.PixPayment, "v4", "4.0.1", false, "payments-v4.yaml", "/pix/payments/{paymentId}"},
	{ofb.PaymentConsent, "v4", "4.1.0", false, "payments-v4.yaml", "/consents/{consentId}"},
	{ofb.PixPayment, "v4", "4.1.0", true, "payments-v4.yaml", "/consents/{consentId}/pix/payments"},
	{ofb.PixPayment, "v4", "4.1.0", false, "payments-v4.yaml", "/pix/payments/{paymentId}"},
	{ofb.PaymentConsent, "v5", "5.0.0", false, "payments-v5.yaml", "/consents/{consentId}"},
	{ofb.PixPayment, "v5", "5.0.0", false, "payments-v5.yaml", "/pix/payments/{paymentId}"},
	{ofb.RecurringConsent, "v2", "2.0.0", false, "automatic-payments-v2.yaml", "/recurring-consents/{recurringConsentId}"},
	{ofb.RecurringPayment, "v2", "2.0.0", true, "automatic-payments-v2.yaml", "/pix/recurring-payments"},
	{ofb.RecurringPayment, "v2", "2.0.0", false, "automatic-payments-v2.yaml", "/pix/recurring-payments/{recurringPaymentId}"},
	{ofb.RecurringConsent, "v2", "2.2.0", false, "automatic-payments-v2.yaml", "/recurring-consents/{recurringConsentId}"},
	{ofb.RecurringPayment, "v2", "2.2.0", true, "automatic-payments-v2.yaml", "/pix/recurring-payments"},
	{ofb.RecurringPayment, "v2", "2.2.0", false, "automatic-payments-v2.yaml", "/pix/recurring-payments/{recurringPaymentId}"},
	{ofb.Enrollment, "v2", "2.2.0", false, "enrollments-v2.yaml", "/enrollments/{enrollmentId}"},
	{ofb.Enrollment, "v2", "2.3.0", false, "enrollments-v2.yaml", "/enrollments/{enrollmentId}"},
}

func oracleOf(kind ofb.Kind, full string) string { return kind.API() + "-" + full }

// ourMinor reads one of our documents anew and makes it one of a minor version.
func ourMinor(t *testing.T, file string, kind ofb.Kind, full string) *openapi3.T {
	t.Helper()
	text, err := fs.ReadFile(openapi.Documents(), file)
	require.NoError(t, err)
	document, err := openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err)
	openapi.Become(document, full, kind)
	return document
}

// minorExplained are the differences beside those of the documents themselves.
var minorExplained = []difference{
	{"automatic-payments-2.0.0", "/riskSignals/", `format: ours ""`, "int64 and double bound a number that nobody computes with"},
	{"automatic-payments-2.0.0", "/identification", `pattern: ours "^\\d{11}$|^\\d{14}$"`, "the same set of texts in two spellings"},
}

// TestADeclaredMinorVersionAgreesWithItsOfficialFile compares every fact about every member of every answer.
func TestADeclaredMinorVersionAgreesWithItsOfficialFile(t *testing.T) {
	needed := make([]bool, len(minorExplained))
	for _, a := range minorAnswers {
		name := oracleOf(a.kind, a.declared)
		mine, theirs := answerFacts(t, ourMinor(t, a.file, a.kind, a.declared), a.path), answerFacts(t, official(t, name), a.path)
		for _, d := range compareFacts(mine, theirs) {
			i := slices.IndexFunc(minorExplained, func(e difference) bool {
				place := strings.HasSuffix(d.pointer, e.pointer) || strings.HasSuffix(e.pointer, "/") && strings.Contains(d.pointer, e.pointer)
				return strings.HasPrefix(name, e.oracle) && place && strings.HasPrefix(d.fact, e.fact)
			})
			union := strings.HasPrefix(name, "payments-4") && strings.Contains(d.fact, "150") || strings.HasSuffix(d.pointer, "/rejectionReason/code")
			switch {
			case i >= 0:
				needed[i] = true
			case union || explanation(name, d) < 0: // what the union of two versions excuses is no excuse for one of them
				t.Errorf("%s %s %s: %s", name, a.path, d.pointer, d.fact)
			}
		}
	}
	for i, e := range minorExplained {
		require.True(t, needed[i], "nothing differs any more: %s %s", e.oracle, e.pointer)
	}
}

// valuesOf lists the values of an enumeration of an official file.
func valuesOf(t *testing.T, name, path, pointer string) []string {
	t.Helper()
	return strings.Fields(answerFacts(t, official(t, name), path)[pointer]["enum"])
}

// bodies are documents of a kind in a minor version: every state, every product, plain and complete, with every reason of a rejection.
func bodies(t *testing.T, kind ofb.Kind, full, path string) [][]byte {
	t.Helper()
	name, version := oracleOf(kind, full), kind.Versions()[0]
	reason := map[ofb.Kind]string{
		ofb.RecurringConsent: "/data/rejection/reason/code", ofb.RecurringPayment: "/data/rejectionReason/code", ofb.Enrollment: "/data/cancellation/reason/rejectionReason",
	}[kind]
	products := []string{"automatic"}
	if kind == ofb.RecurringConsent {
		products = []string{"automatic", "sweeping", "vrp"}
	}
	var all [][]byte
	for _, status := range kind.Statuses() {
		for _, product := range products {
			for _, complete := range []bool{false, true} {
				options := []openapitest.Option{openapitest.Minor(full), openapitest.Product(product)}
				if complete {
					options = append(options, openapitest.Complete())
				}
				document := func(more ...openapitest.Option) {
					id := openapitest.SampleID(kind, len(all))
					all = append(all, openapitest.Document(kind, version, status, id, append(slices.Clone(options), more...)...))
				}
				document()
				if status != ofb.Rejected && status != ofb.RJCT {
					continue
				}
				for _, code := range valuesOf(t, name, path, reason) {
					document(openapitest.Edit(func(data map[string]any) { setAt(data, strings.Split(reason, "/")[2:], code) }))
				}
			}
		}
	}
	return all
}

func setAt(data map[string]any, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		data = data[name].(map[string]any)
	}
	data[path[len(path)-1]] = value
}

// unknownMembers lists the members of a value that the facts of a schema do not have.
func unknownMembers(known map[string]map[string]string, pointer string, value any) []string {
	var out []string
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			if known[pointer+"/"+name] == nil {
				out = append(out, pointer+"/"+name)
				continue
			}
			out = append(out, unknownMembers(known, pointer+"/"+name, inner)...)
		}
	case []any:
		for _, inner := range v {
			out = append(out, unknownMembers(known, pointer+"/0", inner)...)
		}
	}
	return out
}

// TestEveryBodyOfAMinorVersionHasItsMembersAndNoOthers makes more than 200 bodies of automatic payments and enrollments in each minor
// version. Each is accepted as a change where its version is declared. What is answered is valid in the official file and has no
// other member: as it was stored, and where another version was declared when it was stored.
func TestEveryBodyOfAMinorVersionHasItsMembersAndNoOthers(t *testing.T) {
	total := 0
	for _, pair := range [][2]string{{"2.0.0", "2.2.0"}, {"2.2.0", "2.0.0"}, {"2.2.0", "2.3.0"}, {"2.3.0", "2.2.0"}} {
		for _, a := range minorAnswers {
			if a.declared != pair[0] || a.list || a.version != "v2" || (a.kind == ofb.Enrollment) != (pair[0] == "2.3.0" || pair[1] == "2.3.0") {
				continue
			}
			versions, err := ofb.ParseVersions([]string{a.kind.API() + "/" + a.declared})
			require.NoError(t, err)
			strict, err := openapi.Load(openapi.Declare(versions))
			require.NoError(t, err)
			document := official(t, oracleOf(a.kind, a.declared))
			schema, known := answerSchema(t, document, a.path), answerFacts(t, document, a.path)
			answered := func(stored []byte, why string) map[string]any {
				data, err := openapi.Within(versions, a.kind, a.version, stored)
				require.NoError(t, err)
				body := decode(t, fmt.Appendf(nil,
					`{"data":%s,"links":{"self":"https://api.banco.example.com/open-banking/x"},"meta":{"requestDateTime":"2026-11-21T12:00:00Z"}}`, data))
				require.Empty(t, unknownMembers(known, "", body), "%s %s %s", a.kind, a.declared, why)
				return body
			}
			for _, stored := range bodies(t, a.kind, a.declared, a.path) {
				total++
				require.Empty(t, strict.Check(a.kind, a.version, decode(t, stored)), "%s %s: %s", a.kind, a.declared, stored)
				body := answered(stored, "as stored")
				require.NoError(t, schema.VisitJSON(body, openapi3.MultiErrors()), "%s %s: %s", a.kind, a.declared, stored)
			}
			for _, stored := range bodies(t, a.kind, pair[1], a.path) {
				body := answered(stored, "stored under "+pair[1])
				if data := body["data"].(map[string]any); data["localInstrument"] == "AUTO" || a.declared == "2.0.0" {
					continue // 2.0.0 has neither this instrument nor references of this length, and no others to put in their place
				}
				require.NoError(t, schema.VisitJSON(body, openapi3.MultiErrors()), "%s %s through %s: %s", a.kind, pair[1], a.declared, stored)
			}
		}
	}
	require.Greater(t, total, 200)
}

// TestADeclaredVersionRefusesMembersOfTheOther names one difference of each sort.
func TestADeclaredVersionRefusesMembersOfTheOther(t *testing.T) {
	load := func(declared ...string) *openapi.Schemas {
		versions, err := ofb.ParseVersions(declared)
		require.NoError(t, err)
		schemas, err := openapi.Load(openapi.Declare(versions))
		require.NoError(t, err)
		return schemas
	}
	older, newest, v401, v410 := load("automatic-payments/2.0.0"), load("automatic-payments/2.2.0"), load("payments/4.0.1"), load("payments/4.1.0")
	reject := func(code string) openapitest.Option {
		return openapitest.Edit(func(data map[string]any) { setAt(data, []string{"rejectionReason", "code"}, code) })
	}
	long := openapitest.Edit(func(data map[string]any) { setAt(data, []string{"creditor", "name"}, strings.Repeat("a", 121)) })
	for _, c := range []struct {
		what     string
		accepts  *openapi.Schemas
		refuses  *openapi.Schemas
		kind     ofb.Kind
		version  string
		status   ofb.Status
		at, code string
		options  []openapitest.Option
	}{
		{"journey", newest, older, ofb.RecurringConsent, "v2", ofb.Authorised, "/data/journey", openapi.CodeUnknown, []openapitest.Option{openapitest.Complete()}},
		{
			"riskSignals", older, newest, ofb.RecurringConsent, "v2", ofb.Authorised, "/data/riskSignals", openapi.CodeUnknown,
			[]openapitest.Option{openapitest.Complete(), openapitest.Minor("2.0.0")},
		},
		{"AUTO", newest, older, ofb.RecurringPayment, "v2", ofb.SCHD, "/data/localInstrument", openapi.CodeEnum, nil},
		{
			"CONSENTIMENTO_REVOGADO", older, newest, ofb.RecurringPayment, "v2", ofb.RJCT, "/data/rejectionReason/code", openapi.CodeEnum,
			[]openapitest.Option{openapitest.Minor("2.0.0"), reject("CONSENTIMENTO_REVOGADO")},
		},
		{
			"a payment without creditorAccount", newest, older, ofb.RecurringPayment, "v2", ofb.ACSC, "/data/creditorAccount", openapi.CodeRequired,
			[]openapitest.Option{openapitest.Edit(func(data map[string]any) { delete(data, "creditorAccount") })},
		},
		{
			"CHAVE_PIX_DIVERGENTE_AGENDAMENTO_LIQUIDACAO", v410, v401, ofb.PixPayment, "v4", ofb.RJCT, "/data/rejectionReason/code", openapi.CodeEnum,
			[]openapitest.Option{reject("CHAVE_PIX_DIVERGENTE_AGENDAMENTO_LIQUIDACAO")},
		},
		{
			"AUTENTICACAO_DIVERGENTE", v410, v401, ofb.PaymentConsent, "v4", ofb.Rejected, "/data/rejectionReason/code", openapi.CodeEnum,
			[]openapitest.Option{reject("AUTENTICACAO_DIVERGENTE")},
		},
		{"a name of 121 letters", v401, v410, ofb.PaymentConsent, "v4", ofb.Authorised, "/data/creditor/name", openapi.CodeLength, []openapitest.Option{long}},
	} {
		data := openapitest.Data(c.kind, c.version, c.status, openapitest.SampleID(c.kind, 1), c.options...)
		require.Empty(t, c.accepts.Check(c.kind, c.version, data), c.what)
		problems := c.refuses.Check(c.kind, c.version, data)
		require.True(t, slices.ContainsFunc(problems, func(p notice.Problem) bool { return p.Pointer == c.at && p.Code == c.code }), "%s: %+v", c.what, problems)
		require.Empty(t, load().Check(ofb.PaymentConsent, "v4", openapitest.Data(ofb.PaymentConsent, "v4", ofb.Authorised, "urn:b:1", long)), "the union")
	}
}

// TestAReasonOfTheOtherVersionIsToldInTheDetail covers what a timer, an import or an older declaration stored.
func TestAReasonOfTheOtherVersionIsToldInTheDetail(t *testing.T) {
	versions, err := ofb.ParseVersions([]string{"automatic-payments/2.2.0"})
	require.NoError(t, err)
	stored := openapitest.Document(ofb.RecurringConsent, "v2", ofb.Rejected, "urn:b:1", openapitest.Minor("2.0.0"), openapitest.Complete(),
		openapitest.Edit(func(data map[string]any) { setAt(data, []string{"rejection", "reason", "code"}, "SALDO_INSUFICIENTE") }))
	answer, err := openapi.Within(versions, ofb.RecurringConsent, "v2", stored)
	require.NoError(t, err)
	data := decode(t, answer)
	require.NotContains(t, data, "riskSignals")
	reason := data["rejection"].(map[string]any)["reason"].(map[string]any)
	require.Equal(t, "NAO_INFORMADO", reason["code"])
	require.Contains(t, reason["detail"], "SALDO_INSUFICIENTE: O usuário")
	same, err := openapi.Within(nil, ofb.RecurringConsent, "v2", stored)
	require.NoError(t, err)
	require.Equal(t, stored, same, "without a declaration nothing is changed")
}

const minorPage = "../docs/minor-versions.md"

// TestThePageOfMinorVersionsHasTheTablesOfTheOfficialFiles makes the tables of members that differ from both official files.
// go test ./openapi -run MinorVersions -update writes them.
func TestThePageOfMinorVersionsHasTheTablesOfTheOfficialFiles(t *testing.T) {
	text, err := os.ReadFile(minorPage)
	require.NoError(t, err)
	page := string(text)
	for _, c := range []struct {
		kind       ofb.Kind
		older, new string
		paths      []string
	}{
		{ofb.RecurringConsent, "2.0.0", "2.2.0", []string{"/recurring-consents/{recurringConsentId}", "/pix/recurring-payments/{recurringPaymentId}", "/pix/recurring-payments"}},
		{ofb.Enrollment, "2.2.0", "2.3.0", []string{"/enrollments/{enrollmentId}"}},
		{ofb.PaymentConsent, "4.0.1", "4.1.0", []string{"/consents/{consentId}", "/pix/payments/{paymentId}"}},
	} {
		name := c.kind.API() + " " + c.older + " " + c.new
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
		before, rest, found := strings.Cut(page, begin)
		require.True(t, found, "the page has no place for %s", name)
		_, after, _ := strings.Cut(rest, end)
		page = before + begin + differences(t, c.kind, c.older, c.new, c.paths) + end + after
	}
	if *update {
		require.NoError(t, os.WriteFile(minorPage, []byte(page), 0o600))
		return
	}
	require.Equal(t, page, string(text), "the tables of %s are old; write them with -update", minorPage)
}

// differences is the table of members that differ between two official files.
func differences(t *testing.T, kind ofb.Kind, older, newer string, paths []string) string {
	t.Helper()
	var out strings.Builder
	a, b := official(t, oracleOf(kind, older)), official(t, oracleOf(kind, newer))
	for _, path := range paths {
		old, now := answerFacts(t, a, path), answerFacts(t, b, path)
		var inside []string
		for _, d := range compareFacts(old, now) {
			parent := slices.ContainsFunc(inside, func(p string) bool { return strings.HasPrefix(d.pointer, p+"/") })
			if strings.HasPrefix(d.fact, "only") {
				inside = append(inside, d.pointer)
			}
			if parent {
				continue // its parent is told
			}
			if out.Len() == 0 {
				fmt.Fprintf(&out, "| GET | member | %s | %s |\n|---|---|---|---|\n", older, newer)
			}
			x, y := tell(old[d.pointer], now[d.pointer])
			row := fmt.Sprintf("| `%s` | `%s` | %s | %s |\n", path, d.pointer, x, y)
			if !strings.Contains(out.String(), row) {
				out.WriteString(row)
			}
		}
	}
	if out.Len() == 0 {
		return "No member differs in name, presence, type, format, values, pattern or length.\n"
	}
	return out.String()
}

// tell says how two versions of a member differ.
func tell(old, now map[string]string) (x, y string) {
	switch {
	case old == nil:
		return "not there", now["presence"]
	case now == nil:
		return old["presence"], "not there"
	}
	names := maps.Clone(old)
	maps.Copy(names, now)
	var before, after []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if old[name] == now[name] {
			continue
		}
		before, after = append(before, word(name, old[name], now[name])), append(after, word(name, now[name], old[name]))
	}
	return strings.Join(before, "; "), strings.Join(after, "; ")
}

// word tells one fact; of an enumeration only what the other does not have.
func word(name, value, other string) string {
	switch name {
	case "presence":
		return value
	case "enum":
		var only []string
		for _, one := range strings.Fields(value) {
			if !slices.Contains(strings.Fields(other), one) {
				only = append(only, "`"+one+"`")
			}
		}
		if len(only) == 0 {
			return "–"
		}
		return "also " + strings.Join(only, ", ")
	case "pattern":
		return "`" + strings.ReplaceAll(value, "|", `\|`) + "`"
	}
	if value == "" {
		return "any " + name
	}
	return name + " " + value
}
