package config

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// ownName is the setting that differs between replicas with the same settings.
const ownName = "replica"

// escapes keep each setting on a line of its own.
var escapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

// Digest is the SHA-256 of the settings in force, in hexadecimal, each as Effective shows it. It is of masked values, so that nobody can guess a
// secret by it; a change of what is masked does not change it. A setting is one line, key=value, in the order of Effective and without `replica`;
// in a value, a backslash is written \\ and a line feed \n.
func (c *Config) Digest() string {
	sum := sha256.New()
	for _, s := range c.Effective() {
		if s.Key != ownName {
			sum.Write([]byte(s.Key + "=" + escapes.Replace(s.Value) + "\n"))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Changed lists the settings whose values are not their defaults, as Effective shows them, without `replica`.
func (c *Config) Changed() []Effective {
	standard := map[string]string{}
	for _, s := range Standard().Effective() {
		standard[s.Key] = s.Value
	}
	return slices.DeleteFunc(c.Effective(), func(s Effective) bool { return s.Key == ownName || s.Value == standard[s.Key] })
}

// Loosened lists the keys of the settings that production would refuse as they are, and console.tls_cert where browsers reach the console without TLS.
// An ordinary start of production has none: plain HTTP on loopback is none, nor is a console behind a proxy with TLS.
func (c *Config) Loosened() []string {
	strict := *c
	strict.Profile = Production
	keys := append([]string{}, strict.judge().keys...)
	if c.Console.Addr != "" && !c.Console.ByTLS() {
		keys = append(keys, "console.tls_cert")
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// locations find URLs in a text.
var locations = regexp.MustCompile(`(?i)\bhttps?://[^\s"]+`)

// MaskURLs is a text with every http and https URL in it as Effective shows URLs.
func MaskURLs(text string) string {
	return locations.ReplaceAllStringFunc(text, MaskURL)
}

// MaskURL is a URL as Effective shows it.
func MaskURL(url string) string { return mask(url, false) }
