package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ours begins the name of every variable of ours.
const ours = "ARAUTO_"

// others are our variables that are no settings: they steer builds, tests, benchmarks and samples. A name that ends with _ is
// the beginning of many.
var others = []string{
	"ARAUTO_BENCH_", "ARAUTO_CPU_PROFILE", "ARAUTO_ENTRIES", "ARAUTO_LONG", "ARAUTO_MOCKBANK_MIGRATIONS", "ARAUTO_PREVIOUS", "ARAUTO_REQUIRE_", "ARAUTO_SCREENSHOTS", "ARAUTO_SEED",
	"ARAUTO_STORETEST_", "ARAUTO_TEST_", "ARAUTO_THROWAWAY_", "ARAUTO_TOKEN_FILE", "ARAUTO_TOOLS", "ARAUTO_UPDATE", "ARAUTO_URL",
}

// unknownVariables lists the variables that have our prefix and a value and are no settings, each with the nearest name. It
// never repeats a value.
func (c *Config) unknownVariables(values map[string]string) (problems []string) {
	known := map[string]bool{}
	for _, s := range c.settings() {
		known[strings.TrimPrefix(s.env, ours)] = true
	}
	for name := range values {
		short, is := strings.CutPrefix(name, ours)
		if !is || known[short] || isOther(name) || isServiceLink(name, values) {
			continue
		}
		cure := "see arauto help settings"
		if near := nearestName(short, known); near != "" {
			cure = "did you mean " + ours + near + "? " + cure
		}
		problems = append(problems, fmt.Sprintf("%s: no setting has this variable; %s", name, cure))
	}
	slices.Sort(problems)
	return problems
}

// WithoutSettings splits an environment into what is no setting of ours, and the names of the variables with a value that serve would take
// for settings, also for those that it does not know. It is for processes of ours that have settings of their own.
func WithoutSettings(environ []string) (rest, settings []string) {
	values := map[string]string{}
	for _, one := range environ {
		name, value, _ := strings.Cut(one, "=")
		values[name] = value
	}
	for _, one := range environ {
		name, value, _ := strings.Cut(one, "=")
		switch {
		case !strings.HasPrefix(name, ours) || isOther(name) || isServiceLink(name, values):
			rest = append(rest, one)
		case value != "" && !slices.Contains(settings, name):
			settings = append(settings, name)
		}
	}
	slices.Sort(settings)
	return rest, settings
}

func isOther(name string) bool {
	return slices.ContainsFunc(others, func(o string) bool { return name == o || strings.HasSuffix(o, "_") && strings.HasPrefix(name, o) })
}

// isServiceLink tells whether Kubernetes made a variable: it describes each service of the namespace to each pod by NAME_SERVICE_HOST
// and by others that begin with the same NAME, unless enableServiceLinks is false.
func isServiceLink(name string, values map[string]string) bool {
	for other := range values {
		service, is := strings.CutSuffix(other, "_SERVICE_HOST")
		if !is {
			continue
		}
		rest, begins := strings.CutPrefix(name, service)
		if begins && (rest == "_PORT" || strings.HasPrefix(rest, "_PORT_") || strings.HasPrefix(rest, "_SERVICE_")) {
			return true
		}
	}
	return false
}

// unknownKey says of a key of the file that is no setting which one is near to it, in its own group first, and hides the names of our
// types.
func unknownKey(text []byte, problem string) string {
	told := ourTypes.ReplaceAllString(problem, "among the settings")
	var line int
	var name string
	if _, err := fmt.Sscanf(problem, "line %d: field %s not found", &line, &name); err != nil {
		return told
	}
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil {
		return told
	}
	group, _ := groupOf(&document, "", line, name)
	own, all, full := map[string]bool{}, map[string]bool{}, map[string][]string{}
	for _, key := range fileKeys(reflect.TypeFor[Config](), "") {
		at := strings.LastIndex(key, ".")
		last := key[at+1:]
		if key == joined(group, last) {
			own[last] = true
		}
		if !strings.HasPrefix(key, "brands.") { // its groups are those at the top again
			all[last] = true
			full[last] = append(full[last], key)
		}
	}
	cure := "see arauto help settings"
	if near := nearestName(name, own); near != "" {
		return told + "; did you mean " + joined(group, near) + "? " + cure
	}
	switch near := nearestName(name, all); {
	case near == "":
	case len(full[near]) == 1:
		cure = "did you mean " + full[near][0] + "? " + cure
	case near == name:
		cure = "it belongs to another group: " + cure
	default:
		cure = "did you mean " + near + " of another group? " + cure
	}
	return told + "; " + cure
}

// groupOf returns the group that holds a key on a line of the file: "" for the keys at the top, and false where there is no such key.
func groupOf(node *yaml.Node, group string, line int, name string) (string, bool) {
	for i, child := range node.Content {
		below := group
		if node.Kind == yaml.MappingNode {
			if i%2 == 0 {
				if child.Line == line && child.Value == name {
					return group, true
				}
				continue
			}
			below = joined(group, node.Content[i-1].Value)
		}
		if found, ok := groupOf(child, below, line, name); ok {
			return found, true
		}
	}
	return "", false
}

// fileKeys lists the keys that a file may have, groups included. A member of a list has the key of its list.
func fileKeys(t reflect.Type, group string) (keys []string) {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		switch key := f.Tag.Get("yaml"); key {
		case "":
		case ",inline":
			keys = append(keys, fileKeys(f.Type, group)...)
		default:
			keys = append(keys, joined(group, key))
			keys = append(keys, fileKeys(f.Type, joined(group, key))...)
		}
	}
	return keys
}

// joined is the full key of a key in a group.
func joined(group, key string) string { return strings.TrimPrefix(group+"."+key, ".") }

// nearestName returns the known name that fewest changes of a letter lead to: at most a third of its letters; "" where there is none.
func nearestName(name string, known map[string]bool) string {
	best, fewest := "", 1<<30
	for k := range known {
		n := editDistance(name, k)
		if n <= len(k)/3 && (n < fewest || n == fewest && k < best) {
			best, fewest = k, n
		}
	}
	return best
}

// editDistance counts the letters that must be put in, taken out or replaced to make b of a (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
