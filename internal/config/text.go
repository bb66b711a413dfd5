package config

import "strings"

// blank tells a setting that has no value. White space is none.
func (s setting) blank() bool {
	if text, is := s.value.Interface().(string); is {
		return strings.TrimSpace(text) == ""
	}
	return s.value.IsZero()
}
