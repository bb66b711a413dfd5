package registry

import (
	"fmt"

	"github.com/arauto/arauto/internal/notice"
)

// InvalidCode is the `error` member of the answer to a registration that is refused (contract, "Malformed addresses" and
// "Software statement").
type InvalidCode string

// The codes of an Invalid; each is answered with status 400.
const (
	InvalidRequest   InvalidCode = "invalid_request"
	InvalidURIs      InvalidCode = "invalid_webhook_uris"
	InvalidStatement InvalidCode = "invalid_software_statement"
)

// Differs is the text that the rule itself prescribes when the addresses are not those of the statement (webhook §6.2).
const Differs = "The content of the webhook_uris field different from what was Registered in the software_statement noted via the JWS software_api_webhook_uris field"

// Invalid is the error for a registration that breaks a rule.
type Invalid struct {
	Code        InvalidCode
	Description string           // error_description
	Problems    []notice.Problem // errors; empty when no single member is to blame
}

// Error is one line.
func (e *Invalid) Error() string {
	text := string(e.Code) + ": " + e.Description
	for _, p := range e.Problems {
		text += fmt.Sprintf("; %s %s: %s", p.Pointer, p.Code, p.Detail)
	}
	return text
}
