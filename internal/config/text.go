package config

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// headerName is the name of a header (RFC 9110 §5.6.2).
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// visible tells a text that can be the value of a header: visible ASCII characters without spaces, or nothing.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// isBase tells a URL that links.self can begin with: the pattern alone also admits a user, a fragment, and what is no URL.
func isBase(s string) bool {
	u, err := url.Parse(s)
	return err == nil && officialBase.MatchString(s) && u.User == nil && u.Fragment == ""
}

// isPort tells the number of a port that can be dialled.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// blank tells a setting that has no value. White space is none.
func (s setting) blank() bool {
	if text, is := s.value.Interface().(string); is {
		return strings.TrimSpace(text) == ""
	}
	return s.value.IsZero()
}
