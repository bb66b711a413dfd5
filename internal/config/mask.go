package config

import (
	"net/url"
	"regexp"
	"strings"
)

// hidden stands for what is not shown.
const hidden = "xxxxx"

// passwordWords find the passwords of a connection string in the form "host=db password=…".
var passwordWords = regexp.MustCompile(`(?i)\b((?:ssl)?password)\s*=\s*(?:'(?:[^'\\]|\\.)*'|\S*)`)

// mask returns a setting's text with everything hidden that a URL or a connection string can hold as a secret: the password
// of its user, the parameters password and sslpassword of a database's URL, and the whole query of any other URL. A secret
// text that is neither is not shown at all.
func mask(raw string, secret bool) string {
	scheme, _, isURL := strings.Cut(raw, "://")
	if !isURL {
		if secret {
			return passwordWords.ReplaceAllString(raw, "$1="+hidden)
		}
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	if u.RawQuery != "" && !(strings.HasPrefix(scheme, "postgres") && hidePasswords(u)) {
		u.RawQuery = hidden
	}
	return u.String()
}

// hidePasswords hides the passwords among the parameters of a database's URL; false: the query cannot be read.
func hidePasswords(u *url.URL) bool {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return false
	}
	found := false
	for name := range query {
		if n := strings.ToLower(name); n == "password" || n == "sslpassword" {
			query.Set(name, hidden)
			found = true
		}
	}
	if found {
		u.RawQuery = query.Encode()
	}
	return true
}
