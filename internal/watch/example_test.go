package watch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/arauto/arauto/internal/watch"
)

// A mapping says what a row of the core means. Explain shows each expression with its value, and the change that the row makes.
func ExampleMapping_Explain() {
	mapping, err := watch.ParseMapping("core.yaml", []byte(`
source: core
type: postgres
tables:
  pagamentos:
    kind: pix-payment
    id: id
    client: iniciadora
    version: v5
    status: {value: situacao, map: {RECEBIDO: RCVD, LIQUIDADO: ACSC}}
    data:
      payment: {amount: cents(valor_centavos), currency: '"BRL"'}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	none := func(context.Context, watch.Lookup) (map[string]map[string]any, error) { return nil, nil } // the mapping has no joins
	row := watch.SourceRecord{
		Table: "pagamentos", Op: watch.Update, Key: "pagamentos id=pay-1", Revision: 17, CommittedAt: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		Values: map[string]any{"id": "pay-1", "iniciadora": "alfa", "situacao": "LIQUIDADO", "valor_centavos": json.Number("15025")},
	}
	explained, err := mapping.Explain(context.Background(), none, row)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range explained[0].Steps {
		fmt.Println(step.Key+":", step.Expression, "=", step.Result)
	}
	fmt.Println(string(explained[0].Line))
	// Output:
	// tables.pagamentos.id: id = "pay-1"
	// tables.pagamentos.client: iniciadora = "alfa"
	// tables.pagamentos.version: v5 = "v5"
	// tables.pagamentos.status.value: situacao = "LIQUIDADO"
	// tables.pagamentos.occurredAt: committed_at = "2026-11-21T12:00:00Z"
	// tables.pagamentos.data.payment.amount: cents(valor_centavos) = "150.25"
	// tables.pagamentos.data.payment.currency: "BRL" = "BRL"
	// {"kind":"pix-payment","clientId":"alfa","apiVersion":"v5","revision":17,"occurredAt":"2026-11-21T12:00:00Z","data":{"paymentId":"pay-1","status":"ACSC","payment":{"amount":"150.25","currency":"BRL"}}}
}

// Every mistake of a mapping file is named with its line, its key and what would be right.
func ExampleParseMapping() {
	_, err := watch.ParseMapping("core.yaml", []byte(`
source: core
type: postgres
tables:
  pagamentos: {kind: boleto, id: id, client: iniciadora, version: v5, status: '"ACSC"', data: {}}
`))
	fmt.Println(err)
	// Output: core.yaml:5: tables.pagamentos.kind: "boleto" is not a kind; write payment-consent, pix-payment, recurring-consent, recurring-payment, enrollment or initiator
}
