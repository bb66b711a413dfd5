package openapi

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/arauto/arauto/internal/ofb"
)

// The patterns of the versions that know digits only (status-apis §1.9).
const (
	digitsCNPJ     = `^\d{14}$`
	digitsCPFCNPJ  = `^\d{11}$|^\d{14}$`
	digitsISPB     = `^[0-9]{8}$`
	digitsEndToEnd = `^([E])([0-9]{8})([0-9]{4})(0[1-9]|1[0-2])(0[1-9]|[1-2][0-9]|3[0-1])(2[0-3]|[01][0-9])([0-5][0-9])([a-zA-Z0-9]{11})$`
)

// minor is one minor version of an API, as far as its answers differ from our document of the major version. Our documents say what
// the newest minor version says, and payments-v4.yaml what two say together. Tests compare the result with the official files, and
// print the members that differ into docs/minor-versions.md.
type minor struct {
	api, full string
	change    func(components openapi3.Schemas) // what it says otherwise; nil: nothing
	lacks     map[ofb.Kind][]string             // members of data that only other minor versions have
	reasons   map[ofb.Kind]goneReasons          // reasons that only other minor versions have
}

// goneReasons are reasons of a rejection, and where in data its reason stands.
type goneReasons struct {
	at    []string
	codes []string
}

var minors = []minor{
	{
		api: "payments", full: "4.0.1",
		change: func(c openapi3.Schemas) {
			removeValues(c["ConsentRejectionCode"].Value, "AUTENTICACAO_DIVERGENTE")
			removeValues(c["PaymentRejectionCode"].Value, "CHAVE_PIX_DIVERGENTE_AGENDAMENTO_LIQUIDACAO")
		},
		reasons: map[ofb.Kind]goneReasons{
			ofb.PaymentConsent: {[]string{"rejectionReason"}, []string{"AUTENTICACAO_DIVERGENTE"}},
			ofb.PixPayment:     {[]string{"rejectionReason"}, []string{"CHAVE_PIX_DIVERGENTE_AGENDAMENTO_LIQUIDACAO"}},
		},
	},
	{
		api: "payments", full: "4.1.0",
		change: func(c openapi3.Schemas) {
			c["PaymentConsent"].Value.Properties["creditor"].Value.Properties["name"].Value.MaxLength = openapi3.Ptr(uint64(120))
		},
	},
	{
		api: "automatic-payments", full: "2.2.0",
		lacks: map[ofb.Kind][]string{ofb.RecurringConsent: {"riskSignals"}},
		reasons: map[ofb.Kind]goneReasons{
			ofb.RecurringConsent: {[]string{"rejection", "reason"}, []string{"SALDO_INSUFICIENTE", "VALOR_ACIMA_LIMITE"}},
			ofb.RecurringPayment: {[]string{"rejectionReason"}, []string{"CONSENTIMENTO_REVOGADO"}},
		},
	},
	{
		api: "automatic-payments", full: "2.0.0", change: automatic200,
		lacks: map[ofb.Kind][]string{ofb.RecurringConsent: {"journey"}},
		reasons: map[ofb.Kind]goneReasons{
			ofb.RecurringConsent: {[]string{"rejection", "reason"}, []string{"FLUXO_NAO_SUPORTADO_PRODUTO"}},
		},
	},
}

// automatic200 makes of the document of automatic payments 2.2.0 that of 2.0.0.
func automatic200(c openapi3.Schemas) {
	for name, pattern := range map[string]string{
		"Cnpj": digitsCNPJ, "CpfCnpj": digitsCPFCNPJ, "CpfCnpjAnyLength": digitsCPFCNPJ, "Ispb": digitsISPB, "EndToEndId": digitsEndToEnd,
	} {
		c[name].Value.Pattern = pattern
	}
	c["PaymentReference"].Value.MaxLength = openapi3.Ptr(uint64(10))
	removeValues(c["ConsentRejectionCode"].Value, "FLUXO_NAO_SUPORTADO_PRODUTO")
	addValues(c["ConsentRejectionCode"].Value, "SALDO_INSUFICIENTE", "VALOR_ACIMA_LIMITE")
	addValues(c["PaymentRejectionCode"].Value, "CONSENTIMENTO_REVOGADO")
	consent, payment := c["RecurringConsent"].Value, c["RecurringPayment"].Value
	delete(consent.Properties, "journey")
	consent.Properties["riskSignals"] = c["RiskSignals"]
	removeValues(payment.Properties["localInstrument"].Value, "AUTO")
	payment.Required = append(payment.Required, "creditorAccount")
}

func removeValues(s *openapi3.Schema, values ...string) {
	s.Enum = slices.DeleteFunc(s.Enum, func(one any) bool { return slices.ContainsFunc(values, func(v string) bool { return one == v }) })
}

func addValues(s *openapi3.Schema, values ...string) {
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
}

// Declare makes the schemas those of the minor versions that a holder declares (setting schema.versions). Without a declaration v4 is
// the union of 4.0.1 and 4.1.0, and the other APIs are of their newest version.
func Declare(versions ofb.Versions) Option { return func(s *Schemas) { s.versions = versions } }

// become makes of a document that of the minor version declared for it; a document without declaration stays as it is.
func become(document *openapi3.T, declared string, kind ofb.Kind) {
	if m := minorOf(kind, declared); m != nil && m.change != nil {
		m.change(document.Components.Schemas)
	}
}

func minorOf(kind ofb.Kind, declared string) *minor {
	i := slices.IndexFunc(minors, func(m minor) bool { return declared != "" && m.api == kind.API() && m.full == declared })
	if i < 0 {
		return nil
	}
	return &minors[i]
}

// Within makes of a document that was stored under another minor version what the declared one can say: members that it does not
// have are left out, and a reason that it does not have becomes NAO_INFORMADO with the real one in its detail. Without a declaration,
// and when there is nothing to change, the document is returned as it is.
func Within(versions ofb.Versions, kind ofb.Kind, version string, document []byte) ([]byte, error) {
	m := minorOf(kind, versions.Declared(kind, version))
	if m == nil {
		return document, nil
	}
	for _, name := range m.lacks[kind] {
		if !bytes.Contains(document, []byte(`"`+name+`"`)) {
			continue
		}
		data, err := parseMembers(document)
		if err != nil {
			return nil, fmt.Errorf("leave out %s: %w", name, err)
		}
		document = data.drop(name).text()
	}
	reasons := m.reasons[kind]
	return mapReason(document, reasons.at, reasons.codes)
}
