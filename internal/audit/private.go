package audit

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// commitmentSize is the length of a commitment: SHA-256 in base64 without padding.
const commitmentSize = 43

// Commit is the commitment to a private text, as facts have it in their member "private": base64 without padding of the
// SHA-256 of its bytes. The text must hold a random salt, or the hash can be guessed.
func Commit(private string) string {
	sum := sha256.Sum256([]byte(private))
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// PrivateKinds are the kinds of entries whose facts commit to a private text. In other kinds a member "private" has no
// meaning.
func PrivateKinds() []string { return []string{"attempt", "result", "late-result"} }

// commitmentIn reads the member "private" of facts. Its name is matched exactly; of several the last one counts, as in
// PostgreSQL, and null counts as absent. A value that is no string is returned as its JSON, which is no commitment.
func commitmentIn(facts string) (commitment string, present bool) {
	n := strings.Count(facts, "private")
	escaped := strings.Contains(facts, `\u`) // a name may be spelt with escapes
	if n == 0 && !escaped {
		return "", false
	}
	if n == 1 && !escaped { // as this product writes it: the first member
		for _, start := range [...]string{`{"private":"`, `{"private" : "`} {
			if rest, ok := strings.CutPrefix(facts, start); ok && len(rest) > commitmentSize && rest[commitmentSize] == '"' &&
				!strings.ContainsAny(rest[:commitmentSize], `"\`) {
				return rest[:commitmentSize], true
			}
		}
	}
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(facts), &members) != nil {
		return "", false
	}
	raw, present := members["private"]
	if !present || string(raw) == "null" {
		return "", false
	}
	if json.Unmarshal(raw, &commitment) != nil {
		commitment = string(raw)
	}
	return commitment, true
}

// PrivateFault says why the private text is not the one that the facts commit to; "" when it is, and when there is neither.
func (e *Entry) PrivateFault() string { return privateFault(e.Kind, e.Facts, e.Private) }

// privateFault judges a private text, nil for none, by the facts beside it.
func privateFault(kind, facts string, private *string) string {
	commitment, committed := "", false
	if slices.Contains(PrivateKinds(), kind) {
		commitment, committed = commitmentIn(facts)
	}
	switch {
	case private == nil && committed:
		return "its private text is missing, and its facts commit to one"
	case private != nil && !committed:
		return "its facts commit to no private text, and it has one"
	case private != nil && Commit(*private) != commitment:
		return "its private text is not the one that its facts commit to"
	}
	return ""
}
