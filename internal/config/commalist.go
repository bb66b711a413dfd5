package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// commaLists writes each list of a file that is one text with commas, as in the environment, as a list of YAML. Lines stay where they are,
// because problems name them. A text that is no YAML is returned as it is: who reads it says so.
func commaLists(text []byte) []byte {
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil || len(document.Content) == 0 {
		return text
	}
	var found []commaList
	findCommaLists(document.Content[0], reflect.TypeFor[Config](), &found)
	slices.SortFunc(found, func(a, b commaList) int { // the last of a line first: what is before it stays in its place
		return b.at.Line*1_000_000 + b.at.Column - a.at.Line*1_000_000 - a.at.Column
	})
	lines := strings.Split(string(text), "\n")
	for _, list := range found {
		if list.at.Line > len(lines) {
			return text // it has other ends of lines; who reads it says that a list is wanted
		}
		line := []rune(lines[list.at.Line-1])
		begins := list.at.Column - 1
		if begins > len(line) {
			return text
		}
		if n := written(list.at, string(line[begins:])); n > 0 {
			lines[list.at.Line-1] = string(line[:begins]) + list.yaml() + string(line[begins:])[n:]
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// commaList is a text that stands where a list is wanted.
type commaList struct {
	at      *yaml.Node
	numbers bool
}

// findCommaLists looks for texts in the place of lists, as the type of the settings has them.
func findCommaLists(node *yaml.Node, t reflect.Type, found *[]commaList) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		for _, one := range node.Content {
			findCommaLists(one, t.Elem(), found)
		}
	case t.Kind() == reflect.Slice && node.Kind == yaml.ScalarNode && node.Tag != "!!null":
		*found = append(*found, commaList{node, t.Elem().Kind() != reflect.String})
	case t.Kind() == reflect.Struct && node.Kind == yaml.MappingNode:
		for i := range t.NumField() {
			f := t.Field(i)
			key := f.Tag.Get("yaml")
			if key == ",inline" {
				findCommaLists(node, f.Type, found)
				continue
			}
			for at := 0; at+1 < len(node.Content); at += 2 {
				if key != "" && node.Content[at].Value == key {
					findCommaLists(node.Content[at+1], f.Type, found)
				}
			}
		}
	}
}

// written returns how many bytes of its line a text takes; 0 where it has a form that no comma list needs, such as several lines.
func written(node *yaml.Node, line string) int {
	quote, known := map[yaml.Style]string{yaml.DoubleQuotedStyle: `"`, yaml.SingleQuotedStyle: "'", 0: ""}[node.Style]
	if whole := quote + node.Value + quote; known && strings.HasPrefix(line, whole) { // nothing is escaped
		return len(whole)
	}
	return 0
}

// yaml writes the list on one line. What is no number where numbers are wanted stays a text, so that it is refused.
func (l commaList) yaml() string {
	parts := splitList(l.at.Value)
	for i, part := range parts {
		if _, err := strconv.ParseUint(part, 10, 16); l.numbers && err == nil {
			continue
		}
		quoted, _ := json.Marshal(part) // a text is always one in JSON, which YAML reads
		parts[i] = string(quoted)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
