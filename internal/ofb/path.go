package ofb

import (
	"fmt"
	"strings"
)

// webhookRoot begins every path after the registered base; "v1" is the version of the webhook API itself, for the
// whole 1.x line (webhook §1.1).
const webhookRoot = "/open-banking/webhook/v1"

// The headers that notifications use beside those of HTTP (webhook §2, product D-9).
const (
	// HeaderInteractionID carries the id of one attempt, and comes back in the answer.
	HeaderInteractionID = "x-webhook-interaction-id"
	// HeaderAuthorizationServerID is the spelling of the API's document, on enrolments only.
	HeaderAuthorizationServerID = "x-authorization-server-id"
	// HeaderAuthorisationServerID is the spelling of the guide's change log, on enrolments only (webhook §11 Q1).
	HeaderAuthorisationServerID = "x-authorisation-server-id"
)

// Path is what is appended to the registered base to notify about a resource (webhook §1.2), byte for byte: the base
// is never normalised (webhook §1.5). The version is that of the POST that created the resource (webhook §1.3). Path
// is "" for what is no kind; it does not check version or id, but whatever they are, each stays one segment.
func Path(kind Kind, version, id string) string {
	template := kind.profile().path
	if template == "" {
		return ""
	}
	before, after, _ := strings.Cut(template, "%s")
	between, end, _ := strings.Cut(after, "%s")
	return before + EscapeID(version) + between + EscapeID(id) + end
}

// unescaped lists the punctuation an id keeps in a path beside letters and digits (contract "Escaping of ids"). A
// receiver expects the colon of a URN as it is (webhook §1.4).
const unescaped = "-._~:@&=+$"

// EscapeID makes an id one segment of a path: letters, digits and `- . _ ~ : @ & = + $` stay, every other byte becomes
// %XX in upper case (contract "Escaping of ids"). Decoding the segment once gives the id back.
func EscapeID(id string) string {
	plain := 0
	for plain < len(id) && stays(id[plain]) {
		plain++
	}
	if plain == len(id) {
		return id
	}
	var b strings.Builder
	b.WriteString(id[:plain])
	for i := plain; i < len(id); i++ {
		if c := id[i]; stays(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func stays(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(unescaped, c) >= 0
}
