package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v3"
)

// readFile reads a YAML file over the standard. What cannot be read of it goes to c.unread. The error is of a file that cannot be read at
// all, is no YAML, or has a key twice, of which YAML's reader gives neither nor what stands beside them.
func (c *Config) readFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return &Error{Problems: []string{fmt.Sprintf("--config: %v", err)}}
	}
	text = commaLists(text)
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var wrong *yaml.TypeError
	switch err := d.Decode(c); {
	case err == nil || errors.Is(err, io.EOF):
	case errors.As(err, &wrong):
		twice := false
		for _, problem := range wrong.Errors {
			twice = twice || strings.Contains(problem, "already defined")
			c.noteYAML(path, text, problem)
		}
		if twice {
			return c.unread.Err()
		}
	default:
		return &Error{Problems: []string{fmt.Sprintf("%s: %v", path, err)}}
	}
	c.refuseMore(path, d)
	c.markYAML(text)
	return nil
}

// refuseMore refuses what stands in a file behind its first document: no setting of it would be in force. Empty documents are none.
func (c *Config) refuseMore(path string, d *yaml.Decoder) {
	for {
		var more yaml.Node
		err := d.Decode(&more)
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			c.unread.List = append(c.unread.List, fmt.Sprintf("%s: %v", path, err))
			return
		case len(more.Content) > 0 && more.Content[0].Tag != "!!null":
			c.unread.List = append(c.unread.List, fmt.Sprintf("%s: line %d: a second document begins before it; write all settings in one, without a line ---", path, more.Content[0].Line))
			return
		}
	}
}

// variables are those of an environment that count: without white space around their values, which plain values of a file do not have
// either, and without those that are set to nothing, except timersVariable. A list has no white space around its commas.
func (c *Config) variables(environ []string) map[string]string {
	values := env.ToMap(environ)
	for name, value := range values {
		if !strings.HasPrefix(name, ours) {
			continue
		}
		if values[name] = strings.TrimSpace(value); values[name] == "" && name != timersVariable {
			delete(values, name)
		}
	}
	for _, s := range c.settings() {
		if list := splitList(values[s.env]); s.value.Kind() == reflect.Slice && len(list) > 0 {
			values[s.env] = strings.Join(list, ",")
		}
	}
	return values
}
