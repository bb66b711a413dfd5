package notice

import (
	"github.com/arauto/arauto/internal/brand"
	"github.com/arauto/arauto/internal/ofb"
)

// ValidClientID tells whether a client id is one: 1 to 255 printable ASCII characters without spaces.
func ValidClientID(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// What the key of a client must be, in words for the problem of one that is not.
const (
	ClientKeyRule   = "1 to 255 printable ASCII characters without spaces, behind the name of its brand and one space where the brand is a named one"
	ClientKeyRulePT = "1 a 255 caracteres ASCII visíveis, sem espaços, depois do nome da marca e de um espaço quando a marca tem nome"
)

// ValidClientKey tells whether a text is the key of a client: its id, behind the name of a brand of the list where it has one.
func ValidClientKey(brands brand.List, s string) bool {
	of, id := brand.Split(s)
	return (of == "" || brands.Holds(of)) && ValidClientID(id)
}

// ValidResourceKey tells whether a text is the key of a resource of a kind: its id, behind the name of a brand of the list where it
// has one.
func ValidResourceKey(brands brand.List, k ofb.Kind, s string) bool {
	of, id := brand.Split(s)
	return (of == "" || brands.Holds(of)) && k.CheckID(id) == nil
}
