package ofb

import (
	"fmt"
	"slices"
	"strings"
)

// fullVersions are the full versions of each API that are known, by API and major version. The first is in force where the holder
// declares none (status-apis §0).
var fullVersions = map[string][]string{
	"payments v4":           {"4.0.1", "4.1.0"},
	"payments v5":           {"5.0.0"},
	"automatic-payments v2": {"2.2.0", "2.0.0"},
	"enrollments v2":        {"2.3.0", "2.2.0"},
}

// Versions are the full versions that a holder declares, by API and major version, such as "automatic-payments v2": "2.0.0". The
// zero value declares none.
type Versions map[string]string

// ParseVersions reads declarations such as automatic-payments/2.0.0. The error names the first that is unknown, or that declares a
// second version of one major version.
func ParseVersions(declared []string) (Versions, error) {
	v := Versions{}
	for _, one := range declared {
		api, full, _ := strings.Cut(one, "/")
		major, _, _ := strings.Cut(full, ".")
		at := api + " v" + major
		if !slices.Contains(fullVersions[at], full) {
			return nil, fmt.Errorf("%.60q is not a known version of an API; there are %s", one, strings.Join(KnownVersions(), ", "))
		}
		if before, twice := v[at]; twice {
			return nil, fmt.Errorf("%s/%s and %s are both declared; a holder serves one minor version of a major version", api, before, one)
		}
		v[at] = full
	}
	return v, nil
}

// KnownVersions lists what may be declared, sorted.
func KnownVersions() []string {
	var all []string
	for at, versions := range fullVersions {
		api, _, _ := strings.Cut(at, " ")
		for _, full := range versions {
			all = append(all, api+"/"+full)
		}
	}
	slices.Sort(all)
	return all
}

// Full is the full version in force for an API and major version, such as "v4"; "" for an unknown one.
func (v Versions) Full(api, major string) string {
	at := api + " " + major
	if full := v[at]; full != "" {
		return full
	}
	if known := fullVersions[at]; len(known) > 0 {
		return known[0]
	}
	return ""
}

// Declared is the full version that the holder declares for a kind in a major version; "" when it declares none.
func (v Versions) Declared(kind Kind, major string) string { return v[kind.API()+" "+major] }

// InForce lists the full version of each API and major version, and whether the holder declares it.
func (v Versions) InForce() []string {
	var all []string
	for at := range fullVersions {
		api, major, _ := strings.Cut(at, " ")
		line := api + "/" + v.Full(api, major)
		if v[at] != "" {
			line += " (declared)"
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

// API is the name of the API that a kind belongs to, as it stands in paths, such as "automatic-payments".
func (k Kind) API() string {
	api, _, _ := strings.Cut(strings.TrimPrefix(k.profile().path, webhookRoot+"/"), "/")
	return api
}
