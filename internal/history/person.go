package history

import (
	"slices"
	"strings"
)

// Person is somebody who has signed in to the console.
type Person struct {
	Subject string   // identifies the person at the provider, and in the entries
	Name    string   // for pages
	Roles   []string // of the API: operator, auditor, registrar
	Also    []string // further names by which the provider knows the person: user name and addresses
}

// Is tells whether a subject of an entry or a token is this person, by any of their names. Case does not matter: one name of two
// people would keep both from deciding, while two names of one would let them decide about their own.
func (p Person) Is(subject string) bool {
	return strings.EqualFold(p.Subject, subject) || slices.ContainsFunc(p.Also, func(name string) bool { return strings.EqualFold(name, subject) })
}
