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

// keyword is how a connection string in that form begins.
var keyword = regexp.MustCompile(`^\s*\w+\s*=`)

// mask returns a setting's text with everything hidden that may be a secret: of a database's URL or connection string the passwords, of any
// other URL the user and the whole query. Of a secret URL that is no database's, scheme and host alone are shown: who knows its path may
// write there. A secret text that is neither is not shown at all.
func mask(raw string, secret bool) string {
	scheme, _, isURL := strings.Cut(raw, "://")
	switch {
	case isURL:
	case !secret || raw == "":
		return raw
	case keyword.MatchString(raw):
		return passwordWords.ReplaceAllString(raw, "$1="+hidden)
	default:
		return hidden
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	if strings.HasPrefix(scheme, "postgres") {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), hidden)
		}
		if !hidePasswords(u) {
			u.RawQuery = hidden
		}
		return u.String()
	}
	if secret {
		short := url.URL{Scheme: u.Scheme, Host: u.Host}
		if shown := short.String(); shown == strings.TrimSuffix(u.String(), "/") {
			return shown
		}
		return short.String() + "/" + hidden
	}
	if u.User != nil {
		u.User = url.User(hidden)
	}
	if u.RawQuery != "" {
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
