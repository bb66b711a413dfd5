package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// wanted says what a setting's value looks like.
func wanted(v reflect.Value) string {
	switch v.Interface().(type) {
	case int:
		return "a whole number"
	case bool:
		return "true or false"
	case time.Duration:
		return "a duration such as 15s"
	case []uint16:
		return "a list of numbers from 0 to 65535"
	case []string, *[]string:
		return "a list of strings"
	}
	return "a string"
}

// readable tells whether a variable's text can be read as its setting.
func readable(v reflect.Value, text string) bool {
	var err error
	switch v.Interface().(type) {
	case int:
		_, err = strconv.Atoi(text)
	case bool:
		_, err = strconv.ParseBool(text)
	case time.Duration:
		_, err = time.ParseDuration(text)
	case []uint16:
		for part := range strings.SplitSeq(text, ",") {
			if _, err = strconv.ParseUint(part, 10, 16); err != nil {
				break
			}
		}
	}
	return err == nil
}

// envProblems lists the variables whose text cannot be read. It never repeats the text: it may be a secret that went
// into the wrong variable.
func (c *Config) envProblems(values map[string]string, err error) error {
	p := &Problems{}
	for _, s := range c.settings() {
		if text, set := values[s.env]; set && !readable(s.value, text) {
			p.Add(s.key, "cannot be read", "write "+wanted(s.value))
		}
	}
	if len(p.List) == 0 {
		p.List = append(p.List, err.Error())
	}
	return p.Err()
}

// ourTypes are the Go types at the end of errors of package yaml: a name, or all members of a group.
var ourTypes = regexp.MustCompile(`(?s)in type (config\.|struct \{).*$`)

// noteYAML adds one problem of package yaml with a file to c.unread.
func (c *Config) noteYAML(path string, text []byte, problem string) {
	key, told := c.yamlProblem(text, problem)
	c.unread.List = append(c.unread.List, path+": "+told)
	if key != "" {
		c.unread.keys = append(c.unread.keys, key)
	}
}

// yamlProblem names the setting on a line of the file that has a value of the wrong type, again without the value. The key may also be
// that of a group, or of a part of a setting's value; it is "" where the file has a name that is none.
func (c *Config) yamlProblem(text []byte, problem string) (key, told string) {
	var line int
	if _, err := fmt.Sscanf(problem, "line %d: cannot unmarshal", &line); err != nil {
		return "", unknownKey(text, problem)
	}
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil || len(document.Content) == 0 {
		return "", fmt.Sprintf("line %d: a value of the wrong type", line)
	}
	key = keyAt(document.Content[0], "", line)
	for _, s := range c.settings() {
		if s.key == key {
			return key, fmt.Sprintf("line %d: %s (%s): cannot be read; write %s", line, s.key, s.env, wanted(s.value))
		}
	}
	return key, fmt.Sprintf("line %d: %s: a value of the wrong type", line, key)
}

// misread tells that the file has something for a setting, or for the group that it is in, that could not be read: so it is not said to be missing.
func (c *Config) misread(key string) bool {
	return slices.ContainsFunc(c.unread.keys, func(at string) bool {
		return key == at || strings.HasPrefix(key, at+".") || strings.HasPrefix(at, key+".")
	})
}

// keyAt is the last key that begins on a line or before it.
func keyAt(node *yaml.Node, prefix string, line int) string {
	found := prefix
	for i := 0; i+1 < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
		if node.Content[i].Line <= line {
			found = keyAt(node.Content[i+1], joined(prefix, node.Content[i].Value), line)
		}
	}
	return found
}
