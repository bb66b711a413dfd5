package status_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dlclark/regexp2"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/arauto/arauto/internal/lab/openapitest"
	"github.com/arauto/arauto/internal/ofb"
)

// oracle loads an official file; without the files the test is skipped, unless they are required.
func oracle(t *testing.T, name string) *openapi3.T {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		require.NotEqual(t, root, filepath.Dir(root), "no go.mod above the test")
		root = filepath.Dir(root)
	}
	file := filepath.Join(root, "..", "shared", "spec", "openapi", name+".yaml")
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("ARAUTO_REQUIRE_ORACLES") == "1" {
			t.Fatalf("the official file is required: %v", err)
		}
		t.Skip("the official files are not here")
	}
	read, _ := officials.LoadOrStore(file, sync.OnceValues(func() (*openapi3.T, error) { return openapi3.NewLoader().LoadFromFile(file) }))
	document, err := read.(func() (*openapi3.T, error))()
	require.NoError(t, err)
	return document
}

var officials sync.Map // what each file holds: to read one takes long

// patterns compiles the official patterns, some of which Go's own engine does not know.
func patterns(text string) (openapi3.RegexMatcher, error) {
	compiled, err := regexp2.Compile(text, regexp2.ECMAScript|regexp2.Unicode)
	return matcher{compiled}, err
}

type matcher struct{ *regexp2.Regexp }

func (m matcher) MatchString(s string) bool {
	ok, err := m.Regexp.MatchString(s)
	return ok && err == nil
}

// official says which files an answer must satisfy: through which version, created in which.
var official = []struct {
	kind    ofb.Kind
	created string
	asked   string
	prefix  string
	path    string
	files   []string
}{
	{ofb.PaymentConsent, "v4", "v4", "/open-banking/payments/v4", "/consents/{consentId}", []string{"payments-4.0.1", "payments-4.1.0"}},
	{ofb.PaymentConsent, "v4", "v5", "/open-banking/payments/v5", "/consents/{consentId}", []string{"payments-5.0.0"}},
	{ofb.PaymentConsent, "v5", "v5", "/open-banking/payments/v5", "/consents/{consentId}", []string{"payments-5.0.0"}},
	{ofb.PixPayment, "v4", "v4", "/open-banking/payments/v4", "/pix/payments/{paymentId}", []string{"payments-4.0.1", "payments-4.1.0"}},
	{ofb.PixPayment, "v4", "v5", "/open-banking/payments/v5", "/pix/payments/{paymentId}", []string{"payments-5.0.0"}},
	{ofb.PixPayment, "v5", "v5", "/open-banking/payments/v5", "/pix/payments/{paymentId}", []string{"payments-5.0.0"}},
	{ofb.RecurringConsent, "v2", "v2", "/open-banking/automatic-payments/v2", "/recurring-consents/{recurringConsentId}", []string{"automatic-payments-2.2.0"}},
	{
		ofb.RecurringPayment, "v2", "v2", "/open-banking/automatic-payments/v2", "/pix/recurring-payments/{recurringPaymentId}",
		[]string{"automatic-payments-2.2.0"},
	},
	{ofb.Enrollment, "v2", "v2", "/open-banking/enrollments/v2", "/enrollments/{enrollmentId}", []string{"enrollments-2.2.0", "enrollments-2.3.0"}},
}

// TestEveryAnswerSatisfiesTheOfficialFiles asks for every kind in every state, plain and complete, in every schedule,
// through every version, and holds the payload of each answer against the official schema.
func TestEveryAnswerSatisfiesTheOfficialFiles(t *testing.T) {
	oracle(t, "payments-5.0.0")
	d := openDesk(t).both()
	n := 0
	for _, o := range official {
		variants := [][]openapitest.Option{nil, {openapitest.Complete()}}
		if o.kind == ofb.PaymentConsent {
			for _, shape := range []string{"single", "daily", "weekly", "monthly", "custom"} {
				variants = append(variants, []openapitest.Option{openapitest.Scheduled(shape)})
			}
		}
		if o.kind == ofb.RecurringConsent {
			variants = append(variants, []openapitest.Option{openapitest.Product("sweeping")}, []openapitest.Option{openapitest.Product("vrp")})
		}
		for _, status := range o.kind.Statuses() {
			for _, options := range variants {
				n++
				id, document := sample(o.kind, o.created, status, n, options...)
				d.accept(clientAlfa, o.kind, o.created, 1, document)
				path := o.prefix + o.path[:strings.IndexByte(o.path, '{')] + ofb.EscapeID(id)
				a := d.alfa.get(path)
				for _, file := range o.files {
					requireFits(t, oracle(t, file), o.path, d.payload(a), "%s %s %s %d", file, o.kind, status, n)
				}
				if o.created == o.asked {
					require.JSONEq(t, string(document), string(d.open(a).Data), "value for value")
				}
			}
		}
	}
	require.Greater(t, n, 100)
}

// requireFits judges a whole payload: data, links and meta. Two remarks of the dossier are taken into account: schemas
// that are open, and the creditor's name of 4.0.1.
func requireFits(t *testing.T, document *openapi3.T, path string, payload map[string]any, format string, args ...any) {
	t.Helper()
	item := document.Paths.Value(path)
	require.NotNil(t, item, path)
	schema := item.Get.Responses.Status(200).Value.Content.Get("application/jwt").Schema.Value
	err := schema.VisitJSON(payload, openapi3.MultiErrors(), openapi3.SetSchemaRegexCompiler(patterns))
	require.NoError(t, err, append([]any{format}, args...)...)
}

// TestListsSatisfyTheOfficialFiles covers the defect of the official list: seven members that it requires and does not
// define (status-apis §3.3) are there all the same, in both versions.
func TestListsSatisfyTheOfficialFiles(t *testing.T) {
	oracle(t, "payments-5.0.0")
	d := openDesk(t).both()
	consent, document := sample(ofb.PaymentConsent, "v4", ofb.Consumed, 1)
	d.accept(clientAlfa, ofb.PaymentConsent, "v4", 1, document)
	for i, status := range ofb.PixPayment.Statuses() {
		_, payment := sample(ofb.PixPayment, "v4", status, i, openapitest.UnderConsent(consent), openapitest.Complete())
		d.accept(clientAlfa, ofb.PixPayment, "v4", 1, payment)
	}
	const path = "/consents/{consentId}/pix/payments"
	for version, file := range map[string]string{"v4": "payments-4.1.0", "v5": "payments-5.0.0"} {
		payload := d.payload(d.alfa.get("/open-banking/payments/" + version + "/consents/" + consent + "/pix/payments"))
		requireFits(t, oracle(t, file), path, payload, file)
		items := payload["data"].([]any)
		require.Len(t, items, len(ofb.PixPayment.Statuses()))
		for _, item := range items {
			names := make([]string, 0, 11)
			for name := range item.(map[string]any) {
				names = append(names, name)
			}
			require.ElementsMatch(t, []string{
				"paymentId", "endToEndId", "statusUpdateDateTime", "status", "consentId", "creationDateTime", "localInstrument", "payment",
				"creditorAccount", "cnpjInitiator", "debtorAccount",
			}, names)
		}
	}

	recurring, document := sample(ofb.RecurringConsent, "v2", ofb.Authorised, 1)
	d.accept(clientAlfa, ofb.RecurringConsent, "v2", 1, document)
	for i, status := range ofb.RecurringPayment.Statuses() {
		_, payment := sample(ofb.RecurringPayment, "v2", status, i, openapitest.UnderConsent(recurring), openapitest.Complete())
		d.accept(clientAlfa, ofb.RecurringPayment, "v2", 1, payment)
	}
	a := d.alfa.get("/open-banking/automatic-payments/v2/pix/recurring-payments?recurringConsentId=" + url.QueryEscape(recurring))
	require.Equal(t, "2.2.0", a.header.Get("x-v"))
	payload := d.payload(a)
	requireFits(t, oracle(t, "automatic-payments-2.2.0"), "/pix/recurring-payments", payload, "recurring")
	require.Len(t, payload["data"], len(ofb.RecurringPayment.Statuses()))
}

// TestListsAreTheOwnersAndFiltered is about who sees a list, and what of it.
func TestListsAreTheOwnersAndFiltered(t *testing.T) {
	d := openDesk(t).both()
	const v4, v5 = "/open-banking/payments/v4/consents/", "/open-banking/payments/v5/consents/"
	const automatic = "/open-banking/automatic-payments/v2/pix/recurring-payments"
	consent, document := sample(ofb.PaymentConsent, "v4", ofb.Consumed, 1)
	list := func(a answer, member string) []string {
		t.Helper()
		ids := []string{}
		for _, item := range d.payload(a)["data"].([]any) {
			ids = append(ids, item.(map[string]any)[member].(string))
		}
		return ids
	}

	d.requireRefused(d.alfa.get(v4+consent+"/pix/payments"), 404, "NOT_FOUND")
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return parsed
	}
	// 02:30 UTC on the 10th is still the 9th in Brasília; endToEndId carries the instant in UTC.
	a, first := sample(ofb.PixPayment, "v4", ofb.ACSC, 1, openapitest.UnderConsent(consent), openapitest.Created(at("2026-09-10T02:30:00Z")))
	b, second := sample(ofb.PixPayment, "v4", ofb.SCHD, 2, openapitest.UnderConsent(consent), openapitest.Created(at("2026-09-10T03:00:00Z")))
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, first)
	d.accept(clientAlfa, ofb.PixPayment, "v4", 1, second)
	require.Equal(t, []string{a, b}, list(d.alfa.get(v4+consent+"/pix/payments"), "paymentId"), "the consent itself is not known yet")
	d.requireRefused(d.beta.get(v4+consent+"/pix/payments"), 400, "PARAMETRO_INVALIDO")
	d.accept(clientAlfa, ofb.PaymentConsent, "v4", 1, document)
	d.requireRefused(d.beta.get(v4+consent+"/pix/payments"), 400, "PARAMETRO_INVALIDO")
	for query, want := range map[string][]string{
		"":                      {a, b},
		"?startDate=2026-09-10": {b},
		"?endDate=2026-09-09":   {a},
		"?startDate=2026-09-09&endDate=2026-09-10": {a, b},
		"?startDate=2026-09-11":                    {},
		"?anything=else":                           {a, b},
	} {
		require.Equal(t, want, list(d.alfa.get(v5+consent+"/pix/payments"+query), "paymentId"), query)
	}
	for _, bad := range []string{
		"?startDate=2026-9-1", "?startDate=2026-02-30", "?startDate=", "?endDate=x", "?startDate=2026-09-10&startDate=2026-09-11",
		"?startDate=2026-09-11&endDate=2026-09-10", "?startDate=2026-09-10T00:00:00Z",
	} {
		d.requireRefused(d.alfa.get(v5+consent+"/pix/payments"+bad), 400, "PARAMETRO_INVALIDO")
	}
	newer, document := sample(ofb.PaymentConsent, "v5", ofb.Rejected, 2)
	d.accept(clientAlfa, ofb.PaymentConsent, "v5", 1, document)
	d.requireRefused(d.alfa.get(v4+newer+"/pix/payments"), 400, "PARAMETRO_INVALIDO")
	require.Empty(t, list(d.alfa.get(v5+newer+"/pix/payments"), "paymentId"))

	// Another client's payment under a consent of ours is nobody's business, and not in the list.
	_, stray := sample(ofb.PixPayment, "v4", ofb.ACSC, 3, openapitest.UnderConsent(consent))
	d.accept(clientBeta, ofb.PixPayment, "v4", 1, stray)
	require.Equal(t, []string{a, b}, list(d.alfa.get(v5+consent+"/pix/payments"), "paymentId"))

	recurring := openapitest.SampleID(ofb.RecurringConsent, 1)
	original, doc1 := sample(ofb.RecurringPayment, "v2", ofb.RJCT, 1, openapitest.UnderConsent(recurring), openapitest.Created(at("2026-09-01T12:00:00Z")))
	retry, doc2 := sample(ofb.RecurringPayment, "v2", ofb.ACSC, 2, openapitest.UnderConsent(recurring), openapitest.Created(at("2026-09-02T12:00:00Z")),
		openapitest.Edit(func(data map[string]any) { data["originalRecurringPaymentId"] = original }))
	other, doc3 := sample(ofb.RecurringPayment, "v2", ofb.SCHD, 3, openapitest.UnderConsent(recurring), openapitest.Created(at("2026-09-03T12:00:00Z")))
	for _, doc := range [][]byte{doc1, doc2, doc3} {
		d.accept(clientAlfa, ofb.RecurringPayment, "v2", 1, doc)
	}
	for query, want := range map[string][]string{
		"": {original, retry, other}, "&originalRecurringPaymentId=" + original: {original, retry}, "&startDate=2026-09-06": {other},
		"&originalRecurringPaymentId=unknown": {},
	} {
		require.Equal(t, want, list(d.alfa.get(automatic+"?recurringConsentId="+recurring+query), "recurringPaymentId"), query)
	}
	d.requireRefused(d.alfa.get(automatic), 400, "PARAMETRO_NAO_INFORMADO")
	d.requireRefused(d.alfa.get(automatic+"?recurringConsentId="), 400, "PARAMETRO_NAO_INFORMADO")
	d.requireRefused(d.alfa.get(automatic+"?recurringConsentId=a&recurringConsentId=b"), 400, "PARAMETRO_INVALIDO")
	d.requireRefused(d.alfa.get(automatic+"?recurringConsentId=nao-urn"), 400, "PARAMETRO_INVALIDO")
	d.requireRefused(d.beta.get(automatic+"?recurringConsentId="+recurring), 400, "PARAMETRO_INVALIDO")
	d.requireRefused(d.alfa.get(automatic+"?recurringConsentId=urn:a:unknown"), 404, "NOT_FOUND")

	entries := d.entries()
	var mine []string
	for _, e := range entries {
		if e.resource == consent {
			mine = append(mine, e.outcome)
		}
	}
	require.Greater(t, len(mine), 10, "polls of a list stand in the consent's timeline")
}
