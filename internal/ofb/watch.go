package ofb

import (
	"strings"
)

// ResourceState is a resource at one revision, reduced to what Judge needs. It can be kept as long as the history: it names
// no person, document or account.
type ResourceState struct {
	Status Status
	// Watched holds the values whose edit is announced: JSON pointer inside `data` to canonical JSON text. What the
	// document does not have is absent.
	Watched map[string]string
	// Data is the Hash of the whole document.
	Data [32]byte
}

// watched is one member of a document whose edit must be announced, by JSON pointer inside `data`.
type watched struct {
	kind    Kind
	pointer string
	clause  string // of the duty to announce its edit
}

// watches lists the members whose edit at the holder is a data change (contract "Data changes"). For recurring
// consents both products are watched for both members, though one of them cannot hold a variable maximum today.
var watches = []watched{
	{Enrollment, "/transactionLimit", "webhook §5.5"},
	{Enrollment, "/dailyLimit", "webhook §5.5"},
	{Enrollment, "/expirationDateTime", "webhook §5.5"},
	{RecurringConsent, "/recurringConfiguration/automatic/maximumVariableAmount", "webhook §5.3"},
	{RecurringConsent, "/recurringConfiguration/automatic/useOverdraftLimit", "webhook §5.3"},
	{RecurringConsent, "/recurringConfiguration/sweeping/maximumVariableAmount", "webhook §5.3"},
	{RecurringConsent, "/recurringConfiguration/sweeping/useOverdraftLimit", "webhook §5.3"},
}

// StateOf reduces a document to its ResourceState. The document is the `data` object with its numbers as json.Number.
func StateOf(kind Kind, data map[string]any) ResourceState {
	status, _ := data["status"].(string)
	return ResourceState{Status: Status(status), Watched: kind.Watch(data), Data: Hash(data)}
}

// Watch picks from a document the members whose edit is announced: JSON pointer inside `data` to canonical JSON text,
// absent when not there. It is nil when there are none.
func (k Kind) Watch(data map[string]any) map[string]string {
	var found map[string]string
	for _, w := range watches {
		if w.kind != k {
			continue
		}
		if value, ok := at(data, w.pointer); ok {
			if found == nil {
				found = map[string]string{}
			}
			found[w.pointer] = string(Canonical(value))
		}
	}
	return found
}

// Watches lists the members whose edit is announced, as JSON pointers inside `data`.
func (k Kind) Watches() (pointers []string) {
	for _, w := range watches {
		if w.kind == k {
			pointers = append(pointers, w.pointer)
		}
	}
	return pointers
}

// at follows a JSON pointer through objects. Our pointers hold neither `~` nor array indices.
func at(data map[string]any, pointer string) (any, bool) {
	var value any = data
	for _, name := range strings.Split(pointer, "/")[1:] {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[name]; !ok {
			return nil, false
		}
	}
	return value, true
}

// Differing lists the watched members that were added, removed or given another value between two states, as JSON
// pointers inside `data`, whatever the states' status.
func (k Kind) Differing(from, to ResourceState) []string {
	var pointers []string
	for _, w := range watches {
		before, was := from.Watched[w.pointer]
		after, is := to.Watched[w.pointer]
		if w.kind == k && (was != is || before != after) {
			pointers = append(pointers, w.pointer)
		}
	}
	return pointers
}
