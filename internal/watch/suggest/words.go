package suggest

import (
	"slices"
	"strings"
	"unicode"

	"github.com/arauto/arauto/internal/ofb"
)

// concepts are the words of columns and members, in Portuguese and English, and what they mean here. A word that is not listed means
// itself; one that means "" says nothing.
var concepts = func() map[string]string {
	all := map[string]string{}
	for meaning, words := range map[string]string{ //nolint:gosec // words, no credentials
		"":             "em at on de da do das dos the of date time datetime data hora dt ts timestamp dh id uuid cd nr nu nm tp ds fl js json jsonb atual current corrente forma",
		"creation":     "criado criada criacao created creation inclusao cadastro",
		"update":       "alterado alterada alteracao atualizado atualizada atualizacao updated update changed change modified mudanca",
		"status":       "situacao status estado state sit",
		"expiration":   "expira expiracao expires expiration expiry validade", //nolint:misspell // Portuguese
		"authorised":   "autorizado autorizada autorizacao authorised authorized",
		"amount":       "valor amount total quantia montante vl",
		"cents":        "centavos cents",
		"currency":     "moeda currency",
		"creditor":     "recebedor recebedora creditor credor credora credito favorecido beneficiario destino destinatario payee",
		"debtor":       "pagador pagadora debtor devedor devedora debito payer",
		"account":      "conta account",
		"issuer":       "agencia branch issuer",
		"number":       "numero number num",
		"type":         "tipo type",
		"person":       "pessoa person",
		"name":         "nome name",
		"user":         "usuario usuaria user logged logado titular",
		"business":     "empresa business entity",
		"proxy":        "chave proxy",
		"reason":       "motivo reason",
		"rejection":    "rejeicao rejeitado rejection rejected reject recusa",
		"cancellation": "cancelamento cancelado cancellation cancelled canceled cancel",
		"revocation":   "revogacao revogado revocation revoked",
		"code":         "codigo code cod",
		"detail":       "texto text detail detalhe",
		"remittance":   "descricao remittance mensagem description memo",
		"consent":      "consentimento consent cons",
		"payment":      "pagamento payment pix",
		"recurring":    "recorrente recorrentes recurring automatico automatic", //nolint:misspell // Portuguese
		"enrollment":   "vinculo enrollment enrolment",
		"client":       "iniciadora iniciador initiator client cliente itp tpp pisp",
		"contract":     "contrato contract",
		"interval":     "periodicidade interval frequencia",
		"minimum":      "minimo minima minimum min",
		"maximum":      "maximo maxima maximum max",
		"limit":        "limite limit",
		"transaction":  "transacao transaction",
		"daily":        "diario diaria daily",
		"from":         "canal from origem channel",
		"by":           "por by",
		"instrument":   "instrumento instrument iniciacao",
		"permissions":  "permissoes permissions",
		"version":      "versao version",
		"reference":    "referencia reference",
		"start":        "inicio start",
		"schedule":     "agendamento schedule",
	} {
		for _, w := range strings.Fields(words) {
			all[w] = meaning
		}
	}
	return all
}()

// whole are parts of names that mean one thing together.
var whole = strings.NewReplacer("end_to_end", "endtoend", "fim_a_fim", "endtoend", "e2e", "endtoend", "cpf_cnpj", "document", "client_id", "client", "isbp", "ispb", "accounttype", "account_type")

// meanings are the words of a name, snake_case or camelCase, as concepts. A tax number is a document and its identification.
func meanings(name string) (all []string) {
	var snake strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(rune(name[i-1])) {
			snake.WriteByte('_')
		}
		snake.WriteRune(unicode.ToLower(r))
	}
	for _, w := range strings.FieldsFunc(whole.Replace(plain.Replace(snake.String())), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		switch w {
		case "cpf", "cnpj", "document", "documento", "identification", "identificacao":
			all = append(all, "document", "identification")
			continue
		}
		meaning, known := concepts[w]
		if !known {
			if meaning, known = concepts[strings.TrimSuffix(w, "s")]; !known {
				meaning = w
			}
		}
		if meaning != "" && !slices.Contains(all, meaning) {
			all = append(all, meaning)
		}
	}
	return all
}

// plain writes Portuguese letters without their accents.
var plain = strings.NewReplacer("á", "a", "â", "a", "ã", "a", "à", "a", "é", "e", "ê", "e", "í", "i", "ó", "o", "ô", "o", "õ", "o", "ú", "u", "ç", "c")

// known reports whether a word is one of ours and not one that means itself.
func known(meaning string) bool {
	switch meaning {
	case "document", "identification", "endtoend":
		return true
	}
	for _, m := range concepts {
		if m == meaning {
			return true
		}
	}
	return false
}

// kindOf guesses the kind of resource from a table's name.
func kindOf(table string) (ofb.Kind, bool) {
	has := meanings(table[strings.LastIndexByte(table, '.')+1:])
	is := func(w string) bool { return slices.Contains(has, w) }
	switch {
	case is("enrollment"):
		return ofb.Enrollment, true
	case is("recurring") && is("consent"):
		return ofb.RecurringConsent, true
	case is("recurring") && is("payment"):
		return ofb.RecurringPayment, true
	case is("consent"):
		return ofb.PaymentConsent, true
	case is("payment"):
		return ofb.PixPayment, true
	}
	return 0, false
}

// states are words that cores use for a state, in Portuguese and English. Only those of a kind's states count for that kind.
var states = map[ofb.Status]string{
	ofb.RCVD: "recebido recebida received created criado criada new novo", ofb.CANC: "cancelado cancelada cancelled canceled",
	ofb.ACCP: "aceito aceita accepted", ofb.ACPD: "em_liquidacao processando em_processamento processing settling", ofb.RJCT: "rejeitado rejeitada rejected failed falhou recusado",
	ofb.ACSC: "liquidado liquidada efetivado settled done completed concluido concluida paid pago paga", ofb.PDNG: "pendente pending em_analise retido held",
	ofb.SCHD: "agendado agendada scheduled", ofb.AwaitingAuthorisation: "aguardando aguardando_autorizacao awaiting pending pendente",
	ofb.PartiallyAccepted: "parcial partial parcialmente_aceito partially_accepted", ofb.Authorised: "autorizado autorizada authorised authorized",
	ofb.Rejected: "rejeitado rejeitada rejected", ofb.Consumed: "consumido consumida consumed", ofb.Revoked: "revogado revogada revoked",
	ofb.AwaitingRiskSignals: "aguardando_risco awaiting_risk", ofb.AwaitingAccountHolderValidation: "aguardando_titular awaiting_holder",
	ofb.AwaitingEnrollment: "aguardando_vinculo",
}

// stateOf guesses the state that a value of the core means. guess is false where the value is the state's own name.
func stateOf(kind ofb.Kind, value string) (status ofb.Status, guess, found bool) {
	if s, err := kind.ParseStatus(strings.ToUpper(value)); err == nil {
		return s, string(s) != value, true
	}
	w := strings.NewReplacer(" ", "_", "-", "_").Replace(plain.Replace(strings.ToLower(value)))
	for _, s := range kind.Statuses() {
		if slices.Contains(strings.Fields(states[s]), w) {
			return s, true, true
		}
	}
	return "", false, false
}
