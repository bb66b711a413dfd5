package mockbank

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/arauto/arauto/internal/ofb"
)

// never is the instant of a field that a program never set.
const never = "0001-01-01T00:00:00Z"

// New creates a resource in its kind's initial state and returns its row's id. Payments need a consent of their kind;
// they are created by Pay. edit may change the row before it is written.
func (b *Bank) New(ctx context.Context, kind ofb.Kind, client string, edit ...func(Row)) (string, error) {
	row := b.fresh(kind, client)
	for _, e := range edit {
		e(row)
	}
	return row["id"].(string), b.Insert(ctx, Table(kind), row)
}

// Pay creates n payments under a consent, all in one insert.
func (b *Bank) Pay(ctx context.Context, kind ofb.Kind, client, consent string, n int) ([]string, error) {
	rows, ids := make([]Row, n), make([]string, n)
	for i := range rows {
		rows[i] = b.fresh(kind, client)
		rows[i]["consent_id"], ids[i] = consent, rows[i]["id"].(string)
	}
	return ids, b.Insert(ctx, Table(kind), rows...)
}

// fresh is a new row of a kind.
func (b *Bank) fresh(kind ofb.Kind, client string) Row {
	at := time.Now()
	row := Row{"id": uuid.NewString(), "client_id": client, "status": kind.Initial(), "created_at": now(), "updated_at": now(), "status_updated_at": now()}
	creditor := Row{
		"creditor_account_isbp": "99999004", "creditor_account_issuer": "1774", "creditor_account_number": "1234567890", "creditor_account_type": "CACC",
	}
	with := func(more ...Row) Row {
		for _, m := range more {
			for name, value := range m {
				row[name] = value
			}
		}
		return row
	}
	switch kind {
	case ofb.PaymentConsent:
		return with(creditor, Row{
			"version": "v5", "expires_at": at.Add(5 * time.Minute).UTC(), "user_identification": "99999999999", "creditor_type": "PESSOA_JURIDICA",
			"creditor_cpf_cnpj": "99999999000191", "creditor_name": "Loja Fictícia Ltda", "payment_type": "PIX", "payment_date": at.In(ofb.Brasilia).Format(time.DateOnly),
			"payment_currency": "BRL", "payment_amount": "150.25", "local_instrument": "DICT", "proxy": "99999999000191",
		})
	case ofb.PixPayment:
		return with(creditor, Row{
			"status_updated_at": never, "version": "v5", "end_to_end_id": endToEnd(at), "local_instrument": "DICT", "proxy": "99999999000191",
			"amount": "150.25", "currency": "BRL", "cnpj_initiator": "99999999000272", "remittance_information": "Pagamento fictício",
			"authorisation_flow": "HYBRID_FLOW", "account_id": b.account,
		})
	case ofb.RecurringConsent:
		return with(Row{
			"user_identification": "99999999999",
			"expires_at":          at.UTC().AddDate(1, 0, 0).Format(time.DateOnly) + "T23:59:59Z",
			"creditors":           []Row{{"type": "PESSOA_JURIDICA", "cpf_cnpj": "99999999000191", "name": "Academia Fictícia Ltda"}},
			"configuration": Row{"automatic": Row{
				"contractId": "CONTRATO123456", "maximumVariableAmount": "500.00", "minimumVariableAmount": "50.00", "interval": "MENSAL",
				"isRetryAccepted": true, "useOverdraftLimit": false, "referenceStartDate": at.AddDate(0, 0, 5).In(ofb.Brasilia).Format(time.DateOnly),
				"contractDebtor": Row{"name": "Pessoa Fictícia", "document": Row{"identification": "99999999999", "rel": "CPF"}},
			}},
		})
	case ofb.RecurringPayment:
		settles := time.Date(at.Year(), at.Month(), at.Day()+3, 15, 0, 0, 0, time.UTC)
		return with(creditor, Row{
			"status_updated_at": never, "end_to_end_id": endToEnd(settles), "date": settles.Format(time.DateOnly), "amount": "99.90", "currency": "BRL",
			"cnpj_initiator": "99999999000272", "remittance_information": "Mensalidade fictícia", "authorisation_flow": "HYBRID_FLOW",
			"local_instrument": "AUTO", "document_identification": "99999999000191", "document_rel": "CNPJ",
			"reference": "R/" + settles.Format(time.DateOnly) + "/P1M", "account_id": b.account,
		})
	default:
		return with(Row{
			"permissions": []string{"PAYMENTS_INITIATE"}, "expires_at": at.AddDate(2, 0, 0).UTC(), "user_identification": "99999999999", "name": "Celular fictício",
		})
	}
}

// Move brings a resource into a state, with what belongs to it.
func (b *Bank) Move(ctx context.Context, kind ofb.Kind, id string, to ofb.Status) error {
	return b.Save(ctx, Table(kind), id, func(r Row) { b.enter(kind, r, to) })
}

func (b *Bank) enter(kind ofb.Kind, r Row, to ofb.Status) {
	r["status"], r["status_updated_at"] = to, now()
	why := Row{"by": "USUARIO", "from": "DETENTORA"}
	switch to {
	case ofb.PartiallyAccepted, ofb.Authorised, ofb.AwaitingEnrollment:
		r["account_id"] = b.account
	}
	switch {
	case kind == ofb.PaymentConsent && to == ofb.Authorised:
		r["expires_at"] = time.Now().Add(time.Hour).UTC()
	case kind == ofb.PaymentConsent && to == ofb.Rejected:
		r["rejection"] = Row{"code": "REJEITADO_USUARIO", "detail": "O usuário rejeitou o consentimento."}
	case to == ofb.RJCT:
		r["rejection"] = Row{"code": "SALDO_INSUFICIENTE", "detail": "A conta não tem saldo."}
	case to == ofb.CANC:
		r["cancellation"] = Row{"cancellation_reason": "CANCELADO_AGENDAMENTO", "cancellation_from": "INICIADORA", "cancelled_at": now(), "cancelled_by": "99999999999"}
	case kind == ofb.RecurringConsent && to == ofb.PartiallyAccepted:
		r["approval_due_at"] = time.Now().AddDate(0, 0, 10).In(ofb.Brasilia).Format(time.DateOnly)
	case kind == ofb.RecurringConsent && to == ofb.Authorised:
		r["authorized_at"] = now()
	case kind == ofb.RecurringConsent && to == ofb.Rejected:
		why["code"], why["detail"] = "REJEITADO_USUARIO", "O usuário rejeitou o consentimento."
		r["rejection"] = why
	case kind == ofb.RecurringConsent && to == ofb.Revoked:
		why["code"], why["detail"] = "REVOGADO_USUARIO", "O usuário revogou o consentimento."
		r["revocation"] = why
	case kind == ofb.Enrollment && to == ofb.AwaitingEnrollment:
		r["transaction_limit"], r["daily_limit"] = "1000.00", "3000.00"
	case kind == ofb.Enrollment && to == ofb.Rejected:
		r["cancellation"] = Row{"cancellation_from": "INICIADORA", "cancelled_by": "99999999999", "rejection_reason": "REJEITADO_MANUALMENTE"}
	case kind == ofb.Enrollment && to == ofb.Revoked:
		r["cancellation"] = Row{"cancellation_from": "DETENTORA", "cancelled_by": "99999999999", "revocation_reason": "REVOGADO_MANUALMENTE"}
	}
}

// Touch saves a row as it is: every column is written, none but updated_at changes.
func (b *Bank) Touch(ctx context.Context, kind ofb.Kind, id string) error {
	return b.Save(ctx, Table(kind), id, func(Row) {})
}

// Read answers a query of a payment consent as the bank's API does: one whose time is over is rejected now, and only now.
func (b *Bank) Read(ctx context.Context, id string) error {
	var late bool
	err := b.pool.QueryRow(ctx, "SELECT status = $2 AND expires_at < now() FROM payment_consents WHERE id = $1", id, ofb.AwaitingAuthorisation).Scan(&late)
	if err != nil || !late {
		return err
	}
	return b.Save(ctx, Table(ofb.PaymentConsent), id, func(r Row) {
		b.enter(ofb.PaymentConsent, r, ofb.Rejected)
		r["rejection"] = Row{"code": "TEMPO_EXPIRADO_AUTORIZACAO", "detail": "Tempo expirado."}
	})
}
