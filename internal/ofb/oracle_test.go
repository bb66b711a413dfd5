package ofb

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// oracle loads one of the official files, which stand beside the repository and are no part of it. Without them the
// test is skipped, unless ARAUTO_REQUIRE_ORACLES=1.
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
	file := filepath.Join(root, "..", "shared", "spec", "openapi", name)
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("ARAUTO_REQUIRE_ORACLES") == "1" {
			t.Fatalf("the official file is required: %v", err)
		}
		t.Skip("the official files are not here")
	}
	document, err := openapi3.NewLoader().LoadFromFile(file)
	require.NoError(t, err)
	return document
}

// official says where each kind and version is described, with a document of it in the state before a timer fires.
var official = []struct {
	kind     Kind
	file     string
	path     string
	document string
}{
	{PaymentConsent, "payments-4.0.1.yaml", "/consents/{consentId}", paymentConsent("")},
	{PaymentConsent, "payments-4.1.0.yaml", "/consents/{consentId}", paymentConsent("")},
	{PaymentConsent, "payments-5.0.0.yaml", "/consents/{consentId}", paymentConsent(`"purpose":"IMMEDIATE",`)},
	{PixPayment, "payments-4.0.1.yaml", "/pix/payments/{paymentId}", ""},
	{PixPayment, "payments-5.0.0.yaml", "/pix/payments/{paymentId}", ""},
	{RecurringConsent, "automatic-payments-2.2.0.yaml", "/recurring-consents/{recurringConsentId}", recurringConsent},
	{RecurringPayment, "automatic-payments-2.2.0.yaml", "/pix/recurring-payments/{recurringPaymentId}", ""},
	{Enrollment, "enrollments-2.3.0.yaml", "/enrollments/{enrollmentId}", enrollment},
}

const (
	loggedUser = `"loggedUser":{"document":{"identification":"11111111111","rel":"CPF"}}`
	account    = `{"ispb":"12345678","issuer":"1774","number":"1234567890","accountType":"CACC"}`
)

func paymentConsent(purpose string) string {
	return `{"consentId":"urn:bank:1","creationDateTime":"2026-09-15T14:00:00Z","expirationDateTime":"2026-09-15T14:05:00Z",
		"statusUpdateDateTime":"2026-09-15T14:00:00Z","status":"%s",` + loggedUser + `,
		"creditor":{"personType":"PESSOA_NATURAL","cpfCnpj":"22222222222","name":"Marco Antonio"},
		"payment":{"type":"PIX",` + purpose + `"date":"2026-09-15","currency":"BRL","amount":"1.00",
			"details":{"localInstrument":"DICT","proxy":"12345678901","creditorAccount":` + account + `}},
		"debtorAccount":` + account + `}`
}

const recurringConsent = `{"recurringConsentId":"urn:bank:1","creationDateTime":"2026-09-15T14:00:00Z",
	"statusUpdateDateTime":"2026-09-15T14:00:00Z","expirationDateTime":"2026-12-15T14:00:00Z","status":"%s",` + loggedUser + `,
	"creditors":[{"personType":"PESSOA_NATURAL","cpfCnpj":"11111111111","name":"Marco Antonio"}],
	"recurringConfiguration":{"sweeping":{"useOverdraftLimit":true,"startDateTime":"2026-09-15T14:00:00Z"}}}`

const enrollment = `{"enrollmentId":"urn:bank:1","creationDateTime":"2026-09-15T14:00:00Z","status":"%s",
	"statusUpdateDateTime":"2026-09-15T14:00:00Z","permissions":["PAYMENTS_INITIATE"],` + loggedUser + `,
	"debtorAccount":` + account + `,"transactionLimit":"10.00"}`

// dataSchema is the schema of `data` in the answer of a status GET.
func dataSchema(t *testing.T, document *openapi3.T, path string) *openapi3.Schema {
	t.Helper()
	item := document.Paths.Value(path)
	require.NotNil(t, item, path)
	answer := item.Get.Responses.Status(200).Value.Content.Get("application/jwt")
	require.NotNil(t, answer, path)
	return answer.Schema.Value.Properties["data"].Value
}

// property finds a member's schema, also in what an allOf or oneOf puts together.
func property(s *openapi3.Schema, name string) *openapi3.Schema {
	if p := s.Properties[name]; p != nil {
		return p.Value
	}
	for _, part := range slices.Concat(s.AllOf, s.OneOf, s.AnyOf) {
		if p := property(part.Value, name); p != nil {
			return p
		}
	}
	return nil
}

func TestStatesAndIdentifiersAreThoseOfTheOfficialFiles(t *testing.T) {
	for _, o := range official {
		t.Run(o.kind.String()+" "+o.file, func(t *testing.T) {
			schema := dataSchema(t, oracle(t, o.file), o.path)
			status := property(schema, "status")
			require.NotNil(t, status)
			var states []string
			for _, s := range o.kind.Statuses() {
				states = append(states, string(s))
			}
			require.ElementsMatch(t, status.Enum, states)

			id := property(schema, o.kind.IDMember())
			require.NotNil(t, id)
			require.Equal(t, id.Pattern, o.kind.profile().id.pattern.String())
			require.NotNil(t, id.MaxLength)
			require.EqualValues(t, *id.MaxLength, o.kind.profile().id.max)
		})
	}
}

func TestPathsHeadersAndBodiesAreThoseOfTheOfficialWebhook(t *testing.T) {
	document := oracle(t, "webhook-1.3.0.yaml")
	require.True(t, strings.HasSuffix(document.Servers[0].URL, webhookRoot), document.Servers[0].URL)
	paths := map[string]Kind{}
	for _, k := range Kinds() {
		template := strings.NewReplacer("VERSION", "{versionApi}", "ID", "{"+k.IDMember()+"}").Replace(Path(k, "VERSION", "ID"))
		paths[strings.TrimPrefix(template, webhookRoot)] = k
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(document.Paths.Map())), slices.Collect(maps.Keys(paths)))

	for path, kind := range paths {
		operation := document.Paths.Value(path).Post
		var headers []string
		for _, p := range operation.Parameters {
			if p.Value.In == "header" {
				headers = append(headers, p.Value.Name)
			}
		}
		want := []string{HeaderInteractionID}
		if kind == Enrollment {
			want = append(want, HeaderAuthorizationServerID)
		}
		require.ElementsMatch(t, want, headers, path)

		body := operation.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties["data"].Value
		event := body.Properties["eventType"]
		require.Equal(t, kind.HasEventType(), event != nil, path)
		if event != nil {
			require.ElementsMatch(t, []any{string(StateChanged), string(DataChanged)}, event.Value.Enum)
			require.Contains(t, body.Required, "eventType")
		}
	}
}

func TestWhatATimerLeavesStillFitsTheOfficialSchema(t *testing.T) {
	for _, o := range official {
		if o.document == "" {
			continue // payments have no timer
		}
		t.Run(o.kind.String()+" "+o.file, func(t *testing.T) {
			schema := dataSchema(t, oracle(t, o.file), o.path)
			for _, r := range rules {
				if r.kind != o.kind {
					continue
				}
				before := fmt.Sprintf(o.document, r.status)
				data := decode(t, before)
				require.NoError(t, schema.VisitJSON(data), "%s: before", r.name)
				fired, after, err := Due(o.kind, []byte(before), data, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
				require.NoError(t, err)
				require.Len(t, fired, 1)
				require.NoError(t, schema.VisitJSON(decode(t, string(after))), "%s: after", r.name)

				// The schema sees the reason: with another code it does not fit.
				if r.reason != "" {
					spoilt := strings.Replace(string(after), r.reason, "TEMPO_ESGOTADO", 1)
					require.Error(t, schema.VisitJSON(decode(t, spoilt)), "%s: spoilt", r.name)
				}
			}
		})
	}
}
