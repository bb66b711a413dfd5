// Package brand names the brands of one deployment, and the keys of what belongs to each.
//
// A client or a resource of a named brand has a key: the name of its brand, a space, and its id. No id has a space, and no name
// has one, so a key is never the id or the key of something else. What belongs to the only brand of a deployment, or to the
// original one of several, has its id as its key. Everything inside the product that compares clients or resources compares
// keys, so two brands are kept apart exactly as two clients are. Ids without their brand are for the outside alone.
package brand

import (
	"regexp"
	"slices"
	"strings"
)

// Prefix is the name of a brand in keys; "" is the only brand of a deployment, or the original one of several.
type Prefix string

// separator stands between the name of a brand and an id.
const separator = " "

// Key is the key of an id in a brand.
func Key[T ~string](of Prefix, id T) T {
	if of == "" || id == "" {
		return id
	}
	return T(of) + separator + id
}

// Split parts a key into its brand and the id.
func Split[T ~string](key T) (Prefix, T) {
	before, after, named := strings.Cut(string(key), separator)
	if !named {
		return "", key
	}
	return Prefix(before), T(after)
}

// Of is the brand of a key.
func Of[T ~string](key T) Prefix {
	name, _ := Split(key)
	return name
}

// ID is the id in a key, as the outside knows it.
func ID[T ~string](key T) T {
	_, id := Split(key)
	return id
}

var pattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Valid reports whether a text can name a brand: 1 to 32 of a-z, 0-9 and -.
func Valid(name string) bool { return pattern.MatchString(name) }

// List is the brands of one deployment. The zero value is the only brand, which has no name.
type List struct {
	names    []string
	original string
}

// NewList lists the names of a deployment's brands. The original one, if any, is that to which everything belongs that was stored
// without a brand.
func NewList(names []string, original string) List {
	return List{slices.Clone(names), original}
}

// WrongBrand is what is wrong with a name that was given, or was not. It repeats nothing that was received.
type WrongBrand struct {
	Code     string // required: none was given and there are several; enum: there is no such brand
	Detail   string
	DetailPT string
}

// Resolve returns the brand of a name as it stands in keys. An absent name, "", is the only brand. The second result is nil, or
// says why there is no such brand.
func (l List) Resolve(name string) (Prefix, *WrongBrand) {
	list := func() string { return strings.Join(l.names, ", ") }
	switch {
	case name == "" && len(l.names) == 0:
		return "", nil
	case name == "" && len(l.names) == 1:
		return l.key(l.names[0]), nil
	case name == "":
		return "", &WrongBrand{"required", "brand is missing; name one of " + list(), "brand está ausente; informe uma destas: " + list()}
	case slices.Contains(l.names, name):
		return l.key(name), nil
	case len(l.names) == 0:
		return "", &WrongBrand{"enum", "brand is not known: the settings name no brands; leave it out", "brand desconhecida: os ajustes não nomeiam marcas; omita o membro"}
	}
	return "", &WrongBrand{"enum", "brand is not known; name one of " + list(), "brand desconhecida; informe uma destas: " + list()}
}

// Holds reports whether a brand, as it stands in keys, is one of this deployment.
func (l List) Holds(n Prefix) bool {
	if n == "" {
		return len(l.names) == 0 || l.original != ""
	}
	return string(n) != l.original && slices.Contains(l.names, string(n))
}

// Several reports whether brands have names.
func (l List) Several() bool { return len(l.names) > 0 }

// Prefixes lists the brands as they stand in keys.
func (l List) Prefixes() []Prefix {
	out := make([]Prefix, len(l.names))
	for i, name := range l.names {
		out[i] = l.key(name)
	}
	return out
}

// NameOf is the name of a brand that stands in keys as given; "" for the only one.
func (l List) NameOf(of Prefix) string {
	if of == "" {
		return l.original
	}
	return string(of)
}

func (l List) key(name string) Prefix {
	if name == l.original {
		return ""
	}
	return Prefix(name)
}
