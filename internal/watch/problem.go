package watch

import (
	"errors"
	"strings"

	"github.com/arauto/arauto/internal/notice"
)

// Codes of the problems that keep a record from becoming a change. Those of package intake come beside them.
const (
	codeUnreadable = "unreadable"         // the message is no JSON object
	codeSchema     = "schema-changed"     // the table's mapping does not fit its columns any more
	codeColumn     = "no-column"          // the mapping looks at a column the record has not
	codeMissing    = "missing-value"      // the origin did not tell a value, and it could not be fetched
	codeExpression = "expression"         // an expression cannot be computed for this record
	codeJoin       = "no-joined-row"      // there is no row beside it where the mapping needs one
	codeID         = "null-id"            // no id
	codeClient     = "no-client"          // no client
	codeStatus     = "unmapped-status"    // a status that stands for no state
	codeInstant    = "impossible-instant" // nothing tells when it happened
	codeRevision   = "no-revision"        // no revision, or an impossible one
	codeLarge      = "too-large"          // beyond our bounds
	codeFailed     = "failed"             // it failed by itself, again and again
)

// reason says why an expression cannot be computed, without a value.
func reason(err error) string {
	var own badValue
	switch {
	case errors.As(err, &own):
		return string(own)
	case strings.Contains(err.Error(), "memory budget"):
		return "it makes too much of a value"
	case strings.Contains(err.Error(), "cannot fetch"):
		return "it looks into a null, or into what has no members"
	}
	return "a value is null, or not of a type the expression takes"
}

// portuguese holds the reasons that operators meet, in Portuguese.
var portuguese = map[string]string{
	string(errNull):                "um valor é nulo; diga com ?? o que o substitui",
	string(errMissing):             "a origem não informou este valor, e não foi mais possível buscá-lo",
	string(errInstant):             "um instante é um texto RFC 3339, como 2026-11-21T12:00:00Z",
	string(errZoneless):            "o horário não tem fuso; escreva instant(coluna, \"America/Sao_Paulo\") com o fuso que o relógio do core mostra",
	string(errZoneName):            "um fuso é um nome IANA, como America/Sao_Paulo, ou UTC",
	string(errSkipped):             "nenhum relógio desse fuso mostrou esse horário: ele está na hora que foi pulada",
	string(errLarge):               "um valor tem mais de 10000 partes, ou está aninhado demais",
	string(errNoJSON):              "um valor não pode ser escrito como JSON",
	string(errURIs):                "os endereços devem ser uma lista de textos, um texto ou nulo",
	string(errNothing):             "não resulta em nada",
	string(errBytes):               "as expressões da linha leem e produzem mais de 64 MiB; use textos mais curtos, ou listas com menos elementos",
	"it makes too much of a value": "produz demais a partir de um valor",
	"it looks into a null, or into what has no members":                 "olha dentro de um nulo, ou do que não tem membros",
	"a value is null, or not of a type the expression takes":            "um valor é nulo, ou não é do tipo que a expressão aceita",
	"amount() takes text or a number":                                   "amount() aceita texto ou número",
	"+ takes two texts or two numbers; string() makes text of a number": "+ aceita dois textos ou dois números; string() faz texto de um número",
}

func problem(pointer, code, en, pt string) notice.Problem {
	return notice.Problem{Pointer: pointer, Code: code, Detail: en, DetailPT: pt}
}

func failure(e *expression, err error) notice.Problem {
	why := reason(err)
	wherefore, known := portuguese[why]
	if !known {
		wherefore = why
	}
	code, was, era := codeExpression, " cannot be computed for this record: ", " não pode ser calculada para este registro: "
	if errors.Is(err, errMissing) {
		code = codeMissing
	}
	return problem(e.pointer, code, e.key+was+why, e.key+era+wherefore)
}
